/* knn.h - what the nearest entries say: the k nearest neighbours, and centroids with class counts (arXiv
 * 2002.02645, sections 3 and 4). Pure. */
#ifndef FREEZELINE_KNN_H
#define FREEZELINE_KNN_H

#include "nearest.h"

#define KNN_MAX_K 1024

struct knn {
    struct points points;
    int32_t *label; /* [points.n] */
    int64_t oldest; /* from there on one is replaced when there is no room for another */
    int k;
};

/* S_i = m_i / k, C_i = S_i * sum over the neighbours j of class i of 1/d_j. `k` is what was asked for, so
 * fewer than k neighbours are less support. `scores` [2 * classes] gets C_i, and behind them m_i. Returns the
 * class with the largest C_i (ties: the lower). */
int32_t knn_confidence(const struct neighbour *near, int n, int k, const int32_t *label, int classes,
                       float *scores, float *confidence);

/* Which of n points leaves for one of class `label`, count[c] of them being of class c: one of the class that
 * has most (ties: of `label` where it is among them, else of the lowest), the first from `from` on, around
 * the end. So classes become balanced, and what stays of a class is a fair sample of its recent points. n >
 * 0. */
int64_t knn_leaves(const int32_t *points, int64_t n, const int64_t *count, int classes, int32_t label,
                   int64_t from);

struct kmeans {
    struct points points; /* the centroids */
    /* [points.n][classes]: training points (and updates) of each class that are nearest to it */
    uint32_t *count;
    int classes;
};

/* The class with most points at centroid j (ties: the lower) and its share of them; 0 points: share 0. */
int32_t kmeans_majority(const struct kmeans *m, int64_t j, float *fraction);

#endif
