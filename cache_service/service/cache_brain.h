/* cache_brain.h - the cache service's brain: look-ups in, verdicts and hits out; talk with the broker
 *
 * Invariants:
 * - Each look-up that is one is answered by one verdict, item by item.
 * - A hit is told to the broker first. One that can't be told becomes a miss, so no request falls between
 *   the two. Audits, requests without caches and those past their deadline are never ended by a hit.
 * - Descriptors of sampled and audited requests are kept within limits until the OUTCOME; each becomes at
 *   most one update.
 * - HELLO is said until the broker knows this process, and again when it forgot it, went silent for
 *   dead_after, or when other caches are in use.
 *
 * Pure: messages and moments come in as arguments, what is to be sent goes out through struct cache_io. One
 * thread. Nothing is allocated per look-up, but for the descriptors that are kept.
 */
#ifndef FREEZELINE_CACHE_BRAIN_H
#define FREEZELINE_CACHE_BRAIN_H

#include "lookups.h"
#include "wire/frames.h"

struct cache_brain;

struct cache_setup {
    const struct pipeline *pipeline; /* borrowed */
    struct hello hello;              /* what this process says of itself; its caches are filled in here */
    struct pending_limits pending;   /* of descriptors that wait for an outcome; zero: the ordinary ones */
    int spans; /* of traced requests, kept until the next heartbeat; 0: the ordinary number */
};

/* Where messages go, and whom the brain asks. Sending: FL_OK, or why not (FL_AGAIN: full). */
struct cache_io {
    void *arg;
    int (*verdict)(void *arg, const struct peer *to, const struct message *m); /* to a stage worker */
    int (*result)(void *arg, const struct message *m); /* a hit, to the broker whose request it is */
    int (*control)(void *arg, int broker, const struct message *m);
    lookups_look look;                              /* what a snapshot says of descriptors */
    void (*update)(void *arg, struct update *u);    /* takes u: what the exits saw, and the full answer */
    void (*reload)(void *arg);                      /* the built caches are to be read again */
    void (*keeper)(void *arg, struct heartbeat *h); /* fills in what the keeper counts, and memory */
    uint64_t (*moment)(void *arg);                  /* the time now, after something that takes time */
};

/* FL_NOMEM. */
int cache_brain_new(struct cache_brain **out, const struct cache_setup *setup, const struct cache_io *io,
                    struct error *e);
void cache_brain_free(struct cache_brain *b); /* NULL is fine */

/* When a message came, as far as its reader knows. `now` is when it was decoded. */
struct cache_arrival {
    uint64_t empty_ns; /* the socket was seen empty then */
    uint64_t taken_ns; /* before the socket was asked for it */
};

/* A message from the look-up socket. `descriptors`: row-major [n][dim], aligned; NULL: none are known, so
 * none are kept. Whatever is no look-up is counted as garbage. */
void cache_brain_lookup(struct cache_brain *b, const struct peer *from, const struct message *m,
                        const float *descriptors, const struct cache_arrival *came, uint64_t now);
/* A message of a broker, by its number, which is one of the pipeline's. */
void cache_brain_control(struct cache_brain *b, int broker, const struct message *m, uint64_t now);
/* Something came from that socket that is no message: `text` says what. */
void cache_brain_garbage(struct cache_brain *b, bool from_broker, const char *text, uint64_t now);

/* Uses s (taken) from now on; returns the one before (the caller's), or NULL. The broker is told of other
 * caches at the next tick. */
struct snapshot *cache_brain_swap(struct cache_brain *b, struct snapshot *s);
const struct snapshot *cache_brain_snapshot(const struct cache_brain *b); /* NULL: none yet */

/* Says hello, heartbeats and spans when they are due; forgets descriptors that are too old. Call after each
 * round of messages. Returns when to call again at the latest. */
uint64_t cache_brain_tick(struct cache_brain *b, uint64_t now);
/* A broker sent this process away: it is to end. */
bool cache_brain_sent_away(const struct cache_brain *b);
/* The last message: this process ends. Who was sent away has no place to say it from. */
void cache_brain_goodbye(struct cache_brain *b);

/* `now` by the clock of the broker that owns a request. */
uint64_t cache_brain_broker_ns(const struct cache_brain *b, uint64_t request, uint64_t now);
struct cache_counters {
    struct lookups_counters lookups;
    int pending; /* descriptors that wait for an outcome */
    uint64_t busy_ns, garbage, undelivered;
};
struct cache_counters cache_brain_counters(const struct cache_brain *b);

#endif
