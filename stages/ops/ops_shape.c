/* ops_shape.c - the same elements under other dims: Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout,
 * Transpose; and what only reads dims: Shape, Size
 */
#include <string.h>

#include "ops.h"

/* Copies in row-major order of the logical dims, whatever the two layouts are. */
int reshape_reference(const struct op_call *c)
{
    const struct view *in = &c->in[0], *out = &c->out[0];
    int64_t at[TENSOR_MAX_RANK] = {0};
    const struct view *views[] = {in};
    struct walk w;
    if (view_count(out) != view_count(in))
        return FL_SHAPE;
    for (bool more = walk_start(&w, 1, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            element_copy(out, index_offset(at, out->stride, out->rank), in, walk_at(&w, 0, k));
            index_advance(at, out->dim, out->rank);
        }
    return FL_OK;
}

/* 0 keeps the input's dim (unless allowzero), one -1 takes what is left. */
int reshape_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    struct tensor *y = &i->out[0];
    int64_t dims[TENSOR_MAX_RANK], known = 1, all = tensor_count(x);
    bool allow_zero = attr_int(i->node, "allowzero", 0) != 0;
    int n, open = -1, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_ints(i, NULL, 1, dims, TENSOR_MAX_RANK, &n)))
        return code;
    if (n < 0)
        return infer_fail(i, "its shape is missing");
    *y = (struct tensor){.dtype = x->dtype, .rank = n};
    for (int d = 0; d < n; d++) {
        if (dims[d] == 0 && !allow_zero && d >= x->rank)
            return infer_fail(i, "dim %d of its shape is 0, but its input has rank %d", d, x->rank);
        y->dim[d] = dims[d] == 0 && !allow_zero ? x->dim[d] : dims[d];
        if (dims[d] < -1 || (dims[d] == -1 && open >= 0))
            return infer_fail(i, "its shape has an impossible dim %lld", (long long)dims[d]);
        if (dims[d] == -1)
            open = d;
        else if (__builtin_mul_overflow(known, y->dim[d], &known))
            return infer_fail(i, "its shape is too large");
    }
    if (open >= 0) {
        if (!known || all % known)
            return infer_fail(i, "%lld elements cannot be shaped as asked", (long long)all);
        y->dim[open] = all / known;
    } else if (known != all) {
        return infer_fail(i, "%lld elements cannot be shaped into %lld", (long long)all, (long long)known);
    }
    return FL_OK;
}

int flatten_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t axis = attr_int(i->node, "axis", 1);
    int code = infer_dtype(i, 0, DT_ANY);
    if (code)
        return code;
    if (axis < -x->rank || axis > x->rank)
        return infer_fail(i, "axis %lld is outside its input of rank %d", (long long)axis, x->rank);
    axis += axis < 0 ? x->rank : 0;
    i->out[0] = (struct tensor){.dtype = x->dtype, .rank = 2, .dim = {1, 1}};
    for (int d = 0; d < x->rank; d++)
        i->out[0].dim[d >= axis] *= x->dim[d];
    return FL_OK;
}

int squeeze_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    bool gone[TENSOR_MAX_RANK] = {false};
    int64_t axes[TENSOR_MAX_RANK];
    int n, axis, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_ints(i, "axes", 1, axes, TENSOR_MAX_RANK, &n)))
        return code;
    for (int d = 0; d < x->rank && n < 0; d++)
        gone[d] = x->dim[d] == 1;
    for (int k = 0; k < n; k++) {
        if ((code = infer_axis(i, axes[k], x->rank, &axis)))
            return code;
        if (x->dim[axis] != 1)
            return infer_fail(i, "dim %d is %lld, not 1", axis, (long long)x->dim[axis]);
        gone[axis] = true;
    }
    i->out[0] = (struct tensor){.dtype = x->dtype};
    for (int d = 0; d < x->rank; d++)
        if (!gone[d])
            i->out[0].dim[i->out[0].rank++] = x->dim[d];
    return FL_OK;
}

int unsqueeze_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    bool added[TENSOR_MAX_RANK] = {false};
    int64_t axes[TENSOR_MAX_RANK];
    int n, axis, from = 0, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_ints(i, "axes", 1, axes, TENSOR_MAX_RANK, &n)))
        return code;
    if (n < 0 || x->rank + n > TENSOR_MAX_RANK)
        return infer_fail(i, n < 0 ? "its axes are missing" : "its output would have too many dims");
    for (int k = 0; k < n; k++) {
        if ((code = infer_axis(i, axes[k], x->rank + n, &axis)))
            return code;
        if (added[axis])
            return infer_fail(i, "axis %d is given twice", axis);
        added[axis] = true;
    }
    i->out[0] = (struct tensor){.dtype = x->dtype, .rank = x->rank + n};
    for (int d = 0; d < x->rank + n; d++)
        i->out[0].dim[d] = added[d] ? 1 : x->dim[from++];
    return FL_OK;
}

