/* own_times.h - how long the pieces of a model, by batch size, and messages take in this process */
#ifndef FREEZELINE_OWN_TIMES_H
#define FREEZELINE_OWN_TIMES_H

#include "deploy/data/dataset.h"
#include "measured.h"
#include "stages/graph/graph.h"

/* Times every piece between the cuts of g at batch sizes 1, 2, 4, .. max_batch with pictures from `data`,
 * `runs` times each, and the making of descriptors at m's exits. Fills cuts, batches, bytes and cores. */
int own_times_model(struct measured *m, const struct graph *g, const struct pipeline *p,
                    const struct dataset *data, int max_batch, int runs, struct error *e);

/* Passes activations of two sizes to itself, as workers send and receive them: through a socket, and
 * through a lane where p has them. Fills stage_send, stage_receive, stage_kilobyte,
 * stage_lookup, stage_verdict, io and io_kilobyte. */
int own_times_messages(struct measured *m, const struct pipeline *p, struct error *e);

#endif
