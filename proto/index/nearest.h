/* nearest.h - the k nearest points to each of a batch, exactly
 *
 * Points go by in blocks, each from memory once for the whole batch: one product, squared distances as |x|^2
 * - 2 x.y + |y|^2, and of these only what is not farther than the k-th so far is looked at one by one. The k
 * that stay are measured again (points_distance), as the subtraction cancels where points are near. Allocates
 * nothing.
 */
#ifndef FREEZELINE_NEAREST_H
#define FREEZELINE_NEAREST_H

#include "points.h"

struct neighbour {
    float distance;
    int64_t index;
};

struct nearest_row;

/* What a search works in; all 0 at first. One per thread. */
struct nearest_room {
    size_t rows, pool; /* grown to these: rows, candidates of each */
    float *dot;
    struct nearest_row *row;
    uint64_t *key;
};

int nearest_fit(struct nearest_room *r, int m, int k); /* grows for m rows, k each; FL_NOMEM */
void nearest_release(struct nearest_room *r);

/* For m rows x of p->nodes floats, none NaN: out[i * k ..] gets the k nearest to row i (all points when there
 * are fewer), nearest first; equal distances: lower index first. Returns how many each row gets. `r` fits m
 * and k. */
int nearest_search(const struct points *p, const float *x, int m, int k, struct nearest_room *r,
                   struct neighbour *out);

#endif
