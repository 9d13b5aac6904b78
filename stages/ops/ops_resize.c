/* ops_resize.c - Resize and Upsample, nearest, linear and cubic, any number of dims
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
    int taps; /* elements that an output is made of along a dim: 1 nearest, 2 linear, 4 cubic */
    bool exclude_outside;
    double cubic_a, scale[TENSOR_MAX_RANK];
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
    static const char *const modes[] = {"nearest", "linear", "bilinear", "cubic", NULL};
    static const char *const coordinates[] = {"half_pixel", "pytorch_half_pixel",   "align_corners",
                                              "asymmetric", "tf_half_pixel_for_nn", "half_pixel_symmetric",
                                              NULL};
    static const char *const roundings[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil", NULL};
    int mode = name_index(attr_string(n, "mode", "nearest"), modes);
    bool old = opset < 11;
    r->taps = mode == 3 ? 4 : mode > 0 ? 2 : 1;
    r->exclude_outside = attr_int(n, "exclude_outside", 0) != 0;
    r->cubic_a = attr_float(n, "cubic_coeff_a", -0.75f);
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

/* Elements along one dim around position x, and their weights: two (linear) or four (Keys 1981). */
struct taps {
    int64_t at[4];
    double weight[4];
};

static void linear_taps(struct taps *t, double x, int64_t n)
{
    double p = x < 0 ? 0 : x > (double)(n - 1) ? (double)(n - 1) : x;
    t->at[0] = (int64_t)p;
    t->at[1] = clamp((double)t->at[0] + 1, n);
    t->weight[1] = p - (double)t->at[0];
    t->weight[0] = 1 - t->weight[1];
}

static double cubic_weight(double a, double d)
{
    return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

static void cubic_taps(const struct resize *r, struct taps *t, double x, int64_t n)
{
    double first = floor(x) - 1, sum = 0;
    for (int k = 0; k < 4; k++) {
        bool outside = first + k < 0 || first + k > (double)(n - 1);
        t->at[k] = clamp(first + k, n);
        t->weight[k] = r->exclude_outside && outside ? 0 : cubic_weight(r->cubic_a, fabs(x - first - k));
        sum += t->weight[k];
    }
    for (int k = 0; k < 4 && r->exclude_outside; k++)
        t->weight[k] /= sum;
}

/* The weighted sum of the elements around a position. Along dims that stay as they are there is one. */
static double interpolate(const struct resize *r, const struct view *in, const double *x, const bool *still)
{
    int64_t index[TENSOR_MAX_RANK] = {0}, taps[TENSOR_MAX_RANK];
    struct taps t[TENSOR_MAX_RANK];
    double sum = 0;
    for (int d = 0; d < in->rank; d++) {
        taps[d] = still[d] ? 1 : r->taps;
        if (still[d])
            t[d] = (struct taps){{(int64_t)x[d]}, {1}};
        else if (r->taps == 2)
            linear_taps(&t[d], x[d], in->dim[d]);
        else
            cubic_taps(r, &t[d], x[d], in->dim[d]);
    }
    do {
        double weight = 1;
        int64_t at = 0;
        for (int d = 0; d < in->rank; d++) {
            weight *= t[d].weight[index[d]];
            at += t[d].at[index[d]] * in->stride[d];
        }
        if (weight != 0)
            sum += weight * real_at(in, at);
    } while (index_advance(index, taps, in->rank));
    return sum;
}

static void resize_fill(const struct resize *r, const struct view *in, const struct view *out)
{
    int64_t at[TENSOR_MAX_RANK] = {0}, from[TENSOR_MAX_RANK];
    do {
        double x[TENSOR_MAX_RANK];
        bool still[TENSOR_MAX_RANK];
        for (int d = 0; d < r->rank; d++) {
            still[d] = in->dim[d] == out->dim[d] && r->scale[d] == 1;
            x[d] = still[d] ? (double)at[d] : position(r, d, at[d], in->dim[d], out->dim[d]);
            from[d] = still[d] ? at[d] : nearest(r, d, x[d], in->dim[d]);
        }
        put_real(out, index_offset(at, out->stride, r->rank),
                 r->taps > 1 ? interpolate(r, in, x, still)
                             : real_at(in, index_offset(from, in->stride, r->rank)));
    } while (index_advance(at, out->dim, r->rank));
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
            scales[n] = real_at(&c->in[at], n * c->in[at].stride[0]);
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
