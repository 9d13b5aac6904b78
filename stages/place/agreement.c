/* agreement.c - see agreement.h */
#include "agreement.h"

#include <string.h>

#include "picture/picture.h"

static int check_channels(const struct pipeline *p, const struct tensor *input, const char *key, int n,
                          struct error *e)
{
    struct picture picture;
    char shape[128];

    if (!n)
        return FL_OK;
    tensor_describe(input, shape, sizeof shape);
    if (!picture_of(&picture, input))
        return pipeline_error(p, key, e, "%s is for pictures, the model takes %s: leave it out", key, shape);
    if (input->dtype == TENSOR_U8)
        return pipeline_error(p, key, e, "the model takes pixels as they are (%s): leave %s out", shape, key);
    if (n != 1 && n != picture.channels)
        return pipeline_error(p, key, e,
                              "%s has %d entries, the model takes %s: write %d, or one for all channels", key,
                              n, shape, picture.channels);
    return FL_OK;
}

/* What resizing and cutting leave is what the model takes. */
static int check_sizes(const struct pipeline *p, const struct tensor *input, struct error *e)
{
    const char *key = p->n_crop ? "input.crop" : "input.resize";
    const int *size = p->n_crop ? p->crop : p->resize;
    int n = p->n_crop ? p->n_crop : p->n_resize;
    struct picture picture;
    char shape[128];

    if (!n)
        return FL_OK;
    tensor_describe(input, shape, sizeof shape);
    if (!picture_of(&picture, input))
        return pipeline_error(p, key, e, "%s is for pictures, the model takes %s: leave it out", key, shape);
    if (!p->n_crop && n == 1) /* the rest is cut */
        return FL_OK;
    if (size[0] != picture.height || size[n - 1] != picture.width)
        return pipeline_error(p, key, e, "%s leaves pictures of %dx%d, the model takes %s: write [%d, %d]",
                              key, size[0], size[n - 1], shape, picture.height, picture.width);
    return FL_OK;
}

/* Numbers in the model's answer for one request: classes, for a classifier. */
static int check_labels(const struct pipeline *p, const struct graph *g, struct error *e)
{
    struct tensor scores = value_shape(&g->values[g->outputs[0]], 1);
    int64_t classes = tensor_count(&scores);

    if (!p->n_labels || classes == p->n_labels)
        return FL_OK;
    return pipeline_error(p, "labels", e,
                          "labels has %d names, the model has %lld classes: write one for each, in order",
                          p->n_labels, (long long)classes);
}

int agreement_check(const struct pipeline *p, const struct graph *g, struct error *e)
{
    struct tensor input;
    int rc;

    if (g->n_inputs != 1 || g->n_outputs < 1)
        return FL_OK; /* no pipeline serves it, and that is said elsewhere */
    input = value_shape(&g->values[g->inputs[0]], 1);
    if ((rc = check_channels(p, &input, "input.mean", p->n_mean, e)) ||
        (rc = check_channels(p, &input, "input.std", p->n_std, e)) || (rc = check_sizes(p, &input, e)))
        return rc;
    return check_labels(p, g, e);
}
