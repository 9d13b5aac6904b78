/* plausibility.h - whether pictures, labels and network can belong together, seen by how often the network is
 * right
 *
 * Two mistakes leave a network no better than guessing: pixels in other units than it was trained on, and
 * labels of another model or in another order. The first is the commoner one.
 */
#ifndef FREEZELINE_PLAUSIBILITY_H
#define FREEZELINE_PLAUSIBILITY_H

#include <stdio.h>

#include "deploy/data/dataset.h"

/* Counts; begin with zeros. */
struct plausibility {
    int64_t n, right, seen[PIPELINE_MAX_LABELS]; /* seen: records with that label */
};

/* One record, with its label (negative: it has none, and does not count) and the network's answer. */
void plausibility_add(struct plausibility *a, int32_t label, int32_t full);

/* Shares of the records: the network is right; the label that is there most often. NAN
 * where there are none. */
double plausibility_right(const struct plausibility *a);
double plausibility_commonest(const struct plausibility *a);

/* Less than a tenth of what knowing the pictures could bring over always saying the commonest label. */
bool plausibility_is_low(const struct plausibility *a);

/* Says on `to`, where it is low, what to look at: normalisation first, with the values to write. */
void plausibility_warn(const struct plausibility *a, const struct pipeline *p, const struct dataset *d,
                       FILE *to);

#endif
