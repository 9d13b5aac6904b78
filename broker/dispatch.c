/* dispatch.c - the brain's door: messages and moments go to the part that decides */
#include "dispatch.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "dispatch_inside.h"
#include "broker/state/trust.h"

/* Answers that are kept for requests that come again: at most, and of broker.max_memory_mb. */
#define REPEAT_BYTES (16u << 20)
#define REPEAT_SHARE 0.25
#define IDLE_TICK_NS (100 * NS_PER_MS)
#define BACK_MS      500 /* until another process may have taken the place of one that goes down */

int dispatch_new(struct dispatch **out, const struct pipeline *p, const struct dispatch_io *io,
                 const struct hello *self, uint64_t now)
{
    struct dispatch *d = memory_cleared(sizeof *d, offsetof(struct dispatch, succession.item));
    uint64_t deadline_ns = (uint64_t)p->broker.deadline_ms * NS_PER_MS;
    uint64_t dead_after_ns = (uint64_t)p->broker.dead_after_ms * NS_PER_MS;
    size_t memory = (size_t)(p->broker.max_memory_mb * 1024 * 1024);
    double repeats = REPEAT_SHARE * (double)memory;
    int rc;
    if (!d)
        return FL_NOMEM;
    d->most_audits = p->broker.max_requests < AUDIT_LINE_MOST ? p->broker.max_requests : AUDIT_LINE_MOST;
    rc = requests_new(&d->requests, (int)self->replica, p->broker.max_requests, d->most_audits, memory,
                      self->incarnation);
    if (!rc)
        rc = registry_new(&d->registry, p, self->boot_id);
    if (!rc && p->broker.response_cache_mb > 0)
        rc = responses_new(&d->responses, (size_t)(p->broker.response_cache_mb * 1024 * 1024));
    if (!rc && pipeline_brokers(p) > 1)
        rc = responses_new(&d->repeats, repeats < REPEAT_BYTES ? (size_t)repeats : REPEAT_BYTES);
    if (rc) {
        dispatch_free(d);
        return rc;
    }
    span_log_init(&d->spans, DISPATCH_SPANS, ROLE_BROKER, 0, 0);
    d->pipeline = p;
    settings_init(&d->own, p);
    d->settings = &d->own;
    d->io = *io;
    d->started_ns = now;
    d->self = *self;
    d->attempt_ns = deadline_ns / (uint64_t)(p->broker.retries + 1);
    if (d->attempt_ns < dead_after_ns)
        d->attempt_ns = dead_after_ns;
    d->retry_tokens = RETRY_TOKENS_MAX;
    dispatch_begin_times(d);
    rates_init(&d->rates, p->broker.client_rate);
    d->line.first = d->line.next = 0;
    admission_init(&d->admission, (uint64_t)p->broker.latency_target_ms * NS_PER_MS);
    *out = d;
    return FL_OK;
}

void dispatch_free(struct dispatch *d)
{
    if (!d)
        return;
    requests_free(d->requests);
    responses_free(d->responses);
    responses_free(d->repeats);
    registry_free(d->registry);
    choice_free(d->choice);
    free(d->course);
    span_log_free(&d->spans);
    free(d);
}

void dispatch_heed(struct dispatch *d, struct settings *s)
{
    d->settings = s;
}

bool dispatch_blocked(const struct dispatch *d)
{
    return d->blocked;
}

bool dispatch_full(const struct dispatch *d)
{
    return d->full;
}

bool dispatch_feeds(const struct dispatch *d, int replica)
{
    return member_ready(registry_worker(d->registry, 0, replica));
}

bool dispatch_owed(const struct dispatch *d, int replica)
{
    return registry_worker(d->registry, 0, replica)->outstanding > 0;
}

static void fill_status(struct dispatch *d, uint64_t now)
{
    d->out.type = MESSAGE_STATUS_REPLY;
    dispatch_status(d, &d->out.status_reply, now);
}

static bool is_of(const struct request_entry *e, const struct peer *from, const struct cancel *c)
{
    if (e->original || e->client.size != from->size || memcmp(e->client.id, from->id, from->size))
        return false;
    for (int i = 0; i < c->n; i++)
        if (c->request[i] == e->client_id)
            return true;
    return false;
}

/* A client does not wait any more for requests of its own. One pass over all that there are is no more work
 * than admitting a few. */
