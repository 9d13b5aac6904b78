/* linear.c - LAPACK's own (Fortran) names: Debian's OpenBLAS has them, whether or not it was built with
 * LAPACKE */
#include "linear.h"

#include <cblas.h>
#include <stdlib.h>

#include "base/error.h"

void dsyevd_(const char *job, const char *triangle, const int *n, double *a, const int *lda, double *w,
             double *work, const int *lwork, int *iwork, const int *liwork, int *info);
void dpotrf_(const char *triangle, const int *n, double *a, const int *lda, int *info);
void dpotri_(const char *triangle, const int *n, double *a, const int *lda, int *info);
void dpotrs_(const char *triangle, const int *n, const int *m, const double *a, const int *lda, double *b,
             const int *ldb, int *info);

/* LAPACK gives them the smallest first. */
static void turn_around(double *a, int n, double *value)
{
    for (int i = 0; i < n / 2; i++) {
        double v = value[i];
        value[i] = value[n - 1 - i];
        value[n - 1 - i] = v;
        for (int k = 0; k < n; k++) {
            v = a[(size_t)i * (size_t)n + (size_t)k];
            a[(size_t)i * (size_t)n + (size_t)k] = a[(size_t)(n - 1 - i) * (size_t)n + (size_t)k];
            a[(size_t)(n - 1 - i) * (size_t)n + (size_t)k] = v;
        }
    }
}

int linear_eigen(double *a, int n, double *value)
{
    int info, size = -1, isize = -1, ineed;
    double need, *work;
    int *iwork;
    dsyevd_("V", "L", &n, a, &n, value, &need, &size, &ineed, &isize, &info);
    size = (int)need;
    isize = ineed;
    work = malloc(((size_t)size + 1) * sizeof *work);
    iwork = malloc(((size_t)isize + 1) * sizeof *iwork);
    if (work && iwork) {
        dsyevd_("V", "L", &n, a, &n, value, work, &size, iwork, &isize, &info);
        turn_around(a, n, value);
    }
    info = !work || !iwork ? FL_NOMEM : info ? FL_VALUE : FL_OK;
    free(work);
    free(iwork);
    return info;
}

int linear_factor(double *a, int n)
{
    int info;
    dpotrf_("L", &n, a, &n, &info);
    return info ? FL_VALUE : FL_OK;
}

void linear_solve(const double *factor, int n, double *b, int m)
{
    int info;
    dpotrs_("L", &n, &m, factor, &n, b, &n, &info);
}

int linear_invert(double *a, int n)
{
    int info;
    dpotrf_("L", &n, a, &n, &info);
    if (!info)
        dpotri_("L", &n, a, &n, &info);
    for (size_t i = 0; i < (size_t)n; i++)
        for (size_t k = 0; k < i; k++)
            a[i * (size_t)n + k] = a[k * (size_t)n + i];
    return info ? FL_VALUE : FL_OK;
}

void linear_unwhiten(const double *factor, int n, double *rows)
{
    cblas_dtrsm(CblasColMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, n, n, 1, factor, n, rows, n);
    for (int i = 0; i < n; i++) {
        double *row = rows + (size_t)i * (size_t)n, norm;
        /* Twice is enough (Giraud and Langou). */
        for (int twice = 0; twice < 2; twice++)
            for (int k = 0; k < i; k++)
                cblas_daxpy(n, -cblas_ddot(n, rows + (size_t)k * (size_t)n, 1, row, 1),
                            rows + (size_t)k * (size_t)n, 1, row, 1);
        norm = cblas_dnrm2(n, row, 1);
        cblas_dscal(n, norm > 0 ? 1 / norm : 0, row, 1);
    }
}
