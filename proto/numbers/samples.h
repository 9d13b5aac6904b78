/* samples.h - order statistics of measured samples: sort, median, quantile. Pure. */
#ifndef FREEZELINE_SAMPLES_H
#define FREEZELINE_SAMPLES_H

#include <stdint.h>

/* Ascending, in place. */
void samples_sort(double *v, int64_t n);
/* The middle one, or the mean of the two in the middle; NaN when there are none. Sorts them in place. */
double samples_median(double *v, int64_t n);
/* Of sorted samples, by nearest rank: the smallest that at least a share q of all (0..1) are not above; NaN
 * when there are none. */
double samples_quantile(const double *sorted, int64_t n, double q);

#endif
