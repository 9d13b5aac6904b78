/* preprocess.h - from a picture to bytes of the model's size, as `input` in the pipeline file says
 *
 * Turned as the camera was held (exif_orientation), grey for models with one channel, resized, cut from the
 * middle: the bytes that torchvision's Grayscale, Resize and CenterCrop give for PIL images.
 */
#ifndef FREEZELINE_PREPROCESS_H
#define FREEZELINE_PREPROCESS_H

#include "config/pipeline.h"
#include "deploy/picture/image.h"
#include "stages/place/picture.h"

/* Bytes, [channels][height][width]. Works in i's own pixels. FL_SHAPE when the model's pictures have neither
 * 1 nor 3 channels, FL_NOMEM. */
int preprocess_pixels(struct image *i, const struct picture *to, const struct pipeline *p, uint8_t *planes,
                      struct error *e);

/* A request's input from a file: PNG or JPEG; or .npy with one picture in any layout of array_view.h, or with
 * the model's own shape and number type. `out` owns its data (tensor_release). */
int preprocess_file(struct tensor *out, const char *path, const struct tensor *input,
                    const struct pipeline *p, struct error *e);

#endif
