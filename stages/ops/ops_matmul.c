/* ops_matmul.c - Gemm and MatMul, summed in double */
#include <string.h>

#include "ops.h"

int gemm_infer(struct op_infer *i)
{
    const struct tensor *a = &i->in[0], *b = &i->in[1];
    int ta = attr_int(i->node, "transA", 0) != 0, tb = attr_int(i->node, "transB", 0) != 0, code;
    struct tensor *y = &i->out[0];
    if ((code = infer_dtype(i, 0, DT(F32) | DT(F64))))
        return code;
    if (a->rank != 2 || b->rank != 2 || a->dim[!ta] != b->dim[tb] || a->dtype != b->dtype)
        return infer_fail(i, "its inputs of rank %d and %d do not fit as matrices", a->rank, b->rank);
    *y = (struct tensor){.dtype = a->dtype, .rank = 2, .dim = {a->dim[ta], b->dim[!tb]}};
    if (infer_has(i, 2)) {
        const struct tensor *c = &i->in[2];
        if (c->rank > 2 || c->dtype != a->dtype)
            return infer_fail(i, "its input C has rank %d and type %s", c->rank, tensor_dtype_name(c->dtype));
        for (int d = 0; d < c->rank; d++)
            if (c->dim[d] != 1 && c->dim[d] != y->dim[2 - c->rank + d])
                return infer_fail(i, "its input C does not broadcast to %lld x %lld", (long long)y->dim[0],
                                  (long long)y->dim[1]);
    }
    return FL_OK;
}

/* Sum over k of a[k * as] * b[k * bs]. */
static double dot(const struct view *a, int64_t at_a, int64_t as, const struct view *b, int64_t at_b,
                  int64_t bs, int64_t n)
{
    double sum = 0;
    if (a->dtype == TENSOR_F32) {
        const float *x = (const float *)a->data + at_a, *y = (const float *)b->data + at_b;
        for (int64_t k = 0; k < n; k++)
            sum += (double)x[k * as] * y[k * bs];
        return sum;
    }
    for (int64_t k = 0; k < n; k++)
        sum += real_at(a, at_a + k * as) * real_at(b, at_b + k * bs);
    return sum;
}

/* The passes make Gemms of products whose first operand has more dims: all but the last are rows. */
int gemm_reference(const struct op_call *call)
{
    const struct view *a = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    int ta = attr_int(call->node, "transA", 0) != 0, tb = attr_int(call->node, "transB", 0) != 0;
    int rows = y->rank - 1, deep = ta ? 0 : a->rank - 1;
    double alpha = attr_float(call->node, "alpha", 1), beta = attr_float(call->node, "beta", 1);
    struct view c = {.dtype = TENSOR_NONE};
    int64_t index[TENSOR_MAX_RANK] = {0};
    if (view_present(call, 2) && call->node->post.residual != 2)
        c = view_broadcast(&call->in[2], y);
    if (!view_count(y))
        return FL_OK;
    do {
        int64_t from = index_offset(index, ta ? a->stride + 1 : a->stride, rows);
        int64_t to = index_offset(index, y->stride, rows), add = index_offset(index, c.stride, rows);
        for (int64_t n = 0; n < y->dim[rows]; n++) {
            double sum =
                alpha * dot(a, from, a->stride[deep], b, n * b->stride[!tb], b->stride[tb], a->dim[deep]);
            if (c.dtype != TENSOR_NONE)
                sum += beta * real_at(&c, add + n * c.stride[rows]);
            put_real(y, to + n * y->stride[rows], sum);
        }
    } while (index_advance(index, y->dim, rows));
    return FL_OK;
}

