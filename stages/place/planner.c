/* planner.c - cut a model into stages of equal expected time
 *
 * best[s][c] is the least time of the slowest of the first s + 1 stages when the last of them ends at cut c.
 * Sending over a cut is the work of the stage before it.
 */
#include "planner.h"

#include <math.h>
#include <stdlib.h>

#define NEARLY 0.1 /* of a core: so little more is no reason for another worker */

struct plan {
    const struct planner_input *in;
    const double *until; /* [n_nodes + 1]: time of the nodes before */
};

/* Time per request of stage s from after cut `from` (-1: the beginning) to cut `to` (n_cuts: the end). */
static double stage_ms(const struct plan *p, int s, int from, int to)
{
    const struct planner_input *in = p->in;
    double begin = from < 0 ? 0 : p->until[in->cuts[from].node + 1];
    double end = to == in->n_cuts ? p->until[in->n_nodes] : p->until[in->cuts[to].node + 1];
    double ms = end - begin + (to < in->n_cuts && in->transfer_ms ? in->transfer_ms[to] : 0);
    return in->workers && in->workers[s] > 1 ? ms / in->workers[s] : ms;
}

/* Fills row s of best and where it came from; from row s - 1. */
static void extend(const struct plan *p, int s, const double *before, double *best, int *came)
{
    for (int c = 0; c <= p->in->n_cuts; c++) {
        best[c] = s == 0 ? stage_ms(p, s, -1, c) : INFINITY;
        came[c] = -1;
        for (int b = s - 1; s > 0 && b < c; b++) {
            double ms = fmax(before[b], stage_ms(p, s, b, c));
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

int planner_cut(const struct planner_input *in, int *chosen, struct error *e)
{
    struct plan p = {in, NULL};
    size_t row = (size_t)in->n_cuts + 1;
    double *best, *until;
    int *came, rc = FL_OK;
    if (in->n_stages < 1 || in->n_stages - 1 > in->n_cuts)
        return error_set(e, FL_USAGE, "the model can be cut into 1 to %d stages, not %d", in->n_cuts + 1,
                         in->n_stages);
    best = calloc((size_t)in->n_stages * row, sizeof *best);
    came = calloc((size_t)in->n_stages * row, sizeof *came);
    p.until = until = sum_up(in->cost_ms, in->n_nodes);
    if (!best || !came || !until) {
        rc = error_set(e, FL_NOMEM, "no memory to plan %d stages", in->n_stages);
        goto done;
    }
    for (int s = 0; s < in->n_stages; s++)
        extend(&p, s, s ? best + (size_t)(s - 1) * row : NULL, best + (size_t)s * row,
               came + (size_t)s * row);
    for (int s = in->n_stages - 1, c = in->n_cuts; s > 0; s--) {
        c = came[(size_t)s * row + (size_t)c];
        chosen[s - 1] = c;
    }
done:
    free(best);
    free(came);
    free(until);
    return rc;
}

void planner_workers(const double *stage_ms, int n_stages, int cores, int *workers)
{
    double all = 0;
    for (int s = 0; s < n_stages; s++)
        all += stage_ms[s];
    for (int s = 0; s < n_stages; s++)
        workers[s] = all > 0 ? (int)fmax(1, ceil(cores * stage_ms[s] / all - NEARLY)) : 1;
}
