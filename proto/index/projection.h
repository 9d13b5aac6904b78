/* projection.h - from a descriptor to the space in which caches measure distance or judge
 *
 * Dense (arXiv 2002.02645, section 3): h = relu(W z + b) with z = (x - mean) * scale, a standardised
 * descriptor. Of a map (map.h): h = relu(conv(relu(conv(z)))), with mean and scale per channel. Weights come
 * from training a classifier descriptor -> h -> softmax (net_train.h). Immutable and shared by all epochs of
 * a cache: reference counted, any number of threads may read.
 */
#ifndef FREEZELINE_PROJECTION_H
#define FREEZELINE_PROJECTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "int8.h"
#include "map.h"

#define PROJECTION_MAX_DIM   (1 << 24)
#define PROJECTION_MAX_NODES (1 << 16)

struct projection {
    atomic_int references;
    int dim, nodes;
    struct map map;      /* side 0: dense */
    float *mean, *scale; /* [features]; scale is 0 for a feature that never varied */
    float *bias;         /* dense: [nodes]; map: [2][width] */
    uint16_t *weights;   /* halves; dense: [nodes][dim]; map: [width][9][channels], then [width][9][width of a
                          group] */
    bool borrowed, weights_borrowed; /* the arrays, the weights are someone else's (cache_map) */
    /* Of a rounded map, instead of weights: of all groups together, and of each. */
    bool rounded;
    struct int8_rows first, second; /* width x 9 channels; groups of (their width x 9 times that) */
};

/* Without arrays: the caller fills them in. */
int projection_empty(struct projection **out, int dim, int nodes, const struct map *map);
int projection_new(struct projection **out, int dim, int nodes);
int projection_new_map(struct projection **out, const struct map *map);
struct projection *projection_retain(struct projection *p); /* returns p */
void projection_release(struct projection *p);              /* NULL is fine */
/* Weights of a map become bytes (int8.h), before the projection is shared: all that follows, thresholds too,
 * is to be computed with these. What is no map stays as it is, and so does one whose sums int32 would not
 * hold. FL_NOMEM: likewise. */
int projection_round(struct projection *p);
bool projection_may_round(const struct map *m);
/* Row r of the first or second convolution as floats, whatever it is stored as. */
void projection_row(const struct projection *p, bool second, int r, float *out);
size_t projection_bytes(const struct projection *p);
int projection_features(const struct projection *p); /* dense: dim; map: channels */
size_t projection_biases(const struct projection *p);
size_t projection_weights(const struct projection *p);
size_t projection_room(const struct projection *p); /* floats that projection_apply works in */

/* z = (x - mean) * scale for n rows; false for a row that is not finite (its z is all 0). */
bool projection_standardise(const struct projection *p, const float *x, float *z);
/* n rows z of p->dim floats -> n rows h of p->nodes. room: projection_room floats, may be NULL where that is
 * 0. */
void projection_apply(const struct projection *p, const float *z, int n, float *h, float *room);
/* Both for n raw rows: x -> h. Of a rounded map, whose bytes are made of x at once, z is left alone. */
void projection_embed(const struct projection *p, const float *x, int n, float *z, float *h, float *room,
                      bool *finite);
/* Many rows of a dense one: x (n rows, raw) -> h, by sgemm with `weights` = p->weights decoded to floats.
 * Rows that are not finite give NaN. z: room for n x dim. */
void projection_apply_many(const struct projection *p, const float *weights, const float *x, int n, float *z,
                           float *h);

#endif
