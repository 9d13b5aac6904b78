/* whole_model.c - the whole model of a pipeline file */
#include "whole_model.h"

#include "stages/place/precision_options.h"

int whole_model_new(struct exec **out, const struct graph *g, const struct pipeline *p, int threads,
                    int max_batch, struct error *e)
{
    struct exec_options o = {.threads = threads, .max_batch = max_batch, .last = -1};
    struct quantization q;
    int rc = precision_options(&o, &q, g, p, e);

    if (!rc)
        rc = exec_new(out, g, &o, e);
    quantization_release(&q);
    return rc;
}
