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
 * STATE/caches/live-INDEX.json at a bounded rate and when the service ends. What is done when is decided by
 * keeper_brain.h; this does it.
 */
#ifndef FREEZELINE_KEEPER_H
#define FREEZELINE_KEEPER_H

#include "keeper_brain.h"

struct keeper;
struct keeper_turn;

/* What a learner's process does with updates, all in the keeper's thread. `current`: the caches in use. */
struct keeper_student {
    void *arg;
    /* Takes a batch to its own disk; then it is acknowledged. */
    int (*study)(void *arg, const struct snapshot *current, const struct store_batch *batch, struct error *e);
    /* One thing that it wants of Redis. */
    int (*errand)(void *arg, const struct snapshot *current, struct store *store, struct error *e);
    /* After each task and each wake. */
    void (*turn)(void *arg, struct keeper_turn *t);
};

struct keeper_turn {
    const struct snapshot *current; /* NULL: none; lives until the next turn */
    uint64_t fence, now;            /* fence 0: not the learner */
    bool offers;                    /* what was offered last is neither committed nor refused yet */
    /* What the student wants: */
    struct snapshot *offer; /* an epoch made of `current`, to be committed (taken) */
    bool errand;
    uint64_t due_ns; /* another turn then, at the latest; UINT64_MAX */
};

/* Loads what there is, from files and, when it answers in time, from Redis. Borrows p. `id` (at most 16
 * characters) is this process's own. FL_CONFIG; files or Redis that can't be used are logged and worked
 * without. */
int keeper_new(struct keeper **out, const struct pipeline *p, int index, const char *id, struct error *e);
/* The same of a learner's process: nothing is read or saved, no look-ups are answered. Borrows *s. */
int keeper_new_student(struct keeper **out, const struct pipeline *p, int index, const char *id,
                       const struct keeper_student *s, struct error *e);
/* [any thread] The student has something to do. */
void keeper_wake(struct keeper *k);
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