/* numpy's matmul: a vector counts as a row (first) or column (second) matrix, whose dim is then dropped. */
int mat_mul_infer(struct op_infer *i)
{
    struct tensor a = i->in[0], b = i->in[1], *y = &i->out[0];
    struct op_infer batch = *i;
    struct tensor both[2];
    int va = a.rank == 1, vb = b.rank == 1, code;
    int64_t rows, columns;
    if ((code = infer_dtype(i, 0, DT(F32) | DT(F64) | DT_INT)))
        return code;
    if (!a.rank || !b.rank || a.dtype != b.dtype ||
        (va ? a.dim[0] : a.dim[a.rank - 1]) != (vb ? b.dim[0] : b.dim[b.rank - 2]))
        return infer_fail(i, "its inputs of rank %d and %d do not fit as matrices", a.rank, b.rank);
    rows = va ? 1 : a.dim[a.rank - 2];
    columns = vb ? 1 : b.dim[b.rank - 1];
    both[0] = a;
    both[1] = b;
    both[0].rank = va ? 0 : a.rank - 2;
    both[1].rank = vb ? 0 : b.rank - 2;
    batch.in = both;
    *y = (struct tensor){.dtype = a.dtype};
    if ((code = infer_broadcast(&batch, 0, 1, y)))
        return code;
    if (!va)
        y->dim[y->rank++] = rows;
    if (!vb)
        y->dim[y->rank++] = columns;
    return FL_OK;
}

/* Adds the dim that a vector lacks: before the last (row) or after (column). */
static struct view as_matrix(const struct view *v, bool row)
{
    struct view m = *v;
    if (v->rank != 1)
        return m;
    m.rank = 2;
    m.dim[row ? 0 : 1] = 1;
    m.stride[row ? 0 : 1] = 0;
    m.dim[row ? 1 : 0] = v->dim[0];
    m.stride[row ? 1 : 0] = v->stride[0];
    return m;
}

/* y with the dims that matrices have: batch..., rows, columns. */
static struct view full_output(const struct view *y, bool no_rows, bool no_columns)
{
    struct view f = *y;
    if (no_columns) {
        f.dim[f.rank] = 1;
        f.stride[f.rank++] = 0;
    }
    if (no_rows) {
        int last = f.rank - 1;
        f.dim[f.rank] = f.dim[last];
        f.stride[f.rank++] = f.stride[last];
        f.dim[last] = 1;
        f.stride[last] = 0;
    }
    return f;
}

static struct view batch_dims(const struct view *m)
{
    struct view b = *m;
    b.rank -= 2;
    return b;
}

static int64_t dot_int(const struct view *a, int64_t at_a, int64_t as, const struct view *b, int64_t at_b,
                       int64_t bs, int64_t n)
{
    uint64_t sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += (uint64_t)int_at(a, at_a + k * as) * (uint64_t)int_at(b, at_b + k * bs);
    return (int64_t)sum;
}

static void multiply(double alpha, const struct view *a, int64_t at_a, const struct view *b, int64_t at_b,
                     const struct view *y, int64_t at_y)
{
    int r = a->rank - 2, s = b->rank - 2, t = y->rank - 2;
    for (int64_t m = 0; m < y->dim[t]; m++)
        for (int64_t n = 0; n < y->dim[t + 1]; n++) {
            int64_t pa = at_a + m * a->stride[r], pb = at_b + n * b->stride[s + 1];
            int64_t to = at_y + m * y->stride[t] + n * y->stride[t + 1];
            if (dtype_is_real(y->dtype))
                put_real(y, to, alpha * dot(a, pa, a->stride[r + 1], b, pb, b->stride[s], a->dim[r + 1]));
            else
                put_int(y, to, dot_int(a, pa, a->stride[r + 1], b, pb, b->stride[s], a->dim[r + 1]));
        }
}

/* The passes fold a factor that follows into "alpha". */
int mat_mul_reference(const struct op_call *call)
{
    double alpha = attr_float(call->node, "alpha", 1);
    struct view a = as_matrix(&call->in[0], true), b = as_matrix(&call->in[1], false);
    struct view y = full_output(&call->out[0], call->in[0].rank == 1, call->in[1].rank == 1);
    struct view by = batch_dims(&y), ba = batch_dims(&a), bb = batch_dims(&b);
    const struct view *views[3] = {&by, NULL, NULL};
    struct walk w;
    ba = view_broadcast(&ba, &by);
    bb = view_broadcast(&bb, &by);
    views[1] = &ba;
    views[2] = &bb;
    for (bool more = walk_start(&w, 3, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            multiply(alpha, &a, walk_at(&w, 1, k), &b, walk_at(&w, 2, k), &y, walk_at(&w, 0, k));
    return FL_OK;
}
