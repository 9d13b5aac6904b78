/* simulate_setup.h - from a cut model, measurements and a cluster to what the simulation takes */
#ifndef FREEZELINE_SIMULATE_SETUP_H
#define FREEZELINE_SIMULATE_SETUP_H

#include "simulate_cluster.h"
#include "simulation.h"
#include "stages/place/placement.h"

/* How the model is cut: by the pieces of the measurements. */
struct setup_shape {
    int n_stages, last[PIPELINE_MAX_STAGES];        /* cut behind each stage; n_cuts for the last one */
    struct stage_config stage[PIPELINE_MAX_STAGES]; /* as setup_stage gives it */
    int n_exits, exit_cut[PIPELINE_MAX_EXITS], exit[PIPELINE_MAX_EXITS]; /* exit: of the measurements */
    int n_unmeasured; /* exits of the pipeline that the measurements lack: nobody asks there */
    char unmeasured[PIPELINE_MAX_EXITS][64];
};

/* FL_STALE: the measurements are of another model than g. */
int setup_same_model(const struct measured *m, const struct graph *g, struct error *e);

/* A stage like another, with so many replicas that stand nowhere yet. */
struct stage_config setup_stage(const struct stage_config *like, int replicas);

/* The shape that p's file gives, its names found in the model and in the measurements. FL_STALE when these
 * are of another model or know no cache at all. `caches` false: no exits. */
int setup_shape_of(struct setup_shape *out, const struct pipeline *p, const struct measured *m, bool caches,
                   struct error *e);

struct setup {
    struct simulation simulation; /* load and seed are the caller's to fill in */
    struct pipeline pipeline;     /* the file's, with these stages, exits and cache services */
    /* Behind the cluster's hosts one for the client outside. */
    struct world_host host[WORLD_MAX_HOSTS + 1];
    struct simulation_failing failing[WORLD_MAX_HOSTS + 1]; /* of each host */
    int cores;                                              /* that processes of the pipeline were given */
};

/* *out borrows m and p's texts, and is the caller's to free. FL_VALUE: more processes than a pipeline can
 * have. */
int setup_make(struct setup **out, const struct setup_shape *shape, const struct measured *m,
               const struct cluster *c, const struct pipeline *p, struct error *e);

#endif
