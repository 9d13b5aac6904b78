/* simulate_setup.h - from a cut model, measurements and a cluster to what the simulation takes */
#ifndef FREEZELINE_SIMULATE_SETUP_H
#define FREEZELINE_SIMULATE_SETUP_H

#include "simulate_cluster.h"
#include "simulation.h"
#include "stages/place/placement.h"

/* A pipeline, and how its model is cut: by the pieces of the measurements. */
struct setup_shape {
    struct pipeline pipeline;      /* texts borrowed; stages and exits are those here */
    int last[PIPELINE_MAX_STAGES]; /* cut behind each stage; n_cuts for the last one */
    int exit_cut[PIPELINE_MAX_EXITS];
    struct measured_exit exit[PIPELINE_MAX_EXITS];
    int n_unmeasured; /* exits of the pipeline that the measurements lack: nobody asks there */
    char unmeasured[PIPELINE_MAX_EXITS][64];
};

/* FL_STALE: the measurements are of another model than g. */
int setup_same_model(const struct measured *m, const struct graph *g, struct error *e);

/* The shape that p's file gives, its names found in the model and in the measurements. FL_STALE when these
 * are of another model or know no cache at all. `caches` false: no exits. */
int setup_shape_of(struct setup_shape *out, const struct pipeline *p, const struct measured *m, bool caches,
                   struct error *e);

/* The shape on c's hosts, behind which is one for the client outside; load and seed are the caller's to fill
 * in. *out borrows m and texts, and is the caller's to free. FL_VALUE: more processes than a pipeline has. */
int setup_make(struct simulation **out, const struct setup_shape *shape, const struct measured *m,
               const struct cluster *c, struct error *e);

#endif
