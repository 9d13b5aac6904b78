/* ops_scatter.c - elements at computed places: GatherElements, GatherND, ScatterElements, ScatterND
 *
 * Indices below 0 count from the end. One that is outside fails the run: FL_VALUE.
 */
#include <string.h>

#include "ops.h"

enum update { REPLACE, ADD, MULTIPLY, SMALLEST, LARGEST, UPDATES };

static enum update update_of(const struct node *n)
{
    static const char *const names[UPDATES] = {"none", "add", "mul", "min", "max"};
    const char *name = attr_string(n, "reduction", "none");
    int k = 0;
    while (k < UPDATES && strcmp(name, names[k]))
        k++;
    return (enum update)k;
}

static void put(enum update how, const struct view *to, int64_t at, const struct view *from, int64_t source)
{
    if (how == REPLACE) {
        element_copy(to, at, from, source);
    } else if (dtype_is_real(to->dtype)) {
        double a = real_at(to, at), x = real_at(from, source);
        put_real(to, at,
                 how == ADD        ? a + x
                 : how == MULTIPLY ? a * x
                 : how == SMALLEST ? (x < a ? x : a)
                                   : (x > a ? x : a));
    } else {
        int64_t a = int_at(to, at), x = int_at(from, source);
        put_int(to, at,
                how == ADD        ? (int64_t)((uint64_t)a + (uint64_t)x)
                : how == MULTIPLY ? (int64_t)((uint64_t)a * (uint64_t)x)
                : how == SMALLEST ? (x < a ? x : a)
                                  : (x > a ? x : a));
    }
}

/* The index at that place, counted from the beginning; false when it is outside 0 .. n - 1. */
static bool index_at(const struct view *indices, int64_t at, int64_t n, int64_t *out)
{
    *out = int_at(indices, at);
    *out += *out < 0 ? n : 0;
    return *out >= 0 && *out < n;
}

/* --- along one axis --- */

static int infer_elements(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *index = &i->in[1];
    int axis, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_dtype(i, 1, DT(I32) | DT(I64))) ||
        (code = infer_axis(i, attr_int(i->node, "axis", 0), x->rank, &axis)))
        return code;
    if (index->rank != x->rank)
        return infer_fail(i, "its indices have rank %d, its data have rank %d", index->rank, x->rank);
    for (int d = 0; d < x->rank; d++)
        if (d != axis && index->dim[d] > x->dim[d])
            return infer_fail(i, "dim %d of its indices is larger than that of its data", d);
    return FL_OK;
}

int gather_elements_infer(struct op_infer *i)
{
    int code = infer_elements(i);
    if (code)
        return code;
    infer_like(i, 0, &i->in[1]);
    i->out[0].dtype = i->in[0].dtype;
    return FL_OK;
}

int gather_elements_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *indices = &c->in[1], *y = &c->out[0];
    int64_t at[TENSOR_MAX_RANK] = {0}, from[TENSOR_MAX_RANK];
    int axis = call_axis(c->node, x->rank, 0);
    if (!view_count(y))
        return FL_OK;
    do {
        memcpy(from, at, sizeof from);
        if (!index_at(indices, index_offset(at, indices->stride, indices->rank), x->dim[axis], &from[axis]))
            return FL_VALUE;
        put(REPLACE, y, index_offset(at, y->stride, y->rank), x, index_offset(from, x->stride, x->rank));
    } while (index_advance(at, y->dim, y->rank));
    return FL_OK;
}

static int infer_updates(struct op_infer *i)
{
    if (update_of(i->node) == UPDATES)
        return infer_unsupported(i, "reduction '%s' is not supported", attr_string(i->node, "reduction", ""));
    if (i->in[2].dtype != i->in[0].dtype)
        return infer_fail(i, "its updates have another type than its data");
    infer_like(i, 0, &i->in[0]);
    return FL_OK;
}

int scatter_elements_infer(struct op_infer *i)
{
    int code = infer_elements(i);
    if (code)
        return code;
    if (!tensor_same_shape(&i->in[1], &i->in[2]))
        return infer_fail(i, "its updates have another shape than its indices");
    return infer_updates(i);
}

int scatter_elements_reference(const struct op_call *c)
{
    const struct view *indices = &c->in[1], *updates = &c->in[2], *y = &c->out[0];
    int64_t at[TENSOR_MAX_RANK] = {0}, to[TENSOR_MAX_RANK];
    int axis = call_axis(c->node, y->rank, 0);
    enum update how = update_of(c->node);
    view_copy(&c->in[0], y);
    if (!view_count(indices))
        return FL_OK;
    do {
        memcpy(to, at, sizeof to);
        if (!index_at(indices, index_offset(at, indices->stride, indices->rank), y->dim[axis], &to[axis]))
            return FL_VALUE;
        put(how, y, index_offset(to, y->stride, y->rank), updates,
            index_offset(at, updates->stride, updates->rank));
    } while (index_advance(at, indices->dim, indices->rank));
    return FL_OK;
}