static void on_cancel(struct dispatch *d, const struct peer *from, const struct cancel *c, uint64_t now)
{
    for (int i = 0; i < requests_slots(d->requests); i++) {
        struct request_entry *e = requests_slot(d->requests, i);
        if (!e || !is_of(e, from, c))
            continue;
        d->counters.cancelled++;
        dispatch_answer_error(d, e, FL_CANCELLED, "cancelled by its client", 0, now);
    }
}

void dispatch_client(struct dispatch *d, const struct peer *from, const struct message *m, zmq_msg_t *payload,
                     uint64_t now)
{
    if (m->type == MESSAGE_REQUEST) {
        dispatch_request(d, from, &m->request, payload, now);
    } else if (m->type == MESSAGE_CANCEL) {
        on_cancel(d, from, &m->cancel, now);
    } else if (m->type == MESSAGE_STATUS) {
        fill_status(d, now);
        d->io.client(d->io.arg, from, &d->out, NULL);
    } else if (m->type == MESSAGE_SPANS) {
        dispatch_hand_over_spans(d, from);
    } else if (m->type == MESSAGE_TIMES) {
        dispatch_tell_times(d, from);
    } else if (m->type == MESSAGE_FEEDBACK) {
        dispatch_feedback(d, from, &m->feedback, now);
    }
}

/* Several operators may ask: the longest lease counts. Each gets a status at once, and sees how much is in
 * flight. */
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
    fill_status(d, now);
    d->io.control(d->io.arg, from, &d->out);
}

static void on_relays(struct dispatch *d, const struct peer *from, const struct relays *r, uint64_t now)
{
    dispatch_set_relays(d, r, now);
    fill_status(d, now);
    d->io.control(d->io.arg, from, &d->out);
}

void dispatch_control(struct dispatch *d, const struct peer *from, const struct message *m, uint64_t now)
{
    if (m->type == MESSAGE_HELLO)
        dispatch_hello(d, from, &m->hello, now);
    else if (m->type == MESSAGE_HEARTBEAT)
        dispatch_heartbeat(d, from, &m->heartbeat, now);
    else if (m->type == MESSAGE_SPANS)
        dispatch_keep_spans(d, &m->spans);
    else if (m->type == MESSAGE_RELAYS)
        on_relays(d, from, &m->relays, now);
    else if (m->type == MESSAGE_DRAIN)
        on_drain(d, from, &m->drain, now);
}

uint64_t dispatch_tick(struct dispatch *d, uint64_t now)
{
    uint64_t next = now + IDLE_TICK_NS, wake;
    struct request_entry *e;

    dispatch_find_dead(d, now);
    wake = dispatch_watch_relays(d, now);
    next = wake < next ? wake : next;
    while ((e = requests_due(d->requests, now))) {
        if (e->original)
            dispatch_shadow_failed(d, e, true);
        else if (e->deadline_ns <= now)
            dispatch_expire(d, e, now);
        else if (dispatch_hurries(d, e, now))
            continue;
        else if (e->list == REQUESTS_RELAYED)
            dispatch_relays_late(d, e, now);
        else
            dispatch_overdue(d, e, now);
    }
    if (d->drain_until_ns && d->drain_until_ns <= now) {
        d->drain_until_ns = 0;
        log_warn("admits again: who asked to drain has gone");
    }
    dispatch_move_on(d, now);
    dispatch_tell_identity(d);
    dispatch_update_room(d);
    wake = dispatch_send_waiting(d, now);
    next = wake < next ? wake : next;
    wake = dispatch_send_shadows(d, now);
    admission_note(&d->admission, d->full || 2 * dispatch_under_way(d) >= d->room);
    next = wake < next ? wake : next;
    wake = requests_next_wake(d->requests);
    next = wake < next ? wake : next;
    if (d->cancels)
        dispatch_flush_cancels(d);
    if (trust_ready(d->registry) != d->was_ready) {
        d->was_ready = !d->was_ready;
        log_info(d->was_ready ? "every stage has a ready worker"
                              : "a stage has no ready worker, or none that the stage before it reaches");
    }
    return next;
}

void dispatch_abandon(struct dispatch *d, uint64_t now)
{
    d->ends = true;
    audit_line_give_up(&d->line);
    for (int i = 0; i < requests_slots(d->requests); i++) {
        struct request_entry *e = requests_slot(d->requests, i);
        if (e && e->original)
            dispatch_shadow_ended(d, e, -1, NULL);
        else if (e)
            dispatch_answer_error(d, e, FL_UNAVAILABLE, "the broker is going down", BACK_MS, now);
    }
}
