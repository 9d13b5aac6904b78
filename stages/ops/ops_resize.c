/* ops_resize.c - Resize and Upsample, nearest and linear, any number of dims
 *
 * Upsample (7, 9) and Resize 10 count positions from the corner ("asymmetric"); from 11 on an attribute says
 * how. Sizes are given as scales (Upsample: attribute or input 1; Resize 10: input 1; later: input 2) or as
 * output dims (input 3).
 */
#include <math.h>
#include <string.h>

#include "ops.h"

enum coordinates {
    HALF_PIXEL,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_HALF_PIXEL_FOR_NN,
    HALF_PIXEL_SYMMETRIC
};
enum rounding {
    PREFER_FLOOR,
    PREFER_CEIL,
    FLOOR,
    CEIL,
    SIMPLE /* opset 10: floor to enlarge, ceil to shrink */
};

struct resize {
    int rank, coordinates, rounding;
    bool linear;
    double scale[TENSOR_MAX_RANK];
};

static int name_index(const char *name, const char *const *names)
{
    for (int k = 0; names[k]; k++)
        if (!strcmp(name, names[k]))
            return k;
    return -1;
}

static int scales_input(const struct node *n, int64_t opset)
{
    return !strcmp(n->op->name, "Upsample") || opset < 11 ? 1 : 2;
}

/* Reads modes; names the attribute that is not supported in *what. */
static int resize_modes(struct resize *r, const struct node *n, int64_t opset, const char **what)
{
    static const char *const modes[] = {"nearest", "linear", "bilinear", NULL};
    static const char *const coordinates[] = {"half_pixel", "pytorch_half_pixel",   "align_corners",
                                              "asymmetric", "tf_half_pixel_for_nn", "half_pixel_symmetric",
                                              NULL};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
    int mode = name_index(attr_string(n, "mode", "nearest"), modes);
    bool old = opset < 11;
    r->linear = mode > 0;
    r->coordinates =
        old ? ASYMMETRIC
            : name_index(attr_string(n, "coordinate_transformation_mode", "half_pixel"), coordinates);
    r->rounding = old ? !strcmp(n->op->name, "Upsample") ? FLOOR : SIMPLE
                      : name_index(attr_string(n, "nearest_mode", "round_prefer_floor"), roundings);
    *what = mode < 0                      ? "mode"
            : r->coordinates < 0          ? "coordinate_transformation_mode"
            : r->rounding < 0             ? "nearest_mode"
            : attr_int(n, "antialias", 0) ? "antialias"
            : strcmp(attr_string(n, "keep_aspect_ratio_policy", "stretch"), "stretch")
                ? "keep_aspect_ratio_policy"
                : NULL;
    return *what ? FL_UNSUPPORTED : FL_OK;
}

/* scale[d] for all dims from `n` scales for `axes` (NULL: all). */
static int set_scales(struct resize *r, const double *scales, int n, const int64_t *axes)
{
    for (int d = 0; d < r->rank; d++)
        r->scale[d] = 1;
    for (int k = 0; k < n; k++) {
        int64_t a = axes ? axes[k] : k;
        a += a < 0 ? r->rank : 0;
        if (a < 0 || a >= r->rank || !(scales[k] > 0) || !(scales[k] < 1e9))
            return FL_MODEL;
        r->scale[a] = scales[k];
    }
    return FL_OK;
}

static int read_axes(struct op_infer *i, int64_t *axes, int rank, int *n)
{
    int code = infer_ints(i, "axes", -1, axes, TENSOR_MAX_RANK, n);
    if (!code && *n > rank)
        return infer_fail(i, "it has more axes than its input has dims");
    return code;
}

static int infer_scales(struct op_infer *i, struct resize *r, const int64_t *axes, int n_axes)
{
    int at = scales_input(i->node, i->opset), n = 0, wanted = n_axes < 0 ? r->rank : n_axes;
    const struct attr *a = attr_find(i->node, "scales");
    double scales[TENSOR_MAX_RANK];
    if (infer_has(i, at) && tensor_count(&i->in[at]) == wanted) {
        if (!i->in[at].data)
            return infer_unsupported(
                i, "its scales are known only while the model runs, which is not supported");
        for (; n < wanted; n++)
            scales[n] = element_real(i->in[at].dtype, i->in[at].data, n);
    } else if (i->opset < 9 && a && a->kind == ATTR_FLOATS && a->count == wanted) {
        for (; n < wanted; n++)
            scales[n] = a->floats[n];
    }
    if (n != wanted || set_scales(r, scales, n, n_axes < 0 ? NULL : axes))
        return infer_fail(i, "its scales do not fit its input of rank %d", r->rank);
    for (int d = 0; d < r->rank; d++)
        i->out[0].dim[d] = (int64_t)floor((double)i->in[0].dim[d] * r->scale[d]);
    return FL_OK;
}

static int infer_sizes(struct op_infer *i, const int64_t *axes, int n_axes)
{
    int64_t sizes[TENSOR_MAX_RANK];
    int n, axis, code = infer_ints(i, NULL, 3, sizes, TENSOR_MAX_RANK, &n);
    if (code)
        return code;
    if (n != (n_axes < 0 ? i->in[0].rank : n_axes))
        return infer_fail(i, "its sizes do not fit its input of rank %d", i->in[0].rank);
    for (int k = 0; k < n; k++) {
        if ((code = infer_axis(i, n_axes < 0 ? k : axes[k], i->in[0].rank, &axis)))
            return code;
        if (sizes[k] < 0 || (sizes[k] && !i->in[0].dim[axis]))
            return infer_fail(i, "its sizes are impossible");
        i->out[0].dim[axis] = sizes[k];
    }
    return FL_OK;
}

