/* keeper_parts.h - what keeper.c (thread), keeper_files.c (files), keeper_redis.c (rounds with Redis),
 * keeper_follow.c (its head) and keeper_updates.c (learning) share; included by them alone
 *
 * All but the atomics belongs to the keeper's thread while it runs.
 */
#ifndef FREEZELINE_KEEPER_PARTS_H
#define FREEZELINE_KEEPER_PARTS_H

#include <pthread.h>

#include "base/clock.h"
#include "cache_service/store/lease.h"
#include "cache_service/store/retry.h"
#include "cache_service/store/store.h"
#include "keeper.h"
#include "learner.h"
#include "spool.h"

#define KEEPER_OUTBOX   64
#define KEEPER_LEASE_MS 3000
#define KEEPER_LOOK_NS  NS_PER_S          /* how often the head is looked at, should hints be lost */
#define KEEPER_SLACK_NS (500 * NS_PER_MS) /* what is regular is done in this round if it is due so soon */

/* What can fail with Redis, each by itself, in the order in which they are done. */
enum keeper_step {
    STEP_CONNECT,
    STEP_LOOK,
    STEP_LISTEN,
    STEP_FOLLOW,
    STEP_LEASE,
    STEP_APPEND,
    STEP_LEARN,
    KEEPER_STEPS
};

struct keeper {
    const struct pipeline *p; /* borrowed */
    char id[17];
    int index;
    char dir[3072];  /* STATE/caches */
    char prefix[24]; /* "live-INDEX" */
    struct spool *spool;
    struct snapshot *current; /* NULL: no caches known */
    bool own;                 /* they are of the build on this host's disk */
    bool dirty;               /* newer than what is saved */
    uint64_t learn_ns, save_ns;
    struct update *outbox[KEEPER_OUTBOX]; /* taken from the spool, not acknowledged */
    int n_outbox;
    uint64_t sequence; /* of outbox[0] */

    struct redis_link *link, *ears; /* NULL: no Redis in this pipeline; ears: for hints */
    struct store *store;
    struct lease lease;
    struct head head;        /* as Redis had it at the last look */
    enum lineage_move place; /* of our state beside it */
    bool looked;             /* place and head are known */
    struct lineage_watch watch;
    char holder[STORE_WHO_BYTES]; /* who has the build that Redis holds, where that is not ours */
    char said_aside[HEAD_BYTES];  /* the build beside which we stand, when it was said last */
    char damaged[HEAD_BYTES];     /* the head whose caches could not be taken */
    uint64_t look_ns, append_ns, mend_ns;
    bool more; /* there may be updates in the stream */
    struct retry step[KEEPER_STEPS];
    bool complained;

    pthread_t thread;
    bool started;
    int wake; /* an eventfd */
    atomic_bool stop, reload, leave_files;
    _Atomic(struct snapshot *) fresh; /* to the look-up thread */
    _Atomic(struct snapshot *) used;  /* back from it */
    atomic_ullong accepted, applied, rejected, epochs, epoch;
    atomic_uchar redis_build[DIGEST_BYTES]; /* for people: may be torn while it changes */
    atomic_uint waiting, state;             /* waiting: updates in the outbox */
    atomic_bool redis_up, learner;
};

/* Takes s (one reference) into use. `own`: it is of the build on this host's disk. */
void keeper_adopt(struct keeper *k, struct snapshot *s, bool own);
void keeper_log_refused(const char *text);

/* The build on disk and what was learned from it: at the start, and again. */
void keeper_load_files(struct keeper *k);
void keeper_save(struct keeper *k, uint64_t now);

/* Updates per batch: what the YAML says, within bounds of memory. */
int keeper_batch_capacity(const struct keeper *k);
/* The next batch comes after the interval, and so late that learning keeps to its share of the time. */
void keeper_pace(struct keeper *k, uint64_t began);
void keeper_count_batch(struct keeper *k, const struct learner_tally *t, int damaged);

/* --- with Redis --- */

void keeper_redis_init(struct keeper *k);
/* One round with Redis: whatever is due. */
void keeper_step_redis(struct keeper *k);
/* When the next round is due, if nothing happens before; UINT64_MAX: never. */
uint64_t keeper_redis_next(const struct keeper *k);
/* From when on Redis may be given updates; UINT64_MAX: not as things are. */
uint64_t keeper_appends_from(const struct keeper *k);

/* Redis holds what is in use here. */
bool keeper_at_head(const struct keeper *k);
/* Caches of the build in use are missing here: damaged on the disk, or in Redis when they were taken from
 * there. */
bool keeper_lacks(const struct keeper *k);

/* The steps of a round; _due: from when on, UINT64_MAX = there is nothing to do. */
int keeper_look(struct keeper *k, struct error *e); /* says where we stand beside the head */
uint64_t keeper_look_due(const struct keeper *k);
int keeper_follow(struct keeper *k, struct error *e); /* loads or publishes */
uint64_t keeper_follow_due(const struct keeper *k);
int keeper_hold_lease(struct keeper *k, struct error *e);
uint64_t keeper_lease_due(const struct keeper *k);
int keeper_learn(struct keeper *k, struct error *e);
uint64_t keeper_learn_due(const struct keeper *k);
uint64_t keeper_append_due(const struct keeper *k);
/* Sends what waits, as far as Redis takes it. */
int keeper_append(struct keeper *k, struct error *e);
/* We put the state in use there, or took it from there. */
void keeper_come_to_head(struct keeper *k);
void keeper_outbox_remove(struct keeper *k, int n);

#endif
