/* manifest.h - which caches a build made: STATE/caches/manifest.json
 *
 * `freezeline build` writes it last, after the files that it names, which are named after the build: a build
 * that ends early leaves the one before it whole. The manifest holds the digests of its files, so that none
 * of another build is taken for one of this. The cache service loads no model: it learns from here which
 * exits there are and in which order (the position in `exit` is the number that LOOKUP messages carry; exits
 * without a cache have an empty `file`).
 *
 * The same form also records what a cache service has learned since (STATE/caches/live-I.json) and travels in
 * Redis. A build has a name of its own, which what was learned from it keeps; of two states of one build the
 * one with the larger `generation` is further on. Builds are not ordered by their time (lineage.h).
 */
#ifndef FREEZELINE_MANIFEST_H
#define FREEZELINE_MANIFEST_H

#include <stdint.h>

#include "base/digest.h"
#include "base/error.h"
#include "config/identity.h"
#include "cache_service/promise/promise.h"

#define MANIFEST_ID_BYTES   48 /* room for a Redis stream id */
#define MANIFEST_TEXT_BYTES 256
#define MANIFEST_WHY_BYTES  120
#define MANIFEST_EVIDENCE   "evidence-%s" /* manifest_build_text; beside the manifest */
#define MANIFEST_MAX_BYTES  (256 * 1024)  /* of the JSON text */
#define MANIFEST_MAX_DIM    (16 * 1024 * 1024)
#define MANIFEST_REPLACES   8 /* builds back that a build remembers */

struct manifest_exit {
    char name[64];  /* file-name safe: letters, digits, '-', '_', '.' */
    char kind[16];  /* "knn", "kmeans", "learned": of its cache, or of one that may come; "none": never one */
    char file[128]; /* beside the manifest, no '/'; "" = no cache */
    uint64_t digest; /* of that file (cache_info): a file of another build is refused */
    char after[MANIFEST_TEXT_BYTES], layout[MANIFEST_TEXT_BYTES]; /* of its descriptors, for people */
    uint64_t origin;       /* digest of these two; look-ups tell theirs */
    uint64_t budget_bytes; /* of this exit's points or centroids, kept by online updates too; 0 = no limit */
    /* What is needed to teach it where no model is loaded: */
    int dim;           /* of its descriptors; 0: not known, it can't be taught */
    int map_side;      /* of descriptors that are maps; 0: they are not */
    int64_t most_work; /* multiply-adds that a look-up may take; 0: no limit */
    double before;     /* layers up to there, of the network's time */
    double lookup;     /* descriptor and look-up, of the network's time */
    bool by_half;      /* within half of the network's depth */
};

/* What was promised when the thresholds were chosen, and on what; the pipeline file may say otherwise by now.
 */
struct manifest_promise {
    struct promise_terms terms;
    /* What is left for caches that learn: audits compare with the network that serves, so where that computes
     * in lower precision, what it may lose against float32 is taken off. The budget is NaN where nobody
     * knows. */
    struct promise_terms live;
    int64_t planning_points, certifying_points;
    double loss, upper; /* of the certifying points; NAN: no bound */
    double differ; /* share of them whose early answer was not the full one; 0: an older build, it does not
                      say */
    uint64_t evidence; /* evidence_digest of what all that comes from, caches/MANIFEST_EVIDENCE */
    /* What the build certified of each level (promise_level): the whole promise first. For people: which the
     * caches that serve are certified for is in themselves (struct cache_levels). */
    int n_levels;
    struct manifest_level {
        double budget, loss, upper, share;
    } level[PROMISE_LEVELS];
};

/* What was certified on live traffic since the build; all zero: nothing was. */
struct manifest_learned {
    uint64_t candidate; /* the last one that a certificate was begun for: numbers are used once (betting.h) */
    uint64_t serial; /* of the epochs that were certified since the build, 1, 2, ..; 0: as built. Caches and
                      * answers tell it as their epoch */
    int64_t points, lost, won;    /* audits that certified it, and what they said */
    double upper;                 /* bound of its loss at the promise's certainty */
    char why[MANIFEST_WHY_BYTES]; /* what came before it, for people */
};

struct manifest {
    struct identity identity;    /* of the network and its input, which these caches know */
    uint8_t build[DIGEST_BYTES]; /* names the build: random */
    int n_replaces;              /* builds in whose place it was made, the last one first */
    uint8_t replaces[MANIFEST_REPLACES][DIGEST_BYTES];
    uint64_t built_ms;               /* wall clock when the build ended: for people, orders nothing */
    uint64_t generation;             /* batches of updates applied since the build */
    char applied[MANIFEST_ID_BYTES]; /* stream id of the last update applied; "" or "0-0" = none */
    int n_exits;
    struct manifest_exit exit[PIPELINE_MAX_EXITS];
    bool compared; /* the build chose among kinds: an exit's may differ from the pipeline file's */
    bool cold;     /* no build made it: it began without caches, to learn (lineage.h) */
    bool promised; /* thresholds keep a promise about these very caches */
    struct manifest_promise promise; /* where `promised`: its terms, and what the build certified */
    int classes;                     /* of the network; 0: not known */
    struct manifest_learned learned; /* where `promised` */
};

/* Caches under a promise can learn: some exit can be taught (an older build does not say how). */
bool manifest_teaches(const struct manifest *m);
bool manifest_teaches_exit(const struct manifest *m, int i);

/* FL_NOT_FOUND when there is no such file, FL_CORRUPT (what and where) when it is no manifest. */
int manifest_load(struct manifest *out, const char *path, struct error *e);
int manifest_parse(struct manifest *out, const char *text, size_t size, const char *name, struct error *e);
/* Atomically: temporary file, fsync, rename. */
int manifest_save(const struct manifest *m, const char *path, struct error *e);
/* JSON text, malloc'ed, owned by the caller; NULL when out of memory. */
char *manifest_format(const struct manifest *m);

/* Names a new build; `before` (NULL: none) is the manifest in whose place this one comes. FL_IO: no random
 * numbers. */
int manifest_begin_build(struct manifest *m, const struct manifest *before, struct error *e);
/* By how many seconds the build's time lies ahead of this clock; 0 = as clocks of two hosts may differ. */
uint64_t manifest_ahead_s(const struct manifest *m);
bool manifest_replaces(const struct manifest *m, const uint8_t build[DIGEST_BYTES]);
/* The build's short name, in files and for people: the first 12 digits of `build`. Returns `text`. */
#define MANIFEST_BUILD_BYTES 13
char *manifest_build_text(const uint8_t build[DIGEST_BYTES], char text[MANIFEST_BUILD_BYTES]);

#endif
