/* dispatch_answer.c - how an attempt ends: in an answer, in an error, or in another attempt */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "dispatch_inside.h"
#include "broker/state/router.h"
#include "broker/state/trust.h"

#define RETRY_BACKOFF_NS (50 * NS_PER_MS)

/* ---- answers ---- */

void dispatch_send_answer(struct dispatch *d, const struct peer *to, zmq_msg_t *scores)
{
    if (d->io.client(d->io.arg, to, &d->out, scores))
        d->counters.undeliverable++;
}

uint32_t dispatch_retry_ms(const struct dispatch *d)
{
    return admission_retry_ms(&d->admission, dispatch_ahead(d) - 1);
}

int dispatch_ahead(const struct dispatch *d)
{
    return requests_count(d->requests) - requests_listed(d->requests, REQUESTS_FOLLOWING) -
           requests_listed(d->requests, REQUESTS_RELAYED);
}

static bool is_final(uint32_t code)
{
    return code == FL_VALUE || code == FL_SHAPE || code == FL_DTYPE;
}

struct answer *dispatch_begin_answer(struct dispatch *d, const struct request_entry *e)
{
    struct answer *a = &d->out.answer;
    memset(a, 0, sizeof *a);
    d->out.type = MESSAGE_ANSWER;
    a->id = e->client_id;
    a->request = e->id;
    a->attempts = e->attempt + e->handed_on;
    a->loss_promised = e->loss_allowed;
    if (d->variant)
        snprintf(a->variant, sizeof a->variant, "%s", d->variant);
    return a;
}

void dispatch_answer_error(struct dispatch *d, struct request_entry *e, uint32_t code, const char *text,
                           uint32_t retry_ms, uint64_t now)
{
    struct answer *a;
    struct request_entry *f, *next;
    if (dispatch_fails_over(d, e, code, now))
        return;
    a = dispatch_begin_answer(d, e);
    a->error = code;
    a->exit = a->label = -1;
    a->broker_ns = e->broker_ns;
    a->total_ns = now - e->received_ns;
    a->retry_after_ms = retry_ms;
    snprintf(a->text, sizeof a->text, "%s", text);
    d->counters.failed++;
    d->counters.expired += code == FL_DEADLINE;
    relay_pair_now(&d->relays, e->id, true, -1, now);
    if (e->failed_at)
        d->relays.place[e->failed_at - 1].done.failed_both++;
    log_at(LOG_LEVEL_DEBUG, e->id, "no answer after %llu us: %s",
           (unsigned long long)(a->total_ns / NS_PER_US), text);
    dispatch_note(d, e, SPAN_REQUEST, e->received_ns, now);
    dispatch_send_answer(d, &e->client, NULL);
    dispatch_cancel(d, e, -1);
    dispatch_tell_outcome(d, e, -1, -1, NULL);
    for (f = is_final(code) ? dispatch_follower(d, e, NULL) : NULL; f; f = next) {
        next = dispatch_follower(d, e, f);
        dispatch_answer_error(d, f, code, text, retry_ms, now);
    }
    dispatch_succeed(d, e);
    dispatch_finish(d, e);
}

/* Into d->out and *scores, which is not initialised. */
static void fill_known(const struct dispatch *d, struct answer *a, const struct response *known,
                       zmq_msg_t *scores)
{
    size_t bytes = known->scores.dtype ? (size_t)tensor_bytes(&known->scores) : 0;

    a->label = known->label;
    a->exit = known->exit;
    a->confidence = known->confidence;
    a->epoch = known->epoch;
    a->known = true;
    if (known->variant)
        memcpy(a->variant, d->relays.place[known->variant - 1].told.name, sizeof a->variant);
    zmq_msg_init(scores);
    if (bytes && zmq_msg_init_size(scores, bytes) == 0) {
        memcpy(zmq_msg_data(scores), known->scores.data, bytes);
        a->scores = known->scores;
        a->scores.data = NULL;
    }
}

void dispatch_answer_known(struct dispatch *d, struct request_entry *e, const struct response *known,
                           uint64_t now)
{
    struct answer *a = dispatch_begin_answer(d, e);
    zmq_msg_t scores;

    fill_known(d, a, known, &scores);
    a->broker_ns = a->total_ns = now - e->received_ns;
    d->counters.answered++;
    d->counters.known++;
    dispatch_count_times(d, a);
    dispatch_send_answer(d, &e->client, &scores);
    zmq_msg_close(&scores);
    dispatch_keep_answer(d, e, known);
    dispatch_finish(d, e);
}

