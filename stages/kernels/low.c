/* low.c - values in a lower type */
#include "low.h"

#include <string.h>

#include "simd.h"
#include "stages/ops/ops.h"

void low_narrow(const float *x, enum tensor_dtype to, float step, void *y, int64_t n)
{
    const struct simd *s = simd_best();
    if (to == TENSOR_BF16)
        s->to_bf16(x, y, n);
    else if (to == TENSOR_U8)
        s->to_u8(x, step, y, n);
    else
        s->to_i8(x, step, y, n);
}

void low_widen(const void *x, enum tensor_dtype from, float step, float *y, int64_t n)
{
    const struct simd *s = simd_best();
    if (from == TENSOR_BF16)
        s->from_bf16(x, y, n);
    else if (from == TENSOR_U8)
        s->from_u8(x, step, y, n);
    else
        s->from_i8(x, step, y, n);
}

void low_move(const struct view *from, enum tensor_dtype to, float step, void *y)
{
    int64_t n = view_count(from);
    if (from->dtype == to)
        memmove(y, from->data, (size_t)n * tensor_dtype_bytes(to));
    else if (to == TENSOR_F32)
        low_widen(from->data, from->dtype, from->scale, y, n);
    else
        low_narrow(from->data, to, step, y, n);
}
