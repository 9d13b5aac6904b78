/* learner_process.c - hello and heartbeats to the broker; the rest is done in other threads */
#include "learner_process.h"

#include <cblas.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "system/blas.h"
#include "base/clock.h"
#include "system/limits.h"
#include "base/log.h"
#include "system/notify.h"
#include "cache_service/service/control.h"
#include "student.h"
#include "wire/hello.h"
#include "wire/mend.h"
#include "wire/frame_limits.h"

#define BURST 64 /* messages between two looks at the clock */

struct learner_process {
    const struct pipeline *p; /* borrowed */
    int index;
    void *context;
    int n_brokers;
    void *socket[PIPELINE_MAX_BROKERS];
    struct mend mend[PIPELINE_MAX_BROKERS];
    struct control broker[PIPELINE_MAX_BROKERS];
    struct hello hello;
    struct student *student;
    struct keeper *keeper;
    bool sent_away;
    uint32_t audit_ppm; /* as told last */
    zmq_msg_t payload;
    struct message in, out; /* large: not on the stack */
};

/* --- the broker --- */

static void fill_told(struct epoch_told *to, const struct student_view *s, uint64_t now)
{
    const struct learner_view *v = &s->view;
    *to = (struct epoch_told){.state = v->state == LEARNER_COLD        ? EPOCH_COLD
                                       : v->state == LEARNER_TIGHTENED ? EPOCH_TIGHTENED
                                       : v->state == LEARNER_OFF       ? EPOCH_OFF
                                                                       : EPOCH_SERVING,
                              .teaching = v->teaching,
                              .frozen = v->frozen,
                              .serial = s->serial,
                              .age_ms = now > s->since_ns ? (now - s->since_ns) / NS_PER_MS : 0,
                              .candidate = v->number,
                              .judged = (uint64_t)v->judged,
                              .needed = (uint64_t)v->needed,
                              .audits = (uint64_t)v->audits,
                              .differ = (uint64_t)v->differ,
                              .lost = (uint64_t)v->lost,
                              .won = (uint64_t)v->won,
                              .lower = v->audits ? v->loss_lower : NAN,
                              .upper = v->audits ? v->loss_upper : NAN,
                              .alarm = v->alarm,
                              .lag_ms = s->lag_ms,
                              .kept = (uint64_t)s->kept,
                              .n_exits = s->n_exits};
    for (int i = 0; i < s->n_exits; i++) {
        to->threshold[i] = s->threshold[i];
        to->answered[i] = (uint64_t)v->exit[i].answered;
        to->exit_lost[i] = (uint64_t)v->exit[i].lost;
    }
}

static void fill_heartbeat(struct learner_process *l, int broker, struct heartbeat *h, uint64_t now)
{
    struct keeper_counters k = keeper_counters(l->keeper);
    struct student_view s = student_view(l->student);
    l->audit_ppm = s.works ? (uint32_t)(s.view.audit * SHARE_PPM) : 0;
    *h = (struct heartbeat){.incarnation = l->hello.incarnation,
                            .worker_ns = now,
                            .jobs = s.taken,
                            .epoch = k.epoch,
                            .redis_up = k.redis_up,
                            .audit_ppm = l->audit_ppm,
                            .clock_error_ns = offset_error_ns(&l->broker[broker].offset),
                            .learning = {.state = k.state, .accepted = s.taken, .rejected = s.refused}};
    limits_use(&h->resident_bytes, &h->shared_bytes, &h->cpu_ms);
    if (s.works)
        fill_told(&h->told, &s, now);
}

static void take_message(struct learner_process *l, int broker, uint64_t now)
{
    switch (l->in.type) {
    case MESSAGE_HELLO:
        control_welcome(&l->broker[broker], &l->in.hello, l->hello.boot_id, now);
        break;
    case MESSAGE_HEARTBEAT:
        control_echo(&l->broker[broker], &l->in.heartbeat, now);
        break;
    case MESSAGE_DRAIN:
        l->sent_away = true;
        break;
    default: /* what is for cache services */
        break;
    }
}

static void receive(struct learner_process *l, int broker)
{
    for (int i = 0; i < BURST; i++) {
        struct error e = {0};
        int rc = frames_recv(l->socket[broker], NULL, &l->in, &l->payload, &e);
        if (rc == FL_AGAIN)
            return;
        if (rc)
            log_warn("control socket: %s", e.text);
        else {
            l->mend[broker].heard_ns = clock_ns();
            take_message(l, broker, clock_ns());
        }
    }
}

static void say(struct learner_process *l, int broker, int type, uint64_t now)
{
    l->out.type = type;
    if (type == MESSAGE_HELLO)
        l->out.hello = l->hello;
    else
        fill_heartbeat(l, broker, &l->out.heartbeat, now);
    frames_send(l->socket[broker], NULL, &l->out, NULL); /* nobody there: said again at the next beat */
}

