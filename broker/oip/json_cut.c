/* json_cut.c - looks at quotes and brackets alone */
#include "json_cut.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DATA_DEPTH 3

struct cutting {
    struct json_cut *out;
    const char *at, *end; /* at: up to there it is copied or left out */
    char *rest;
    size_t capacity;
};

/* What follows the string whose opening quote is at `at`; NULL: it has no end. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end; at++) {
        if (*at == '"')
            return at + 1;
        at += *at == '\\';
    }
    return NULL;
}

/* What follows the array that begins at `at`; NULL: it has no end. */
static const char *skip_array(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            if (!(at = skip_string(at, end)))
                return NULL;
            continue;
        }
        if (*at == '[')
            depth++;
        else if (*at == ']' && !--depth)
            return at + 1;
        at++;
    }
    return NULL;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    return at;
}

/* Copies up to `to`. False: no room. */
static bool keep(struct cutting *c, const char *to)
{
    size_t n = (size_t)(to - c->at);
    if (n > c->capacity - c->out->size)
        return false;
    memcpy(c->rest + c->out->size, c->at, n);
    c->out->size += n;
    c->at = to;
    return true;
}

/* `after` follows the string at `at`: is that string a key "data" with an array behind it? Then where that
 * begins. */
static const char *data_array(const char *at, const char *after, const char *end)
{
    const char *p;
    if (after - at != 6 || memcmp(at, "\"data\"", 6))
        return NULL;
    p = skip_space(after, end);
    if (p == end || *p != ':')
        return NULL;
    p = skip_space(p + 1, end);
    return p < end && *p == '[' ? p : NULL;
}

static int too_much(const struct cutting *c, struct error *e)
{
    return error_set(e, FL_TOO_LARGE, "the JSON beside its `data` is longer than %zu bytes", c->capacity);
}

static int cut(struct cutting *c, const char *array, struct error *e)
{
    char number[16];
    const char *after = skip_array(array, c->end);
    if (!after)
        return error_set(e, FL_PROTOCOL, "the JSON ends within `data`");
    if (c->out->n == JSON_CUT_MOST)
        return error_set(e, FL_TOO_LARGE, "more than %d tensors in one request", JSON_CUT_MOST);
    if (!keep(c, array))
        return too_much(c, e);
    c->out->span[c->out->n] = (struct json_span){array, (size_t)(after - array)};
    snprintf(number, sizeof number, "%d", c->out->n++);
    c->at = number;
    if (!keep(c, number + strlen(number)))
        return too_much(c, e);
    c->at = after;
    return FL_OK;
}

int json_cut(struct json_cut *out, const char *text, size_t size, char *rest, size_t capacity,
             struct error *e)
{
    struct cutting c = {out, text, text + size, rest, capacity};
    int depth = 0, rc;

    out->n = 0;
    out->size = 0;
    for (const char *at = text, *after, *array; at < c.end; at = after) {
        after = at + 1;
        if (*at == '"') {
            if (!(after = skip_string(at, c.end)))
                return error_set(e, FL_PROTOCOL, "the JSON ends within a string");
            if (depth == DATA_DEPTH && (array = data_array(at, after, c.end))) {
                if ((rc = cut(&c, array, e)))
                    return rc;
                after = c.at;
            }
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        }
    }
    return keep(&c, c.end) ? FL_OK : too_much(&c, e);
}
