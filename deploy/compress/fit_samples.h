/* fit_samples.h - records that a network is run on: a data set of pictures, or an array of whatever the
 * network takes */
#ifndef FREEZELINE_FIT_SAMPLES_H
#define FREEZELINE_FIT_SAMPLES_H

#include "deploy/data/dataset.h"
#include "deploy/data/npy.h"
#include "stages/graph/graph.h"

struct samples {
    struct dataset *pictures; /* or NULL */
    struct npy_map array;     /* float32, [count][bytes] */
    int64_t count, bytes;     /* of one record as the network takes it */
};

/* `spec` is a data set (dataset_spec.h); for a network that takes no pictures npy:FILE.npy, float32, records
 * first. Errors as dataset_open; FL_SHAPE and FL_UNSUPPORTED where the network has several inputs or the
 * records do not fit. Release in any case. */
int samples_open(struct samples *out, const char *spec, const struct graph *g,
                 const struct dataset_options *o, struct error *e);
void samples_close(struct samples *s);
/* Writes record i as the network takes it. */
void samples_put(const struct samples *s, int64_t i, void *out);

#endif
