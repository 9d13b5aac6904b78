/* teaching.h - new caches, or a new order of thresholds, from what the reservoir holds
 *
 * One call does the whole work of a candidate: what teaches and what plans is copied to files, builder_build
 * for each exit, then what the new caches say about the certifying part (which taught nothing), and the order
 * planned on that. Nothing else of the reservoir is looked at once it is copied (`fixed`), so what comes
 * meanwhile may judge the candidate. It takes seconds to minutes: the body calls it in a thread of low
 * priority, and `progress` stops it at any batch. The reservoir may take records meanwhile.
 */
#ifndef FREEZELINE_TEACHING_H
#define FREEZELINE_TEACHING_H

#include "cache_service/train/builder.h"
#include "cache_service/promise/promise.h"
#include "reservoir.h"

/* Rows that a build left behind teach too: some thousands of them, after a change as many as of the
 * reservoir's at most, and none where what came before a change must not teach. */
struct teaching_built {
    const struct matrix_file *rows;   /* NULL: none */
    const struct matrix_file *scores; /* the network's of each row; labels are the largest */
};

struct teaching_exit {
    char name[64];
    char kind[16];         /* "knn" | "kmeans" | "learned" | "none": no cache there */
    int dim;               /* of its descriptors; 0: no cache there */
    int map_side;          /* as builder_input */
    int64_t most_work;     /* likewise */
    size_t budget_bytes;   /* likewise */
    double before, lookup; /* of the network's time */
    bool by_half;
    struct cache *cache; /* teaching_run: where learning starts; teaching_plan: the cache itself; borrowed; or
                            NULL */
    struct teaching_built built;
};

struct teaching {
    struct reservoir *reservoir;
    const struct cache_config *config; /* nodes, k, train_epochs, seed */
    uint8_t identity[16];
    int classes, n_exits;
    struct teaching_exit exit[PIPELINE_MAX_EXITS];
    struct promise_terms terms;
    bool may_drop; /* exits that do not pay get no answer: `exits: auto` */
    /* A change of the traffic; 0: none. The order is planned on requests since since_ms, and these count more
     * in teaching than those of before; none of before teach_since_ms teaches. */
    uint64_t since_ms, teach_since_ms;
    uint64_t number;        /* of the candidate: another seed for each */
    const char *work_dir;   /* exists; what is in it is of the last teaching and may be removed */
    rows_progress progress; /* may be NULL */
    void *progress_arg;
    /* All that the candidate depends on has been read. May be NULL; with progress_arg, in the same thread. */
    void (*fixed)(void *arg);
};

struct taught {
    struct cache *cache[PIPELINE_MAX_EXITS]; /* NULL: none */
    struct promise_order order;
    int64_t points, planned_on; /* requests that taught; that the order was planned on */
};

/* FL_AGAIN when there is too little to learn or to plan from, FL_CANCELLED, FL_IO, FL_NOMEM. */
int teaching_run(struct taught *out, const struct teaching *t, struct error *e);
/* The same caches (references are taken), a new order. */
int teaching_plan(struct taught *out, const struct teaching *t, struct error *e);
void taught_release(struct taught *t);

#endif
