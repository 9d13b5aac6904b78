/* threshold.c - from what confidence on an answer is given */
#include "threshold.h"

#include <math.h>

float threshold_max_wrong(const struct cache_verdict *v, const int32_t *truth, int64_t n)
{
    float threshold = 0;
    int64_t judged = 0;
    for (int64_t i = 0; i < n; i++) {
        if (v[i].label < 0 || truth[i] < 0)
            continue;
        judged++;
        if (v[i].label != truth[i] && v[i].confidence > threshold)
            threshold = v[i].confidence;
    }
    return judged > 0 ? threshold : INFINITY;
}
