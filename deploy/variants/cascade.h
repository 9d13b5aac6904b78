/* cascade.h - a small variant first, the best one for what it is unsure of: certified as exits are
 *
 * To the promise a small variant is an exit in front of the whole best one: what it says is its verdict, the
 * largest probability its confidence, its time the time of the look-up. So thresholds are chosen and
 * certified by promise.h, on the same split of the records, for a loss against what the best variant serves.
 */
#ifndef FREEZELINE_CASCADE_H
#define FREEZELINE_CASCADE_H

#include "cache_service/promise/promise.h"
#include "measure.h"

struct cascade {
    char why_not[ERROR_TEXT_BYTES]; /* "": it is certified */
    int n, of[CHOICE_MAX];          /* variants before the best one, in the order in which they are asked */
    double sure[CHOICE_MAX];        /* of each variant; infinity: it is not asked, or never enough */
    struct promise_terms terms;
    struct promise_choice choice; /* by place in the order */
    double ms, best_ms;           /* mean of a request; of the best variant alone, with its exits */
    double bytes;                 /* of all in it */
};

/* FL_NOMEM. Where no cascade can be promised or none pays, why_not says so. */
int cascade_make(struct cascade *out, const struct measurements *m, struct error *e);

#endif
