/* control.c - when to say what to the broker */
#include "control.h"

#include <string.h>

#include "base/clock.h"

void control_init(struct control *c, const struct pipeline *p)
{
    *c = (struct control){.beat_ns = (uint64_t)p->broker.heartbeat_ms * NS_PER_MS,
                          .dead_after_ns = (uint64_t)p->broker.dead_after_ms * NS_PER_MS};
}

int control_next(struct control *c, uint64_t now_ns)
{
    bool urgent = c->urgent && c->heard_ns;
    if (now_ns < c->next_ns && !urgent)
        return 0;
    if (now_ns >= c->next_ns)
        c->next_ns = now_ns + c->beat_ns;
    if (c->heard_ns && now_ns - c->heard_ns > c->dead_after_ns)
        c->heard_ns = 0;
    c->urgent = false;
    return c->heard_ns && !c->changed ? MESSAGE_HEARTBEAT : MESSAGE_HELLO;
}

void control_welcome(struct control *c, const struct hello *h, const char *boot_id, uint64_t now_ns)
{
    c->heard_ns = now_ns;
    c->changed = c->urgent;
    c->same_clock = clock_is_shared(h->boot_id, boot_id);
    if (h->incarnation != c->broker)
        c->offset = (struct offset){0};
    c->broker = h->incarnation;
}

void control_changed(struct control *c)
{
    c->changed = c->urgent = true;
}

static struct caches_promise promise_of(const struct manifest *m)
{
    const struct manifest_promise *p = &m->promise;
    if (!m->promised)
        return (struct caches_promise){0};
    return (struct caches_promise){.made = true,
                                   .agreement = p->terms.agreement,
                                   .max_loss = p->terms.budget,
                                   .certainty = p->terms.certainty,
                                   .planning_points = (uint64_t)p->planning_points,
                                   .certifying_points = (uint64_t)p->certifying_points,
                                   .loss = p->loss,
                                   .loss_upper = p->upper};
}

/* All caches of an epoch have the same levels, with thresholds of their own. */
static void tell_levels(struct caches_promise *out, const struct snapshot *s)
{
    struct cache_levels levels = {0};
    for (int i = 0; i < s->manifest.n_exits && !levels.n; i++)
        if (s->cache[i])
            levels = cache_info(s->cache[i]).levels;
    out->n_levels = levels.n;
    for (int i = 0; i < levels.n; i++)
        out->level_ppm[i] = levels.of[i].loss_ppm;
}

bool control_tell(struct hello *h, const struct snapshot *s)
{
    uint8_t identity[DIGEST_BYTES] = {0};
    struct caches_told told = {0};
    bool same;
    if (s) {
        memcpy(identity, s->manifest.identity.digest, sizeof identity);
        memcpy(told.build, s->manifest.build, sizeof told.build);
        for (int i = 0; i < s->manifest.n_exits; i++) {
            told.built += s->manifest.exit[i].file[0] || s->cache[i];
            told.loaded += s->cache[i] != NULL;
        }
        told.promise = promise_of(&s->manifest);
        tell_levels(&told.promise, s);
    }
    same = !memcmp(h->identity, identity, sizeof identity) &&
           !memcmp(h->caches.build, told.build, sizeof told.build) && h->caches.built == told.built &&
           h->caches.loaded == told.loaded && h->caches.promise.n_levels == told.promise.n_levels &&
           !memcmp(h->caches.promise.level_ppm, told.promise.level_ppm, sizeof told.promise.level_ppm);
    memcpy(h->identity, identity, sizeof identity);
    h->caches = told;
    return !same;
}

void control_echo(struct control *c, const struct heartbeat *h, uint64_t now_ns)
{
    if (!h->incarnation) {
        c->heard_ns = 0;
        c->next_ns = now_ns;
        return;
    }
    c->heard_ns = now_ns;
    if (!c->same_clock && h->worker_ns && h->worker_ns <= now_ns && h->broker_ns)
        offset_add(&c->offset, h->worker_ns, h->broker_ns, now_ns);
}

uint64_t control_broker_ns(const struct control *c, uint64_t now_ns)
{
    return now_ns + (uint64_t)offset_ns(&c->offset);
}
