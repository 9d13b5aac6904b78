/* split.h - a layer as two: y = W x as y = U^T (U W) x with fewer rows of U than y has numbers
 *
 * The rows of U are directions in which outputs vary most: eigenvectors of W M W^T, with M the moments of x.
 * So the error of the outputs, not of the weights, is least. With M = 1 this is the truncated singular value
 * decomposition of W. Pure.
 */
#ifndef FREEZELINE_SPLIT_H
#define FREEZELINE_SPLIT_H

#include "layers.h"

/* All directions, [out][out], those that matter most first, and how much outputs vary along each, squared.
 * `moments` is [features][features], or NULL for 1; outputs with keep[o] false (NULL: all stay) do not count.
 * FL_NOMEM, FL_VALUE. */
int split_directions(const struct layer *l, const double *w, const double *moments, const bool *keep,
                     double *direction, double *value);
/* out = U W, [rank][features], and projected = U^T U W, [out][features]. Either may be NULL; FL_NOMEM. */
int split_weights(const struct layer *l, const double *w, const double *direction, int rank, double *out,
                  double *projected);

/* The other side: a convolution that reads fewer numbers for each tap, P x instead of x, the first factor of
 * a Tucker-2 decomposition. W is [out][channels * taps]. Rows of P are orthonormal, those that matter most
 * first: where inputs vary and weights look. */
struct narrowing {
    int out, channels, taps;
};
/* P, [channels][channels], and what each row carries of the outputs' squares. FL_NOMEM, FL_VALUE. */
int narrow_directions(const struct narrowing *l, const double *w, const double *moments, double *p,
                      double *value);
/* core = W P^T tap by tap, [out][rank * taps]; back = core P. */
void narrow_core(const struct narrowing *l, const double *w, const double *p, int rank, double *core);
void narrow_back(const struct narrowing *l, const double *core, const double *p, int rank, double *back);
/* The core that is best in the sense of least squares. FL_NOMEM, FL_VALUE. */
int narrow_fit(const struct narrowing *l, const double *w, const double *moments, const double *p, int rank,
               double *core);

#endif
