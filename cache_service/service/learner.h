/* learner.h - what a batch of updates makes of a snapshot; pure */
#ifndef FREEZELINE_LEARNER_H
#define FREEZELINE_LEARNER_H

#include "cache_service/store/snapshot.h"
#include "cache_service/store/update.h"

struct learner_tally {
    int applied;
    int rejected; /* other identity, unknown exit, wrong dim, label out of range, caches under a promise: they
                     can never be applied */
    int exits;    /* caches that changed */
};

/* A new snapshot, one generation on, with updates[0..n) applied (NULL entries are skipped) within each exit's
 * budget. `applied` is set to the last update's stream id by the caller. A cache that can't take its updates
 * stays as it is. */
int learner_apply(struct snapshot **out, const struct snapshot *old, struct update *const *updates, int n,
                  struct learner_tally *tally, struct error *e);

#endif
