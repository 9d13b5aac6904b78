/* simulate_time.h - how long the pieces of a model take here, by batch size: for the simulation */
#ifndef FREEZELINE_SIMULATE_TIME_H
#define FREEZELINE_SIMULATE_TIME_H

#include "deploy/data/dataset.h"
#include "simulate_measured.h"
#include "stages/graph/graph.h"

/* Times every piece between the cuts of g at batch sizes 1, 2, 4, .. max_batch with pictures from `data`,
 * `runs` times each. Fills cuts, batches, bytes and cores. */
int simulate_time_model(struct measured *m, const struct graph *g, const struct pipeline *p,
                        const struct dataset *data, int max_batch, int runs, struct error *e);

/* What making the descriptors of m's exits takes, and their bytes. */
int simulate_time_exits(struct measured *m, const struct graph *g, const struct pipeline *p, struct error *e);

#endif
