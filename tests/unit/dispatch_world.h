/* dispatch_world.h - the broker's decisions (broker/dispatch.h) with a fake clock: messages go in, what it
 * sends is recorded
 */
#ifndef FREEZELINE_DISPATCH_WORLD_H
#define FREEZELINE_DISPATCH_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "base/log.h"
#include "broker/dispatch_inside.h"

#define MS NS_PER_MS

/* So a test begins, and ends. */
#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

enum { MANY = 1024 };

/* A pipeline of three stages; the middle one has two replicas. */
struct fixture {
    struct pipeline pipeline;
    struct dispatch *d;
    uint64_t now;
    char clock;    /* the boot id of who says hello; the broker's is B */
    int full;      /* stage 0 takes no jobs */
    int slow;      /* it leaves what it takes in its queue */
    int input;     /* what requests ask about */
    int bytes;     /* of it; 0: 16 */
    uint64_t gone; /* the incarnation whose connection is gone */
    int n_jobs, n_answers, n_control, n_resets, n_relayed, n_aimed, n_called_off;
    struct job job[MANY];
    struct answer answer[MANY];
    struct spans spans; /* the last that were handed over */
    struct times times;
    struct feedback said; /* the last word about labels */
    struct message control[MANY];
    struct peer control_to[MANY];

    /* of other pipelines, to which requests are handed on */
    bool cannot_aim, deaf; /* by this broker; nobody takes what is handed on */
    int refuse;            /* no connection can be made */
    struct request relayed[MANY];
    int place[MANY]; /* it went to */
    uint64_t called_off[MANY];
    char aimed[MANY][MESSAGE_NAME_BYTES]; /* "": let go */
};

static inline int record_job(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    struct fixture *f = arg;
    if (f->full)
        return FL_AGAIN;
    assert_int_equal(m->type, MESSAGE_JOB);
    assert_int_equal(replica, m->job.route[0]);
    f->job[f->n_jobs++] = m->job;
    zmq_msg_close(payload);
    return FL_OK;
}

static inline int record_answer(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    struct fixture *f = arg;
    (void)to, (void)payload;
    if (m->type == MESSAGE_ANSWER)
        f->answer[f->n_answers++] = m->answer;
    if (m->type == MESSAGE_SPANS)
        f->spans = m->spans;
    if (m->type == MESSAGE_FEEDBACK)
        f->said = m->feedback;
    if (m->type == MESSAGE_TIMES)
        f->times = m->times;
    return FL_OK;
}

static inline int record_control(void *arg, const struct peer *to, const struct message *m)
{
    struct fixture *f = arg;
    if (f->gone && !memcmp(to->id, &f->gone, sizeof f->gone))
        return FL_UNAVAILABLE;
    assert_true(f->n_control < MANY);
    f->control_to[f->n_control] = *to;
    f->control[f->n_control++] = *m;
    return FL_OK;
}

static inline void record_reset(void *arg, int replica)
{
    (void)replica;
    ((struct fixture *)arg)->n_resets++;
}

static inline int record_relay(void *arg, int place, const struct message *m, zmq_msg_t *payload)
{
    struct fixture *f = arg;
    if (m->type == MESSAGE_CANCEL) {
        assert_null(payload);
        assert_int_equal(m->cancel.n, 1);
        f->called_off[f->n_called_off++] = m->cancel.request[0];
        return FL_OK;
    }
    assert_int_equal(m->type, MESSAGE_REQUEST);
    assert_int_equal(zmq_msg_size(payload), 16);
    if (f->deaf)
        return FL_AGAIN;
    f->place[f->n_relayed] = place;
    f->relayed[f->n_relayed++] = m->request;
    zmq_msg_close(payload);
    return FL_OK;
}

static inline int record_aim(void *arg, int place, const char *endpoint)
{
    struct fixture *f = arg;
    (void)place;
    snprintf(f->aimed[f->n_aimed++], MESSAGE_NAME_BYTES, "%s", endpoint ? endpoint : "");
    return endpoint ? f->refuse : FL_OK;
}

static inline struct peer peer_named(uint64_t n)
{
    struct peer p = {.size = 8};
    memcpy(p.id, &n, 8);
    return p;
}

static inline void say(struct fixture *f, uint64_t who, const struct message *m)
{
    struct peer p = peer_named(who);
    dispatch_control(f->d, &p, m, f->now);
}

static inline void hello_as(struct fixture *f, uint32_t role, uint32_t stage, uint32_t replica,
                            uint64_t incarnation, bool ready, uint8_t model)
{
    struct message m = {.type = MESSAGE_HELLO};
    m.hello = (struct hello){
        .role = role, .stage = stage, .replica = replica, .incarnation = incarnation, .ready = ready};
    m.hello.model[0] = m.hello.identity[0] = m.hello.plan[0] = model;
    m.hello.boot_id[0] = f->clock;
    say(f, incarnation, &m);
}

static inline void hello(struct fixture *f, uint32_t stage, uint32_t replica, uint64_t incarnation)
{
    hello_as(f, ROLE_STAGE, stage, replica, incarnation, true, 1);
}

static inline void beat_with(struct fixture *f, struct heartbeat h)
{
    struct message m = {.type = MESSAGE_HEARTBEAT};
    m.heartbeat = h;
    say(f, h.incarnation, &m);
}

