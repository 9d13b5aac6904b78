/* lab_world.h - learning without processes: traffic through brain, teaching and look-ups in one thread
 *
 * What serves answers each request as a stage worker would ask it; audits come a little later, teaching takes
 * as many requests' time as its seconds of CPU say, a commit takes effect after a while. Descriptors and the
 * network's answers are there already (extract.h).
 */
#ifndef FREEZELINE_LAB_WORLD_H
#define FREEZELINE_LAB_WORLD_H

#include <stdio.h>

#include "cache_service/learn/learner_brain.h"
#include "cache_service/teach/textbook.h"
#include "cache_service/store/manifest.h"
#include "deploy/extract/extract.h"

struct lab_setup {
    const struct pipeline *pipeline;
    const struct manifest *manifest; /* exits, with what it takes to teach them */
    struct cache *const *built;      /* serve at the start, with their thresholds; NULL: cold */
    const struct textbook *book;     /* what the build learned from; NULL: it is not there */
    const struct extracted *traffic; /* in the order of requests */
    const int32_t *truth;            /* of requests, or NULL */
    double feedback;                 /* share of audits whose truth comes */
    const char *work;                /* folder */
    struct promise_terms terms;
    double rate;  /* requests a second */
    double speed; /* CPU seconds that teaching gets each second; 0: teaching takes no time */
    double audit, audit_most, sample;
    int64_t skip; /* requests of the traffic that are left out */
    int window;   /* requests of a line */
    FILE *lines;  /* one per window, and events; NULL: none */
};

struct lab_window {
    int64_t from, n, early, by_half, lost, won, differ, audits;
    enum learner_state state;
    double audit, audited_loss, upper;
};

struct lab_result {
    int windows;
    struct lab_window *window; /* malloc'ed, the caller's */
    struct lab_window all;
    double worst;                    /* loss of a window, of its requests */
    int alarms, commits, candidates; /* commits: of new caches or rows */
    double teaching_s;
};

int lab_play(struct lab_result *out, const struct lab_setup *s, struct error *e);

#endif
