/* projection.h - one layer from a descriptor to the space in which caches measure distance (arXiv 2002.02645,
 * section 3)
 *
 * h = relu(W z + b) with z = (x - mean) * scale, a standardised descriptor. W and b come from training a
 * classifier descriptor -> h -> softmax on the model's own labels (projection_train.h); its output layer is
 * dropped afterwards. Immutable and shared by all epochs of a cache: reference counted, any number of threads
 * may read.
 */
#ifndef FREEZELINE_PROJECTION_H
#define FREEZELINE_PROJECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define PROJECTION_MAX_DIM   (1 << 24)
#define PROJECTION_MAX_NODES (1 << 16)

struct projection {
    atomic_int references;
    int dim, nodes;
    float *mean, *scale; /* [dim]; scale is 0 for a feature that never varied */
    float *bias;         /* [nodes] */
    uint16_t *weights;   /* [nodes][dim], halves */
};

int projection_new(struct projection **out, int dim, int nodes);
struct projection *projection_retain(struct projection *p); /* returns p */
void projection_release(struct projection *p);              /* NULL is fine */
size_t projection_bytes(const struct projection *p);

/* z = (x - mean) * scale for n rows; false for a row that is not finite (its z is all 0). */
bool projection_standardise(const struct projection *p, const float *x, float *z);
/* h[i] = relu(W z[i] + b): n rows z of p->dim floats -> n rows of p->nodes. */
void projection_apply(const struct projection *p, const float *z, int n, float *h);
/* Many rows: x (n rows, raw) -> h, by sgemm with `weights` = p->weights decoded to floats. Rows that are not
 * finite give NaN. z: room for n x dim. */
void projection_apply_many(const struct projection *p, const float *weights, const float *x, int n, float *z,
                           float *h);

#endif
