/* points.h - a set of embedded points or centroids, and distances to them
 *
 * Squared distances come as |x|^2 - 2 x.y + |y|^2 from one product over all points; the few that matter are
 * then taken again as sum (x - y)^2, which does not cancel. Distances are at least POINTS_MIN_DISTANCE, so
 * 1/d is finite.
 */
#ifndef FREEZELINE_POINTS_H
#define FREEZELINE_POINTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define POINTS_MIN_DISTANCE 1e-6f
#define POINTS_MAX          (1ll << 31)

struct points {
    int64_t n, capacity;
    int nodes;
    uint16_t *data; /* [n][nodes], halves */
    float *norm2;   /* [n]: |y|^2 of the point as it is stored */
};

int points_reserve(struct points *p, int nodes, int64_t capacity); /* grows; keeps what is there */
int points_copy(struct points *to, const struct points *from, int64_t capacity);
void points_release(struct points *p);
size_t points_entry_bytes(int nodes); /* of one point and its norm */

/* Stores a point (n rows are there already when i = n: then it is added; capacity must suffice). Values
 * beyond what a half can hold are clamped. */
void points_set(struct points *p, int64_t i, const float *x);
void points_move(struct points *p, int64_t from, int64_t to); /* overwrites `to`; n stays */
/* Recomputes norm2 of all points (after reading them from a file). */
void points_measure(struct points *p);

/* d2[i * p->n + j] = |x_i - y_j|^2 as expanded above, at least 0, for m rows x of p->nodes floats. */
void points_distances2(const struct points *p, const float *x, int m, float *d2);
/* The distance to point j, exact, at least POINTS_MIN_DISTANCE. */
float points_distance(const struct points *p, int64_t j, const float *x);

#endif
