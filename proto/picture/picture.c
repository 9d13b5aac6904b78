/* picture.c - see picture.h */
#include "picture.h"

#include "config/pipeline.h"

bool picture_of(struct picture *out, const struct tensor *input)
{
    const int64_t *d = input->dim;

    if (input->rank != 4 || d[0] != 1 || (input->dtype != TENSOR_F32 && input->dtype != TENSOR_U8))
        return false;
    for (int i = 1; i < 4; i++)
        if (d[i] < 1 || d[i] > INT32_MAX)
            return false;
    if (d[1] > PIPELINE_MAX_CHANNELS && d[3] <= PIPELINE_MAX_CHANNELS)
        *out = (struct picture){(int)d[3], (int)d[1], (int)d[2], true};
    else
        *out = (struct picture){(int)d[1], (int)d[2], (int)d[3], false};
    return true;
}

bool picture_same(const struct picture *a, const struct picture *b)
{
    return a->channels == b->channels && a->height == b->height && a->width == b->width;
}
