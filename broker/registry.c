/* registry.c - hello, heartbeat, silence: who is there */
#include "registry.h"

#include <string.h>

#include "base/clock.h"

/* A worker's start (load, autotune, warm-up) takes seconds; a supervisor's back-off comes on top. */
#define RECOVER_NS (10 * NS_PER_S)

void registry_init(struct registry *r, const struct pipeline *p)
{
    r->n_stages = p->n_stages;
    for (int s = 0; s < p->n_stages; s++)
        r->n_replicas[s] = p->stage[s].n_replicas;
    r->n_caches = p->cache.n_endpoints;
    r->dead_after_ns = (uint64_t)p->broker.dead_after_ms * NS_PER_MS;
    r->recover_ns = RECOVER_NS;
}

bool worker_ready(const struct worker *w)
{
    return w->alive && w->hello.ready && !w->hello.leaving && w->last.clock_error_ns != UINT64_MAX;
}

uint16_t worker_reaches(const struct worker *w)
{
    return w->last.reaches & REACHES_TOLD ? (uint16_t)w->last.reaches : UINT16_MAX;
}

bool registry_stage_ready(const struct registry *r, int stage)
{
    for (int i = 0; i < r->n_replicas[stage]; i++)
        if (worker_ready(&r->stage[stage][i]))
            return true;
    return false;
}

bool registry_stage_recovering(const struct registry *r, int stage, uint64_t now)
{
    for (int i = 0; i < r->n_replicas[stage]; i++)
        if (r->stage[stage][i].alive)
            return true;
    return r->last_ready_ns[stage] && now - r->last_ready_ns[stage] <= r->recover_ns;
}

/* Keeps last_ready_ns true: called before and after anything changes. */
static void note_ready(struct registry *r, uint64_t now)
{
    for (int s = 0; s < r->n_stages; s++)
        if (registry_stage_ready(r, s))
            r->last_ready_ns[s] = now;
}

void registry_oust(struct registry *r, uint64_t incarnation)
{
    r->ousted[r->n_ousted++ % REGISTRY_OUSTED] = incarnation;
}

static bool is_ousted(const struct registry *r, uint64_t incarnation)
{
    for (unsigned i = 0; i < REGISTRY_OUSTED && i < r->n_ousted; i++)
        if (r->ousted[i] == incarnation)
            return true;
    return false;
}

const char *registry_difference(const struct hello *h, const struct hello *other)
{
    if (memcmp(h->model, other->model, sizeof h->model))
        return "another model";
    if (memcmp(h->identity, other->identity, sizeof h->identity))
        return "another `input`, precision or `labels`";
    if (memcmp(h->plan, other->plan, sizeof h->plan))
        return "other cuts, exits or numbers of replicas";
    return NULL;
}

const struct worker *registry_other_plan(const struct registry *r, const struct hello *h,
                                         const struct worker *self)
{
    for (int s = 0; s < r->n_stages; s++)
        for (int i = 0; i < r->n_replicas[s]; i++) {
            const struct worker *w = &r->stage[s][i];
            if (w != self && w->alive && registry_difference(h, &w->hello))
                return w;
        }
    return NULL;
}

static struct worker *place_of(struct registry *r, const struct hello *h, struct error *e)
{
    if (h->role == ROLE_CACHE) {
        if ((int64_t)h->replica < r->n_caches)
            return &r->cache[h->replica];
        error_set(e, FL_CONFIG, "cache %u is not in the pipeline file, which has %d", h->replica,
                  r->n_caches);
        return NULL;
    }
    if (h->role != ROLE_STAGE) {
        error_set(e, FL_PROTOCOL, "hello of role %u: only stages and caches say hello", h->role);
        return NULL;
    }
    if ((int64_t)h->stage < r->n_stages && (int64_t)h->replica < r->n_replicas[h->stage])
        return &r->stage[h->stage][h->replica];
    error_set(e, FL_CONFIG, "stage %u replica %u is not in the pipeline file", h->stage, h->replica);
    return NULL;
}

/* A worker may beat before it has heard whose clock counts, and its hello comes before its first beat: what
 * it says of its clock's error is taken only where there can be one. */
static void note_heartbeat(const struct registry *r, struct worker *w, const struct heartbeat *h)
{
    w->last = *h;
    if (clock_is_shared(r->boot_id, w->hello.boot_id))
        w->last.clock_error_ns = 0;
}

/* Nothing is held against the links of a new process; and nobody is connected to it before saying so again.
 */
static void forget_links(struct registry *r, uint32_t stage, uint32_t replica)
{
    for (int i = 0; stage && i < r->n_replicas[stage - 1]; i++)
        if (r->stage[stage - 1][i].last.reaches & REACHES_TOLD)
            r->stage[stage - 1][i].last.reaches &= ~(1u << replica);
    for (int i = 0; i < PIPELINE_MAX_REPLICAS; i++) {
        r->link[stage][i][replica] = (struct rest){0};
        if (stage + 1 < PIPELINE_MAX_STAGES)
            r->link[stage + 1][replica][i] = (struct rest){0};
    }
}

