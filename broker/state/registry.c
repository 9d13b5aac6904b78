/* registry.c - hello, heartbeat, silence: who is there */
#include "registry.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* A worker's start (load, autotune, warm-up) takes seconds; a supervisor's back-off comes on top. */
#define RECOVER_NS (10 * NS_PER_S)
#define OUSTED     64

struct registry {
    int n_stages, n_caches;
    int n_replicas[PIPELINE_MAX_STAGES];
    /* place of each stage's first replica, then of the first cache service; behind those, the learners */
    int first[PIPELINE_MAX_STAGES + 1];
    struct member *member; /* one per place */
    int n_known, *known;   /* places of those that are, ascending */
    uint64_t dead_after_ns;
    char boot_id[MESSAGE_NAME_BYTES];
    uint64_t last_ready_ns[PIPELINE_MAX_STAGES]; /* when the stage last had a ready worker; 0 = never */
    uint64_t ousted[OUSTED];                     /* ring of incarnations that are not wanted any more */
    unsigned n_ousted;
};

/* ---- places ---- */

int registry_new(struct registry **out, const struct pipeline *p, const char *boot_id)
{
    struct registry *r = calloc(1, sizeof *r);
    int places = 0;

    if (!r)
        return FL_NOMEM;
    r->n_stages = p->n_stages;
    r->n_caches = p->cache.n_endpoints;
    for (int s = 0; s < r->n_stages; s++) {
        r->first[s] = places;
        r->n_replicas[s] = p->stage[s].n_replicas;
        places += PIPELINE_MAX_REPLICAS;
    }
    r->first[r->n_stages] = places;
    places += r->n_caches + REGISTRY_LEARNERS;
    r->member = malloc((size_t)places * sizeof *r->member);
    r->known = malloc((size_t)places * sizeof *r->known);
    if (!r->member || !r->known) {
        registry_free(r);
        return FL_NOMEM;
    }
    for (int i = 0; i < places; i++)
        memset(&r->member[i], 0, offsetof(struct member, hello));
    for (int s = 0; s < r->n_stages; s++)
        for (int i = 0; i < PIPELINE_MAX_REPLICAS; i++) {
            registry_worker(r, s, i)->stage = s;
            registry_worker(r, s, i)->replica = i;
        }
    for (int i = 0; i < r->n_caches; i++) {
        registry_cache(r, i)->stage = MEMBER_CACHE;
        registry_cache(r, i)->replica = i;
    }
    for (int i = 0; i < REGISTRY_LEARNERS; i++) {
        registry_learner(r, i)->stage = MEMBER_LEARNER;
        registry_learner(r, i)->replica = i;
    }
    r->dead_after_ns = (uint64_t)p->broker.dead_after_ms * NS_PER_MS;
    memcpy(r->boot_id, boot_id, strnlen(boot_id, sizeof r->boot_id - 1));
    *out = r;
    return FL_OK;
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    free(r->member);
    free(r->known);
    free(r);
}

int registry_stages(const struct registry *r)
{
    return r->n_stages;
}

int registry_replicas(const struct registry *r, int stage)
{
    return r->n_replicas[stage];
}

int registry_caches(const struct registry *r)
{
    return r->n_caches;
}

int registry_known(const struct registry *r)
{
    return r->n_known;
}

struct member *registry_member(const struct registry *r, int i)
{
    return &r->member[r->known[i]];
}

static void note_known(struct registry *r, const struct member *m)
{
    int place = (int)(m - r->member), at = r->n_known++;
    for (; at > 0 && r->known[at - 1] > place; at--)
        r->known[at] = r->known[at - 1];
    r->known[at] = place;
}

struct member *registry_worker(const struct registry *r, int stage, int replica)
{
    return &r->member[r->first[stage] + replica];
}

struct member *registry_cache(const struct registry *r, int index)
{
    return index < r->n_caches ? &r->member[r->first[r->n_stages] + index] : NULL;
}

struct member *registry_learner(const struct registry *r, int index)
{
    return &r->member[r->first[r->n_stages] + r->n_caches + index];
}

