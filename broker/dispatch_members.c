/* dispatch_members.c - members come and go: hello, heartbeat, death; those of another plan wait */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch_inside.h"
#include "wire/hello.h"

static const char *name_of(const struct hello *h, char *buf, size_t size)
{
    if (h->role == ROLE_CACHE || h->role == ROLE_LEARNER)
        snprintf(buf, size, "%s %u", h->role == ROLE_CACHE ? "cache" : "learner", h->replica);
    else
        snprintf(buf, size, "stage %u replica %u", h->stage, h->replica);
    return buf;
}

/* Every unanswered request that was to pass through it goes another way. After a goodbye its requests go
 * another way without a failed attempt; after a death the attempt counts. */
static void lost(struct dispatch *d, const struct member *m, const char *why, uint64_t now)
{
    bool goodbye = !m->hello.ready;
    enum log_level level = goodbye ? LOG_LEVEL_INFO : LOG_LEVEL_WARN;
    struct request_entry *e;
    char name[64];
    int rerouted = 0;

    name_of(&m->hello, name, sizeof name);
    if (m->stage < 0) {
        log_at(level, 0, "%s (pid %llu) is gone: %s%s", name, (unsigned long long)m->hello.pid, why,
               m->stage == MEMBER_CACHE ? "; its look-ups are misses" : "");
        for (int i = 0; m->stage == MEMBER_CACHE && i < requests_slots(d->requests); i++)
            if ((e = requests_slot(d->requests, i)))
                dispatch_ask(d, e, m->replica);
        return;
    }
    for (int i = 0; i < requests_slots(d->requests); i++) {
        e = requests_slot(d->requests, i);
        if (!e || !e->n_route || e->route[m->stage] != m->replica)
            continue;
        if (e->original) {
            dispatch_shadow_failed(d, e, !goodbye);
            continue;
        }
        e->avoid[m->stage] |= (uint16_t)(1u << m->replica);
        if (goodbye)
            dispatch_reroute(d, e, now);
        else
            dispatch_retry(d, e, FL_UNAVAILABLE, false, now);
        rerouted++;
    }
    if (m->stage == 0)
        d->io.reset(d->io.arg, m->replica);
    log_at(level, 0, "%s (pid %llu) is gone: %s; %d requests re-routed", name,
           (unsigned long long)m->hello.pid, why, rerouted);
}

/* Asks a stage worker for a heartbeat out of turn. FL_UNAVAILABLE: its connection is gone. */
static int ask_heartbeat(struct dispatch *d, const struct member *m)
{
    d->out.type = MESSAGE_HEARTBEAT;
    d->out.heartbeat = (struct heartbeat){.incarnation = m->hello.incarnation};
    dispatch_tell_exits(d, m, &d->out.heartbeat);
    return d->io.control(d->io.arg, &m->peer, &d->out);
}

/* A new process of a stage: the workers of the stage before are asked for a heartbeat, which says whether
 * they are connected to it. */
static void ask_senders(struct dispatch *d, const struct hello *h)
{
    if (h->role != ROLE_STAGE || h->stage == 0)
        return;
    for (int i = 0; i < registry_replicas(d->registry, (int)h->stage - 1); i++) {
        const struct member *m = registry_worker(d->registry, (int)h->stage - 1, i);
        if (m->alive)
            ask_heartbeat(d, m);
    }
}

/* Of a process that is killed the kernel closes the connections at once. One that has lost its connection for
 * another reason is connected again before its next heartbeat is overdue, and a later one revives it. */
static bool is_cut_off(struct dispatch *d, struct member *m, uint64_t now)
{
    uint64_t beat_ns = (uint64_t)d->pipeline->broker.heartbeat_ms * NS_PER_MS;

    if (m->stage < 0 || !m->alive || now < m->heard_ns + beat_ns + beat_ns / 4 ||
        now < m->asked_ns + beat_ns / 4)
        return false;
    m->asked_ns = now;
    return ask_heartbeat(d, m) == FL_UNAVAILABLE;
}

void dispatch_find_dead(struct dispatch *d, uint64_t now)
{
    struct member *m;

    for (int i = 0; i < registry_known(d->registry); i++)
        if (is_cut_off(d, m = registry_member(d->registry, i), now)) {
            m->alive = false;
            lost(d, m, "a heartbeat is overdue and its connection is gone", now);
        }
    while ((m = registry_expire(d->registry, now)))
        lost(d, m, "no heartbeat", now);
}

static void pass_on(struct dispatch *d, const struct member *to, const struct hello *h)
{
    d->out.type = MESSAGE_HELLO;
    d->out.hello = *h;
    d->io.control(d->io.arg, &to->peer, &d->out);
}

/* Who sends to a new worker, and to whom it sends, need not be in anybody's pipeline file: each hears where
 * the others are. */
static void introduce(struct dispatch *d, const struct member *m)
{
    const char *endpoint = hello_way(&m->hello, d->self.host);
    if (m->stage < 0)
        return;
    if (m->stage == 0 && *endpoint && d->io.meet)
        d->io.meet(d->io.arg, m->replica, endpoint);
    for (int i = 0; *endpoint && m->stage > 0 && i < registry_replicas(d->registry, m->stage - 1); i++)
        if (registry_worker(d->registry, m->stage - 1, i)->alive)
            pass_on(d, registry_worker(d->registry, m->stage - 1, i), &m->hello);
    for (int i = 0;
         m->stage + 1 < registry_stages(d->registry) && i < registry_replicas(d->registry, m->stage + 1);
         i++) {
        const struct member *next = registry_worker(d->registry, m->stage + 1, i);
        if (next->alive && next->hello.endpoint[0])
            pass_on(d, m, &next->hello);
    }
}

