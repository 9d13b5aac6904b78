/* planner.c - cut a model into stages of equal expected time
 *
 * best[s][c] is the least time of the slowest of the first s + 1 stages when the last of them ends at cut c.
 * Sending over a cut is the work of the stage before it.
 */
#include "planner.h"

#include <math.h>
#include <stdlib.h>

#define NEARLY 0.1 /* of a core: so little more is no reason for another worker */

double planner_stage_ms(const struct planner_input *in, int from, int to)
{
    int node = from < 0 ? 0 : in->cuts[from].node + 1;
    int last = to == in->n_cuts ? in->n_nodes - 1 : in->cuts[to].node, i = 0;
    double left = 1, runs, ms = 0; /* left: whom no exit before has answered; runs: who is in the batch */
    for (; i < in->n_exits && in->exit[i].node < node; i++)
        left -= in->exit[i].share;
    runs = left;
    for (; i < in->n_exits && in->exit[i].node <= last; i++) {
        const struct planner_exit *x = &in->exit[i];
        ms += runs * (in->until_ms[x->node + 1] - in->until_ms[node] + (in->far ? 0 : x->look_ms));
        node = x->node + 1;
        runs = in->far ? left : left - x->share;
        left -= x->share;
    }
    ms += runs * (in->until_ms[last + 1] - in->until_ms[node]);
    return ms + (to < in->n_cuts && in->transfer_ms ? left * in->transfer_ms[to] : 0);
}

/* Fills row s of best and where it came from; from row s - 1. */
static void extend(const struct planner_input *in, int s, const double *before, double *best, int *came)
{
    int workers = in->workers && in->workers[s] > 1 ? in->workers[s] : 1;
    for (int c = 0; c <= in->n_cuts; c++) {
        best[c] = s == 0 ? planner_stage_ms(in, -1, c) / workers : INFINITY;
        came[c] = -1;
        for (int b = s - 1; s > 0 && b < c; b++) {
            double ms = fmax(before[b], planner_stage_ms(in, b, c) / workers);
            if (ms < best[c]) {
                best[c] = ms;
                came[c] = b;
            }
        }
    }
}

int planner_cut(const struct planner_input *in, int *chosen, struct error *e)
{
    size_t row = (size_t)in->n_cuts + 1;
    double *best;
    int *came, rc = FL_OK;
    if (in->n_stages < 1 || in->n_stages - 1 > in->n_cuts)
        return error_set(e, FL_USAGE, "the model can be cut into 1 to %d stages, not %d", in->n_cuts + 1,
                         in->n_stages);
    best = calloc((size_t)in->n_stages * row, sizeof *best);
    came = calloc((size_t)in->n_stages * row, sizeof *came);
    if (!best || !came) {
        rc = error_set(e, FL_NOMEM, "no memory to plan %d stages", in->n_stages);
        goto done;
    }
    for (int s = 0; s < in->n_stages; s++)
        extend(in, s, s ? best + (size_t)(s - 1) * row : NULL, best + (size_t)s * row,
               came + (size_t)s * row);
    for (int s = in->n_stages - 1, c = in->n_cuts; s > 0; s--) {
        c = came[(size_t)s * row + (size_t)c];
        chosen[s - 1] = c;
    }
done:
    free(best);
    free(came);
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
