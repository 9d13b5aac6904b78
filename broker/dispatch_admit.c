/* dispatch_admit.c - a request is admitted or refused at once */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "broker/state/sampling.h"
#include "dispatch_inside.h"

#define RETRY_TOKENS_EACH 0.1 /* gained per admitted request */
#define LONGEST_DEADLINE  10  /* a client may ask for so many times broker.deadline_ms */
/* A request that claims to be older than so many deadlines comes from a wrong clock. */
#define LONGEST_WAIT 1000
/* A request of one priority is passed by those of the priority before it that come within this part of
 * broker.deadline_ms: so by any others that come within half of it, and by none that come later. */
#define PRIORITY_PART 16

/* Answers a request that was not admitted. `retry_ms`: when to try again; 0: load is not the reason. */
static void refuse(struct dispatch *d, const struct peer *to, uint64_t client_id, enum fl_code code,
                   uint32_t retry_ms, const char *text)
{
    struct answer *a = &d->out.answer;
    memset(a, 0, sizeof *a);
    d->out.type = MESSAGE_ANSWER;
    a->id = client_id;
    a->error = code;
    a->exit = a->label = -1;
    a->retry_after_ms = retry_ms;
    snprintf(a->text, sizeof a->text, "%.*s", (int)sizeof a->text - 1, text);
    dispatch_send_answer(d, to, NULL);
}

void dispatch_malformed(struct dispatch *d, const struct peer *from, uint64_t client_id,
                        const struct error *e)
{
    d->counters.refused_wrong++;
    refuse(d, from, client_id, e->code, 0, e->text);
}

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
    for (int s = 0; s < registry_stages(d->registry); s++)
        if (!registry_stage_ready(d->registry, s) && !dispatch_may_recover(d, s, now)) {
            *stage = s;
            return true;
        }
    return false;
}

/* Where the client's clock is the broker's, the time that a request has waited in sockets counts against its
 * deadline. A sent_ns that lies in the future or long ago is not believed. */
static uint64_t sent_at(const struct dispatch *d, const struct request *r, uint64_t now, uint64_t time_ns)
{
    bool known = r->clock && r->clock == clock_id(d->self.boot_id);
    return known && r->sent_ns <= now && now - r->sent_ns <= LONGEST_WAIT * time_ns ? r->sent_ns : now;
}

static uint64_t time_of(const struct dispatch *d, const struct request *r)
{
    uint64_t ms = (uint64_t)d->pipeline->broker.deadline_ms;
    if (r->deadline_ms)
        ms = r->deadline_ms < ms * LONGEST_DEADLINE ? r->deadline_ms : ms * LONGEST_DEADLINE;
    return ms * NS_PER_MS;
}

static void refuse_overload(struct dispatch *d, const struct peer *to, const struct request *r, int ahead,
                            uint64_t time_ns)
{
    uint32_t retry_ms = admission_retry_ms(&d->admission, ahead - 1);
    struct error e;
    d->counters.overloaded++;
    error_set(&e, FL_OVERLOADED,
              "%d requests are ahead and take about %u ms, longer than a deadline of %llu ms and "
              "broker.latency_target_ms allow: try again then",
              ahead, retry_ms, (unsigned long long)(time_ns / NS_PER_MS));
    refuse(d, to, r->id, FL_OVERLOADED, retry_ms, e.text);
}

static uint64_t turn_of(const struct dispatch *d, const struct request *r, uint64_t now)
{
    uint64_t step = (uint64_t)d->pipeline->broker.deadline_ms * NS_PER_MS / PRIORITY_PART;
    return now + (r->priority ? r->priority - 1 : REQUEST_ORDINARY - 1) * step;
}

/* What the caches that answer are promised to lose at most; 0: there are none, 1: of some nothing is
 * promised.
 */
