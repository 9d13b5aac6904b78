/* dispatch.c - the life of a request: admitted, sent, answered or retried, expired */
#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "router.h"
#include "trust.h"

#define RETRY_BACKOFF_NS (50 * NS_PER_MS)
#define IDLE_TICK_NS     (100 * NS_PER_MS)
#define RECOVER_TICK_NS  (50 * NS_PER_MS)

int dispatch_new(struct dispatch **out, const struct pipeline *p, const struct dispatch_io *io,
                 const struct hello *self, uint64_t now)
{
    struct dispatch *d = calloc(1, sizeof *d);
    uint64_t deadline_ns = (uint64_t)p->broker.deadline_ms * NS_PER_MS;
    int rc;
    if (!d)
        return FL_NOMEM;
    rc = requests_new(&d->requests, p->broker.max_requests, (size_t)(p->broker.max_memory_mb * 1024 * 1024),
                      self->incarnation);
    if (!rc)
        rc = span_log_new(&d->spans, DISPATCH_SPANS, ROLE_BROKER, 0, 0);
    if (rc) {
        dispatch_free(d);
        return rc;
    }
    registry_init(&d->registry, p);
    memcpy(d->registry.boot_id, self->boot_id, sizeof d->registry.boot_id);
    d->pipeline = p;
    d->io = *io;
    d->started_ns = now;
    d->self = *self;
    d->attempt_ns = deadline_ns / (uint64_t)(p->broker.retries + 1);
    if (d->attempt_ns < d->registry.dead_after_ns)
        d->attempt_ns = d->registry.dead_after_ns;
    d->retry_tokens = RETRY_TOKENS_MAX;
    admission_init(&d->admission, (uint64_t)p->broker.latency_target_ms * NS_PER_MS);
    *out = d;
    return FL_OK;
}

void dispatch_free(struct dispatch *d)
{
    if (!d)
        return;
    requests_free(d->requests);
    span_log_free(&d->spans);
    free(d);
}

bool dispatch_blocked(const struct dispatch *d)
{
    return d->blocked;
}

bool dispatch_full(const struct dispatch *d)
{
    return d->full;
}

void dispatch_send_answer(struct dispatch *d, const struct peer *to, zmq_msg_t *scores)
{
    if (d->io.client(d->io.arg, to, &d->out, scores))
        d->counters.undeliverable++;
}

/* Takes the current attempt's route out of the workers' books. */
static void release_route(struct dispatch *d, struct request_entry *e)
{
    for (int s = 0; s < e->n_route; s++) {
        struct worker *w = &d->registry.stage[s][e->route[s]];
        if (w->outstanding)
            w->outstanding--;
        if (w->trial == e->id)
            w->trial = 0;
        dispatch_let_go(d, w);
    }
    e->n_route = 0;
}

static uint32_t retry_ms(const struct dispatch *d)
{
    return admission_retry_ms(&d->admission, requests_count(d->requests) - 1);
}

static void finish(struct dispatch *d, struct request_entry *e)
{
    release_route(d, e);
    requests_remove(d->requests, e);
}

/* `retry_ms`: 0 where load is not to blame. */
static void answer_error(struct dispatch *d, struct request_entry *e, uint32_t code, const char *text,
                         uint32_t retry_ms, uint64_t now)
{
    struct answer *a = &d->out.answer;
    memset(a, 0, sizeof *a);
    d->out.type = MESSAGE_ANSWER;
    a->id = e->client_id;
    a->error = code;
    a->exit = a->label = -1;
    a->attempts = e->attempt;
    a->request = e->id;
    a->broker_ns = e->broker_ns;
    a->total_ns = now - e->received_ns;
    a->retry_after_ms = retry_ms;
    snprintf(a->text, sizeof a->text, "%s", text);
    d->counters.failed++;
    d->counters.expired += code == FL_DEADLINE;
    dispatch_note(d, e, SPAN_REQUEST, e->received_ns, now);
    dispatch_send_answer(d, &e->client, NULL);
    dispatch_cancel(d, e, -1);
    dispatch_tell_outcome(d, e, -1, -1);
    finish(d, e);
}