void dispatch_answer_again(struct dispatch *d, const struct peer *to, uint64_t client_id,
                           const struct response *known)
{
    struct request_entry e = {.client_id = client_id};
    zmq_msg_t scores;

    fill_known(d, dispatch_begin_answer(d, &e), known, &scores);
    dispatch_send_answer(d, to, &scores);
    zmq_msg_close(&scores);
}

/* Requests that follow e get the same answer; later ones too, if it is of the newest attempt: who serves may
 * have changed since those before were sent. */
static void share_answer(struct dispatch *d, struct request_entry *e, const struct result *r,
                         zmq_msg_t *scores, uint64_t now)
{
    struct response known = {r->label, r->exit, r->confidence, r->exit >= 0 ? r->epoch : 0, r->scores, 0};
    struct request_entry *f, *next;
    known.scores.data = zmq_msg_data(scores);
    if (r->attempt == e->attempt)
        responses_keep(d->responses, e->key, e->stamp, e->id, &known);
    for (f = dispatch_follower(d, e, NULL); f; f = next) {
        next = dispatch_follower(d, e, f);
        dispatch_answer_known(d, f, &known, now);
    }
}

/* With their data; of no type where the payload has none. */
static struct tensor scores_in(const struct result *r, zmq_msg_t *payload)
{
    struct tensor t = r->scores;
    if (!t.dtype || (int64_t)zmq_msg_size(payload) < tensor_bytes(&t))
        return (struct tensor){0};
    t.data = zmq_msg_data(payload);
    return t;
}

static void answer_result(struct dispatch *d, struct request_entry *e, const struct result *r,
                          zmq_msg_t *scores, uint64_t came_ns, uint64_t now)
{
    struct answer *a;
    zmq_msg_t copy; /* a reference: sending moves the scores away */
    struct tensor told;
    int answered_by = r->trace.n ? (int)r->trace.stage[r->trace.n - 1].stage : -1;
    float confidence = r->confidence;

    if (dispatch_weighs(d, e, r, scores, &confidence, now))
        return;
    a = dispatch_begin_answer(d, e);
    a->scores = r->scores;
    a->label = r->label;
    a->exit = r->exit;
    a->confidence = confidence;
    a->epoch = r->exit >= 0 ? r->epoch : 0;
    dispatch_fill_times(d, e, r, came_ns, now, a);
    dispatch_count_times(d, a);
    dispatch_note(d, e, SPAN_WIRE, came_ns - a->return_ns, came_ns);
    dispatch_note(d, e, SPAN_REQUEST, e->received_ns, now);
    d->counters.answered++;
    relay_pair_now(&d->relays, e->id, false, r->label, now);
    log_at(LOG_LEVEL_DEBUG, e->id, "answered after %llu us: label %d, exit %d",
           (unsigned long long)(a->total_ns / NS_PER_US), a->label, a->exit);
    if (r->exit >= 0) {
        d->counters.hits++;
        d->counters.exit[r->exit]++;
    }
    zmq_msg_init(&copy);
    zmq_msg_copy(&copy, scores);
    told = scores_in(r, &copy);
    dispatch_send_answer(d, &e->client, scores);
    if (e->attempt > 1)
        dispatch_cancel(d, e, -1);
    else if (r->exit >= 0 && !dispatch_verdict_in_time(d, r))
        dispatch_cancel(d, e, answered_by);
    dispatch_tell_outcome(d, e, r->label, r->exit, &told);
    if (e->keyed)
        share_answer(d, e, r, &copy, now);
    dispatch_keep_answer(
        d, e, &(struct response){r->label, r->exit, r->confidence, r->exit >= 0 ? r->epoch : 0, told, 0});
    dispatch_audit_answered(d, e, now);
    zmq_msg_close(&copy);
    dispatch_finish(d, e);
}

/* ---- other attempts ---- */

/* The current attempt is given up; another is sent at `not_before` or as soon as there is a worker. */
static void requeue(struct dispatch *d, struct request_entry *e, uint64_t not_before)
{
    d->counters.retried++;
    e->not_before_ns = not_before;
    dispatch_release_route(d, e);
    requests_wake_at(d->requests, e, e->deadline_ns);
    requests_prepend(d->requests, e, REQUESTS_WAITING); /* first in line: it is older than those that wait */
}

void dispatch_reroute(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    requeue(d, e, now);
}

