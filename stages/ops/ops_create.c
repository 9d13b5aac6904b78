/* ops_create.c - values out of nothing or of another type: Constant, ConstantOfShape, Range, Cast, Clip */
#include <math.h>
#include <string.h>

#include "ops.h"

/* What a Constant node holds, in whichever attribute. `one` is room for a scalar. */
static int constant_view(const struct node *n, struct tensor *t)
{
    const struct attr *a = NULL;
    static const char *const names[] = {"value", "value_float", "value_int", "value_floats", "value_ints"};
    for (size_t k = 0; k < sizeof names / sizeof *names && !a; k++)
        a = attr_find(n, names[k]);
    if (!a)
        return FL_UNSUPPORTED;
    *t = (struct tensor){.dtype = TENSOR_NONE};
    if (a->kind == ATTR_TENSOR)
        *t = *a->tensor;
    else if (a->kind == ATTR_FLOAT || a->kind == ATTR_FLOATS)
        *t = (struct tensor){.dtype = TENSOR_F32,
                             .data = a->kind == ATTR_FLOATS ? a->floats : (void *)(uintptr_t)&a->f};
    else if (a->kind == ATTR_INT || a->kind == ATTR_INTS)
        *t = (struct tensor){.dtype = TENSOR_I64,
                             .data = a->kind == ATTR_INTS ? a->ints : (void *)(uintptr_t)&a->i};
    if (a->kind == ATTR_FLOATS || a->kind == ATTR_INTS) {
        t->rank = 1;
        t->dim[0] = a->count;
    }
    return t->dtype == TENSOR_NONE ? FL_MODEL : FL_OK;
}

int constant_infer(struct op_infer *i)
{
    struct tensor t;
    int code = constant_view(i->node, &t);
    if (code == FL_UNSUPPORTED)
        return infer_unsupported(i, "only a constant with a tensor, float or integer value is supported");
    if (code)
        return infer_fail(i, "its value is of the wrong kind");
    infer_like(i, 0, &t);
    return FL_OK;
}

int constant_reference(const struct op_call *c)
{
    struct tensor t;
    struct view from;
    int code = constant_view(c->node, &t);
    if (code)
        return code;
    from = view_plain(&t);
    view_copy(&from, &c->out[0]);
    return FL_OK;
}

int constant_of_shape_infer(struct op_infer *i)
{
    const struct attr *value = attr_find(i->node, "value");
    int64_t dims[TENSOR_MAX_RANK];
    int n, code = infer_ints(i, NULL, 0, dims, TENSOR_MAX_RANK, &n);
    if (code)
        return code;
    if (value && (value->kind != ATTR_TENSOR || tensor_count(value->tensor) != 1))
        return infer_fail(i, "attribute 'value' must be a tensor with one element");
    i->out[0] = (struct tensor){.dtype = value ? value->tensor->dtype : TENSOR_F32, .rank = n < 0 ? 0 : n};
    for (int d = 0; d < i->out[0].rank; d++) {
        if (dims[d] < 0)
            return infer_fail(i, "its shape has the dim %lld", (long long)dims[d]);
        i->out[0].dim[d] = dims[d];
    }
    return FL_OK;
}

int constant_of_shape_reference(const struct op_call *c)
{
    const struct attr *value = attr_find(c->node, "value");
    uint64_t zero = 0;
    struct view one = {.dtype = c->out[0].dtype, .data = value ? value->tensor->data : (void *)&zero};
    struct view from = view_broadcast(&one, &c->out[0]);
    view_copy(&from, &c->out[0]);
    return FL_OK;
}

static double range_count(const struct tensor *in)
{
    double v[3];
    for (int k = 0; k < 3; k++)
        v[k] = element_real(in[k].dtype, in[k].data, 0);
    return ceil((v[1] - v[0]) / v[2]);
}

int range_infer(struct op_infer *i)
{
    double n;
    int code = infer_dtype(i, 0, DT(F32) | DT(F64) | DT(I16) | DT(I32) | DT(I64));
    if (code)
        return code;
    for (int k = 0; k < 3; k++) {
        if (tensor_count(&i->in[k]) != 1 || i->in[k].dtype != i->in[0].dtype)
            return infer_fail(i, "its inputs must be three scalars of one type");
        if (!i->in[k].data)
            return infer_unsupported(
                i, "its bounds are known only while the model runs, which is not supported");
    }
    n = range_count(i->in);
    if (!(n <= 1e15))
        return infer_fail(i, "its bounds are impossible");
    i->out[0] = (struct tensor){.dtype = i->in[0].dtype, .rank = 1, .dim = {n > 0 ? (int64_t)n : 0}};
    return FL_OK;
}