/* With that one, there would be more workers than StatusReply has places for. */
static bool is_full(const struct registry *r, const struct hello *h)
{
    int n = r->n_caches + (int)h->replica + 1 - r->n_replicas[h->stage];
    for (int s = 0; s < r->n_stages; s++)
        n += r->n_replicas[s];
    return n > PIPELINE_MAX_WORKERS;
}

struct member *registry_place(const struct registry *r, const struct hello *h, struct error *e)
{
    if (h->role == ROLE_CACHE) {
        if ((int64_t)h->replica < r->n_caches)
            return registry_cache(r, (int)h->replica);
        error_set(e, FL_CONFIG, "cache %u is not in the pipeline file, which has %d", h->replica,
                  r->n_caches);
        return NULL;
    }
    if (h->role == ROLE_LEARNER && h->replica < REGISTRY_LEARNERS)
        return registry_learner(r, (int)h->replica);
    if (h->role != ROLE_STAGE) {
        error_set(e, FL_PROTOCOL, "hello of role %u: only stages, caches and learners say hello", h->role);
        return NULL;
    }
    if ((int64_t)h->stage >= r->n_stages || h->replica >= PIPELINE_MAX_REPLICAS) {
        error_set(e, FL_CONFIG, "stage %u replica %u is not in the pipeline file", h->stage, h->replica);
        return NULL;
    }
    if ((int)h->replica >= r->n_replicas[h->stage] && (!*h->endpoint || is_full(r, h))) {
        error_set(e, FL_CONFIG, "stage %u replica %u is not in the pipeline file, and %s", h->stage,
                  h->replica,
                  *h->endpoint ? "there is no room for more workers" : "does not tell its endpoint");
        return NULL;
    }
    return registry_worker(r, (int)h->stage, (int)h->replica);
}

/* ---- who is ready ---- */

bool member_ready(const struct member *m)
{
    return m->alive && m->hello.ready && !m->hello.leaving && m->last.clock_error_ns != UINT64_MAX;
}

uint16_t member_reaches(const struct member *m)
{
    return m->last.reaches & REACHES_TOLD ? (uint16_t)m->last.reaches : UINT16_MAX;
}

bool registry_stage_ready(const struct registry *r, int stage)
{
    for (int i = 0; i < r->n_replicas[stage]; i++)
        if (member_ready(registry_worker(r, stage, i)))
            return true;
    return false;
}

bool registry_stage_empty(const struct registry *r, int stage)
{
    for (int i = 0; i < r->n_replicas[stage]; i++)
        if (registry_worker(r, stage, i)->alive)
            return false;
    return true;
}

uint64_t registry_stage_missing_ns(const struct registry *r, int stage, uint64_t now)
{
    return r->last_ready_ns[stage] ? now - r->last_ready_ns[stage] : UINT64_MAX;
}

bool registry_stage_recovering(const struct registry *r, int stage, uint64_t now)
{
    return !registry_stage_empty(r, stage) || registry_stage_missing_ns(r, stage, now) <= RECOVER_NS;
}

/* Keeps last_ready_ns true: called before and after anything changes. */
static void note_ready(struct registry *r, uint64_t now)
{
    for (int s = 0; s < r->n_stages; s++)
        if (registry_stage_ready(r, s))
            r->last_ready_ns[s] = now;
}

const uint8_t *registry_identity(const struct registry *r)
{
    for (int i = 0; i < r->n_known; i++)
        if (registry_member(r, i)->stage >= 0 && registry_member(r, i)->alive)
            return registry_member(r, i)->hello.identity;
    return NULL;
}

const char *registry_difference(const struct hello *h, const struct hello *other)
{
    if (memcmp(h->model, other->model, sizeof h->model))
        return "another model";
    if (memcmp(h->identity, other->identity, sizeof h->identity))
        return "another `input`, precision or `labels`";
    if (memcmp(h->plan, other->plan, sizeof h->plan))
        return "other cuts or exits";
    return NULL;
}

