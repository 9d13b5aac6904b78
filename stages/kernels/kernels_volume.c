/* kernels_volume.c - convolutions of other than two spatial dims: sounds, texts, volumes
 *
 * Their values are row-major. A run brings an image into channels-last order in scratch memory and computes
 * like kernels_native.c from pointers to the channels under each tap; what comes out goes back some pixels at
 * a time, while it is in cache.
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "layout.h"
#include "stages/simd/panels.h"

#define FEW_CHANNELS 16         /* fewer than these are not worth a pointer each */
#define POINTERS_MAX (16 << 10) /* per pass: 128 KiB of scratch */

struct volume {
    struct window window;
    int64_t in[SPATIAL_MAX], out[SPATIAL_MAX], in_pixels, out_pixels, ic, oc, groups, taps;
    int64_t image;         /* floats of one in the input */
    int64_t joined;        /* taps of a row that count as one, or 1 */
    int64_t width, before; /* of a row as it comes, and the padding before it */
    int64_t pixels;        /* output pixels per pass: whole tiles */
    struct panels panels;  /* unless each channel is a group of its own: */
    bool depthwise;
    const float *weights; /* [taps][ic] */
    const float *bias, *zeros;
    int64_t *ahead; /* [taps]: floats from the first tap to each, in the input */
};

static int64_t product_of_dims(const int64_t *dim, int n)
{
    int64_t all = 1;
    for (int i = 0; i < n; i++)
        all *= dim[i];
    return all;
}

static bool volume_of(struct volume *v, const struct op_call *c)
{
    const struct view *x = &c->in[0], *w = &c->in[1], *y = &c->out[0];
    int residual = c->node->post.residual;
    if (!node_is(c->node, "Conv") || x->rank == 4 || x->dtype != TENSOR_F32 || x->data || !view_is_plain(x) ||
        !view_is_plain(y) || w->dtype != TENSOR_F32 || !w->data || !view_is_plain(w))
        return false;
    if (view_present(c, 2) && (c->in[2].dtype != TENSOR_F32 || !c->in[2].data))
        return false;
    if (residual != GRAPH_NONE && !views_in_one_order(&c->in[residual], y))
        return false;
    *v = (struct volume){.ic = x->dim[1], .oc = y->dim[1], .groups = attr_int(c->node, "group", 1)};
    if (window_resolve(&v->window, c->node, x->rank, x->dim, w->dim + 2, NULL))
        return false;
    memcpy(v->in, x->dim + 2, sizeof *v->in * (size_t)v->window.n);
    memcpy(v->out, y->dim + 2, sizeof *v->out * (size_t)v->window.n);
    v->in_pixels = product_of_dims(v->in, v->window.n);
    v->out_pixels = product_of_dims(v->out, v->window.n);
    v->taps = product_of_dims(v->window.kernel, v->window.n);
    v->depthwise = v->groups > 1 && v->groups == v->ic && v->groups == v->oc;
    return true;
}

static bool volume_accepts(const struct kernel_task *t)
{
    struct volume v;
    return volume_of(&v, &t->call) && v.taps <= 1024 && v.in_pixels > 0 && v.out_pixels > 0 &&
           (v.groups == 1 || v.depthwise || v.ic / v.groups >= 4);
}

struct weights_of {
    const struct volume *v;
    const float *data; /* [oc][ic / groups][taps] */
};

static float weight_at(const void *matrix, int g, int t, int64_t i, int64_t j)
{
    const struct weights_of *m = matrix;
    const struct volume *v = m->v;
    if (v->joined > 1)
        return m->data[(j * v->ic + i % v->ic) * v->taps * v->joined + t * v->joined + i / v->ic];
    return m->data[((g * (v->oc / v->groups) + j) * (v->ic / v->groups) + i) * v->taps + t];
}

