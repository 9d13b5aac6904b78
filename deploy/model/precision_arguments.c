/* precision_arguments.c - --precision and --scales of commands that run a model without a pipeline file */
#include "precision_arguments.h"

#include <stdio.h>

int precision_arguments_read(struct precision_arguments *a, struct exec_options *o, struct error *e)
{
    char text[256];
    int rc;

    if (a->name && engine_parse_precision(a->name, &o->precision, NULL))
        return error_set(e, FL_USAGE, "--precision %s: it is one of float32, bfloat16, int8", a->name);
    if (o->precision == PRECISION_INT8 && !a->scales)
        return error_set(e, FL_USAGE,
                         "--precision int8 needs --scales FILE, which `freezeline quantize` writes");
    if (a->scales && (rc = quantization_load(&a->quantization, a->scales, e)))
        return rc;
    o->quantization = a->scales ? &a->quantization : NULL;
    if ((rc = engine_precision_check(o->precision, o->kernels, e)))
        return rc;
    if (*engine_precision_doubt(o->precision, text, sizeof text))
        fprintf(stderr, "freezeline: %s\n", text);
    return FL_OK;
}

void precision_arguments_release(struct precision_arguments *a)
{
    quantization_release(&a->quantization);
}