const struct member *registry_other_plan(const struct registry *r, const struct hello *h,
                                         const struct member *self)
{
    for (int i = 0; i < r->n_known; i++) {
        const struct member *m = registry_member(r, i);
        if (m != self && m->stage >= 0 && m->alive && registry_difference(h, &m->hello))
            return m;
    }
    return NULL;
}

/* ---- who is not wanted ---- */

void registry_oust(struct registry *r, uint64_t incarnation)
{
    r->ousted[r->n_ousted++ % OUSTED] = incarnation;
}

static bool is_ousted(const struct registry *r, uint64_t incarnation)
{
    for (unsigned i = 0; i < OUSTED && i < r->n_ousted; i++)
        if (r->ousted[i] == incarnation)
            return true;
    return false;
}

void registry_retire(struct registry *r, struct member *m)
{
    registry_oust(r, m->hello.incarnation);
    m->alive = false;
}

/* ---- hello ---- */

/* With the broker's own clock there is no error, whatever a worker says that has not yet heard whose clock
 * counts. */
static void note_heartbeat(const struct registry *r, struct member *m, const struct heartbeat *h)
{
    m->last = *h;
    if (clock_is_shared(r->boot_id, m->hello.boot_id))
        m->last.clock_error_ns = 0;
}

/* A new process starts with a clean slate: its links do not rest, and nobody counts as connected to it before
 * saying so again. */
static void forget_links(struct registry *r, struct member *m)
{
    for (int i = 0; m->stage > 0 && i < r->n_replicas[m->stage - 1]; i++) {
        struct member *before = registry_worker(r, m->stage - 1, i);
        if (before->last.reaches & REACHES_TOLD)
            before->last.reaches &= ~(1u << m->replica);
    }
    memset(m->link, 0, sizeof m->link);
    for (int i = 0; m->stage + 1 < r->n_stages && i < r->n_replicas[m->stage + 1]; i++)
        registry_worker(r, m->stage + 1, i)->link[m->replica] = (struct rest){0};
}

/* The holder of a place says hello again. If it has bound its endpoint only now, that is as a new process to
 * those who send to it. */
static enum registry_event update(struct registry *r, struct member *m, const struct hello *h,
                                  const struct peer *peer, uint64_t now)
{
    bool goodbye = !h->ready && (m->hello.ready || !m->alive), bound = h->ready && !m->hello.ready;
    m->hello = *h;
    m->peer = *peer;
    m->heard_ns = now;
    m->alive = !goodbye;
    if (bound && m->stage >= 0) {
        forget_links(r, m);
        m->last.reaches = h->reaches;
        return REGISTRY_JOINED;
    }
    return m->alive ? REGISTRY_UPDATED : REGISTRY_LEFT;
}

/* `outstanding` still counts the requests of the process before: the caller takes them back. */
static enum registry_event join(struct registry *r, struct member *m, const struct hello *h,
                                const struct peer *peer, uint64_t now)
{
    enum registry_event event = m->alive ? REGISTRY_REPLACED : REGISTRY_JOINED;

    if (m->known)
        registry_oust(r, m->hello.incarnation);
    else
        note_known(r, m);
    *m = (struct member){.stage = m->stage,
                         .replica = m->replica,
                         .known = true,
                         .alive = true,
                         .hello = *h,
                         .peer = *peer,
                         .heard_ns = now,
                         .outstanding = m->outstanding};
    if (m->stage >= 0 && m->replica >= r->n_replicas[m->stage])
        r->n_replicas[m->stage] = m->replica + 1;
    if (m->stage >= 0)
        forget_links(r, m);
    note_heartbeat(r, m,
                   &(struct heartbeat){
                       .incarnation = h->incarnation, .clock_error_ns = UINT64_MAX, .reaches = h->reaches});
    return event;
}

/* It has bound the place's endpoint, and its holder is on the same host. */
static bool has_endpoint_of(const struct member *holder, const struct hello *h)
{
    return h->ready && holder->hello.incarnation != h->incarnation && !strcmp(holder->hello.host, h->host);
}

/* Of two processes on one host, the one that has bound the place's endpoint lives: a holder that had it is
 * gone. */
static bool displaces(const struct member *holder, const struct hello *h)
{
    return holder->known && holder->hello.ready && has_endpoint_of(holder, h);
}

