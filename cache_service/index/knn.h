/* knn.h - exact k nearest neighbours and their confidence (arXiv 2002.02645, section 3) */
#ifndef FREEZELINE_KNN_H
#define FREEZELINE_KNN_H

#include "points.h"

#define KNN_MAX_K 1024

struct knn {
    struct points points;
    int32_t *label; /* [points.n] */
    int64_t oldest; /* the next to be replaced when there is no room for another */
    int k;
};

struct neighbour {
    float distance;
    int64_t index;
};

/* The nearest k of n points (all of them when there are fewer), nearest first; equal distances: lower index
 * first. `d2` are their squared distances as points_distances2 gives them. Returns how many. */
int knn_nearest(const struct points *p, const float *x, const float *d2, int k, struct neighbour *out);

/* S_i = m_i / k, C_i = S_i * sum over the neighbours j of class i of 1/d_j. `k` is what was asked for, so
 * fewer than k neighbours are less support. `scores` [classes] gets C_i. Returns the class with the largest
 * C_i (ties: the lower). */
int32_t knn_confidence(const struct neighbour *near, int n, int k, const int32_t *label, int classes,
                       float *scores, float *confidence);

#endif
