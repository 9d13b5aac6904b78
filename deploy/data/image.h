/* image.h - one picture from a PNG or JPEG file, made into a model's input
 *
 * Files may be hostile: sizes are checked before memory is taken, decoders' errors become ours.
 */
#ifndef FREEZELINE_IMAGE_H
#define FREEZELINE_IMAGE_H

#include <stdint.h>

#include "base/error.h"
#include "base/pipeline.h"
#include "wire/tensor.h"

#define IMAGE_MAX_SIDE   16384
#define IMAGE_MAX_PIXELS (64ll << 20)

/* Interleaved RGB bytes, row by row; pixels are owned (image_release). */
struct image {
    int width, height;
    int orientation; /* as the camera was held, 1 to 8 as EXIF counts; 1: upright, or nobody says */
    uint8_t *rgb;
};

/* Pixels as they are stored: gamma, colour profiles and alpha are left out, 16 bits become 8 by v / 257, inks
 * (CMYK) are mixed without a profile. FL_IO, FL_CORRUPT (also: cut off), FL_TOO_LARGE, FL_UNSUPPORTED
 * (neither PNG nor JPEG), FL_NOMEM; then nothing is owned. */
int image_load(struct image *out, const char *path, struct error *e);
/* The same from the `size` bytes of a file; `name` is for messages. */
int image_decode(struct image *out, const void *bytes, size_t size, const char *name, struct error *e);
void image_release(struct image *i);

/* Resizes to the model's input 1xCxHxW (C 3, or 1: luma), aspect not kept: each output pixel is the mean of
 * the area that it covers when shrinking, bilinear when growing. Then normalises into out[C*H*W]. FL_SHAPE,
 * FL_NOMEM. */
int image_to_input(const struct image *i, const struct tensor *input, const struct pipeline *p, float *out,
                   struct error *e);

/* A request's input from a file: PNG or JPEG as above; .npy with the model's shape (or without the leading
 * 1), float32 as it is, bytes as pixels. `out` owns its data (tensor_release). */
int image_read_input(struct tensor *out, const char *path, const struct tensor *input,
                     const struct pipeline *p, struct error *e);

#endif
