/* kernels_window.c - windows over channels-last images, a vector of channels at a time: depthwise
 * convolution, pools */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "stages/simd/simd.h"

#define MAX_TAPS 256

struct depthwise {
    struct window2d w;
    const float *weights; /* [taps][c] */
    const float *bias, *zeros;
};

static bool depthwise_accepts(const struct kernel_task *t)
{
    struct window2d w;
    return window_of_pitched_conv(&w, &t->call) && w.groups == w.ic && w.oc == w.ic && w.groups > 1 &&
           w.kh * w.kw <= MAX_TAPS;
}

/* Of taps above and below the image, for several pixels at once. */
static size_t zeros_bytes(const struct window2d *w)
{
    return (size_t)(w->ic + (DEPTHWISE_PIXELS - 1) * w->sw * w->ip) * sizeof(float);
}

static int depthwise_prepare(struct kernel_task *t, void **state)
{
    struct depthwise *s = calloc(1, sizeof *s);
    const float *from = t->call.in[1].data;
    float *to;
    int64_t taps;
    *state = s;
    if (!s)
        return FL_NOMEM;
    window_of_pitched_conv(&s->w, &t->call);
    taps = s->w.kh * s->w.kw;
    to = weights_alloc(t->weights, (size_t)(taps * s->w.ic) * sizeof *to);
    s->bias = conv_bias(t, s->w.ic);
    s->zeros = weights_alloc(t->weights, zeros_bytes(&s->w));
    if (!to || !s->bias || !s->zeros)
        return FL_NOMEM;
    for (int64_t c = 0; c < s->w.ic; c++)
        for (int64_t i = 0; i < taps; i++)
            to[i * s->w.ic + c] = from[c * taps + i];
    s->weights = to;
    kernel_packs_constants(t);
    return FL_OK;
}

/* Pointers to the pixels under the window at output pixel (image, oy, ox), `outside` for those in the padding
 * (left out when it is NULL). Returns how many. */
static int point_at_window(const struct window2d *w, const float *x, int64_t oy, int64_t ox,
                           const float *outside, const float **row)
{
    int n = 0;
    for (int64_t ky = 0; ky < w->kh; ky++) {
        int64_t y = oy * w->sh - w->top + ky * w->dh;
        for (int64_t kx = 0; kx < w->kw; kx++) {
            int64_t at = ox * w->sw - w->left + kx * w->dw;
            if (y >= 0 && y < w->ih && at >= 0 && at < w->iw)
                row[n++] = x + (y * w->iw + at) * w->ip;
            else if (outside)
                row[n++] = outside;
        }
    }
    return n;
}

struct rows_job {
    const void *state;
    const struct op_call *call;
};

/* Output columns [*from, *to) are those whose windows lie between the input's first and last column. */
static void inner_columns(const struct window2d *w, int64_t *from, int64_t *to)
{
    int64_t room = w->iw - 1 - (w->kw - 1) * w->dw + w->left;
    *from = w->left > 0 ? (w->left + w->sw - 1) / w->sw : 0;
    *to = room < 0 ? 0 : room / w->sw + 1;
    *to = *to < w->ow ? *to : w->ow;
}

/* One row of output pixels: several at once where no tap lies beside the image. */
static void depthwise_row(void *arg, int i, int thread)
{
    const struct rows_job *job = arg;
    const struct depthwise *s = job->state;
    const struct window2d *w = &s->w;
    const struct post *p = &job->call->node->post;
    const float *x = (const float *)job->call->in[0].data + i / w->oh * w->ih * w->iw * w->ip, *row[MAX_TAPS];
    const float *residual =
        p->residual == GRAPH_NONE ? NULL : (const float *)job->call->in[p->residual].data + i * w->ow * w->op;
    float *y = (float *)job->call->out[0].data + i * w->ow * w->op;
    struct depthwise_call call = {row, 0, 1, w->ic, w->sw * w->ip, w->op, s->weights, s->bias, NULL, NULL, p};
    int64_t from, to;
    (void)thread;
    inner_columns(w, &from, &to);
    for (int64_t ox = 0; ox < w->ow; ox += call.pixels) {
        call.pixels = ox >= from && ox + DEPTHWISE_PIXELS <= to ? DEPTHWISE_PIXELS : 1;
        call.taps = point_at_window(w, x, i % w->oh, ox, s->zeros, row);
        call.residual = residual ? residual + ox * w->op : NULL;
        call.y = y + ox * w->op;
        simd_best()->depthwise(&call);
    }
}

static int depthwise_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    struct rows_job job = {state, c};
    const struct depthwise *s = state;
    team_run(r->team, depthwise_row, &job, (int)(c->out[0].dim[0] * s->w.oh));
    return FL_OK;
}

const struct kernel kernel_depthwise = {
    .name = "depthwise",
    .family = KERNEL_PLAIN,
    .accepts = depthwise_accepts,
    .prepare = depthwise_prepare,
    .run = depthwise_run,
    .release = free,
};

struct plain_pool {
    struct window2d w;
    bool max, count_padding;
};

static bool pool_accepts(const struct kernel_task *t)
{
    struct window2d w;
    return window_of_pitched_pool(&w, &t->call) && w.kh * w.kw <= MAX_TAPS && post_adds_nothing(&t->call);
}

