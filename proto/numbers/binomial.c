/* binomial.c - sums from the side on which less is left */
#include "binomial.h"

#include <math.h>

static double log_choose(double n, double k)
{
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

double binomial_mass(double n, double k, double p)
{
    return k < 0 || k > n ? 0 : exp(log_choose(n, k) + k * log(p) + (n - k) * log1p(-p));
}

/* P(X <= k) of a k that is at most n p, summed downwards. */
static double head(double n, double k, double p)
{
    double term = k < 0 ? 0 : binomial_mass(n, k, p), sum = 0;
    for (; k >= 0 && term > sum * 1e-17; k--) {
        sum += term;
        term *= k / (n - k + 1) * (1 - p) / p;
    }
    return fmin(1, sum);
}

double binomial_tail(double n, double k, double p)
{
    if (k > n * p)
        return head(n, n - k, 1 - p);
    return 1 - head(n, k - 1, p);
}

double binomial_upper(double n, double k, double delta)
{
    double low = k / n, high = 1;
    for (int i = 0; i < 50 && k < n; i++) {
        double middle = (low + high) / 2;
        if (head(n, k, middle) > delta)
            low = middle;
        else
            high = middle;
    }
    return high;
}

double binomial_lower(double n, double k, double delta)
{
    return 1 - binomial_upper(n, n - k, delta);
}
