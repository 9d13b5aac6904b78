/* dispatch_send.c - attempts go out to stage 0, as many as it and the pipeline have room for */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "dispatch_inside.h"
#include "broker/state/router.h"
#include "broker/state/trust.h"

#define RECOVER_TICK_NS (50 * NS_PER_MS)
#define BLOCKED_TICK_NS (10 * NS_PER_MS)
/* A shadow waits for so long for a moment in which nothing else is under way. */
#define SHADOW_WAITS_NS (250 * NS_PER_MS)

/* The largest batch of a replica. */
static int batch_of(const struct dispatch *d, int stage, int replica)
{
    uint32_t told = registry_worker(d->registry, stage, replica)->last.batch;
    int batch = told && told <= MESSAGE_MAX_BATCH ? (int)told : d->pipeline->stage[stage].max_batch;
    return batch > 1 ? batch : 1;
}

static int in_queue(const struct dispatch *d, int replica)
{
    return requests_listed(d->requests, REQUESTS_FIRST + replica);
}

static int queue_of(const struct dispatch *d, int replica)
{
    return admission_queue(d->room, registry_stages(d->registry), d->admission.replicas[0],
                           batch_of(d, 0, replica));
}

static uint16_t full_queues(const struct dispatch *d)
{
    uint16_t full = 0;
    for (int i = 0; i < registry_replicas(d->registry, 0); i++)
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
    j->flags = e->flags;
    if (!e->original && in_queue(d, route[0]) >= queue_of(d, route[0]) / 2)
        j->flags |= JOB_TELL;
    j->deadline_ns = e->original ? dispatch_shadow_deadline(d, now) : e->deadline_ns;
    j->sent_ns = now;
    j->plan = digest_short(registry_worker(d->registry, 0, route[0])->hello.plan);
    j->n_route = registry_stages(d->registry);
    memcpy(j->route, route, (size_t)j->n_route);
    j->loss_allowed = e->loss_allowed;
    j->stream = e->stream;
    j->activation = e->input;
    j->n_rest = j->n_route;
    admission_rest(&d->admission, j->n_rest, j->rest_us);
}

static void note_sent(struct dispatch *d, struct request_entry *e, const uint8_t *route, uint64_t now)
{
    uint64_t overdue = now + d->attempt_ns;
    e->attempt++;
    dispatch_stamp(d, e);
    dispatch_note(d, e, SPAN_WAIT, e->attempt > 1 ? e->sent_ns : e->received_ns, now);
    e->sent_ns = now;
    e->n_route = registry_stages(d->registry);
    if (!e->broker_ns)
        e->broker_ns = now - e->received_ns;
    memcpy(e->route, route, (size_t)e->n_route);
    router_sent(d->registry, route);
    for (int s = 0; s < e->n_route; s++) {
        struct member *m = registry_worker(d->registry, s, route[s]);
        m->outstanding++;
        if (!e->original && trust_wants_trial(m, now))
            m->trial = e->id;
        e->used[s] |= (uint16_t)(1u << route[s]);
    }
    if (e->original) { /* it is in nobody's way there */
        e->deadline_ns = d->out.job.deadline_ns;
        requests_unlist(d->requests, e);
        requests_wake_at(d->requests, e, e->deadline_ns);
        d->shadowed |= (uint16_t)(1u << route[0]);
        return;
    }
    requests_append(d->requests, e, REQUESTS_FIRST + route[0]);
    requests_wake_at(d->requests, e, overdue < e->deadline_ns ? overdue : e->deadline_ns);
    dispatch_wake_to_hurry(d, e);
}

/* The only replica of stage 0 that takes e now has failed it, and one that has not is full: a moment costs
 * less than an attempt. */
static bool had_better_wait(const struct dispatch *d, const struct request_entry *e, uint16_t full,
                            int replica)
{
    if (!(e->avoid[0] >> replica & 1))
        return false;
    for (int i = 0; i < registry_replicas(d->registry, 0); i++) {
        const struct member *m = registry_worker(d->registry, 0, i);
        if ((full >> i & 1) && !(e->avoid[0] >> i & 1) && member_ready(m) && !trust_is_aside(m))
            return true;
    }
    return false;
}

