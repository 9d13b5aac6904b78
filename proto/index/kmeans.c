/* kmeans.c - centroids with class counts */
#include "kmeans.h"

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
