/* low.h - values in a lower type: bfloat16, or integers that stand for so many steps
 *
 * A view (op.h) says in which type products take a value, and whether it lies in that type already. Kernels
 * that know lower types convert what does not fit; all others see float32 alone (kernels_low.c).
 */
#ifndef FREEZELINE_LOW_H
#define FREEZELINE_LOW_H

#include "stages/graph/op.h"

/* n float32 to TENSOR_BF16, TENSOR_U8 or TENSOR_I8 and back; `step` counts for integers. */
void low_narrow(const float *x, enum tensor_dtype to, float step, void *y, int64_t n);
void low_widen(const void *x, enum tensor_dtype from, float step, float *y, int64_t n);
/* A view's elements, in the order in which they lie, as `to`: its own type, float32, or a lower one where it
 * is float32. */
void low_move(const struct view *from, enum tensor_dtype to, float step, void *y);

#endif
