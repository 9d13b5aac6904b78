/* evaluation.h - what caches do to accuracy and latency: requests one by one in this process, with real
 * look-ups
 *
 * Each request runs to the end, whatever the caches say, so that both answers are known: the full one (the
 * network's, in float32), and the served one (the first hit's, else the network's, in the pipeline's
 * precision). Times: full = kernels alone; served = kernels, descriptors and look-ups up to the hit, one
 * after the other (in a pipeline look-ups overlap with computing). Where no caches are built yet, or none are
 * asked for, it is the network alone that answers.
 */
#ifndef FREEZELINE_EVALUATION_H
#define FREEZELINE_EVALUATION_H

#include "index/cache.h"
#include "deploy/data/dataset.h"
#include "deploy/build/plausibility.h"
#include "deploy/build/promise_record.h"
#include "stages/place/placement.h"
#include "deploy/tool/statistics.h"

struct evaluated_exit {
    struct cache_info info; /* of a cache that is there */
    bool cached;
    int64_t lookups, hits; /* every request is looked up here; hits whether or not an earlier exit answered */
    int64_t answered, right,
        agreed;     /* requests that it answered; of these right by the data's label, by the full answer */
    int64_t oracle; /* look-ups whose label is the full answer's, hit or not */
    double descriptor_ns, lookup_ns; /* sums */
};

struct evaluation {
    struct plausibility plausible;
    int64_t requests;
    bool labelled;
    const char *alone; /* why the network was asked without caches; NULL: it was not */
    int64_t full_right, served_right, lost, won; /* lost: right in full only */
    int64_t last_right, last_agreed; /* the network's, in the pipeline's precision, where no exit answers */
    int64_t agreed, early, by_half;  /* answered by an exit; by one within half of the depth */
    int64_t oracle, oracle_by_half;  /* some look-up (within half) had the full answer's label */
    double depth, flops_share;       /* sums over requests of where they were answered */
    struct evaluated_exit exit[PIPELINE_MAX_EXITS];
    struct summary full_ms, served_ms;
    double served_cpu_s; /* processor time of a request, mean */
    size_t network_bytes, cache_bytes, projection_bytes, index_bytes;
    struct promise_record promise; /* of these caches */
};

/* What became of one record. */
struct evaluated_answer {
    int32_t served, last; /* labels: what was answered; what the network says, in the pipeline's precision */
    float confidence;     /* of `last`, the largest probability */
};

struct evaluation_input {
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct placement *placement;
    const struct dataset *data;
    int64_t limit; /* 0: all */
    int threads;
    int (*progress)(void *arg, int64_t done, int64_t total); /* non-zero: stop, and report what is there */
    void *progress_arg;
    const int32_t *full; /* [records]: the full answers, where another network gives them; or NULL */
    struct evaluated_answer *answers; /* [records]: filled, unless NULL */
};

/* FL_STALE when the caches are another model's, FL_VALUE when the labels of the data are. */
int evaluation_run(struct evaluation *out, const struct evaluation_input *in, struct error *e);

#endif
