/* significance.c - bootstrap over histograms, Kolmogorov-Smirnov, shares, rates, Holm's correction */
#include "significance.h"

#include <math.h>
#include <stdlib.h>

#include "numbers/samples.h"

#define RESAMPLES   2000
#define MAX_DRAWS   20000000.0 /* of all resamples: histograms with very many buckets get fewer */
#define Z_95        1.959964
#define LEAST_OUTER 10
#define LEAST_TIMES 5
#define BUCKET      0.01 /* width of a histogram's buckets, relative */

static const struct effect unknown = {NAN, NAN, NAN, NAN};

static double two_sided(double z)
{
    return erfc(fabs(z) / sqrt(2));
}

static double normal(unsigned short seed[3])
{
    double u = 1 - erand48(seed), v = erand48(seed);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* A Poisson number: by multiplying (Knuth) where the mean is small, by its normal limit where it is not. */
static double poisson(double mean, unsigned short seed[3])
{
    double product = 1, limit = exp(-mean);
    int n = -1;

    if (mean > 30)
        return fmax(0, round(mean + sqrt(mean) * normal(seed)));
    do {
        n++;
        product *= 1 - erand48(seed);
    } while (product > limit);
    return n;
}

static void resample(struct spread *to, const struct spread *from, unsigned short seed[3])
{
    to->total = 0;
    for (int i = 0; i < from->n; i++)
        to->total += to->count[i] = from->count[i] > 0 ? poisson(from->count[i], seed) : 0;
}

static double value(const struct spread *s, double share)
{
    double sum = 0;

    if (!isnan(share))
        return spread_quantile_us(s, share);
    for (int i = 0; i < s->n; i++)
        sum += s->upper_us[i] * s->count[i];
    return sum / s->total;
}

static bool can_tell(const struct spread *s, double share)
{
    return s->total >= LEAST_OUTER && (isnan(share) || s->total * (1 - share) >= LEAST_OUTER);
}

double significance_wander(const double figure[], int n)
{
    double sum = 0, squares = 0, mean;
    int used = 0;

    for (int i = 0; i < n; i++)
        if (isfinite(figure[i])) {
            sum += figure[i];
            used++;
        }
    if (used < LEAST_TIMES)
        return 0;
    mean = sum / used;
    for (int i = 0; i < n; i++)
        if (isfinite(figure[i]))
            squares += (figure[i] - mean) * (figure[i] - mean);
    return squares / (used - 1) / used;
}

static double variance(const double *x, int n)
{
    double sum = 0, squares = 0;

    for (int i = 0; i < n; i++)
        sum += x[i];
    for (int i = 0; i < n; i++)
        squares += (x[i] - sum / n) * (x[i] - sum / n);
    return squares / n;
}

/* Adds noise of this variance to n numbers. */
static void shake(double *x, int n, double by)
{
    unsigned short seed[3] = {4, 5, 6};

    for (int i = 0; i < n; i++)
        x[i] += sqrt(by) * normal(seed);
}

/* What n logarithms of ratios say. */
static struct effect conclude(double *ratio, int n, double seen)
{
    int below = 0, above = 0;

    samples_sort(ratio, n);
    for (int i = 0; i < n; i++) {
        below += ratio[i] <= 0;
        above += ratio[i] >= 0;
    }
    return (struct effect){seen, expm1(ratio[n / 40]), expm1(ratio[n - 1 - n / 40]),
                           fmin(1, 2.0 * (1 + (below < above ? below : above)) / (n + 1))};
}

static void bootstrap(double *ratio, const double share[], int n, int resamples, const struct spread *a,
                      const struct spread *b, struct spread *copy_a, struct spread *copy_b)
{
    unsigned short seed[3] = {1, 2, 3};

    for (int r = 0; r < resamples; r++) {
        resample(copy_a, a, seed);
        resample(copy_b, b, seed);
        for (int k = 0; k < n; k++) {
            double x = log(value(copy_b, share[k]) / value(copy_a, share[k]));
            ratio[k * resamples + r] = isfinite(x) ? x : 0; /* a resample without requests says nothing */
        }
    }
}

static int spread_copy(struct spread *to, const struct spread *from)
{
    *to = *from;
    to->count = malloc(((size_t)from->n + 1) * sizeof *to->count);
    return to->count ? FL_OK : FL_NOMEM;
}

/* Variance of the resampled medians; they all lie in buckets, so it is never known to be less than that of
 * one. */
static double median_variance(const double *ratio, const double share[], int n, int resamples)
{
    for (int k = 0; k < n; k++)
        if (share[k] == 0.5)
            return fmax(variance(ratio + k * resamples, resamples), BUCKET * BUCKET / 12);
    return INFINITY;
}

int significance_latency(struct effect out[], const double share[], int n, const struct spread *a,
                         const struct spread *b, double wander, double *factor, struct error *e)
{
    struct spread copy_a = {0}, copy_b = {0};
    int resamples = (int)fmax(200, fmin(RESAMPLES, MAX_DRAWS / (a->n + b->n + 1))), rc = FL_OK;
    double *ratio = malloc((size_t)n * (size_t)resamples * sizeof *ratio), v = INFINITY;

    *factor = 1;
    if (!ratio || spread_copy(&copy_a, a) || spread_copy(&copy_b, b))
        rc = error_set(e, FL_NOMEM, "no memory to compare");
    if (!rc && a->n && b->n) {
        bootstrap(ratio, share, n, resamples, a, b, &copy_a, &copy_b);
        v = median_variance(ratio, share, n, resamples);
        *factor = fmax(1, wander / v);
    }
    for (int k = 0; !rc && k < n; k++) {
        double seen = value(b, share[k]) / value(a, share[k]);
        out[k] = unknown;
        if (!can_tell(a, share[k]) || !can_tell(b, share[k]) || !isfinite(seen) || seen <= 0)
            continue;
        shake(ratio + k * resamples, resamples, fmax(0, wander - v));
        out[k] = conclude(ratio + k * resamples, resamples, seen - 1);
    }
    free(copy_a.count);
    free(copy_b.count);
    free(ratio);
    return rc;
}

/* P(K > x) of Kolmogorov's distribution. */
static double kolmogorov(double x)
{
    double sum = 0;

    if (x < 0.2)
        return 1;
    for (int j = 1; j <= 20; j++)
        sum += (j % 2 ? 2 : -2) * exp(-2 * j * j * x * x);
    return fmin(fmax(sum, 0), 1);
}

struct effect significance_distribution(const struct spread *a, const struct spread *b, double factor)
{
    double of_a = 0, of_b = 0, most = 0, root;

    if (!a->n || !b->n)
        return unknown;
    for (int i = 0, j = 0; i < a->n || j < b->n;) {
        double at = fmin(i < a->n ? a->upper_us[i] : INFINITY, j < b->n ? b->upper_us[j] : INFINITY);
        for (; i < a->n && a->upper_us[i] <= at; i++)
            of_a += a->count[i];
        for (; j < b->n && b->upper_us[j] <= at; j++)
            of_b += b->count[j];
        most = fmax(most, fabs(of_a / a->total - of_b / b->total));
    }
    root = sqrt(a->total * b->total / (a->total + b->total) / factor);
    return (struct effect){most, NAN, NAN, kolmogorov((root + 0.12 + 0.11 / root) * most)};
}

struct effect significance_shares(double x_a, double n_a, double x_b, double n_b)
{
    double a = (x_a + 1) / (n_a + 2), b = (x_b + 1) / (n_b + 2), error;

    if (!(n_a > 0 && n_b > 0 && x_a >= 0 && x_b >= 0 && x_a <= n_a && x_b <= n_b))
        return unknown;
    error = sqrt(a * (1 - a) / (n_a + 2) + b * (1 - b) / (n_b + 2));
    return (struct effect){x_b / n_b - x_a / n_a, b - a - Z_95 * error, b - a + Z_95 * error,
                           two_sided((b - a) / error)};
}

struct effect significance_rates(double count_a, double seconds_a, double count_b, double seconds_b,
                                 double wander)
{
    double change, error;

    if (!(count_a > 0 && count_b > 0 && seconds_a > 0 && seconds_b > 0))
        return unknown;
    change = log(count_b / seconds_b / (count_a / seconds_a));
    error = sqrt(fmax(1 / count_a + 1 / count_b, wander));
    return (struct effect){expm1(change), expm1(change - Z_95 * error), expm1(change + Z_95 * error),
                           two_sided(change / error)};
}

void significance_correct(double p[], int n)
{
    int tests = 0;
    double least = 0;

    for (int i = 0; i < n; i++)
        tests += !isnan(p[i]);
    /* The smallest is multiplied by all tests, the next by one fewer; none may become smaller than one before
     * it. Done ones are marked by adding 2. */
    for (int left = tests; left > 0; left--) {
        int next = -1;
        for (int i = 0; i < n; i++)
            if (!isnan(p[i]) && p[i] < 2 && (next < 0 || p[i] < p[next]))
                next = i;
        if (next < 0)
            break;
        least = fmax(least, fmin(1, p[next] * left));
        p[next] = least + 2;
    }
    for (int i = 0; i < n; i++)
        if (p[i] >= 2)
            p[i] -= 2;
}
