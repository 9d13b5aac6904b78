/* low.c - values in a lower type */
#include "low.h"

#include <math.h>
#include <string.h>

#include "simd.h"
#include "stages/ops/ops.h"

void low_narrow(const float *x, enum tensor_dtype to, struct scale s, void *y, int64_t n)
{
    const struct simd *best = simd_best();
    if (to == TENSOR_BF16)
        best->to_bf16(x, y, n);
    else if (to == TENSOR_U8)
        best->to_u8(x, s.step, s.zero, y, n);
    else
        best->to_i8(x, s.step, s.zero, y, n);
}

void low_widen(const void *x, enum tensor_dtype from, struct scale s, float *y, int64_t n)
{
    const struct simd *best = simd_best();
    if (from == TENSOR_BF16)
        best->from_bf16(x, y, n);
    else if (from == TENSOR_U8)
        best->from_u8(x, s.step, s.zero, y, n);
    else
        best->from_i8(x, s.step, s.zero, y, n);
}

/* Are all of them whole multiples of the step, as far as float32 tells? */
static bool are_multiples(const float *w, int64_t n, float step)
{
    for (int64_t k = 0; k < n; k++) {
        float at = w[k] / step;
        if (fabsf(at - nearbyintf(at)) > 1e-3F || at < -128.5F || at > 127.5F)
            return false;
    }
    return true;
}

float low_weight_step(const float *w, int64_t n, int reach)
{
    float most = 0;
    for (int64_t k = 0; k < n; k++)
        most = fmaxf(most, fabsf(w[k]));
    if (!(most > 0))
        return 1;
    for (int steps = reach == 127 ? 128 : reach; steps > 0; steps--)
        if (are_multiples(w, n, most / (float)steps))
            return most / (float)steps;
    return most / (float)reach;
}

void low_move(const struct view *from, enum tensor_dtype to, struct scale s, void *y)
{
    int64_t n = view_count(from);
    if (from->dtype == to)
        memmove(y, from->data, (size_t)n * tensor_dtype_bytes(to));
    else if (to == TENSOR_F32)
        low_widen(from->data, from->dtype, view_scale(from), y, n);
    else
        low_narrow(from->data, to, s, y, n);
}
