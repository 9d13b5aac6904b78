/* statistics.c - summaries, ranks around a quantile */
#include "statistics.h"

#include <math.h>

#include "numbers/binomial.h"
#include "numbers/samples.h"

struct summary statistics_summary(double *samples, int64_t n)
{
    struct summary s = {0};

    if (n < 1)
        return s;
    samples_sort(samples, n);
    for (int64_t i = 0; i < n; i++)
        s.mean += samples[i];
    s.mean /= (double)n;
    s.p50 = samples_quantile(samples, n, 0.5);
    s.p99 = samples_quantile(samples, n, 0.99);
    s.min = samples[0];
    s.max = samples[n - 1];
    return s;
}

/* The smallest k with P(B <= k) >= p for B ~ Binomial(n, q). Sums probabilities from 10 standard deviations
 * below the mean: what lies before is less than 1e-20. */
static int64_t binomial_quantile(int64_t n, double q, double p)
{
    double trials = (double)n, spread = sqrt(trials * q * (1 - q));
    int64_t k = (int64_t)fmax(0, floor(trials * q - 10 * spread - 10));
    double probability = binomial_mass(trials, (double)k, q), sum = probability;

    while (sum < p && k < n) {
        probability *= (double)(n - k) / (double)(k + 1) * q / (1 - q);
        sum += probability;
        k++;
    }
    return k;
}

void statistics_quantile_ranks(int64_t n, double q, int64_t *low, int64_t *high)
{
    *low = binomial_quantile(n, q, 0.025);
    *high = binomial_quantile(n, q, 0.975) + 1;
}

/* Cornish and Fisher's expansion (Abramowitz and Stegun 26.7.5) around the normal distribution; exact where
 * it is too coarse. */
double statistics_t_975(int degrees)
{
    const double z = 1.959964, z2 = z * z, n = degrees;

    if (degrees < 3)
        return degrees < 1 ? INFINITY : degrees == 1 ? 12.7062 : 4.3027;
    return z * (1 + (z2 + 1) / (4 * n) + ((5 * z2 + 16) * z2 + 3) / (96 * n * n) +
                (((3 * z2 + 19) * z2 + 17) * z2 - 15) / (384 * n * n * n) +
                ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / (92160 * n * n * n * n));
}