/* And one that has the plan that serves and waits for the endpoint would wait for ever. */
static bool stands_in_the_way(const struct member *holder, const struct hello *h)
{
    return holder->alive && !holder->hello.ready && has_endpoint_of(holder, h);
}

/* Started to take over a place (freezeline-stage --after): it binds the endpoint when the holder has ended.
 */
static bool comes_after(const struct member *holder, const struct hello *h)
{
    return holder->stage >= 0 && holder->alive && holder->hello.incarnation != h->incarnation && !h->ready;
}

enum registry_event registry_hello(struct registry *r, const struct hello *h, const struct peer *peer,
                                   uint64_t now, struct member **out, struct error *e)
{
    struct member *m = registry_place(r, h, e);
    const struct member *other;
    enum registry_event event;

    if (out)
        *out = m;
    if (!m)
        return REGISTRY_REFUSED;
    if (is_ousted(r, h->incarnation))
        return REGISTRY_UNWANTED;
    if (m->stage >= 0 && (other = registry_other_plan(r, h, displaces(m, h) ? m : NULL))) {
        if (stands_in_the_way(m, h)) {
            registry_oust(r, h->incarnation);
            return REGISTRY_UNWANTED;
        }
        error_set(e, FL_STALE, "stage %u replica %u (pid %llu on %s) has %s than stage %d replica %d",
                  h->stage, h->replica, (unsigned long long)h->pid, h->host,
                  registry_difference(h, &other->hello), other->stage, other->replica);
        if (m->alive && displaces(m, h))
            m->heard_ns = 0; /* found dead at the next look */
        return REGISTRY_WAITS;
    }
    if (comes_after(m, h)) {
        error_set(e, FL_STALE, "stage %u replica %u (pid %llu on %s) comes after pid %llu", h->stage,
                  h->replica, (unsigned long long)h->pid, h->host, (unsigned long long)m->hello.pid);
        return REGISTRY_WAITS;
    }
    note_ready(r, now);
    event = m->known && m->hello.incarnation == h->incarnation ? update(r, m, h, peer, now)
                                                               : join(r, m, h, peer, now);
    note_ready(r, now);
    return event;
}

/* ---- heartbeat and silence ---- */

static struct member *by_incarnation(const struct registry *r, uint64_t incarnation)
{
    for (int i = 0; i < r->n_known; i++)
        if (registry_member(r, i)->hello.incarnation == incarnation)
            return registry_member(r, i);
    return NULL;
}

/* Given up, it is heard again. A heartbeat does not say what has changed since: what it said last was that it
 * is not ready, or another plan serves by now. */
static bool must_say_hello(const struct registry *r, const struct member *m)
{
    return !m->hello.ready || (m->stage >= 0 && registry_other_plan(r, &m->hello, m));
}

enum registry_event registry_heartbeat(struct registry *r, const struct heartbeat *h, const struct peer *peer,
                                       uint64_t now, struct member **out)
{
    struct member *m = by_incarnation(r, h->incarnation);
    bool was_alive;

    if (m && ((!m->alive && must_say_hello(r, m)) || (h->ready && !m->hello.ready)))
        m = NULL; /* or the hello that said so was lost with its connection */
    if (out)
        *out = m;
    if (!m)
        return is_ousted(r, h->incarnation) ? REGISTRY_UNWANTED : REGISTRY_STRANGER;
    was_alive = m->alive;
    note_heartbeat(r, m, h);
    m->peer = *peer;
    m->heard_ns = now;
    m->alive = true;
    note_ready(r, now);
    return was_alive ? REGISTRY_KNOWN : REGISTRY_REVIVED;
}

struct member *registry_expire(struct registry *r, uint64_t now)
{
    struct member *dead = NULL;

    for (int i = 0; i < r->n_known && !dead; i++) {
        struct member *m = registry_member(r, i);
        if (m->alive && now > m->heard_ns && now - m->heard_ns > r->dead_after_ns)
            dead = m;
    }
    note_ready(r, now);
    if (dead)
        dead->alive = false;
    return dead;
}
