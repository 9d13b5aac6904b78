/* keeper_parts.h - what keeper.c (files, thread) and keeper_redis.c (following, learning) share; included by
 * them alone
 *
 * All but the atomics belongs to the keeper's thread while it runs.
 */
#ifndef FREEZELINE_KEEPER_PARTS_H
#define FREEZELINE_KEEPER_PARTS_H

#include <pthread.h>

#include "keeper.h"
#include "learner.h"
#include "cache_service/store/lease.h"
#include "spool.h"
#include "cache_service/store/store.h"

#define KEEPER_OUTBOX   64
#define KEEPER_LEASE_MS 3000

struct keeper {
    const struct pipeline *p; /* borrowed */
    char id[17];
    char dir[3072];  /* STATE/caches */
    char prefix[24]; /* "live-INDEX" */
    struct spool *spool;
    struct redis_link *link; /* NULL: no Redis in this pipeline */
    struct store *store;
    struct lease lease;
    struct snapshot *current; /* NULL: no caches known */
    bool dirty;               /* newer than what is saved */
    bool foreign;             /* Redis holds newer caches of another identity */
    uint64_t follow_ns, learn_ns, save_ns;
    struct update *outbox[KEEPER_OUTBOX]; /* taken from the spool, not acknowledged */
    int n_outbox;
    uint64_t sequence; /* of outbox[0] */
    char trouble[128]; /* with Redis; what was logged last */

    pthread_t thread;
    bool started;
    atomic_bool stop, reload, leave_files;
    _Atomic(struct snapshot *) fresh; /* to the look-up thread */
    _Atomic(struct snapshot *) used;  /* back from it */
    atomic_ullong accepted, applied, rejected, epochs, epoch;
    atomic_uint n_waiting;
    atomic_bool redis_up, learner;
};

/* Takes s (one reference) into use. */
void keeper_adopt(struct keeper *k, struct snapshot *s);
void keeper_log_refused(const char *text);

/* Updates per batch: what the YAML says, within bounds of memory. */
int keeper_batch_capacity(const struct keeper *k);
/* The next batch comes after the interval, and so late that learning keeps to its share of the time. */
void keeper_pace(struct keeper *k, uint64_t began);
void keeper_count_batch(struct keeper *k, const struct learner_tally *t, int damaged);

/* One round with Redis: connect, lease, follow, append, learn. FL_AGAIN: too early to connect again. */
int keeper_step_redis(struct keeper *k, struct error *e);
void keeper_redis_failed(struct keeper *k, const struct error *e);
/* Sends what waits, as far as Redis takes it. */
int keeper_append(struct keeper *k, struct error *e);
void keeper_outbox_remove(struct keeper *k, int n);

#endif
