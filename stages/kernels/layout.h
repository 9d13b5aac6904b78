/* layout.h - between row-major (NCHW) and channels-last (NHWC) */
#ifndef FREEZELINE_LAYOUT_H
#define FREEZELINE_LAYOUT_H

#include "stages/graph/op.h"

/* Like view_copy; fast for float32 of rank 4 between the two layouts, and between equal ones. */
void layout_copy(const struct view *from, const struct view *to);

/* to[b][j][i] = from[b][i][j] for i in [0, rows), j in [0, columns): NCHW -> NHWC with rows = channels. */
void layout_transpose(const float *from, float *to, int64_t batch, int64_t rows, int64_t columns);
/* The same for one matrix, whose rows and columns lie `from_step` and `to_step` floats apart. */
void layout_transpose_part(const float *from, int64_t from_step, float *to, int64_t to_step, int64_t rows,
                           int64_t columns);

#endif
