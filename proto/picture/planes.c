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

/* NaN becomes 0. */
static uint8_t to_byte(float v)
{
    return (uint8_t)(v > 0 ? fminf(v, 255) + 0.5f : 0);
}

void planes_put_row(const float *row, const struct picture *to, int channel, int y, int x, int n,
                    enum tensor_dtype dtype, void *out)
{
    size_t step = to->interleaved ? (size_t)to->channels : 1,
           pixel = (size_t)y * (size_t)to->width + (size_t)x;
    size_t at = to->interleaved ? pixel * step + (size_t)channel
                                : (size_t)channel * (size_t)to->width * (size_t)to->height + pixel;

    for (int i = 0; i < n; i++, at += step)
        if (dtype == TENSOR_U8)
            ((uint8_t *)out)[at] = to_byte(row[i]);
        else
            ((float *)out)[at] = row[i];
}

void planes_put(const float *planes, const struct picture *to, enum tensor_dtype dtype, void *out)
{
    for (int c = 0; c < to->channels; c++)
        for (int y = 0; y < to->height; y++, planes += to->width)
            planes_put_row(planes, to, c, y, 0, to->width, dtype, out);
}
