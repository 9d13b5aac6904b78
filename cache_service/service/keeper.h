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
