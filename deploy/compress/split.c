/* split.c - directions of a layer's outputs */
#include "split.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "deploy/linear/linear.h"

int split_directions(const struct layer *l, const double *w, const double *moments, const bool *keep,
                     double *direction, double *value)
{
    int out = (int)l->out, n = (int)l->features, rc;
    double *product = malloc((size_t)(l->out * l->features) * sizeof *product);
    if (!product)
        return FL_NOMEM;
    if (moments)
        cblas_dsymm(CblasRowMajor, CblasRight, CblasLower, out, n, 1, moments, n, w, n, 0, product, n);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, out, out, n, 1, moments ? product : w, n, w, n, 0,
                direction, out);
    for (int i = 0; keep && i < out; i++)
        for (int k = 0; k < out; k++)
            if (!keep[i] || !keep[k])
                direction[i * out + k] = 0;
    rc = linear_eigen(direction, out, value);
    free(product);
    return rc;
}

int split_weights(const struct layer *l, const double *w, const double *direction, int rank, double *out,
                  double *projected)
{
    int outputs = (int)l->out, n = (int)l->features;
    double *inner = out ? out : malloc((size_t)rank * (size_t)n * sizeof *inner);
    if (!inner)
        return FL_NOMEM;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank, n, outputs, 1, direction, outputs, w, n, 0,
                inner, n);
    if (projected)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, outputs, n, rank, 1, direction, outputs, inner,
                    n, 0, projected, n);
    if (!out)
        free(inner);
    return FL_OK;
}

/* Channel by channel, over all taps: moments of the inputs, and how much weights look at them. */
static void per_channel(const struct narrowing *l, const double *w, const double *moments, double *inputs,
                        double *looks)
{
    int c = l->channels, n = c * l->taps;
    double trace = 0;
    memset(looks, 0, (size_t)c * (size_t)c * sizeof *looks);
    for (int i = 0; i < c; i++)
        for (int k = 0; k < c; k++) {
            double sum = 0;
            for (int t = 0; t < l->taps; t++)
                sum += moments[(size_t)(i * l->taps + t) * (size_t)n + (size_t)(k * l->taps + t)];
            inputs[i * c + k] = sum;
            trace += i == k ? sum : 0;
        }
    for (int i = 0; i < c; i++)
        inputs[i * c + i] += 1e-4 * trace / c + 1e-12;
    for (int t = 0; t < l->taps; t++)
        for (int o = 0; o < l->out; o++)
            cblas_dsyr(CblasRowMajor, CblasLower, c, 1, w + (size_t)o * (size_t)n + t, l->taps, looks, c);
    for (int i = 0; i < c; i++)
        for (int k = 0; k < i; k++)
            looks[k * c + i] = looks[i * c + k];
}

int narrow_directions(const struct narrowing *l, const double *w, const double *moments, double *p,
                      double *value)
{
    int c = l->channels, rc = FL_NOMEM;
    size_t square = (size_t)c * (size_t)c;
    double *inputs = malloc(square * sizeof *inputs);
    if (inputs) {
        per_channel(l, w, moments, inputs, p);
        rc = linear_factor(inputs, c);
    }
    if (!rc) {
        /* L^T looks L */
        cblas_dtrmm(CblasColMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, c, c, 1, inputs, c, p, c);
        cblas_dtrmm(CblasColMajor, CblasRight, CblasLower, CblasNoTrans, CblasNonUnit, c, c, 1, inputs, c, p,
                    c);
        rc = linear_eigen(p, c, value);
    }
    if (!rc)
        linear_unwhiten(inputs, c, p);
    free(inputs);
    return rc;
}

void narrow_core(const struct narrowing *l, const double *w, const double *p, int rank, double *core)
{
    for (int o = 0; o < l->out; o++)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rank, l->taps, l->channels, 1, p, l->channels,
                    w + (size_t)o * (size_t)(l->channels * l->taps), l->taps, 0,
                    core + (size_t)o * (size_t)(rank * l->taps), l->taps);
}

void narrow_back(const struct narrowing *l, const double *core, const double *p, int rank, double *back)
{
    for (int o = 0; o < l->out; o++)
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, l->channels, l->taps, rank, 1, p, l->channels,
                    core + (size_t)o * (size_t)(rank * l->taps), l->taps, 0,
                    back + (size_t)o * (size_t)(l->channels * l->taps), l->taps);
}

int narrow_fit(const struct narrowing *l, const double *w, const double *moments, const double *p, int rank,
               double *core)
{
    int n = l->channels * l->taps, m = rank * l->taps, rc;
    struct narrowing all = {n, l->channels, l->taps}, few = {m, l->channels, l->taps};
    double *half = malloc((size_t)n * (size_t)m * sizeof *half),
           *turned = malloc((size_t)n * (size_t)m * sizeof *turned),
           *square = malloc((size_t)m * (size_t)m * sizeof *square), trace = 0;
    rc = half && turned && square ? FL_OK : FL_NOMEM;
    if (!rc) {
        narrow_core(&all, moments, p, rank, half);
        for (int i = 0; i < n; i++)
            cblas_dcopy(m, half + (size_t)i * (size_t)m, 1, turned + i, n);
        narrow_core(&few, turned, p, rank, square);
        for (int i = 0; i < m; i++)
            trace += square[(size_t)i * (size_t)m + (size_t)i];
        for (int i = 0; i < m; i++)
            square[(size_t)i * (size_t)m + (size_t)i] += 1e-6 * trace / m + 1e-12;
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, l->out, m, n, 1, w, n, half, m, 0, core, m);
        rc = linear_factor(square, m);
    }
    if (!rc)
        linear_solve(square, m, core, l->out);
    free(half);
    free(turned);
    free(square);
    return rc;
}