/* From here on the window moves over rows that are padded already, with one tap along them. */
static void join_taps(struct volume *s)
{
    struct window *w = &s->window;
    int d = w->n - 1;
    int64_t needed = (s->out[d] - 1) * w->stride[d] + w->kernel[d];
    s->image = s->in_pixels * s->ic;
    s->width = s->in[d];
    s->before = w->before[d];
    s->joined = 1;
    if (s->groups > 1 || s->ic >= FEW_CHANNELS || w->dilation[d] > 1)
        return;
    s->joined = w->kernel[d];
    s->in[d] += s->before;
    s->in[d] = s->in[d] > needed ? s->in[d] : needed;
    s->in_pixels = product_of_dims(s->in, w->n);
    s->taps /= s->joined;
    w->kernel[d] = 1;
    w->before[d] = 0;
}

static int pack(struct volume *s, struct kernel_task *t)
{
    struct weights_of m = {s, t->call.in[1].data};
    float *w;
    if (!s->depthwise)
        return panels_pack(&s->panels, simd_best(), t->weights, (int)s->groups, (int)s->taps,
                           s->joined * s->ic / s->groups, s->oc / s->groups, weight_at, &m, s->bias);
    w = weights_alloc(t->weights, (size_t)(s->taps * s->ic) * sizeof *w);
    if (!w)
        return FL_NOMEM;
    layout_transpose(m.data, w, 1, s->ic, s->taps);
    s->weights = w;
    return FL_OK;
}

static int measure_taps(struct volume *s, struct weights *weights)
{
    const struct window *w = &s->window;
    int64_t k[SPATIAL_MAX] = {0}, t = 0;
    s->ahead = weights_alloc(weights, (size_t)s->taps * sizeof *s->ahead);
    if (!s->ahead)
        return FL_NOMEM;
    do {
        int64_t pixels = 0;
        for (int d = 0; d < w->n; d++)
            pixels = pixels * s->in[d] + k[d] * w->dilation[d];
        s->ahead[t++] = pixels * s->ic;
    } while (index_advance(k, w->kernel, w->n));
    return FL_OK;
}

static int volume_prepare(struct kernel_task *t, void **state)
{
    struct volume *s = calloc(1, sizeof *s);
    int64_t tile = simd_best()->rows;
    *state = s;
    if (!s)
        return FL_NOMEM;
    volume_of(s, &t->call);
    join_taps(s);
    s->zeros = weights_alloc(t->weights, (size_t)(s->joined * s->ic) * sizeof *s->zeros);
    s->bias = conv_bias(t, s->oc);
    if (!s->zeros || !s->bias || measure_taps(s, t->weights) || pack(s, t))
        return FL_NOMEM;
    s->pixels = POINTERS_MAX / s->taps / tile * tile;
    s->pixels = s->pixels < tile ? tile : s->pixels;
    s->pixels = s->pixels < s->out_pixels ? s->pixels : (s->out_pixels + tile - 1) / tile * tile;
    t->scratch_bytes = (size_t)(s->pixels * s->taps) * sizeof(float *) +
                       (size_t)(s->in_pixels * s->ic + s->pixels * s->oc) * sizeof(float) + 64;
    kernel_mark_packed(t, 1);
    kernel_mark_packed(t, 2);
    return FL_OK;
}

/* One pass over some output pixels of one image. */
struct pass {
    const struct volume *s;
    const float *x; /* channels-last */
    float *y;       /* likewise, of this pass alone */
    const float **row;
    int64_t first, count;
};

/* The input pixel under the tap at k; -1: it lies in the padding. */
static int64_t pixel_under(const struct volume *s, const int64_t *at, const int64_t *k)
{
    const struct window *w = &s->window;
    int64_t pixel = 0;
    for (int d = 0; d < w->n; d++) {
        int64_t i = at[d] * w->stride[d] + k[d] * w->dilation[d] - w->before[d];
        if (i < 0 || i >= s->in[d])
            return -1;
        pixel = pixel * s->in[d] + i;
    }
    return pixel;
}

