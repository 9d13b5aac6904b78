/* fit_samples.c - records for a network, whatever it takes */
#include "fit_samples.h"

#include <string.h>

static int open_array(struct samples *s, const char *path, const struct tensor *input, struct error *e)
{
    const struct tensor *has = &s->array.tensor;
    char want[128], got[128];
    int rc = npy_map_open(&s->array, path, e);
    bool fits;
    if (rc)
        return rc;
    fits = has->dtype == TENSOR_F32 && input->dtype == TENSOR_F32 && has->rank == input->rank &&
           !s->array.fortran;
    for (int i = 1; fits && i < has->rank; i++)
        fits = has->dim[i] == input->dim[i];
    if (!fits)
        return error_set(e, FL_SHAPE,
                         "%s: the network takes %s, and the array is %s%s; records come first, in C order",
                         path, tensor_describe(input, want, sizeof want),
                         tensor_describe(has, got, sizeof got), s->array.fortran ? " in Fortran order" : "");
    s->count = has->dim[0];
    return FL_OK;
}

int samples_open(struct samples *out, const char *spec, const struct graph *g,
                 const struct dataset_options *o, struct error *e)
{
    struct tensor input = g->n_inputs == 1 ? value_shape(&g->values[g->inputs[0]], 1) : (struct tensor){0};
    struct dataset_options with = *o;
    struct picture unused;
    int rc;
    *out = (struct samples){.pictures = NULL};
    if (g->n_inputs != 1 || input.rank < 1 || input.dim[0] != 1)
        return error_set(e, FL_UNSUPPORTED,
                         "%s: compression needs a network with one input, one record at a time", g->path);
    out->bytes = tensor_bytes(&input);
    if (!picture_of(&unused, &input)) {
        if (strncmp(spec, "npy:", 4))
            return error_set(e, FL_USAGE,
                             "--data %s: this network takes no pictures; give npy:FILE.npy with its inputs",
                             spec);
        return open_array(out, spec + 4, &input, e);
    }
    with.input = &input;
    rc = dataset_open(&out->pictures, spec, &with, e);
    out->count = rc ? 0 : dataset_count(out->pictures);
    return rc;
}

void samples_close(struct samples *s)
{
    dataset_close(s->pictures);
    npy_map_close(&s->array);
    *s = (struct samples){.pictures = NULL};
}

void samples_put(const struct samples *s, int64_t i, void *out)
{
    if (s->pictures)
        dataset_image(s->pictures, i, out);
    else
        memcpy(out, (const char *)s->array.tensor.data + i * s->bytes, (size_t)s->bytes);
}
