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
#include "panels.h"

#define POINTERS_MAX (32 << 10) /* per pass over the image: 256 KiB of scratch */

struct native_conv {
    struct window2d w;
    struct panels panels;
    const float *zeros; /* [ic]: a pixel of the padding */
    int64_t pixels;     /* output pixels per pass: whole tiles */
};

struct conv_weights {
    const float *data; /* [oc][ic / groups][kh][kw] */
    const struct window2d *w;
};

static float conv_element(const void *matrix, int g, int t, int64_t i, int64_t j)
{
    const struct conv_weights *m = matrix;
    int64_t taps = m->w->kh * m->w->kw, ic = m->w->ic / m->w->groups, oc = g * (m->w->oc / m->w->groups) + j;
    return m->data[(oc * ic + i) * taps + t];
}

/* Enough channels per group that a tap is a loop worth its pointers. */
static bool native_conv_accepts(const struct kernel_task *t)
{
    struct window2d w;
    if (!window_of_conv(&w, &t->call))
        return false;
    return w.kh * w.kw <= 1024 && (w.groups == 1 || w.ic / w.groups >= 4);
}

static int native_conv_prepare(struct kernel_task *t, void **state)
{
    struct native_conv *s = calloc(1, sizeof *s);
    struct conv_weights m = {t->call.in[1].data, NULL};
    const float *bias = view_present(&t->call, 2) ? t->call.in[2].data : NULL;
    int64_t taps, rows, tile;
    *state = s;
    if (!s)
        return FL_NOMEM;
    window_of_conv(&s->w, &t->call);
    m.w = &s->w;
    taps = s->w.kh * s->w.kw;
    if (panels_pack(&s->panels, simd_best(), t->weights, (int)s->w.groups, (int)taps, s->w.ic / s->w.groups,
                    s->w.oc / s->w.groups, conv_element, &m, bias))
        return FL_NOMEM;
    s->zeros = weights_alloc(t->weights, (size_t)s->w.ic * sizeof *s->zeros);
    if (!s->zeros)
        return FL_NOMEM;
    tile = s->panels.simd->rows;
    rows = s->w.n * s->w.oh * s->w.ow;
    s->pixels = POINTERS_MAX / taps / tile * tile;
    s->pixels = s->pixels < tile ? tile : s->pixels;
    t->scratch_bytes = (size_t)((rows < s->pixels ? rows + tile : s->pixels) * taps) * sizeof(float *);
    kernel_packs_constants(t);
    return FL_OK;
}

struct conv_pass {
    const struct native_conv *s;
    const float *x;
    const float **row;
    int64_t first, count; /* output pixels of this pass */
};

static void point_at_pixel(const struct conv_pass *c, int64_t m)
{
    const struct window2d *w = &c->s->w;
    int64_t pixel = c->first + m, ox = pixel % w->ow, oy = pixel / w->ow % w->oh,
            image = pixel / w->ow / w->oh;
    const float *x = c->x + image * w->ih * w->iw * w->ic;
    int64_t in_tile =
        panels_row_at(&c->s->panels, m, c->count, 1) - panels_row_at(&c->s->panels, m, c->count, 0);
    const float **row = c->row + panels_row_at(&c->s->panels, m, c->count, 0);
    for (int64_t ky = 0; ky < w->kh; ky++) {
        int64_t y = oy * w->sh - w->top + ky * w->dh;
        for (int64_t kx = 0; kx < w->kw; kx++, row += in_tile) {
            int64_t at = ox * w->sw - w->left + kx * w->dw;
            bool inside = y >= 0 && y < w->ih && at >= 0 && at < w->iw;
            *row = inside ? x + (y * w->iw + at) * w->ic : c->s->zeros;
        }
    }
}

static void conv_pass(struct conv_pass *c, float *y, const float *residual, const struct post *post,
                      struct team *team)
{
    const struct window2d *w = &c->s->w;
    int64_t ocg = w->oc / w->groups, icg = w->ic / w->groups;
    for (int64_t m = 0; m < c->count; m++)
        point_at_pixel(c, m);
    for (int64_t g = 0; g < w->groups; g++) {
        struct panels_call call = {&c->s->panels, (int)g, c->row, c->count, g * icg, NULL, w->oc, NULL, post};
        call.c = y + c->first * w->oc + g * ocg;
        call.residual = residual ? residual + c->first * w->oc + g * ocg : NULL;
        panels_run(&call, team);
    }
}

static int native_conv_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct native_conv *s = state;
    const struct post *p = &c->node->post;
    const float *residual = p->residual == GRAPH_NONE ? NULL : c->in[p->residual].data;
    int64_t rows = c->out[0].dim[0] * s->w.oh * s->w.ow;
    for (int64_t first = 0; first < rows; first += s->pixels) {
        struct conv_pass pass = {s, c->in[0].data, r->scratch, first,
                                 rows - first < s->pixels ? rows - first : s->pixels};
        conv_pass(&pass, c->out[0].data, residual, p, r->team);
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
