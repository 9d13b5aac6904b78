/* betting.h - what audits say about a loss, however often one looks: tests and bounds by betting
 * (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2024)
 *
 * The loss of one audit is d in -1, 0, 1 (gap_bound.h). Against "E[d] >= budget" a gambler stakes a share of
 * his wealth on each audit's loss being lower: an audit multiplies it by 1 + bet (budget - d), whose mean is
 * at most 1 under the hypothesis. So his wealth is above 1/delta at any time at all with probability delta at
 * most (Ville 1939): unlike gap_bound.h's test for one look, this one holds after each audit, for ever. The
 * wealth here is that of several gamblers with fixed bets who share the stake of 1, so it depends on counts
 * alone.
 *
 * It needs no independence: the hypothesis is that each audit's mean given the past is at least the budget,
 * or only that these means are at least the budget on average at the time of looking. Pure functions.
 */
#ifndef FREEZELINE_BETTING_H
#define FREEZELINE_BETTING_H

#include "gap_bound.h"

#define BETTING_MOST 20 /* gamblers */

/* The gamblers against one hypothesis: logarithms of the share of the stake that each has, and of what an
 * audit with d = 1, 0, -1 multiplies his wealth by. */
struct betting {
    int n;
    double share[BETTING_MOST], lost[BETTING_MOST], same[BETTING_MOST], won[BETTING_MOST];
};

/* Against "E[d] >= budget". -1 < budget < 1. */
void betting_for_less(struct betting *b, double budget);
/* Against "E[d] <= budget". Without `may_win` (d = -1 cannot happen) they may stake far more. */
void betting_for_more(struct betting *b, double budget, bool may_win);
/* Logarithm of the wealth after these counts: the hypothesis is rejected at delta where it reaches
 * log(1/delta). */
double betting_wealth(const struct betting *b, const struct gap_counts *c);
/* Whether that is `enough` at least; mostly faster. */
bool betting_reaches(const struct betting *b, const struct gap_counts *c, double enough);

/* The same in one call: log e-values against "E[d] >= budget" and "E[d] <= budget". */
double betting_below(const struct gap_counts *c, double budget);
double betting_above(const struct gap_counts *c, double budget);
/* Bounds of E[d] to 1e-6, each valid at all times at once with probability 1 - delta. In [-1, 1]; [0, 1]
 * without `may_win`. */
double betting_upper(const struct gap_counts *c, double delta);
double betting_lower(const struct gap_counts *c, double delta);

/* What candidate `number` (1, 2, ..) of a pipeline may spend: of 1 - certainty one half evenly among the
 * first 24, which make a cold start, the other as (number + 8)^-1.5. The sum over all that there will ever be
 * is 1 - certainty. */
double betting_delta(double certainty, uint64_t number);

#endif
