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

/* What a look-up gave, for the tally of audits; label -1: there was no cache. */
struct pending_note {
    int exit;
    int32_t label; /* of the look-up */
    bool would_hit;
    bool learned; /* the caches had learned something */
};

/* Keeps `u` (taken in every case), which has one exit. A second one of the same request and exit replaces the
 * first: the same request, retried. Where there is no room, all of the oldest request goes. */
void pending_add(struct pending *p, struct update *u, struct pending_note note, uint64_t now_ns);

/* What the exits saw of one request, in their order; fn takes `u`, notes[n] are borrowed. */
typedef void (*pending_fn)(void *arg, struct update *u, const struct pending_note *notes, int n);
/* The request ended: what its exits saw goes to fn as one update, without label, with the network's scores
 * (update_join); fn NULL: it is dropped. Returns how many exits there were. */
int pending_outcome(struct pending *p, uint64_t request, const uint16_t *scores, int n_scores, pending_fn fn,
                    void *arg);

/* Drops what is older than the limit; UINT64_MAX: all. */
void pending_expire(struct pending *p, uint64_t now_ns);

int pending_count(const struct pending *p);

#endif
