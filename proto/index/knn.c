/* knn.c - see knn.h */
#include "knn.h"

#include <string.h>

int32_t knn_confidence(const struct neighbour *near, int n, int k, const int32_t *label, int classes,
                       float *scores, float *confidence)
{
    float *support = scores + classes;
    int32_t best = 0;
    memset(scores, 0, 2 * (size_t)classes * sizeof *scores);
    for (int j = 0; j < n; j++) {
        scores[label[near[j].index]] += 1 / near[j].distance;
        support[label[near[j].index]] += 1;
    }
    for (int32_t c = 0; c < classes; c++) {
        scores[c] *= support[c] / (float)k;
        if (scores[c] > scores[best])
            best = c;
    }
    *confidence = scores[best];
    return best;
}

int64_t knn_leaves(const int32_t *points, int64_t n, const int64_t *count, int classes, int32_t label,
                   int64_t from)
{
    int32_t crowded = label;
    int64_t at = from % n;
    for (int32_t c = 0; c < classes; c++) {
        if (count[c] > count[crowded])
            crowded = c;
    }
    while (points[at] != crowded)
        at = (at + 1) % n;
    return at;
}

int32_t kmeans_majority(const struct kmeans *m, int64_t j, float *fraction)
{
    const uint32_t *count = m->count + j * m->classes;
    uint64_t total = 0;
    int32_t best = 0;
    for (int c = 0; c < m->classes; c++) {
        total += count[c];
        if (count[c] > count[best])
            best = c;
    }
    *fraction = total > 0 ? (float)count[best] / (float)total : 0;
    return best;
}
