/* dispatch_members.c - workers come and go: hello, heartbeat, death; what they are told */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch.h"

static const char *name_of(const struct hello *h, char *buf, size_t size)
{
    if (h->role == ROLE_CACHE)
        snprintf(buf, size, "cache %u", h->replica);
    else
        snprintf(buf, size, "stage %u replica %u", h->stage, h->replica);
    return buf;
}

/* A worker is gone: every unanswered request that was to pass through it goes another way. A goodbye is no
 * failure of theirs. */
void dispatch_lost(struct dispatch *d, const struct worker *w, const char *why, uint64_t now)
{
    bool goodbye = !w->hello.ready;
    enum log_level level = goodbye ? LOG_LEVEL_INFO : LOG_LEVEL_WARN;
    struct request_entry *e;
    char name[64];
    int rerouted = 0;
    uint32_t stage = w->hello.stage, replica = w->hello.replica;

    name_of(&w->hello, name, sizeof name);
    if (w->hello.role == ROLE_CACHE) {
        log_at(level, 0, "%s (pid %llu) is gone: %s; its look-ups are misses", name,
               (unsigned long long)w->hello.pid, why);
        for (int i = 0; i < requests_slots(d->requests); i++)
            if ((e = requests_slot(d->requests, i)))
                dispatch_ask(d, e, (int)replica);
        return;
    }
    for (int i = 0; i < requests_slots(d->requests); i++) {
        e = requests_slot(d->requests, i);
        if (!e || e->list == REQUESTS_WAITING || e->route[stage] != replica)
            continue;
        e->avoid[stage] |= (uint16_t)(1u << replica);
        if (goodbye)
            dispatch_reroute(d, e, now);
        else
            dispatch_retry(d, e, FL_UNAVAILABLE, false, now);
        rerouted++;
    }
    if (stage == 0)
        d->io.reset(d->io.arg, (int)replica);
    log_at(level, 0, "%s (pid %llu) is gone: %s; %d requests re-routed", name,
           (unsigned long long)w->hello.pid, why, rerouted);
}

/* It tells a worker whose clock is the measure, and a cache service what the stages are. */
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

void dispatch_let_go(struct dispatch *d, const struct worker *w)
{
    if (w->alive && w->hello.leaving && !w->outstanding)
        dispatch_send_away(d, &w->peer);
}

/* Who holds the place that h claims; all zero when nobody does. */
static struct worker holder(const struct registry *r, const struct hello *h)
{
    if (h->role == ROLE_STAGE && h->stage < PIPELINE_MAX_STAGES && h->replica < PIPELINE_MAX_REPLICAS)
        return r->stage[h->stage][h->replica];
    if (h->role == ROLE_CACHE && h->replica < PIPELINE_MAX_CACHES)
        return r->cache[h->replica];
    return (struct worker){0};
}

static bool is_told(const uint8_t digest[DIGEST_BYTES])
{
    static const uint8_t none[DIGEST_BYTES];
    return memcmp(digest, none, sizeof none) != 0;
}

/* Tells a stage at which exits its cache service has caches for it, so that it need not ask at the others to
 * find out. Those of another identity are none. */
static void tell_exits(const struct dispatch *d, const struct worker *w, struct heartbeat *echo)
{
    const struct worker *cache;
    echo->exits_told = false;
    echo->exits = 0;
    if (w->hello.role != ROLE_STAGE)
        return;
    cache = &d->registry.cache[d->pipeline->stage[w->hello.stage].replica[w->hello.replica].cache];
    if (!cache->alive || !cache->last.exits_told)
        return;
    echo->exits_told = true;
    if (!is_told(cache->hello.identity) ||
        !memcmp(cache->hello.identity, w->hello.identity, sizeof w->hello.identity))
        echo->exits = cache->last.exits;
}

