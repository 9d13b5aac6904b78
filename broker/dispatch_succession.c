/* dispatch_succession.c - the move to the plan of those who wait */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch_inside.h"

/* The workers that serve get no more requests, and are sent away when they have none left. True when all are
 * gone. */
static bool end_idle(struct dispatch *d)
{
    int left = 0;
    for (int i = 0; i < registry_known(d->registry); i++) {
        struct member *m = registry_member(d->registry, i);
        if (m->stage < 0 || !m->alive)
            continue;
        m->hello.leaving = true;
        if (m->outstanding) {
            left++;
            continue;
        }
        dispatch_welcome(d, &m->peer, false); /* it learns why */
        dispatch_send_away(d, &m->peer);
        d->succession.left = m->hello;
        registry_retire(d->registry, m);
    }
    return !left;
}

/* Who waited to come after one that is gone has the same plan, and would wait for ever: its supervisor starts
 * it anew, from the files as they are now. */
static void send_old_away(struct dispatch *d)
{
    struct succession *s = &d->succession;
    for (int i = s->n - 1; i >= 0 && s->left.incarnation; i--)
        if (!registry_difference(&s->item[i].hello, &s->left)) {
            registry_oust(d->registry, s->item[i].hello.incarnation);
            dispatch_send_away(d, &s->item[i].peer);
            succession_remove(s, &s->item[i]);
        }
}

static void take_places(struct dispatch *d, uint64_t now)
{
    struct successor *next, it;
    while ((next = succession_next(&d->succession, d->registry))) {
        it = *next;
        succession_remove(&d->succession, next);
        dispatch_hello(d, &it.peer, &it.hello, now);
    }
}

void dispatch_move_on(struct dispatch *d, uint64_t now)
{
    struct succession *s = &d->succession;
    int stage;

    succession_expire(s, (uint64_t)d->pipeline->broker.dead_after_ms * NS_PER_MS, now);
    switch (succession_due(s, d->registry, now, &stage)) {
    case SUCCESSION_COMPLETE:
        log_info("every worker has a successor: the pipeline moves on; %d requests are under way",
                 dispatch_under_way(d));
        s->moving = true;
        break;
    case SUCCESSION_NEEDED:
        log_warn(
            "stage %d can't be served by what serves, and who comes there is of another plan: all stages "
            "move on to what the pipeline file says now",
            stage);
        s->moved_ns = now;
        s->moving = true;
        break;
    case SUCCESSION_WAITS:
        break;
    }
    if (s->moving && end_idle(d)) {
        s->moving = false;
        send_old_away(d);
        s->left.incarnation = 0;
        log_info("moved on: %d workers that waited take their places", s->n);
    }
    if (s->n && !s->moving)
        take_places(d, now);
}
