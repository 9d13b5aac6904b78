/* kernels_matmul.c - MatMul of two computed operands, one product per head: attention
 *
 * Operands are taken as they lie, also transposed, with any strides between rows and between heads. Two ways:
 * OpenBLAS, and for the small products of short texts our own tiles, on a second operand that is packed
 * during the run.
 */
#include "kernels.h"

#include <cblas.h>
#include <string.h>

#include "kernels_list.h"
#include "layout.h"
#include "stages/simd/simd.h"

/* The matrices that the last two dims of a view hold: row-major, or columns one after the other. */
struct matrices {
    int64_t rows, columns, step; /* step: floats between rows, or between columns when transposed */
    bool transposed;
};

static bool matrices_of(struct matrices *m, const struct view *v)
{
    int64_t across, down;
    if (v->dtype != TENSOR_F32 || v->rank < 2)
        return false;
    *m = (struct matrices){.rows = v->dim[v->rank - 2], .columns = v->dim[v->rank - 1]};
    across = m->columns == 1 ? 1 : v->stride[v->rank - 1];
    down = m->rows == 1 ? (m->columns > 1 ? m->columns : 1) : v->stride[v->rank - 2];
    m->transposed = across != 1;
    m->step = m->transposed ? across : down;
    return m->rows > 0 && m->columns > 0 &&
           (m->transposed ? (down == 1 || m->rows == 1) && across >= m->rows : down >= m->columns);
}

bool matmul_reads(const struct view *v)
{
    struct matrices m;
    return matrices_of(&m, v);
}

bool matmul_writes(const struct view *v)
{
    struct matrices m;
    return matrices_of(&m, v) && !m.transposed;
}

struct operands {
    struct matrices a, b, y;
    float alpha;
};

static bool operands_of(struct operands *o, const struct op_call *c)
{
    o->alpha = attr_float(c->node, "alpha", 1);
    return node_is(c->node, "MatMul") && post_is_nothing(c) && matrices_of(&o->a, &c->in[0]) &&
           matrices_of(&o->b, &c->in[1]) && matrices_of(&o->y, &c->out[0]) && !o->y.transposed;
}

/* Where each product's operands lie: y's leading dims, with the others repeated. */
struct batch {
    struct view y, a, b;
    int64_t index[TENSOR_MAX_RANK];
    float *at_y;
    const float *at_a, *at_b;
};

static struct view leading(const struct view *v)
{
    struct view l = *v;
    l.rank -= 2;
    return l;
}

static void batch_start(struct batch *b, const struct op_call *c)
{
    struct view first = leading(&c->in[0]), second = leading(&c->in[1]);
    *b = (struct batch){.y = leading(&c->out[0])};
    b->a = view_broadcast(&first, &b->y);
    b->b = view_broadcast(&second, &b->y);
    b->at_y = c->out[0].data, b->at_a = c->in[0].data, b->at_b = c->in[1].data;
}

static bool batch_next(struct batch *b, const struct op_call *c)
{
    if (!index_advance(b->index, b->y.dim, b->y.rank))
        return false;
    b->at_y = (float *)c->out[0].data + index_offset(b->index, b->y.stride, b->y.rank);
    b->at_a = (const float *)c->in[0].data + index_offset(b->index, b->a.stride, b->y.rank);
    b->at_b = (const float *)c->in[1].data + index_offset(b->index, b->b.stride, b->y.rank);
    return true;
}

/* For what counts as small, and a rest of few columns, OpenBLAS's AVX-512 kernels take memory from malloc. */
#define SMALL_PRODUCT 1000000
#define VECTOR        16
#define FEW_COLUMNS   8

static bool blas_accepts(const struct kernel_task *t)
{
    struct operands o;
    int64_t rest;
    if (!operands_of(&o, &t->call))
        return false;
    rest = o.y.columns % VECTOR;
    return (double)o.y.rows * (double)o.y.columns * (double)o.a.columns > SMALL_PRODUCT || !rest ||
           rest > FEW_COLUMNS;
}

struct products {
    const struct operands *o;
    const struct op_call *call;
    int shares;
};

