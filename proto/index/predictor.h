/* predictor.h - the second half of a learned cache: from the relu layer to scores, label and confidence
 * (GATI, arXiv 2101.07344)
 *
 * scores = W h + b. The label is the class with the largest score; its confidence the log odds of that class,
 * log p / (1 - p) with p its softmax share: monotone in p, but it does not run out of digits near 1 as p
 * does.
 */
#ifndef FREEZELINE_PREDICTOR_H
#define FREEZELINE_PREDICTOR_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct predictor {
    int nodes, classes;
    float *weights, *bias; /* [classes][nodes], [classes] */
};

int predictor_new(struct predictor *p, int nodes, int classes);
void predictor_release(struct predictor *p);
size_t predictor_bytes(const struct predictor *p);
void predictor_scores(const struct predictor *p, const float *h, float *scores);
/* The class with the largest score (ties: the lower) and its log odds; one class alone: infinity's stand-in
 * FLT_MAX. */
int32_t predictor_label(const float *scores, int classes, float *log_odds);

#endif