/* --- by tuples: the last dim of the indices names a place in the first dims of the data --- */

static int infer_tuples(struct op_infer *i, int64_t batch, int *tuple)
{
    const struct tensor *x = &i->in[0], *index = &i->in[1];
    int code;
    if ((code = infer_dtype(i, 0, DT_ANY)) || (code = infer_dtype(i, 1, DT(I32) | DT(I64))))
        return code;
    if (x->rank < 1 || index->rank < 1)
        return infer_fail(i, "its data and its indices need at least one dim");
    if (batch < 0 || batch >= x->rank || batch >= index->rank)
        return infer_fail(i, "batch_dims %lld does not fit its inputs", (long long)batch);
    if (index->dim[index->rank - 1] < 1 || index->dim[index->rank - 1] > x->rank - batch)
        return infer_fail(i, "its indices name %lld dims, its data have %d",
                          (long long)index->dim[index->rank - 1], x->rank);
    for (int d = 0; d < batch; d++)
        if (index->dim[d] != x->dim[d])
            return infer_fail(i, "dim %d of its indices is not that of its data", d);
    *tuple = (int)index->dim[index->rank - 1];
    return FL_OK;
}

int gather_nd_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *index = &i->in[1];
    int64_t batch = attr_int(i->node, "batch_dims", 0);
    struct tensor *y = &i->out[0];
    int tuple, code = infer_tuples(i, batch, &tuple);
    if (code)
        return code;
    if (index->rank - 1 + x->rank - (int)batch - tuple > TENSOR_MAX_RANK)
        return infer_fail(i, "its output would have too many dims");
    *y = (struct tensor){.dtype = x->dtype};
    for (int d = 0; d < index->rank - 1; d++)
        y->dim[y->rank++] = index->dim[d];
    for (int d = (int)batch + tuple; d < x->rank; d++)
        y->dim[y->rank++] = x->dim[d];
    return FL_OK;
}

int scatter_nd_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *index = &i->in[1], *updates = &i->in[2];
    int tuple, rank, code = infer_tuples(i, 0, &tuple);
    if (code)
        return code;
    rank = index->rank - 1 + x->rank - tuple;
    if (updates->rank != rank)
        return infer_fail(i, "its updates have rank %d, not %d", updates->rank, rank);
    for (int d = 0; d < rank; d++)
        if (updates->dim[d] != (d < index->rank - 1 ? index->dim[d] : x->dim[d - index->rank + 1 + tuple]))
            return infer_fail(i, "dim %d of its updates does not fit", d);
    return infer_updates(i);
}

/* For each tuple: the part of `data` that it names, and the part of `rows` at the tuple's own place. `how` as
 * `data` is written, UPDATES: it is read. */
static int each_tuple(const struct view *data, const struct view *indices, const struct view *rows, int batch,
                      enum update how)
{
    int64_t at[TENSOR_MAX_RANK] = {0}, inner[TENSOR_MAX_RANK] = {0};
    int outer = indices->rank - 1, tuple = (int)indices->dim[outer], rest = data->rank - batch - tuple;

    if (!view_count(indices) || !view_count(rows))
        return FL_OK;
    do {
        int64_t place = index_offset(at, indices->stride, outer), row = index_offset(at, rows->stride, outer),
                start = index_offset(at, data->stride, batch);
        for (int t = 0; t < tuple; t++) {
            int64_t k;
            if (!index_at(indices, place + t * indices->stride[outer], data->dim[batch + t], &k))
                return FL_VALUE;
            start += k * data->stride[batch + t];
        }
        do {
            int64_t a = start + index_offset(inner, data->stride + batch + tuple, rest),
                    b = row + index_offset(inner, rows->stride + outer, rest);
            if (how == UPDATES)
                put(REPLACE, rows, b, data, a);
            else
                put(how, data, a, rows, b);
        } while (index_advance(inner, data->dim + batch + tuple, rest));
    } while (index_advance(at, indices->dim, outer));
    return FL_OK;
}

int gather_nd_reference(const struct op_call *c)
{
    return each_tuple(&c->in[0], &c->in[1], &c->out[0], (int)attr_int(c->node, "batch_dims", 0), UPDATES);
}

int scatter_nd_reference(const struct op_call *c)
{
    view_copy(&c->in[0], &c->out[0]);
    return each_tuple(&c->out[0], &c->in[1], &c->in[2], 0, update_of(c->node));
}
