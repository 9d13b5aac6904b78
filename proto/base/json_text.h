/* json_text.h - text that grows, and JSON written into it
 *
 * Out of memory is remembered: whoever takes the text looks at `failed` once. Pure.
 */
#ifndef FREEZELINE_JSON_TEXT_H
#define FREEZELINE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_text {
    char *at; /* owned */
    size_t n, room;
    bool failed;
};

void json_text_bytes(struct json_text *t, const void *bytes, size_t n);
void json_text_put(struct json_text *t, const char *s);
void json_text_number(struct json_text *t, uint64_t n);
void json_text_format(struct json_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In quotes. What is no UTF-8 in it becomes `?`. */
void json_text_string(struct json_text *t, const char *s);
/* Nine digits, which name each float. JSON has no infinity and no NaN: the largest numbers, and 0. */
void json_text_float(struct json_text *t, float f);
void json_text_free(struct json_text *t);

#endif