/* One of those who wait says that it ends. */
static bool waits_no_more(struct dispatch *d, const struct peer *from, const struct hello *h)
{
    struct successor *it = succession_find(&d->succession, h->incarnation);
    if (!it || !h->leaving)
        return false;
    succession_remove(&d->succession, it);
    dispatch_send_away(d, from);
    return true;
}

/* A worker of another plan than the one that serves; `why`: what differs. */
static void keep_waiting(struct dispatch *d, const struct peer *from, const struct hello *h, const char *why,
                         uint64_t now)
{
    struct successor *before = succession_at(&d->succession, h);
    bool known = before && before->hello.incarnation == h->incarnation;
    if (before && !known) {
        registry_oust(d->registry, before->hello.incarnation);
        dispatch_send_away(d, &before->peer);
    }
    if (!succession_keep(&d->succession, h, from, now)) {
        log_error("%s; no more than %d can wait: it is sent away", why, PIPELINE_MAX_WORKERS);
        dispatch_send_away(d, from);
        return;
    }
    if (!known && h->ready)
        log_warn("%s: it waits; `freezeline apply -c %s` moves all stages on to what the file says now", why,
                 d->pipeline->path);
    else if (!known)
        log_info("%s: it is loaded and waits to take over", why);
    dispatch_welcome(d, from, false);
}

/* It serves: what it said while it had to wait is old. */
static void forget_waiting(struct dispatch *d, const struct hello *h)
{
    struct successor *it = succession_find(&d->succession, h->incarnation);
    if (it)
        succession_remove(&d->succession, it);
}

/* Who waits with another plan has the endpoint that m, which serves, waits for: neither would ever go on. */
static void clear_way(struct dispatch *d, const struct member *m)
{
    struct successor *it = m->stage >= 0 ? succession_at(&d->succession, &m->hello) : NULL;
    if (m->hello.ready || !it || !it->hello.ready || strcmp(it->hello.host, m->hello.host))
        return;
    registry_oust(d->registry, it->hello.incarnation);
    dispatch_send_away(d, &it->peer);
    succession_remove(&d->succession, it);
}

static bool heard_waiting(struct dispatch *d, const struct peer *from, const struct heartbeat *h,
                          uint64_t now)
{
    struct successor *it = succession_find(&d->succession, h->incarnation);
    if (!it || (h->ready && !it->hello.ready))
        return false;
    it->heard_ns = now;
    it->peer = *from;
    return true;
}

void dispatch_hello(struct dispatch *d, const struct peer *from, const struct hello *h, uint64_t now)
{
    struct error error = {FL_OK, ""};
    const struct member *place;
    struct member before = {0}, *m = NULL;
    char name[64];
    enum registry_event event;

    if (waits_no_more(d, from, h))
        return;
    if ((place = registry_place(d->registry, h, &error)))
        before = *place;
    name_of(h, name, sizeof name);
    event = registry_hello(d->registry, h, from, now, &m, &error);
    switch (event) {
    case REGISTRY_REFUSED:
        log_error("refused: %s", error.text);
        dispatch_send_away(d, from);
        return;
    case REGISTRY_UNWANTED:
        dispatch_send_away(d, from);
        return;
    case REGISTRY_WAITS:
        keep_waiting(d, from, h, error.text, now);
        return;
    case REGISTRY_REPLACED:
        log_warn("%s: pid %llu on %s takes the place of pid %llu, which was alive", name,
                 (unsigned long long)h->pid, h->host, (unsigned long long)before.hello.pid);
        dispatch_send_away(d, &before.peer);
        lost(d, &before, "replaced", now);
        break;
    case REGISTRY_JOINED:
        log_info("%s: pid %llu on %s, %s%s", name, (unsigned long long)h->pid, h->host, h->engine,
                 h->ready ? "" : ", starting");
        break;
    case REGISTRY_LEFT:
        lost(d, m, "it said goodbye", now);
        return;
    default:
        if (h->leaving)
            log_info("%s: pid %llu leaves, after %u requests that are to pass through it", name,
                     (unsigned long long)h->pid, m->outstanding);
        else
            log_debug("%s: pid %llu is %s", name, (unsigned long long)h->pid,
                      h->ready ? "ready" : "starting");
    }
    forget_waiting(d, h);
    clear_way(d, m);
    dispatch_welcome(d, from, true);
    if (event != REGISTRY_UPDATED) {
        introduce(d, m);
        ask_senders(d, h);
    }
    dispatch_let_go(d, m);
}

void dispatch_heartbeat(struct dispatch *d, const struct peer *from, const struct heartbeat *h, uint64_t now)
{
    struct member *m;
    char name[64];
    enum registry_event event = registry_heartbeat(d->registry, h, from, now, &m);

    if (event == REGISTRY_UNWANTED) {
        dispatch_send_away(d, from);
        return;
    }
    if (event == REGISTRY_REVIVED)
        log_info("%s (pid %llu) is back", name_of(&m->hello, name, sizeof name),
                 (unsigned long long)m->hello.pid);
    if (m)
        dispatch_taken(d, m);
    if (!h->worker_ns && event == REGISTRY_KNOWN)
        return; /* not the regular one: no echo is wanted */
    d->out.type = MESSAGE_HEARTBEAT;
    d->out.heartbeat = *h;
    d->out.heartbeat.broker_ns = now;
    if (m)
        dispatch_tell_exits(d, m, &d->out.heartbeat);
    if (event == REGISTRY_STRANGER && !heard_waiting(d, from, h, now))
        d->out.heartbeat.incarnation = 0; /* "I don't know you: say hello" */
    d->io.control(d->io.arg, from, &d->out);
    if (m)
        dispatch_let_go(d, m);
}
