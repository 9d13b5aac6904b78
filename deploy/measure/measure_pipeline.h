/* measure_pipeline.h - everything that the simulation has to know, measured here */
#ifndef FREEZELINE_MEASURE_PIPELINE_H
#define FREEZELINE_MEASURE_PIPELINE_H

#include "deploy/data/dataset.h"
#include "measured.h"

/* Times the model in this process, `runs` times at each batch size, then sends requests to the running
 * pipeline p, so many in each phase: one at a time and many at a time, without caches and with them. *out is
 * owned by the caller. FL_UNAVAILABLE when p is not up here. */
int measure_pipeline(struct measured **out, const struct pipeline *p, const struct dataset *data,
                     int requests, int runs, struct error *e);

#endif
