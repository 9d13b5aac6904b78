/* picture.h - a model's input taken as a picture: which of its dimensions are what */
#ifndef FREEZELINE_PICTURE_H
#define FREEZELINE_PICTURE_H

#include "wire/tensor.h"

struct picture {
    int channels, height, width;
    bool interleaved; /* [height][width][channels]; else planes, [channels][height][width] */
};

/* False when `input` is not 1x3 dimensions of float32 or uint8. Channels come second, as PyTorch has them,
 * unless only the last dimension is small enough to be channels (PIPELINE_MAX_CHANNELS). */
bool picture_of(struct picture *out, const struct tensor *input);

/* The same channels, height and width, in whatever order they lie. */
bool picture_same(const struct picture *a, const struct picture *b);

#endif
