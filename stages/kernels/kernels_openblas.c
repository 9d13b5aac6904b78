/* kernels_openblas.c - convolutions by im2col, Gemm and MatMul, with OpenBLAS's products
 *
 * OpenBLAS copies its operands into an order of its own, unless the product is small. With the few rows of
 * one request that copy of the weights costs more than the product itself, so products of few rows are done
 * in slices that count as small, one after the other. Several threads are ours, each with a part of the
 * product: OpenBLAS's own would take memory from malloc for each.
 */
#include "kernels.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "stages/simd/simd.h"

#define SMALL_PRODUCT 1000000 /* m * n * k up to which OpenBLAS does not copy */
#define FEW_ROWS      32
#define VECTOR        16 /* floats */
#define FEW_COLUMNS   8
#define COLUMN_BYTES  (1 << 20) /* of im2col at a time, unless a single row is larger */

static const struct post no_post = {GRAPH_NONE, ACT_NONE, 0, 0};

/* c[m][n] += a[m][k] * b[k][n], all row-major, for n <= FEW_COLUMNS. */
static void multiply_narrow(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b,
                            int64_t ldb, float *c, int64_t ldc)
{
    for (int64_t i = 0; i < m; i++) {
        float sum[FEW_COLUMNS] = {0};
        for (int64_t t = 0; t < k; t++)
            for (int64_t j = 0; j < n; j++)
                sum[j] += a[i * lda + t] * b[t * ldb + j];
        for (int64_t j = 0; j < n; j++)
            c[i * ldc + j] += sum[j];
    }
}

/* c[m][n] += alpha * a[m][k] * b[k][n], where b may lie as [n][k]. */
struct factors {
    int64_t m, n, k;
    float alpha;
    const float *a, *b;
    int64_t lda, ldb;
    bool b_transposed;
    float *c;
    int64_t ldc;
};

static void gemm(const struct factors *f, int64_t from, int64_t to)
{
    const float *b = f->b_transposed ? f->b + from : f->b + from * f->ldb;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, f->b_transposed ? CblasTrans : CblasNoTrans, (int)f->m,
                (int)f->n, (int)(to - from), f->alpha, f->a + from, (int)f->lda, b, (int)f->ldb, 1, f->c,
                (int)f->ldc);
}

/* What counts as small is given whole vectors: for a rest of up to FEW_COLUMNS OpenBLAS's AVX-512 kernels
 * take memory from malloc. */
static void multiply_part(struct factors f)
{
    int64_t slice = f.k, rest = f.n % VECTOR;
    bool few = f.m <= FEW_ROWS && f.m * f.n * f.k > SMALL_PRODUCT && SMALL_PRODUCT / (f.m * f.n) >= 16;
    if (f.b_transposed || f.alpha != 1) {
        gemm(&f, 0, f.k);
        return;
    }
    if (f.m == 1) {
        cblas_sgemv(CblasRowMajor, CblasTrans, (int)f.k, (int)f.n, 1, f.b, (int)f.ldb, f.a, 1, 1, f.c, 1);
        return;
    }
    if ((few || f.m * f.n * f.k <= SMALL_PRODUCT) && rest > 0 && rest <= FEW_COLUMNS) {
        f.n -= rest;
        multiply_narrow(f.m, rest, f.k, f.a, f.lda, f.b + f.n, f.ldb, f.c + f.n, f.ldc);
    }
    if (few && f.n > 0)
        slice = SMALL_PRODUCT / (f.m * f.n);
    for (int64_t i = 0; i < f.k && f.n > 0; i += slice)
        gemm(&f, i, i + slice < f.k ? i + slice : f.k);
}

struct shares {
    const struct factors *all;
    int parts;
};

/* Of the rows or, where these are fewer than parts, of the columns, whole vectors. */
static void multiply_share(void *arg, int i, int thread)
{
    const struct shares *s = arg;
    struct factors f = *s->all;
    bool rows = f.m >= s->parts;
    int64_t n = rows ? f.m : (f.n + VECTOR - 1) / VECTOR, from = n * i / s->parts,
            to = n * (i + 1) / s->parts;
    (void)thread;
    if (rows) {
        f.m = to - from;
        f.a += from * f.lda;
        f.c += from * f.ldc;
    } else {
        from *= VECTOR;
        to = to * VECTOR < f.n ? to * VECTOR : f.n;
        f.n = to - from;
        f.b += f.b_transposed ? from * f.ldb : from;
        f.c += from;
    }
    if (f.m > 0 && f.n > 0)
        multiply_part(f);
}

