/* moments.c - sums in float32 by OpenBLAS, fits in double */
#include "moments.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "linear.h"

int moments_new(struct moments *s, int n, int m)
{
    *s = (struct moments){.n = n,
                          .m = m,
                          .xx = calloc((size_t)n * (size_t)n + 1, sizeof *s->xx),
                          .rx = calloc((size_t)m * (size_t)n + 1, sizeof *s->rx),
                          .x = calloc((size_t)n + 1, sizeof *s->x),
                          .r = calloc((size_t)m + 1, sizeof *s->r)};
    return s->xx && s->rx && s->x && s->r ? FL_OK : FL_NOMEM;
}

void moments_release(struct moments *s)
{
    free(s->xx);
    free(s->rx);
    free(s->x);
    free(s->r);
    *s = (struct moments){0};
}

void moments_add(struct moments *s, const float *x, const float *r, int64_t rows)
{
    cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, s->n, (int)rows, 1, x, s->n, 1, s->xx, s->n);
    for (int64_t i = 0; i < rows; i++)
        for (int k = 0; k < s->n; k++)
            s->x[k] += (double)x[i * s->n + k];
    if (s->m)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, s->m, s->n, (int)rows, 1, r, s->m, x, s->n, 1,
                    s->rx, s->n);
    for (int64_t i = 0; i < rows && s->m; i++)
        for (int k = 0; k < s->m; k++)
            s->r[k] += (double)r[i * s->m + k];
    s->count += rows;
}

void moments_matrix(const struct moments *s, bool centred, double ridge, double *out)
{
    size_t n = (size_t)s->n;
    double by = s->count ? 1 / (double)s->count : 0, trace = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k <= i; k++)
            out[i * n + k] = out[k * n + i] =
                (double)s->xx[i * n + k] * by - (centred ? s->x[i] * by * s->x[k] * by : 0);
        trace += out[i * n + i];
    }
    /* Inputs that are always 0 must not make it indefinite. */
    for (size_t i = 0; i < n; i++)
        out[i * n + i] += ridge * trace / (double)n + 1e-12;
}

int moments_fit(const struct moments *s, double ridge, double *w, double *bias)
{
    size_t n = (size_t)s->n;
    double by = s->count ? 1 / (double)s->count : 0, *a = malloc((n * n + 1) * sizeof *a);
    int rc = a ? FL_OK : FL_NOMEM;
    if (!rc) {
        moments_matrix(s, bias != NULL, ridge, a);
        rc = linear_factor(a, s->n);
    }
    for (size_t o = 0; !rc && o < (size_t)s->m; o++)
        for (size_t k = 0; k < n; k++)
            w[o * n + k] = (double)s->rx[o * n + k] * by - (bias ? s->r[o] * by * s->x[k] * by : 0);
    if (!rc)
        linear_solve(a, s->n, w, s->m);
    for (size_t o = 0; !rc && bias && o < (size_t)s->m; o++)
        bias[o] = s->r[o] * by - cblas_ddot(s->n, w + o * n, 1, s->x, 1) * by;
    free(a);
    return rc;
}
