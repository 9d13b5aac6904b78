/* ops_order.c - along an axis in order: TopK, CumSum; and what depends on places alone: Trilu, DepthToSpace,
 * SpaceToDepth */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ops.h"

/* --- TopK: the number in attribute `k` or, from opset 10 on, in input 1 --- */

int top_k_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t k = attr_int(i->node, "k", -1);
    int axis, n = 0, code;

    if ((code = infer_dtype(i, 0, DT_NUMERIC)) ||
        (code = infer_axis(i, attr_int(i->node, "axis", -1), x->rank, &axis)) ||
        (i->n_in > 1 && (code = infer_ints(i, NULL, 1, &k, 1, &n))))
        return code;
    if ((i->n_in > 1 && n != 1) || k < 0 || k > x->dim[axis])
        return infer_fail(i, "k is %lld, its axis has %lld elements", (long long)k, (long long)x->dim[axis]);
    for (int o = 0; o < i->n_out; o++) {
        infer_like(i, o, x);
        i->out[o].dim[axis] = k;
    }
    if (i->n_out > 1)
        i->out[1].dtype = TENSOR_I64;
    return FL_OK;
}

struct ranked {
    double value;
    int64_t index;
};

/* Larger values first, not-a-number before all; of equal ones the earlier. */
static int compare_down(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (isnan(x->value) != isnan(y->value))
        return isnan(x->value) ? -1 : 1;
    if (x->value != y->value && !isnan(x->value))
        return x->value > y->value ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Smaller values first, not-a-number last; of equal ones the earlier. */
static int compare_up(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    bool equal = x->value == y->value || (isnan(x->value) && isnan(y->value));
    return equal ? compare_down(a, b) : compare_down(b, a);
}

/* v without dim d: walks all rows along d. */
static struct view without(const struct view *v, int d)
{
    struct view r = *v;
    r.dim[d] = v->dim[d] ? 1 : 0;
    return r;
}

int top_k_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *values = &c->out[0], *indices = c->n_out > 1 ? &c->out[1] : NULL;
    int axis = call_axis(c->node, x->rank, -1);
    const struct view *wanted = values->dtype == TENSOR_NONE && indices ? indices : values;
    int64_t n = x->dim[axis], k = wanted->dim[axis];
    bool up = !attr_int(c->node, "largest", 1);
    struct ranked *row = malloc(sizeof *row * (size_t)(n + 1));
    struct view rows = without(x, axis);
    int64_t at[TENSOR_MAX_RANK] = {0};

    if (!row)
        return FL_NOMEM;
    if (view_count(&rows) && k)
        do {
            int64_t from = index_offset(at, x->stride, x->rank),
                    to = index_offset(at, values->stride, x->rank),
                    index_to = indices ? index_offset(at, indices->stride, x->rank) : 0;
            for (int64_t j = 0; j < n; j++)
                row[j] = (struct ranked){real_at(x, from + j * x->stride[axis]), j};
            qsort(row, (size_t)n, sizeof *row, up ? compare_up : compare_down);
            for (int64_t j = 0; j < k; j++) {
                if (values->dtype != TENSOR_NONE)
                    element_copy(values, to + j * values->stride[axis], x,
                                 from + row[j].index * x->stride[axis]);
                if (indices && indices->dtype != TENSOR_NONE)
                    put_int(indices, index_to + j * indices->stride[axis], row[j].index);
            }
        } while (index_advance(at, rows.dim, rows.rank));
    free(row);
    return FL_OK;
}

/* --- CumSum --- */

int cum_sum_infer(struct op_infer *i)
{
    int64_t axis;
    int n, known, code;
    if ((code = infer_dtype(i, 0, DT_NUMERIC)) || (code = infer_dtype(i, 1, DT(I32) | DT(I64))) ||
        (code = infer_ints(i, NULL, 1, &axis, 1, &n)))
        return code;
    if (n != 1 || (code = infer_axis(i, axis, i->in[0].rank, &known)))
        return n != 1 ? infer_fail(i, "its axis must be one number") : code;
    infer_like(i, 0, &i->in[0]);
    return FL_OK;
}

int cum_sum_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    bool exclusive = attr_int(c->node, "exclusive", 0) != 0, reverse = attr_int(c->node, "reverse", 0) != 0;
    int64_t axis = view_int(&c->in[1], 0), at[TENSOR_MAX_RANK] = {0};
    struct view rows;

    axis += axis < 0 ? x->rank : 0;
    rows = without(x, (int)axis);
    if (!view_count(&rows))
        return FL_OK;
    do {
        int64_t from = index_offset(at, x->stride, x->rank), to = index_offset(at, y->stride, x->rank),
                whole = 0;
        double sum = 0;
        for (int64_t j = 0; j < x->dim[axis]; j++) {
            int64_t k = reverse ? x->dim[axis] - 1 - j : j, place = to + k * y->stride[axis];
            double before = sum;
            int64_t whole_before = whole;
            sum += real_at(x, from + k * x->stride[axis]);
            whole = (int64_t)((uint64_t)whole + (uint64_t)int_at(x, from + k * x->stride[axis]));
            if (dtype_is_real(x->dtype))
                put_real(y, place, exclusive ? before : sum);
            else
                put_int(y, place, exclusive ? whole_before : whole);
        }
    } while (index_advance(at, rows.dim, rows.rank));
    return FL_OK;
}

