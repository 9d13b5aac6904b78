/* onnx_scope.c - names of values where they are made, and what putting things in place may cost */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "onnx_import.h"

/* Names inside functions and branches are cut: they are repeated with each use. */
#define INNER_NAME_BYTES 128

int scope_new(struct import *m, struct scope *s, const struct scope *around, const char *user, size_t names)
{
    memset(s, 0, sizeof *s);
    if (around) {
        s->opset = around->opset;
        s->call = around->call;
        s->depth = around->depth + 1;
        snprintf(s->path, sizeof s->path, "%.200s/", user);
    }
    if (s->depth > SCOPE_MAX_DEPTH)
        return error_set(m->e, FL_UNSUPPORTED,
                         "functions and branches lie more than %d deep in one another (at '%s')",
                         SCOPE_MAX_DEPTH, s->path);
    for (s->size = 16; s->size < names * 2;)
        s->size *= 2;
    if (import_spend(m, s, (int64_t)(s->size * sizeof *s->slot)))
        return FL_UNSUPPORTED;
    s->slot = calloc(s->size, sizeof *s->slot);
    return s->slot ? FL_OK : error_set(m->e, FL_NOMEM, "out of memory");
}

void scope_release(struct scope *s)
{
    free(s->slot);
    s->slot = NULL;
}

/* Where `text` stands or would stand. */
static struct name *slot_of(const struct scope *s, const char *text)
{
    size_t i = XXH3_64bits(text, strlen(text)) & (s->size - 1);
    while (s->slot[i].text && strcmp(s->slot[i].text, text))
        i = (i + 1) & (s->size - 1);
    return &s->slot[i];
}

struct name *scope_own(const struct scope *s, const char *text)
{
    struct name *n = slot_of(s, text);
    return n->text ? n : NULL;
}

const struct name *scope_find(const struct scope *s, const char *text)
{
    const struct name *n = NULL;
    for (; s && !n; s = s->outer)
        n = scope_own(s, text);
    return n;
}

void scope_bind(struct scope *s, const char *text, int value, bool given)
{
    *slot_of(s, text) = (struct name){text, value, given};
}

char *scope_name(const struct scope *s, const char *text)
{
    char inner[SCOPE_PATH_BYTES + INNER_NAME_BYTES];
    if (!s->depth)
        return strdup(text);
    snprintf(inner, sizeof inner, "%s%.*s", s->path, INNER_NAME_BYTES - 1, text);
    return strdup(inner);
}

int scope_declare(struct import *m, struct scope *s, const char *text)
{
    struct name *n = slot_of(s, text);
    char *name;
    if (n->text)
        return n->value;
    name = scope_name(s, text);
    if (!name)
        return -1;
    *n = (struct name){text, graph_add_value(m->g, name), false};
    free(name);
    return n->value;
}

int import_spend(struct import *m, const struct scope *s, int64_t bytes)
{
    if (!s->depth)
        return FL_OK;
    m->budget -= bytes;
    if (m->budget >= 0)
        return FL_OK;
    return error_set(
        m->e, FL_UNSUPPORTED,
        "its functions and branches become too large when they are put where they are used (at '%s')",
        s->path);
}