void dispatch_retry(struct dispatch *d, struct request_entry *e, uint32_t reason, bool backoff, uint64_t now)
{
    char text[MESSAGE_TEXT_BYTES];
    if (e->failures++ >= (uint32_t)d->pipeline->broker.retries) {
        snprintf(text, sizeof text, "%u attempts failed, the last one because %s", e->attempt,
                 error_sentence((int)reason));
        dispatch_answer_error(d, e, reason, text, 0, now);
        return;
    }
    requeue(d, e, backoff ? now + (RETRY_BACKOFF_NS << (e->failures - 1)) : now);
}

/* ---- results ---- */

static void put_aside(const struct member *m, const char *why)
{
    log_warn("stage %d replica %d (pid %llu) fails one request after the other and is put aside: %s",
             m->stage, m->replica, (unsigned long long)m->hello.pid, why);
}

/* Which worker of the way is silent is not known. The others answer other requests, and are trusted again by
 * that.
 */
void dispatch_overdue(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    dispatch_ask(d, e, -1);
    if (e->failures >= (uint32_t)d->pipeline->broker.retries || d->retry_tokens < 1) {
        requests_wake_at(d->requests, e, e->deadline_ns);
        return;
    }
    d->retry_tokens -= 1;
    for (int s = 0; s < e->n_route; s++) {
        struct member *m = registry_worker(d->registry, s, e->route[s]);
        e->avoid[s] |= (uint16_t)(1u << e->route[s]);
        if (trust_worker_failed(m, now))
            put_aside(m, "nothing is heard of what it takes");
        if (s)
            trust_link_silent(d->registry, s, e->route[s - 1], e->route[s], now);
    }
    dispatch_retry(d, e, FL_DEADLINE, false, now);
}

/* A stage reports that e's current attempt has failed there: the first one of the route that is not in the
 * trace. Two kinds of failure do not count against broker.retries, since the request is not to blame: a link
 * to the next stage that broke (until the deadline, a restart is waited for), and a failure of a worker on
 * trial. */
static void on_failure(struct dispatch *d, struct request_entry *e, const struct result *r, uint64_t now)
{
    int stage = r->trace.n;
    struct member *m;
    bool trial;

    log_at(LOG_LEVEL_DEBUG, e->id, "attempt %u failed: %s", r->attempt, r->text);
    if (stage >= e->n_route || !trust_speaks_against(r->error)) {
        dispatch_retry(d, e, r->error, true, now);
        return;
    }
    if (r->error == FL_UNAVAILABLE && stage + 1 < e->n_route) {
        trust_link_failed(d->registry, stage + 1, e->route[stage], e->route[stage + 1], now);
        requeue(d, e, now);
        return;
    }
    m = registry_worker(d->registry, stage, e->route[stage]);
    trial = m->trial == e->id;
    e->avoid[stage] |= (uint16_t)(1u << e->route[stage]);
    if (trust_worker_failed(m, now))
        put_aside(m, r->text);
    if (trial)
        requeue(d, e, now);
    else
        dispatch_retry(d, e, r->error, true, now);
}

static void on_success(struct dispatch *d, const struct result *r)
{
    for (int i = 0; i < r->trace.n; i++) {
        const struct stage_time *t = &r->trace.stage[i];
        if (trust_is_aside(registry_worker(d->registry, (int)t->stage, (int)t->replica)))
            log_info("stage %u replica %u works again", t->stage, t->replica);
    }
    trust_succeeded(d->registry, &r->trace);
}

/* A part that claims to have taken longer than the whole was measured wrong: the whole bounds it. */
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

/* A stage did not compute a request since it would have been late. */
static void on_drop(struct dispatch *d, struct request_entry *e, const struct result *r, uint64_t now)
{
    admission_missed(&d->admission, r->trace.n < registry_stages(d->registry) ? r->trace.n : -1, now);
    dispatch_answer_error(d, e, FL_DEADLINE, r->text, dispatch_retry_ms(d), now);
}

/* e has left the queue of its replica of stage 0; then so has everything that was sent there before it. */
static void left_the_queue(struct dispatch *d, struct request_entry *e)
{
    int list = e->list;
    if (list < REQUESTS_FIRST)
        return;
    while (e->list == list)
        requests_unlist(d->requests, requests_first(d->requests, list));
}

void dispatch_taken(struct dispatch *d, const struct member *m)
{
    struct request_entry *e = requests_find(d->requests, m->last.taken);
    if (m->stage == 0 && e && e->list == REQUESTS_FIRST + m->replica)
        left_the_queue(d, e);
}

void dispatch_expire(struct dispatch *d, struct request_entry *e, uint64_t now)
{
    char text[MESSAGE_TEXT_BYTES];
    if (e->n_route)
        admission_missed(&d->admission, -1, now);
    snprintf(text, sizeof text, "no answer within %llu ms (%u attempts, %s)",
             (unsigned long long)(e->time_ns / NS_PER_MS), e->attempt,
             e->list == REQUESTS_WAITING ? "waiting for a worker" : "in the pipeline");
    dispatch_answer_error(d, e, FL_DEADLINE, text, dispatch_retry_ms(d), now);
}

