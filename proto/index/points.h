/* points.h - a set of embedded points or centroids, and the distance to each
 *
 * Distances are taken as sum (x - y)^2, which does not cancel, and are at least POINTS_MIN_DISTANCE, so that
 * 1/d is finite. Which points are worth it is for nearest.h to say.
 */
#ifndef FREEZELINE_POINTS_H
#define FREEZELINE_POINTS_H

#include <stdbool.h>
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
    bool borrowed;  /* data is someone else's and is not written (cache_map) */
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

/* The distance to point j, exact, at least POINTS_MIN_DISTANCE. */
float points_distance(const struct points *p, int64_t j, const float *x);

#endif
