/* json_cut.h - a request's JSON without its numbers
 *
 * Finds the value of each "data" key of an object in an array of the outermost object ({"inputs": [{"data":
 * [..]}]}), where that is an array, and copies all the rest: a small text for a JSON library, the numbers for
 * oip_numbers.h. What is copied is not checked; the library does. Pure.
 */
#ifndef FREEZELINE_JSON_CUT_H
#define FREEZELINE_JSON_CUT_H

#include <stddef.h>

#include "base/error.h"

#define JSON_CUT_MOST 16 /* arrays */

struct json_span {
    const char *at; /* its `[` */
    size_t size;    /* up to its `]` */
};

struct json_cut {
    int n;
    struct json_span span[JSON_CUT_MOST];
    size_t size; /* of the rest */
};

/* Copies text[0 .. size) to `rest` (`capacity` bytes); in the place of array i stands the number i.
 * FL_PROTOCOL: an array or a string has no end; FL_TOO_LARGE: more than JSON_CUT_MOST arrays, or than
 * `capacity` bytes of rest. */
int json_cut(struct json_cut *out, const char *text, size_t size, char *rest, size_t capacity,
             struct error *e);

#endif
