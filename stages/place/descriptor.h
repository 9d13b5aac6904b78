/* descriptor.h - what is sent for a look-up: the activation average-pooled on a few grids, or the whole
 * activation
 *
 * Parameter-free. Grid g divides height and width into g x g cells (bounds as in adaptive average pooling:
 * cell i spans floor(i*H/g) .. ceil((i+1)*H/g); g is at most H and W); each cell gives the mean of each
 * channel. Grids are concatenated in the order given, each as [cell row][cell column][channel]. A rank-2
 * activation is its own descriptor. `flatten` gives the activation in NHWC order, as the paper does.
 */
#ifndef FREEZELINE_DESCRIPTOR_H
#define FREEZELINE_DESCRIPTOR_H

#include "wire/tensor.h"
#include "config/pipeline.h"

#define DESCRIPTOR_MAP_FLOATS   8192
#define DESCRIPTOR_LAYOUT_BYTES 160

/* Floats per request for an activation of this physical (NHWC or [n,d]) shape. */
int descriptor_dim(const struct tensor *activation, const struct descriptor_config *c);
/* Where the descriptor is one map [side][side][channel] (a single grid, or flatten of a square): its side;
 * else 0.
 */
int descriptor_side(const struct tensor *activation, const struct descriptor_config *c);
/* What decides which number stands where, in words: "grids 1,2,4 of 8x8x64", "flatten 8x8x64", "row of 512".
 * Returns `text`. */
char *descriptor_layout(const struct tensor *activation, const struct descriptor_config *c,
                        char text[DESCRIPTOR_LAYOUT_BYTES]);
/* Writes batch x dim floats, row-major. `activation` is NHWC float32 [n,h,w,c] or [n,d]. Allocates nothing.
 */
void descriptor_compute(const struct tensor *activation, const struct descriptor_config *c, float *out);

#endif
