/* stage_layers.h - a stage's part of the model, loaded: the layers behind a stage worker's brain */
#ifndef FREEZELINE_STAGE_LAYERS_H
#define FREEZELINE_STAGE_LAYERS_H

#include "stages/brain/stage_brain.h"
#include "stages/exec/exec.h"

struct stage_layers;

/* Loads the model, keeps the nodes of this stage and runs them once. Fills in what a brain must know of them:
 * max_batch, expects, segments, and in `self` the digests and the engine. Borrows `p`. */
int stage_layers_new(struct stage_layers **out, const struct pipeline *p, int stage,
                     struct stage_setup *setup, struct error *e);
void stage_layers_free(struct stage_layers *l);
/* What the brain reaches them by. */
struct stage_engine stage_layers_engine(struct stage_layers *l);
/* Where activations are made that go to replica `to` of the next stage, as zmq_msg_init_size (NULL, or never
 * called: in memory of their own). */
void stage_layers_place(struct stage_layers *l, int (*place)(void *arg, int to, size_t bytes, zmq_msg_t *out),
                        void *arg);
/* Runs one segment for n rows. `after` as in exec.h. */
int stage_layers_run(struct stage_layers *l, int segment, int n, exec_after after, void *arg,
                     struct error *e);
/* Bytes of its weights and of its arena. */
size_t stage_layers_weight_bytes(const struct stage_layers *l);
size_t stage_layers_arena_bytes(const struct stage_layers *l);

#endif
