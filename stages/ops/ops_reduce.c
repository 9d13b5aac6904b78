/* ops_reduce.c - the Reduce operators, ArgMax, ArgMin
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

int reduce_mean_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    bool keep = attr_int(i->node, "keepdims", 1) != 0,
         noop = attr_int(i->node, "noop_with_empty_axes", 0) != 0;
    bool reduced[TENSOR_MAX_RANK];
    int64_t axes[TENSOR_MAX_RANK];
    int n, code;
    if ((code = infer_dtype(i, 0, DT_NUMERIC)) ||
        (code = infer_ints(i, "axes", 1, axes, TENSOR_MAX_RANK, &n)))
        return code;
    if (mark_axes(axes, n, x->rank, noop, reduced))
        return infer_fail(i, "an axis is outside its input of rank %d", x->rank);
    i->out[0] = (struct tensor){.dtype = x->dtype};
    for (int d = 0; d < x->rank; d++)
        if (!reduced[d] || keep)
            i->out[0].dim[i->out[0].rank++] = reduced[d] ? 1 : x->dim[d];
    return FL_OK;
}

/* in's dims split in two views: `kept` walks the output (with its strides in *out), `gone` what is summed. */
static void split_dims(const struct view *in, const struct view *out, const bool *reduced, bool keep,
                       struct view *kept, struct view *to, struct view *gone)
{
    int o = 0;
    kept->rank = gone->rank = 0;
    for (int d = 0; d < in->rank; d++) {
        struct view *v = reduced[d] ? gone : kept;
        if (!reduced[d]) {
            to->dim[kept->rank] = in->dim[d];
            to->stride[kept->rank] = out->stride[o];
        }
        o += !reduced[d] || keep;
        v->dim[v->rank] = in->dim[d];
        v->stride[v->rank++] = in->stride[d];
    }
    to->rank = kept->rank;
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
            double x = element_real(in->dtype, in->data, at + w.off[0] + k * w.step[0]);
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
        return first ? x : (int64_t)((uint64_t)a * (uint64_t)x);
    case L1:
        x = x < 0 ? (int64_t)(0 - (uint64_t)x) : x;
        return first ? x : (int64_t)((uint64_t)a + (uint64_t)x);
    case SUM_SQUARE:
        x = (int64_t)((uint64_t)x * (uint64_t)x);
        return first ? x : (int64_t)((uint64_t)a + (uint64_t)x);
    default:
        return first ? x : (int64_t)((uint64_t)a + (uint64_t)x);
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
            a = combine_int(kind, a, element_int(in->dtype, in->data, at + w.off[0] + k * w.step[0]), first);
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
            int64_t from = w.off[1] + k * w.step[1], at = w.off[0] + k * w.step[0];
            if (dtype_is_real(in->dtype) || kind == L2 || kind == LOG_SUM || kind == LOG_SUM_EXP)
                element_set_real(out->dtype, out->data, at, reduce_real(kind, &gone, in, from));
            else
                element_set_int(out->dtype, out->data, at, reduce_int(kind, &gone, in, from));
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
    int code = infer_dtype(i, 0, DT_FLOAT);
    if (code)
        return code;
    if (i->in[0].rank < 3)
        return infer_fail(i, "its input has rank %d, it needs N, C and spatial dims", i->in[0].rank);
    infer_like(i, 0, &i->in[0]);
    for (int d = 2; d < i->in[0].rank; d++)
        i->out[0].dim[d] = 1;
    return FL_OK;
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

static int arg_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    bool keep = attr_int(i->node, "keepdims", 1) != 0;
    int axis, code;
    if ((code = infer_dtype(i, 0, DT_NUMERIC)) ||
        (code = infer_axis(i, attr_int(i->node, "axis", 0), x->rank, &axis)))
        return code;
    if (!x->dim[axis])
        return infer_fail(i, "axis %d is empty", axis);
    i->out[0] = (struct tensor){.dtype = TENSOR_I64};
    for (int d = 0; d < x->rank; d++)
        if (d != axis || keep)
            i->out[0].dim[i->out[0].rank++] = d == axis ? 1 : x->dim[d];
    return FL_OK;
}

static int64_t arg_best(const struct view *in, int64_t at, int axis, bool max, bool last)
{
    int64_t best = 0;
    double value = element_real(in->dtype, in->data, at);
    for (int64_t k = 1; k < in->dim[axis]; k++) {
        double x = element_real(in->dtype, in->data, at + k * in->stride[axis]);
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
    int64_t axis = attr_int(c->node, "axis", 0);
    struct view kept = {.rank = 0}, to = {.rank = 0}, gone = {.rank = 0};
    const struct view *views[] = {&to, &kept};
    struct walk w;
    axis += axis < 0 ? in->rank : 0;
    reduced[axis] = true;
    split_dims(in, out, reduced, attr_int(c->node, "keepdims", 1) != 0, &kept, &to, &gone);
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            ((int64_t *)out->data)[w.off[0] + k * w.step[0]] =
                arg_best(in, w.off[1] + k * w.step[1], (int)axis, max, last);
    return FL_OK;
}

int arg_max_infer(struct op_infer *i)
{
    return arg_infer(i);
}

int arg_max_reference(const struct op_call *c)
{
    return arg_reference(c, true);
}

int arg_min_reference(const struct op_call *c)
{
    return arg_reference(c, false);
}