/* --- Trilu: the upper or lower triangle of the last two dims, from diagonal k (input 1) on --- */

int trilu_infer(struct op_infer *i)
{
    if (i->in[0].rank < 2)
        return infer_fail(i, "its input has rank %d, it needs rows and columns", i->in[0].rank);
    if (infer_has(i, 1) && tensor_count(&i->in[1]) != 1)
        return infer_fail(i, "its diagonal must be one number");
    return infer_same(i, DT_ANY);
}

int trilu_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    int64_t k = view_present(c, 1) ? view_int(&c->in[1], 0) : 0, at[TENSOR_MAX_RANK] = {0};
    bool upper = attr_int(c->node, "upper", 1) != 0;
    uint64_t zero = 0;
    const struct view outside = {.dtype = x->dtype, .data = &zero};
    int r = x->rank;

    if (!view_count(y))
        return FL_OK;
    /* Beyond the matrix all diagonals are alike; so sums of what a file says cannot overflow. */
    k = k < -x->dim[r - 2] - 1 ? -x->dim[r - 2] - 1 : k > x->dim[r - 1] + 1 ? x->dim[r - 1] + 1 : k;
    do {
        int64_t diagonal = at[r - 1] - at[r - 2];
        bool inside = upper ? diagonal >= k : diagonal <= k;
        element_copy(y, index_offset(at, y->stride, r), inside ? x : &outside,
                     inside ? index_offset(at, x->stride, r) : 0);
    } while (index_advance(at, y->dim, r));
    return FL_OK;
}

/* --- DepthToSpace and SpaceToDepth: blocks of b x b pixels are b * b channels --- */

static int infer_blocks(struct op_infer *i, bool to_space)
{
    const struct tensor *x = &i->in[0];
    int64_t b = attr_int(i->node, "blocksize", 0), *dim = i->out[0].dim;
    int code = infer_same(i, DT_ANY);

    if (code)
        return code;
    if (x->rank != 4 || b < 1 || b > 1024 ||
        (to_space ? x->dim[1] % (b * b) : x->dim[2] % b || x->dim[3] % b))
        return infer_fail(i, "blocks of %lld do not fit its input", (long long)b);
    if (__builtin_mul_overflow(x->dim[1], to_space ? 1 : b * b, &dim[1]) ||
        __builtin_mul_overflow(x->dim[2], to_space ? b : 1, &dim[2]) ||
        __builtin_mul_overflow(x->dim[3], to_space ? b : 1, &dim[3]))
        return infer_fail(i, "its output would be too large");
    dim[1] /= to_space ? b * b : 1;
    dim[2] /= to_space ? 1 : b;
    dim[3] /= to_space ? 1 : b;
    return FL_OK;
}

int depth_to_space_infer(struct op_infer *i)
{
    const char *mode = attr_string(i->node, "mode", "DCR");
    if (strcmp(mode, "DCR") && strcmp(mode, "CRD"))
        return infer_unsupported(i, "mode '%.20s' is not supported", mode);
    return infer_blocks(i, true);
}

int space_to_depth_infer(struct op_infer *i)
{
    return infer_blocks(i, false);
}

/* Both sides as N, C, H, b, W, b: `deep` has the blocks among its channels, `wide` among its pixels. */
static void blocks(const struct view *deep, const struct view *wide, int64_t b, bool crd, struct view *d,
                   struct view *w)
{
    int64_t channels = wide->dim[1], dims[] = {wide->dim[0], channels, deep->dim[2], b, deep->dim[3], b};
    int64_t c = deep->stride[1], row = crd ? b * c : b * channels * c, column = crd ? c : channels * c;
    int64_t ds[] = {deep->stride[0], crd ? b * b * c : c, deep->stride[2], row, deep->stride[3], column};
    int64_t ws[] = {wide->stride[0], wide->stride[1],     b * wide->stride[2],
                    wide->stride[2], b * wide->stride[3], wide->stride[3]};

    *d = (struct view){.dtype = deep->dtype, .rank = 6, .data = deep->data};
    *w = (struct view){.dtype = wide->dtype, .rank = 6, .data = wide->data};
    memcpy(d->dim, dims, sizeof dims);
    memcpy(w->dim, dims, sizeof dims);
    memcpy(d->stride, ds, sizeof ds);
    memcpy(w->stride, ws, sizeof ws);
}

int depth_to_space_reference(const struct op_call *c)
{
    struct view deep, wide;
    blocks(&c->in[0], &c->out[0], attr_int(c->node, "blocksize", 1),
           !strcmp(attr_string(c->node, "mode", "DCR"), "CRD"), &deep, &wide);
    view_copy(&deep, &wide);
    return FL_OK;
}

int space_to_depth_reference(const struct op_call *c)
{
    struct view deep, wide;
    blocks(&c->out[0], &c->in[0], attr_int(c->node, "blocksize", 1), false, &deep, &wide);
    view_copy(&wide, &deep);
    return FL_OK;
}
