/* kernels_native.c - convolutions and Gemm as products with packed panels
 *
 * A convolution never copies its input: the inner loop gets, for each output pixel and kernel tap, a pointer
 * to the pixel's channels, or to zeros where the tap lies in the padding (an indirect convolution, Dukhan
 * 2019).
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "stages/simd/panels.h"

#define POINTERS_MAX (32 << 10)  /* per pass over the image: 256 KiB of scratch */
#define PASS_BYTES   (384 << 10) /* of input per pass, so that all panels find it in a level-2 cache */
#define FEW_CHANNELS 16          /* fewer than these are not worth a pointer each */

struct native_conv {
    struct window2d w; /* with joined taps: over rows that are padded already, and a tap wide */
    int64_t taps, k;   /* k: channels of a tap, in a group */
    struct panels panels;
    const float *zeros;    /* [joined * ic]: a tap in the padding */
    const int64_t *ahead;  /* [taps]: floats from the first tap to each */
    int64_t pixels;        /* output pixels per pass: whole tiles */
    int64_t joined;        /* taps of a row that count as one; 1: none */
    int64_t width, before; /* of a row as it comes, and the padding before it */
    size_t pointers;       /* bytes of scratch for these; behind them an image with padded rows */
};

struct conv_weights {
    const float *data; /* [oc][ic / groups][kh][kw] */
    const struct native_conv *s;
    int64_t ic; /* per group */
};

static float conv_element(const void *matrix, int g, int t, int64_t i, int64_t j)
{
    const struct conv_weights *m = matrix;
    int64_t taps = m->s->taps * m->s->joined, oc = g * (m->s->w.oc / m->s->w.groups) + j;
    return m->data[(oc * m->ic + i % m->ic) * taps + t * m->s->joined + i / m->ic];
}

/* Enough channels per group that a tap is a loop worth its pointers. */
static bool native_conv_accepts(const struct kernel_task *t)
{
    struct window2d w;
    if (!window_of_pitched_conv(&w, &t->call))
        return false;
    return w.kh * w.kw <= 1024 && (w.groups == 1 || w.ic / w.groups >= 4);
}

/* Where channels are few, the taps of a row are one long tap, over a copy of the image that has its padding.
 */
static void join_taps(struct native_conv *s)
{
    struct window2d *w = &s->w;
    int64_t needed = (w->ow - 1) * w->sw + w->kw;
    s->joined = 1;
    if (w->groups > 1 || w->ic >= FEW_CHANNELS || w->kw == 1 || w->dw > 1 || w->ip != w->ic)
        return;
    s->joined = w->kw;
    s->width = w->iw;
    s->before = w->left;
    w->iw = w->left + w->iw > needed ? w->left + w->iw : needed;
    w->kw = 1;
    w->left = 0;
}

static int measure_taps(struct native_conv *s, struct weights *weights)
{
    int64_t *ahead = weights_alloc(weights, (size_t)s->taps * sizeof *ahead);
    for (int64_t t = 0; ahead && t < s->taps; t++)
        ahead[t] = (t / s->w.kw * s->w.dh * s->w.iw + t % s->w.kw * s->w.dw) * s->w.ip;
    s->ahead = ahead;
    s->zeros = weights_alloc(weights, (size_t)(s->joined * s->w.ic) * sizeof *s->zeros);
    return ahead && s->zeros ? FL_OK : FL_NOMEM;
}

static void size_passes(struct native_conv *s, struct kernel_task *t)
{
    int64_t tile = s->panels.simd->rows, rows = s->w.n * s->w.oh * s->w.ow,
            input = s->w.ip * s->w.sh * s->w.sw * (int64_t)sizeof(float);
    s->pixels = PASS_BYTES / input < POINTERS_MAX / s->taps ? PASS_BYTES / input : POINTERS_MAX / s->taps;
    s->pixels = s->pixels < 8 * tile ? 8 * tile : s->pixels / tile * tile;
    s->pointers = (size_t)((rows < s->pixels ? rows + tile : s->pixels) * s->taps) * sizeof(float *);
    t->scratch_bytes = s->pointers;
    if (s->joined > 1)
        t->scratch_bytes += (size_t)(s->w.ih * s->w.iw * s->w.ic) * sizeof(float) + 64;
}

