/* keeper_brain.h - the keeper's brain: which state of the caches counts, when to learn, what Redis is asked
 *
 * The brain says what is to be done next (a task: wait, read files, save, learn, one question to Redis); its
 * body does that and tells how it ended. So what talks to files and Redis decides nothing, and a simulated
 * Redis can stand where the real one does (store.h says what each question means).
 *
 * Invariants:
 * - An update leaves the outbox when Redis has acknowledged it, and is sent with the same number until then.
 * - What was learned comes into use when its commit was acknowledged, or when it was read from Redis.
 * - A failure puts off its own step alone (retry.h); only a lost connection ends a round.
 * - Nothing but the connection, the head and the lease is asked for regularly while nothing happens.
 *
 * Pure, one thread; updates come through a spool, which another thread may fill.
 */
#ifndef FREEZELINE_KEEPER_BRAIN_H
#define FREEZELINE_KEEPER_BRAIN_H

#include "cache_service/store/store.h"
#include "learner.h"
#include "spool.h"
#include "wire/message.h"

struct keeper_brain;

#define KEEPER_LEASE_MS 3000

struct keeper_setup {
    const struct pipeline *pipeline; /* borrowed; redis.endpoint NULL: this service learns alone */
    char who[STORE_WHO_BYTES];       /* who this process is, for people */
    struct spool *spool;             /* borrowed */
};

enum keeper_act {
    KEEPER_WAIT,       /* until until_ns (may be past) or until a hint, the first update, a reload comes */
    KEEPER_END,        /* after keeper_brain_stop: all is done */
    KEEPER_READ_FILES, /* -> built, learned: the build on this host's disk, and what was learned from it; both
                          may be NULL. What was learned from another build than `built` is not to be read. */
    KEEPER_SAVE,       /* mine */
    KEEPER_LEARN,      /* learner_apply to mine of batch's updates -> got, tally */
    /* Each one question to Redis. FL_UNAVAILABLE: the connection is lost, and whether it was done unknown. */
    KEEPER_CONNECT,
    KEEPER_LISTEN,       /* to hints, over a connection of its own */
    KEEPER_HEAD,         /* -> head */
    KEEPER_HOLD,         /* build, who */
    KEEPER_HOLDER,       /* build -> holder */
    KEEPER_LOAD,         /* head, mine, quiet -> got, load */
    KEEPER_PUBLISH,      /* mine; head -> head */
    KEEPER_TELL_DAMAGED, /* head */
    KEEPER_ACQUIRE,      /* -> fence */
    KEEPER_RENEW,        /* fence -> ok */
    KEEPER_RELEASE,      /* fence */
    KEEPER_APPEND,       /* updates[n], the first of them number `sequence` -> accepted */
    KEEPER_READ,         /* fence, head, n at most -> batch */
    KEEPER_COMMIT,       /* fence, mine, next, batch; head -> head */
};

/* What is borrowed lives until keeper_brain_done; got, built and learned are taken there, as is the batch
 * that READ fills. */
struct keeper_task {
    enum keeper_act act;
    uint64_t until_ns;
    const struct snapshot *mine, *next; /* borrowed; mine: in use, NULL: none */
    const uint8_t *build;
    const char *who;
    struct update *const *updates;
    int n;
    uint64_t sequence;
    bool quiet; /* what is refused was said before */

    struct head head; /* known before, and that which is there then */
    uint64_t fence;
    struct store_batch batch;

    int rc; /* how it ended, and why */
    struct error error;
    struct snapshot *got, *built, *learned;
    struct learner_tally tally;
    struct store_load load;
    char holder[STORE_WHO_BYTES];
    int accepted;
    bool ok;
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
/* Send what waits for a second at most, give the lease up, save, end. */
void keeper_brain_stop(struct keeper_brain *b, uint64_t now);

/* The newest snapshot that was not taken yet (one reference, the caller's), or NULL. Ask after each task. */
struct snapshot *keeper_brain_take(struct keeper_brain *b);
const struct snapshot *keeper_brain_current(const struct keeper_brain *b);

struct keeper_counters {
    uint64_t accepted; /* updates that Redis acknowledged (without Redis: that were taken for learning) */
    uint64_t dropped;  /* updates lost because the spool was full; not told here */
    uint64_t applied;  /* updates in new epochs made by this process */
    uint64_t rejected; /* stream entries that can never be applied */
    uint64_t epochs;   /* new states taken into use */
    uint64_t epoch;    /* newest epoch of a cache in use */
    uint32_t queued;   /* updates not accepted yet; here without those in the spool */
    bool redis_up;
    bool learner;
    enum learning_state state;
    uint8_t redis_build[DIGEST_BYTES]; /* LEARNING_ASIDE: what Redis holds; zero: not known */
};
struct keeper_counters keeper_brain_counters(const struct keeper_brain *b, uint64_t now);

#endif
