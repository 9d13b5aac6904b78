/* pair_comparison.h - is what is to follow worse than what serves? Both were asked the same, in turns
 *
 * Pairs of answers come in, a verdict comes out. Each measure is a share of the pairs with an interval
 * (Clopper-Pearson, 99% on each side). What speaks against the one that serves as well is taken off. On the
 * way only what is surely beyond its limit ends a comparison; at its end, what is beyond it at all. Pure.
 */
#ifndef FREEZELINE_PAIR_COMPARISON_H
#define FREEZELINE_PAIR_COMPARISON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "numbers/histogram.h"

/* How one of the two answered one request. */
struct observed {
    int error; /* FL_OK: it was answered */
    int32_t label;
    bool early; /* by an exit */
    bool known; /* as an earlier request with the same input: its time says nothing */
    uint64_t ns;
};

struct comparison_limits {
    double points; /* share of requests that may fail, or be answered worse, beyond what serves */
    double slower; /* 0.25: as slow as 1.25 times what serves is not slower (relay_is_slower) */
};

struct comparison_side {
    int64_t answered, errors, early, right; /* right: by the data's label */
    struct histogram latency;
};

enum measure_kind {
    MEASURE_ERRORS,    /* failed by what is to follow alone, less by what serves alone */
    MEASURE_ACCURACY,  /* wrong by what is to follow alone, less by what serves alone; labelled data */
    MEASURE_AGREEMENT, /* answered differently; data without labels */
    MEASURE_LATENCY,   /* pairs in which what is to follow was slower; the limit is half of them */
    MEASURES
};

struct measure {
    int64_t n; /* pairs that tell something; 0: none, it counts for nothing */
    double low, share, high, limit;
};

struct comparison {
    struct comparison_limits limits;
    int64_t pairs, both; /* both answered */
    struct comparison_side now, next;
    int64_t failed_now, failed_next; /* by that one alone */
    int64_t labelled, lost, won;     /* right by what serves alone, by what is to follow alone */
    int64_t agreed, timed, slower;
};

/* `label`: the true one, -1: not known. */
void comparison_add(struct comparison *c, const struct observed *now, const struct observed *next,
                    int32_t label);
void comparison_measure(const struct comparison *c, enum measure_kind kind, struct measure *out);
extern const char *const measure_names[MEASURES];

/* Is it worse? `text` says by what. `end`: no more pairs follow. */
bool comparison_is_worse(const struct comparison *c, bool end, char *text, size_t size);

#endif
