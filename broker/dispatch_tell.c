/* dispatch_tell.c - what members are told: welcome, go, cancellations, outcomes */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "dispatch_inside.h"
#include "numbers/floats.h"

/* A worker learns from it whose clock counts, a cache service which identity the stages have. */
void dispatch_welcome(struct dispatch *d, const struct peer *to, bool serves)
{
    struct hello *h = &d->out.hello;
    d->out.type = MESSAGE_HELLO;
    *h = d->self;
    h->ready = serves;
    memcpy(h->identity, d->told_identity, sizeof h->identity);
    d->io.control(d->io.arg, to, &d->out);
}

void dispatch_send_away(struct dispatch *d, const struct peer *to)
{
    d->out.type = MESSAGE_DRAIN;
    d->out.drain = (struct drain){0};
    d->io.control(d->io.arg, to, &d->out);
}

void dispatch_let_go(struct dispatch *d, const struct member *m)
{
    if (m->alive && m->hello.leaving && !m->outstanding)
        dispatch_send_away(d, &m->peer);
}

void dispatch_release_route(struct dispatch *d, struct request_entry *e)
{
    for (int s = 0; s < e->n_route; s++) {
        struct member *m = registry_worker(d->registry, s, e->route[s]);
        if (m->outstanding)
            m->outstanding--;
        if (m->trial == e->id)
            m->trial = 0;
        dispatch_let_go(d, m);
    }
    if (e->original && e->n_route)
        d->shadowed &= (uint16_t) ~(1u << e->route[0]);
    e->n_route = 0;
}

static bool is_told(const uint8_t digest[DIGEST_BYTES])
{
    static const uint8_t none[DIGEST_BYTES];
    return memcmp(digest, none, sizeof none) != 0;
}

int dispatch_cache_of(const struct dispatch *d, const struct member *m)
{
    return m->hello.asks ? (int)m->hello.asks - 1 : d->pipeline->stage[m->stage].replica[m->replica].cache;
}

/* Told to a stage so that it does not ask where there is no cache, but tells what is to be learned from.
 * Caches of another identity do not count. */
void dispatch_tell_exits(const struct dispatch *d, const struct member *m, struct heartbeat *out)
{
    const struct member *cache;
    out->exits_told = false;
    out->exits = out->learns = 0;
    if (m->stage < 0)
        return;
    cache = registry_cache(d->registry, dispatch_cache_of(d, m));
    if (!cache || !cache->alive || !cache->last.exits_told)
        return;
    out->exits_told = true;
    if (is_told(cache->hello.identity) &&
        memcmp(cache->hello.identity, m->hello.identity, sizeof m->hello.identity) != 0)
        return;
    out->exits = cache->last.exits;
    out->learns = cache->last.learns;
}

/* Caches of another identity answer none of the stages' look-ups. */
void dispatch_tell_identity(struct dispatch *d)
{
    const uint8_t *serving = registry_identity(d->registry);
    if (!serving || !memcmp(d->told_identity, serving, DIGEST_BYTES))
        return;
    memcpy(d->told_identity, serving, DIGEST_BYTES);
    for (int i = 0; i < registry_caches(d->registry); i++) {
        const struct member *m = registry_cache(d->registry, i);
        if (m->alive)
            dispatch_welcome(d, &m->peer, true);
    }
}

static void flush_cancel(struct dispatch *d, struct member *m)
{
    if (!m->cancel.n && !m->cancel.n_ask)
        return;
    d->out.type = MESSAGE_CANCEL;
    d->out.cancel = m->cancel;
    m->cancel.n = m->cancel.n_ask = 0;
    if (m->alive)
        d->io.control(d->io.arg, &m->peer, &d->out);
}

void dispatch_flush_cancels(struct dispatch *d)
{
    for (int i = 0; i < registry_known(d->registry); i++)
        flush_cancel(d, registry_member(d->registry, i));
    d->cancels = false;
}