static void answer_result(struct dispatch *d, struct request_entry *e, const struct result *r,
                          zmq_msg_t *scores, uint64_t came_ns, uint64_t now)
{
    struct answer *a = &d->out.answer;
    int answered_by = r->trace.n ? (int)r->trace.stage[r->trace.n - 1].stage : -1;

    memset(a, 0, sizeof *a);
    d->out.type = MESSAGE_ANSWER;
    a->id = e->client_id;
    a->scores = r->scores;
    a->label = r->label;
    a->exit = r->exit;
    a->confidence = r->confidence;
    a->epoch = r->exit >= 0 ? r->epoch : 0;
    a->attempts = e->attempt;
    a->request = e->id;
    dispatch_fill_times(d, e, r, came_ns, now, a);
    dispatch_note(d, e, SPAN_WIRE, came_ns - a->return_ns, came_ns);
    dispatch_note(d, e, SPAN_REQUEST, e->received_ns, now);
    d->counters.answered++;
    if (r->exit >= 0) {
        d->counters.hits++;
        d->counters.exit[r->exit]++;
    }
    dispatch_send_answer(d, &e->client, scores);
    if (e->attempt > 1)
        dispatch_cancel(d, e, -1);
    else if (r->exit >= 0 && !dispatch_verdict_in_time(d, r))
        dispatch_cancel(d, e, answered_by);
    dispatch_tell_outcome(d, e, r->label, r->exit);
    finish(d, e);
}

/* ---- in ---- */

static bool is_final(uint32_t code)
{
    return code == FL_VALUE || code == FL_SHAPE || code == FL_DTYPE;
}

/* The current attempt is given up; another is sent at `not_before` or as soon as there is a worker. */
static void requeue(struct dispatch *d, struct request_entry *e, uint64_t not_before)
{
    d->counters.retried++;
    e->not_before_ns = not_before;
    release_route(d, e);
    requests_wake_at(d->requests, e, e->deadline_ns);
    requests_prepend(d->requests, e, REQUESTS_WAITING); /* it is older than what has not been sent yet */
}

void dispatch_reroute(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    requeue(d, e, now);
}

/* The worker that has failed e's current attempt is the one behind those of the trace. Not the request's
 * fault, and so not counted, is a link that broke (the deadline is the bound, a restart is waited for) and a
 * failure on trial. */
static void on_failure(struct dispatch *d, struct request_entry *e, const struct result *r, uint64_t now)
{
    int stage = r->trace.n;
    struct worker *w;
    bool trial;

    log_at(LOG_LEVEL_DEBUG, e->id, "attempt %u failed: %s", r->attempt, r->text);
    if (stage >= e->n_route || !trust_speaks_against(r->error)) {
        dispatch_retry(d, e, r->error, true, now);
        return;
    }
    if (r->error == FL_UNAVAILABLE && stage + 1 < e->n_route) {
        trust_link_failed(&d->registry, stage + 1, e->route[stage], e->route[stage + 1], now);
        requeue(d, e, now);
        return;
    }
    w = &d->registry.stage[stage][e->route[stage]];
    trial = w->trial == e->id;
    e->avoid[stage] |= (uint16_t)(1u << e->route[stage]);
    if (trust_worker_failed(w, now))
        log_warn("stage %d replica %d (pid %llu) fails one request after the other and is put aside: %s",
                 stage, e->route[stage], (unsigned long long)w->hello.pid, r->text);
    if (trial)
        requeue(d, e, now);
    else
        dispatch_retry(d, e, r->error, true, now);
}

static void on_success(struct dispatch *d, const struct result *r)
{
    for (int i = 0; i < r->trace.n; i++) {
        const struct stage_time *t = &r->trace.stage[i];
        if (trust_is_aside(&d->registry.stage[t->stage][t->replica]))
            log_info("stage %u replica %u works again", t->stage, t->replica);
    }
    trust_succeeded(&d->registry, &r->trace);
}

/* Nothing on the way took longer than the whole: what says so knows no time. */
static double within(uint64_t ns, uint64_t whole_ns)
{
    return (double)(ns < whole_ns ? ns : whole_ns);
}

static void learn(struct dispatch *d, const struct trace *t, uint64_t took_ns)
{
    struct passed p[PIPELINE_MAX_STAGES];
    for (int i = 0; i < t->n; i++) {
        const struct stage_time *s = &t->stage[i];
        p[i] = (struct passed){.stage = (int)s->stage,
                               .batch = (int)s->batch,
                               .wire_ns = within(s->wire_ns, took_ns),
                               .queue_ns = within(s->queue_ns, took_ns),
                               .own_ns = within(s->compute_ns, took_ns) + within(s->lookup_ns, took_ns) +
                                         within(s->serialise_ns, took_ns)};
    }
    admission_learn(&d->admission, t->n, p, took_ns);
}

/* A stage has not computed what would have come too late. */
static void on_drop(struct dispatch *d, struct request_entry *e, const struct result *r, uint64_t now)
{
    admission_missed(&d->admission, r->trace.n < d->registry.n_stages ? r->trace.n : -1, now);
    answer_error(d, e, FL_DEADLINE, r->text, retry_ms(d), now);
}

