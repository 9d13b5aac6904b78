/* significance.h - is a difference between two runs more than chance?
 *
 * Each test gives an effect with its 95% interval and a p-value: how often chance alone would show as much.
 * Requests of one moment resemble one another (they wait in one queue, on a machine that is busy then), so
 * they count for less than as many independent ones: `wander` says how far the figure moved from one time of
 * the run to the next.
 */
#ifndef FREEZELINE_SIGNIFICANCE_H
#define FREEZELINE_SIGNIFICANCE_H

#include "bench_document.h"

#define SIGNIFICANCE_MEAN NAN /* in place of a quantile's share */
#define SIGNIFICANCE_MAX  8

struct effect {
    double change, low, high, p; /* all NAN: cannot be told */
};

/* Variance of the mean of these figures of successive times (squared standard error), of those that are
 * finite; 0 when there are fewer than 5. */
double significance_wander(const double figure[], int n);

/* Relative change b / a - 1 of quantiles or the mean, by bootstrap: each of 2,000 resamples draws every
 * bucket's count from a Poisson distribution around it (Chamandy et al., Google, 2012). Repeatable. A
 * quantile that fewer than 10 requests of either run lie beyond cannot be told. `wander` is that of the
 * logarithm of the medians, of both runs together: where it is more than the variance of the resampled
 * medians (share[] has to have 0.5), the difference is added to all resamples. *factor: by how much the
 * variance is larger, 1 or more. n <= SIGNIFICANCE_MAX. FL_NOMEM. */
int significance_latency(struct effect out[], const double share[], int n, const struct spread *a,
                         const struct spread *b, double wander, double *factor, struct error *e);

/* Two-sample Kolmogorov-Smirnov, with 1/factor of the requests: `change` is the largest distance between the
 * two distributions, 0..1; no interval. */
struct effect significance_distribution(const struct spread *a, const struct spread *b, double factor);

/* Difference b - a of two shares, x of n each, with one success and one failure added to both (Agresti and
 * Caffo, The American Statistician 2000), so that few or no successes are fine. */
struct effect significance_shares(double x_a, double n_a, double x_b, double n_b);

/* Relative change of two rates, counts in seconds, as of Poisson processes, or as uncertain as `wander` of
 * the logarithms of the counts says where that is more. */
struct effect significance_rates(double count_a, double seconds_a, double count_b, double seconds_b,
                                 double wander);

/* Holm (1979): p-values of n tests in place, corrected for having looked n times. Those that are NAN are no
 * tests. */
void significance_correct(double p[], int n);

#endif
