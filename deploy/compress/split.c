/* split.c - directions of a layer's outputs */
#include "split.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "linear.h"

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
