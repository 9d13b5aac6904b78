/* ops_join.c - elements picked and put together: Concat, Split, Slice, Gather, Expand, Tile */
#include <string.h>

#include "ops.h"

int concat_infer(struct op_infer *i)
{
    struct tensor *y = &i->out[0];
    int axis, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) ||
        (code = infer_axis(i, attr_int(i->node, "axis", 1), i->in[0].rank, &axis)))
        return code;
    infer_like(i, 0, &i->in[0]);
    for (int k = 1; k < i->n_in; k++) {
        const struct tensor *x = &i->in[k];
        if (x->rank != y->rank || x->dtype != y->dtype)
            return infer_fail(i, "its input %d has another rank or type than the first", k);
        for (int d = 0; d < y->rank; d++)
            if (d != axis && x->dim[d] != y->dim[d])
                return infer_fail(i, "dim %d of its input %d is %lld, not %lld", d, k, (long long)x->dim[d],
                                  (long long)y->dim[d]);
        if (__builtin_add_overflow(y->dim[axis], x->dim[axis], &y->dim[axis]))
            return infer_fail(i, "its output would be too large");
    }
    return FL_OK;
}

int concat_reference(const struct op_call *c)
{
    const struct view *out = &c->out[0];
    int axis = call_axis(c->node, out->rank, 1);
    int64_t at = 0;
    for (int k = 0; k < c->n_in; k++) {
        struct view to = view_part(out, axis, at, c->in[k].dim[axis]);
        view_copy(&c->in[k], &to);
        at += c->in[k].dim[axis];
    }
    return FL_OK;
}

/* Lengths by attribute (to opset 12) or input 1; without them equal parts, the last one shorter from opset 18
 * on. */
int split_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t parts[OP_MAX_IO], each, sum = 0;
    int n, axis, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) ||
        (code = infer_axis(i, attr_int(i->node, "axis", 0), x->rank, &axis)) ||
        (code = infer_ints(i, "split", 1, parts, OP_MAX_IO, &n)))
        return code;
    if (n >= 0 && n != i->n_out)
        return infer_fail(i, "it has %d outputs and %d lengths", i->n_out, n);
    if (attr_int(i->node, "num_outputs", i->n_out) != i->n_out)
        return infer_fail(i, "num_outputs is not the number of its outputs, %d", i->n_out);
    each = (x->dim[axis] + i->n_out - 1) / i->n_out;
    if (n < 0 && i->opset < 18 && x->dim[axis] % i->n_out)
        return infer_fail(i, "dim %lld cannot be split in %d equal parts", (long long)x->dim[axis], i->n_out);
    for (int k = 0; k < i->n_out; k++) {
        int64_t left = x->dim[axis] - sum, length = n >= 0 ? parts[k] : left < each ? left : each;
        if (length < 0 || length > left)
            return infer_fail(i, "its lengths do not add up to %lld", (long long)x->dim[axis]);
        infer_like(i, k, x);
        i->out[k].dim[axis] = length;
        sum += length;
    }
    return sum == x->dim[axis] ? FL_OK
                               : infer_fail(i, "its lengths do not add up to %lld", (long long)x->dim[axis]);
}

/* Absent outputs still take their share: their length follows from the others only when it is known, so from
 * lengths. */
int split_reference(const struct op_call *c)
{
    const struct view *in = &c->in[0];
    int axis = call_axis(c->node, in->rank, 0), n;
    int64_t parts[OP_MAX_IO], at = 0, each = (in->dim[axis] + c->n_out - 1) / c->n_out;
    call_ints(c, "split", 1, parts, OP_MAX_IO, &n);
    for (int k = 0; k < c->n_out; k++) {
        int64_t left = in->dim[axis] - at, length = n > k ? parts[k] : left < each ? left : each;
        struct view from = view_part(in, axis, at, length);
        if (c->out[k].dtype != TENSOR_NONE)
            view_copy(&from, &c->out[k]);
        at += length;
    }
    return FL_OK;
}

struct slice {
    int64_t start[TENSOR_MAX_RANK], step[TENSOR_MAX_RANK], count[TENSOR_MAX_RANK];
};

static int64_t clamp(int64_t x, int64_t low, int64_t high)
{
    return x < low ? low : x > high ? high : x;
}

