/* ops_reduce.c - along some axes: the Reduce operators, global pools, ArgMax, ArgMin, Softmax, LogSoftmax
 *
 * Axes stand in an attribute or, from opset 13 (ReduceSum) and 18 (the others), in input 1. No axes means all
 * of them, unless noop_with_empty_axes says none.
 */
#include <math.h>
#include <string.h>

#include "ops.h"

static int mark_axes(const int64_t *axes, int n, int rank, bool noop, bool *reduced)
{
    for (int d = 0; d < rank; d++)
        reduced[d] = n <= 0 && !noop;
    for (int k = 0; k < n; k++) {
        int64_t a = axes[k] < 0 ? axes[k] + rank : axes[k];
        if (a < 0 || a >= rank)
            return FL_MODEL;
        reduced[a] = true;
    }
    return FL_OK;
}

/* Output 0 has the dims of x: those that are reduced are 1, or left out. */
static void infer_reduced(struct op_infer *i, const bool *reduced, enum tensor_dtype dtype)
{
    const struct tensor *x = &i->in[0];
    bool keep = attr_int(i->node, "keepdims", 1) != 0;
    i->out[0] = (struct tensor){.dtype = dtype};
    for (int d = 0; d < x->rank; d++)
        if (!reduced[d] || keep)
            i->out[0].dim[i->out[0].rank++] = reduced[d] ? 1 : x->dim[d];
}

int reduce_mean_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    bool noop = attr_int(i->node, "noop_with_empty_axes", 0) != 0, reduced[TENSOR_MAX_RANK];
    int64_t axes[TENSOR_MAX_RANK];
    int n, code;
    if ((code = infer_dtype(i, 0, DT_NUMERIC)) ||
        (code = infer_ints(i, "axes", 1, axes, TENSOR_MAX_RANK, &n)))
        return code;
    if (mark_axes(axes, n, x->rank, noop, reduced))
        return infer_fail(i, "an axis is outside its input of rank %d", x->rank);
    infer_reduced(i, reduced, x->dtype);
    return FL_OK;
}

static void push_dim(struct view *v, const struct view *from, int d)
{
    v->dim[v->rank] = from->dim[d];
    v->stride[v->rank++] = from->stride[d];
}

/* Splits the dims of `in`: `kept` and, with the strides of `out`, `to` walk the output, `gone` what is
 * summed. */
static void split_dims(const struct view *in, const struct view *out, const bool *reduced, bool keep,
                       struct view *kept, struct view *to, struct view *gone)
{
    int o = 0;
    for (int d = 0; d < in->rank; d++) {
        push_dim(reduced[d] ? gone : kept, in, d);
        if (!reduced[d])
            push_dim(to, out, o);
        o += !reduced[d] || keep;
    }
}

enum reduction { MEAN, SUM, MAX, MIN, PROD, L1, L2, LOG_SUM, LOG_SUM_EXP, SUM_SQUARE };

static double combine(enum reduction kind, double a, double x)
{
    switch (kind) {
    case MAX:
        return x > a || isnan(x) ? x : a;
    case MIN:
        return x < a || isnan(x) ? x : a;
    case PROD:
        return a * x;
    case L1:
        return a + fabs(x);
    case L2:
    case SUM_SQUARE:
        return a + x * x;
    default:
        return a + x;
    }
}

static double first_of(enum reduction kind)
{
    return kind == MAX ? -INFINITY : kind == MIN ? INFINITY : kind == PROD ? 1 : 0;
}

