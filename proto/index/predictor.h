/* predictor.h - the second half of a learned cache: from the relu layer to scores, label and confidence
 * (GATI, arXiv 2101.07344)
 *
 * scores = W h + b. The label is the class with the largest score; its confidence the log odds of that class
 * against the runner-up, log p1 / p2 with p the softmax shares: the difference of the two largest scores.
 * With many classes it tells better than the odds against all others which answers the network would change:
 * what is spread thinly over ninety classes is no rival.
 */
#ifndef FREEZELINE_PREDICTOR_H
#define FREEZELINE_PREDICTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "int8.h"

struct predictor {
    int nodes, classes;
    float *weights, *bias; /* [classes][nodes], [classes] */
    bool rounded;          /* `bytes` stands for the weights, which are NULL */
    bool borrowed;         /* the arrays are someone else's (cache_map) */
    struct int8_rows bytes;
    bool against_all; /* confidence is log p1 / (1 - p1), as the threshold of an older pack means it */
};

int predictor_new(struct predictor *p, int nodes, int classes);
void predictor_release(struct predictor *p);
/* Weights become bytes (int8.h). Of more than INT8_MAX_COLS nodes they stay as they are. FL_NOMEM: likewise.
 */
int predictor_round(struct predictor *p);
int predictor_copy(struct predictor *to, const struct predictor *from); /* FL_NOMEM: release it */
void predictor_row(const struct predictor *p, int class,
                   float *out); /* its weights, whatever they are stored as */
size_t predictor_bytes(const struct predictor *p);
size_t
predictor_room(const struct predictor *p); /* bytes that predictor_scores works in, at a multiple of 4 */
/* h: [nodes], none negative; scores: [classes]; room may be NULL where it is 0. */
void predictor_scores(const struct predictor *p, const float *h, float *scores, void *room);
/* The class with the largest score (ties: the lower) and its log odds against the runner-up, or against all
 * others; one class alone: infinity's stand-in FLT_MAX. */
int32_t predictor_label(const float *scores, int classes, bool against_all, float *log_odds);

#endif
