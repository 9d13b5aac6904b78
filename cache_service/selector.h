/* selector.h - whether to trust a predictor's answer: a small model over the evidence (GATI, arXiv
 * 2101.07344)
 *
 * Logistic regression: harm = 1 / (1 + exp(-(w . f + b))), the probability that the answer is not the full
 * one, from features f of the scores: of this exit and, in a cascade, of the exits before it that saw the
 * same request. Fitted on points of its own.
 */
#ifndef FREEZELINE_SELECTOR_H
#define FREEZELINE_SELECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SELECTOR_MAX_CLASSES 64 /* with more classes there is no feature per class: too few points each */

/* Features per exit that was seen: margin of the two largest log shares, the largest log share, entropy, the
 * log share of the answer against the best other class, whether its own answer is the same. The last two say
 * what earlier exits think of this one's answer. Then one feature per class for the answer itself. */
#define SELECTOR_FEATURES_PER_EXIT 5

int selector_features(int n_exits, int classes);
/* scores[k]: [classes] of exit k, the last being the one that answers. */
void selector_describe(const float *const *scores, int n_exits, int classes, int32_t answer, float *features);

struct selector {
    int n;                              /* features */
    float *mean, *scale, *weight, bias; /* [n] each; features are standardised */
};
void selector_release(struct selector *s);
float selector_harm(const struct selector *s, const float *features);

/* Newton's method on the log-likelihood with a ridge on the weights, from rows x [m][n] and whether each was
 * harmful. Deterministic. FL_VALUE when m is 0, FL_NOMEM. */
int selector_fit(struct selector *out, const float *x, const uint8_t *harmful, int64_t m, int n, double ridge,
                 struct error *e);

#endif
