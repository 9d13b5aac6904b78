/* precision_options.c - what a pipeline file says of kernels and precision, as an executor takes it */
#include "precision_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/precision.h"

static void word_of(const struct pipeline *p, char word[PRECISION_TEXT_BYTES])
{
    snprintf(word, PRECISION_TEXT_BYTES, "%.*s", (int)precision_word(p->computes), p->computes);
}

int precision_rounding(struct exec_options *o, const struct graph *g, const struct pipeline *p,
                       struct error *e)
{
    struct placement *place;
    int rc;
    if (!precision_rounds_wire(p))
        return FL_OK;
    if (!(place = calloc(1, sizeof *place)))
        return error_set(e, FL_NOMEM, "out of memory");
    rc = placement_resolve(place, g, p, e);
    for (int s = 1; !rc && s < place->n_stages; s++)
        o->rounded[o->n_rounded++] = place->stage[s].first;
    free(place);
    return rc;
}

int precision_options(struct exec_options *o, struct quantization *q, const struct graph *g,
                      const struct pipeline *p, struct error *e)
{
    char path[PRECISION_PATH_BYTES], word[PRECISION_TEXT_BYTES];
    int rc;
    *q = (struct quantization){0};
    word_of(p, word);
    if ((rc = engine_parse_kernels(p->kernels, &o->kernels, e)) ||
        (rc = engine_parse_precision(word, &o->precision, e)) ||
        (rc = engine_precision_check(o->precision, o->kernels, e)) || (rc = precision_rounding(o, g, p, e)))
        return rc;
    if (o->precision != PRECISION_INT8)
        return FL_OK;
    rc = quantization_load(q, precision_scales_path(p, path, sizeof path), e);
    if (rc == FL_NOT_FOUND)
        return error_set(e, FL_NOT_FOUND, "precision int8 has no scales yet (%s): run `freezeline quantize`",
                         path);
    o->quantization = q;
    return rc;
}

char *precision_doubt(const struct pipeline *p, char *buf, size_t size)
{
    char path[PRECISION_PATH_BYTES], word[PRECISION_TEXT_BYTES];
    enum exec_precision precision;
    word_of(p, word);
    buf[0] = '\0';
    if (!strcmp(p->precision, "auto") && access(precision_scales_path(p, path, sizeof path), R_OK))
        snprintf(buf, size, "precision auto is float32 until `freezeline quantize` has measured the others");
    else if (!engine_parse_precision(word, &precision, NULL))
        engine_precision_doubt(precision, buf, size);
    return buf;
}

char *precision_of_model(const struct graph *g, enum exec_kernels k, char *buf, size_t size)
{
    struct error why = {FL_OK, ""};
    char doubt[256];
    int n = 0;
    buf[0] = '\0';
    for (int i = 0; i < g->n_values; i++)
        n += g->values[i].low != TENSOR_NONE && !g->values[i].constant;
    if (!n)
        return buf;
    if (engine_precision_check(PRECISION_INT8, k, &why))
        snprintf(buf, size, "the model takes %d values as integers; computed in float32: %s", n, why.text);
    else
        snprintf(buf, size, "the model takes %d values as integers: computed in int8%s%s", n,
                 engine_precision_fast(PRECISION_INT8) ? "" : "; ",
                 engine_precision_doubt(PRECISION_INT8, doubt, sizeof doubt));
    return buf;
}
