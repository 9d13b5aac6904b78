/* placement.h - a pipeline file's stages and exits, found in a model's graph
 *
 * Names of cuts are node names. `exits: auto` means every cut after a block, named exit1, exit2, ... in
 * order.
 */
#ifndef FREEZELINE_PLACEMENT_H
#define FREEZELINE_PLACEMENT_H

#include "config/pipeline.h"
#include "stages/graph/graph.h"

struct placed_stage {
    int first, last; /* node range, inclusive */
};

struct placed_exit {
    char name[64];
    char kind[16]; /* "knn", "kmeans", "none" */
    struct cut cut;
    int stage; /* the stage that computes the cut's node */
};

struct placement {
    int n_stages;
    struct placed_stage stage[PIPELINE_MAX_STAGES];
    int n_exits; /* ascending by node */
    struct placed_exit exit[PIPELINE_MAX_EXITS];
    int depth; /* of the whole model, in layers with weights */
};

/* graph_load of the pipeline's model, its input shaped as the pipeline file says. */
int placement_load(struct graph **out, const struct pipeline *p, struct error *e);
/* The same, for onnx_write. */
int placement_load_for_writing(struct graph **out, const struct pipeline *p, struct error *e);
/* FL_CONFIG when a name is no cut of this model (with the nearest that is), stages are out of order, or there
 * are too many. */
int placement_resolve(struct placement *out, const struct graph *g, const struct pipeline *p,
                      struct error *e);
/* The pipeline file wants a cache there; a build may still leave it out. */
bool placed_has_cache(const struct placed_exit *x);

#endif