static inline void beat(struct fixture *f, uint64_t incarnation)
{
    beat_with(f, (struct heartbeat){.incarnation = incarnation});
}

static inline void it_learns(struct fixture *f)
{
    beat_with(f, (struct heartbeat){.incarnation = 200, .worker_ns = 1, .exits_told = true, .learns = 6});
}

static inline int begin(struct fixture *f)
{
    struct dispatch_io io = {f,
                             record_job,
                             record_answer,
                             record_control,
                             record_reset,
                             NULL,
                             record_relay,
                             f->cannot_aim ? NULL : record_aim};
    const struct hello self = {.role = ROLE_BROKER, .incarnation = 5, .boot_id = "B"};
    return dispatch_new(&f->d, &f->pipeline, &io, &self, f->now);
}

static inline int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->pipeline.n_stages = 3;
    for (int s = 0; s < 3; s++)
        f->pipeline.stage[s] = (struct stage_config){.n_replicas = s == 1 ? 2 : 1, .max_batch = 8};
    f->pipeline.cache.n_endpoints = 1;
    f->pipeline.broker = (struct broker_config){.max_requests = 8,
                                                .max_memory_mb = 1,
                                                .deadline_ms = 1000,
                                                .retries = 2,
                                                .heartbeat_ms = 20,
                                                .dead_after_ms = 100};
    f->now = 1000 * MS;
    log_threshold = LOG_LEVEL_ERROR + 1;
    *state = f;
    if (begin(f))
        return -1;
    f->clock = 'B';
    return 0;
}

static inline int teardown(void **state)
{
    struct fixture *f = *state;
    dispatch_free(f->d);
    free(f);
    return 0;
}

static inline void all_workers(struct fixture *f)
{
    hello(f, 0, 0, 100);
    hello(f, 1, 0, 110);
    hello(f, 1, 1, 111);
    hello(f, 2, 0, 120);
}

static inline void beat_all(struct fixture *f, uint64_t but)
{
    for (int i = 0; i < 4; i++) {
        static const uint64_t all[] = {100, 110, 111, 120};
        if (all[i] != but)
            beat(f, all[i]);
    }
}

static inline void tell_taken(struct fixture *f, uint64_t incarnation, const struct job *j, uint32_t batch)
{
    beat_with(f, (struct heartbeat){.incarnation = incarnation, .taken = j->request, .batch = batch});
    dispatch_tick(f->d, f->now);
}

static inline void ask_request(struct fixture *f, struct request r)
{
    struct message m = {.type = MESSAGE_REQUEST};
    struct peer p = peer_named(1);
    zmq_msg_t payload;
    m.request = r;
    m.request.input = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 4}};
    zmq_msg_init_size(&payload, f->bytes ? (size_t)f->bytes : 16);
    memset(zmq_msg_data(&payload), f->input, zmq_msg_size(&payload));
    dispatch_client(f->d, &p, &m, &payload, f->now);
    zmq_msg_close(&payload);
    dispatch_tick(f->d, f->now);
    if (!f->slow && f->n_jobs)
        tell_taken(f, 100, &f->job[f->n_jobs - 1], 8);
}

static inline void ask_with(struct fixture *f, uint64_t id, uint32_t deadline_ms, uint32_t flags)
{
    ask_request(f, (struct request){.id = id, .deadline_ms = deadline_ms, .flags = flags});
}

static inline void ask(struct fixture *f, uint64_t id)
{
    ask_with(f, id, 0, 0);
}

static inline void result_with(struct fixture *f, const struct job *j, uint32_t error, int exit,
                               const float *scores, int n)
{
    struct result r = {
        .request = j->request, .attempt = j->attempt, .error = error, .exit = exit, .label = 3};
    zmq_msg_t payload;
    if (exit >= 0) {
        r.trace.n = 1;
        r.trace.stage[0].stage = 0;
    }
    zmq_msg_init_size(&payload, (size_t)n * sizeof *scores);
    if (n) {
        r.scores = (struct tensor){.dtype = TENSOR_F32, .rank = 1, .dim = {n}};
        memcpy(zmq_msg_data(&payload), scores, (size_t)n * sizeof *scores);
    }
    dispatch_result(f->d, &r, &payload, f->now, f->now, NULL);
    zmq_msg_close(&payload);
    dispatch_tick(f->d, f->now);
}

static inline void result(struct fixture *f, const struct job *j, uint32_t error, int exit)
{
    result_with(f, j, error, exit, NULL, 0);
}

static inline void pass(struct fixture *f, uint64_t ms)
{
    f->now += ms * MS;
    dispatch_tick(f->d, f->now);
}

static inline int told(const struct fixture *f, enum message_type type, uint64_t who)
{
    struct peer p = peer_named(who);
    int n = 0;
    for (int i = 0; i < f->n_control; i++)
        n += f->control[i].type == type && !memcmp(f->control_to[i].id, p.id, 8);
    return n;
}

static inline uint32_t outstanding(const struct fixture *f)
{
    uint32_t n = 0;
    for (int i = 0; i < registry_known(f->d->registry); i++)
        n += registry_member(f->d->registry, i)->outstanding;
    return n;
}

#endif
