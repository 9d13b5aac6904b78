/* epoch.h - what a decision of the learner makes of the caches that serve; pure */
#ifndef FREEZELINE_EPOCH_H
#define FREEZELINE_EPOCH_H

#include "cache_service/store/history.h"
#include "cache_service/store/snapshot.h"
#include "learner_brain.h"

/* The next state after `now`: the same caches, and the largest number of a candidate that was ever used.
 * FL_NOMEM.
 */
int epoch_number(struct snapshot **out, const struct snapshot *now, uint64_t number);

/* The epoch `serial`: caches of a candidate (by exit) with the thresholds of d (LEARNER_SERVE), sealed. Those
 * of `now` stay where `same`, they are this candidate's, and the threshold is what it was. FL_NOMEM. */
int epoch_serve(struct snapshot **out, const struct snapshot *now, struct cache *const *caches, bool same,
                const struct learner_decision *d, uint64_t number, uint64_t serial);

/* What the history says of it. `s`: what serves then; what the decision certified is in it. */
void epoch_event(struct history_event *out, const struct snapshot *s, const struct learner_decision *d,
                 enum history_kind kind);

#endif