/* The products of one thread: every nth, since OpenBLAS's own threads would take memory from malloc. */
static void blas_share(void *arg, int first, int thread)
{
    const struct products *p = arg;
    const struct operands *o = p->o;
    struct batch b;
    int i = 0;
    (void)thread;
    batch_start(&b, p->call);
    do
        if (i++ % p->shares == first)
            cblas_sgemm(CblasRowMajor, o->a.transposed ? CblasTrans : CblasNoTrans,
                        o->b.transposed ? CblasTrans : CblasNoTrans, (int)o->y.rows, (int)o->y.columns,
                        (int)o->a.columns, o->alpha, b.at_a, (int)o->a.step, b.at_b, (int)o->b.step, 0,
                        b.at_y, (int)o->y.step);
    while (batch_next(&b, p->call));
}

static int blas_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    struct operands o;
    struct products p = {&o, c, team_threads(r->team)};
    (void)state;
    if (view_count(&c->out[0]) && operands_of(&o, c))
        team_run(r->team, blas_share, &p, p.shares);
    return FL_OK;
}

const struct kernel kernel_openblas_matmul = {
    .name = "openblas",
    .family = KERNEL_OPENBLAS,
    .accepts = blas_accepts,
    .run = blas_run,
};

/* Our own: each thread packs a panel of b, as wide as a tile, and goes down the rows of a with it. */
static int64_t tile_width(const struct simd *s)
{
    return (int64_t)s->lanes * s->vectors;
}

static bool tiles_accepts(const struct kernel_task *t)
{
    struct operands o;
    return operands_of(&o, &t->call) && !o.a.transposed;
}

static int tiles_prepare(struct kernel_task *t, void **state)
{
    struct operands o;
    *state = NULL;
    operands_of(&o, &t->call);
    t->scratch_bytes = (size_t)(o.a.columns * tile_width(simd_best()) * t->threads) * sizeof(float);
    return FL_OK;
}

struct tiles {
    const struct operands *o;
    const struct batch *at;
    float *packed; /* [thread][k][width] */
};

/* Columns [first, first + n) of b, padded with zeros to `width`. */
static void pack_panel(const struct operands *o, const float *b, int64_t first, int64_t n, int64_t width,
                       float *to)
{
    int64_t k = o->a.columns;
    if (n < width)
        memset(to, 0, (size_t)(k * width) * sizeof *to);
    if (o->b.transposed)
        layout_transpose_part(b + first * o->b.step, o->b.step, to, width, n, k);
    for (int64_t i = 0; !o->b.transposed && i < k; i++)
        memcpy(to + i * width, b + i * o->b.step + first, (size_t)n * sizeof *to);
    if (o->alpha != 1)
        simd_best()->scale(to, o->alpha, k * width);
}

static void run_panel(void *arg, int block, int thread)
{
    static const struct post nothing = {GRAPH_NONE, ACT_NONE, 0, 0};
    const struct tiles *t = arg;
    const struct operands *o = t->o;
    const struct simd *simd = simd_best();
    int64_t first = block * tile_width(simd), left = o->y.columns - first;
    int64_t n = left < tile_width(simd) ? left : tile_width(simd);
    struct panel_call call = {
        .taps = 1, .k = o->a.columns, .ldc = o->y.step, .post = &nothing, .first = true, .last = true};
    const float *row[16];
    float *packed = t->packed + thread * o->a.columns * tile_width(simd);
    call.vectors = (int)((n + simd->lanes - 1) / simd->lanes);
    call.n = (int)n;
    call.row = row;
    call.panel = packed;
    pack_panel(o, t->at->at_b, first, n, (int64_t)call.vectors * simd->lanes, packed);
    for (int64_t m = 0; m < o->y.rows; m += simd->rows) {
        call.rows = (int)(o->y.rows - m < simd->rows ? o->y.rows - m : simd->rows);
        for (int i = 0; i < call.rows; i++)
            row[i] = t->at->at_a + (m + i) * o->a.step;
        call.c = t->at->at_y + m * o->y.step + first;
        simd->panel(&call);
    }
}

static int tiles_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    struct operands o;
    struct batch b;
    struct tiles t = {&o, &b, r->scratch};
    (void)state;
    if (!view_count(&c->out[0]) || !operands_of(&o, c))
        return FL_OK;
    batch_start(&b, c);
    do
        team_run(r->team, run_panel, &t,
                 (int)((o.y.columns + tile_width(simd_best()) - 1) / tile_width(simd_best())));
    while (batch_next(&b, c));
    return FL_OK;
}

const struct kernel kernel_tiles_matmul = {
    .name = "tiles",
    .family = KERNEL_PLAIN,
    .accepts = tiles_accepts,
    .prepare = tiles_prepare,
    .run = tiles_run,
};