static void multiply(const struct factors *f, struct team *team)
{
    struct shares s = {f, team_threads(team)};
    team_run(team, multiply_share, &s, s.parts);
}

struct conv {
    struct window2d w;
    const float *b;    /* [groups][taps * icg][ocg] */
    const float *bias; /* [oc]; zeros when the node has none */
    int64_t rows;      /* output pixels per pass */
    bool direct;       /* 1x1, stride 1, no padding: the input is the matrix */
};

static bool conv_accepts(const struct kernel_task *t)
{
    struct window2d w;
    return window_of_conv(&w, &t->call) && w.groups <= 64;
}

static void pack_weights(const struct window2d *w, const float *from, float *to)
{
    int64_t icg = w->ic / w->groups, ocg = w->oc / w->groups, taps = w->kh * w->kw;
    for (int64_t o = 0; o < w->oc; o++) {
        float *group = to + o / ocg * taps * icg * ocg;
        for (int64_t i = 0; i < icg; i++)
            for (int64_t t = 0; t < taps; t++)
                group[(t * icg + i) * ocg + o % ocg] = from[(o * icg + i) * taps + t];
    }
}

static int conv_prepare(struct kernel_task *t, void **state)
{
    struct conv *s = calloc(1, sizeof *s);
    int64_t row_bytes, all;
    float *b;
    *state = s;
    if (!s)
        return FL_NOMEM;
    window_of_conv(&s->w, &t->call);
    s->direct = s->w.kh * s->w.kw == 1 && s->w.sh == 1 && s->w.sw == 1 && !s->w.top && !s->w.left &&
                !s->w.bottom && !s->w.right;
    b = weights_alloc(t->weights, (size_t)view_count(&t->call.in[1]) * sizeof *b);
    s->bias = conv_bias(t, s->w.oc);
    if (!b || !s->bias)
        return FL_NOMEM;
    pack_weights(&s->w, t->call.in[1].data, b);
    kernel_packs_constants(t);
    s->b = b;
    row_bytes = s->w.kh * s->w.kw * s->w.ic / s->w.groups * (int64_t)sizeof(float);
    all = s->w.n * s->w.oh * s->w.ow;
    s->rows = COLUMN_BYTES / row_bytes < 1 ? 1 : COLUMN_BYTES / row_bytes;
    s->rows = s->rows < all && !s->direct ? s->rows : all;
    t->scratch_bytes = s->direct ? 0 : (size_t)(s->rows * row_bytes);
    return FL_OK;
}

/* Rows [first, first + n) of the matrix of group g: for each output pixel, the channels of each tap. */
struct columns {
    const struct conv *s;
    const float *x;
    float *to;
    int64_t first, g;
};

static void lay_out_pixel(void *arg, int i, int thread)
{
    const struct columns *c = arg;
    const struct window2d *w = &c->s->w;
    int64_t pixel = c->first + i, ox = pixel % w->ow, oy = pixel / w->ow % w->oh,
            image = pixel / w->ow / w->oh;
    int64_t icg = w->ic / w->groups;
    const float *x = c->x + image * w->ih * w->iw * w->ic + c->g * icg;
    float *to = c->to + i * w->kh * w->kw * icg;
    (void)thread;
    for (int64_t ky = 0; ky < w->kh; ky++) {
        int64_t y = oy * w->sh - w->top + ky * w->dh;
        for (int64_t kx = 0; kx < w->kw; kx++, to += icg) {
            int64_t at = ox * w->sw - w->left + kx * w->dw;
            if (y >= 0 && y < w->ih && at >= 0 && at < w->iw)
                memcpy(to, x + (y * w->iw + at) * w->ic, (size_t)icg * sizeof *to);
            else
                memset(to, 0, (size_t)icg * sizeof *to);
        }
    }
}

/* Bias and residual go in before the product, which adds to what is there. */
static void begin_rows(float *y, const float *residual, const float *bias, int64_t rows, int64_t n)
{
    if (residual)
        simd_best()->scale_shift(&no_post, residual, n, NULL, bias, y, rows, n);
    else
        for (int64_t i = 0; i < rows; i++)
            memcpy(y + i * n, bias, (size_t)n * sizeof *y);
}