int range_reference(const struct op_call *c)
{
    const struct view *out = &c->out[0], *from = &c->in[0], *step = &c->in[2];
    for (int64_t k = 0; k < out->dim[0]; k++)
        if (dtype_is_real(out->dtype))
            put_real(out, k * out->stride[0], real_at(from, 0) + (double)k * real_at(step, 0));
        else
            put_int(out, k * out->stride[0],
                    (int64_t)((uint64_t)int_at(from, 0) + (uint64_t)k * (uint64_t)int_at(step, 0)));
    return FL_OK;
}

int cast_infer(struct op_infer *i)
{
    int64_t to = attr_int(i->node, "to", 0);
    enum tensor_dtype dtype = to > 0 && to <= TENSOR_U64 ? (enum tensor_dtype)to : TENSOR_NONE;
    int code = infer_same(i, DT_ANY);
    if (!code && !tensor_dtype_bytes(dtype))
        return infer_unsupported(i, "casting to element type %lld is not supported", (long long)to);
    i->out[0].dtype = dtype;
    return code;
}

int cast_reference(const struct op_call *c)
{
    const struct view *in = &c->in[0], *out = &c->out[0], *views[] = {out, in};
    struct walk w;
    for (bool more = walk_start_any(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            int64_t to = walk_at(&w, 0, k), from = walk_at(&w, 1, k);
            if (dtype_is_real(in->dtype) || (in->dtype == TENSOR_U64 && dtype_is_real(out->dtype)))
                put_real(out, to, real_at(in, from));
            else
                put_int(out, to, int_at(in, from));
        }
    return FL_OK;
}

/* Bounds in attributes to opset 10, in inputs 1 and 2 (scalars) from 11 on. */
int clip_infer(struct op_infer *i)
{
    for (int k = 1; k < i->n_in; k++)
        if (infer_has(i, k) && (tensor_count(&i->in[k]) != 1 || i->in[k].dtype != i->in[0].dtype))
            return infer_fail(i, "its bounds must be scalars of its input's type");
    return infer_same(i, DT_NUMERIC);
}

static void clip_real(const struct op_call *c, const struct walk *w)
{
    const struct view *in = &c->in[0], *out = &c->out[0];
    double low = attr_float(c->node, "min", -INFINITY), high = attr_float(c->node, "max", INFINITY);
    if (view_present(c, 1))
        low = real_at(&c->in[1], 0);
    if (view_present(c, 2))
        high = real_at(&c->in[2], 0);
    for (int64_t k = 0; k < w->inner; k++) {
        double x = real_at(in, walk_at(w, 1, k));
        x = x < low ? low : x;
        put_real(out, walk_at(w, 0, k), x > high ? high : x);
    }
}

static bool above(enum tensor_dtype t, int64_t a, int64_t b)
{
    return t == TENSOR_U64 ? (uint64_t)a > (uint64_t)b : a > b;
}

static void clip_int(const struct op_call *c, const struct walk *w)
{
    const struct view *in = &c->in[0], *out = &c->out[0];
    int64_t low = view_present(c, 1) ? int_at(&c->in[1], 0) : 0;
    int64_t high = view_present(c, 2) ? int_at(&c->in[2], 0) : 0;
    for (int64_t k = 0; k < w->inner; k++) {
        int64_t x = int_at(in, walk_at(w, 1, k));
        x = view_present(c, 1) && above(in->dtype, low, x) ? low : x;
        x = view_present(c, 2) && above(in->dtype, x, high) ? high : x;
        put_int(out, walk_at(w, 0, k), x);
    }
}

int clip_reference(const struct op_call *c)
{
    const struct view *views[] = {&c->out[0], &c->in[0]};
    struct walk w;
    for (bool more = walk_start_any(&w, 2, views); more; more = walk_next(&w))
        if (dtype_is_real(c->in[0].dtype))
            clip_real(c, &w);
        else
            clip_int(c, &w);
    return FL_OK;
}
