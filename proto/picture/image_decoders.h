/* image_decoders.h - what image.c and the two decoders share; private to proto/picture/image*.c */
#ifndef FREEZELINE_IMAGE_DECODERS_H
#define FREEZELINE_IMAGE_DECODERS_H

#include "image.h"

/* Checks the size and takes 3 x width x height bytes for out->rgb. FL_TOO_LARGE, FL_NOMEM. */
int image_take_pixels(struct image *out, int64_t width, int64_t height, const char *name, struct error *e);

/* Decode the `size` bytes of a file, whose first bytes say PNG or JPEG. `name` is for messages. What is in
 * `out` after an error is to be released. */
int image_decode_png(struct image *out, const uint8_t *bytes, size_t size, const char *name, struct error *e);
int image_decode_jpeg(struct image *out, const uint8_t *bytes, size_t size, const char *name,
                      struct error *e);

/* The orientation (1 to 8) in EXIF data, which begin with a TIFF header; 1 where there is none. */
int image_exif_orientation(const uint8_t *tiff, size_t size);

#endif
