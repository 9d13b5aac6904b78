/* ops_pad.c - Pad: constant, edge, reflect, wrap; a negative pad cuts off
 *
 * Attributes to opset 10; from 11 on input 1 has the pads, input 2 the value, input 3 (opset 18) the axes.
 */
#include <string.h>

#include "ops.h"

enum mode { CONSTANT, EDGE, REFLECT, WRAP };

static int pad_mode(const struct node *n)
{
    static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
    const char *mode = attr_string(n, "mode", "constant");
    for (int k = 0; k < 4; k++)
        if (!strcmp(mode, names[k]))
            return k;
    return -1;
}

/* pads[2 * rank] for all axes from the list given for some. */
static int spread(int rank, const int64_t *given, int n, const int64_t *axes, int n_axes, int64_t *pads)
{
    memset(pads, 0, 2 * TENSOR_MAX_RANK * sizeof *pads);
    if (n_axes < 0)
        n_axes = rank;
    else if (n_axes > rank)
        return FL_MODEL;
    if (n != 2 * n_axes)
        return FL_MODEL;
    for (int k = 0; k < n_axes; k++) {
        int64_t a = axes ? axes[k] : k;
        a += a < 0 ? rank : 0;
        if (a < 0 || a >= rank || given[k] < -((int64_t)1 << 40) || given[k] > (int64_t)1 << 40 ||
            given[n_axes + k] < -((int64_t)1 << 40) || given[n_axes + k] > (int64_t)1 << 40)
            return FL_MODEL;
        pads[a] = given[k];
        pads[rank + a] = given[n_axes + k];
    }
    return FL_OK;
}

static const char *pads_name(int64_t opset)
{
    return opset < 11 ? "pads" : NULL;
}

int pad_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t given[2 * TENSOR_MAX_RANK], axes[TENSOR_MAX_RANK], pads[2 * TENSOR_MAX_RANK];
    int mode = pad_mode(i->node), n, m, code;
    if ((code = infer_dtype(i, 0, DT_ANY)) ||
        (code = infer_ints(i, pads_name(i->opset), 1, given, 2 * TENSOR_MAX_RANK, &n)) ||
        (code = infer_ints(i, NULL, 3, axes, TENSOR_MAX_RANK, &m)))
        return code;
    if (mode < 0)
        return infer_unsupported(i, "mode '%s' is not supported", attr_string(i->node, "mode", ""));
    if (spread(x->rank, given, n, m < 0 ? NULL : axes, m, pads))
        return infer_fail(i, "its pads do not fit an input of rank %d", x->rank);
    if (infer_has(i, 2) && (tensor_count(&i->in[2]) != 1 || i->in[2].dtype != x->dtype))
        return infer_fail(i, "its value must be a scalar of its input's type");
    infer_like(i, 0, x);
    for (int d = 0; d < x->rank; d++) {
        int64_t low = pads[d], high = pads[x->rank + d], limit = mode == REFLECT ? x->dim[d] - 1 : INT64_MAX;
        i->out[0].dim[d] = x->dim[d] + low + high;
        if (i->out[0].dim[d] < 0 || low > limit || high > limit ||
            (mode != CONSTANT && !x->dim[d] && low + high > 0))
            return infer_fail(i, "its pads %lld, %lld do not fit dim %d of %lld", (long long)low,
                              (long long)high, d, (long long)x->dim[d]);
    }
    return FL_OK;
}

/* Where output position p (counted from the input's first element) comes from; -1: the constant. */
static int64_t source(int64_t p, int64_t n, int mode)
{
    if (p >= 0 && p < n)
        return p;
    switch (mode) {
    case EDGE:
        return p < 0 ? 0 : n - 1;
    case REFLECT:
        return p < 0 ? -p : 2 * (n - 1) - p;
    case WRAP:
        return (p % n + n) % n;
    default:
        return -1;
    }
}

static void pad_fill(const struct op_call *c, const int64_t *pads, int mode, const struct view *value)
{
    const struct view *in = &c->in[0], *out = &c->out[0];
    int64_t at[TENSOR_MAX_RANK] = {0}, from[TENSOR_MAX_RANK];
    do {
        bool inside = true;
        for (int d = 0; d < out->rank; d++) {
            from[d] = source(at[d] - pads[d], in->dim[d], mode);
            inside = inside && from[d] >= 0;
        }
        element_copy(out, index_offset(at, out->stride, out->rank), inside ? in : value,
                     inside ? index_offset(from, in->stride, in->rank) : 0);
    } while (index_advance(at, out->dim, out->rank));
}

int pad_reference(const struct op_call *c)
{
    const struct view *in = &c->in[0];
    int64_t given[2 * TENSOR_MAX_RANK], axes[TENSOR_MAX_RANK], pads[2 * TENSOR_MAX_RANK];
    uint64_t zero = 0;
    struct view value = {.dtype = in->dtype, .data = &zero};
    int n, m;
    call_ints(c, pads_name(c->opset), 1, given, 2 * TENSOR_MAX_RANK, &n);
    call_ints(c, NULL, 3, axes, TENSOR_MAX_RANK, &m);
    if (spread(in->rank, given, n, m < 0 ? NULL : axes, m, pads))
        return FL_VALUE;
    if (view_present(c, 2))
        value.data = c->in[2].data;
    else if (c->opset < 11)
        put_real(&value, 0, attr_float(c->node, "value", 0));
    if (view_count(&c->out[0]))
        pad_fill(c, pads, pad_mode(c->node), &value);
    return FL_OK;
}
