/* statistics.c - quantiles by sorting, paired differences */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nearest rank: the smallest sample that at least a share q of all are not above. */
static double quantile(const double *sorted, int64_t n, double q)
{
    int64_t rank = (int64_t)ceil(q * (double)n);
    return sorted[rank < 1 ? 0 : rank - 1];
}

struct summary statistics_summary(double *samples, int64_t n)
{
    struct summary s = {0};

    if (n < 1)
        return s;
    qsort(samples, (size_t)n, sizeof *samples, by_value);
    for (int64_t i = 0; i < n; i++)
        s.mean += samples[i];
    s.mean /= (double)n;
    s.p50 = quantile(samples, n, 0.5);
    s.p99 = quantile(samples, n, 0.99);
    s.min = samples[0];
    s.max = samples[n - 1];
    return s;
}

double statistics_gap_upper(int64_t lost, int64_t won, int64_t n)
{
    double b = (double)lost + 0.5, c = (double)won + 0.5, total = (double)n + 2;
    return (b - c) / total + 1.645 * sqrt(b + c - (b - c) * (b - c) / total) / total;
}
