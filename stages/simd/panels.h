/* panels.h - products with constant matrices that were packed for the vector units
 *
 * One `struct panels` holds `groups` matrices of (taps x k) rows and n columns, cut into panels of a few
 * vectors' width each, so that the inner loop reads it from front to back. Serves convolutions (a tap per
 * kernel position), Winograd (a group per point) and Gemm.
 */
#ifndef FREEZELINE_PANELS_H
#define FREEZELINE_PANELS_H

#include "team.h"
#include "simd.h"
#include "weights.h"

struct panels {
    const struct simd *simd;
    int groups, taps;
    int64_t k, n;
    int blocks;         /* panels per group */
    int64_t group_size; /* floats */
    float *data, *bias; /* bias: groups x n padded to whole panels, or NULL */
    int chunk_taps;     /* how much of a panel is worked through at once, so that it stays in cache */
    int64_t chunk_k;
};

/* Element (tap t, row i, column j) of group g. */
typedef float (*panels_element)(const void *matrix, int g, int t, int64_t i, int64_t j);

/* `bias` has groups * n floats, or is NULL. FL_NOMEM. */
int panels_pack(struct panels *p, const struct simd *simd, struct weights *w, int groups, int taps, int64_t k,
                int64_t n, panels_element element, const void *matrix, const float *bias);

/* Rows of pointers as `struct panel_call` wants them: tile by tile of simd->rows rows (the last may be
 * shorter), in each tap by tap. Where the pointers of row m begin: */
static inline int64_t panels_row_at(const struct panels *p, int64_t m, int64_t rows, int tap)
{
    int64_t tile = m / p->simd->rows, first = tile * p->simd->rows;
    int64_t in_tile = rows - first < p->simd->rows ? rows - first : p->simd->rows;
    return first * p->taps + tap * in_tile + (m - first);
}

/* c[m][j] = post(sum + bias[j] + residual[m][j]) for m < rows, columns of one group; ldc floats between rows
 * of c and of residual. `row` may carry `skip` floats to go past in each row (groups of channels). */
struct panels_call {
    const struct panels *p;
    int group;
    const float *const *row;
    int64_t rows, skip;
    float *c;
    int64_t ldc;
    const float *residual;
    const struct post *post;
};
/* Panel `block` of the product, for rows [from, to), from a multiple of simd->rows. */
void panels_run_block(const struct panels_call *c, int block, int64_t from, int64_t to);
/* All of it, shared among the threads of the team. */
void panels_run(const struct panels_call *c, struct team *team);

#endif
