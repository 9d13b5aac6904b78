/* shape_arguments.c - --shape [NAME=]DIMS */
#include "shape_arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DIM_MOST ((int64_t)1 << 31)

static bool read_dims(struct tensor *t, const char *text)
{
    for (t->rank = 0; t->rank < TENSOR_MAX_RANK; text++) {
        char *end;
        errno = 0;
        if (*text < '0' || *text > '9')
            return false;
        t->dim[t->rank] = strtoll(text, &end, 10);
        if (errno || t->dim[t->rank] < 1 || t->dim[t->rank] > DIM_MOST)
            return false;
        t->rank++;
        text = end;
        if (*text != 'x')
            return !*text;
    }
    return false;
}

int shape_arguments_read(struct shape_arguments *s, struct graph_options *o, struct error *e)
{
    size_t size = 1;
    char *at;
    for (int i = 0; i < s->items.n; i++)
        size += strlen(s->items.item[i]) + 1;
    at = s->text = malloc(size);
    if (!at)
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < s->items.n; i++) {
        const char *item = s->items.item[i], *equals = strrchr(item, '=');
        size_t n = equals ? (size_t)(equals - item) : 0;
        s->shape[i] = (struct tensor){.dtype = TENSOR_NONE};
        if (!read_dims(&s->shape[i], equals ? equals + 1 : item))
            return error_set(e, FL_USAGE,
                             "--shape %.100s: write [NAME=]DIMS, up to %d sizes with x between them, such as "
                             "--shape 1x3x224x224",
                             item, TENSOR_MAX_RANK);
        s->name[i] = n ? at : NULL;
        memcpy(at, item, n);
        at[n] = '\0';
        at += n + 1;
    }
    if (s->items.n) {
        o->shapes = s->shape;
        o->shape_names = s->name;
        o->n_shapes = s->items.n;
    }
    return FL_OK;
}

void shape_arguments_release(struct shape_arguments *s)
{
    free(s->text);
    s->text = NULL;
}