static int native_conv_prepare(struct kernel_task *t, void **state)
{
    struct native_conv *s = calloc(1, sizeof *s);
    struct conv_weights m = {t->call.in[1].data, s, 0};
    const float *bias = view_present(&t->call, 2) ? t->call.in[2].data : NULL;
    *state = s;
    if (!s)
        return FL_NOMEM;
    window_of_pitched_conv(&s->w, &t->call);
    join_taps(s);
    m.ic = s->w.ic / s->w.groups;
    s->taps = s->w.kh * s->w.kw;
    s->k = s->joined * m.ic;
    if (measure_taps(s, t->weights) ||
        panels_pack(&s->panels, simd_best(), t->weights, (int)s->w.groups, (int)s->taps, s->k,
                    s->w.oc / s->w.groups, conv_element, &m, bias))
        return FL_NOMEM;
    size_passes(s, t);
    kernel_packs_constants(t);
    return FL_OK;
}

struct conv_pass {
    const struct native_conv *s;
    const float *x;
    const float **row;
    int64_t first, count; /* output pixels of this pass */
};

/* Pointers to the taps of output pixel (oy, ox), `step` apart. */
static void point_at_taps(const struct native_conv *s, const float *x, int64_t oy, int64_t ox,
                          const float **row, int64_t step)
{
    const struct window2d *w = &s->w;
    int64_t y = oy * w->sh - w->top, at = ox * w->sw - w->left;
    const float *first = x + (y * w->iw + at) * w->ip;
    if (y >= 0 && at >= 0 && y + (w->kh - 1) * w->dh < w->ih && at + (w->kw - 1) * w->dw < w->iw) {
        for (int64_t t = 0; t < s->taps; t++)
            row[t * step] = first + s->ahead[t];
        return;
    }
    for (int64_t t = 0; t < s->taps; t++) {
        int64_t ty = y + t / w->kw * w->dh, tx = at + t % w->kw * w->dw;
        bool inside = ty >= 0 && ty < w->ih && tx >= 0 && tx < w->iw;
        row[t * step] = inside ? first + s->ahead[t] : s->zeros;
    }
}

static void point_at_pixels(const struct conv_pass *c)
{
    const struct window2d *w = &c->s->w;
    int64_t ox = c->first % w->ow, oy = c->first / w->ow % w->oh, tile = c->s->panels.simd->rows;
    const float *x = c->x + c->first / w->ow / w->oh * w->ih * w->iw * w->ip;
    for (int64_t m = 0; m < c->count; m += tile) {
        int64_t n = c->count - m < tile ? c->count - m : tile;
        for (int64_t i = 0; i < n; i++) {
            point_at_taps(c->s, x, oy, ox, c->row + m * c->s->taps + i, n);
            if (++ox < w->ow)
                continue;
            ox = 0;
            if (++oy < w->oh)
                continue;
            oy = 0;
            x += w->ih * w->iw * w->ip;
        }
    }
}

static void conv_pass(struct conv_pass *c, float *y, const float *residual, const struct post *post,
                      struct team *team)
{
    const struct window2d *w = &c->s->w;
    int64_t ocg = w->oc / w->groups, icg = w->ic / w->groups;
    point_at_pixels(c);
    for (int64_t g = 0; g < w->groups; g++) {
        struct panels_call call = {&c->s->panels, (int)g, c->row, c->count, g * icg, NULL, w->op, NULL, post};
        call.c = y + c->first * w->op + g * ocg;
        call.residual = residual ? residual + c->first * w->op + g * ocg : NULL;
        panels_run(&call, team);
    }
}

