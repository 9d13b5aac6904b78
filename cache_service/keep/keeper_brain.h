/* keeper_brain.h - the keeper's brain: which state of the caches counts, when to learn, what Redis is asked
 *
 * The brain says what is to be done next (a task: wait, read files, save, learn, one question to Redis); its
 * body does that and tells how it ended. So what talks to files and Redis decides nothing, and a simulated
 * Redis can stand where the real one does (store.h says what each question means).
 *
 * Invariants:
 * - An update leaves the outbox when Redis has acknowledged it, and is sent with the same number until then.
 * - What was learned comes into use when its commit was acknowledged, or when it was read from Redis.
 * - A failure puts off its own step alone (trouble.h); only a lost connection ends a round.
 * - Who learns holds the lease: a cache service, or under a promise a learner's process (`student`).
 * - Nothing but the connection, the head and the lease is asked for regularly while nothing happens.
 *
 * Pure, one thread; updates come through a spool, which another thread may fill.
 */
#ifndef FREEZELINE_KEEPER_BRAIN_H
#define FREEZELINE_KEEPER_BRAIN_H

#include "keeper_task.h"
#include "spool.h"
#include "wire/message.h"

struct keeper_brain;

struct keeper_setup {
    const struct pipeline *pipeline; /* borrowed; redis.endpoint NULL: this service learns alone */
    char who[STORE_WHO_BYTES];       /* who this process is, for people */
    char id[STORE_PRODUCER_BYTES];   /* and for Redis */
    struct spool *spool;             /* borrowed */
    bool student; /* a learner's process: has no caches of its own on disk, teaches those under a promise */
};

/* FL_NOMEM. */
int keeper_brain_new(struct keeper_brain **out, const struct keeper_setup *setup, struct error *e);
void keeper_brain_free(struct keeper_brain *b); /* NULL is fine */

/* What to do next: the same until it is done, but for a KEEPER_WAIT, after which it is asked again. The first
 * is to read the files. */
struct keeper_task *keeper_brain_next(struct keeper_brain *b, uint64_t now);
/* The task that was given last has ended as its fields say. */
void keeper_brain_done(struct keeper_brain *b, uint64_t now);

/* --- what happens meanwhile, between tasks or while one is done --- */

/* A hint came; the connection for hints is lost. */
void keeper_brain_hint(struct keeper_brain *b, const char *text, size_t size, uint64_t now);
void keeper_brain_deaf(struct keeper_brain *b);
/* Read the files again. */
void keeper_brain_reload(struct keeper_brain *b);
/* Another process keeps the files of this index now: save nothing from here on. */
void keeper_brain_leave_files(struct keeper_brain *b);
/* The student's: an epoch, made of what is in use (taken; NULL: none any more), to be committed while this is
 * the learner; something that it wants of Redis then. */
void keeper_brain_offer(struct keeper_brain *b, struct snapshot *s);
void keeper_brain_errand(struct keeper_brain *b);
/* An offer was neither committed nor refused yet. */
bool keeper_brain_offers(const struct keeper_brain *b);
/* The fence of this learner; 0: it is none. */
uint64_t keeper_brain_fence(const struct keeper_brain *b, uint64_t now);
/* Send what waits for a second at most, put the rest on the disk, give the lease up, save, end. */
void keeper_brain_stop(struct keeper_brain *b, uint64_t now);

/* The newest snapshot that was not taken yet (one reference, the caller's), or NULL. Ask after each task. */
struct snapshot *keeper_brain_take(struct keeper_brain *b);
const struct snapshot *keeper_brain_current(const struct keeper_brain *b);

struct keeper_counters {
    uint64_t accepted; /* updates that Redis acknowledged (without Redis: that were taken for learning) */
    uint64_t dropped;  /* updates lost for want of room; here without those in the spool */
    uint64_t applied;  /* updates in new epochs made by this process */
    uint64_t rejected; /* stream entries that can never be applied */
    uint64_t epoch;    /* newest epoch of a cache in use */
    uint32_t queued;   /* updates not accepted yet, those on the disk too; here without those in the spool */
    bool redis_up;
    bool learner;
    enum learning_state state;
    uint8_t redis_build[DIGEST_BYTES]; /* LEARNING_ASIDE: what Redis holds; zero: not known */
};
struct keeper_counters keeper_brain_counters(const struct keeper_brain *b, uint64_t now);

#endif