static void slice_axis(struct slice *s, int d, int64_t dim, int64_t start, int64_t end, int64_t step)
{
    start = start < 0 ? (start < -dim ? -1 : start + dim) : start;
    end = end < 0 ? (end < -dim ? -1 : end + dim) : end;
    start = step > 0 ? clamp(start, 0, dim) : clamp(start, 0, dim - 1);
    end = step > 0 ? clamp(end, 0, dim) : clamp(end, -1, dim - 1);
    s->start[d] = start;
    s->step[d] = step;
    s->count[d] = step > 0 ? (end > start ? (end - start - 1) / step + 1 : 0)
                           : (start > end ? (start - end - 1) / -step + 1 : 0);
    if (!dim)
        s->count[d] = 0;
}

/* Resolves lists of n starts, ends (and axes, steps where counts are not negative). */
static int slice_resolve(struct slice *s, int rank, const int64_t *dim, int n, const int64_t *starts,
                         const int64_t *ends, const int64_t *axes, const int64_t *steps)
{
    bool seen[TENSOR_MAX_RANK] = {false};
    for (int d = 0; d < rank; d++)
        slice_axis(s, d, dim[d], 0, dim[d], 1);
    for (int k = 0; k < n; k++) {
        int64_t axis = axes ? axes[k] : k, step = steps ? steps[k] : 1;
        axis += axis < 0 ? rank : 0;
        if (axis < 0 || axis >= rank || seen[axis] || !step)
            return FL_MODEL;
        step = clamp(step, -INT32_MAX, INT32_MAX);
        seen[axis] = true;
        slice_axis(s, (int)axis, dim[axis], starts[k], ends[k], step);
    }
    return FL_OK;
}

int slice_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t starts[TENSOR_MAX_RANK], ends[TENSOR_MAX_RANK], axes[TENSOR_MAX_RANK], steps[TENSOR_MAX_RANK];
    bool in = i->opset >= 10;
    int n, m, na, ns, code;
    struct slice s;
    if ((code = infer_dtype(i, 0, DT_ANY)) ||
        (code = infer_ints(i, in ? NULL : "starts", in ? 1 : -1, starts, TENSOR_MAX_RANK, &n)) ||
        (code = infer_ints(i, in ? NULL : "ends", in ? 2 : -1, ends, TENSOR_MAX_RANK, &m)) ||
        (code = infer_ints(i, in ? NULL : "axes", in ? 3 : -1, axes, TENSOR_MAX_RANK, &na)) ||
        (code = infer_ints(i, NULL, in ? 4 : -1, steps, TENSOR_MAX_RANK, &ns)))
        return code;
    if (n < 0 || m != n || (na >= 0 && na != n) || (ns >= 0 && ns != n) || n > x->rank)
        return infer_fail(i, "its starts, ends, axes and steps do not fit one another");
    if (slice_resolve(&s, x->rank, x->dim, n, starts, ends, na < 0 ? NULL : axes, ns < 0 ? NULL : steps))
        return infer_fail(i, "an axis or step is impossible");
    infer_like(i, 0, x);
    memcpy(i->out[0].dim, s.count, (size_t)x->rank * sizeof *s.count);
    return FL_OK;
}

int slice_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0];
    int64_t starts[TENSOR_MAX_RANK], ends[TENSOR_MAX_RANK], axes[TENSOR_MAX_RANK], steps[TENSOR_MAX_RANK];
    bool in = c->opset >= 10;
    int n, m, na, ns, code;
    struct view from = *x;
    struct slice s;
    call_ints(c, in ? NULL : "starts", in ? 1 : -1, starts, TENSOR_MAX_RANK, &n);
    call_ints(c, in ? NULL : "ends", in ? 2 : -1, ends, TENSOR_MAX_RANK, &m);
    call_ints(c, in ? NULL : "axes", in ? 3 : -1, axes, TENSOR_MAX_RANK, &na);
    call_ints(c, NULL, in ? 4 : -1, steps, TENSOR_MAX_RANK, &ns);
    code = slice_resolve(&s, x->rank, x->dim, n < m ? n : m, starts, ends, na < 0 ? NULL : axes,
                         ns < 0 ? NULL : steps);
    if (code)
        return FL_VALUE;
    for (int d = 0; d < x->rank; d++) {
        if (s.count[d] != c->out[0].dim[d])
            return FL_SHAPE;
        if (!s.count[d])
            return FL_OK;
        from = view_part(&from, d, s.start[d], s.count[d]);
        from.stride[d] = x->stride[d] * s.step[d];
    }
    view_copy(&from, &c->out[0]);
    return FL_OK;
}

