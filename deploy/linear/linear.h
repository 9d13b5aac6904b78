/* linear.h - the few steps of linear algebra that compression needs, by LAPACK in OpenBLAS
 *
 * Matrices are symmetric, of doubles, n x n without gaps; both triangles are set, so row and column order are
 * the same. Pure.
 */
#ifndef FREEZELINE_LINEAR_H
#define FREEZELINE_LINEAR_H

/* a = V diag(value) V^T: row i of a becomes the eigenvector of value[i], the largest first. FL_NOMEM,
 * FL_VALUE. */
int linear_eigen(double *a, int n, double *value);
/* The lower Cholesky factor in a's storage, for linear_solve. FL_VALUE when a is not positive definite. */
int linear_factor(double *a, int n);
/* Each of the m rows of b becomes x with a x = b; `factor` is linear_factor's. */
void linear_solve(const double *factor, int n, double *b, int m);
/* a becomes its inverse. FL_VALUE when it is not positive definite. */
int linear_invert(double *a, int n);

/* Each row b of `rows` becomes b L^-1 with the factor L, then all are made orthonormal, the first first. */
void linear_unwhiten(const double *factor, int n, double *rows);

#endif
