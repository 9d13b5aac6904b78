/* low.h - values in a lower type: bfloat16, or integers that stand for so many steps
 *
 * A view (op.h) says in which type products take a value, and whether it lies in that type already. Kernels
 * that know lower types convert what does not fit; all others see float32 alone (kernels_low.c).
 */
#ifndef FREEZELINE_LOW_H
#define FREEZELINE_LOW_H

#include "stages/graph/op.h"

/* As which integers numbers are taken: x / step + zero, rounded. Neither counts for bfloat16. */
struct scale {
    float step;
    int zero;
};

#define SCALE_NONE ((struct scale){1, 0})

static inline struct scale view_scale(const struct view *v)
{
    return (struct scale){v->scale, v->zero};
}

/* n float32 to TENSOR_BF16, TENSOR_U8 or TENSOR_I8 and back. */
void low_narrow(const float *x, enum tensor_dtype to, struct scale s, void *y, int64_t n);
void low_widen(const void *x, enum tensor_dtype from, struct scale s, float *y, int64_t n);
/* What one integer of a channel's n weights stands for. Weights that were integers in the model's file are
 * the same ones again; of others the largest is `reach` steps. */
float low_weight_step(const float *w, int64_t n, int reach);
/* A view's elements, in the order in which they lie, as `to`: its own type, float32, or a lower one where it
 * is float32. */
void low_move(const struct view *from, enum tensor_dtype to, struct scale s, void *y);

#endif