/* A new process of a stage: who sends to it has to say when it is connected. */
static void ask_senders(struct dispatch *d, const struct hello *h)
{
    if (h->role != ROLE_STAGE || h->stage == 0)
        return;
    for (int i = 0; i < d->registry.n_replicas[h->stage - 1]; i++) {
        const struct worker *w = &d->registry.stage[h->stage - 1][i];
        if (!w->alive)
            continue;
        d->out.type = MESSAGE_HEARTBEAT;
        d->out.heartbeat = (struct heartbeat){.incarnation = w->hello.incarnation};
        tell_exits(d, w, &d->out.heartbeat);
        d->io.control(d->io.arg, &w->peer, &d->out);
    }
}

/* One that waited ends. */
static bool waits_no_more(struct dispatch *d, const struct peer *from, const struct hello *h)
{
    struct successor *it = succession_find(&d->succession, h->incarnation);
    if (!it || !h->leaving)
        return false;
    succession_remove(&d->succession, it);
    dispatch_send_away(d, from);
    return true;
}

void dispatch_hello(struct dispatch *d, const struct peer *from, const struct hello *h, uint64_t now)
{
    struct error error = {FL_OK, ""};
    struct worker before, *w = NULL;
    char name[64];
    enum registry_event event;

    if (waits_no_more(d, from, h))
        return;
    before = holder(&d->registry, h);
    name_of(h, name, sizeof name);
    event = registry_hello(&d->registry, h, from, now, &w, &error);
    switch (event) {
    case REGISTRY_REFUSED:
        log_error("refused: %s", error.text);
        dispatch_send_away(d, from);
        return;
    case REGISTRY_UNWANTED:
        dispatch_send_away(d, from);
        return;
    case REGISTRY_WAITS:
        dispatch_keep_waiting(d, from, h, error.text, now);
        return;
    case REGISTRY_REPLACED:
        log_warn("%s: pid %llu on %s takes the place of pid %llu, which was alive", name,
                 (unsigned long long)h->pid, h->host, (unsigned long long)before.hello.pid);
        dispatch_send_away(d, &before.peer);
        dispatch_lost(d, &before, "replaced", now);
        break;
    case REGISTRY_JOINED:
        log_info("%s: pid %llu on %s, %s%s", name, (unsigned long long)h->pid, h->host, h->engine,
                 h->ready ? "" : ", starting");
        break;
    case REGISTRY_LEFT:
        dispatch_lost(d, w, "it said goodbye", now);
        return;
    default:
        if (h->leaving)
            log_info("%s: pid %llu leaves, after %u requests that are to pass through it", name,
                     (unsigned long long)h->pid, w->outstanding);
        else
            log_debug("%s: pid %llu is %s", name, (unsigned long long)h->pid,
                      h->ready ? "ready" : "starting");
    }
    dispatch_welcome(d, from, true);
    if (event != REGISTRY_UPDATED)
        ask_senders(d, h);
    dispatch_let_go(d, w);
}

static void on_heartbeat(struct dispatch *d, const struct peer *from, const struct heartbeat *h, uint64_t now)
{
    struct worker *w;
    char name[64];
    enum registry_event event = registry_heartbeat(&d->registry, h, from, now, &w);

    if (event == REGISTRY_UNWANTED) {
        dispatch_send_away(d, from);
        return;
    }
    if (event == REGISTRY_REVIVED)
        log_info("%s (pid %llu) is back", name_of(&w->hello, name, sizeof name),
                 (unsigned long long)w->hello.pid);
    if (w)
        dispatch_taken(d, w);
    if (!h->worker_ns && event == REGISTRY_KNOWN)
        return; /* one out of turn: nobody waits for its echo */
    d->out.type = MESSAGE_HEARTBEAT;
    d->out.heartbeat = *h;
    d->out.heartbeat.broker_ns = now;
    if (w)
        tell_exits(d, w, &d->out.heartbeat);
    if (event == REGISTRY_STRANGER && !dispatch_heard_waiting(d, from, h, now))
        d->out.heartbeat.incarnation = 0; /* "I don't know you: say hello" */
    d->io.control(d->io.arg, from, &d->out);
    if (w)
        dispatch_let_go(d, w);
}

