/* samples.c - order statistics */
#include "samples.h"

#include <math.h>
#include <stdlib.h>

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void samples_sort(double *v, int64_t n)
{
    if (n > 1)
        qsort(v, (size_t)n, sizeof *v, by_value);
}

double samples_median(double *v, int64_t n)
{
    samples_sort(v, n);
    return n > 0 ? (v[(n - 1) / 2] + v[n / 2]) / 2 : NAN;
}

double samples_quantile(const double *sorted, int64_t n, double q)
{
    int64_t rank = (int64_t)ceil(q * (double)n);
    if (n <= 0)
        return NAN;
    return sorted[rank < 1 ? 0 : rank > n ? n - 1 : rank - 1];
}
