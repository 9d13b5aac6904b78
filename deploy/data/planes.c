/* planes.c - see planes.h */
#include "planes.h"

#include <math.h>

void planes_normalise(const uint8_t *bytes, const struct picture *to, const struct pipeline *p, float *out)
{
    size_t plane = (size_t)to->width * (size_t)to->height;

    for (int c = 0; c < to->channels; c++) {
        float mean = pipeline_mean(p, c), std = pipeline_std(p, c);
        for (size_t i = 0; i < plane; i++, bytes++, out++)
            *out = ((float)*bytes - mean) / std;
    }
}

void planes_put(const float *planes, const struct picture *to, enum tensor_dtype dtype, void *out)
{
    size_t plane = (size_t)to->width * (size_t)to->height, channels = (size_t)to->channels;
    size_t step = to->interleaved ? channels : 1, next = to->interleaved ? 1 : plane;

    for (size_t c = 0; c < channels; c++)
        for (size_t i = 0; i < plane; i++, planes++) {
            size_t at = c * next + i * step;
            if (dtype == TENSOR_U8)
                ((uint8_t *)out)[at] = (uint8_t)(*planes > 0 ? fminf(*planes, 255) + 0.5f : 0); /* NaN: 0 */
            else
                ((float *)out)[at] = *planes;
        }
}