static int conv_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct conv *s = state;
    const struct window2d *w = &s->w;
    const struct post *p = &c->node->post;
    const float *residual = p->residual == GRAPH_NONE ? NULL : c->in[p->residual].data;
    int64_t rows = c->out[0].dim[0] * w->oh * w->ow, icg = w->ic / w->groups, ocg = w->oc / w->groups,
            k = w->kh * w->kw * icg;
    for (int64_t first = 0; first < rows; first += s->rows) {
        int64_t n = rows - first < s->rows ? rows - first : s->rows;
        float *y = (float *)c->out[0].data + first * w->oc;
        begin_rows(y, residual ? residual + first * w->oc : NULL, s->bias, n, w->oc);
        for (int64_t g = 0; g < w->groups; g++) {
            struct columns columns = {s, c->in[0].data, r->scratch, first, g};
            const float *a = s->direct ? columns.x + first * w->ic + g * icg : columns.to;
            if (!s->direct)
                team_run(r->team, lay_out_pixel, &columns, (int)n);
            multiply(&(struct factors){n, ocg, k, 1, a, s->b + g * k * ocg, s->direct ? w->ic : k, ocg, false,
                                       y + g * ocg, w->oc},
                     r->team);
        }
        post_activate(p, y, n * w->oc);
    }
    return FL_OK;
}

const struct kernel kernel_openblas_conv = {
    .name = "openblas",
    .family = KERNEL_OPENBLAS,
    .accepts = conv_accepts,
    .prepare = conv_prepare,
    .run = conv_run,
    .release = free,
};

/* Gemm and MatMul: a constant b is kept as [k][n]; one that is computed is used as it comes. */
struct gemm {
    const float *b, *bias;
};

static bool product_accepts(const struct kernel_task *t)
{
    struct product p;
    return product_of(&p, &t->call) && p.n > 0 && p.k > 0 && (!p.c_view || p.bias) && !p.trans_a;
}

static int product_prepare(struct kernel_task *t, void **state)
{
    struct gemm *s = calloc(1, sizeof *s);
    struct product p;
    float *b, *bias;
    *state = s;
    if (!s)
        return FL_NOMEM;
    product_of(&p, &t->call);
    bias = weights_alloc(t->weights, (size_t)p.n * sizeof *bias);
    if (!bias)
        return FL_NOMEM;
    for (int64_t j = 0; p.bias && j < p.n; j++)
        bias[j] = p.beta * p.bias[p.bias_is_scalar ? 0 : j];
    s->bias = bias;
    t->alias = t->call.node->post.residual;
    kernel_mark_packed(t, 2);
    if (!p.b)
        return FL_OK;
    b = weights_alloc(t->weights, (size_t)(p.k * p.n) * sizeof *b);
    if (!b)
        return FL_NOMEM;
    for (int64_t i = 0; i < p.k; i++)
        for (int64_t j = 0; j < p.n; j++)
            b[i * p.n + j] = p.alpha * (p.trans_b ? p.b[j * p.k + i] : p.b[i * p.n + j]);
    s->b = b;
    kernel_mark_packed(t, 1);
    return FL_OK;
}

static int product_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct gemm *s = state;
    const struct post *post = &c->node->post;
    const float *residual = post->residual == GRAPH_NONE ? NULL : c->in[post->residual].data;
    struct product p;
    struct factors f;
    float *y = c->out[0].data;
    product_of(&p, c);
    if (p.m == 0)
        return FL_OK;
    begin_rows(y, residual, s->bias, p.m, p.n);
    f = (struct factors){p.m, p.n, p.k, p.alpha, c->in[0].data, c->in[1].data, p.k, p.n, p.trans_b, y, p.n};
    if (s->b)
        f.alpha = 1, f.b = s->b, f.b_transposed = false;
    f.ldb = f.b_transposed ? p.k : p.n;
    multiply(&f, r->team);
    post_activate(post, y, p.m * p.n);
    return FL_OK;
}

const struct kernel kernel_openblas_product = {
    .name = "openblas",
    .family = KERNEL_OPENBLAS,
    .accepts = product_accepts,
    .prepare = product_prepare,
    .run = product_run,
    .release = free,
};