void dispatch_cancel(struct dispatch *d, const struct request_entry *e, int after_stage)
{
    for (int s = after_stage + 1; s < registry_stages(d->registry); s++)
        for (int i = 0; i < registry_replicas(d->registry, s); i++) {
            struct member *m = registry_worker(d->registry, s, i);
            if (!(e->used[s] >> i & 1) || !m->alive)
                continue;
            if (m->cancel.n == MESSAGE_MAX_BATCH)
                flush_cancel(d, m);
            m->cancel.request[m->cancel.n++] = e->id;
            d->cancels = true;
        }
}

void dispatch_ask(struct dispatch *d, const struct request_entry *e, int cache)
{
    if (e->flags & (JOB_NO_CACHE | JOB_AUDIT) || !registry_caches(d->registry))
        return;
    for (int s = 0; s < e->n_route; s++) {
        struct member *m = registry_worker(d->registry, s, e->route[s]);
        if (!m->alive || (cache >= 0 && dispatch_cache_of(d, m) != cache))
            continue;
        if (m->cancel.n_ask == MESSAGE_MAX_BATCH)
            flush_cancel(d, m);
        m->cancel.ask[m->cancel.n_ask++] = e->id;
        d->cancels = true;
    }
}

/* That an audit is lost is told to one that learns: each of them would tell the learner. */
static void tell_caches(struct dispatch *d, const struct outcome *o)
{
    const struct member *learns = dispatch_who_learns(d);
    for (int i = 0; i < registry_caches(d->registry); i++) {
        const struct member *m = registry_cache(d->registry, i);
        if (!m->alive)
            continue;
        d->out.type = MESSAGE_OUTCOME;
        d->out.outcome = *o;
        d->out.outcome.audit &= o->label >= 0 || m == learns;
        d->io.control(d->io.arg, &m->peer, &d->out);
    }
}

static void end_audit(struct dispatch *d, struct request_entry *e, const struct outcome *outcome)
{
    struct outcome o;
    bool told;
    e->audit = false;
    audit_line_over(&d->line, e->ticket, outcome);
    while (audit_line_leave(&d->line, &o, &told)) {
        d->counters.audits_done += told && o.audit && o.label >= 0;
        if (told)
            tell_caches(d, &o);
    }
}

static void put_scores(struct outcome *o, const struct tensor *scores)
{
    int64_t n = scores && scores->dtype == TENSOR_F32 ? tensor_count(scores) : 0;
    if (n > MESSAGE_MAX_SCORES)
        return;
    for (o->n_scores = 0; o->n_scores < n; o->n_scores++) {
        float x;
        memcpy(&x, (const float *)scores->data + o->n_scores, sizeof x);
        o->scores[o->n_scores] = half_from_float(fminf(fmaxf(x, -HALF_MAX), HALF_MAX));
    }
}

void dispatch_tell_outcome(struct dispatch *d, struct request_entry *e, int32_t label, int32_t hit_exit,
                           const struct tensor *scores)
{
    struct outcome o;
    if (!e->audit && !(e->flags & (JOB_SAMPLED | JOB_AUDIT)))
        return;
    o = (struct outcome){.request = e->id,
                         .label = label,
                         .hit_exit = hit_exit,
                         .audit = e->audit && hit_exit < 0 && (label >= 0 || e->original),
                         .original = e->original};
    if (label >= 0 && hit_exit < 0)
        put_scores(&o, scores);
    if (o.audit)
        end_audit(d, e, &o);
    else
        tell_caches(d, &o);
}

void dispatch_give_audit_up(struct dispatch *d, struct request_entry *e)
{
    if (e->audit)
        end_audit(d, e, NULL);
}

bool dispatch_may_recover(const struct dispatch *d, int stage, uint64_t now)
{
    uint64_t young_ns = (uint64_t)d->pipeline->broker.dead_after_ms * NS_PER_MS;

    return registry_stage_recovering(d->registry, stage, now) || now - d->started_ns <= young_ns;
}