static double promised_loss(const struct dispatch *d)
{
    const struct cache_config *file = &d->pipeline->cache;
    double most = 0, certified = file->rule == THRESHOLD_RISK ? file->max_accuracy_loss / 100 : 1;
    for (int i = 0; i < registry_known(d->registry); i++) {
        const struct member *m = registry_member(d->registry, i);
        const struct caches_promise *p = &m->hello.caches.promise;
        double loss = p->made ? p->max_loss : certified;
        if (m->alive && m->stage == MEMBER_CACHE && m->hello.caches.loaded && loss > most)
            most = loss;
    }
    return most;
}

/* The level of the most loss within what is allowed that caches tell of, as in struct request; 1: there is
 * none. */
static uint32_t level_within(const struct dispatch *d, uint32_t allowed)
{
    uint32_t best = 1;
    for (int i = 0; i < registry_known(d->registry); i++) {
        const struct member *m = registry_member(d->registry, i);
        const struct caches_promise *p = &m->hello.caches.promise;
        for (int j = 0; m->alive && m->stage == MEMBER_CACHE && j < p->n_levels; j++)
            if (p->level_ppm[j] < allowed && p->level_ppm[j] >= best)
                best = 1 + p->level_ppm[j];
    }
    return best;
}

/* Does its client allow less loss than the caches promise? Then they answer by the thresholds that they have
 * for less, or no exit does. *level: what they are told. Where the network itself computes in less than
 * float32, what that loses is in the same promise: FL_UNSUPPORTED below the least level. */
static int heed_loss(const struct dispatch *d, const struct request *r, uint32_t *level, struct error *e)
{
    const char *computes = d->pipeline->computes;
    const struct cache_config *file = &d->pipeline->cache;
    double allowed = ((double)r->loss_allowed - 0.5) / SHARE_PPM; /* half of a millionth for rounding */
    *level = r->loss_allowed && allowed < promised_loss(d) ? level_within(d, r->loss_allowed) : 0;
    if (!r->loss_allowed || !*computes || !strcmp(computes, "float32"))
        return FL_OK;
    if (file->rule != THRESHOLD_RISK)
        return error_set(e, FL_UNSUPPORTED,
                         "the network computes in %s, and nothing is certified of its loss", computes);
    if (allowed < file->max_accuracy_loss / 100 && *level <= 1)
        return error_set(e, FL_UNSUPPORTED,
                         "the network computes in %s: a loss of %.3g points is certified, and none as low as "
                         "was asked for",
                         computes, file->max_accuracy_loss);
    return FL_OK;
}

static void begin(struct dispatch *d, struct request_entry *e, const struct peer *from,
                  const struct request *r, uint32_t level, uint64_t deadline_ns, uint64_t time_ns,
                  uint64_t now)
{
    e->client_id = r->id;
    e->client = *from;
    e->input = r->input;
    e->input.data = NULL;
    e->received_ns = now;
    e->deadline_ns = deadline_ns;
    e->time_ns = time_ns;
    e->turn_ns = turn_of(d, r, now);
    e->loss_allowed = level;
    e->trace_high = r->trace_high;
    e->trace_low = r->trace_low;
    e->parent = r->parent;
    e->span = r->span;
    e->context = r->context;
    e->stream = r->stream;
    dispatch_draw(d, e, level == 1 ? r->flags | JOB_NO_CACHE : r->flags);
    requests_wake_at(d->requests, e, e->deadline_ns);
}

