/* ops_conv.c - Conv and ConvTranspose: groups, dilations, any number of spatial dims, summed in double */
#include <string.h>

#include "ops.h"

/* Whether the weights' channels fit the input's; *outputs is how many channels come out. */
static bool channels_fit(const struct tensor *x, const struct tensor *w, int64_t groups, bool transposed,
                         int64_t *outputs)
{
    if (groups < 1)
        return false;
    if (transposed)
        return w->dim[0] == x->dim[1] && x->dim[1] % groups == 0 && w->dim[1] >= 1 &&
               !__builtin_mul_overflow(w->dim[1], groups, outputs);
    *outputs = w->dim[0];
    return groups <= x->dim[1] && w->dim[1] <= x->dim[1] && w->dim[1] * groups == x->dim[1] &&
           w->dim[0] >= 1 && w->dim[0] % groups == 0;
}

/* Checks input, weights and bias; sets output 0 but for its spatial dims. */
static int infer_channels(struct op_infer *i, bool transposed)
{
    const struct tensor *x = &i->in[0], *w = &i->in[1], *bias = &i->in[2];
    int64_t groups = attr_int(i->node, "group", 1), outputs;
    int code;
    if ((code = infer_same(i, DT(F32))) || (code = infer_dtype(i, 1, DT(F32))))
        return code;
    if (x->rank < 3 || w->rank != x->rank)
        return infer_fail(i, "its input has rank %d, its weights have rank %d", x->rank, w->rank);
    if (!channels_fit(x, w, groups, transposed, &outputs))
        return infer_fail(i, "%lld input channels in %lld groups do not fit weights %lld x %lld",
                          (long long)x->dim[1], (long long)groups, (long long)w->dim[0],
                          (long long)w->dim[1]);
    if (infer_has(i, 2) && (bias->rank != 1 || bias->dim[0] != outputs || bias->dtype != TENSOR_F32))
        return infer_fail(i, "its bias must be %lld float32 numbers", (long long)outputs);
    i->out[0].dim[1] = outputs;
    return FL_OK;
}

/* The bias of output channel o. */
static double bias_at(const struct op_call *c, int64_t o)
{
    return view_present(c, 2) ? real_at(&c->in[2], o * c->in[2].stride[0]) : 0;
}

int conv_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *w = &i->in[1];
    struct window win;
    int code = infer_channels(i, false);
    if (!code)
        code = window_resolve(&win, i->node, x->rank, x->dim, w->dim + 2, i->error);
    return code ? code : window_infer(i, &win);
}

/* Sum over channels at one kernel position. */
static double dot(const float *x, int64_t x_step, const float *w, int64_t w_step, int64_t n)
{
    double sum = 0;
    for (int64_t c = 0; c < n; c++)
        sum += (double)x[c * x_step] * w[c * w_step];
    return sum;
}

struct conv {
    const struct view *x, *w, *y;
    struct window win;
    int64_t channels; /* per group */
};

/* One output element: n, channel o, spatial position `at`. */
static double conv_point(const struct conv *c, const float *x, const float *w, const int64_t *at)
{
    int64_t k[SPATIAL_MAX] = {0};
    double sum = 0;
    do {
        const float *px = x, *pw = w;
        bool inside = true;
        for (int d = 0; d < c->win.n && inside; d++) {
            int64_t p = at[d] * c->win.stride[d] + k[d] * c->win.dilation[d] - c->win.before[d];
            inside = p >= 0 && p < c->x->dim[d + 2];
            px += inside ? p * c->x->stride[d + 2] : 0;
            pw += k[d] * c->w->stride[d + 2];
        }
        if (inside)
            sum += dot(px, c->x->stride[1], pw, c->w->stride[1], c->channels);
    } while (index_advance(k, c->win.kernel, c->win.n));
    return sum;
}

static void conv_plane(const struct conv *c, int64_t n, int64_t o, int64_t group, double bias)
{
    const float *x = (const float *)c->x->data + n * c->x->stride[0] + group * c->channels * c->x->stride[1];
    const float *w = (const float *)c->w->data + o * c->w->stride[0];
    float *y = (float *)c->y->data + n * c->y->stride[0] + o * c->y->stride[1];
    int64_t at[SPATIAL_MAX] = {0};
    do {
        y[index_offset(at, c->y->stride + 2, c->win.n)] = (float)(bias + conv_point(c, x, w, at));
    } while (index_advance(at, c->y->dim + 2, c->win.n));
}

int conv_reference(const struct op_call *call)
{
    struct conv c = {
        .x = &call->in[0], .w = &call->in[1], .y = &call->out[0], .channels = call->in[1].dim[1]};
    int64_t groups = attr_int(call->node, "group", 1), per_group = c.y->dim[1] / groups;
    int code = window_resolve(&c.win, call->node, c.x->rank, c.x->dim, c.w->dim + 2, NULL);
    if (code)
        return code;
    if (!view_count(c.y))
        return FL_OK;
    for (int64_t n = 0; n < c.y->dim[0]; n++)
        for (int64_t o = 0; o < c.y->dim[1]; o++)
            conv_plane(&c, n, o, o / per_group, bias_at(call, o));
    return FL_OK;
}

