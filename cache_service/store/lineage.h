/* lineage.h - whose caches count: those of the build on this host's disk or those in Redis; pure
 *
 * What was learned belongs to the build that it began from: of two states of one build the one with the
 * larger generation is further on. Between builds no clock decides:
 *  - The build that the operator put on this host's disk is the truth for this host. What Redis holds of
 * another build is not used here. A host without a build takes what Redis has.
 *  - A cold start is nobody's truth: what began without caches takes what Redis has of the same network, so
 * that hosts that begin so at one time come to one state. Beside another network's caches, and those in
 * whose place it came, it is as a build.
 *  - Redis holds one build. Another goes in its place when it was built to replace that one, or when no
 * living service has that one on its disk. Otherwise both stay where they are: the host whose build is not in
 * Redis serves it and learns nothing. A build never replaces one that was built after it, so while two hosts
 * have two builds Redis changes at most once.
 */
#ifndef FREEZELINE_LINEAGE_H
#define FREEZELINE_LINEAGE_H

#include "head.h"

/* A service says in Redis every second or so which build it has on its disk; that holds for HOLD_MS. A build
 * that nobody was seen to hold for WATCH_NS, by a service that could say so itself meanwhile, is nobody's. */
#define LINEAGE_HOLD_MS  3000
#define LINEAGE_WATCH_NS (3000ull * 1000 * 1000)

enum lineage_move {
    LINEAGE_KEEP,    /* both are at the same state, or there is none */
    LINEAGE_LOAD,    /* take what Redis has */
    LINEAGE_PUBLISH, /* put ours there */
    LINEAGE_ASIDE    /* another build is in Redis, and stays there */
};

struct lineage_here {
    const struct manifest *manifest; /* of the caches in use; NULL = none */
    bool own;                        /* lineage_own */
    bool whole;                      /* others may use them as they are */
};

struct lineage_there {
    const struct head *head; /* NULL = Redis holds none */
    bool readable;           /* not: it is none that this program knows */
    bool free;               /* lineage_free of its build */
};

/* Caches of the build on this host's disk stand for themselves beside what Redis has (NULL: nothing). */
bool lineage_own(const struct manifest *m, bool on_disk, const struct head *head);
enum lineage_move lineage_decide(const struct lineage_here *here, const struct lineage_there *there);

struct lineage_watch {
    uint8_t build[DIGEST_BYTES];
    uint64_t since_ns; /* not held since then; 0 = held, or not watched */
};

/* At each look: `held` by a living service; `said`: our own hold was taken by Redis. */
bool lineage_free(struct lineage_watch *w, const uint8_t build[DIGEST_BYTES], bool held, bool said,
                  uint64_t now_ns);

#endif
