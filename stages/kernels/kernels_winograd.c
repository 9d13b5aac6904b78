/* kernels_winograd.c - 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3) (Lavin & Gray 2016)
 *
 * Each 4x4 patch of the output comes from a 6x6 patch of the input: both are transformed (36 points), and at
 * each point the channels are a plain product (panels.h): 36 multiplications where the direct way needs 144.
 * The points are 0, 3/4, -3/4, 3/2, -3/2 and infinity, which are exact in float32. Their powers stay near 1
 * (Alam et al. 2022), so the error stays near 1e-6 of the largest value, a quarter of what the usual points
 * 0, 1, -1, 2, -2 and infinity give. Patches go through in chunks that stay in cache; where the weights do
 * not, in larger ones, since each chunk reads all weights.
 */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "stages/simd/panels.h"

#define POINTS        36
#define CHUNK_BYTES   (768 << 10)
#define CHUNK_MOST    (8 << 20)
#define FEWEST_PIXELS 36 /* of an image: four times the weights must be worth it */
#define APART         16 /* floats between the planes of two points, so that these do not share a cache's sets */

struct winograd {
    struct window2d w;
    const struct simd *simd;
    struct panels panels;  /* the transformed weights, a group per point */
    const float *bias;     /* [oc], zeros when the node has none */
    const float *zeros;    /* [ic] */
    int64_t rows, columns; /* patches of an image */
    int64_t chunk;         /* patches at a time */
};

struct transformed {
    const float *u; /* [36][ic][oc] */
    int64_t ic, oc;
};

/* G g G^T for one pair of channels: `g` is 3x3, point p of the result goes to u[p * stride]. */
static void transform_weights(const float *g, float *u, int64_t stride)
{
    static const double a = 0.75, b = 1.5; /* as in simd_template.h */
    const double n0 = a * a * b * b, na = 2 * a * a * (a * a - b * b), nb = 2 * b * b * (b * b - a * a);
    const double G[6][3] = {{1 / n0, 0, 0},
                            {1 / na, a / na, a * a / na},
                            {1 / na, -a / na, a * a / na},
                            {1 / nb, b / nb, b * b / nb},
                            {1 / nb, -b / nb, b * b / nb},
                            {0, 0, 1}};
    double t[6][3];
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 3; j++)
            t[i][j] = G[i][0] * (double)g[j] + G[i][1] * (double)g[3 + j] + G[i][2] * (double)g[6 + j];
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 6; j++)
            u[(i * 6 + j) * stride] = (float)(t[i][0] * G[j][0] + t[i][1] * G[j][1] + t[i][2] * G[j][2]);
}

static float transformed_element(const void *matrix, int g, int t, int64_t i, int64_t j)
{
    const struct transformed *m = matrix;
    (void)t;
    return m->u[(g * m->ic + i) * m->oc + j];
}

static void transform_all(const struct window2d *w, const float *weights, float *u)
{
    for (int64_t o = 0; o < w->oc; o++)
        for (int64_t i = 0; i < w->ic; i++)
            transform_weights(weights + (o * w->ic + i) * 9, u + i * w->oc + o, w->ic * w->oc);
}

static bool accepts(const struct kernel_task *t)
{
    struct window2d w;
    int lanes = simd_best()->lanes;
    if (!window_of_pitched_conv(&w, &t->call) || w.kh != 3 || w.kw != 3 || w.sh != 1 || w.sw != 1 ||
        w.dh != 1 || w.dw != 1)
        return false;
    return w.groups == 1 && w.ic % lanes == 0 && w.oc % lanes == 0 && w.oh * w.ow >= FEWEST_PIXELS;
}

/* Sizes, bias and scratch. */
static int prepare_patches(struct kernel_task *t, struct winograd *s)
{
    int64_t patches, most, bytes;
    window_of_pitched_conv(&s->w, &t->call);
    s->simd = simd_best();
    s->rows = (s->w.oh + 3) / 4;
    s->columns = (s->w.ow + 3) / 4;
    patches = s->w.n * s->rows * s->columns;
    bytes = POINTS * s->w.ic * s->w.oc * (int64_t)sizeof(float);
    bytes = bytes < CHUNK_BYTES ? CHUNK_BYTES : bytes < CHUNK_MOST ? bytes : CHUNK_MOST;
    most = bytes / (POINTS * (s->w.ic + s->w.oc) * (int64_t)sizeof(float));
    most = most < s->simd->rows ? s->simd->rows : most;
    s->chunk = (patches + most - 1) / most;
    s->chunk = (patches + s->chunk - 1) / s->chunk;
    s->bias = conv_bias(t, s->w.oc);
    s->zeros = weights_alloc(t->weights, (size_t)s->w.ic * sizeof *s->zeros);
    if (!s->bias || !s->zeros)
        return FL_NOMEM;
    t->scratch_bytes = (size_t)(POINTS * (s->chunk * (s->w.ic + s->w.oc) + 2 * APART)) * sizeof(float) +
                       (size_t)s->chunk * sizeof(float *);
    kernel_packs_constants(t);
    return FL_OK;
}

