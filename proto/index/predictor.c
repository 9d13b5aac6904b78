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
    if (!p->borrowed) {
        free(p->weights);
        free(p->bias);
    }
    int8_release(&p->bytes);
    memset(p, 0, sizeof *p);
}

void predictor_row(const struct predictor *p, int class, float *out)
{
    if (p->rounded)
        int8_get(&p->bytes, class, out);
    else
        memcpy(out, p->weights + (size_t) class * (size_t)p->nodes, (size_t)p->nodes * sizeof *out);
}

int predictor_round(struct predictor *p)
{
    if (p->rounded || p->nodes > INT8_MAX_COLS)
        return FL_OK;
    if (int8_new(&p->bytes, 1, p->classes, p->nodes) != FL_OK)
        return FL_NOMEM;
    for (int c = 0; c < p->classes; c++)
        int8_set(&p->bytes, c, p->weights + (size_t)c * (size_t)p->nodes);
    free(p->weights);
    p->weights = NULL;
    p->rounded = true;
    return FL_OK;
}

int predictor_copy(struct predictor *to, const struct predictor *from)
{
    int rc = predictor_new(to, from->nodes, from->classes);
    if (rc != FL_OK)
        return rc;
    to->against_all = from->against_all;
    memcpy(to->bias, from->bias, (size_t)from->classes * sizeof *to->bias);
    if (!from->rounded) {
        memcpy(to->weights, from->weights, (size_t)from->classes * (size_t)from->nodes * sizeof *to->weights);
        return FL_OK;
    }
    free(to->weights);
    to->weights = NULL;
    rc = int8_copy(&to->bytes, &from->bytes);
    to->rounded = rc == FL_OK;
    return rc;
}

size_t predictor_bytes(const struct predictor *p)
{
    size_t weights =
        p->rounded ? int8_all_bytes(&p->bytes) : (size_t)p->nodes * (size_t)p->classes * sizeof(float);
    return weights + (size_t)p->classes * sizeof(float);
}

size_t predictor_room(const struct predictor *p)
{
    return p->rounded ? (size_t)int8_stride(p->nodes) + (size_t)int8_padded(p->classes) * sizeof(int32_t) : 0;
}

static void scores_of_bytes(const struct predictor *p, const float *h, float *scores, void *room)
{
    uint8_t *q = room;
    size_t stride = (size_t)int8_stride(p->nodes);
    int32_t *sums = (int32_t *)(void *)(q + stride);
    float scale = int8_round_positive(h, p->nodes, q);
    memset(q + p->nodes, 0, stride - (size_t)p->nodes);
    int8_product(&p->bytes, q, 1, sums);
    int8_floats(&p->bytes, 0, p->classes, sums, scale, false, p->bias, scores);
}

void predictor_scores(const struct predictor *p, const float *h, float *scores, void *room)
{
    if (p->rounded) {
        scores_of_bytes(p, h, scores, room);
        return;
    }
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
