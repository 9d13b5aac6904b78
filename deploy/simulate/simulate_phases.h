/* simulate_phases.h - loads on a running pipeline, from few requests to many, at one speed of the machine
 *
 * A shared machine changes its speed from minute to minute, which ratios of times must not show. So the model
 * is timed alone right before and after each third of a load, and its times are scaled to what they would
 * have been at the speed of the very first one.
 */
#ifndef FREEZELINE_SIMULATE_PHASES_H
#define FREEZELINE_SIMULATE_PHASES_H

#include "simulate_probe.h"
#include "stages/exec/exec.h"

struct phases {
    const struct pipeline *pipeline; /* borrowed, like the graph */
    const struct graph *graph;
    struct exec *model; /* in this process */
    double speed_us;    /* its time when the first phase began */
    /* Nothing to do. Without look-ups: few requests at random times; more of them; as many in flight as keep
     * all busy in small batches, and in full ones. With look-ups: few, and many. */
    struct probe_phase idle, sparse, steady, crowded, busy, sparse_cached, busy_cached;
};

/* Borrows pipeline and graph. `requests`: of the phases with many in flight. Release after a failure too. */
int phases_ask(struct phases *out, const struct pipeline *p, const struct graph *g,
               const struct dataset *data, int requests, bool caches, struct error *e);
/* Time of the model alone now, us. */
int phases_refer(double *us, const struct phases *p, struct error *e);
void phases_release(struct phases *p);

#endif
