/* own_times.h - how long the pieces of a model take in this process, by batch size */
#ifndef FREEZELINE_OWN_TIMES_H
#define FREEZELINE_OWN_TIMES_H

#include "measured.h"
#include "stages/graph/graph.h"

/* Times every piece between the cuts of g at batch sizes 1, 2, 4, .. max_batch with pictures from `data`,
 * `runs` times each, and the making of descriptors at m's exits. Fills cuts, batches, bytes and cores. */
int own_times_model(struct measured *m, const struct graph *g, const struct pipeline *p,
                    const struct dataset *data, int max_batch, int runs, struct error *e);

#endif
