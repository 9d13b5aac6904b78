/* kinds.h - which kind of cache is best at which exit: every kind judged on the same calibration points
 *
 * Latency decides: the mean time of all exits together, look-ups included, as the planning points let expect
 * it under the promise; without a promise, on all calibration points with the thresholds that the caches
 * have. The points that certify a promise have no say.
 */
#ifndef FREEZELINE_KINDS_H
#define FREEZELINE_KINDS_H

#include <jansson.h>

#include "cache_service/promise/promise.h"

#define KINDS 3 /* "knn", "kmeans", "learned" */

extern const char *const kinds_name[KINDS];

/* -1: none of them. */
int kinds_index(const char *name);
/* "all", or some of the names with commas between. FL_USAGE. */
int kinds_parse(bool wanted[KINDS], const char *text, struct error *e);

/* One kind at one exit. */
struct kinds_entry {
    const struct evidence *evidence; /* of all caches of that kind, borrowed; NULL: not built */
    int column;                      /* its exit there */
    float threshold;                 /* that the cache has; for no promise */
    size_t bytes;
    double agreement; /* of its labels with the full answers, if it answered all requests */
    double share;     /* that it answers, alone, within the allowed loss */
    double time;      /* of the network's, with this cache alone */
    bool won;
};

struct kinds_contest {
    bool promised; /* under these terms */
    struct promise_terms terms;
    bool may_drop; /* exits that do not pay may be left without a cache */
    int n_exits;   /* of the placement */
    struct kinds_entry entry[PIPELINE_MAX_EXITS][KINDS];
    /* time when all exits have that kind (others where it was not built); NaN: none do */
    double uniform[KINDS];
    double time; /* of the winners together */
};

/* Fills in agreement, share, time and winners: one at each exit that has any. FL_VALUE as promise_choose,
 * FL_NOMEM. */
int kinds_compare(struct kinds_contest *c, struct error *e);
/* The evidence of the winners, copied, as evidence.h has it. FL_NOMEM. */
int kinds_evidence(struct evidence *out, const struct kinds_contest *c, struct error *e);

int kinds_print(const struct kinds_contest *c, struct error *e);
json_t *kinds_json(const struct kinds_contest *c);

#endif
