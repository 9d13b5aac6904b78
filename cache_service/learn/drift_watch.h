/* drift_watch.h - what the caches that serve say of audits, whatever is true: a change is a reason to look
 * closer
 */
#ifndef FREEZELINE_DRIFT_WATCH_H
#define FREEZELINE_DRIFT_WATCH_H

#include "cache_service/store/snapshot.h"

struct drift_signal;

/* All zero: nothing was seen yet. */
struct drift_watch {
    struct drift_signal *signal;
    bool up;
};

/* Other thresholds give other shares: what was seen is forgotten. */
void drift_watch_forget(struct drift_watch *w);

/* What each exit of `base` said of an audit: label (below 0: nothing) and confidence. True when a change
 * comes to light with it; `why` says which. */
bool drift_watch_see(struct drift_watch *w, const struct snapshot *base, const int32_t *label,
                     const float *confidence, char *why, size_t size);

#endif
