/* descriptor.c - average-pool an activation on a few grids
 *
 * Where the cells of a coarse grid are made of whole cells of a finer one, their sums are added up from the
 * finer one's, so that the activation is read once. Sums are formed in `out` itself: nothing is allocated.
 */
#include "descriptor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "stages/simd/simd.h"

static int64_t row_floats(const struct tensor *t)
{
    int64_t n = 1;
    for (int i = 1; i < t->rank; i++)
        n *= t->dim[i];
    return n;
}

/* Grid i as it fits: never finer than the activation; one that stands alone has cells twice as wide while its
 * map would be too large. */
static int fit(const struct descriptor_config *c, int i, const struct tensor *t)
{
    int64_t side = t->dim[1] < t->dim[2] ? t->dim[1] : t->dim[2], grid = c->grid[i];
    grid = grid < side ? grid : side;
    while (c->n_grids == 1 && grid > 1 && grid * grid * t->dim[3] > DESCRIPTOR_MAP_FLOATS)
        grid = (grid + 1) / 2;
    return (int)grid;
}

int descriptor_dim(const struct tensor *activation, const struct descriptor_config *c)
{
    int64_t cells = 0;
    if (c->flatten || activation->rank != 4)
        return (int)row_floats(activation);
    for (int i = 0; i < c->n_grids; i++) {
        int64_t g = fit(c, i, activation);
        cells += g * g;
    }
    return (int)(cells * activation->dim[3]);
}

int descriptor_side(const struct tensor *activation, const struct descriptor_config *c)
{
    if (activation->rank != 4)
        return 0;
    if (c->flatten)
        return activation->dim[1] == activation->dim[2] ? (int)activation->dim[1] : 0;
    return c->n_grids == 1 ? fit(c, 0, activation) : 0;
}

char *descriptor_layout(const struct tensor *activation, const struct descriptor_config *c,
                        char text[DESCRIPTOR_LAYOUT_BYTES])
{
    const int64_t *dim = activation->dim;
    int n = 0;
    if (activation->rank != 4) {
        snprintf(text, DESCRIPTOR_LAYOUT_BYTES, "row of %" PRId64, row_floats(activation));
        return text;
    }
    for (int i = 0; i < c->n_grids && !c->flatten; i++)
        n += snprintf(text + n, (size_t)(DESCRIPTOR_LAYOUT_BYTES - n), "%s%d", i ? "," : "grids ",
                      fit(c, i, activation));
    snprintf(text + n, (size_t)(DESCRIPTOR_LAYOUT_BYTES - n), "%s %" PRId64 "x%" PRId64 "x%" PRId64,
             c->flatten ? "flatten" : " of", dim[1], dim[2], dim[3]);
    return text;
}

struct nhwc {
    const float *x; /* [h][w][c] */
    int64_t h, w, c;
};

/* Cell i of g along a side of `size` spans [cell_from, cell_to). */
static int64_t cell_from(int64_t i, int64_t size, int g)
{
    return i * size / g;
}

static int64_t cell_to(int64_t i, int64_t size, int g)
{
    return ((i + 1) * size + g - 1) / g;
}

static void sum_cell(const struct nhwc *m, int g, int64_t i, int64_t j, float *out)
{
    int64_t left = cell_from(j, m->w, g), right = cell_to(j, m->w, g);
    memset(out, 0, (size_t)m->c * sizeof *out);
    for (int64_t y = cell_from(i, m->h, g); y < cell_to(i, m->h, g); y++)
        simd_best()->sum(out, m->x + (y * m->w + left) * m->c, right - left, m->c, m->c);
}

static void sum_grid(const struct nhwc *m, int g, float *out)
{
    for (int64_t i = 0; i < g; i++)
        for (int64_t j = 0; j < g; j++)
            sum_cell(m, g, i, j, out + (i * g + j) * m->c);
}

/* The sums of grid g from those of `fine`, which g divides. */
static void combine(int64_t c, int g, int fine, const float *from, float *out)
{
    int side = fine / g;
    memset(out, 0, (size_t)(g * g * c) * sizeof *out);
    for (int i = 0; i < fine; i++)
        for (int j = 0; j < g; j++)
            simd_best()->sum(out + ((i / side) * g + j) * c, from + (i * fine + j * side) * c, side, c, c);
}

static void divide(const struct nhwc *m, int g, float *out)
{
    for (int64_t i = 0; i < g; i++)
        for (int64_t j = 0; j < g; j++) {
            int64_t area =
                (cell_to(i, m->h, g) - cell_from(i, m->h, g)) * (cell_to(j, m->w, g) - cell_from(j, m->w, g));
            simd_best()->scale(out + (i * g + j) * m->c, 1.0f / (float)area, m->c);
        }
}

/* The grid whose sums serve the others: the finest one that divides both sides into equal cells; -1 when none
 * does. */
static int find_finest(const struct nhwc *m, const struct descriptor_config *c)
{
    int best = -1;
    for (int i = 0; i < c->n_grids; i++)
        if (m->h % c->grid[i] == 0 && m->w % c->grid[i] == 0 && (best < 0 || c->grid[i] > c->grid[best]))
            best = i;
    return best;
}

static void pool_image(const struct nhwc *m, const struct descriptor_config *c, float *out)
{
    int finest = find_finest(m, c);
    float *at[PIPELINE_MAX_GRIDS];
    for (int i = 0; i < c->n_grids; i++) {
        at[i] = out;
        out += (int64_t)c->grid[i] * c->grid[i] * m->c;
    }
    if (finest >= 0)
        sum_grid(m, c->grid[finest], at[finest]);
    for (int i = 0; i < c->n_grids; i++) {
        if (i == finest)
            continue;
        if (finest >= 0 && c->grid[finest] % c->grid[i] == 0)
            combine(m->c, c->grid[i], c->grid[finest], at[finest], at[i]);
        else
            sum_grid(m, c->grid[i], at[i]);
    }
    for (int i = 0; i < c->n_grids; i++)
        divide(m, c->grid[i], at[i]);
}

void descriptor_compute(const struct tensor *activation, const struct descriptor_config *c, float *out)
{
    int64_t row = row_floats(activation), n = activation->rank ? activation->dim[0] : 1;
    const float *x = activation->data;
    struct descriptor_config fitting = *c;
    if (c->flatten || activation->rank != 4) {
        memcpy(out, x, (size_t)(n * row) * sizeof *out);
        return;
    }
    for (int i = 0; i < c->n_grids; i++)
        fitting.grid[i] = fit(c, i, activation);
    for (int64_t i = 0; i < n; i++) {
        struct nhwc m = {x + i * row, activation->dim[1], activation->dim[2], activation->dim[3]};
        pool_image(&m, &fitting, out + i * descriptor_dim(activation, c));
    }
}