static void admit(struct dispatch *d, const struct peer *from, const struct request *r, uint32_t level,
                  zmq_msg_t *payload, uint64_t now)
{
    struct request_entry *e, *leader;
    struct response known;
    enum response_state state;
    uint32_t variants = 0;
    int ahead = dispatch_ahead(d) - requests_behind(d->requests, turn_of(d, r, now)), rc;
    uint64_t time_ns = time_of(d, r), deadline_ns = sent_at(d, r, now, time_ns) + time_ns;
    if (deadline_ns <= now) {
        d->counters.overloaded++;
        d->counters.refused_late++;
        refuse(d, from, r->id, FL_DEADLINE, admission_retry_ms(&d->admission, ahead),
               "it has waited longer than its deadline in front of the broker");
        return;
    }
    while ((rc = requests_add(d->requests, payload, &e)) == FL_TOO_LARGE && dispatch_shadows_give_way(d))
        continue;
    if (rc) {
        d->counters.overloaded++;
        d->counters.refused_full++;
        refuse(d, from, r->id, FL_OVERLOADED, admission_retry_ms(&d->admission, ahead - 1),
               "too many requests are in flight: send slower or raise broker.max_requests");
        return;
    }
    begin(d, e, from, r, level, deadline_ns, time_ns, now);
    state = dispatch_ask_known(d, e, &known, &leader);
    if (state == RESPONSE_NEW) {
        admission_asked(&d->admission, time_ns);
        bool room_here = !admission_refuses(&d->admission, ahead, d->room, deadline_ns - now);
        bool handed_on = dispatch_hand_on(d, e, now);
        if (!handed_on)
            variants = dispatch_choose(d, e, room_here, now);
        if (!handed_on && !variants && !room_here) {
            requests_remove(d->requests, e);
            refuse_overload(d, from, r, ahead, deadline_ns - now);
            return;
        }
        d->retry_tokens += RETRY_TOKENS_EACH;
        if (d->retry_tokens > RETRY_TOKENS_MAX)
            d->retry_tokens = RETRY_TOKENS_MAX;
        if (!handed_on && (!variants || variants & 1)) {
            if (settings_draw_trace(d->settings, e->id))
                e->flags |= JOB_TRACE;
            dispatch_compute(d, e);
            dispatch_mirror(d, e, now);
        }
    }
    d->counters.admitted++;
    dispatch_may_repeat(d, e, r);
    dispatch_audit_begins(d, e);
    if (state == RESPONSE_KNOWN)
        dispatch_answer_known(d, e, &known, now);
    else if (state == RESPONSE_UNDER_WAY)
        dispatch_follow(d, e, leader);
    else if (variants & ~1u)
        dispatch_ask_variants(d, e, variants, now);
}

void dispatch_request(struct dispatch *d, const struct peer *from, const struct request *r,
                      zmq_msg_t *payload, uint64_t now)
{
    uint32_t held_ms = from->guest ? rates_take(&d->rates, from->guest, now) : 0;
    struct error error;
    uint32_t level;
    int stage, rc;

    if (held_ms) {
        d->counters.overloaded++;
        d->counters.refused_rate++;
        error_set(&error, FL_OVERLOADED,
                  "this client sends more than %g requests a second (broker.client_rate): try again in %u ms",
                  d->pipeline->broker.client_rate, held_ms);
        refuse(d, from, r->id, FL_OVERLOADED, held_ms, error.text);
    } else if ((rc = check_request(r, payload, &error)) || (rc = heed_loss(d, r, &level, &error))) {
        d->counters.refused_wrong++;
        refuse(d, from, r->id, (enum fl_code)rc, 0, error.text);
    } else if (dispatch_repeats(d, from, r)) {
        return;
    } else if (d->drain_until_ns > now) {
        d->counters.refused_draining++;
        refuse(d, from, r->id, FL_UNAVAILABLE, 0, "the pipeline is draining and admits no more");
    } else if (atomic_load(&d->settings->unloaded)) {
        d->counters.refused_unloaded++;
        error_set(&error, FL_UNAVAILABLE, SETTINGS_UNLOADED, d->pipeline->name);
        refuse(d, from, r->id, FL_UNAVAILABLE, 0, error.text);
    } else if (hopeless(d, now, &stage) && !dispatch_variant_ready(d, now)) {
        d->counters.refused_absent++;
        error_set(&error, FL_UNAVAILABLE, "stage %d has no ready worker", stage);
        refuse(d, from, r->id, FL_UNAVAILABLE, 0, error.text);
    } else {
        admit(d, from, r, level, payload, now);
    }
}
