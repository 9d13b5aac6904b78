/* statistics.h - summaries of measured samples */
#ifndef FREEZELINE_STATISTICS_H
#define FREEZELINE_STATISTICS_H

#include <stdint.h>

struct summary {
    double mean, p50, p99, min, max;
};

/* Sorts the samples in place. All zero when there are none. */
struct summary statistics_summary(double *samples, int64_t n);

/* The order statistics around the true q-quantile of n independent samples, with 95% certainty and whatever
 * their distribution is: with B ~ Binomial(n, q), P(low <= B <= high - 1) >= 0.95, so the quantile lies
 * between the low-th and the high-th smallest sample. low = 0 and high = n + 1 mean that n samples are too
 * few to bound that side. */
void statistics_quantile_ranks(int64_t n, double q, int64_t *low, int64_t *high);

/* Student's t: what 97.5% of its distribution lie below, within 0.2%. Infinite without a
 * degree of freedom. */
double statistics_t_975(int degrees);

#endif
