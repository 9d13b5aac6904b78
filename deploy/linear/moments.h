/* moments.h - sums of products of what goes into a layer, and of that with what its output lacks
 *
 * x are the layer's inputs (one window of a convolution, one row of a product), r what its output should be
 * more than it is. Everything that a fit by least squares needs is here, however many records went in.
 */
#ifndef FREEZELINE_MOMENTS_H
#define FREEZELINE_MOMENTS_H

#include <stdbool.h>
#include <stdint.h>

struct moments {
    int n, m;      /* numbers in x and in r; m may be 0 */
    int64_t count; /* of x */
    float *xx;     /* [n][n], the lower triangle */
    float *rx;     /* [m][n] */
    double *x, *r; /* [n], [m] */
};

/* FL_NOMEM; release in any case. */
int moments_new(struct moments *s, int n, int m);
void moments_release(struct moments *s);
/* `rows` of x, [rows][n], and of r, [rows][m]. */
void moments_add(struct moments *s, const float *x, const float *r, int64_t rows);
/* The mean of x x^T in [n][n], about the means of x where `centred`, with `ridge` times its mean diagonal
 * added to each number of the diagonal. */
void moments_matrix(const struct moments *s, bool centred, double ridge, double *out);
/* What to add to W, [m][n], and to the bias (NULL: there is none), so that what the output lacks becomes
 * least in the sense of squares, with `ridge` as above: it pulls towards no change at all. FL_NOMEM,
 * FL_VALUE. */
int moments_fit(const struct moments *s, double ridge, double *w, double *bias);

#endif