/* e is no more in the queue of its replica of stage 0, and so is nothing that was sent to it before. */
static void left_the_queue(struct dispatch *d, struct request_entry *e)
{
    int list = e->list;
    if (list < REQUESTS_FIRST)
        return;
    while (e->list == list)
        requests_unlist(d->requests, requests_first(d->requests, list));
}

void dispatch_taken(struct dispatch *d, const struct worker *w)
{
    struct request_entry *e = requests_find(d->requests, w->last.taken);
    if (w->hello.role == ROLE_STAGE && w->hello.stage == 0 && e &&
        e->list == REQUESTS_FIRST + (int)w->hello.replica)
        left_the_queue(d, e);
}

static void expire(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    char text[MESSAGE_TEXT_BYTES];
    if (e->list != REQUESTS_WAITING)
        admission_missed(&d->admission, -1, now);
    snprintf(text, sizeof text, "no answer within %llu ms (%u attempts, %s)",
             (unsigned long long)(e->time_ns / NS_PER_MS), e->attempt,
             e->list == REQUESTS_WAITING ? "waiting for a worker" : "in the pipeline");
    answer_error(d, e, FL_DEADLINE, text, retry_ms(d), now);
}

/* The decoder knows the protocol's limits, this the pipeline's: what passes may index every array here. */
static int check_result(const struct dispatch *d, const struct result *r, struct error *error)
{
    if (r->exit >= 0 && !r->trace.n)
        return error_set(error, FL_PROTOCOL, "a hit at exit %d that has passed no stage", r->exit);
    for (int i = 0; i < r->trace.n; i++) {
        const struct stage_time *t = &r->trace.stage[i];
        if ((int64_t)t->stage >= d->registry.n_stages ||
            (int64_t)t->replica >= d->registry.n_replicas[t->stage])
            return error_set(
                error, FL_PROTOCOL,
                "a result that has passed stage %u replica %u, which is not in the pipeline file", t->stage,
                t->replica);
    }
    return FL_OK;
}

int dispatch_result(struct dispatch *d, const struct result *r, zmq_msg_t *payload, uint64_t came_ns,
                    uint64_t now, struct error *error)
{
    struct request_entry *e = requests_find(d->requests, r->request);
    int rc = check_result(d, r, error);
    if (rc)
        return rc;
    if (r->error == FL_OK)
        admission_answered(&d->admission, now);
    if (!e) {
        d->counters.duplicates += r->error == FL_OK;
        return FL_OK;
    }
    if (r->attempt == 0 || r->attempt > e->attempt)
        return error_set(error, FL_PROTOCOL, "a result of attempt %u, of %u that were sent", r->attempt,
                         e->attempt);
    if (r->attempt == e->attempt && (!r->error || r->trace.n))
        left_the_queue(d, e);
    if (r->error == FL_OK) {
        on_success(d, r);
        if (r->attempt == e->attempt && e->list != REQUESTS_WAITING)
            learn(d, &r->trace, now - e->sent_ns);
        if (e->deadline_ns > now)
            answer_result(d, e, r, payload, came_ns, now);
        else
            expire(d, e, now); /* the clock has not been looked at since */
    } else if (is_final(r->error)) {
        answer_error(d, e, r->error, r->text, 0, now);
    } else if (e->list != REQUESTS_WAITING && r->attempt == e->attempt) {
        if (r->error == FL_DEADLINE)
            on_drop(d, e, r, now);
        else
            on_failure(d, e, r, now);
    }
    return FL_OK;
}

/* ---- out
 * --------------------------------------------------------------------------------------------------- */

/* The largest batch of a replica. */
static int batch_of(const struct dispatch *d, int stage, int replica)
{
    uint32_t told = d->registry.stage[stage][replica].last.batch;
    int batch = told && told <= MESSAGE_MAX_BATCH ? (int)told : d->pipeline->stage[stage].max_batch;
    return batch > 1 ? batch : 1;
}

static int in_queue(const struct dispatch *d, int replica)
{
    return requests_listed(d->requests, REQUESTS_FIRST + replica);
}

static int queue_of(const struct dispatch *d, int replica)
{
    return admission_queue(d->room, d->registry.n_stages, d->admission.replicas[0], batch_of(d, 0, replica));
}

static uint16_t full_queues(const struct dispatch *d)
{
    uint16_t full = 0;
    for (int i = 0; i < d->registry.n_replicas[0]; i++)
        if (in_queue(d, i) >= queue_of(d, i))
            full |= (uint16_t)(1u << i);
    return full;
}

