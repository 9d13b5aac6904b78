/* simulate_measure.h - everything that the simulation has to know, measured here */
#ifndef FREEZELINE_SIMULATE_MEASURE_H
#define FREEZELINE_SIMULATE_MEASURE_H

#include "deploy/data/dataset.h"
#include "simulate_measured.h"

struct measure_options {
    const struct dataset *data;
    int requests; /* of each phase */
    int runs;     /* of the model at each batch size */
};

/* Times the model in this process, then sends requests to the running pipeline p: one at a time and many at a
 * time, without caches and with them. *out is owned by the caller. FL_UNAVAILABLE when p is not up here. */
int simulate_measure(struct measured **out, const struct pipeline *p, const struct measure_options *o,
                     struct error *e);

#endif