static const float *pad_rows(const struct native_conv *s, const float *from, float *to)
{
    const struct window2d *w = &s->w;
    int64_t before = s->before * w->ic, given = s->width * w->ic, after = w->iw * w->ic - before - given;
    for (int64_t i = 0; i < w->ih; i++, from += given, to += w->iw * w->ic) {
        memset(to, 0, (size_t)before * sizeof *to);
        memcpy(to + before, from, (size_t)given * sizeof *to);
        memset(to + before + given, 0, (size_t)after * sizeof *to);
    }
    return to - w->ih * w->iw * w->ic;
}

static int native_conv_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct native_conv *s = state;
    const struct post *p = &c->node->post;
    float *padded = (float *)(void *)((char *)r->scratch + (s->pointers + 63) / 64 * 64), *y = c->out[0].data;
    const float *x = c->in[0].data, *residual = p->residual == GRAPH_NONE ? NULL : c->in[p->residual].data;
    int64_t image = s->w.oh * s->w.ow, left = c->out[0].dim[0] * image;
    while (left > 0) {
        int64_t rows = s->joined > 1 ? image : left;
        const float *from = s->joined > 1 ? pad_rows(s, x, padded) : x;
        for (int64_t first = 0; first < rows; first += s->pixels) {
            struct conv_pass pass = {s, from, r->scratch, first,
                                     rows - first < s->pixels ? rows - first : s->pixels};
            conv_pass(&pass, y, residual, p, r->team);
        }
        left -= rows;
        x += s->w.ih * s->width * s->w.ic;
        y += rows * s->w.op;
        residual = residual ? residual + rows * s->w.op : NULL;
    }
    return FL_OK;
}

const struct kernel kernel_native_conv = {
    .name = "native",
    .family = KERNEL_NATIVE,
    .accepts = native_conv_accepts,
    .prepare = native_conv_prepare,
    .run = native_conv_run,
    .release = free,
};

struct native_product {
    struct panels panels;
    struct product p;
};

static float product_element(const void *matrix, int g, int t, int64_t i, int64_t j)
{
    const struct product *p = matrix;
    (void)g;
    (void)t;
    return p->alpha * (p->trans_b ? p->b[j * p->k + i] : p->b[i * p->n + j]);
}

static bool native_product_accepts(const struct kernel_task *t)
{
    struct product p;
    return product_of(&p, &t->call) && p.b && !p.trans_a && (!p.c_view || p.bias);
}

static int native_product_prepare(struct kernel_task *t, void **state)
{
    struct native_product *s = calloc(1, sizeof *s);
    float *bias = NULL;
    int rc;
    *state = s;
    if (!s)
        return FL_NOMEM;
    product_of(&s->p, &t->call);
    if (s->p.bias) {
        bias = malloc((size_t)(s->p.n + 1) * sizeof *bias);
        for (int64_t j = 0; bias && j < s->p.n; j++)
            bias[j] = s->p.beta * s->p.bias[s->p.bias_is_scalar ? 0 : j];
        if (!bias)
            return FL_NOMEM;
    }
    rc = panels_pack(&s->panels, simd_best(), t->weights, 1, 1, s->p.k, s->p.n, product_element, &s->p, bias);
    free(bias);
    t->scratch_bytes = (size_t)(s->p.m + s->panels.simd->rows) * sizeof(float *);
    kernel_packs_constants(t);
    return rc;
}

static int native_product_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct native_product *s = state;
    const struct post *p = &c->node->post;
    const float *x = c->in[0].data, **row = r->scratch;
    int64_t m = s->p.n ? view_count(&c->out[0]) / s->p.n : 0;
    struct panels_call call = {&s->panels, 0, row, m, 0, c->out[0].data, s->p.n, NULL, p};
    call.residual = p->residual == GRAPH_NONE ? NULL : c->in[p->residual].data;
    for (int64_t i = 0; i < m; i++)
        row[i] = x + i * s->p.k;
    panels_run(&call, r->team);
    return FL_OK;
}

const struct kernel kernel_native_product = {
    .name = "native",
    .family = KERNEL_NATIVE,
    .accepts = native_product_accepts,
    .prepare = native_product_prepare,
    .run = native_product_run,
    .release = free,
};
