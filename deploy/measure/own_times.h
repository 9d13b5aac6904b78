/* own_times.h - how long the pieces of a model take in this process, by batch size */
#ifndef FREEZELINE_OWN_TIMES_H
#define FREEZELINE_OWN_TIMES_H

#include "measured.h"
#include "stages/exec/exec.h"
#include "stages/graph/graph.h"

/* Times every piece between the cuts of g at batch sizes 1, 2, 4, .. max_batch with pictures from `data`,
 * `runs` times each, and the making of descriptors at m's exits. The whole model computes one picture in turn
 * with the pieces: their times are scaled to a machine on which that takes m->reference_us. Fills cuts,
 * batches, bytes and cores. `model` is all of g, for batches of max_batch. */
int own_times_model(struct measured *m, struct exec *model, const struct graph *g, const struct pipeline *p,
                    const struct dataset *data, int max_batch, int runs, struct error *e);

#endif
