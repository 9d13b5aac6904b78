/* gap_bound.h - how much accuracy early answers lose at most, from requests that were answered both ways
 *
 * The loss of one request is d = [full answer right] - [served answer right], in -1, 0, 1. Of n requests that
 * are drawn alike, `lost` have d = 1 and `won` have d = -1. The test is exact: no normal approximation, no
 * order of the points. Pure functions.
 *
 * "E[d] >= gap" leaves open how often d is not 0, and the more often, the wider lost - won spreads. So counts
 * are ordered by how many deviations they are below the gap, t = -x / sqrt(lost + won + 1 + x) with x = n gap
 * - (lost - won), the spread being that of the counts and of what the hypothesis misses in them (as in score
 * tests of paired shares, Tango 1998; an ordering by lost - won alone would have to fear the widest spread).
 * A test rejects when counts with a t as small as this are improbable at delta whatever P(d = -1) is,
 *
 *     sup over P(d = -1) = w, P(d = 1) = w + gap of P(t' <= t)  <=  delta (1 - GAP_NUISANCE)
 *
 * where how often d is not 0 is bounded first, at GAP_NUISANCE of delta (Clopper and Pearson 1934; Berger and
 * Boos, JASA 1994). The supremum is not sought at some points only: the counts with t' <= t, and what has
 * fewer losses or more wins than one of them, grow more probable as P(d = 1) falls and as P(d = -1) grows, so
 * the lowest of the one and the highest of the other bound it over an interval of w; intervals are halved
 * until the bound decides.
 */
#ifndef FREEZELINE_GAP_BOUND_H
#define FREEZELINE_GAP_BOUND_H

#include <stdbool.h>
#include <stdint.h>

#define GAP_NUISANCE 0.02 /* of delta */

struct gap_counts {
    int64_t n, lost, won;
    bool may_win; /* false: d = -1 cannot happen, as where agreement is what counts */
};

/* Whether these counts reject "E[d] >= gap" at `delta` (0 < delta < 0.5): if it is true, they do so with
 * probability delta at most. */
bool gap_is_below(const struct gap_counts *c, double gap, double delta);
/* The smallest gap, to 1e-6, that they reject: E[d] is below it with probability 1 - delta. In [-1, 1]. */
double gap_upper_bound(const struct gap_counts *c, double delta);
/* The fewest requests that can reject a gap at all: those needed if every d is 0. INT64_MAX when none can. */
int64_t gap_points_needed(double gap, double delta, bool may_win);

#endif
