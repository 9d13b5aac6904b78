/* keeper.h - the thread that keeps the caches: files, Redis, learning
 *
 * Threads: keeper_new, keeper_start and keeper_free run in the service's thread; between start and free that
 * thread calls only the functions marked [look-up thread], none of which waits for I/O. Snapshots pass
 * through a mailbox of one: the keeper puts the newest in, the look-up thread takes it and hands the old one
 * back, so that megabytes are freed where nobody waits.
 *
 * With Redis: Redis is where history is made. Every service follows the head there as far as it is of the
 * build on its own disk (lineage.h); one of them, the holder of the lease, is the learner. Without Redis (no
 * redis.endpoint): the service learns alone. Either way the newest state is saved as
 * STATE/caches/live-INDEX.json at a bounded rate and when the service ends.
 */
#ifndef FREEZELINE_KEEPER_H
#define FREEZELINE_KEEPER_H

#include "cache_service/store/snapshot.h"
#include "cache_service/store/update.h"
#include "wire/message.h"

struct keeper;

struct keeper_counters {
    uint64_t accepted; /* updates that Redis acknowledged (without Redis: that were taken for learning) */
    uint64_t dropped;  /* updates lost because the spool was full */
    uint64_t applied;  /* updates in new epochs made by this process */
    uint64_t rejected; /* stream entries that can never be applied */
    uint64_t epochs;   /* new states taken into use */
    uint64_t epoch;    /* newest epoch of a cache in use */
    uint32_t queued;   /* updates not accepted yet */
    bool redis_up;
    bool learner;
    enum learning_state state;
    uint8_t redis_build[DIGEST_BYTES]; /* LEARNING_ASIDE: what Redis holds; zero: not known */
};

/* Loads what there is, from files and, when it answers in time, from Redis. Borrows p. `id` (at most 16
 * characters) is this process's own. FL_CONFIG; files or Redis that can't be used are logged and worked
 * without. */
int keeper_new(struct keeper **out, const struct pipeline *p, int index, const char *id, struct error *e);
int keeper_start(struct keeper *k, struct error *e);
/* Stops the thread (bounded: sends what is queued if Redis answers, gives the lease up, saves); frees. NULL
 * is fine. */
void keeper_free(struct keeper *k);

/* [look-up thread] The newest snapshot that was not taken yet (owned by the caller), or NULL. */
struct snapshot *keeper_take(struct keeper *k);
/* [look-up thread] Returns a reference got by keeper_take. */
void keeper_give_back(struct keeper *k, struct snapshot *s);
/* [look-up thread] Takes u. */
void keeper_push(struct keeper *k, struct update *u);
/* [look-up thread] Read the files of STATE/caches again. */
void keeper_reload(struct keeper *k);
/* [look-up thread] Another process keeps the files of this index now: save nothing from here on. */
void keeper_leave_files(struct keeper *k);
struct keeper_counters keeper_counters(struct keeper *k);

#endif