static void fill_job(struct dispatch *d, const struct request_entry *e, const uint8_t *route, uint64_t now)
{
    struct job *j = &d->out.job;
    memset(j, 0, sizeof *j);
    d->out.type = MESSAGE_JOB;
    j->request = e->id;
    j->attempt = e->attempt + 1;
    j->flags = e->flags | (in_queue(d, route[0]) >= queue_of(d, route[0]) / 2 ? JOB_TELL : 0);
    j->deadline_ns = e->deadline_ns;
    j->sent_ns = now;
    j->plan = digest_short(d->registry.stage[0][route[0]].hello.plan);
    j->n_route = d->registry.n_stages;
    memcpy(j->route, route, (size_t)j->n_route);
    j->activation = e->input;
    j->n_rest = j->n_route;
    admission_rest(&d->admission, j->n_rest, j->rest_us);
}

static void note_sent(struct dispatch *d, struct request_entry *e, const uint8_t *route, uint64_t now)
{
    uint64_t overdue = now + d->attempt_ns;
    e->attempt++;
    dispatch_note(d, e, SPAN_WAIT, e->attempt > 1 ? e->sent_ns : e->received_ns, now);
    e->sent_ns = now;
    e->n_route = d->registry.n_stages;
    if (!e->broker_ns)
        e->broker_ns = now - e->received_ns;
    memcpy(e->route, route, (size_t)e->n_route);
    for (int s = 0; s < e->n_route; s++) {
        struct worker *w = &d->registry.stage[s][route[s]];
        w->outstanding++;
        if (trust_wants_trial(w, now))
            w->trial = e->id;
        e->used[s] |= (uint16_t)(1u << route[s]);
    }
    requests_append(d->requests, e, REQUESTS_FIRST + route[0]);
    requests_wake_at(d->requests, e, overdue < e->deadline_ns ? overdue : e->deadline_ns);
}

/* Sends e's next attempt to stage 0. FL_AGAIN: all of its queues are full (noted in *full). FL_UNAVAILABLE:
 * some stage
 * (*missing) has no ready worker. */
static int send_attempt(struct dispatch *d, struct request_entry *e, uint16_t *full, int *missing,
                        uint64_t now)
{
    uint8_t route[PIPELINE_MAX_STAGES];
    for (;;) {
        zmq_msg_t copy;
        *full |= full_queues(d);
        *missing = router_choose(&d->registry, e->avoid, *full, d->turn++, now, route);
        if (*missing == 0 && *full && registry_stage_ready(&d->registry, 0))
            return FL_AGAIN;
        if (*missing >= 0)
            return FL_UNAVAILABLE;
        fill_job(d, e, route, now);
        zmq_msg_init(&copy);
        zmq_msg_copy(&copy, &e->payload);
        if (!d->io.job(d->io.arg, route[0], &d->out, &copy)) {
            note_sent(d, e, route, now);
            return FL_OK;
        }
        zmq_msg_close(&copy);
        d->blocked = true;
        *full |= (uint16_t)(1u << route[0]);
    }
}

int dispatch_under_way(const struct dispatch *d)
{
    return requests_count(d->requests) - requests_listed(d->requests, REQUESTS_WAITING);
}

/* Two jobs keep each worker busy, two batches are as much as pays. */
static void update_room(struct dispatch *d)
{
    int start = 0, most = 0;
    for (int s = 0; s < d->registry.n_stages; s++) {
        d->admission.replicas[s] = 0;
        for (int i = 0; i < d->registry.n_replicas[s]; i++) {
            if (!worker_ready(&d->registry.stage[s][i]))
                continue;
            d->admission.replicas[s]++;
            start += 2;
            most += 2 * batch_of(d, s, i);
        }
    }
    d->room = admission_room(&d->admission, start, most);
}

static bool has_room(const struct dispatch *d)
{
    return dispatch_under_way(d) < d->room || !trust_ready(&d->registry);
}

/* While something is under way there is better to do than what would come too late. */
static bool too_late(const struct dispatch *d, const struct request_entry *e, uint64_t now)
{
    return admission_is_late(&d->admission, dispatch_under_way(d),
                             e->deadline_ns > now ? e->deadline_ns - now : 0);
}

static void drop_late(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    char text[MESSAGE_TEXT_BYTES];
    snprintf(text, sizeof text, "not computed: waited %llu ms of %llu, and what is ahead takes the rest",
             (unsigned long long)((now - e->received_ns) / NS_PER_MS),
             (unsigned long long)(e->time_ns / NS_PER_MS));
    answer_error(d, e, FL_DEADLINE, text, retry_ms(d), now);
}

