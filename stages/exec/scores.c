/* scores.c - the largest score, and how sure the network is of it */
#include "scores.h"

#include <math.h>
#include <stdbool.h>

static float largest_probability(const float *scores, int64_t n, int64_t best)
{
    double sum = 0, exps = 0;
    bool probabilities = true;
    for (int64_t i = 0; i < n; i++) {
        sum += scores[i];
        probabilities = probabilities && scores[i] >= 0 && scores[i] <= 1.0001f;
    }
    if (probabilities && fabs(sum - 1) < 1e-3)
        return scores[best];
    for (int64_t i = 0; i < n; i++)
        exps += exp((double)scores[i] - scores[best]);
    return (float)(1 / exps);
}

int32_t scores_label(const float *scores, int64_t n, float *confidence)
{
    int64_t best = 0;
    for (int64_t i = 0; i < n; i++) {
        if (isnan(scores[i]))
            return -1;
        best = scores[i] > scores[best] ? i : best;
    }
    if (isinf(scores[best]))
        return -1;
    if (confidence)
        *confidence = largest_probability(scores, n, best);
    return (int32_t)best;
}