/* The holder speaks again. One that has bound its endpoint only now is as good as new to who sends to it. */
static enum registry_event update(struct registry *r, struct worker *w, const struct hello *h,
                                  const struct peer *peer, uint64_t now)
{
    bool goodbye = !h->ready && (w->hello.ready || !w->alive), bound = h->ready && !w->hello.ready;
    w->hello = *h;
    w->peer = *peer;
    w->heard_ns = now;
    w->alive = !goodbye;
    if (bound && h->role == ROLE_STAGE) {
        forget_links(r, h->stage, h->replica);
        w->last.reaches = h->reaches;
        return REGISTRY_JOINED;
    }
    return w->alive ? REGISTRY_UPDATED : REGISTRY_LEFT;
}

static enum registry_event join(struct registry *r, struct worker *w, const struct hello *h,
                                const struct peer *peer, uint64_t now)
{
    enum registry_event event = w->alive ? REGISTRY_REPLACED : REGISTRY_JOINED;
    uint32_t outstanding = w->outstanding; /* the caller takes these requests back */
    if (w->known)
        registry_oust(r, w->hello.incarnation);
    memset(w, 0, sizeof *w);
    w->known = w->alive = true;
    w->hello = *h;
    w->peer = *peer;
    w->heard_ns = now;
    w->outstanding = outstanding;
    if (h->role == ROLE_STAGE)
        forget_links(r, h->stage, h->replica);
    note_heartbeat(r, w,
                   &(struct heartbeat){
                       .incarnation = h->incarnation, .clock_error_ns = UINT64_MAX, .reaches = h->reaches});
    return event;
}

/* Who has bound the place's endpoint on the same host has it: its holder is gone. */
static bool displaces(const struct worker *holder, const struct hello *h)
{
    return h->ready && holder->hello.incarnation != h->incarnation && !strcmp(holder->hello.host, h->host);
}

enum registry_event registry_hello(struct registry *r, const struct hello *h, const struct peer *peer,
                                   uint64_t now, struct worker **out, struct error *e)
{
    struct worker *w = place_of(r, h, e);
    const struct worker *other;
    enum registry_event event;

    if (out)
        *out = w;
    if (!w)
        return REGISTRY_REFUSED;
    if (is_ousted(r, h->incarnation))
        return REGISTRY_UNWANTED;
    if (h->role == ROLE_STAGE && (other = registry_other_plan(r, h, displaces(w, h) ? w : NULL))) {
        error_set(e, FL_STALE, "stage %u replica %u (pid %llu on %s) has %s than stage %u replica %u",
                  h->stage, h->replica, (unsigned long long)h->pid, h->host,
                  registry_difference(h, &other->hello), other->hello.stage, other->hello.replica);
        if (w->alive && displaces(w, h))
            w->heard_ns = 0; /* found dead at the next look */
        return REGISTRY_WAITS;
    }
    note_ready(r, now);
    event = w->known && w->hello.incarnation == h->incarnation ? update(r, w, h, peer, now)
                                                               : join(r, w, h, peer, now);
    note_ready(r, now);
    return event;
}

const uint8_t *registry_identity(const struct registry *r)
{
    for (int s = 0; s < r->n_stages; s++)
        for (int i = 0; i < r->n_replicas[s]; i++)
            if (r->stage[s][i].alive)
                return r->stage[s][i].hello.identity;
    return NULL;
}

void registry_retire(struct registry *r, struct worker *w)
{
    registry_oust(r, w->hello.incarnation);
    w->alive = false;
}

static struct worker *by_incarnation(struct registry *r, uint64_t incarnation)
{
    for (int s = 0; s < r->n_stages; s++)
        for (int i = 0; i < r->n_replicas[s]; i++)
            if (r->stage[s][i].known && r->stage[s][i].hello.incarnation == incarnation)
                return &r->stage[s][i];
    for (int i = 0; i < r->n_caches; i++)
        if (r->cache[i].known && r->cache[i].hello.incarnation == incarnation)
            return &r->cache[i];
    return NULL;
}

enum registry_event registry_heartbeat(struct registry *r, const struct heartbeat *h, const struct peer *peer,
                                       uint64_t now, struct worker **out)
{
    struct worker *w = by_incarnation(r, h->incarnation);
    bool was_alive;
    if (out)
        *out = w;
    if (!w)
        return is_ousted(r, h->incarnation) ? REGISTRY_UNWANTED : REGISTRY_STRANGER;
    was_alive = w->alive;
    note_heartbeat(r, w, h);
    w->peer = *peer;
    w->heard_ns = now;
    w->alive = true;
    note_ready(r, now);
    return was_alive ? REGISTRY_KNOWN : REGISTRY_REVIVED;
}

static bool silent(const struct registry *r, const struct worker *w, uint64_t now)
{
    return w->alive && now > w->heard_ns && now - w->heard_ns > r->dead_after_ns;
}

struct worker *registry_expire(struct registry *r, uint64_t now)
{
    struct worker *dead = NULL;
    for (int s = 0; s < r->n_stages && !dead; s++)
        for (int i = 0; i < r->n_replicas[s] && !dead; i++)
            if (silent(r, &r->stage[s][i], now))
                dead = &r->stage[s][i];
    for (int i = 0; i < r->n_caches && !dead; i++)
        if (silent(r, &r->cache[i], now))
            dead = &r->cache[i];
    note_ready(r, now);
    if (dead)
        dead->alive = false;
    return dead;
}