/* Several may ask: the longest lease counts, and each is told at once how far it is. */
static void on_drain(struct dispatch *d, const struct peer *from, const struct drain *asked, uint64_t now)
{
    uint64_t ms = asked->lease_ms ? asked->lease_ms : DRAIN_LEASE_MS, until = now + ms * NS_PER_MS;
    bool draining = d->drain_until_ns > now;

    if (asked->undo)
        d->drain_until_ns = 0;
    else if (until > d->drain_until_ns)
        d->drain_until_ns = until;
    if (asked->undo && draining)
        log_info("admits again: the drain was undone");
    if (!asked->undo && !draining)
        log_info("draining: no more requests are admitted, %d in flight", requests_count(d->requests));
    dispatch_fill_status(d, now);
    d->io.control(d->io.arg, from, &d->out);
}

void dispatch_control(struct dispatch *d, const struct peer *from, const struct message *m, uint64_t now)
{
    if (m->type == MESSAGE_HELLO)
        dispatch_hello(d, from, &m->hello, now);
    else if (m->type == MESSAGE_HEARTBEAT)
        on_heartbeat(d, from, &m->heartbeat, now);
    else if (m->type == MESSAGE_SPANS)
        dispatch_keep_spans(d, &m->spans);
    else if (m->type == MESSAGE_DRAIN)
        on_drain(d, from, &m->drain, now);
}

static void flush_cancel(struct dispatch *d, struct worker *w)
{
    if (!w->cancel.n && !w->cancel.n_ask)
        return;
    d->out.type = MESSAGE_CANCEL;
    d->out.cancel = w->cancel;
    w->cancel.n = w->cancel.n_ask = 0;
    if (w->alive)
        d->io.control(d->io.arg, &w->peer, &d->out);
}

void dispatch_flush_cancels(struct dispatch *d)
{
    for (int s = 0; s < d->registry.n_stages; s++)
        for (int i = 0; i < d->registry.n_replicas[s]; i++)
            flush_cancel(d, &d->registry.stage[s][i]);
    d->cancels = false;
}

/* Collects a cancellation for every worker of a stage behind `after_stage` that some attempt of e was routed
 * to. Clobbers d->out. */
void dispatch_cancel(struct dispatch *d, const struct request_entry *e, int after_stage)
{
    for (int s = after_stage + 1; s < d->registry.n_stages; s++)
        for (int i = 0; i < d->registry.n_replicas[s]; i++) {
            struct worker *w = &d->registry.stage[s][i];
            if (!(e->used[s] >> i & 1) || !w->alive)
                continue;
            if (w->cancel.n == MESSAGE_MAX_BATCH)
                flush_cancel(d, w);
            w->cancel.request[w->cancel.n++] = e->id;
            d->cancels = true;
        }
}

void dispatch_ask(struct dispatch *d, const struct request_entry *e, int cache)
{
    if (e->flags & (JOB_NO_CACHE | JOB_AUDIT) || !d->registry.n_caches)
        return;
    for (int s = 0; s < e->n_route; s++) {
        struct worker *w = &d->registry.stage[s][e->route[s]];
        if (!w->alive || (cache >= 0 && d->pipeline->stage[s].replica[e->route[s]].cache != cache))
            continue;
        if (w->cancel.n_ask == MESSAGE_MAX_BATCH)
            flush_cancel(d, w);
        w->cancel.ask[w->cancel.n_ask++] = e->id;
        d->cancels = true;
    }
}

/* Tells every cache service what a sampled or audited request turned out to be (label -1: nothing was
 * learned). Clobbers d->out. */
void dispatch_tell_outcome(struct dispatch *d, const struct request_entry *e, int32_t label, int32_t hit_exit)
{
    if (!(e->flags & (JOB_SAMPLED | JOB_AUDIT)))
        return;
    for (int i = 0; i < d->registry.n_caches; i++) {
        const struct worker *w = &d->registry.cache[i];
        if (!w->alive)
            continue;
        d->out.type = MESSAGE_OUTCOME;
        d->out.outcome = (struct outcome){e->id, label, hit_exit};
        d->io.control(d->io.arg, &w->peer, &d->out);
    }
}
