/* ops_conv.c - Conv: groups, dilations, any number of spatial dims, summed in double */
#include <string.h>

#include "ops.h"

int conv_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *w = &i->in[1];
    int64_t groups = attr_int(i->node, "group", 1);
    struct window win;
    int code;
    if ((code = infer_dtype(i, 0, DT(F32))) || (code = infer_dtype(i, 1, DT(F32))))
        return code;
    if (x->rank < 3 || w->rank != x->rank)
        return infer_fail(i, "its input has rank %d, its weights have rank %d", x->rank, w->rank);
    if (groups < 1 || groups > x->dim[1] || w->dim[1] > x->dim[1] || w->dim[1] * groups != x->dim[1] ||
        w->dim[0] < 1 || w->dim[0] % groups)
        return infer_fail(i, "%lld input channels in %lld groups do not fit weights %lld x %lld",
                          (long long)x->dim[1], (long long)groups, (long long)w->dim[0],
                          (long long)w->dim[1]);
    if (infer_has(i, 2) &&
        (i->in[2].rank != 1 || i->in[2].dim[0] != w->dim[0] || i->in[2].dtype != TENSOR_F32))
        return infer_fail(i, "its bias must be %lld float32 numbers", (long long)w->dim[0]);
    if ((code = window_resolve(&win, i->node, x->rank, x->dim, w->dim + 2, i->error)))
        return code;
    infer_like(i, 0, x);
    i->out[0].dim[1] = w->dim[0];
    for (int d = 0; d < win.n; d++) {
        i->out[0].dim[d + 2] = window_output(&win, d, x->dim[d + 2]);
        if (i->out[0].dim[d + 2] < 0)
            return infer_fail(i, "its window is larger than its padded input of %lld",
                              (long long)x->dim[d + 2]);
    }
    return FL_OK;
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
        float *to = y;
        for (int d = 0; d < c->win.n; d++)
            to += at[d] * c->y->stride[d + 2];
        *to = (float)(bias + conv_point(c, x, w, at));
    } while (index_advance(at, c->y->dim + 2, c->win.n));
}

int conv_reference(const struct op_call *call)
{
    struct conv c = {
        .x = &call->in[0], .w = &call->in[1], .y = &call->out[0], .channels = call->in[1].dim[1]};
    int64_t groups = attr_int(call->node, "group", 1), per_group = c.y->dim[1] / groups;
    const struct view *bias = view_present(call, 2) ? &call->in[2] : NULL;
    int code = window_resolve(&c.win, call->node, c.x->rank, c.x->dim, c.w->dim + 2, NULL);
    if (code)
        return code;
    if (!view_count(c.y))
        return FL_OK;
    for (int64_t n = 0; n < c.y->dim[0]; n++)
        for (int64_t o = 0; o < c.y->dim[1]; o++)
            conv_plane(&c, n, o, o / per_group, bias ? ((const float *)bias->data)[o * bias->stride[0]] : 0);
    return FL_OK;
}
