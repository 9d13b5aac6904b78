/* stage_near.h - where a look-up is answered, and whether computing goes on meanwhile
 *
 * A stage worker may hold its host's caches itself (near caches, near_cache.h). Here is known whether they
 * may be used now, and what look-ups at each exit take here and at the cache service. Pure.
 */
#ifndef FREEZELINE_STAGE_NEAR_H
#define FREEZELINE_STAGE_NEAR_H

#include "wire/message.h"

/* What was measured at one exit: means of which the latest count most, 0 while there are none. */
struct near_exit {
    unsigned items;   /* that had a verdict, as far as that counts */
    double hit_share; /* of them */
    double near_ns;   /* a look-up here, of all rows together */
    double trip_ns;   /* one at the service: sent .. verdict read */
    double ask_ns;    /* making and sending one */
    double row_ns;    /* computing what comes behind, for one row */
    unsigned turn;    /* look-ups that were placed */
};

struct stage_near {
    bool may, must;          /* cache.placement is not `service`, is `near` */
    uint64_t keep_ns;        /* how long caches are used whose service is gone */
    uint32_t held;           /* a bit for each exit that the worker has one for */
    uint64_t held_epoch;     /* their newest */
    uint32_t exits;          /* `held` while they may be used, else 0 */
    uint64_t epoch;          /* held_epoch, likewise */
    uint32_t elsewhere;      /* a bit for each exit at which the service is quicker */
    uint32_t turns;          /* how often it came to others, to none, or to them again */
    uint64_t lives_ns;       /* when their service was there last */
    uint32_t answered, hits; /* here, since the service was told */
    struct near_exit exit[PIPELINE_MAX_EXITS];
    struct verdict verdict; /* scratch */
};

void stage_near_init(struct stage_near *n, const struct cache_config *c);
/* The worker holds other caches from now on; exits 0: none. */
void stage_near_holds(struct stage_near *n, uint64_t epoch, uint32_t exits, uint64_t now);
/* Their service lives: it may have been silent for so long that they were not used any more. */
void stage_near_lives(struct stage_near *n, uint64_t now);
/* Caches whose service has been gone for too long are not used until it lives again; true: from now on. */
bool stage_near_expires(struct stage_near *n, uint64_t now);
bool stage_near_has(const struct stage_near *n, int exit);
/* The exits where look-ups are made here, a bit for each. */
uint32_t stage_near_exits(const struct stage_near *n);
/* Is this look-up to be made here? `held`: one at the service would hold the batch back. */
bool stage_near_answers(struct stage_near *n, int exit, bool held);

/* --- what was measured --- */

void stage_near_looked(struct stage_near *n, int exit, uint64_t ns, const struct verdict *v);
void stage_near_asked(struct stage_near *n, int exit, uint64_t ns);
void stage_near_told(struct stage_near *n, int exit, uint64_t trip_ns, const struct verdict *v);
/* The segment behind this exit took so long for so many rows. */
void stage_near_computed(struct stage_near *n, int exit, uint64_t ns, int rows);

/* --- what pays; ns --- */

/* What is gained by computing on while n rows are looked up elsewhere, rather than waiting for the verdicts.
 * What misses need is done meanwhile, but the rows that hit are computed along with them; where all hit, the
 * node in hand ends first (`nodes`: in what comes behind; 0: it stops at once). */
double near_run_on_gain_ns(const struct near_exit *x, int n, int nodes);
/* Does it pay? Yes while too little is known. */
bool stage_near_runs_on(const struct stage_near *n, int exit, int rows, int nodes);

#endif