/* Sends e's next attempt to stage 0. FL_AGAIN: all of its queues are full (noted in *full). FL_UNAVAILABLE:
 * stage *missing has no ready worker. FL_CANCELLED: e waits, others need not. */
static int send_attempt(struct dispatch *d, struct request_entry *e, uint16_t *full, int *missing,
                        uint64_t now)
{
    uint8_t route[PIPELINE_MAX_STAGES];
    for (;;) {
        zmq_msg_t copy;
        *full |= full_queues(d);
        *missing = router_choose(d->registry, e->avoid, *full, d->turn++, now, route);
        if (*missing == 0 && *full && registry_stage_ready(d->registry, 0))
            return FL_AGAIN;
        if (*missing >= 0)
            return FL_UNAVAILABLE;
        if (had_better_wait(d, e, *full, route[0]))
            return FL_CANCELLED;
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
    return dispatch_ahead(d) - requests_listed(d->requests, REQUESTS_WAITING);
}

/* Two jobs per worker keep it busy to start with; more than two batches per worker only wait. Brokers that
 * stand side by side have a part each. */
void dispatch_update_room(struct dispatch *d)
{
    int start = 0, most = 0, brokers = 1;
    for (int s = 0; s < registry_stages(d->registry); s++) {
        d->admission.replicas[s] = 0;
        for (int i = 0; i < registry_replicas(d->registry, s); i++) {
            const struct member *m = registry_worker(d->registry, s, i);
            if (!member_ready(m))
                continue;
            if ((int)m->last.brokers > brokers && m->last.brokers <= PIPELINE_MAX_BROKERS)
                brokers = (int)m->last.brokers;
            d->admission.replicas[s]++;
            start += 2;
            most += 2 * batch_of(d, s, i);
        }
    }
    d->room = admission_room(&d->admission, (start + brokers - 1) / brokers, (most + brokers - 1) / brokers);
}

static bool has_room(const struct dispatch *d)
{
    return dispatch_under_way(d) < d->room || !trust_ready(d->registry);
}

/* Whether e's answer would be late. While nothing is under way nothing is late: a try costs nobody anything.
 */
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
    dispatch_answer_error(d, e, FL_DEADLINE, text, dispatch_retry_ms(d), now);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t dispatch_send_waiting(struct dispatch *d, uint64_t now)
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
            again = earlier(e->not_before_ns, again);
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
            return d->blocked ? earlier(now + BLOCKED_TICK_NS, again) : again;
        }
        if (rc == FL_UNAVAILABLE && !dispatch_may_recover(d, missing, now)) {
            snprintf(text, sizeof text, "stage %d has no ready worker", missing);
            dispatch_answer_error(d, e, FL_UNAVAILABLE, text, 0, now);
        } else if (rc == FL_UNAVAILABLE) {
            return earlier(now + RECOVER_TICK_NS, again); /* the others need that stage too */
        }
    }
    return again;
}

uint64_t dispatch_send_shadows(struct dispatch *d, uint64_t now)
{
    struct request_entry *e;
    bool blocked = d->blocked; /* by other requests: for shadows nobody waits at the sockets */
    uint16_t full = d->shadowed;
    int missing, rc = FL_OK;

    while (!rc && (e = requests_first(d->requests, REQUESTS_SHADOWS))) {
        if (dispatch_ahead(d) && now - e->received_ns < SHADOW_WAITS_NS)
            return e->received_ns + SHADOW_WAITS_NS;
        if (requests_listed(d->requests, REQUESTS_WAITING) || !has_room(d) || !trust_ready(d->registry))
            break;
        rc = send_attempt(d, e, &full, &missing, now);
        full |= d->shadowed;
    }
    d->blocked = blocked;
    return UINT64_MAX;
}