static int prepare(struct kernel_task *t, void **state)
{
    struct winograd *s = calloc(1, sizeof *s);
    struct transformed m;
    float *u;
    int rc;
    *state = s;
    if (!s)
        return FL_NOMEM;
    if ((rc = prepare_patches(t, s)))
        return rc;
    u = malloc((size_t)(POINTS * s->w.ic * s->w.oc) * sizeof *u);
    if (!u)
        return FL_NOMEM;
    transform_all(&s->w, t->call.in[1].data, u);
    m = (struct transformed){u, s->w.ic, s->w.oc};
    rc = panels_pack(&s->panels, s->simd, t->weights, POINTS, 1, s->w.ic, s->w.oc, transformed_element, &m,
                     NULL);
    free(u);
    return rc;
}

/* One chunk of patches [first, first + count). */
struct pass {
    const struct winograd *s;
    const float *x, *residual;
    float *y, *v, *m; /* [36][count][ic] and [36][count][oc], with planes of these sizes: */
    int64_t v_plane, m_plane;
    const float **row;
    int64_t first, count;
    const struct post *post;
};

/* Top left corner of a patch's output. */
static int64_t locate(const struct winograd *s, int64_t patch, int64_t *oy, int64_t *ox)
{
    *ox = patch % s->columns * 4;
    *oy = patch / s->columns % s->rows * 4;
    return patch / s->columns / s->rows;
}

static void take_patch(void *arg, int i, int thread)
{
    const struct pass *p = arg;
    const struct window2d *w = &p->s->w;
    const float *row[POINTS];
    int64_t oy, ox, image = locate(p->s, p->first + i, &oy, &ox);
    const float *x = p->x + image * w->ih * w->iw * w->ip;
    (void)thread;
    for (int64_t a = 0; a < 6; a++)
        for (int64_t b = 0; b < 6; b++) {
            int64_t iy = oy - w->top + a, ix = ox - w->left + b;
            bool inside = iy >= 0 && iy < w->ih && ix >= 0 && ix < w->iw;
            row[a * 6 + b] = inside ? x + (iy * w->iw + ix) * w->ip : p->s->zeros;
        }
    p->s->simd->wino_input(row, p->v + i * w->ic, p->v_plane, w->ic);
}

static void give_patch(void *arg, int i, int thread)
{
    const struct pass *p = arg;
    const struct window2d *w = &p->s->w;
    float *out[16];
    const float *residual[16];
    int64_t oy, ox, image = locate(p->s, p->first + i, &oy, &ox);
    (void)thread;
    for (int64_t a = 0; a < 4; a++)
        for (int64_t b = 0; b < 4; b++) {
            bool inside = oy + a < w->oh && ox + b < w->ow;
            int64_t at = ((image * w->oh + oy + a) * w->ow + ox + b) * w->op;
            out[a * 4 + b] = inside ? p->y + at : NULL;
            residual[a * 4 + b] = inside && p->residual ? p->residual + at : NULL;
        }
    p->s->simd->wino_output(p->m + i * w->oc, p->m_plane, out, p->residual ? residual : NULL, p->s->bias,
                            p->post, w->oc);
}

static void multiply(void *arg, int i, int thread)
{
    static const struct post nothing = {GRAPH_NONE, ACT_NONE, 0, 0};
    const struct pass *p = arg;
    const struct panels *panels = &p->s->panels;
    int point = i / panels->blocks;
    struct panels_call call = {panels, point,     p->row, p->count, point * p->v_plane,
                               NULL,   panels->n, NULL,   &nothing};
    (void)thread;
    call.c = p->m + point * p->m_plane;
    panels_run_block(&call, i % panels->blocks, 0, p->count);
}

static int run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct winograd *s = state;
    int64_t patches = c->out[0].dim[0] * s->rows * s->columns;
    struct pass p = {.s = s, .x = c->in[0].data, .y = c->out[0].data, .post = &c->node->post};
    p.residual = p.post->residual == GRAPH_NONE ? NULL : c->in[p.post->residual].data;
    p.v = r->scratch;
    for (; p.first < patches; p.first += p.count) {
        p.count = patches - p.first < s->chunk ? patches - p.first : s->chunk;
        p.v_plane = p.count * s->w.ic + APART;
        p.m_plane = p.count * s->w.oc + APART;
        p.m = p.v + POINTS * p.v_plane;
        p.row = (const float **)(void *)(p.m + POINTS * p.m_plane);
        for (int64_t i = 0; i < p.count; i++)
            p.row[i] = p.v + i * s->w.ic;
        team_run(r->team, take_patch, &p, (int)p.count);
        team_run(r->team, multiply, &p, POINTS * s->panels.blocks);
        team_run(r->team, give_patch, &p, (int)p.count);
    }
    return FL_OK;
}

const struct kernel kernel_native_winograd = {
    .name = "winograd",
    .family = KERNEL_NATIVE,
    .accepts = accepts,
    .prepare = prepare,
    .run = run,
    .release = free,
};
