/* pending.h - descriptors of sampled requests, waiting for the broker to tell how the request ended
 *
 * Bounded in number, bytes and age: the oldest go first. One thread. Time comes in as an argument.
 */
#ifndef FREEZELINE_PENDING_H
#define FREEZELINE_PENDING_H

#include <stdbool.h>
#include <stddef.h>

#include "cache_service/store/update.h"

struct pending;

struct pending_limits {
    int count;
    size_t bytes;
    uint64_t age_ns;
};

int pending_new(struct pending **out, const struct pending_limits *limits);
void pending_free(struct pending *p); /* NULL is fine */

/* What a look-up gave, for the tally of audits. */
struct pending_note {
    int exit;
    int32_t label; /* of the look-up */
    bool would_hit;
    bool audit;     /* the layers all ran, whatever the look-up said */
    bool learned;   /* the caches had learned something */
    uint64_t build; /* which build it was, of those in use so far */
};

/* Keeps `u` (taken in every case; its label is not known yet). A second one of the same request and exit
 * replaces the first: the same request, retried. */
void pending_add(struct pending *p, struct update *u, struct pending_note note, uint64_t now_ns);

/* The request ended. With a full answer (`full`) each of its descriptors goes to `fn`, which takes the update
 * (label set); else nothing was learned and they are dropped. Returns how many there were. */
typedef void (*pending_fn)(void *arg, struct update *u, const struct pending_note *note);
int pending_outcome(struct pending *p, uint64_t request, int32_t label, bool full, pending_fn fn, void *arg);

/* Drops what is older than the limit. */
void pending_expire(struct pending *p, uint64_t now_ns);

int pending_count(const struct pending *p);

#endif