static void point_at_pixel(const struct pass *p, int64_t m, const int64_t *at)
{
    const struct volume *s = p->s;
    const struct window *w = &s->window;
    int64_t k[SPATIAL_MAX] = {0}, last[SPATIAL_MAX], first = pixel_under(s, at, k), step = 1, t = 0;
    const float **row = p->row + m * s->taps;
    if (!s->depthwise) {
        row = p->row + panels_row_at(&s->panels, m, p->count, 0);
        step = panels_row_at(&s->panels, m, p->count, 1) - panels_row_at(&s->panels, m, p->count, 0);
    }
    for (int d = 0; d < w->n; d++)
        last[d] = w->kernel[d] - 1;
    if (first >= 0 && pixel_under(s, at, last) >= 0) {
        for (const float *x = p->x + first * s->ic; t < s->taps; t++, row += step)
            *row = x + s->ahead[t];
        return;
    }
    do {
        int64_t pixel = pixel_under(s, at, k);
        *row = pixel >= 0 ? p->x + pixel * s->ic : s->zeros;
        row += step;
    } while (index_advance(k, w->kernel, w->n));
}

static void run_pass(const struct pass *p, const struct post *post, struct team *team)
{
    const struct volume *s = p->s;
    int64_t ocg = s->oc / s->groups;
    struct depthwise_call each = {p->row,     (int)s->taps, 1,    s->oc, 0,   0,
                                  s->weights, s->bias,      NULL, p->y,  post};
    for (int64_t m = 0; s->depthwise && m < p->count; m++, each.row += s->taps, each.y += s->oc)
        simd_best()->depthwise(&each);
    if (s->depthwise)
        return;
    for (int64_t g = 0; g < s->groups; g++) {
        struct panels_call call = {.p = &s->panels,
                                   .group = (int)g,
                                   .row = p->row,
                                   .rows = p->count,
                                   .skip = g * (s->ic / s->groups),
                                   .c = p->y + g * ocg,
                                   .ldc = s->oc,
                                   .post = post};
        panels_run(&call, team);
    }
}

static void run_image(struct pass *p, float *y, const struct post *post, struct team *team)
{
    const struct volume *s = p->s;
    int64_t at[SPATIAL_MAX] = {0};
    for (p->first = 0; p->first < s->out_pixels; p->first += p->count) {
        p->count = s->out_pixels - p->first < s->pixels ? s->out_pixels - p->first : s->pixels;
        for (int64_t m = 0; m < p->count; m++) {
            point_at_pixel(p, m, at);
            index_advance(at, s->out, s->window.n);
        }
        run_pass(p, post, team);
        layout_transpose_part(p->y, s->oc, y + p->first, s->out_pixels, p->count, s->oc);
    }
}

/* The image at `from`, channels-last, its rows padded where their taps are joined. */
static void bring_in(const struct volume *s, const float *from, float *x)
{
    int64_t row = s->in[s->window.n - 1], rows = s->in_pixels / row, pixels = rows * s->width;
    if (row == s->width) {
        layout_transpose_part(from, pixels, x, s->ic, s->ic, pixels);
        return;
    }
    memset(x, 0, (size_t)(s->in_pixels * s->ic) * sizeof *x);
    for (int64_t i = 0; i < rows; i++)
        layout_transpose_part(from + i * s->width, pixels, x + (i * row + s->before) * s->ic, s->ic, s->ic,
                              s->width);
}

static int volume_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct volume *s = state;
    const struct post *post = &c->node->post;
    struct post early = {GRAPH_NONE, ACT_NONE, 0, 0};
    float *x = r->scratch, *y = c->out[0].data;
    int64_t in = s->in_pixels * s->ic, out = s->out_pixels * s->oc;
    struct pass p = {
        .s = s, .x = x, .y = x + in, .row = (const float **)(x + (in + s->pixels * s->oc + 15) / 16 * 16)};
    if (post->residual == GRAPH_NONE)
        early = *post;
    for (int64_t n = 0; n < c->out[0].dim[0]; n++) {
        bring_in(s, (const float *)c->in[0].data + n * s->image, x);
        run_image(&p, y + n * out, &early, r->team);
    }
    if (post->residual != GRAPH_NONE)
        simd_best()->post(post, y, c->in[post->residual].data, view_count(&c->out[0]));
    return FL_OK;
}

const struct kernel kernel_plain_volume = {
    .name = "volume",
    .family = KERNEL_PLAIN,
    .accepts = volume_accepts,
    .prepare = volume_prepare,
    .run = volume_run,
    .release = free,
};
