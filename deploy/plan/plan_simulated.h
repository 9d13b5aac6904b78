/* plan_simulated.h - cuts that the simulation likes better than equal times
 *
 * Equal times are best for throughput when every stage has its own core. At a given load on given cores what
 * counts is waiting, batching, messages and who never reaches a stage; the simulation has all of that.
 */
#ifndef FREEZELINE_PLAN_SIMULATED_H
#define FREEZELINE_PLAN_SIMULATED_H

#include "config/pipeline.h"
#include "stages/graph/graph.h"

struct plan_simulated {
    const char *measured;       /* file of `simulate --measure` */
    double rate;                /* requests per second */
    double before_ms, after_ms; /* p99 of the cuts given, and of those found */
    int tried;
};

/* Moves one of chosen[0 .. n_stages - 2] (indices into cuts, ascending) at a time to its neighbour, as long
 * as the simulated p99 falls. The pipeline's batches, threads and replicas stay; on one machine like the
 * measured one. FL_STALE when that measured another model. */
int plan_simulate(struct plan_simulated *s, const struct pipeline *p, const struct graph *graph,
                  const struct cut *cuts, int n_cuts, int n_stages, int *chosen, struct error *e);

#endif
