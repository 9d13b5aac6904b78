/* learner_lessons.h - when to teach, and from what: requests are counted, changes of the traffic remembered.
 * Pure. */
#ifndef FREEZELINE_LEARNER_LESSONS_H
#define FREEZELINE_LEARNER_LESSONS_H

#include "learner_brain.h"

/* Requests: that teach, and that plan, ever. */
struct requests_seen {
    int64_t teach, plan;
};

struct learner_lessons {
    struct requests_seen now, taught, changed; /* by now; at the last lesson; at the last change */
    uint64_t since_ms;                         /* a change: what came before is of another time; 0: none */
    uint64_t alarm_ms;                         /* the change that an alarm told of */
    uint64_t off_ms;        /* the last that switched all off: what came before is of another truth */
    bool off;               /* .. and nothing serves since: what is taught begins from nothing */
    int64_t lessons, tuned; /* since the change; requests that planned the last order for what serves */
};

/* Next lessons are about requests since then. */
void learner_lessons_change(struct learner_lessons *l, uint64_t since_ms);
/* The change was told of by an alarm; by a second one, which switched all off. */
void learner_lessons_alarm(struct learner_lessons *l, bool off);
/* Something serves again. */
void learner_lessons_serve(struct learner_lessons *l);
/* Whether there is enough to learn: *what is LEARNER_TEACH, or LEARNER_TUNE where `tune` says that caches
 * that serve are to be planned anew. */
bool learner_lessons_due(const struct learner_lessons *l, bool tune, enum learner_what *what);
/* d, being one of these, gets what it learns from, and its words; `warm`: there is something to start from.
 */
void learner_lessons_begin(struct learner_lessons *l, struct learner_decision *d, bool warm);

#endif
