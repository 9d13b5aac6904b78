/* model_shape.h - what commands that talk to a running pipeline need to know of its model: the input, the
 * exits' names */
#ifndef FREEZELINE_MODEL_SHAPE_H
#define FREEZELINE_MODEL_SHAPE_H

#include "config/identity.h"
#include "stages/place/origin.h"

struct model_shape {
    struct tensor input; /* of one request; no data */
    int classes;
    struct identity identity;
    uint8_t plan[DIGEST_BYTES]; /* plan_digest */
    int n_exits, depth, n_stages;
    struct model_exit {
        char name[64], kind[16];
        int depth, stage;
        double flops_share;
        struct origin origin; /* of its descriptors */
    } exit[PIPELINE_MAX_EXITS];
};

/* The number of classes of a model: its one output is [1, classes] float32. FL_SHAPE. */
int model_classes(const struct graph *g, int *classes, struct error *e);

/* Loads the model and resolves the pipeline file against it, then lets the model go. Errors as graph_load and
 * placement_resolve; FL_SHAPE when it is no classifier. */
int model_shape_load(struct model_shape *out, const struct pipeline *p, struct error *e);
/* "exit4", or "network" for -1, or "?" for a number that is none. */
const char *model_shape_exit(const struct model_shape *m, int exit);
/* "cat", or the number where the pipeline file names no classes. Returns buf. */
char *model_shape_label(const struct pipeline *p, int label, char *buf, size_t size);

#endif
