/* preprocess.h - from a picture to the model's input, as `input` in the pipeline file says
 *
 * Turned as the camera was held (exif_orientation), grey for models with one channel, resized, cut from the
 * middle: the bytes that torchvision's Grayscale, Resize and CenterCrop give for PIL images.
 */
#ifndef FREEZELINE_PREPROCESS_H
#define FREEZELINE_PREPROCESS_H

#include "config/pipeline.h"
#include "image.h"
#include "picture.h"

/* Bytes, [channels][height][width]. Works in i's own pixels. FL_SHAPE when the model's pictures have neither
 * 1 nor 3 channels, FL_NOMEM. */
int preprocess_pixels(struct image *i, const struct picture *to, const struct pipeline *p, uint8_t *planes,
                      struct error *e);
/* The same, normalised, in the layout and the number type of `out`, whose data has room for it. */
int preprocess_image(struct image *i, struct tensor *out, const struct picture *to, const struct pipeline *p,
                     struct error *e);

#endif
