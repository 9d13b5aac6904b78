/* profile.h - how long a model's layers take here */
#ifndef FREEZELINE_PROFILE_H
#define FREEZELINE_PROFILE_H

#include "exec.h"

struct profile_layer {
    const char *name, *op, *kernel; /* owned by graph / executor */
    double median_ms, min_ms, p99_ms;
    double flops;
};

struct profile {
    double median_ms, min_ms, p99_ms; /* the whole run, measured as one */
    int threads, batch, runs;
    int n_layers;
    struct profile_layer *layer;
    size_t weight_bytes, arena_bytes;
};

/* Fills the inputs with the same pseudo-random numbers each time: what is read must not change how long a run
 * takes. Before each run: where the inputs lie may hold other values by its end. */
void profile_fill(struct exec *x, int batch);
/* Runs the executor's range `runs` times after warm-up (inputs: fixed pseudo-random numbers): half of the
 * runs timed as one, half timed per layer. `g` gives names. */
int profile_run(struct profile *out, struct exec *x, const struct graph *g, int first, int last, int threads,
                int batch, int runs, struct error *e);
void profile_release(struct profile *p);

#endif
