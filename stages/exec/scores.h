/* scores.h - what a row of class scores says */
#ifndef FREEZELINE_SCORES_H
#define FREEZELINE_SCORES_H

#include <stdint.h>

/* The largest of n scores; -1 when one is not a number, or that one is infinite. *confidence (may be NULL)
 * becomes the largest probability: of the scores when they are probabilities, of their softmax otherwise. */
int32_t scores_label(const float *scores, int64_t n, float *confidence);

#endif
