/* lookups.h - what a LOOKUP is answered with: verdicts, and which hits are answers; no sockets
 *
 * One thread. Allocates for the descriptors that it keeps and when a new snapshot is larger than all before
 * it.
 */
#ifndef FREEZELINE_LOOKUPS_H
#define FREEZELINE_LOOKUPS_H

#include "pending.h"
#include "cache_service/store/snapshot.h"
#include "wire/message.h"

struct lookups;

struct lookups_counters {
    uint64_t batches, items, hits; /* hits: those that ended a request */
    uint64_t refused;              /* unknown exit, another dim or origin: answered as misses */
    uint64_t audits, audit_hits,
        audit_right; /* audits whose outcome is known; looked up above the threshold; and right */
    uint64_t busy_ns;
    struct lookup_tally built,
        learned; /* of the build in use: as it was built, and since it learned something */
};

int lookups_new(struct lookups **out, struct error *e);
void lookups_free(struct lookups *l); /* NULL is fine */

/* Uses s (taken) from now on; returns the one before (the caller's), or NULL. */
struct snapshot *lookups_swap(struct lookups *l, struct snapshot *s);
const struct snapshot *lookups_snapshot(const struct lookups *l); /* NULL = none yet */

/* Looks in->n descriptors (row-major [n][dim]) up and fills the verdict. `hit` is set where the request ends
 * here: not for audits, nor for requests without caches, nor after the deadline. Sampled and audited misses
 * are kept. FL_NOT_FOUND, FL_SHAPE and FL_STALE (the text says what) still give a verdict of misses. */
int lookups_answer(struct lookups *l, const struct lookup *in, const float *descriptors, uint64_t now_ns,
                   uint64_t broker_now_ns, struct verdict *out, struct error *e);
/* The answer that a hit is. */
void lookups_result(const struct lookup_item *item, const struct verdict *v, int i, uint64_t sent_ns,
                    struct result *out);

/* A request's end: each kept descriptor of it goes to fn (which takes it) when there was a full answer. */
void lookups_outcome(struct lookups *l, const struct outcome *o, void (*fn)(void *arg, struct update *u),
                     void *arg);
void lookups_expire(struct lookups *l, uint64_t now_ns);
struct lookups_counters lookups_counters(const struct lookups *l);
/* Counts one hit that could not be delivered and was turned into a miss. */
void lookups_undo_hit(struct lookups *l);

#endif
