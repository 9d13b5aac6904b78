/* input_file.h - a request's input from a file */
#ifndef FREEZELINE_INPUT_FILE_H
#define FREEZELINE_INPUT_FILE_H

#include "config/pipeline.h"
#include "wire/tensor.h"

/* PNG or JPEG; or .npy, by its name or by how it begins, with one picture in any layout of array_view.h, or
 * with the model's own shape and number type. `out` owns its data (tensor_release). */
int input_file_read(struct tensor *out, const char *path, const struct tensor *input,
                    const struct pipeline *p, struct error *e);

#endif