static double reduce_real(enum reduction kind, const struct view *gone, const struct view *in, int64_t at)
{
    const struct view *views[] = {gone};
    double a = first_of(kind);
    /* exp of what is below the largest: no sum overflows */
    double top = kind == LOG_SUM_EXP ? reduce_real(MAX, gone, in, at) : 0;
    struct walk w;
    for (bool more = walk_start(&w, 1, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double x = real_at(in, at + walk_at(&w, 0, k));
            a = combine(kind, a, kind == LOG_SUM_EXP ? exp(x - top) : x);
        }
    switch (kind) {
    case MEAN:
        return view_count(gone) ? a / (double)view_count(gone) : a;
    case L2:
        return sqrt(a);
    case LOG_SUM:
        return log(a);
    case LOG_SUM_EXP:
        return isinf(top) ? top : top + log(a);
    default:
        return a;
    }
}

static int64_t combine_int(enum reduction kind, int64_t a, int64_t x, bool first)
{
    switch (kind) {
    case MAX:
        return first || x > a ? x : a;
    case MIN:
        return first || x < a ? x : a;
    case PROD:
        return (int64_t)((uint64_t)a * (uint64_t)x);
    case L1:
        return (int64_t)((uint64_t)a + (x < 0 ? 0 - (uint64_t)x : (uint64_t)x));
    case SUM_SQUARE:
        return (int64_t)((uint64_t)a + (uint64_t)x * (uint64_t)x);
    default:
        return (int64_t)((uint64_t)a + (uint64_t)x);
    }
}

static int64_t reduce_int(enum reduction kind, const struct view *gone, const struct view *in, int64_t at)
{
    const struct view *views[] = {gone};
    int64_t a = kind == PROD ? 1 : 0;
    bool first = true;
    struct walk w;
    for (bool more = walk_start(&w, 1, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++, first = false)
            a = combine_int(kind, a, int_at(in, at + walk_at(&w, 0, k)), first);
    return kind == MEAN && view_count(gone) ? a / view_count(gone) : a;
}

static int reduce_axes(const struct op_call *c, enum reduction kind, const bool *reduced, bool keep)
{
    const struct view *in = &c->in[0], *out = &c->out[0];
    struct view kept = {.rank = 0}, to = {.rank = 0}, gone = {.rank = 0};
    const struct view *views[] = {&to, &kept};
    struct walk w;
    split_dims(in, out, reduced, keep, &kept, &to, &gone);
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            int64_t from = walk_at(&w, 1, k), at = walk_at(&w, 0, k);
            if (dtype_is_real(in->dtype) || kind == L2 || kind == LOG_SUM || kind == LOG_SUM_EXP)
                put_real(out, at, reduce_real(kind, &gone, in, from));
            else
                put_int(out, at, reduce_int(kind, &gone, in, from));
        }
    return FL_OK;
}

static int reduce(const struct op_call *c, enum reduction kind)
{
    bool keep = attr_int(c->node, "keepdims", 1) != 0,
         noop = attr_int(c->node, "noop_with_empty_axes", 0) != 0;
    bool reduced[TENSOR_MAX_RANK];
    int64_t axes[TENSOR_MAX_RANK];
    int n;
    call_ints(c, "axes", 1, axes, TENSOR_MAX_RANK, &n);
    if (mark_axes(axes, n, c->in[0].rank, noop, reduced))
        return FL_VALUE;
    return reduce_axes(c, kind, reduced, keep);
}

#define REDUCTION(name, kind)                     \
    int name##_reference(const struct op_call *c) \
    {                                             \
        return reduce(c, kind);                   \
    }
REDUCTION(reduce_mean, MEAN)
REDUCTION(reduce_sum, SUM)
REDUCTION(reduce_max, MAX)
REDUCTION(reduce_min, MIN)
REDUCTION(reduce_prod, PROD)
REDUCTION(reduce_l1, L1)
REDUCTION(reduce_l2, L2)
REDUCTION(reduce_log_sum, LOG_SUM)
REDUCTION(reduce_log_sum_exp, LOG_SUM_EXP)
REDUCTION(reduce_sum_square, SUM_SQUARE)

/* GlobalAveragePool and GlobalMaxPool: all spatial dims become 1. */
int global_pool_infer(struct op_infer *i)
{
    if (i->in[0].rank < 3)
        return infer_fail(i, "its input has rank %d, it needs N, C and spatial dims", i->in[0].rank);
    infer_like(i, 0, &i->in[0]);
    for (int d = 2; d < i->in[0].rank; d++)
        i->out[0].dim[d] = 1;
    return infer_dtype(i, 0, DT_FLOAT);
}

static int global_pool(const struct op_call *c, enum reduction kind)
{
    bool reduced[TENSOR_MAX_RANK];
    for (int d = 0; d < TENSOR_MAX_RANK; d++)
        reduced[d] = d >= 2;
    return reduce_axes(c, kind, reduced, true);
}

int global_average_pool_reference(const struct op_call *c)
{
    return global_pool(c, MEAN);
}

int global_max_pool_reference(const struct op_call *c)
{
    return global_pool(c, MAX);
}

int arg_max_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    bool reduced[TENSOR_MAX_RANK] = {false};
    int axis, code;
    if ((code = infer_dtype(i, 0, DT_NUMERIC)) ||
        (code = infer_axis(i, attr_int(i->node, "axis", 0), x->rank, &axis)))
        return code;
    if (!x->dim[axis])
        return infer_fail(i, "axis %d is empty", axis);
    reduced[axis] = true;
    infer_reduced(i, reduced, TENSOR_I64);
    return FL_OK;
}

