/* planner.c - cut a model into stages of equal expected time
 *
 * best[s][c] is the least time of the slowest of the first s + 1 stages when the last of them ends at cut c.
 * Sending over a cut is the work of the stage before it.
 */
#include "planner.h"

#include <math.h>
#include <stdlib.h>

struct plan {
    const double *until; /* [n_nodes + 1]: time of the nodes before */
    const struct cut *cuts;
    const double *transfer_ms;
    int n_nodes, n_cuts;
};

/* Time of the stage from after cut `from` (-1: the beginning) to cut `to` (n_cuts: the end). */
static double stage_ms(const struct plan *p, int from, int to)
{
    double begin = from < 0 ? 0 : p->until[p->cuts[from].node + 1];
    double end = to == p->n_cuts ? p->until[p->n_nodes] : p->until[p->cuts[to].node + 1];
    return end - begin + (to < p->n_cuts && p->transfer_ms ? p->transfer_ms[to] : 0);
}

/* Fills row s of best and where it came from; from row s - 1. */
static void extend(const struct plan *p, int s, const double *before, double *best, int *came)
{
    for (int c = 0; c <= p->n_cuts; c++) {
        best[c] = s == 0 ? stage_ms(p, -1, c) : INFINITY;
        came[c] = -1;
        for (int b = s - 1; s > 0 && b < c; b++) {
            double ms = fmax(before[b], stage_ms(p, b, c));
            if (ms < best[c]) {
                best[c] = ms;
                came[c] = b;
            }
        }
    }
}

static double *sum_up(const double *cost_ms, int n)
{
    double *until = calloc((size_t)n + 1, sizeof *until);
    for (int i = 0; until && i < n; i++)
        until[i + 1] = until[i] + cost_ms[i];
    return until;
}

int planner_cut(const double *cost_ms, int n_nodes, const struct cut *cuts, int n_cuts,
                const double *transfer_ms, int n_stages, int *chosen, struct error *e)
{
    struct plan p = {NULL, cuts, transfer_ms, n_nodes, n_cuts};
    size_t row = (size_t)n_cuts + 1;
    double *best, *until;
    int *came, rc = FL_OK;
    if (n_stages < 1 || n_stages - 1 > n_cuts)
        return error_set(e, FL_USAGE, "the model can be cut into 1 to %d stages, not %d", n_cuts + 1,
                         n_stages);
    best = calloc((size_t)n_stages * row, sizeof *best);
    came = calloc((size_t)n_stages * row, sizeof *came);
    p.until = until = sum_up(cost_ms, n_nodes);
    if (!best || !came || !until) {
        rc = error_set(e, FL_NOMEM, "no memory to plan %d stages", n_stages);
        goto done;
    }
    for (int s = 0; s < n_stages; s++)
        extend(&p, s, s ? best + (size_t)(s - 1) * row : NULL, best + (size_t)s * row,
               came + (size_t)s * row);
    for (int s = n_stages - 1, c = n_cuts; s > 0; s--) {
        c = came[(size_t)s * row + (size_t)c];
        chosen[s - 1] = c;
    }
done:
    free(best);
    free(came);
    free(until);
    return rc;
}
