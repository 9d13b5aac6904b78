/* onednn.h - what the rest asks of oneDNN; its API stays in onednn_api.c and the kernels that compute with it
 */
#ifndef FREEZELINE_ONEDNN_H
#define FREEZELINE_ONEDNN_H

#include "wire/tensor.h"

/* "oneDNN 2.6.3", or "own kernels" in a build without it. */
const char *onednn_version(void);

/* How products of that type (TENSOR_BF16, TENSOR_I8) run here: by instructions made for them, by others, or
 * not at all. */
enum speed { SPEED_NONE, SPEED_SLOW, SPEED_FAST };
enum speed onednn_speed(enum tensor_dtype low);

#endif
