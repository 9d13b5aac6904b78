/* learner_lessons.c - when to teach, and from what */
#include "learner_lessons.h"

#include <stdio.h>

#define FIRST_TEACH 200 /* requests that the first caches are taught with */
#define FIRST_PLAN  150 /* audits that an order is planned on, at least */
#define GROWN       1.3 /* times as many as the last time, .. */
#define GROWN_BY    150 /* .. and so many more: teach again */
#define TUNE_GROWN  4   /* times as many audits: plan what serves again */

void learner_lessons_change(struct learner_lessons *l, uint64_t since_ms)
{
    l->since_ms = since_ms;
    l->lessons = l->tuned = 0;
    l->changed = l->taught = l->now;
}

void learner_lessons_alarm(struct learner_lessons *l, bool off)
{
    l->alarm_ms = l->since_ms;
    if (!off)
        return;
    l->off = true;
    l->off_ms = l->since_ms;
}

void learner_lessons_serve(struct learner_lessons *l)
{
    l->off = false;
}

bool learner_lessons_due(const struct learner_lessons *l, bool tune, enum learner_what *what)
{
    double since = (double)(l->now.teach - l->changed.teach),
           before = (double)(l->taught.teach - l->changed.teach);
    int64_t plan = l->now.plan - l->changed.plan;
    bool teach = since >= FIRST_TEACH && (before <= 0 || since >= GROWN * before + GROWN_BY);
    *what = teach ? LEARNER_TEACH : LEARNER_TUNE;
    if (plan < FIRST_PLAN)
        return false;
    return teach || (tune && plan >= TUNE_GROWN * l->tuned);
}

/* What an alarm told of may contradict all that came before, or only some of it: candidates learn in turn
 * from both, and from requests since alone. */
static bool begins_anew(const struct learner_lessons *l)
{
    return l->off || (l->since_ms > 0 && l->since_ms == l->alarm_ms && l->lessons % 2 == 0);
}

void learner_lessons_begin(struct learner_lessons *l, struct learner_decision *d, bool warm)
{
    bool teach = d->what == LEARNER_TEACH, anew;
    l->lessons += teach;
    anew = teach && begins_anew(l);
    if (teach)
        l->taught = l->now;
    else
        l->tuned = l->now.plan - l->changed.plan;
    d->warm = warm && !anew;
    d->since_ms = l->since_ms;
    d->teach_since_ms = anew ? l->since_ms : l->off_ms;
    if (teach)
        snprintf(d->why, sizeof d->why, "candidate %llu is taught by %lld requests%s",
                 (unsigned long long)d->number, (long long)(l->now.teach - l->changed.teach),
                 l->since_ms == 0                   ? ""
                 : d->teach_since_ms == l->since_ms ? " since the change"
                                                    : " since the change, and some before");
    else
        snprintf(d->why, sizeof d->why, "candidate %llu: the same caches, another order of thresholds",
                 (unsigned long long)d->number);
}
