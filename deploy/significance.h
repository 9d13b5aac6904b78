/* significance.h - is a difference between two runs more than chance?
 *
 * Each test gives an effect with its 95% interval and a p-value: how often chance alone would show as much.
 * They take requests for independent; requests that waited in one queue are not quite, so a small effect that
 * is barely significant should be looked at again with another run.
 */
#ifndef FREEZELINE_SIGNIFICANCE_H
#define FREEZELINE_SIGNIFICANCE_H

#include "bench_document.h"

#define SIGNIFICANCE_MEAN NAN /* in place of a quantile's share */
#define SIGNIFICANCE_MAX  8

struct effect {
    double change, low, high, p; /* all NAN: cannot be told */
};

/* Relative change b / a - 1 of quantiles or the mean, by bootstrap: each of 2,000 resamples draws every
 * bucket's count from a Poisson distribution around it (Chamandy et al., Google, 2012). Repeatable. A
 * quantile that fewer than 10 requests of either run lie beyond cannot be told. n <= SIGNIFICANCE_MAX.
 * FL_NOMEM. */
int significance_latency(struct effect out[], const double share[], int n, const struct spread *a,
                         const struct spread *b, struct error *e);

/* Two-sample Kolmogorov-Smirnov: `change` is the largest distance between the two distributions, 0..1; no
 * interval. */
struct effect significance_distribution(const struct spread *a, const struct spread *b);

/* Difference b - a of two shares, x of n each, with one success and one failure added to both (Agresti and
 * Caffo, The American Statistician 2000), so that few or no successes are fine. */
struct effect significance_shares(double x_a, double n_a, double x_b, double n_b);

/* Relative change of two rates, counts in seconds, as of Poisson processes. */
struct effect significance_rates(double count_a, double seconds_a, double count_b, double seconds_b);

/* Holm (1979): p-values of n tests in place, corrected for having looked n times. Those that are NAN are no
 * tests. */
void significance_correct(double p[], int n);

#endif