/* What it answers from: for the identity. */
static void take_caches(struct learner_process *l)
{
    struct snapshot *fresh = keeper_take(l->keeper);
    if (!fresh)
        return;
    if (control_tell(&l->hello, fresh))
        for (int i = 0; i < l->n_brokers; i++)
            control_changed(&l->broker[i]);
    keeper_give_back(l->keeper, fresh);
}

static int wait_for_messages(struct learner_process *l, uint64_t now, struct error *e)
{
    zmq_pollitem_t item[PIPELINE_MAX_BROKERS];
    uint64_t next = UINT64_MAX;
    for (int i = 0; i < l->n_brokers; i++) {
        item[i] = (zmq_pollitem_t){.socket = l->socket[i], .events = ZMQ_POLLIN};
        next = l->broker[i].next_ns < next ? l->broker[i].next_ns : next;
    }
    if (zmq_poll(item, l->n_brokers, next > now ? (long)((next - now) / NS_PER_MS) + 1 : 0) < 0 &&
        errno != EINTR)
        return error_set(e, FL_IO, "polling failed: %s", zmq_strerror(errno));
    return FL_OK;
}

int learner_process_run(struct learner_process *l, const volatile int *stop, struct error *e)
{
    int rc;
    log_info("ready: learner %d of %s", l->index, l->p->name);
    notify_ready();
    while (!*stop && !l->sent_away) {
        uint64_t now = clock_ns();
        int type;
        take_caches(l);
        for (int i = 0; i < l->n_brokers; i++)
            if ((type = control_next(&l->broker[i], now)))
                say(l, i, type, now);
        if ((rc = wait_for_messages(l, now, e)))
            return rc;
        for (int i = 0; i < l->n_brokers; i++)
            receive(l, i);
        for (int i = 0; i < l->n_brokers; i++) /* a broker replies to each heartbeat */
            mend_socket(&l->mend[i], l->socket[i], PARTY_BROKER, &l->p->security,
                        (uint64_t)l->p->broker.dead_after_ms * NS_PER_MS, clock_ns());
    }
    if (l->sent_away)
        return error_set(e, FL_STALE, "the broker sent this process away: another is learner %d; it ends",
                         l->index);
    l->hello.ready = false; /* the last message: this process ends */
    for (int i = 0; i < l->n_brokers; i++)
        say(l, i, MESSAGE_HELLO, clock_ns());
    return FL_OK;
}

/* --- life --- */

static int connect_brokers(struct learner_process *l, struct error *e)
{
    const struct socket_options control = {.max_bytes = FRAME_CONTROL_BYTES, .immediate = true};
    int rc = FL_OK;
    for (int i = 0; !rc && i < pipeline_brokers(l->p); i++, l->n_brokers = i) {
        control_init(&l->broker[i], l->p);
        rc = frames_socket(&l->socket[i], l->context, ZMQ_DEALER, FRAMES_CONNECT,
                           pipeline_broker(l->p, i).control, &control, &l->p->security, e);
    }
    return rc;
}

static int start(struct learner_process *l, struct error *e)
{
    const struct pipeline *p = l->p;
    char id[17];
    int rc;
    hello_init(&l->hello, ROLE_LEARNER, 0, l->index);
    snprintf(l->hello.engine, sizeof l->hello.engine, "OpenBLAS %s, 1 thread", blas_core());
    l->hello.ready = true;
    snprintf(id, sizeof id, "%016" PRIx64, l->hello.incarnation);
    if (!(l->context = zmq_ctx_new()))
        return error_set(e, FL_NOMEM, "no ZeroMQ context: %s", zmq_strerror(errno));
    if ((rc = connect_brokers(l, e)) || (rc = student_new(&l->student, p, e)) ||
        (rc = keeper_new_student(&l->keeper, p, l->index, id, student_hooks(l->student), e)))
        return rc;
    student_wakes(l->student, l->keeper);
    return keeper_start(l->keeper, e);
}

int learner_process_new(struct learner_process **out, const struct pipeline *p, int index, struct error *e)
{
    struct learner_process *l;
    int rc;
    if (!p->redis.endpoint)
        return error_set(
            e, FL_CONFIG,
            "%s: caches learn under a promise through Redis alone: set redis.managed or redis.endpoint",
            p->path);
    if (p->cache.rule != THRESHOLD_RISK || !p->updates.learn)
        return error_set(
            e, FL_CONFIG,
            "%s: nothing is to be learned here: that takes cache.threshold: risk and updates.learn", p->path);
    if (!(l = calloc(1, sizeof *l)))
        return error_set(e, FL_NOMEM, "out of memory");
    l->p = p;
    l->index = index;
    zmq_msg_init(&l->payload);
    openblas_set_num_threads(1);
    if ((rc = start(l, e))) {
        learner_process_free(l);
        return rc;
    }
    *out = l;
    return FL_OK;
}

void learner_process_free(struct learner_process *l)
{
    if (!l)
        return;
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++)
        frames_close(l->socket[i], 200);
    if (l->context)
        zmq_ctx_term(l->context);
    zmq_msg_close(&l->payload);
    keeper_free(l->keeper);
    student_free(l->student);
    free(l);
}