static int pool_prepare(struct kernel_task *t, void **state)
{
    struct plain_pool *s = calloc(1, sizeof *s);
    *state = s;
    if (!s)
        return FL_NOMEM;
    window_of_pitched_pool(&s->w, &t->call);
    s->max = !strcmp(t->call.node->op->name, "MaxPool");
    s->count_padding = attr_int(t->call.node, "count_include_pad", 0) != 0;
    return FL_OK;
}

/* Positions of the window that lie in the padded input along one side. */
static int64_t padded_taps(int64_t o, int64_t stride, int64_t before, int64_t dilation, int64_t kernel,
                           int64_t size, int64_t after)
{
    int64_t n = 0;
    for (int64_t k = 0; k < kernel; k++)
        n += o * stride - before + k * dilation < size + after;
    return n;
}

static void pool_pixel(const struct plain_pool *s, const float *const *row, int taps, int64_t counted,
                       float *y)
{
    if (!taps)
        for (int64_t i = 0; i < s->w.ic; i++)
            y[i] = s->max ? -INFINITY : 0;
    else if (s->max)
        simd_best()->pool_max(row, taps, y, s->w.ic);
    else
        simd_best()->pool_mean(row, taps, 1.0f / (float)counted, y, s->w.ic);
}

static void pool_row(void *arg, int i, int thread)
{
    const struct rows_job *job = arg;
    const struct plain_pool *s = job->state;
    const struct window2d *w = &s->w;
    const float *x = (const float *)job->call->in[0].data + i / w->oh * w->ih * w->iw * w->ip, *row[MAX_TAPS];
    float *y = (float *)job->call->out[0].data + i * w->ow * w->op;
    int64_t oy = i % w->oh;
    (void)thread;
    for (int64_t ox = 0; ox < w->ow; ox++, y += w->op) {
        int taps = point_at_window(w, x, oy, ox, NULL, row);
        int64_t counted = taps;
        if (s->count_padding)
            counted = padded_taps(oy, w->sh, w->top, w->dh, w->kh, w->ih, w->bottom) *
                      padded_taps(ox, w->sw, w->left, w->dw, w->kw, w->iw, w->right);
        pool_pixel(s, row, taps, counted, y);
        post_activate(&job->call->node->post, y, w->ic);
    }
}

static int pool_run_all(void *state, const struct op_call *c, const struct kernel_run *r)
{
    struct rows_job job = {state, c};
    const struct plain_pool *s = state;
    team_run(r->team, pool_row, &job, (int)(c->out[0].dim[0] * s->w.oh));
    return FL_OK;
}

const struct kernel kernel_plain_pool = {
    .name = "pool",
    .family = KERNEL_PLAIN,
    .accepts = pool_accepts,
    .prepare = pool_prepare,
    .run = pool_run_all,
    .release = free,
};

/* GlobalAveragePool, GlobalMaxPool, and ReduceMean over height and width. */
static bool reduces_space(const struct op_call *c)
{
    int64_t axes[TENSOR_MAX_RANK];
    int n;
    if (!strncmp(c->node->op->name, "Global", 6))
        return true;
    if (strcmp(c->node->op->name, "ReduceMean"))
        return false;
    if (view_present(c, 1) && !c->in[1].data)
        return false;
    call_ints(c, "axes", 1, axes, TENSOR_MAX_RANK, &n);
    for (int i = 0; i < n; i++)
        axes[i] += axes[i] < 0 ? 4 : 0;
    return n == 2 && ((axes[0] == 2 && axes[1] == 3) || (axes[0] == 3 && axes[1] == 2));
}

static bool spatial_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    if (c->n_in < 1 || c->in[0].rank != 4 || !view_is_activation(&c->in[0]) || !post_adds_nothing(c))
        return false;
    return reduces_space(c) && view_count(&c->out[0]) == c->in[0].dim[0] * c->in[0].dim[1] &&
           view_count(&c->in[0]) > 0;
}

static int spatial_prepare(struct kernel_task *t, void **state)
{
    *state = NULL;
    if (t->call.n_in > 1)
        kernel_mark_packed(t, 1);
    return FL_OK;
}

static int spatial_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    int64_t n = c->in[0].dim[0], channels = c->in[0].dim[1], pixels = c->in[0].dim[2] * c->in[0].dim[3];
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    (void)state;
    (void)r;
    for (int64_t i = 0; i < n; i++, x += pixels * channels, y += channels) {
        memcpy(y, x, (size_t)channels * sizeof *y);
        if (!strcmp(c->node->op->name, "GlobalMaxPool")) {
            for (int64_t p = 1; p < pixels; p++)
                simd_best()->pool_max((const float *const[]){y, x + p * channels}, 2, y, channels);
        } else {
            simd_best()->sum(y, x + channels, pixels - 1, channels, channels);
            simd_best()->scale(y, 1.0f / (float)pixels, channels);
        }
        post_activate(&c->node->post, y, channels);
    }
    return FL_OK;
}

const struct kernel kernel_plain_spatial = {
    .name = "spatial",
    .family = KERNEL_PLAIN,
    .accepts = spatial_accepts,
    .prepare = spatial_prepare,
    .run = spatial_run,
};