/* Sends what waits, oldest first, until stage 0 or all of them take no more. Returns when to look again. */
static uint64_t send_waiting(struct dispatch *d, uint64_t now)
{
    uint64_t again = UINT64_MAX;
    uint16_t full = 0;
    struct request_entry *next;

    d->blocked = d->full = false;
    for (struct request_entry *e = requests_first(d->requests, REQUESTS_WAITING); e; e = next) {
        char text[MESSAGE_TEXT_BYTES];
        int missing, rc;
        next = requests_next(d->requests, e);
        if (e->not_before_ns > now) {
            again = e->not_before_ns < again ? e->not_before_ns : again;
            continue;
        }
        if (too_late(d, e, now)) {
            drop_late(d, e, now);
            continue;
        }
        rc = has_room(d) ? send_attempt(d, e, &full, &missing, now) : FL_AGAIN;
        if (rc ==
            FL_AGAIN) { /* until an answer comes, a worker takes some, or (the caller polls) a socket does */
            d->full = true;
            return d->blocked && now + 10 * NS_PER_MS < again ? now + 10 * NS_PER_MS : again;
        }
        if (rc == FL_UNAVAILABLE && !registry_stage_recovering(&d->registry, missing, now)) {
            snprintf(text, sizeof text, "stage %d has no ready worker", missing);
            answer_error(d, e, FL_UNAVAILABLE, text, 0, now);
        } else if (rc == FL_UNAVAILABLE) {
            return now + RECOVER_TICK_NS < again ? now + RECOVER_TICK_NS
                                                 : again; /* what is missing, all miss */
        }
    }
    return again;
}

void dispatch_retry(struct dispatch *d, struct request_entry *e, uint32_t reason, bool backoff, uint64_t now)
{
    char text[MESSAGE_TEXT_BYTES];
    if (e->failures++ >= (uint32_t)d->pipeline->broker.retries) {
        snprintf(text, sizeof text, "%u attempts failed, the last one because %s", e->attempt,
                 error_sentence((int)reason));
        answer_error(d, e, reason, text, 0, now);
        return;
    }
    requeue(d, e, backoff ? now + (RETRY_BACKOFF_NS << (e->failures - 1)) : now);
}

/* No result of the current attempt for attempt_ns: a message may be lost, or the pipeline is just slow. */
static void overdue(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    dispatch_ask(d, e, -1);
    if (e->failures >= (uint32_t)d->pipeline->broker.retries || d->retry_tokens < 1) {
        requests_wake_at(d->requests, e, e->deadline_ns);
        return;
    }
    d->retry_tokens -= 1;
    for (int s = 0; s < e->n_route; s++)
        e->avoid[s] |= (uint16_t)(1u << e->route[s]);
    dispatch_retry(d, e, FL_DEADLINE, false, now);
}

uint64_t dispatch_tick(struct dispatch *d, uint64_t now)
{
    uint64_t next = now + IDLE_TICK_NS, wake;
    struct request_entry *e;
    struct worker *dead;

    while ((dead = registry_expire(&d->registry, now)))
        dispatch_lost(d, dead, "no heartbeat", now);
    while ((e = requests_due(d->requests, now))) {
        if (e->deadline_ns <= now)
            expire(d, e, now);
        else
            overdue(d, e, now);
    }
    if (d->drain_until_ns && d->drain_until_ns <= now) {
        d->drain_until_ns = 0;
        log_warn("admits again: who asked to drain has gone");
    }
    dispatch_move_on(d, now);
    dispatch_tell_identity(d);
    update_room(d);
    wake = send_waiting(d, now);
    admission_note(&d->admission, d->full || 2 * dispatch_under_way(d) >= d->room);
    next = wake < next ? wake : next;
    wake = requests_next_wake(d->requests);
    next = wake < next ? wake : next;
    if (d->cancels)
        dispatch_flush_cancels(d);
    if (trust_ready(&d->registry) != d->was_ready) {
        d->was_ready = !d->was_ready;
        log_info(d->was_ready ? "every stage has a ready worker"
                              : "a stage has no ready worker, or none that the stage before it reaches");
    }
    return next;
}

void dispatch_abandon(struct dispatch *d, uint64_t now)
{
    for (int i = 0; i < requests_slots(d->requests); i++) {
        struct request_entry *e = requests_slot(d->requests, i);
        if (e)
            answer_error(d, e, FL_UNAVAILABLE, "the broker is going down", 0, now);
    }
}
