/* panels.c - products with constant matrices that were packed for the vector units */
#include "panels.h"

#include <string.h>

#include "base/error.h"

#define CHUNK_FLOATS (48 << 10) /* of a panel: 192 KiB, well within a level-2 cache */

static int64_t block_width(const struct panels *p)
{
    return (int64_t)p->simd->lanes * p->simd->vectors;
}

/* Vectors of panel `block`: the last one may be narrower. */
static int block_vectors(const struct panels *p, int block)
{
    int64_t left = p->n - block * block_width(p);
    int64_t v = (left + p->simd->lanes - 1) / p->simd->lanes;
    return (int)(v < p->simd->vectors ? v : p->simd->vectors);
}

static int64_t block_offset(const struct panels *p, int block)
{
    return block * block_width(p) * p->taps * p->k;
}

static void pack_block(const struct panels *p, int g, int block, panels_element element, const void *matrix)
{
    float *to = p->data + g * p->group_size + block_offset(p, block);
    int64_t width = (int64_t)block_vectors(p, block) * p->simd->lanes, first = block * block_width(p);
    for (int t = 0; t < p->taps; t++)
        for (int64_t i = 0; i < p->k; i++, to += width)
            for (int64_t j = 0; j < width && first + j < p->n; j++)
                to[j] = element(matrix, g, t, i, first + j);
}

int panels_pack(struct panels *p, const struct simd *simd, struct weights *w, int groups, int taps, int64_t k,
                int64_t n, panels_element element, const void *matrix, const float *bias)
{
    int64_t width, padded;
    *p = (struct panels){.simd = simd, .groups = groups, .taps = taps, .k = k, .n = n};
    width = block_width(p);
    p->blocks = (int)((n + width - 1) / width);
    padded = (n + simd->lanes - 1) / simd->lanes * simd->lanes;
    p->group_size = padded * taps * k;
    p->chunk_k = k < CHUNK_FLOATS / width ? k : CHUNK_FLOATS / width;
    p->chunk_taps = (int)(CHUNK_FLOATS / width / (k ? k : 1));
    p->chunk_taps = p->chunk_taps < 1 ? 1 : p->chunk_taps > taps ? taps : p->chunk_taps;
    p->data = weights_alloc(w, (size_t)(groups * p->group_size) * sizeof *p->data);
    p->bias = bias ? weights_alloc(w, (size_t)(groups * padded + width) * sizeof *p->bias) : NULL;
    if (!p->data || (bias && !p->bias))
        return FL_NOMEM;
    for (int g = 0; g < groups; g++) {
        for (int b = 0; b < p->blocks; b++)
            pack_block(p, g, b, element, matrix);
        if (bias)
            memcpy(p->bias + g * padded, bias + g * n, (size_t)n * sizeof *bias);
    }
    return FL_OK;
}

/* One chunk (some taps, or a part of one) of a panel, for all tiles of rows. */
static void run_chunk(struct panel_call *call, const struct panels_call *c, int first_tap, int64_t from,
                      int64_t to)
{
    int step = c->p->simd->rows;
    const float *ahead = call->ahead;
    int quarter = 0;
    for (int64_t m = from; m < to; m += step) {
        call->rows = (int)(c->rows - m < step ? c->rows - m : step);
        call->row = c->row + m * c->p->taps + first_tap * call->rows;
        call->c = c->c + m * c->ldc;
        call->residual = c->residual ? c->residual + m * c->ldc : NULL;
        /* The next chunk is fetched evenly during the first few tiles, a vector of each row in each. */
        call->ahead = quarter < call->vectors
                          ? ahead + (int64_t)quarter * call->taps * call->k * c->p->simd->lanes
                          : NULL;
        quarter++;
        c->p->simd->panel(call);
    }
}

void panels_run_block(const struct panels_call *c, int block, int64_t from, int64_t to)
{
    const struct panels *p = c->p;
    int64_t column = block * block_width(p),
            padded = (p->n + p->simd->lanes - 1) / p->simd->lanes * p->simd->lanes;
    int vectors = block_vectors(p, block);
    int64_t width = (int64_t)vectors * p->simd->lanes, left = p->n - column;
    const float *panel = p->data + c->group * p->group_size + block_offset(p, block);
    struct panels_call shifted = *c;
    shifted.c = c->c + column;
    shifted.residual = c->residual ? c->residual + column : NULL;
    for (int t = 0; t < p->taps; t += p->chunk_taps)
        for (int64_t k = 0; k < p->k; k += p->chunk_k) {
            struct panel_call call = {
                .vectors = vectors, .n = (int)(left < width ? left : width), .ldc = c->ldc, .post = c->post};
            call.taps = p->taps - t < p->chunk_taps ? p->taps - t : p->chunk_taps;
            call.k = p->k - k < p->chunk_k ? p->k - k : p->chunk_k;
            call.shift = c->skip + k;
            call.panel = panel + (t * p->k + k) * width;
            call.bias = p->bias ? p->bias + c->group * padded + column : NULL;
            call.first = t == 0 && k == 0;
            call.last = t + call.taps == p->taps && k + call.k == p->k;
            call.ahead = call.panel + call.taps * call.k * width;
            run_chunk(&call, &shifted, t, from, to);
        }
}

struct share {
    const struct panels_call *call;
    int parts;
};

static void run_share(void *arg, int i, int thread)
{
    const struct share *s = arg;
    int step = s->call->p->simd->rows, block = i / s->parts, part = i % s->parts;
    int64_t tiles = (s->call->rows + step - 1) / step;
    int64_t from = tiles * part / s->parts * step, to = tiles * (part + 1) / s->parts * step;
    (void)thread;
    panels_run_block(s->call, block, from, to < s->call->rows ? to : s->call->rows);
}

void panels_run(const struct panels_call *c, struct team *team)
{
    struct share s = {c, 1};
    int threads = team_threads(team);
    if (threads > 1)
        s.parts = (3 * threads + c->p->blocks - 1) / c->p->blocks;
    team_run(team, run_share, &s, c->p->blocks * s.parts);
}