static int64_t arg_best(const struct view *in, int64_t at, int axis, bool max, bool last)
{
    int64_t best = 0;
    double value = real_at(in, at);
    for (int64_t k = 1; k < in->dim[axis]; k++) {
        double x = real_at(in, at + k * in->stride[axis]);
        if ((max ? x > value : x < value) || (last && x == value)) {
            best = k;
            value = x;
        }
    }
    return best;
}

static int arg_reference(const struct op_call *c, bool max)
{
    const struct view *in = &c->in[0], *out = &c->out[0];
    bool reduced[TENSOR_MAX_RANK] = {false}, last = attr_int(c->node, "select_last_index", 0) != 0;
    int axis = call_axis(c->node, in->rank, 0);
    struct view kept = {.rank = 0}, to = {.rank = 0}, gone = {.rank = 0};
    const struct view *views[] = {&to, &kept};
    struct walk w;
    reduced[axis] = true;
    split_dims(in, out, reduced, attr_int(c->node, "keepdims", 1) != 0, &kept, &to, &gone);
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            ((int64_t *)out->data)[walk_at(&w, 0, k)] = arg_best(in, walk_at(&w, 1, k), axis, max, last);
    return FL_OK;
}

int arg_max_reference(const struct op_call *c)
{
    return arg_reference(c, true);
}

int arg_min_reference(const struct op_call *c)
{
    return arg_reference(c, false);
}

/* Softmax and LogSoftmax: from opset 13 along one axis (the last by default); before, along all axes from
 * `axis` (1 by default) on. */
int softmax_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t asked = attr_int(i->node, "axis", i->opset >= 13 ? -1 : 1);
    int axis, code = infer_same(i, DT_FLOAT);
    if (code || (i->opset < 13 && asked == x->rank))
        return code;
    return infer_axis(i, asked, x->rank, &axis);
}

struct softmax {
    const struct view *x, *y;
    struct view in, out; /* the axes that are normalised, in x and in y */
    bool log;
};

static void softmax_at(const struct softmax *s, int64_t from, int64_t to)
{
    const struct view *views[] = {&s->out, &s->in};
    double max = -INFINITY, sum = 0;
    struct walk w;
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double x = real_at(s->x, from + walk_at(&w, 1, k));
            max = x > max ? x : max;
        }
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            sum += exp(real_at(s->x, from + walk_at(&w, 1, k)) - max);
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double x = real_at(s->x, from + walk_at(&w, 1, k)) - max;
            put_real(s->y, to + walk_at(&w, 0, k), s->log ? x - log(sum) : exp(x) / sum);
        }
}

static int softmax(const struct op_call *c, bool log)
{
    struct softmax s = {.x = &c->in[0], .y = &c->out[0], .log = log};
    struct view in = {.rank = 0}, out = {.rank = 0};
    const struct view *views[] = {&out, &in};
    int axis = call_axis(c->node, s.x->rank, c->opset >= 13 ? -1 : 1);
    struct walk w;
    for (int d = 0; d < s.x->rank; d++) {
        bool normalised = c->opset >= 13 ? d == axis : d >= axis;
        push_dim(normalised ? &s.in : &in, s.x, d);
        push_dim(normalised ? &s.out : &out, s.y, d);
    }
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            softmax_at(&s, walk_at(&w, 1, k), walk_at(&w, 0, k));
    return FL_OK;
}

int softmax_reference(const struct op_call *c)
{
    return softmax(c, false);
}

int log_softmax_reference(const struct op_call *c)
{
    return softmax(c, true);
}