int identity_infer(struct op_infer *i)
{
    return infer_same(i, DT_ANY);
}

int identity_reference(const struct op_call *c)
{
    view_copy(&c->in[0], &c->out[0]);
    return FL_OK;
}

/* Inference never drops anything; the mask says that all is kept. */
int dropout_infer(struct op_infer *i)
{
    int code = infer_same(i, DT_FLOAT);
    if (code)
        return code;
    if (infer_has(i, 2) &&
        (!i->in[2].data || tensor_count(&i->in[2]) != 1 || element_int(i->in[2].dtype, i->in[2].data, 0)))
        return infer_unsupported(i, "training_mode is not supported");
    if (i->n_out > 1) {
        infer_like(i, 1, &i->in[0]);
        i->out[1].dtype = i->opset < 10 ? i->in[0].dtype : TENSOR_BOOL;
    }
    return FL_OK;
}

int dropout_reference(const struct op_call *c)
{
    const struct view *mask = c->n_out > 1 && c->out[1].dtype != TENSOR_NONE ? &c->out[1] : NULL;
    struct walk w;
    view_copy(&c->in[0], &c->out[0]);
    for (bool more = mask && walk_start_any(&w, 1, &mask); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            put_real(mask, walk_at(&w, 0, k), 1);
    return FL_OK;
}

static int permutation(const struct node *n, int rank, int *perm)
{
    const struct attr *a = attr_find(n, "perm");
    bool seen[TENSOR_MAX_RANK] = {false};
    if (a && (a->kind != ATTR_INTS || a->count != rank))
        return FL_MODEL;
    for (int d = 0; d < rank; d++) {
        int64_t p = a ? a->ints[d] : rank - 1 - d;
        if (p < 0 || p >= rank || seen[p])
            return FL_MODEL;
        seen[p] = true;
        perm[d] = (int)p;
    }
    return FL_OK;
}

int transpose_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int perm[TENSOR_MAX_RANK], code = infer_dtype(i, 0, DT_ANY);
    if (code)
        return code;
    if (permutation(i->node, x->rank, perm))
        return infer_fail(i, "attribute 'perm' is no permutation of %d axes", x->rank);
    infer_like(i, 0, x);
    for (int d = 0; d < x->rank; d++)
        i->out[0].dim[d] = x->dim[perm[d]];
    return FL_OK;
}

int transpose_reference(const struct op_call *c)
{
    struct view from = c->in[0];
    int perm[TENSOR_MAX_RANK], code = permutation(c->node, from.rank, perm);
    if (code)
        return code;
    for (int d = 0; d < from.rank; d++) {
        from.dim[d] = c->in[0].dim[perm[d]];
        from.stride[d] = c->in[0].stride[perm[d]];
    }
    view_copy(&from, &c->out[0]);
    return FL_OK;
}

/* From opset 15 on, start and end take a part of the shape. */
static void shape_range(const struct node *n, int rank, int64_t *from, int64_t *to)
{
    *from = attr_int(n, "start", 0);
    *to = attr_int(n, "end", rank);
    *from = *from < 0 ? *from + rank : *from;
    *to = *to < 0 ? *to + rank : *to;
    *from = *from < 0 ? 0 : *from > rank ? rank : *from;
    *to = *to < *from ? *from : *to > rank ? rank : *to;
}

int shape_infer(struct op_infer *i)
{
    int64_t from, to;
    shape_range(i->node, i->in[0].rank, &from, &to);
    i->out[0] = (struct tensor){.dtype = TENSOR_I64, .rank = 1, .dim = {to - from}};
    return FL_OK;
}

int shape_reference(const struct op_call *c)
{
    const struct view *out = &c->out[0];
    int64_t from, to;
    shape_range(c->node, c->in[0].rank, &from, &to);
    for (int64_t d = from; d < to; d++)
        ((int64_t *)out->data)[(d - from) * out->stride[0]] = c->in[0].dim[d];
    return FL_OK;
}

int size_infer(struct op_infer *i)
{
    i->out[0] = (struct tensor){.dtype = TENSOR_I64};
    return FL_OK;
}

int size_reference(const struct op_call *c)
{
    *(int64_t *)c->out[0].data = view_count(&c->in[0]);
    return FL_OK;
}