int gather_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *index = &i->in[1];
    struct tensor *y = &i->out[0];
    int axis, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_dtype(i, 1, DT(I32) | DT(I64))) ||
        (code = infer_axis(i, attr_int(i->node, "axis", 0), x->rank, &axis)))
        return code;
    if (x->rank - 1 + index->rank > TENSOR_MAX_RANK)
        return infer_fail(i, "its output would have too many dims");
    *y = (struct tensor){.dtype = x->dtype};
    for (int d = 0; d < axis; d++)
        y->dim[y->rank++] = x->dim[d];
    for (int d = 0; d < index->rank; d++)
        y->dim[y->rank++] = index->dim[d];
    for (int d = axis + 1; d < x->rank; d++)
        y->dim[y->rank++] = x->dim[d];
    return FL_OK;
}

/* For each index the part of x at it goes to the part of y at the index's own position. */
int gather_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *index = &c->in[1], *y = &c->out[0];
    int axis = call_axis(c->node, x->rank, 0);
    struct view where = {.dtype = y->dtype, .rank = index->rank};
    const struct view *views[] = {&where, index};
    struct walk w;
    for (int d = 0; d < index->rank; d++) {
        where.dim[d] = index->dim[d];
        where.stride[d] = y->stride[axis + d];
    }
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            int64_t at = int_at(index, walk_at(&w, 1, k));
            struct view from, to = {.dtype = y->dtype, .rank = x->rank};
            at += at < 0 ? x->dim[axis] : 0;
            if (at < 0 || at >= x->dim[axis])
                return FL_VALUE;
            from = view_part(x, axis, at, 1);
            memcpy(to.dim, from.dim, sizeof to.dim);
            for (int d = 0; d < x->rank; d++)
                to.stride[d] = d < axis ? y->stride[d] : d > axis ? y->stride[d + index->rank - 1] : 0;
            to.data = (char *)y->data + (walk_at(&w, 0, k)) * (int64_t)tensor_dtype_bytes(y->dtype);
            view_copy(&from, &to);
        }
    return FL_OK;
}

int expand_infer(struct op_infer *i)
{
    struct tensor both[2] = {i->in[0], {.dtype = i->in[0].dtype}};
    struct op_infer pair = *i;
    int64_t dims[TENSOR_MAX_RANK];
    int n, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_ints(i, NULL, 1, dims, TENSOR_MAX_RANK, &n)))
        return code;
    if (n < 0)
        return infer_fail(i, "its shape is missing");
    both[1].rank = n;
    memcpy(both[1].dim, dims, sizeof dims);
    pair.in = both;
    i->out[0].dtype = i->in[0].dtype;
    for (int d = 0; d < n; d++)
        if (dims[d] < 0)
            return infer_fail(i, "its shape has the dim %lld", (long long)dims[d]);
    return infer_broadcast(&pair, 0, 1, &i->out[0]);
}

int expand_reference(const struct op_call *c)
{
    struct view from = view_broadcast(&c->in[0], &c->out[0]);
    view_copy(&from, &c->out[0]);
    return FL_OK;
}

int tile_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t repeats[TENSOR_MAX_RANK];
    int n, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_ints(i, NULL, 1, repeats, TENSOR_MAX_RANK, &n)))
        return code;
    if (n != x->rank)
        return infer_fail(i, "it has %d repeats for an input of rank %d", n, x->rank);
    infer_like(i, 0, x);
    for (int d = 0; d < n; d++)
        if (repeats[d] < 0 || __builtin_mul_overflow(x->dim[d], repeats[d], &i->out[0].dim[d]))
            return infer_fail(i, "its repeats are impossible");
    return FL_OK;
}

/* y is filled block by block, each a copy of x. */
int tile_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    int64_t block[TENSOR_MAX_RANK] = {0}, blocks[TENSOR_MAX_RANK];
    if (!view_count(y))
        return FL_OK;
    for (int d = 0; d < x->rank; d++)
        blocks[d] = y->dim[d] / x->dim[d];
    do {
        struct view to = *y;
        for (int d = 0; d < x->rank; d++)
            to = view_part(&to, d, block[d] * x->dim[d], x->dim[d]);
        view_copy(x, &to);
    } while (index_advance(block, blocks, x->rank));
    return FL_OK;
}