/* An attempt is under way here. */
static bool is_sent(const struct request_entry *e)
{
    return e->list != REQUESTS_WAITING && e->list != REQUESTS_RELAYED;
}

/* Whoever was the last on the way has sent what cannot be. The request, if it is his, is tried elsewhere. */
static void blame(struct dispatch *d, struct request_entry *e, const struct result *r,
                  const struct error *why, uint64_t now)
{
    const struct stage_time *last = &r->trace.stage[r->trace.n ? r->trace.n - 1 : 0];
    struct result failed;
    struct member *m;

    if (!r->trace.n || (int64_t)last->stage >= registry_stages(d->registry) ||
        (int64_t)last->replica >= registry_replicas(d->registry, (int)last->stage))
        return;
    if (e && !e->original && r->attempt == e->attempt && is_sent(e) && (int)last->stage < e->n_route &&
        e->route[last->stage] == last->replica) {
        failed = *r;
        failed.error = FL_PROTOCOL;
        failed.trace.n = (int)last->stage;
        snprintf(failed.text, sizeof failed.text, "%.*s", (int)sizeof failed.text - 1, why->text);
        on_failure(d, e, &failed, now);
        return;
    }
    m = registry_worker(d->registry, (int)last->stage, (int)last->replica);
    if (m->known && trust_worker_failed(m, now))
        put_aside(m, why->text);
}

/* A stage that refuses what the one before it has sent speaks against that one. */
static bool refuses_sender(const struct result *r)
{
    return (r->error == FL_SHAPE || r->error == FL_DTYPE) && r->trace.n;
}

/* The result of a shadow is told to the caches alone. Times are learned from what someone waits for. */
static int on_shadow(struct dispatch *d, struct request_entry *e, const struct result *r, zmq_msg_t *payload,
                     struct error *error)
{
    struct tensor scores = scores_in(r, payload);
    if (r->exit >= 0)
        return error_set(error, FL_PROTOCOL, "a hit of a request whose hits are noted, not served");
    if (r->error == FL_OK) {
        on_success(d, r);
        dispatch_shadow_ended(d, e, r->label, &scores);
    } else if (r->attempt == e->attempt && e->n_route) {
        dispatch_shadow_failed(d, e, true);
    }
    return FL_OK;
}

int dispatch_result(struct dispatch *d, const struct result *r, zmq_msg_t *payload, uint64_t came_ns,
                    uint64_t now, struct error *error)
{
    struct request_entry *e = requests_find(d->requests, r->request);
    struct error why = {FL_OK, ""};
    if (dispatch_doubt(d, e, r, &why)) {
        blame(d, e, r, &why, now);
        return error_set(error, FL_PROTOCOL, "%s", why.text);
    }
    if (r->error == FL_OK && !(e && e->original))
        admission_answered(&d->admission, now);
    if (!e) {
        d->counters.duplicates += r->error == FL_OK;
        return FL_OK;
    }
    if (r->attempt == 0 || r->attempt > e->attempt)
        return error_set(error, FL_PROTOCOL, "a result of attempt %u, of %u that were sent", r->attempt,
                         e->attempt);
    if (e->original)
        return on_shadow(d, e, r, payload, error);
    if (r->attempt == e->attempt && (!r->error || r->trace.n))
        left_the_queue(d, e);
    if (r->error == FL_OK) {
        on_success(d, r);
        if (r->attempt == e->attempt && is_sent(e)) {
            learn(d, &r->trace, now - e->sent_ns);
            router_learn(d->registry, &r->trace, dispatch_return_ns(e, r, came_ns), now - e->sent_ns);
        }
        if (e->deadline_ns > now)
            answer_result(d, e, r, payload, came_ns, now);
        else
            dispatch_expire(d, e, now); /* too late; tick has not found it yet */
    } else if (refuses_sender(r)) {
        error_set(&why, FL_PROTOCOL, "refused by stage %d: %.400s", r->trace.n, r->text);
        blame(d, e, r, &why, now);
    } else if (is_final(r->error)) {
        dispatch_answer_error(d, e, r->error, r->text, 0, now);
    } else if (is_sent(e) && r->attempt == e->attempt) {
        if (r->error == FL_DEADLINE)
            on_drop(d, e, r, now);
        else
            on_failure(d, e, r, now);
    }
    return FL_OK;
}
