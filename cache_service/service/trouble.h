/* trouble.h - what fails with Redis, each thing by itself, when it is tried again and what is said of it;
 * pure
 *
 * What one step fails at puts off itself alone (retry.h): a Redis that refuses writes is still followed,
 * caches that are damaged there still get updates.
 */
#ifndef FREEZELINE_TROUBLE_H
#define FREEZELINE_TROUBLE_H

#include "cache_service/store/retry.h"

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
