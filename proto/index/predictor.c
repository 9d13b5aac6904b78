/* predictor.c - from the relu layer to scores, label and confidence */
#include "predictor.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"

int predictor_new(struct predictor *p, int nodes, int classes)
{
    p->nodes = nodes;
    p->classes = classes;
    p->weights = calloc((size_t)nodes * (size_t)classes, sizeof *p->weights);
    p->bias = calloc((size_t)classes, sizeof *p->bias);
    return p->weights != NULL && p->bias != NULL ? FL_OK : FL_NOMEM;
}

void predictor_release(struct predictor *p)
{
    free(p->weights);
    free(p->bias);
    memset(p, 0, sizeof *p);
}

size_t predictor_bytes(const struct predictor *p)
{
    return ((size_t)p->nodes + 1) * (size_t)p->classes * sizeof(float);
}

void predictor_scores(const struct predictor *p, const float *h, float *scores)
{
    for (int c = 0; c < p->classes; c++)
        scores[c] = p->bias[c] + floats_dot(p->weights + (size_t)c * (size_t)p->nodes, h, p->nodes);
}

int32_t predictor_label(const float *scores, int classes, bool against_all, float *log_odds)
{
    int32_t best = 0;
    float others = 0, second = -INFINITY;
    for (int c = 1; c < classes; c++)
        best = scores[c] > scores[best] ? c : best;
    for (int c = 0; c < classes; c++)
        second = c != best && scores[c] > second ? scores[c] : second;
    for (int c = 0; against_all && c < classes; c++)
        others += c != best ? expf(scores[c] - second) : 0;
    *log_odds = classes == 1 ? FLT_MAX : scores[best] - second - (against_all ? logf(others) : 0);
    return best;
}
