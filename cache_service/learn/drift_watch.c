/* drift_watch.c - see drift_watch.h */
#include "drift_watch.h"

#include <math.h>
#include <stdio.h>

#include "cache_service/promise/drift_signal.h"

#define WINDOW 100 /* audits */

void drift_watch_forget(struct drift_watch *w)
{
    drift_signal_free(w->signal);
    *w = (struct drift_watch){0};
}

static void describe(const struct drift_watch *w, const struct manifest *m, char *why, size_t size)
{
    struct drift_cause c = drift_signal_cause(w->signal);
    const char *who = c.exit < m->n_exits ? m->exit[c.exit].name : "the network";
    if (c.confidence)
        snprintf(why, size, "%s is otherwise sure of itself than it was", who);
    else
        snprintf(why, size, "%s would answer %.1f%% of the audits, and %.1f%% before", who, 100 * c.now,
                 100 * c.before);
}

bool drift_watch_see(struct drift_watch *w, const struct snapshot *base, const int32_t *label,
                     const float *confidence, char *why, size_t size)
{
    float said[PIPELINE_MAX_EXITS];
    int n = base->manifest.n_exits, exit = n;
    bool was = w->up;
    if (!w->signal && drift_signal_new(&w->signal, n, WINDOW))
        return false;
    for (int i = n - 1; i >= 0; i--) {
        const struct cache *c = base->cache[i];
        said[i] = c && label[i] >= 0 ? confidence[i] : NAN;
        if (said[i] > (c ? cache_info(c).threshold : INFINITY))
            exit = i;
    }
    drift_signal_see(w->signal, exit, said);
    w->up = drift_signal_up(w->signal);
    if (w->up && !was)
        describe(w, &base->manifest, why, size);
    return w->up && !was;
}