/* ConvTranspose: each input element spreads its kernel over the output. */
struct spread {
    struct window win; /* paddings resolved */
    int64_t out[SPATIAL_MAX];
};

static int read_dims(const struct node *n, const char *name, int count, int64_t *out, int64_t otherwise,
                     struct error *e)
{
    const struct attr *a = attr_find(n, name);
    for (int d = 0; d < count; d++)
        out[d] = otherwise;
    if (!a)
        return FL_OK;
    /* An output_shape with N and C in front is met too. */
    if (a->kind != ATTR_INTS || (a->count != count && a->count != count + 2))
        return error_set(e, FL_MODEL, "attribute '%s' must have %d integers", name, count);
    for (int d = 0; d < count; d++) {
        out[d] = a->ints[a->count - count + d];
        if (out[d] < 0 || out[d] > (int64_t)1 << 24)
            return error_set(e, FL_MODEL, "attribute '%s' has the value %lld", name, (long long)out[d]);
    }
    return FL_OK;
}

/* Output = stride * (input - 1) + output_padding + kernel - padding. Where the output is given, by attribute
 * or by auto_pad (input * stride), the padding follows from it. */
static int resolve(struct spread *s, const struct node *n, int rank, const int64_t *in, const int64_t *kernel,
                   struct error *e)
{
    const char *mode = attr_string(n, "auto_pad", "NOTSET");
    bool upper = !strcmp(mode, "SAME_UPPER"), same = upper || !strcmp(mode, "SAME_LOWER");
    int64_t extra[SPATIAL_MAX];
    int code = window_resolve(&s->win, n, rank, in, kernel, e);

    if (code || (code = read_dims(n, "output_padding", s->win.n, extra, 0, e)) ||
        (code = read_dims(n, "output_shape", s->win.n, s->out, -1, e)))
        return code;
    for (int d = 0; d < s->win.n; d++) {
        int64_t full, total;
        if (in[d + 2] < 1 || __builtin_mul_overflow(s->win.stride[d], in[d + 2] - 1, &full) ||
            __builtin_add_overflow(full, extra[d] + (s->win.kernel[d] - 1) * s->win.dilation[d] + 1, &full))
            return error_set(e, FL_MODEL, "its input of %lld is empty or too large", (long long)in[d + 2]);
        if (same && s->out[d] < 0)
            s->out[d] = in[d + 2] * s->win.stride[d];
        if (s->out[d] < 0) {
            s->out[d] = full - s->win.before[d] - s->win.after[d];
        } else {
            total = full > s->out[d] ? full - s->out[d] : 0;
            s->win.before[d] = upper ? total / 2 : total - total / 2;
        }
        if (s->out[d] < 1)
            return error_set(e, FL_MODEL, "its padding leaves no output");
    }
    return FL_OK;
}

int conv_transpose_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *w = &i->in[1];
    struct spread s;
    int code = infer_channels(i, true);

    if (code || (code = resolve(&s, i->node, x->rank, x->dim, w->dim + 2, i->error)))
        return code;
    memcpy(i->out[0].dim + 2, s.out, sizeof *s.out * (size_t)s.win.n);
    return FL_OK;
}

/* One output element, from every kernel position that an input element reaches it with. */
static double gather_point(const struct spread *s, const struct view *x, const struct view *w,
                           const float *px, const float *pw, int64_t channels, const int64_t *at)
{
    int64_t k[SPATIAL_MAX] = {0};
    double sum = 0;

    do {
        const float *from = px, *weight = pw;
        bool reached = true;
        for (int d = 0; d < s->win.n && reached; d++) {
            int64_t p = at[d] + s->win.before[d] - k[d] * s->win.dilation[d];
            reached = p >= 0 && p % s->win.stride[d] == 0 && p / s->win.stride[d] < x->dim[d + 2];
            from += reached ? p / s->win.stride[d] * x->stride[d + 2] : 0;
            weight += k[d] * w->stride[d + 2];
        }
        if (reached)
            sum += dot(from, x->stride[1], weight, w->stride[0], channels);
    } while (index_advance(k, s->win.kernel, s->win.n));
    return sum;
}

int conv_transpose_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
    int64_t groups = attr_int(c->node, "group", 1), channels = x->dim[1] / groups, outputs = w->dim[1];
    struct spread s;
    int code = resolve(&s, c->node, x->rank, x->dim, w->dim + 2, NULL);

    if (code)
        return code;
    if (!view_count(y))
        return FL_OK;
    for (int64_t n = 0; n < y->dim[0]; n++)
        for (int64_t o = 0; o < y->dim[1]; o++) {
            int64_t at[SPATIAL_MAX] = {0}, first = o / outputs * channels;
            const float *px = (const float *)x->data + n * x->stride[0] + first * x->stride[1];
            const float *pw = (const float *)w->data + first * w->stride[0] + o % outputs * w->stride[1];
            float *py = (float *)y->data + n * y->stride[0] + o * y->stride[1];
            do {
                py[index_offset(at, y->stride + 2, s.win.n)] =
                    (float)(bias_at(c, o) + gather_point(&s, x, w, px, pw, channels, at));
            } while (index_advance(at, y->dim + 2, s.win.n));
        }
    return FL_OK;
}