int resize_infer(struct op_infer *i)
{
    struct resize r = {.rank = i->in[0].rank};
    int64_t axes[TENSOR_MAX_RANK];
    const char *what;
    int n_axes, code;
    if ((code = infer_dtype(i, 0, DT_NUMERIC)) || (code = read_axes(i, axes, r.rank, &n_axes)))
        return code;
    if (resize_modes(&r, i->node, i->opset, &what))
        return infer_unsupported(i, "%s '%s' is not supported", what, attr_string(i->node, what, "1"));
    infer_like(i, 0, &i->in[0]);
    if (i->opset >= 11 && infer_has(i, 3) && (i->opset < 13 || tensor_count(&i->in[3])))
        return infer_sizes(i, axes, n_axes);
    return infer_scales(i, &r, axes, n_axes);
}

/* Position in the input of output position `at` along dim d, before rounding. */
static double position(const struct resize *r, int d, int64_t at, int64_t in, int64_t out)
{
    double x = (double)at, s = r->scale[d], n = (double)in,
           m = (double)out; /* n * s is m before rounding down */
    switch (r->coordinates) {
    case ALIGN_CORNERS:
        return out > 1 && n * s > 1 ? x * (n - 1) / (n * s - 1) : 0;
    case ASYMMETRIC:
        return x / s;
    case PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / s - 0.5 : 0;
    case TF_HALF_PIXEL_FOR_NN:
        return (x + 0.5) / s;
    case HALF_PIXEL_SYMMETRIC:
        return n / 2 * (1 - m / (n * s)) + (x + 0.5) / s - 0.5;
    default:
        return (x + 0.5) / s - 0.5;
    }
}

static int64_t clamp(double x, int64_t n)
{
    return x < 0 ? 0 : x > (double)(n - 1) ? n - 1 : (int64_t)x;
}

static int64_t nearest(const struct resize *r, int d, double x, int64_t n)
{
    switch (r->rounding) {
    case PREFER_FLOOR:
        return clamp(ceil(x - 0.5), n);
    case PREFER_CEIL:
        return clamp(floor(x + 0.5), n);
    case CEIL:
        return clamp(ceil(x), n);
    case SIMPLE:
        return clamp(r->scale[d] < 1 ? ceil(x) : floor(x), n);
    default:
        return clamp(floor(x), n);
    }
}

/* The weighted sum of the 2^k corners around a position, k dims of which lie between two elements. */
static double interpolate(const struct view *in, const double *x)
{
    int64_t low[TENSOR_MAX_RANK];
    double part[TENSOR_MAX_RANK], sum = 0;
    for (int d = 0; d < in->rank; d++) {
        double p = x[d] < 0 ? 0 : x[d] > (double)(in->dim[d] - 1) ? (double)(in->dim[d] - 1) : x[d];
        low[d] = (int64_t)p;
        part[d] = p - (double)low[d];
    }
    for (unsigned corner = 0; corner < 1u << in->rank; corner++) {
        double weight = 1;
        int64_t at = 0;
        for (int d = 0; d < in->rank && weight != 0; d++) {
            bool up = corner >> d & 1;
            weight *= up ? part[d] : 1 - part[d];
            at += (low[d] + (up && weight != 0)) * in->stride[d];
        }
        if (weight != 0)
            sum += weight * element_real(in->dtype, in->data, at);
    }
    return sum;
}

static void resize_fill(const struct resize *r, const struct view *in, const struct view *out)
{
    int64_t at[TENSOR_MAX_RANK] = {0};
    for (;;) {
        int64_t from = 0, to = 0;
        double x[TENSOR_MAX_RANK];
        int d = r->rank - 1;
        for (int k = 0; k < r->rank; k++) {
            bool still = in->dim[k] == out->dim[k] && r->scale[k] == 1;
            x[k] = still ? (double)at[k] : position(r, k, at[k], in->dim[k], out->dim[k]);
            from += (still ? at[k] : nearest(r, k, x[k], in->dim[k])) * in->stride[k];
            to += at[k] * out->stride[k];
        }
        element_set_real(out->dtype, out->data, to,
                         r->linear ? interpolate(in, x) : element_real(in->dtype, in->data, from));
        for (; d >= 0 && ++at[d] == out->dim[d]; d--)
            at[d] = 0;
        if (d < 0)
            return;
    }
}

static int call_scales(const struct op_call *c, struct resize *r)
{
    int at = scales_input(c->node, c->opset), n_axes, n = 0;
    const struct attr *a = attr_find(c->node, "scales");
    int64_t axes[TENSOR_MAX_RANK];
    double scales[TENSOR_MAX_RANK];
    call_ints(c, "axes", -1, axes, TENSOR_MAX_RANK, &n_axes);
    for (int d = 0; d < r->rank; d++)
        r->scale[d] = c->in[0].dim[d] ? (double)c->out[0].dim[d] / (double)c->in[0].dim[d] : 1;
    if (view_present(c, at) && view_count(&c->in[at]))
        for (; n < view_count(&c->in[at]) && n < r->rank; n++)
            scales[n] = element_real(c->in[at].dtype, c->in[at].data, n * c->in[at].stride[0]);
    else if (c->opset < 9 && a)
        for (; n < a->count && n < r->rank; n++)
            scales[n] = a->floats[n];
    return n ? set_scales(r, scales, n, n_axes < 0 ? NULL : axes) : FL_OK;
}

int resize_reference(const struct op_call *c)
{
    struct resize r = {.rank = c->in[0].rank};
    const char *what;
    if (resize_modes(&r, c->node, c->opset, &what) || call_scales(c, &r))
        return FL_VALUE;
    if (view_count(&c->out[0]))
        resize_fill(&r, &c->in[0], &c->out[0]);
    return FL_OK;
}
