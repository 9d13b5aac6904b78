/* image.h - one picture from a PNG or JPEG file
 *
 * Files may be hostile: sizes are checked before memory is taken, decoders' errors become ours.
 */
#ifndef FREEZELINE_IMAGE_H
#define FREEZELINE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define IMAGE_MAX_SIDE   16384
#define IMAGE_MAX_PIXELS (64ll << 20)

/* Interleaved RGB bytes, row by row; pixels are owned (image_release). */
struct image {
    int width, height;
    int orientation;     /* as the camera was held, 1 to 8 as EXIF counts; 1: upright, or nobody says */
    int64_t most_pixels; /* more are not read */
    uint8_t *rgb;
};

/* What the first of `size` bytes say that they are: image/png, image/jpeg or NULL (neither). */
const char *image_type(const void *bytes, size_t size);

/* Pixels as they are stored: gamma, colour profiles and alpha are left out, 16 bits become 8 by v / 257, inks
 * (CMYK) are mixed without a profile. FL_IO, FL_CORRUPT (also: cut off), FL_TOO_LARGE, FL_UNSUPPORTED
 * (neither PNG nor JPEG), FL_NOMEM; then nothing is owned. */
int image_load(struct image *out, const char *path, struct error *e);
/* The same from the `size` bytes of a file; `name` is for messages. */
int image_decode(struct image *out, const void *bytes, size_t size, const char *name, struct error *e);
/* Of no more than so many pixels: for those who have no time for large ones. */
int image_decode_within(struct image *out, const void *bytes, size_t size, const char *name,
                        int64_t most_pixels, struct error *e);
void image_release(struct image *i);

#endif
