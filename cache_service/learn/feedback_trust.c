/* feedback_trust.c - belief in labels is earned, and lost */
#include "feedback_trust.h"

#include <math.h>

#include "cache_service/promise/betting.h"

#define DELTA 0.01 /* of believing wrongly, or not */

void feedback_trust_see(struct feedback_trust *t, int32_t full, int32_t truth)
{
    struct gap_counts counts;
    t->n++;
    t->contradict += full != truth;
    counts = (struct gap_counts){.n = t->n, .lost = t->contradict};
    t->believed = betting_below(&counts, FEEDBACK_CONTRADICT) >= -log(DELTA);
    if (t->n >= FEEDBACK_WINDOW) {
        t->n /= 2;
        t->contradict /= 2;
    }
}

bool feedback_trusted(const struct feedback_trust *t)
{
    return t->believed;
}
