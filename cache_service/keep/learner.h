/* learner.h - what a batch of updates makes of a snapshot, and when the next batch is due; pure */
#ifndef FREEZELINE_LEARNER_H
#define FREEZELINE_LEARNER_H

#include "cache_service/store/store.h"

struct learner_tally {
    int applied;  /* updates that changed a cache or more */
    int rejected; /* other identity, no exit with a cache, wrong dim, label out of range, caches under a
                     promise: they can never be applied */
    int exits;    /* caches that changed */
};

/* A new snapshot, one generation on, with updates[0..n) applied (NULL entries are skipped) within each exit's
 * budget. `applied` is set to the last update's stream id by the caller. A cache that can't take its updates
 * stays as it is. */
int learner_apply(struct snapshot **out, const struct snapshot *old, struct update *const *updates, int n,
                  struct learner_tally *tally, struct error *e);

/* Updates per batch: `wanted`, within bounds of memory. */
int learner_capacity(const struct snapshot *s, int wanted);

/* A batch on its way into the caches. */
struct lesson {
    struct store_batch batch;
    int damaged; /* entries of it that are no records */
    struct learner_tally tally;
    struct snapshot *next; /* made of it, not committed yet */
    uint64_t began_ns;
    uint64_t due_ns; /* the next batch: not before then */
};

/* Takes the batch. What is in `s` already (by stream id; alone, without ids, nothing is) is passed over. */
void lesson_begin(struct lesson *l, struct store_batch *batch, const struct snapshot *s);
/* Takes `next`, which was made of the batch and s. */
void lesson_made(struct lesson *l, struct snapshot *next, const struct learner_tally *tally,
                 const struct snapshot *s);
/* Frees the batch, and `next` where it was not taken away. The next batch comes after the interval, and so
 * late that learning keeps to its share of the time. */
void lesson_end(struct lesson *l, uint64_t interval_ns, uint64_t now_ns);

#endif
