/* layout.c - between row-major (NCHW) and channels-last (NHWC) */
#include "layout.h"

#include <string.h>

#include "kernels.h"

#define TILE 8

static void transpose_one(const float *from, float *to, int64_t rows, int64_t columns)
{
    for (int64_t i = 0; i < rows; i += TILE)
        for (int64_t j = 0; j < columns; j += TILE) {
            int64_t i_end = i + TILE < rows ? i + TILE : rows,
                    j_end = j + TILE < columns ? j + TILE : columns;
            for (int64_t b = j; b < j_end; b++)
                for (int64_t a = i; a < i_end; a++)
                    to[b * rows + a] = from[a * columns + b];
        }
}

void layout_transpose(const float *from, float *to, int64_t batch, int64_t rows, int64_t columns)
{
    for (int64_t b = 0; b < batch; b++)
        transpose_one(from + b * rows * columns, to + b * rows * columns, rows, columns);
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
