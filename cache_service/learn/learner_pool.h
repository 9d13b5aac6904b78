/* learner_pool.h - the candidates that are being certified. Pure. */
#ifndef FREEZELINE_LEARNER_POOL_H
#define FREEZELINE_LEARNER_POOL_H

#include "cache_service/promise/certificate.h"
#include "learner_brain.h"
#include "learner_watch.h"

struct candidate {
    uint64_t number;
    struct certificate *certificate;
    int64_t points; /* that taught it */
};

struct learner_pool {
    int n_exits, n;
    double before[PIPELINE_MAX_EXITS], lookup[PIPELINE_MAX_EXITS];
    struct promise_terms terms;
    double spent; /* as in learner_setup */
    struct candidate candidate[LEARNER_CANDIDATES];
};

/* Makes room first where there is none: the oldest goes that is not `serving`; *gone gets its number, 0:
 * none. */
int pool_add(struct learner_pool *p, uint64_t number, const struct promise_order *order, int64_t points,
             uint64_t serving, uint64_t *gone);
struct candidate *pool_find(struct learner_pool *p, uint64_t number);
void pool_remove(struct learner_pool *p, uint64_t number);
void pool_clear(struct learner_pool *p);
void pool_see(struct learner_pool *p, uint64_t number, const int32_t *label, const float *confidence,
              int32_t full, int32_t truth);

/* A row of a candidate: what it serves, and how long requests take with it. */
struct pool_row {
    uint64_t number;
    int64_t index; /* of the row */
    struct certificate_row row;
    bool placed[PIPELINE_MAX_EXITS];
    double time;
};
/* Time with that row of that candidate by all audits that it has seen; NAN: it is not there, or has seen
 * fewer. */
double pool_time(const struct learner_pool *p, uint64_t number, int64_t index, int64_t fewest);
/* The fastest of those that may begin to serve, by `fewest` audits at least; false: none may. Here and below
 * the bound of the loss is left out (NaN): it takes most of the time. */
bool pool_best(const struct learner_pool *p, int64_t fewest, struct pool_row *out);
/* The levels of that candidate that may begin to serve, none bolder than its row `index`; their thresholds in
 * `out`, where that is not NULL. */
int pool_levels(struct learner_pool *p, uint64_t number, int64_t index,
                float out[PROMISE_LEVELS][PIPELINE_MAX_EXITS]);
/* The boldest row of that candidate that is certified and loses none of the audits that `w` blames; false:
 * none. */
bool pool_tightened(const struct learner_pool *p, uint64_t number, const struct learner_watch *w,
                    struct pool_row *out);
/* Time of the boldest row of any candidate that would be certified if what was lost so far went on: what is
 * to be gained by more audits. 1 where there is none. */
double pool_hope(const struct learner_pool *p);
/* Audits that the newest candidate has seen; requests that taught it. */
int64_t pool_newest(const struct learner_pool *p, int64_t *points);

#endif
