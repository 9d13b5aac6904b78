/* layout.c - between row-major (NCHW) and channels-last (NHWC) */
#include "layout.h"

#include <string.h>

#include "kernels.h"

#define TILE 4

typedef float four __attribute__((vector_size(16)));
typedef float unaligned_four __attribute__((vector_size(16), aligned(4), may_alias));

static four load(const float *p)
{
    return *(const unaligned_four *)p;
}

static void store(float *p, four v)
{
    *(unaligned_four *)p = v;
}

static void transpose_tile(const float *from, int64_t from_step, float *to, int64_t to_step)
{
    four a = load(from), b = load(from + from_step), c = load(from + 2 * from_step),
         d = load(from + 3 * from_step);
    four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    four AB = __builtin_shufflevector(a, b, 2, 6, 3, 7), CD = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store(to, __builtin_shufflevector(ab, cd, 0, 1, 4, 5));
    store(to + to_step, __builtin_shufflevector(ab, cd, 2, 3, 6, 7));
    store(to + 2 * to_step, __builtin_shufflevector(AB, CD, 0, 1, 4, 5));
    store(to + 3 * to_step, __builtin_shufflevector(AB, CD, 2, 3, 6, 7));
}

void layout_transpose_part(const float *from, int64_t from_step, float *to, int64_t to_step, int64_t rows,
                           int64_t columns)
{
    int64_t whole = rows / TILE * TILE, j = 0;
    for (; j + TILE <= columns; j += TILE) {
        for (int64_t i = 0; i < whole; i += TILE)
            transpose_tile(from + i * from_step + j, from_step, to + j * to_step + i, to_step);
        for (int64_t i = whole; i < rows; i++)
            for (int k = 0; k < TILE; k++)
                to[(j + k) * to_step + i] = from[i * from_step + j + k];
    }
    for (; j < columns; j++)
        for (int64_t i = 0; i < rows; i++)
            to[j * to_step + i] = from[i * from_step + j];
}

void layout_transpose(const float *from, float *to, int64_t batch, int64_t rows, int64_t columns)
{
    for (int64_t b = 0; b < batch; b++)
        layout_transpose_part(from + b * rows * columns, columns, to + b * rows * columns, rows, rows,
                              columns);
}

void layout_copy(const struct view *from, const struct view *to)
{
    bool plain = view_is_plain(from) && view_is_plain(to),
         last = view_is_channels_last(from) && view_is_channels_last(to);
    if (plain || last) {
        memmove(to->data, from->data, (size_t)view_count(from) * tensor_dtype_bytes(from->dtype));
        return;
    }
    if (from->dtype == TENSOR_F32 && view_is_plain(from) && view_is_channels_last(to))
        layout_transpose(from->data, to->data, from->dim[0], from->dim[1], from->dim[2] * from->dim[3]);
    else if (from->dtype == TENSOR_F32 && view_is_channels_last(from) && view_is_plain(to))
        layout_transpose(from->data, to->data, from->dim[0], from->dim[2] * from->dim[3], from->dim[1]);
    else
        view_copy(from, to);
}
