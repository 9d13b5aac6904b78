/* statistics.h - summaries of measured samples, and the bound on the difference of two accuracies */
#ifndef FREEZELINE_STATISTICS_H
#define FREEZELINE_STATISTICS_H

#include <stdint.h>

struct summary {
    double mean, p50, p99, min, max;
};

/* Sorts the samples in place. All zero when there are none. */
struct summary statistics_summary(double *samples, int64_t n);

/* One-sided 95% upper bound of P(full right) - P(served right), from n requests answered both ways: `lost` of
 * them right only in the full answer, `won` right only in the served one. Normal interval on the paired
 * difference with half a request added to each of the four cells (Agresti and Min, Statistics in Medicine
 * 2005), so that no losses seen does not mean none possible: b = lost + 1/2, c = won + 1/2, N = n + 2;  (b -
 * c)/N + 1.645 sqrt((b + c) - (b - c)^2/N) / N */
double statistics_gap_upper(int64_t lost, int64_t won, int64_t n);

/* The order statistics around the true q-quantile of n independent samples, with 95% certainty and whatever
 * their distribution is: with B ~ Binomial(n, q), P(low <= B <= high - 1) >= 0.95, so the quantile lies
 * between the low-th and the high-th smallest sample. low = 0 and high = n + 1 mean that n samples are too
 * few to bound that side. */
void statistics_quantile_ranks(int64_t n, double q, int64_t *low, int64_t *high);

#endif
