/* lookups.h - what a LOOKUP is answered with: verdicts, and which hits are answers; pure
 *
 * What a snapshot says of descriptors is asked of a function. One thread. Allocates for the descriptors that
 * it keeps.
 */
#ifndef FREEZELINE_LOOKUPS_H
#define FREEZELINE_LOOKUPS_H

#include "cache_service/store/snapshot.h"
#include "pending.h"
#include "streams.h"
#include "wire/message.h"

struct lookups;

/* in->n descriptors of in->dim floats -> in->n verdicts, from the cache s->cache[in->exit], which is there
 * and is as wide. Not FL_OK: all are misses. */
typedef int (*lookups_look)(void *arg, const struct snapshot *s, const struct lookup *in,
                            const float *descriptors, struct cache_verdict *found);

struct lookups_counters {
    uint64_t batches, items, hits; /* hits: those that ended a request */
    uint64_t refused;              /* unknown exit, another dim or origin: answered as misses */
    uint64_t audits, audit_hits,
        audit_right;         /* audits whose outcome is known; that an exit would have answered; and right */
    uint64_t truths_refused; /* labels told after the fact that are none */
    struct lookup_tally built,
        learned; /* of the build in use: as it was built, and since it learned something */
};

/* `limits` of what waits for an outcome; zero: the ordinary ones. `promised`: caches under a promise learn
 * too. FL_NOMEM. */
int lookups_new(struct lookups **out, const struct pending_limits *limits, bool promised, lookups_look look,
                void *arg);
void lookups_free(struct lookups *l); /* NULL is fine */
/* Before the first snapshot: tries the last answers of streams too (streams.h). FL_NOMEM. */
int lookups_follow_streams(struct lookups *l);
/* NULL where it does not. */
const struct streams *lookups_streams(const struct lookups *l);

/* Uses s (taken) from now on; returns the one before (the caller's), or NULL. */
struct snapshot *lookups_swap(struct lookups *l, struct snapshot *s);
const struct snapshot *lookups_snapshot(const struct lookups *l); /* NULL = none yet */

/* Bit per exit whose descriptors are kept of sampled and audited requests: all of them under a promise, where
 * such caches learn; else those with a cache. */
uint32_t lookups_learns(const struct lookups *l);

/* Looks in->n descriptors (row-major [n][dim]; NULL: none are known, so none are kept) up and fills the
 * verdict, all but its lookup_ns. `hit` is set where the request ends here (verdicts.h; never where a stage
 * worker was told by its near cache). Sampled and audited misses are kept. FL_NOT_FOUND, FL_SHAPE and
 * FL_STALE (the text says what) still give a verdict of misses. */
int lookups_answer(struct lookups *l, const struct lookup *in, const float *descriptors, uint64_t now_ns,
                   uint64_t broker_now_ns, struct verdict *out, struct error *e);

/* A request's end: what was kept of it goes to fn, which takes it, when there was a full answer. */
void lookups_outcome(struct lookups *l, const struct outcome *o, void (*fn)(void *arg, struct update *u),
                     void *arg);
/* Each label of a class that the network has becomes an update without exits, handed to fn, which takes it.
 */
void lookups_feedback(struct lookups *l, const struct feedback *f, void (*fn)(void *arg, struct update *u),
                      void *arg);
void lookups_expire(struct lookups *l, uint64_t now_ns);
int lookups_pending(const struct lookups *l); /* descriptors that are kept */
struct lookups_counters lookups_counters(const struct lookups *l);
/* Counts one hit that could not be delivered and was turned into a miss. */
void lookups_undo_hit(struct lookups *l);

#endif
