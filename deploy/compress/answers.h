/* answers.h - how far a network's answers are from those of the original */
#ifndef FREEZELINE_ANSWERS_H
#define FREEZELINE_ANSWERS_H

#include "stages/graph/graph.h"

struct answers {
    int64_t count, numbers; /* records; numbers of each answer */
    bool classes;           /* scores of classes: one row for a record */
    bool shares;            /* that already are probabilities */
    float *truth;           /* [count][numbers]: probabilities, or what the network gives */
    double scale;           /* of what is no class: the mean square */
};

/* What the original gives for `count` records, copied. FL_NOMEM, FL_VALUE where a number is none. */
int answers_new(struct answers *a, const struct graph *g, const float *given, int64_t count);
void answers_release(struct answers *a);
/* Scores: the mean divergence (Kullback and Leibler) from the original's probabilities; otherwise the mean
 * squared error, relative to the mean square. Infinite where a number is none. */
double answers_loss(const struct answers *a, const float *given);

#endif
