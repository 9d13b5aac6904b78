/* dispatch.c - the life of a request: admitted, sent, answered or retried, expired */
#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "router.h"
#include "sampling.h"
#include "trust.h"

#define RETRY_BACKOFF_NS  (50 * NS_PER_MS)
#define RETRY_TOKENS_MAX  64.0
#define RETRY_TOKENS_EACH 0.1 /* per admitted request */
#define LONGEST_DEADLINE  10  /* times the default */
#define IDLE_TICK_NS      (100 * NS_PER_MS)
#define RECOVER_TICK_NS   (50 * NS_PER_MS)

int dispatch_new(struct dispatch **out, const struct pipeline *p, const struct dispatch_io *io, uint64_t seed,
                 uint64_t now)
{
    struct dispatch *d = calloc(1, sizeof *d);
    uint64_t deadline_ns = (uint64_t)p->broker.deadline_ms * NS_PER_MS;
    int rc;
    if (!d)
        return FL_NOMEM;
    rc = requests_new(&d->requests, p->broker.max_requests, (size_t)(p->broker.max_memory_mb * 1024 * 1024),
                      seed);
    if (!rc)
        rc = span_log_new(&d->spans, DISPATCH_SPANS, ROLE_BROKER, 0, 0);
    if (rc) {
        dispatch_free(d);
        return rc;
    }
    registry_init(&d->registry, p);
    d->pipeline = p;
    d->io = *io;
    d->started_ns = now;
    d->incarnation = seed;
    d->attempt_ns = deadline_ns / (uint64_t)(p->broker.retries + 1);
    if (d->attempt_ns < d->registry.dead_after_ns)
        d->attempt_ns = d->registry.dead_after_ns;
    d->retry_tokens = RETRY_TOKENS_MAX;
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

static void send_answer(struct dispatch *d, const struct peer *to, zmq_msg_t *scores)
{
    if (d->io.client(d->io.arg, to, &d->out, scores))
        d->counters.undeliverable++;
}

/* Turns a request away that was never admitted. */
static void refuse(struct dispatch *d, const struct peer *to, uint64_t client_id, enum fl_code code,
                   const char *text)
{
    struct answer *a = &d->out.answer;
    memset(a, 0, sizeof *a);
    d->out.type = MESSAGE_ANSWER;
    a->id = client_id;
    a->error = code;
    a->exit = a->label = -1;
    snprintf(a->text, sizeof a->text, "%s", text);
    send_answer(d, to, NULL);
}

void dispatch_malformed(struct dispatch *d, const struct peer *from, uint64_t client_id,
                        const struct error *e)
{
    d->counters.refused++;
    refuse(d, from, client_id, e->code, e->text);
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

static void finish(struct dispatch *d, struct request_entry *e)
{
    release_route(d, e);
    requests_remove(d->requests, e);
}

static void answer_error(struct dispatch *d, struct request_entry *e, uint32_t code, const char *text,
                         uint64_t now)
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
    snprintf(a->text, sizeof a->text, "%s", text);
    d->counters.failed++;
    d->counters.expired += code == FL_DEADLINE;
    dispatch_note(d, e, SPAN_REQUEST, e->received_ns, now);
    send_answer(d, &e->client, NULL);
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
    send_answer(d, &e->client, scores);
    if (e->attempt > 1)
        dispatch_cancel(d, e, -1);
    else if (r->exit >= 0 && !dispatch_verdict_in_time(d, r))
        dispatch_cancel(d, e, answered_by);
    dispatch_tell_outcome(d, e, r->label, r->exit);
    finish(d, e);
}

/* ---- in
 * ---------------------------------------------------------------------------------------------------- */

static int check_request(const struct request *r, zmq_msg_t *payload, struct error *e)
{
    if (r->input.dtype == TENSOR_NONE || !zmq_msg_size(payload))
        return error_set(e, FL_SHAPE, "the request carries no input tensor");
    if (r->input.rank < 1 || r->input.dim[0] != 1)
        return error_set(e, FL_SHAPE,
                         "the input's first dim is the batch and must be 1: send each image as a request");
    return FL_OK;
}

static bool hopeless(const struct dispatch *d, uint64_t now, int *stage)
{
    for (int s = 0; s < d->registry.n_stages; s++)
        if (!registry_stage_ready(&d->registry, s) && !registry_stage_recovering(&d->registry, s, now)) {
            *stage = s;
            return true;
        }
    return false;
}

static uint64_t deadline_of(const struct dispatch *d, const struct request *r, uint64_t now)
{
    uint64_t ms = (uint64_t)d->pipeline->broker.deadline_ms;
    if (r->deadline_ms)
        ms = r->deadline_ms < ms * LONGEST_DEADLINE ? r->deadline_ms : ms * LONGEST_DEADLINE;
    return now + ms * NS_PER_MS;
}

static void admit(struct dispatch *d, const struct peer *from, const struct request *r, zmq_msg_t *payload,
                  uint64_t now)
{
    struct request_entry *e;
    if (requests_add(d->requests, payload, &e)) {
        d->counters.overloaded++;
        refuse(d, from, r->id, FL_OVERLOADED,
               "too many requests are in flight: send slower or raise broker.max_requests");
        return;
    }
    e->client_id = r->id;
    e->client = *from;
    e->input = r->input;
    e->input.data = NULL;
    e->received_ns = now;
    e->deadline_ns = deadline_of(d, r, now);
    e->flags = sampling_flags(e->id, r->flags, &d->pipeline->updates);
    requests_wake_at(d->requests, e, e->deadline_ns);
    requests_append(d->requests, e, REQUESTS_WAITING);
    d->counters.admitted++;
    d->retry_tokens += RETRY_TOKENS_EACH;
    if (d->retry_tokens > RETRY_TOKENS_MAX)
        d->retry_tokens = RETRY_TOKENS_MAX;
}

static void on_request(struct dispatch *d, const struct peer *from, const struct request *r,
                       zmq_msg_t *payload, uint64_t now)
{
    struct error error;
    int stage, rc;

    if ((rc = check_request(r, payload, &error))) {
        d->counters.refused++;
        refuse(d, from, r->id, (enum fl_code)rc, error.text);
    } else if (d->drain_until_ns > now) {
        d->counters.refused++;
        refuse(d, from, r->id, FL_UNAVAILABLE, "the pipeline is draining and admits no more");
    } else if (hopeless(d, now, &stage)) {
        d->counters.refused++;
        error_set(&error, FL_UNAVAILABLE, "stage %d has no ready worker", stage);
        refuse(d, from, r->id, FL_UNAVAILABLE, error.text);
    } else {
        admit(d, from, r, payload, now);
    }
}

void dispatch_client(struct dispatch *d, const struct peer *from, const struct message *m, zmq_msg_t *payload,
                     uint64_t now)
{
    if (m->type == MESSAGE_REQUEST) {
        on_request(d, from, &m->request, payload, now);
    } else if (m->type == MESSAGE_STATUS) {
        dispatch_fill_status(d, now);
        d->io.client(d->io.arg, from, &d->out, NULL);
    } else if (m->type == MESSAGE_SPANS) {
        dispatch_hand_over_spans(d, from);
    }
}

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

/* The decoder knows the protocol's limits, this the pipeline's: what passes may index every array here. */
static int check_result(const struct dispatch *d, const struct request_entry *e, const struct result *r,
                        struct error *error)
{
    if (r->attempt == 0 || r->attempt > e->attempt)
        return error_set(error, FL_PROTOCOL, "a result of attempt %u, of %u that were sent", r->attempt,
                         e->attempt);
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
    int rc;
    if (!e) {
        d->counters.duplicates += r->error == FL_OK;
        return FL_OK;
    }
    if ((rc = check_result(d, e, r, error)))
        return rc;
    if (r->attempt == e->attempt && (!r->error || r->trace.n))
        left_the_queue(d, e);
    if (r->error == FL_OK) {
        on_success(d, r);
        answer_result(d, e, r, payload, came_ns, now);
    } else if (is_final(r->error)) {
        answer_error(d, e, r->error, r->text, now);
    } else if (e->list != REQUESTS_WAITING && r->attempt == e->attempt) {
        on_failure(d, e, r, now);
    }
    return FL_OK;
}

/* ---- out
 * --------------------------------------------------------------------------------------------------- */

/* The largest batch of a replica of stage 0. */
static int first_batch(const struct dispatch *d, int replica)
{
    uint32_t told = d->registry.stage[0][replica].last.batch;
    int batch = told && told <= MESSAGE_MAX_BATCH ? (int)told : d->pipeline->stage[0].max_batch;
    return batch > 1 ? batch : 1;
}

static int in_queue(const struct dispatch *d, int replica)
{
    return requests_listed(d->requests, REQUESTS_FIRST + replica);
}

/* The replicas of stage 0 that have enough: a batch in hand and as much to form the next one from. */
static uint16_t full_queues(const struct dispatch *d)
{
    uint16_t full = 0;
    for (int i = 0; i < d->registry.n_replicas[0]; i++)
        if (in_queue(d, i) >= 2 * first_batch(d, i))
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
    j->flags = e->flags | (in_queue(d, route[0]) >= first_batch(d, route[0]) ? JOB_TELL : 0);
    j->deadline_ns = e->deadline_ns;
    j->sent_ns = now;
    j->plan = digest_short(d->registry.stage[0][route[0]].hello.plan);
    j->n_route = d->registry.n_stages;
    memcpy(j->route, route, (size_t)j->n_route);
    j->activation = e->input;
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

/* Sends what waits, oldest first, until stage 0 takes no more. Returns when to look again. */
static uint64_t send_waiting(struct dispatch *d, uint64_t now)
{
    uint64_t again = UINT64_MAX;
    uint16_t full = 0;
    struct request_entry *next;

    d->blocked = false;
    for (struct request_entry *e = requests_first(d->requests, REQUESTS_WAITING); e; e = next) {
        char text[MESSAGE_TEXT_BYTES];
        int missing, rc;
        next = requests_next(d->requests, e);
        if (e->not_before_ns > now) {
            again = e->not_before_ns < again ? e->not_before_ns : again;
            continue;
        }
        rc = send_attempt(d, e, &full, &missing, now);
        if (rc == FL_AGAIN) /* until a worker tells that it took some, or (the caller polls for that) a socket
                               has room */
            return d->blocked && now + 10 * NS_PER_MS < again ? now + 10 * NS_PER_MS : again;
        if (rc == FL_UNAVAILABLE && !registry_stage_recovering(&d->registry, missing, now)) {
            snprintf(text, sizeof text, "stage %d has no ready worker", missing);
            answer_error(d, e, FL_UNAVAILABLE, text, now);
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
        answer_error(d, e, reason, text, now);
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

static void expire(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    char text[MESSAGE_TEXT_BYTES];
    snprintf(text, sizeof text, "no answer within %llu ms (%u attempts, %s)",
             (unsigned long long)((e->deadline_ns - e->received_ns) / NS_PER_MS), e->attempt,
             e->list == REQUESTS_WAITING ? "waiting for a worker" : "in the pipeline");
    answer_error(d, e, FL_DEADLINE, text, now);
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
    wake = send_waiting(d, now);
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
            answer_error(d, e, FL_UNAVAILABLE, "the broker is going down", now);
    }
}
