/* kmeans.h - centroids with class counts, and their confidence (arXiv 2002.02645, section 4) */
#ifndef FREEZELINE_KMEANS_H
#define FREEZELINE_KMEANS_H

#include "points.h"

struct kmeans {
    struct points points; /* the centroids */
    /* [points.n][classes]: training points (and updates) of each class that are nearest to it */
    uint32_t *count;
    int classes;
};

/* The class with most points at centroid j (ties: the lower) and its share of them; 0 points: share 0. */
int32_t kmeans_majority(const struct kmeans *m, int64_t j, float *fraction);

#endif
