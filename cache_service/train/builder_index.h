/* builder_index.h - the cache kinds of the paper: a projection, then points (knn) or centroids (kmeans) */
#ifndef FREEZELINE_BUILDER_INDEX_H
#define FREEZELINE_BUILDER_INDEX_H

#include "exit_build.h"

/* Trains b->projection, or loads it from work_dir. */
int build_projection(struct exit_build *b, struct error *e);
/* Makes b->cache from the training points as b->projection embeds them. */
int build_index(struct exit_build *b, struct error *e);

#endif
