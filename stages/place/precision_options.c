/* precision_options.c - what a pipeline file says of kernels and precision, as an executor takes it */
#include "precision_options.h"

#include <stdio.h>

#include "config/precision.h"

int precision_options(struct exec_options *o, struct quantization *q, const struct pipeline *p,
                      struct error *e)
{
    char path[PRECISION_PATH_BYTES], word[PRECISION_TEXT_BYTES];
    int rc;
    *q = (struct quantization){0};
    snprintf(word, sizeof word, "%.*s", (int)precision_word(p->computes), p->computes);
    if ((rc = engine_parse_kernels(p->kernels, &o->kernels, e)) ||
        (rc = engine_parse_precision(word, &o->precision, e)) ||
        (rc = engine_precision_check(o->precision, o->kernels, e)))
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
