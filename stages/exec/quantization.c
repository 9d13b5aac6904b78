/* quantization.c - as which integers a network's values are taken */
#include "quantization.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The first value whose name is not before this one. */
static int place_of(const struct quantization *q, const char *name)
{
    int from = 0, to = q->n;
    while (from < to) {
        int middle = (from + to) / 2;
        if (strcmp(q->value[middle].name, name) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

const struct quantized_value *quantization_find(const struct quantization *q, const char *name)
{
    int at = q ? place_of(q, name) : 0;
    return q && at < q->n && !strcmp(q->value[at].name, name) ? &q->value[at] : NULL;
}

int quantization_add(struct quantization *q, const char *name, float step, bool is_signed)
{
    int at = place_of(q, name);
    struct quantized_value *grown;
    char *copy;
    if (!(step > 0) || isinf(step))
        return FL_VALUE;
    if (at < q->n && !strcmp(q->value[at].name, name)) {
        q->value[at].step = step;
        q->value[at].is_signed = is_signed;
        return FL_OK;
    }
    grown = realloc(q->value, ((size_t)q->n + 1) * sizeof *grown);
    if (!grown)
        return FL_NOMEM;
    q->value = grown;
    if (!(copy = strdup(name)))
        return FL_NOMEM;
    memmove(grown + at + 1, grown + at, (size_t)(q->n++ - at) * sizeof *grown);
    grown[at].name = copy;
    grown[at].step = step;
    grown[at].is_signed = is_signed;
    return FL_OK;
}

void quantization_release(struct quantization *q)
{
    for (int i = 0; i < q->n; i++)
        free(q->value[i].name);
    free(q->value);
    *q = (struct quantization){0};
}
