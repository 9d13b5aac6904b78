/* elimination.c - channels out one step after another, with G^-1 and W kept up to date by block elimination
 */
#include "elimination.h"

#include <cblas.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "linear.h"

struct candidate {
    double cost;
    int channel;
};

struct work {
    struct elimination *x;
    int n;                    /* columns of W */
    struct candidate *by;     /* [channels] */
    int *column;              /* those that go */
    double *block, *rows, *w; /* G^-1_BB, G^-1_B., W_B */
    double *solved;           /* W_B (G^-1_BB)^-1, or the same of G^-1_.B */
};

/* tr(w block^-1 w^T) for `outputs` rows of w, both destroyed: block becomes its factor. INFINITY: it is not
 * definite. */
static double cost_of(double *block, int n, double *w, double *copy, int outputs)
{
    size_t count = (size_t)n * (size_t)outputs;
    if (linear_factor(block, n))
        return INFINITY;
    memcpy(copy, w, count * sizeof *w);
    linear_solve(block, n, copy, outputs);
    return cblas_ddot((int)count, copy, 1, w, 1);
}

/* block = G^-1_BB and w = W_B of the first n columns that are listed. */
static void take(struct work *k, int n)
{
    const struct elimination *x = k->x;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            k->block[(size_t)i * (size_t)n + (size_t)j] =
                x->inverse[(size_t)k->column[i] * (size_t)k->n + (size_t)k->column[j]];
    for (int o = 0; o < x->outputs; o++)
        for (int j = 0; j < n; j++)
            k->w[(size_t)o * (size_t)n + (size_t)j] = x->w[(size_t)o * (size_t)k->n + (size_t)k->column[j]];
}

static int by_cost(const void *a, const void *b)
{
    double x = ((const struct candidate *)a)->cost, y = ((const struct candidate *)b)->cost;
    return (x > y) - (x < y);
}

/* All that are left, the cheapest first. Returns how many. */
static int rank(struct work *k)
{
    struct elimination *x = k->x;
    int n = 0;
    for (int c = 0; c < x->channels; c++) {
        if (x->gone[c])
            continue;
        for (int i = 0; i < x->group; i++)
            k->column[i] = c * x->group + i;
        take(k, x->group);
        k->by[n++] = (struct candidate){cost_of(k->block, x->group, k->w, k->solved, x->outputs), c};
    }
    qsort(k->by, (size_t)n, sizeof *k->by, by_cost);
    return n;
}

/* The first n columns that are listed go: G^-1 and W become those of the others. Returns what that costs. */
static double drop(struct work *k, int n)
{
    struct elimination *x = k->x;
    double cost;
    take(k, n);
    cost = cost_of(k->block, n, k->w, k->solved, x->outputs);
    if (!isfinite(cost))
        return cost;
    for (int i = 0; i < n; i++)
        memcpy(k->rows + (size_t)i * (size_t)k->n, x->inverse + (size_t)k->column[i] * (size_t)k->n,
               (size_t)k->n * sizeof *k->rows);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, x->outputs, k->n, n, -1, k->solved, n, k->rows,
                k->n, 1, x->w, k->n);
    /* G^-1 is symmetric, so its columns B are these rows turned. */
    for (int i = 0; i < k->n; i++)
        cblas_dcopy(n, k->rows + i, k->n, k->solved + (size_t)i * (size_t)n, 1);
    linear_solve(k->block, n, k->solved, k->n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, k->n, k->n, n, -1, k->solved, n, k->rows, k->n, 1,
                x->inverse, k->n);
    for (int i = 0; i < n; i++) {
        for (int o = 0; o < x->outputs; o++)
            x->w[(size_t)o * (size_t)k->n + (size_t)k->column[i]] = 0;
        x->gone[k->column[i] / x->group] = true;
    }
    return cost;
}

static int run(struct work *k)
{
    struct elimination *x = k->x;
    double error = 0;
    for (int left = rank(k), rc; left > x->step; left = rank(k)) {
        int columns = 0;
        for (int i = 0; i < x->step; i++)
            for (int j = 0; j < x->group; j++)
                k->column[columns++] = k->by[i].channel * x->group + j;
        error += drop(k, columns);
        if (!isfinite(error))
            return FL_VALUE;
        if ((rc = x->reached(x->arg, left - x->step, error)))
            return rc;
    }
    return FL_OK;
}

int eliminate(struct elimination *x)
{
    size_t n = (size_t)x->channels * (size_t)x->group, b = (size_t)x->step * (size_t)x->group,
           most = n > (size_t)x->outputs ? n : (size_t)x->outputs;
    struct work k = {.x = x,
                     .n = (int)n,
                     .by = malloc((size_t)x->channels * sizeof *k.by),
                     .column = malloc(b * sizeof *k.column),
                     .block = malloc(b * b * sizeof *k.block),
                     .rows = malloc(b * n * sizeof *k.rows),
                     .w = malloc(b * (size_t)x->outputs * sizeof *k.w),
                     .solved = malloc(b * most * sizeof *k.solved)};
    int rc = k.by && k.column && k.block && k.rows && k.w && k.solved ? run(&k) : FL_NOMEM;
    free(k.by);
    free(k.column);
    free(k.block);
    free(k.rows);
    free(k.w);
    free(k.solved);
    return rc;
}
