/* builder_learned.h - a learned cache: how large, taught how, teaching */
#ifndef FREEZELINE_BUILDER_LEARNED_H
#define FREEZELINE_BUILDER_LEARNED_H

#include "exit_build.h"

/* The largest predictor within the budgets of memory and work: `m` with side 0 looks at no map. FL_CONFIG
 * when not even the smallest fits. */
int build_learned_size(const struct builder_input *in, struct map *m, int *nodes, struct error *e);
/* Teaches b->cache. */
int build_learned(struct exit_build *b, struct error *e);
/* Tells how a cache that is there already was taught. */
void build_recall_recipe(const struct exit_build *b);

#endif
