/* precision.h - what a pipeline's network computes in, with the scales that its state holds, and what its
 * stages hand on
 *
 * `precision: int8` needs a step for each value, and `precision: auto` a choice; `freezeline quantize` writes
 * both into one file of the state directory (stages/exec/quantization.h reads it). Other scales are another
 * precision: what was learned from activations under one is wrong under the other.
 *
 * `wire_dtype: bfloat16` rounds activations between stages, whatever way they take: through a lane too, so
 * that an answer does not depend on where a stage runs or on whether a lane was full. It is a part of the
 * precision, with the places where stages end.
 */
#ifndef FREEZELINE_PRECISION_H
#define FREEZELINE_PRECISION_H

#include "pipeline.h"

#define PRECISION_PATH_BYTES 1024

char *precision_scales_path(const struct pipeline *p, char *buf, size_t size); /* returns buf */
/* Sets p->computes from p->precision and the file: "float32", "bfloat16", "int8-1a2b3c4d" (digest of the
 * scales), or "int8" where there are none yet. `auto` without a choice is float32. Where the wire rounds,
 * "+wire-bfloat16-1a2b3c4d" (digest of the stages' ends) follows. */
void precision_find(struct pipeline *p);
/* Length of the precision's name in it: of "int8". */
size_t precision_word(const char *computes);
/* Are activations between stages rounded to bfloat16? Not where there is one stage. */
bool precision_rounds_wire(const struct pipeline *p);
/* Something is not computed in float32, or `precision` is yet to be chosen. */
bool precision_lower(const struct pipeline *p);
/* What an activation of so many bytes in float32 takes between stages. */
double precision_wire_bytes(const struct pipeline *p, double bytes);

#endif
