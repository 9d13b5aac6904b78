/* precision.h - what a pipeline's network computes in, with the scales that its state holds
 *
 * `precision: int8` needs a step for each value, and `precision: auto` a choice; `freezeline quantize` writes
 * both into one file of the state directory (stages/exec/quantization.h reads it). Other scales are another
 * precision: what was learned from activations under one is wrong under the other.
 */
#ifndef FREEZELINE_PRECISION_H
#define FREEZELINE_PRECISION_H

#include "pipeline.h"

#define PRECISION_PATH_BYTES 1024

char *precision_scales_path(const struct pipeline *p, char *buf, size_t size); /* returns buf */
/* Sets p->computes from p->precision and the file: "float32", "bfloat16", "int8-1a2b3c4d" (digest of the
 * scales), or "int8" where there are none yet. `auto` without a choice is float32. */
void precision_find(struct pipeline *p);
/* Length of the precision's name in it: of "int8". */
size_t precision_word(const char *computes);

#endif
