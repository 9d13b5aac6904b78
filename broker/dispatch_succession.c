/* dispatch_succession.c - what those who wait for a move are told, and the move itself */
#include <string.h>

#include "base/log.h"
#include "dispatch.h"

void dispatch_keep_waiting(struct dispatch *d, const struct peer *from, const struct hello *h,
                           const char *why, uint64_t now)
{
    struct successor *before = succession_at(&d->succession, h);
    bool known = before && before->hello.incarnation == h->incarnation;
    if (before && !known) {
        registry_oust(&d->registry, before->hello.incarnation);
        dispatch_send_away(d, &before->peer);
    }
    if (!succession_keep(&d->succession, h, from, now)) {
        log_error("%s; no more than %d can wait: it is sent away", why, PIPELINE_MAX_WORKERS);
        dispatch_send_away(d, from);
        return;
    }
    if (!known && h->ready)
        log_warn("%s: it waits; `freezeline reload -c %s` moves all stages on to what the file says now", why,
                 d->pipeline->path);
    else if (!known)
        log_info("%s: it is loaded and waits to take over", why);
    dispatch_welcome(d, from, false);
}

bool dispatch_heard_waiting(struct dispatch *d, const struct peer *from, const struct heartbeat *h,
                            uint64_t now)
{
    struct successor *it = succession_find(&d->succession, h->incarnation);
    if (!it)
        return false;
    it->heard_ns = now;
    it->peer = *from;
    return true;
}

/* Those that serve get nothing new, and are sent away when they have nothing left. True when none of them is
 * left. */
static bool end_idle(struct dispatch *d)
{
    int left = 0;
    for (int s = 0; s < d->registry.n_stages; s++)
        for (int i = 0; i < d->registry.n_replicas[s]; i++) {
            struct worker *w = &d->registry.stage[s][i];
            if (!w->alive)
                continue;
            w->hello.leaving = true;
            if (w->outstanding) {
                left++;
                continue;
            }
            dispatch_welcome(d, &w->peer, false); /* it learns why */
            dispatch_send_away(d, &w->peer);
            registry_retire(&d->registry, w);
        }
    return !left;
}

static void take_places(struct dispatch *d, uint64_t now)
{
    struct successor *next, it;
    while ((next = succession_next(&d->succession, &d->registry))) {
        it = *next;
        succession_remove(&d->succession, next);
        dispatch_hello(d, &it.peer, &it.hello, now);
    }
}

void dispatch_move_on(struct dispatch *d, uint64_t now)
{
    struct succession *s = &d->succession;
    int stage;

    succession_expire(s, &d->registry, now);
    switch (succession_due(s, &d->registry, now, &stage)) {
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
        log_info("moved on: %d workers that waited take their places", s->n);
    }
    if (s->n && !s->moving)
        take_places(d, now);
}

/* Cache services hear of which identity the stages are: caches of another answer none of their look-ups. */
void dispatch_tell_identity(struct dispatch *d)
{
    const uint8_t *serving = registry_identity(&d->registry);
    if (!serving || !memcmp(d->told_identity, serving, DIGEST_BYTES))
        return;
    memcpy(d->told_identity, serving, DIGEST_BYTES);
    for (int i = 0; i < d->registry.n_caches; i++)
        if (d->registry.cache[i].alive)
            dispatch_welcome(d, &d->registry.cache[i].peer, true);
}
