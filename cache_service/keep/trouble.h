/* trouble.h - what fails with Redis, each thing by itself, when it is tried again and what is said of it;
 * pure
 *
 * What one step fails at puts off itself alone: a Redis that refuses writes is still followed, caches that
 * are damaged there still get updates. A failure puts the next attempt off by a while that doubles with each
 * failure in a row; only this step's own success ends that, whatever else works meanwhile. What is news is
 * said: the first failure, one of another kind, and that it works again.
 */
#ifndef FREEZELINE_TROUBLE_H
#define FREEZELINE_TROUBLE_H

#include <stdbool.h>
#include <stdint.h>

struct retry {
    uint64_t first_ns, last_ns;
    uint64_t while_ns; /* how long the next failure puts it off; 0 = first_ns */
    uint64_t next_ns;  /* not before then */
    uint64_t said;     /* the failure that was said last; 0 = none since it worked */
    bool failing;
};

void retry_init(struct retry *r, uint64_t first_ns, uint64_t last_ns);
bool retry_due(const struct retry *r, uint64_t now_ns);
/* `why` tells failures apart. Whether this is news. */
bool retry_failed(struct retry *r, const char *why, uint64_t now_ns);
/* Whether this is news: it failed before. */
bool retry_worked(struct retry *r);
/* There is nothing to do any more: it fails no longer, but what comes next is put off as if it did. */
void retry_idle(struct retry *r);

/* In the order in which they are done. */
enum step { STEP_CONNECT, STEP_LOOK, STEP_LISTEN, STEP_FOLLOW, STEP_LEASE, STEP_APPEND, STEP_LEARN, STEPS };

struct trouble {
    const char *endpoint; /* borrowed; for logs */
    struct retry step[STEPS];
    bool complained, answers;
};

void trouble_init(struct trouble *t, const char *endpoint);
void trouble_failed(struct trouble *t, enum step step, const char *why, uint64_t now);
/* After a round: says what has become better. */
void trouble_look_up(struct trouble *t, bool connected);
/* Some step from `first` on fails. */
bool trouble_from(const struct trouble *t, enum step first);

#endif
