/* selector.c - whether to trust a predictor's answer */
#include "selector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ITERATIONS 25
#define TOLERANCE  1e-8

int selector_features(int n_exits, int classes)
{
    return n_exits * SELECTOR_FEATURES_PER_EXIT + (classes <= SELECTOR_MAX_CLASSES ? classes : 0);
}

/* The five features of one exit's scores for an answer. Log shares are at least -30: what is impossible is
 * not more so. */
static void describe_exit(const float *score, int classes, int32_t answer, float *f)
{
    float top = -INFINITY, second = -INFINITY, other = -INFINITY, sum = 0, log_sum, entropy = 0;
    int32_t best = 0;
    for (int c = 0; c < classes; c++) {
        if (score[c] > top) {
            second = top;
            top = score[c];
            best = c;
        } else if (score[c] > second) {
            second = score[c];
        }
        if (c != answer && score[c] > other)
            other = score[c];
    }
    for (int c = 0; c < classes; c++)
        sum += expf(score[c] - top);
    log_sum = logf(sum);
    for (int c = 0; c < classes; c++) {
        float v = score[c] - top - log_sum;
        entropy -= v > -30 ? expf(v) * v : 0;
    }
    f[0] = fminf(top - second, 30);
    f[1] = -log_sum;
    f[2] = entropy;
    f[3] = fmaxf(fminf(score[answer] - other, 30), -30);
    f[4] = best == answer;
}

void selector_describe(const float *const *scores, int n_exits, int classes, int32_t answer, float *features)
{
    float *of_class = features + n_exits * SELECTOR_FEATURES_PER_EXIT;
    for (int k = 0; k < n_exits; k++)
        describe_exit(scores[k], classes, answer, features + k * SELECTOR_FEATURES_PER_EXIT);
    if (classes > SELECTOR_MAX_CLASSES)
        return;
    memset(of_class, 0, (size_t)classes * sizeof *of_class);
    of_class[answer] = 1;
}

void selector_release(struct selector *s)
{
    free(s->mean);
    free(s->scale);
    free(s->weight);
    memset(s, 0, sizeof *s);
}

float selector_harm(const struct selector *s, const float *features)
{
    float sum = s->bias;
    for (int i = 0; i < s->n; i++)
        sum += s->weight[i] * (features[i] - s->mean[i]) * s->scale[i];
    return 1 / (1 + expf(-sum));
}

/* --- fitting --- */

/* Solves a x = b for a symmetric positive definite a [n][n], in place; x replaces b. False when a is not
 * positive definite. */
static bool solve(double *a, double *b, int n)
{
    for (int j = 0; j < n; j++) { /* Cholesky: a = l l^T, l in the lower half */
        for (int i = j; i < n; i++) {
            double sum = a[i * n + j];
            for (int k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            if (i == j && !(sum > 0))
                return false;
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++)
            b[i] -= a[i * n + k] * b[k];
        b[i] /= a[i * n + i];
    }
    for (int i = n - 1; i >= 0; i--) {
        for (int k = i + 1; k < n; k++)
            b[i] -= a[k * n + i] * b[k];
        b[i] /= a[i * n + i];
    }
    return true;
}

static void standardise(struct selector *s, const float *x, int64_t m)
{
    for (int i = 0; i < s->n; i++) {
        double sum = 0, square = 0, mean;
        for (int64_t r = 0; r < m; r++)
            sum += (double)x[r * s->n + i];
        mean = sum / (double)m;
        for (int64_t r = 0; r < m; r++)
            square += ((double)x[r * s->n + i] - mean) * ((double)x[r * s->n + i] - mean);
        s->mean[i] = (float)mean;
        s->scale[i] = square > 1e-12 * (double)m ? (float)(1 / sqrt(square / (double)m)) : 0;
    }
}

/* Adds one point's share of gradient and curvature for w [n + 1], the bias last. z: its standardised
 * features, 1 last. */
static void add_point(const double *w, const double *z, int n, bool harmful, double *gradient,
                      double *curvature)
{
    double sum = 0, p, v;
    for (int i = 0; i < n; i++)
        sum += w[i] * z[i];
    p = 1 / (1 + exp(-sum));
    v = p * (1 - p) > 1e-6 ? p * (1 - p) : 1e-6;
    for (int i = 0; i < n; i++) {
        gradient[i] += (harmful - p) * z[i];
        for (int j = 0; j <= i; j++)
            curvature[i * n + j] += v * z[i] * z[j];
    }
}

/* One step of Newton's method; returns its length, negative when there is none. */
static double newton(const struct selector *s, double *w, const float *x, const uint8_t *harmful, int64_t m,
                     double ridge, double *work)
{
    int n = s->n + 1;
    double *gradient = work, *z = gradient + n, *curvature = z + n, length = 0;
    memset(work, 0, (size_t)n * (size_t)(n + 2) * sizeof *work);
    for (int64_t r = 0; r < m; r++) {
        for (int i = 0; i < s->n; i++)
            z[i] = ((double)x[r * s->n + i] - (double)s->mean[i]) * (double)s->scale[i];
        z[s->n] = 1;
        add_point(w, z, n, harmful[r], gradient, curvature);
    }
    for (int i = 0; i < n; i++) {
        double pull = i < s->n ? ridge : 1e-3; /* all alike: the bias stays finite */
        gradient[i] -= pull * w[i];
        curvature[i * n + i] += pull;
    }
    if (!solve(curvature, gradient, n))
        return -1;
    for (int i = 0; i < n; i++)
        length += gradient[i] * gradient[i];
    length = sqrt(length);
    for (int i = 0; i < n; i++)
        w[i] += gradient[i] * (length > 5 ? 5 / length : 1);
    return length;
}

int selector_fit(struct selector *out, const float *x, const uint8_t *harmful, int64_t m, int n, double ridge,
                 struct error *e)
{
    size_t size = (size_t)n + 1;
    double *w = calloc(size, sizeof *w), *work = malloc(size * (size + 2) * sizeof *work), length = 1;
    struct selector s = {n, calloc(size, sizeof(float)), calloc(size, sizeof(float)),
                         calloc(size, sizeof(float)), 0};
    int rc = FL_OK;
    if (m < 1)
        rc = error_set(e, FL_VALUE, "there are no points to fit a selector on");
    else if (!w || !work || !s.mean || !s.scale || !s.weight)
        rc = error_set(e, FL_NOMEM, "no memory for a selector of %d features", n);
    if (rc != FL_OK)
        goto done;
    standardise(&s, x, m);
    for (int i = 0; i < ITERATIONS && length > TOLERANCE; i++)
        length = newton(&s, w, x, harmful, m, ridge, work);
    for (int i = 0; i < n; i++)
        s.weight[i] = (float)w[i];
    s.bias = (float)w[n];
    *out = s;
    memset(&s, 0, sizeof s);
done:
    selector_release(&s);
    free(w);
    free(work);
    return rc;
}
