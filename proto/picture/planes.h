/* planes.h - a picture as planes of floats, [channels][height][width]: from bytes, and to
 * what a model takes */
#ifndef FREEZELINE_PLANES_H
#define FREEZELINE_PLANES_H

#include <stdint.h>

#include "config/pipeline.h"
#include "picture.h"

/* (pixel - mean) / std, per channel. */
void planes_normalise(const uint8_t *bytes, const struct picture *to, const struct pipeline *p, float *out);

/* In the model's layout and number type; bytes are rounded and kept within 0 to 255. The second: n pixels of
 * a row, from column x. */
void planes_put(const float *planes, const struct picture *to, enum tensor_dtype dtype, void *out);
void planes_put_row(const float *row, const struct picture *to, int channel, int y, int x, int n,
                    enum tensor_dtype dtype, void *out);

#endif
