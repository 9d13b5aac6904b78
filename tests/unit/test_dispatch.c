/* test_dispatch.c - the broker's decisions, with a fake clock and recorded messages */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "broker/dispatch_inside.h"
#include "broker/state/sampling.h"
#include "broker/state/trust.h"

#define MS NS_PER_MS
enum { MANY = 512 };

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
    int n_jobs, n_answers, n_control, n_resets;
    struct job job[MANY];
    struct answer answer[MANY];
    struct spans spans; /* the last that were handed over */
    struct times times;
    struct feedback said; /* the last word about labels */
    struct message control[MANY];
    struct peer control_to[MANY];
};

static int record_job(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
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

static int record_answer(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload)
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

static int record_control(void *arg, const struct peer *to, const struct message *m)
{
    struct fixture *f = arg;
    if (f->gone && !memcmp(to->id, &f->gone, sizeof f->gone))
        return FL_UNAVAILABLE;
    f->control_to[f->n_control] = *to;
    f->control[f->n_control++] = *m;
    return FL_OK;
}

static void record_reset(void *arg, int replica)
{
    (void)replica;
    ((struct fixture *)arg)->n_resets++;
}

static struct peer peer_named(uint64_t n)
{
    struct peer p = {.size = 8};
    memcpy(p.id, &n, 8);
    return p;
}

static void hello_as(struct fixture *f, uint32_t role, uint32_t stage, uint32_t replica, uint64_t incarnation,
                     bool ready, uint8_t model)
{
    struct message m;
    struct peer p = peer_named(incarnation);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_HELLO;
    m.hello = (struct hello){
        .role = role, .stage = stage, .replica = replica, .incarnation = incarnation, .ready = ready};
    m.hello.model[0] = m.hello.identity[0] = m.hello.plan[0] = model;
    m.hello.boot_id[0] = f->clock;
    dispatch_control(f->d, &p, &m, f->now);
}

static void hello(struct fixture *f, uint32_t stage, uint32_t replica, uint64_t incarnation)
{
    hello_as(f, ROLE_STAGE, stage, replica, incarnation, true, 1);
}

static void beat(struct fixture *f, uint64_t incarnation)
{
    struct message m;
    struct peer p = peer_named(incarnation);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat.incarnation = incarnation;
    dispatch_control(f->d, &p, &m, f->now);
}

static int begin(struct fixture *f)
{
    struct dispatch_io io = {f, record_job, record_answer, record_control, record_reset, NULL, NULL, NULL};
    const struct hello self = {.role = ROLE_BROKER, .incarnation = 5, .boot_id = "B"};
    return dispatch_new(&f->d, &f->pipeline, &io, &self, f->now);
}

static int setup(void **state)
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

static int teardown(void **state)
{
    struct fixture *f = *state;
    dispatch_free(f->d);
    free(f);
    return 0;
}

static void all_workers(struct fixture *f)
{
    hello(f, 0, 0, 100);
    hello(f, 1, 0, 110);
    hello(f, 1, 1, 111);
    hello(f, 2, 0, 120);
}

static void beat_all(struct fixture *f, uint64_t but)
{
    for (int i = 0; i < 4; i++) {
        static const uint64_t all[] = {100, 110, 111, 120};
        if (all[i] != but)
            beat(f, all[i]);
    }
}

static void tell_taken(struct fixture *f, uint64_t incarnation, const struct job *j, uint32_t batch)
{
    struct message m;
    struct peer p = peer_named(incarnation);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat = (struct heartbeat){.incarnation = incarnation, .taken = j->request, .batch = batch};
    dispatch_control(f->d, &p, &m, f->now);
    dispatch_tick(f->d, f->now);
}

static void ask_request(struct fixture *f, struct request r)
{
    struct message m;
    struct peer p = peer_named(1);
    zmq_msg_t payload;
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_REQUEST;
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

static void ask_with(struct fixture *f, uint64_t id, uint32_t deadline_ms, uint32_t flags)
{
    ask_request(f, (struct request){.id = id, .deadline_ms = deadline_ms, .flags = flags});
}

static void ask_sent(struct fixture *f, uint64_t id, uint64_t sent_ns, uint64_t clock)
{
    ask_request(f, (struct request){.id = id, .deadline_ms = 50, .sent_ns = sent_ns, .clock = clock});
}

static void ask(struct fixture *f, uint64_t id)
{
    ask_with(f, id, 0, 0);
}

static void result_with(struct fixture *f, const struct job *j, uint32_t error, int exit, const float *scores,
                        int n)
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

static void result(struct fixture *f, const struct job *j, uint32_t error, int exit)
{
    result_with(f, j, error, exit, NULL, 0);
}

static void pass(struct fixture *f, uint64_t ms)
{
    f->now += ms * MS;
    dispatch_tick(f->d, f->now);
}

static int told(const struct fixture *f, enum message_type type, uint64_t who)
{
    struct peer p = peer_named(who);
    int n = 0;
    for (int i = 0; i < f->n_control; i++)
        n += f->control[i].type == type && !memcmp(f->control_to[i].id, p.id, 8);
    return n;
}

static uint32_t outstanding(const struct fixture *f)
{
    uint32_t n = 0;
    for (int i = 0; i < registry_known(f->d->registry); i++)
        n += registry_member(f->d->registry, i)->outstanding;
    return n;
}

/* All of the time in the broker is in one of its parts; what a busy broker leaves in its socket is its own.
 */
static void test_the_parts_of_the_way_are_told(void **state)
{
    struct fixture *f = *state;
    struct result r = {.label = 3, .exit = -1, .attempt = 1, .trace = {.n = 2}};
    zmq_msg_t none;
    (void)zmq_msg_init(&none);
    all_workers(f);
    registry_cache(f->d->registry, 0)->last.clock_error_ns = 99;
    ask(f, 42); /* sent at once */
    registry_worker(f->d->registry, 1, f->job[0].route[1])->last.clock_error_ns = 77;
    r.request = f->job[0].request;
    r.trace.stage[1] = (struct stage_time){.stage = 1, .replica = f->job[0].route[1]};
    r.sent_ns = f->now + 2 * MS;
    f->now += 10 * MS;
    dispatch_result(f->d, &r, &none, f->now - 3 * MS, f->now, NULL);
    assert_int_equal(f->answer[0].request, r.request);
    assert_int_equal(f->answer[0].return_ns, 5 * MS);
    assert_int_equal(f->answer[0].broker_ns, 3 * MS);
    assert_int_equal(f->answer[0].total_ns, 10 * MS);
    assert_int_equal(f->answer[0].clock_error_ns, 77); /* no cache was on the way */

    f->full = 1; /* waits 4 ms for stage 0 */
    ask(f, 43);
    f->now += 4 * MS;
    f->full = 0;
    dispatch_tick(f->d, f->now);
    r = (struct result){.request = f->job[1].request,
                        .attempt = 1,
                        .lookup_wire_ns = 1,
                        .lookup_queue_ns = 2,
                        .lookup_ns = 3,
                        .sent_ns = f->now + MS,
                        .trace = {.n = 1}};
    f->now += 2 * MS;
    dispatch_result(f->d, &r, &none, f->now, f->now, NULL);
    assert_int_equal(f->answer[1].broker_ns, 4 * MS);
    assert_int_equal(f->answer[1].return_ns, MS);
    assert_int_equal(f->answer[1].lookup_wire_ns, 1);
    assert_int_equal(f->answer[1].lookup_queue_ns, 2);
    assert_int_equal(f->answer[1].lookup_ns, 3);
    assert_int_equal(f->answer[1].clock_error_ns, 99);

    ask(f, 44); /* a sender that does not know the time */
    r = (struct result){.request = f->job[2].request, .attempt = 1, .sent_ns = 1};
    dispatch_result(f->d, &r, &none, f->now, f->now, NULL);
    assert_int_equal(f->answer[2].return_ns, 0);
    zmq_msg_close(&none);
}

static uint64_t counted(const struct times_of *t)
{
    uint64_t n = 0;
    for (int i = 0; i < TIME_BUCKETS; i++)
        n += t->count[i];
    return n;
}

static void test_times_of_all_answers_are_counted(void **state)
{
    struct fixture *f = *state;
    static struct message m = {.type = MESSAGE_TIMES};
    struct result r = {.label = 3, .exit = -1, .attempt = 1, .trace = {.n = 2}};
    struct peer who = peer_named(1);
    zmq_msg_t none;
    (void)zmq_msg_init(&none);
    all_workers(f);
    for (uint64_t i = 1; i <= 2; i++) {
        ask(f, i);
        r.request = f->job[i - 1].request;
        r.trace.stage[1] = (struct stage_time){
            .stage = 1, .replica = f->job[i - 1].route[1], .compute_ns = 3 * MS, .queue_ns = i * MS};
        f->now += 10 * MS;
        dispatch_result(f->d, &r, &none, f->now, f->now, NULL);
    }
    dispatch_client(f->d, &who, &m, &none, f->now);
    assert_int_equal(f->times.n, 1 + 3 * (TIMES_PARTS - 1));
    assert_int_equal(f->times.of[0].part, TIMES_REQUEST);
    assert_int_equal(f->times.of[0].sum_ns, 20 * MS);
    assert_int_equal(f->times.of[0].count[time_bucket(10 * MS)], 2);
    for (int i = 1; i < f->times.n; i++) {
        const struct times_of *t = &f->times.of[i];
        assert_int_equal(counted(t), t->stage < 2 ? 2 : 0);
        if (t->stage == 1 && t->part == TIMES_COMPUTE)
            assert_int_equal(t->sum_ns, 6 * MS);
        if (t->stage == 1 && t->part == TIMES_QUEUE)
            assert_int_equal(t->count[time_bucket(MS)] + t->count[time_bucket(2 * MS)], 2);
    }
    zmq_msg_close(&none);
}

static uint64_t clock_error_of(struct fixture *f, uint64_t id)
{
    ask(f, id);
    result(f, &f->job[f->n_jobs - 1], 0, 0);
    return f->answer[f->n_answers - 1].clock_error_ns;
}

/* A beat may be underway before the worker has heard whose clock counts. Until a worker knows the broker's
 * clock every deadline is over to it, or far: it gets no requests. */
static void test_another_clock_is_unknown_until_compared(void **state)
{
    struct fixture *f = *state;
    struct message m = {.type = MESSAGE_HEARTBEAT, .heartbeat = {.incarnation = 100, .clock_error_ns = 55}};
    int sent;
    struct peer p = peer_named(100);
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 130, true, 1);
    assert_int_equal(clock_error_of(f, 1), 0);
    dispatch_control(f->d, &p, &m, f->now); /* all of one clock, whatever it says */
    assert_int_equal(clock_error_of(f, 2), 0);

    f->clock = 'X';
    hello(f, 0, 0, 101);
    sent = f->n_jobs;
    ask(f, 3);
    assert_int_equal(f->n_jobs, sent);
    m.heartbeat.incarnation = 101;
    m.heartbeat.clock_error_ns = UINT64_MAX;
    dispatch_control(f->d, &p, &m, f->now);
    pass(f, 1);
    assert_int_equal(f->n_jobs, sent);
    m.heartbeat.clock_error_ns = 55;
    dispatch_control(f->d, &p, &m, f->now);
    pass(f, 1);
    assert_int_equal(f->n_jobs, sent + 1);
    result(f, &f->job[sent], 0, 0);
    assert_int_equal(f->answer[f->n_answers - 1].clock_error_ns, 55);
    hello_as(f, ROLE_CACHE, 0, 0, 131, true, 1);
    assert_true(clock_error_of(f, 5) == UINT64_MAX);

    f->clock = 0; /* a kernel that does not tell */
    hello(f, 0, 0, 102);
    sent = f->n_jobs;
    ask(f, 6);
    assert_int_equal(f->n_jobs, sent);
}

static void take_spans(struct fixture *f)
{
    static struct message m;
    struct peer p = peer_named(9);
    m.type = MESSAGE_SPANS;
    m.spans.n = 0;
    dispatch_client(f->d, &p, &m, NULL, f->now);
}

static void test_spans_are_kept_until_they_are_taken(void **state)
{
    struct fixture *f = *state;
    static struct message m;
    struct peer p = peer_named(100);
    all_workers(f);
    ask(f, 1);
    ask_with(f, 2, 0, JOB_TRACE);
    f->now += 5 * MS;
    result(f, &f->job[0], FL_OK, -1);
    result(f, &f->job[1], FL_OK, -1);
    take_spans(f);
    assert_int_equal(f->spans.n, 3); /* of the traced one alone */
    for (int i = 0; i < 3; i++) {
        static const uint32_t kinds[] = {SPAN_WAIT, SPAN_WIRE, SPAN_REQUEST};
        assert_int_equal(f->spans.span[i].kind, kinds[i]);
        assert_int_equal(f->spans.span[i].request, f->job[1].request);
        assert_int_equal(f->spans.span[i].role, ROLE_BROKER);
    }
    assert_int_equal(f->spans.span[2].end_ns - f->spans.span[2].start_ns, 5 * MS);
    m.type = MESSAGE_SPANS;
    m.spans.n = MESSAGE_MAX_SPANS;
    m.spans.lost = 4;
    for (int i = 0; i < 300; i++)
        dispatch_control(f->d, &p, &m, f->now); /* more than there is room for */
    take_spans(f);
    assert_int_equal(f->spans.n, MESSAGE_MAX_SPANS);
    assert_int_equal(f->spans.left, DISPATCH_SPANS - MESSAGE_MAX_SPANS);
    assert_int_equal(f->spans.lost, 300 * 4 + 300 * MESSAGE_MAX_SPANS - DISPATCH_SPANS);
}

static void test_a_request_is_sent_and_answered_once(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 42);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->job[0].attempt, 1);
    assert_int_equal(f->job[0].n_route, 3);
    assert_int_equal(outstanding(f), 3);
    f->now += 5 * MS;
    result(f, &f->job[0], FL_OK, -1);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].id, 42);
    assert_int_equal(f->answer[0].label, 3);
    assert_int_equal(f->answer[0].total_ns, 5 * MS);
    assert_int_equal(f->d->counters.duplicates, 1);
    assert_int_equal(outstanding(f), 0);
}

static void test_replicas_take_turns(void **state)
{
    struct fixture *f = *state;
    int to[2] = {0, 0};
    all_workers(f);
    for (int i = 0; i < 8; i++)
        ask(f, (uint64_t)i);
    for (int i = 0; i < 8; i++)
        to[f->job[i].route[1]]++;
    assert_int_equal(to[0], 4);
    assert_int_equal(to[1], 4);
}

static void test_too_many_are_told_at_once(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    for (int i = 0; i < 9; i++)
        ask(f, (uint64_t)i);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_OVERLOADED);
    assert_int_equal(f->answer[0].id, 8);
    assert_int_equal(f->d->counters.overloaded, 1);
    assert_int_equal(f->d->counters.refused_full, 1);
}

static void test_without_workers_it_is_unavailable_at_once(void **state)
{
    struct fixture *f = *state;
    pass(f, 101); /* a younger broker waits for those that have not found it yet */
    hello(f, 0, 0, 100);
    ask(f, 1);
    assert_int_equal(f->answer[0].error, FL_UNAVAILABLE);
    assert_int_equal(f->d->counters.refused_absent, 1);
    hello_as(f, ROLE_STAGE, 1, 0, 110, false, 1); /* starting: worth waiting for */
    hello_as(f, ROLE_STAGE, 2, 0, 120, false, 1);
    ask(f, 2);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->n_jobs, 0);
    hello(f, 1, 0, 110);
    hello(f, 2, 0, 120);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 1);
}

/* One that has started in the place of another holds requests until the workers have found it. */
static void test_a_young_broker_waits_for_workers(void **state)
{
    struct fixture *f = *state;
    ask(f, 1);
    assert_int_equal(f->n_answers, 0);
    all_workers(f);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->n_answers, 0);
}

/* A process is killed: the kernel closes its connection, and nobody waits until it counts as silent. */
static void test_a_killed_worker_is_found_by_its_connection(void **state)
{
    struct fixture *f = *state;
    int dead;
    all_workers(f);
    ask(f, 1);
    dead = f->job[0].route[1];
    pass(f, 15);
    beat_all(f, dead ? 111 : 110);
    pass(f, 15); /* one heartbeat is overdue, the connection stands: it may be busy */
    assert_int_equal(f->n_jobs, 1);
    beat_all(f, dead ? 111 : 110);
    f->gone = dead ? 111 : 110;
    pass(f, 6);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].route[1], !dead);
    f->gone = 0;
    beat(f, dead ? 111 : 110); /* only the connection was lost: it serves again */
    for (int i = 0; i < 4; i++)
        ask(f, (uint64_t)i + 2);
    assert_true(f->job[2].route[1] == dead || f->job[3].route[1] == dead);
}

static void test_a_dead_workers_requests_go_another_way(void **state)
{
    struct fixture *f = *state;
    int dead;
    all_workers(f);
    ask(f, 1);
    dead = f->job[0].route[1];
    for (int i = 0; i < 6; i++) {
        pass(f, 30);
        beat_all(f, dead ? 111 : 110);
    }
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].request, f->job[0].request);
    assert_int_equal(f->job[1].attempt, 2);
    assert_int_equal(f->job[1].route[1], 1 - dead);
    assert_int_equal(outstanding(f), 3);
    result(f, &f->job[0], FL_OK, -1); /* the old attempt after all */
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_OK);
    assert_int_equal(f->answer[0].attempts, 2);
    assert_int_equal(f->d->counters.duplicates, 1);
}

static void test_waits_for_a_restart(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    for (int i = 0; i < 6; i++) {
        pass(f, 30);
        beat_all(f, 100);
    }
    pass(f, 1);
    assert_int_equal(f->n_resets, 1);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->n_answers, 0);
    hello(f, 0, 0, 101);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_OK);
}

static void test_a_new_incarnation_takes_over(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    hello(f, 2, 0, 121);
    assert_int_equal(told(f, MESSAGE_DRAIN, 120), 1);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    beat(f, 120);
    assert_int_equal(told(f, MESSAGE_DRAIN, 120), 2);
    assert_int_equal(outstanding(f), 3);
}

static void test_places_that_do_not_exist_are_refused(void **state)
{
    struct fixture *f = *state;
    hello(f, 3, 0, 1);
    hello(f, 0, 1, 2);
    hello(f, UINT32_MAX, UINT32_MAX, 3);
    hello_as(f, ROLE_CACHE, 0, 1, 4, true, 0);
    hello_as(f, ROLE_CLIENT, 0, 0, 5, true, 0);
    for (uint64_t i = 1; i <= 5; i++)
        assert_int_equal(told(f, MESSAGE_DRAIN, i), 1);
    assert_false(registry_stage_ready(f->d->registry, 0));
}

static void test_a_stranger_is_asked_for_its_hello(void **state)
{
    struct fixture *f = *state;
    beat(f, 77);
    assert_int_equal(f->n_control, 1);
    assert_int_equal(f->control[0].type, MESSAGE_HEARTBEAT);
    assert_int_equal(f->control[0].heartbeat.incarnation, 0);
}

static void test_goodbye_re_routes(void **state)
{
    struct fixture *f = *state;
    int gone;
    all_workers(f);
    ask(f, 1);
    gone = f->job[0].route[1];
    hello_as(f, ROLE_STAGE, 1, (uint32_t)gone, gone ? 111 : 110, false, 1);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].route[1], 1 - gone);
}

static void leave(struct fixture *f, uint32_t stage, uint32_t replica, uint64_t incarnation)
{
    struct message m;
    struct peer p = peer_named(incarnation);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_HELLO;
    m.hello = (struct hello){.role = ROLE_STAGE,
                             .stage = stage,
                             .replica = replica,
                             .incarnation = incarnation,
                             .ready = true,
                             .leaving = true};
    m.hello.model[0] = m.hello.identity[0] = m.hello.plan[0] = 1;
    m.hello.boot_id[0] = f->clock;
    dispatch_control(f->d, &p, &m, f->now);
}

/* Who leaves gets nothing new, finishes what it has, and is told when nothing is left: no request is sent
 * twice. */
static void test_who_leaves_finishes_first(void **state)
{
    struct fixture *f = *state;
    int leaver, other;
    all_workers(f);
    ask(f, 1);
    leaver = f->job[0].route[1];
    leave(f, 1, (uint32_t)leaver, 110 + (uint64_t)leaver);
    for (uint64_t i = 2; i < 6; i++)
        ask(f, i);
    for (int i = 1; i < 5; i++)
        assert_int_equal(f->job[i].route[1], 1 - leaver);
    assert_int_equal(told(f, MESSAGE_DRAIN, 110 + (uint64_t)leaver), 0);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_DRAIN, 110 + (uint64_t)leaver), 1);
    hello_as(f, ROLE_STAGE, 1, (uint32_t)leaver, 110 + (uint64_t)leaver, false, 1);
    for (int i = 1; i < 5; i++)
        result(f, &f->job[i], FL_OK, -1);
    assert_int_equal(f->n_jobs, 5);
    assert_int_equal(f->n_answers, 5);
    for (int i = 0; i < 5; i++)
        assert_int_equal(f->answer[i].attempts, 1);
    other = 110 + 1 - leaver;
    leave(f, 1, (uint32_t)(1 - leaver), (uint64_t)other); /* idle: at once */
    assert_int_equal(told(f, MESSAGE_DRAIN, (uint64_t)other), 1);
    assert_int_equal(f->d->counters.retried, 0);
}

/* A stage whose only worker is being replaced is waited for. */
static void test_the_last_of_a_stage_may_leave(void **state)
{
    struct fixture *f = *state;
    f->pipeline.broker.retries = 0;
    all_workers(f);
    ask(f, 1);
    leave(f, 0, 0, 100);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->n_answers, 0);
    result(f, &f->job[0], FL_OK, -1);
    hello_as(f, ROLE_STAGE, 0, 0, 100, false, 1);
    pass(f, 50);
    hello(f, 0, 0, 101);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].error, FL_OK);
}

/* One that could not wait is no failure of the requests that it had, whatever broker.retries says. */
static void test_a_goodbye_costs_no_attempt(void **state)
{
    struct fixture *f = *state;
    int gone;
    f->pipeline.broker.retries = 0;
    all_workers(f);
    ask(f, 1);
    gone = f->job[0].route[1];
    hello_as(f, ROLE_STAGE, 1, (uint32_t)gone, gone ? 111 : 110, false, 1);
    hello_as(f, ROLE_STAGE, 1, (uint32_t)gone, gone ? 111 : 110, false, 1); /* twice is gone, too */
    assert_false(registry_worker(f->d->registry, 1, gone)->alive);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(f->answer[0].error, FL_OK);
}

static void test_the_deadline_is_kept(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask_with(f, 1, 50, 0);
    pass(f, 49);
    assert_int_equal(f->n_answers, 0);
    pass(f, 1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->d->counters.expired, 1);
    assert_int_equal(requests_count(f->d->requests), 0);
}

/* A broker that was kept from its clock meets the answer first: late is late. */
static void test_an_answer_after_the_deadline_is_none(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask_with(f, 1, 50, 0);
    f->now += 50 * MS;
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    assert_int_equal(f->d->counters.answered, 0);
}

/* Time in the sockets counts where the client's clock is the broker's. */
static void test_the_deadline_counts_from_when_it_was_sent(void **state)
{
    struct fixture *f = *state;
    uint64_t here = clock_id("B");
    all_workers(f);
    ask_sent(f, 1, f->now - 20 * MS, here);
    assert_int_equal(f->job[0].deadline_ns, f->now + 30 * MS);
    ask_sent(f, 2, f->now - 20 * MS, here + 1); /* another host's */
    assert_int_equal(f->job[1].deadline_ns, f->now + 50 * MS);
    ask_sent(f, 3, f->now - 20 * MS, 0);
    assert_int_equal(f->job[2].deadline_ns, f->now + 50 * MS);
    ask_sent(f, 4, f->now + 20 * MS, here); /* nobody gets more time by lying */
    assert_int_equal(f->job[3].deadline_ns, f->now + 50 * MS);
    ask_sent(f, 5, f->now - 51 * MS, here); /* too late already */
    assert_int_equal(f->n_jobs, 4);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    assert_true(f->answer[0].retry_after_ms >= 1);
}

static void test_an_overlong_deadline_is_cut(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask_with(f, 1, UINT32_MAX, 0);
    assert_int_equal(f->job[0].deadline_ns, f->now + 10000 * MS);
}

static void test_a_lost_attempt_is_repeated(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    for (int i = 0; i < 34; i++) {
        pass(f, 10);
        beat_all(f, 0);
    }
    assert_int_equal(f->n_jobs, 2);
    assert_int_not_equal(f->job[1].route[1], f->job[0].route[1]);
}

/* Whoever has no key is not held up. */
static void test_a_client_asks_no_faster_than_its_rate(void **state)
{
    struct fixture *f = *state;
    struct peer guest = peer_named(1);
    struct message m = {.type = MESSAGE_REQUEST};
    zmq_msg_t payload;

    rates_init(&f->d->rates, 2);
    guest.guest = 7;
    m.request.input = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 4}};
    for (int i = 0; i < 3; i++) {
        zmq_msg_init_size(&payload, 16);
        dispatch_client(f->d, &guest, &m, &payload, f->now);
        zmq_msg_close(&payload);
    }
    assert_int_equal(f->n_answers, 1); /* the third is told when to come again */
    assert_int_equal(f->answer[0].error, FL_OVERLOADED);
    assert_in_range(f->answer[0].retry_after_ms, 400, 501);
}

static void test_time_outs_do_not_feed_an_overload(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    f->d->retry_tokens = 2;
    for (uint64_t i = 0; i < 8; i++)
        ask(f, i);
    for (int i = 0; i < 90; i++) {
        pass(f, 10);
        beat_all(f, 0);
    }
    assert_in_range(f->n_jobs, 9, 10);
}

static void test_retries_end(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->n_jobs, i + 1);
        result(f, &f->job[i], FL_NOMEM, -1);
        if (i < 2)
            assert_int_equal(f->n_jobs, i + 1); /* not at once */
        for (int k = 0; k < 4; k++) {
            beat_all(f, 0);
            pass(f, 30);
        }
    }
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_NOMEM);
    assert_int_equal(f->answer[0].attempts, 3);
}

/* Least outstanding as it is, a worker that fails at once would get everything. It is put aside, tried now
 * and then, and gets its share again once it works. */
static void test_a_failing_worker_is_put_aside(void **state)
{
    struct fixture *f = *state;
    int to[2], seen = 0;
    bool broken = true;
    all_workers(f);
    for (int round = 0; round < 2; round++, broken = false) {
        to[0] = to[1] = 0;
        for (int i = 0; i < 120; i++) {
            f->n_control = f->n_answers = 0;
            ask(f, (uint64_t)i);
            for (; seen < f->n_jobs; seen++) {
                int replica = f->job[seen].route[1];
                struct result r = {.request = f->job[seen].request,
                                   .attempt = f->job[seen].attempt,
                                   .error = broken && !replica ? FL_INTERNAL : FL_OK,
                                   .exit = -1,
                                   .label = 1,
                                   .trace = {.n = broken && !replica ? 1 : 3}};
                zmq_msg_t none;
                for (uint32_t s = 0; s < 3; s++)
                    r.trace.stage[s] =
                        (struct stage_time){.stage = s, .replica = s == 1 ? (uint32_t)replica : 0};
                to[replica]++;
                zmq_msg_init(&none);
                assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, NULL), FL_OK);
                zmq_msg_close(&none);
                pass(f, 60); /* past the back-off of one failure */
                beat_all(f, 0);
            }
            assert_int_equal(f->n_answers, 1);
            assert_int_equal(f->answer[0].error, FL_OK);
            f->n_jobs = seen = 0;
        }
        if (broken)
            assert_in_range(to[0], 3, 15);
    }
    assert_true(to[0] > 15); /* half of what came after its last rest */
    assert_int_equal(outstanding(f), 0);
}

/* The stage in front could not hand it over: another way at once, or patience until the worker is back. */
static void test_a_broken_link_is_avoided(void **state)
{
    struct fixture *f = *state;
    int first;
    all_workers(f);
    ask(f, 1);
    first = f->job[0].route[1];
    result(f, &f->job[0], FL_UNAVAILABLE, -1);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].route[1], 1 - first);
    ask(f, 2); /* others do not go there either */
    assert_int_equal(f->job[2].route[1], 1 - first);
    result(f, &f->job[1], FL_UNAVAILABLE, -1);
    assert_int_equal(f->n_jobs, 3); /* both are suspect: wait */
    for (int i = 0; i < 6; i++) {
        pass(f, 20);
        beat_all(f, 0);
    }
    assert_int_equal(f->n_jobs, 4);
    for (int i = 0; i < 90; i++) { /* much more often than broker.retries, until the deadline */
        if (f->job[f->n_jobs - 1].request == f->job[0].request)
            result(f, &f->job[f->n_jobs - 1], FL_UNAVAILABLE, -1);
        beat_all(f, 0);
        pass(f, 10);
    }
    assert_in_range(f->n_jobs, 5, 40);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    assert_int_equal(f->answer[1].error, FL_DEADLINE);
}

static void test_bad_input_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    result(f, &f->job[0], FL_VALUE, -1);
    pass(f, 500);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->answer[0].error, FL_VALUE);
}

static void test_failures_of_old_attempts_are_ignored(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    result(f, &f->job[0], FL_NOMEM, -1);
    pass(f, 60);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[0], FL_UNAVAILABLE, -1);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
}

static void test_waits_while_stage_0_is_full(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    f->full = 1;
    ask(f, 1);
    ask(f, 2);
    assert_true(dispatch_blocked(f->d));
    assert_int_equal(f->n_jobs, 0);
    f->full = 0;
    pass(f, 1);
    assert_false(dispatch_blocked(f->d));
    assert_int_equal(f->n_jobs, 2);
    assert_true(f->job[0].request < f->job[1].request);
}

/* Whatever its socket would hold: what does not wait there can still be refused, and goes another way at no
 * cost. */
static void test_stage_0_has_two_batches_at_most(void **state)
{
    struct fixture *f = *state;
    f->pipeline.stage[0].max_batch = 2;
    f->slow = 1;
    all_workers(f);
    f->n_control = 0;
    f->d->admission.work_ns[0] = 1; /* so quick that time bounds nothing */
    for (uint64_t i = 0; i < 8; i++)
        ask(f, i);
    assert_int_equal(f->n_jobs, 4);
    assert_false(dispatch_blocked(f->d)); /* the socket had room */
    assert_int_equal(f->job[1].flags, 0);
    assert_int_equal(f->job[2].flags, JOB_TELL); /* more than the batch in hand: to be told of */
    tell_taken(f, 100, &f->job[1], 2);
    assert_int_equal(f->n_jobs, 6); /* those before it were taken too */
    assert_int_equal(told(f, MESSAGE_HEARTBEAT, 100), 0);
    result(f, &f->job[2], FL_OK, -1); /* as good as being told */
    assert_int_equal(f->n_jobs, 7);
    tell_taken(f, 110, &f->job[6], 2); /* of another stage: means nothing */
    assert_int_equal(f->n_jobs, 7);
    tell_taken(f, 100, &f->job[2], 1); /* long gone; and it takes but one at a time */
    result(f, &f->job[3], FL_OK, -1);
    assert_int_equal(f->n_jobs, 7);
    result(f, &f->job[4], FL_OK, -1);
    result(f, &f->job[5], FL_OK, -1);
    assert_int_equal(f->n_jobs, 8);
}

static void test_hits_cancel_what_is_behind(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1); /* no patience: the stage had the verdict too late */
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(f->answer[0].exit, 0);
    assert_int_equal(f->d->counters.hits, 1);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 0);
    assert_int_equal(told(f, MESSAGE_CANCEL, 110) + told(f, MESSAGE_CANCEL, 111), 1);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 1);
}

static void cancel(struct fixture *f, uint64_t who, uint64_t first, uint64_t second)
{
    struct message m = {.type = MESSAGE_CANCEL};
    struct peer p = peer_named(who);
    m.cancel = (struct cancel){.n = 2, .request = {first, second}};
    dispatch_client(f->d, &p, &m, NULL, f->now);
    dispatch_tick(f->d, f->now);
}

/* Its own requests alone, each answered once; the stages hear of it. */
static void test_a_client_cancels_what_it_asked(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    f->full = 1;
    ask(f, 2); /* not sent yet */
    ask(f, 3);
    cancel(f, 2, 1, 2); /* another client's */
    assert_int_equal(f->n_answers, 0);
    cancel(f, 1, 1, 2);
    cancel(f, 1, 1, 99); /* again, and one that never was */
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[0].error, FL_CANCELLED);
    assert_int_equal(f->answer[1].error, FL_CANCELLED);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 1);
    assert_int_equal(f->d->counters.cancelled, 2);
    f->full = 0;
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 2); /* the third goes on */
    result(f, &f->job[1], FL_OK, -1);
    result(f, &f->job[0], FL_OK, -1); /* too late */
    assert_int_equal(f->n_answers, 3);
    assert_int_equal(f->answer[2].id, 3);
    assert_int_equal(requests_count(f->d->requests), 0);
    assert_int_equal(outstanding(f), 0);
}

/* Those of a higher priority are sent first, but none waits longer than half of broker.deadline_ms for them.
 */
static void test_priorities_decide_who_is_sent_first(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t id;
        uint32_t priority;
        uint64_t after_ms;
    } asked[] = {{1, 9, 0}, {2, 0, 0}, {3, 1, 0}, {4, 5, 1}, {5, 2, 400}, {6, 1, 101}};
    static const uint64_t order[] = {3, 2, 4,
                                     5, 1, 6}; /* the sixth came more than half of it after the first */
    all_workers(f);
    f->full = 1;
    f->pipeline.broker.dead_after_ms = 60000;
    for (int i = 0; i < 6; i++) {
        pass(f, asked[i].after_ms);
        beat_all(f, 0);
        ask_request(f,
                    (struct request){.id = asked[i].id, .priority = asked[i].priority, .deadline_ms = 10000});
    }
    f->full = 0;
    for (int i = 0; i < 6; i++) {
        dispatch_tick(f->d, f->now);
        while (f->n_answers < f->n_jobs)
            result(f, &f->job[f->n_answers], FL_OK, -1);
    }
    assert_int_equal(f->n_answers, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(f->answer[i].id, order[i]);
}

/* A cache service that is here, with caches under a promise of so many millionths; 0: without one. */
static void promise(struct fixture *f, uint32_t ppm)
{
    struct message m = {.type = MESSAGE_HELLO};
    struct peer p = peer_named(200);
    m.hello = (struct hello){.role = ROLE_CACHE, .incarnation = 200, .ready = true};
    m.hello.caches.loaded = m.hello.caches.built = 1;
    m.hello.caches.promise = (struct caches_promise){.made = ppm != 0, .max_loss = (double)ppm / SHARE_PPM};
    if (ppm == 8000) /* and thresholds for less */
        m.hello.caches.promise = (struct caches_promise){
            .made = true, .max_loss = 0.008, .n_levels = 3, .level_ppm = {8000, 4000, 2000}};
    dispatch_control(f->d, &p, &m, f->now);
}

static uint32_t flags_of(struct fixture *f, uint32_t loss_allowed)
{
    int n = f->n_jobs, answers = f->n_answers;
    ask_request(f, (struct request){.id = 1, .loss_allowed = loss_allowed});
    if (f->n_jobs == n)
        return f->answer[answers].error << 16;
    result(f, &f->job[n], FL_OK, -1);
    return f->job[n].flags & JOB_NO_CACHE;
}

static void test_a_request_may_allow_less_loss(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    promise(f, 5000);
    assert_int_equal(flags_of(f, 0), 0);
    assert_int_equal(flags_of(f, 1 + 5000), 0);
    assert_int_equal(flags_of(f, 1 + SHARE_PPM), 0);
    assert_int_equal(flags_of(f, 1 + 4999), JOB_NO_CACHE);
    assert_int_equal(flags_of(f, 1), JOB_NO_CACHE);
    promise(f, 0); /* whatever these lose */
    assert_int_equal(flags_of(f, 1 + SHARE_PPM / 2), JOB_NO_CACHE);
    assert_int_equal(flags_of(f, 0), 0);
    strcpy(f->pipeline.computes, "int8-1a2b3c4d"); /* no exits are no float32 */
    assert_int_equal(flags_of(f, 1), FL_UNSUPPORTED << 16);
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.cache.max_accuracy_loss = 0.5;
    promise(f, 5000);
    assert_int_equal(flags_of(f, 1), FL_UNSUPPORTED << 16);
    assert_int_equal(flags_of(f, 1 + 5000), 0);
}

/* What the caches are told that a request allows, and what its answer says is promised. */
static uint32_t level_of(struct fixture *f, uint32_t loss_allowed)
{
    int n = f->n_jobs, answers = f->n_answers;
    ask_request(f, (struct request){.id = 1, .loss_allowed = loss_allowed});
    result(f, &f->job[n], FL_OK, -1);
    assert_int_equal(f->answer[answers].loss_promised, f->job[n].loss_allowed);
    return f->job[n].flags & JOB_NO_CACHE ? UINT32_MAX : f->job[n].loss_allowed;
}

static void test_a_request_gets_the_most_that_is_certified_within_what_it_allows(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    promise(f, 8000);
    assert_int_equal(level_of(f, 0), 0);
    assert_int_equal(level_of(f, 1 + 8000), 0);
    assert_int_equal(level_of(f, 1 + 7999), 1 + 4000);
    assert_int_equal(level_of(f, 1 + 4000), 1 + 4000);
    assert_int_equal(level_of(f, 1 + 3999), 1 + 2000);
    assert_int_equal(level_of(f, 1 + 1999), UINT32_MAX);
    strcpy(f->pipeline.computes, "int8-1a2b3c4d"); /* what that loses is in the levels, too */
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.cache.max_accuracy_loss = 0.8;
    assert_int_equal(level_of(f, 1 + 2000), 1 + 2000);
    assert_int_equal(flags_of(f, 1 + 1999), FL_UNSUPPORTED << 16);
}

/* One in eight frames of a video runs to its end, whatever the client asks for. */
static void test_some_frames_of_a_stream_are_keys(void **state)
{
    struct fixture *f = *state;
    const uint32_t all = JOB_KEY | JOB_AUDIT | JOB_SAMPLED;
    int keys = 0;
    all_workers(f);
    promise(f, 8000);
    for (int i = 0; i < 400; i++) {
        f->n_jobs = f->n_answers = 0;
        ask_request(f, (struct request){.id = 1, .stream = 9});
        assert_int_equal(f->job[0].stream, 9);
        assert_true(!(f->job[0].flags & JOB_KEY) || (f->job[0].flags & all) == all);
        keys += (f->job[0].flags & JOB_KEY) != 0;
        result(f, &f->job[0], FL_OK, -1);
        f->n_jobs = f->n_answers = 0;
        ask_request(f, (struct request){.id = 2,
                                        .stream = i % 3 ? 9 : 0,
                                        .flags = i % 3 == 1 ? all : JOB_KEY,
                                        .loss_allowed = i % 3 == 2 ? 1 + 4000 : 0});
        assert_true(!(f->job[0].flags & JOB_KEY)); /* not drawn, or not from a stream */
        result(f, &f->job[0], FL_OK, -1);
    }
    assert_in_range(keys, 25, 80);
}

static void hit_after(struct fixture *f, uint64_t wire_us, uint64_t queue_us, uint64_t lookup_us)
{
    struct result r = {.attempt = 1,
                       .exit = 0,
                       .lookup_wire_ns = wire_us * 1000,
                       .lookup_queue_ns = queue_us * 1000,
                       .lookup_ns = lookup_us * 1000,
                       .trace = {.n = 1}};
    zmq_msg_t none;
    f->n_jobs = 0;
    ask(f, 1);
    r.request = f->job[0].request;
    (void)zmq_msg_init(&none);
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, NULL), FL_OK);
    zmq_msg_close(&none);
    dispatch_tick(f->d, f->now);
}

/* A stage that heard of its hit in time has passed nothing on: the stages behind have nothing to cancel. */
static void test_stages_that_never_saw_a_request_are_left_alone(void **state)
{
    struct fixture *f = *state;
    f->pipeline.cache.wait_us = 2000;
    all_workers(f);
    hit_after(f, 300, 50, 200);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 0);
    hit_after(f, 300, 300, 200); /* there and back it may have taken more than half of the patience */
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 1);
    hit_after(f, UINT64_MAX / 1000, UINT64_MAX / 1000, 2);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 2);
    registry_cache(f->d->registry, 0)->last.clock_error_ns = UINT64_MAX; /* nobody knows */
    hit_after(f, 1, 1, 1);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 3);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 0);
}

/* How often `who` was asked about job j. */
static int asked(const struct fixture *f, uint64_t who, const struct job *j)
{
    struct peer p = peer_named(who);
    int n = 0;
    for (int i = 0; i < f->n_control; i++)
        for (int k = 0; f->control[i].type == MESSAGE_CANCEL && k < f->control[i].cancel.n_ask; k++)
            n += f->control[i].cancel.ask[k] == j->request && !memcmp(f->control_to[i].id, p.id, 8);
    return n;
}

/* A cache service that dies may have told a stage of a hit and not the broker: whoever asked it is asked. */
static void test_hits_of_a_dead_cache_are_asked_for(void **state)
{
    struct fixture *f = *state;
    struct job *j = f->job;
    all_workers(f);
    f->pipeline.stage[2].replica[0].cache = 1; /* asks another service */
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 0);
    ask(f, 1);
    ask_with(f, 2, 0, JOB_NO_CACHE);
    hello_as(f, ROLE_CACHE, 0, 0, 201, true, 0); /* another process: the one before is gone */
    dispatch_tick(f->d, f->now);
    assert_int_equal(asked(f, 100, &j[0]), 1);
    assert_int_equal(asked(f, 110, &j[0]) + asked(f, 111, &j[0]), 1);
    assert_int_equal(asked(f, 120, &j[0]), 0);
    assert_int_equal(asked(f, 100, &j[1]), 0);
    result(f, &j[0], FL_OK, 0);
    assert_int_equal(f->answer[0].exit, 0);
    assert_int_equal(f->answer[0].attempts, 1);
}

/* Or its result was lost on the way: who is overdue is asked for before it is sent again, and also when it is
 * not. */
static void test_hits_of_what_is_overdue_are_asked_for(void **state)
{
    struct fixture *f = *state;
    f->d->retry_tokens = 0;
    all_workers(f);
    ask(f, 1);
    for (int i = 0; i < 40; i++) {
        pass(f, 10);
        beat_all(f, 0);
    }
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(asked(f, 100, &f->job[0]), 1);
    assert_int_equal(asked(f, 120, &f->job[0]), 1);
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(f->answer[0].error, FL_OK);
}

/* A client's own choice is no fair draw. */
static void test_what_clients_run_to_the_end_is_no_audit(void **state)
{
    struct fixture *f = *state;
    f->pipeline.updates.audit = 1;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 0);
    ask_with(f, 1, 0, JOB_NO_CACHE);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 0);
    ask_with(f, 2, 0, JOB_AUDIT);
    assert_int_equal(f->job[1].flags, JOB_AUDIT | JOB_SAMPLED);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 1);
    assert_int_equal(f->control[f->n_control - 1].outcome.label, 3);
    assert_false(f->control[f->n_control - 1].outcome.audit);
    assert_int_equal(f->d->counters.audits_drawn, 0);
}

/* The outcome that cache service 200 was told last. */
static struct outcome outcome_told(const struct fixture *f)
{
    for (int i = f->n_control - 1; i >= 0; i--)
        if (f->control[i].type == MESSAGE_OUTCOME)
            return f->control[i].outcome;
    fail_msg("no outcome was told");
    return (struct outcome){0};
}

static struct status_reply status(const struct fixture *f)
{
    static struct status_reply s;
    dispatch_status(f->d, &s, f->now);
    return s;
}

/* Workers, a cache service, and every request an audit. */
static void audited(struct fixture *f)
{
    f->pipeline.updates.audit = 1;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
}

static void check_audits(const struct fixture *f, uint64_t drawn, uint64_t done, uint64_t dropped)
{
    struct status_reply s = status(f);
    assert_int_equal(s.audits_drawn, drawn);
    assert_int_equal(s.audits_done, done);
    assert_int_equal(s.audits_dropped, dropped);
}

static void check_nothing_is_left(const struct fixture *f)
{
    assert_int_equal(requests_count(f->d->requests), 0);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    assert_int_equal(requests_bytes(f->d->requests), 0);
    assert_int_equal(outstanding(f), 0);
    assert_int_equal(audit_line_length(&f->d->line), 0);
    assert_int_equal(f->d->shadowed, 0);
}

/* It has run to its end with all its descriptors sampled. */
static void test_an_audit_that_no_exit_answered_is_done(void **state)
{
    struct fixture *f = *state;
    audited(f);
    ask(f, 1);
    assert_int_equal(f->job[0].flags, JOB_SAMPLED);
    check_audits(f, 1, 0, 0);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 1);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).request, f->job[0].request);
    assert_int_equal(outcome_told(f).original, 0);
    assert_int_equal(outcome_told(f).label, 3);
    assert_int_equal(outcome_told(f).n_scores, 0);
    assert_int_equal(f->n_jobs, 1);
    check_audits(f, 1, 1, 0);
    check_nothing_is_left(f);
}

/* Caches that learn imitate them. */
static void test_an_audit_tells_the_scores(void **state)
{
    const float scores[] = {1.5f, -2, 1e9f};
    struct fixture *f = *state;
    audited(f);
    ask(f, 1);
    result_with(f, &f->job[0], FL_OK, -1, scores, 3);
    assert_int_equal(outcome_told(f).n_scores, 3);
    assert_int_equal(outcome_told(f).scores[0], 0x3e00);
    assert_int_equal(outcome_told(f).scores[1], 0xc000);
    assert_int_equal(outcome_told(f).scores[2], 0x7bff); /* the largest that there is */
    check_nothing_is_left(f);
}

/* Its client has its answer at the hit. The same input runs again, as another request, and the truth is told.
 */
static void test_an_audit_that_an_exit_answered_has_a_shadow(void **state)
{
    struct fixture *f = *state;
    struct admission before;
    struct job *first = &f->job[0], *shadow = &f->job[1];
    audited(f);
    ask(f, 1);
    result(f, first, FL_OK, 0);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].exit, 0);
    assert_int_equal(outcome_told(f).hit_exit, 0);
    assert_false(outcome_told(f).audit);
    assert_int_equal(f->n_jobs, 2); /* nothing else is under way */
    assert_int_not_equal(shadow->request, first->request);
    assert_int_equal(shadow->flags, JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW);
    assert_int_equal(shadow->activation.rank, first->activation.rank);
    assert_true(shadow->deadline_ns >= f->now + 10000 * MS);
    assert_int_equal(status(f).in_flight, 0);
    check_audits(f, 1, 0, 0);

    before = f->d->admission;
    pass(f, 40);
    result(f, first, FL_OK, -1); /* the first run's, too late */
    result(f, shadow, FL_OK, -1);
    assert_memory_equal(&before, &f->d->admission, sizeof before);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 2);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).request, shadow->request);
    assert_int_equal(outcome_told(f).original, first->request);
    assert_int_equal(outcome_told(f).label, 3);
    assert_int_equal(outcome_told(f).hit_exit, -1);
    assert_int_equal(status(f).answered, 1);
    check_audits(f, 1, 1, 0);
    check_nothing_is_left(f);
}

/* What was told at any moment is the beginning of what was drawn: hits, which take longer, are not behind. */
static void test_audits_are_told_in_the_order_of_the_draw(void **state)
{
    struct fixture *f = *state;
    audited(f);
    for (uint64_t i = 1; i <= 4; i++)
        ask(f, i);
    result(f, &f->job[3], FL_OK, -1);
    result(f, &f->job[0], FL_OK, 0);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 1); /* that of the hit, which is none of an audit */
    check_audits(f, 4, 0, 0);
    result(f, &f->job[2], FL_VALUE, -1); /* fails: it is no audit any more */
    check_audits(f, 4, 0, 0);
    assert_int_equal(f->job[4].flags, JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW);
    result(f, &f->job[4], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 5);
    assert_int_equal(outcome_told(f).request, f->job[3].request);
    check_audits(f, 4, 3, 1);
    check_nothing_is_left(f);
}

static void test_a_shadow_can_be_no_hit(void **state)
{
    struct fixture *f = *state;
    struct result r = {.attempt = 1, .label = 3, .trace = {.n = 1}};
    struct error e;
    zmq_msg_t none;
    zmq_msg_init(&none);
    audited(f);
    ask(f, 1);
    result(f, &f->job[0], FL_OK, 0);
    r.request = f->job[1].request;
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, &e), FL_PROTOCOL);
    zmq_msg_close(&none);
    result(f, &f->job[1], FL_OK, -1);
    check_audits(f, 1, 1, 0);
}

/* One after the other, and only when no other request is under way or they have waited for long. */
static void test_shadows_are_below_other_work(void **state)
{
    struct fixture *f = *state;
    audited(f);
    for (uint64_t i = 0; i < 3; i++)
        ask(f, i);
    result(f, &f->job[0], FL_OK, 0);
    result(f, &f->job[1], FL_OK, 0);
    assert_int_equal(f->n_jobs, 3); /* the third is under way */
    for (int i = 0; i < 240; i += 20) {
        pass(f, 20);
        beat_all(f, 0);
        beat(f, 200);
    }
    assert_int_equal(f->n_jobs, 3);
    pass(f, 10);
    assert_int_equal(f->n_jobs, 4);
    assert_true(f->job[3].flags & JOB_SHADOW);
    result(f, &f->job[3], FL_OK, -1);
    assert_int_equal(f->n_jobs, 5);
    result(f, &f->job[2], FL_OK, -1); /* nothing but a shadow is under way: no second one goes there */
    ask(f, 9);
    assert_int_equal(f->n_jobs, 6);
    result(f, &f->job[5], FL_OK, 0);
    assert_int_equal(f->n_jobs, 6);
    result(f, &f->job[4], FL_OK, -1);
    assert_int_equal(f->n_jobs, 7);
    result(f, &f->job[6], FL_OK, -1);
    check_audits(f, 4, 4, 0);
    check_nothing_is_left(f);
}

/* They take neither places nor room; for bytes that others need they are given up. */
static void test_shadows_refuse_nobody(void **state)
{
    struct fixture *f = *state;
    audited(f);
    ask(f, 1);
    f->full = 1; /* nothing leaves */
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(requests_shadows(f->d->requests), 1);
    for (uint64_t i = 0; i < 8; i++)
        ask(f, 10 + i);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(status(f).in_flight, 8);
    ask(f, 20);
    assert_int_equal(f->answer[1].error, FL_OVERLOADED); /* a ninth, whatever waits */
    assert_int_equal(requests_shadows(f->d->requests), 1);
    f->full = 0;
    pass(f, 1);
    for (int i = 1; i < f->n_jobs; i++)
        result(f, &f->job[i], FL_OK, f->job[i].flags & JOB_SHADOW ? -1 : 0);
    check_audits(f, 9, 8, 1); /* as many as there are places for requests, and no more */
    check_nothing_is_left(f);

    f->n_jobs = f->n_answers = 0;
    f->bytes = 300000; /* of 1 MiB */
    ask(f, 30);
    f->full = 1;
    result(f, &f->job[0], FL_OK, 0);
    ask(f, 31);
    ask(f, 32);
    assert_int_equal(requests_shadows(f->d->requests), 1);
    ask(f, 33);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(status(f).in_flight, 3);
    check_audits(f, 13, 8, 5); /* there was no place to begin with for three of these */
}

static void beat_with(struct fixture *f, struct heartbeat h)
{
    struct message m;
    struct peer p = peer_named(h.incarnation);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_HEARTBEAT;
    m.heartbeat = h;
    dispatch_control(f->d, &p, &m, f->now);
}

static void it_learns(struct fixture *f)
{
    beat_with(f, (struct heartbeat){.incarnation = 200, .worker_ns = 1, .exits_told = true, .learns = 6});
}

static void check_lost(const struct fixture *f, const struct job *shadow, const struct job *first)
{
    assert_int_equal(outcome_told(f).request, shadow->request);
    assert_int_equal(outcome_told(f).original, first->request);
    assert_int_equal(outcome_told(f).label, -1);
    assert_true(outcome_told(f).audit);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 1);
}

/* As often as a request would be. */
static void test_a_shadow_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct job *shadow = &f->job[1];
    audited(f);
    ask(f, 1);
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(f->n_jobs, 2);
    hello(f, 2, 0, 121); /* its worker died */
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 3);
    assert_int_equal(f->job[2].request, shadow->request);
    assert_int_equal(f->job[2].flags, JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW);
    result(f, &f->job[2], FL_UNAVAILABLE, -1);
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 4);
    result(f, &f->job[2], FL_UNAVAILABLE, -1); /* twice told of one attempt */
    result(f, &f->job[3], FL_OK, -1);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).original, f->job[0].request);
    assert_int_equal(outcome_told(f).label, 3);
    assert_int_equal(f->n_answers, 1);
    check_audits(f, 1, 1, 0);
    check_nothing_is_left(f);
}

/* Only what an exit answered can be lost so, and a learner has to know. */
static void test_a_lost_shadow_is_told_of(void **state)
{
    struct fixture *f = *state;
    audited(f);
    it_learns(f);
    ask(f, 1);
    result(f, &f->job[0], FL_OK, 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(f->n_jobs, i + 1);
        result(f, &f->job[i], FL_UNAVAILABLE, -1);
        dispatch_tick(f->d, f->now);
    }
    assert_int_equal(f->n_jobs, 4);
    check_lost(f, &f->job[1], &f->job[0]);
    result(f, &f->job[3], FL_OK, -1);
    check_audits(f, 1, 0, 1);
    check_nothing_is_left(f);

    f->n_jobs = f->n_control = 0;
    ask(f, 2);
    result(f, &f->job[0], FL_OK, 0);
    for (int i = 0; i < 2000; i++) { /* its result never comes */
        if (!requests_shadows(f->d->requests))
            break;
        f->n_control = 0;
        pass(f, 20);
        beat_all(f, 0);
        it_learns(f);
    }
    assert_int_equal(f->n_jobs, 4);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).label, -1);
    check_audits(f, 2, 0, 2);
    check_nothing_is_left(f);
}

/* Hits and misses alike, known or not: only the first, a hit that waits, is told of as lost. */
static void test_for_bytes_all_that_are_drawn_go(void **state)
{
    struct fixture *f = *state;
    struct outcome lost = {0};
    int audits = 0;
    audited(f);
    it_learns(f);
    f->bytes = 100000; /* of 1 MiB */
    for (uint64_t i = 1; i <= 4; i++)
        ask(f, i);
    f->full = 1; /* nothing leaves */
    result(f, &f->job[1], FL_OK, -1);
    result(f, &f->job[0], FL_OK, 0);
    result(f, &f->job[3], FL_OK, 0);
    assert_int_equal(requests_shadows(f->d->requests), 2);
    check_audits(f, 4, 0, 0);
    f->n_control = 0;
    f->bytes = 800000;
    ask(f, 5);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    assert_int_equal(f->n_answers, 3);
    result(f, &f->job[2], FL_OK, 0);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    for (int i = 0; i < f->n_control; i++)
        if (f->control[i].type == MESSAGE_OUTCOME && f->control[i].outcome.audit) {
            lost = f->control[i].outcome;
            audits++;
        }
    assert_int_equal(audits, 1);
    assert_int_equal(lost.label, -1);
    assert_int_equal(lost.original, f->job[0].request);
    f->full = 0;
    pass(f, 1);
    result(f, &f->job[4], FL_OK, -1);
    check_audits(f, 5, 0, 5);
    check_nothing_is_left(f);
}

/* The heartbeat that this member was sent last. */
static struct heartbeat echo_to(const struct fixture *f, uint64_t who)
{
    struct peer p = peer_named(who);
    for (int i = f->n_control - 1; i >= 0; i--)
        if (f->control[i].type == MESSAGE_HEARTBEAT && !memcmp(f->control_to[i].id, p.id, 8))
            return f->control[i].heartbeat;
    fail_msg("nothing was sent to %llu", (unsigned long long)who);
    return (struct heartbeat){0};
}

/* A stage hears what its cache service wants to learn from, unless that has caches of another network. */
static void test_stages_hear_where_is_learned(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    it_learns(f);
    beat_with(f, (struct heartbeat){.incarnation = 100, .worker_ns = 1});
    assert_int_equal(echo_to(f, 100).learns, 6);
    assert_int_equal(echo_to(f, 100).exits, 0);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 2);
    beat_with(f, (struct heartbeat){.incarnation = 100, .worker_ns = 1, .learns = 7});
    assert_int_equal(echo_to(f, 100).learns, 0);
}

/* ---- true labels ---- */

static void label(struct fixture *f, const struct feedback_item *item, int n)
{
    static struct message m;
    struct peer p = peer_named(7);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_FEEDBACK;
    m.feedback.sequence = 77;
    m.feedback.n = n;
    memcpy(m.feedback.item, item, (size_t)n * sizeof *item);
    dispatch_client(f->d, &p, &m, NULL, f->now);
    assert_int_equal(f->said.sequence, 77);
}

static void learns_under_a_promise(struct fixture *f)
{
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.updates.learn = true;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    it_learns(f);
}

static void test_labels_of_answered_requests_go_to_a_cache_service(void **state)
{
    struct fixture *f = *state;
    const struct message *told;
    uint64_t past, here;
    learns_under_a_promise(f);
    ask(f, 1);
    ask(f, 2);
    past = f->job[0].request;
    here = f->job[1].request;
    result(f, &f->job[0], 0, -1);
    label(f,
          (const struct feedback_item[]){{past, 3},
                                         {here, 1},
                                         {past + 800, 1},
                                         {past ^ 1ull << 60, 1},
                                         {0, 1},
                                         {UINT64_MAX, 1},
                                         {past, -1},
                                         {past, MESSAGE_MAX_LABEL + 1}},
          8);
    told = &f->control[f->n_control - 1];
    assert_true(f->said.taken == 1 && f->said.early == 2 && f->said.foreign == 3 && f->said.wrong == 2);
    assert_true(f->said.later == 0 && f->said.error == 0 && f->said.n == 0);
    assert_int_equal(told->type, MESSAGE_FEEDBACK);
    assert_true(told->feedback.n == 1 && told->feedback.item[0].request == past);
    assert_int_equal(told->feedback.item[0].label, 3);
    assert_memory_equal(f->control_to[f->n_control - 1].id, peer_named(200).id, 8);
    assert_true(f->d->counters.feedback_taken == 1 && f->d->counters.feedback_refused == 7);
}

static void test_labels_come_at_a_limited_rate(void **state)
{
    struct fixture *f = *state;
    static struct feedback_item item[MESSAGE_MAX_FEEDBACK];
    uint32_t taken = 0;
    learns_under_a_promise(f);
    ask(f, 1);
    result(f, &f->job[0], 0, -1);
    for (int i = 0; i < MESSAGE_MAX_FEEDBACK; i++)
        item[i] = (struct feedback_item){f->job[0].request, 1};
    for (int i = 0; i < 100; i++) {
        f->n_control = 0;
        label(f, item, MESSAGE_MAX_FEEDBACK);
        assert_int_equal(f->said.taken + f->said.later, MESSAGE_MAX_FEEDBACK);
        taken += f->said.taken;
    }
    assert_int_equal(taken, 20000);
    assert_int_equal(f->said.later, MESSAGE_MAX_FEEDBACK);
    f->now += 10 * MS;
    label(f, item, MESSAGE_MAX_FEEDBACK);
    assert_int_equal(f->said.taken, 200);
}

static void test_labels_are_refused_where_nobody_learns(void **state)
{
    struct fixture *f = *state;
    const struct feedback_item item = {1, 1};
    label(f, &item, 1);
    assert_int_equal(f->said.error, FL_UNSUPPORTED); /* max-wrong */
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.updates.learn = true;
    all_workers(f);
    label(f, &item, 1);
    assert_int_equal(f->said.error, FL_UNAVAILABLE); /* no cache service */
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    label(f, &item, 1);
    assert_int_equal(f->said.error, FL_UNAVAILABLE); /* it keeps nothing */
    assert_int_equal(f->said.taken, 0);
}

static void tick_status(struct fixture *f, struct status_reply *s)
{
    dispatch_tick(f->d, f->now);
    dispatch_status(f->d, s, f->now);
}

/* A learner is a member like a cache service: welcomed, echoed, shown, sent away when another takes its
 * place. Nothing waits for it, and what it is changes no answer. */
static void test_learners_are_members(void **state)
{
    struct fixture *f = *state;
    static struct status_reply s;
    all_workers(f);
    ask(f, 1);
    hello_as(f, ROLE_LEARNER, 0, 0, 300, true, 0);
    hello_as(f, ROLE_LEARNER, 0, REGISTRY_LEARNERS, 301, true, 0); /* no such place */
    assert_int_equal(told(f, MESSAGE_HELLO, 300), 1);
    assert_int_equal(told(f, MESSAGE_DRAIN, 301), 1);
    beat_with(f, (struct heartbeat){.incarnation = 300, .worker_ns = 5});
    assert_int_equal(echo_to(f, 300).worker_ns, 5);
    tick_status(f, &s);
    assert_int_equal(s.n_processes, 5);
    assert_int_equal(s.process[4].role, ROLE_LEARNER);
    assert_string_equal(s.process[4].state, "ready");
    hello_as(f, ROLE_LEARNER, 0, 0, 302, true, 0);
    assert_int_equal(told(f, MESSAGE_DRAIN, 300), 1);
    for (int i = 0; i < 30; i++) { /* 302 is silent */
        beat_all(f, 0);
        pass(f, 10);
    }
    tick_status(f, &s);
    assert_string_equal(s.process[4].state, "dead");
    assert_true(s.ready);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->answer[0].error, FL_OK);
}

/* The largest share that a living learner asks for, and never less than the file says. While one asks for
 * more, each request teaches. */
static void test_learners_ask_for_audits(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 0);
    hello_as(f, ROLE_LEARNER, 0, 0, 300, true, 0);
    hello_as(f, ROLE_LEARNER, 0, 1, 301, true, 0);
    ask(f, 1);
    assert_int_equal(f->job[0].flags, 0);
    beat_with(f, (struct heartbeat){.incarnation = 301, .audit_ppm = SHARE_PPM});
    beat_with(f, (struct heartbeat){.incarnation = 300, .audit_ppm = 1});
    ask(f, 2);
    assert_int_equal(f->job[1].flags, JOB_SAMPLED);
    hello_as(f, ROLE_LEARNER, 0, 1, 301, false, 0); /* goodbye */
    ask(f, 3);
    assert_int_equal(f->job[2].flags, JOB_SAMPLED);
    check_audits(f, 1, 0, 0);
    hello_as(f, ROLE_LEARNER, 0, 0, 300, false, 0);
    ask(f, 4);
    assert_int_equal(f->job[3].flags, 0);
    f->pipeline.updates.audit = 1;
    ask(f, 5);
    assert_int_equal(f->job[4].flags, JOB_SAMPLED);
    check_audits(f, 2, 0, 0);
}

static struct status_reply drain(struct fixture *f, uint64_t who, uint32_t lease_ms, bool undo)
{
    static struct message m;
    struct peer p = peer_named(who);
    m.type = MESSAGE_DRAIN;
    m.drain = (struct drain){lease_ms, undo};
    dispatch_control(f->d, &p, &m, f->now);
    assert_int_equal(f->control[f->n_control - 1].type, MESSAGE_STATUS_REPLY);
    assert_memory_equal(f->control_to[f->n_control - 1].id, p.id, 8);
    return f->control[f->n_control - 1].status_reply;
}

static void test_drain_admits_no_more(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    assert_int_equal(drain(f, 9, 500, false).in_flight, 1);
    ask(f, 2);
    assert_int_equal(f->answer[0].error, FL_UNAVAILABLE);
    assert_int_equal(f->d->counters.refused_draining, 1);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->answer[1].error, FL_OK);
    for (uint64_t who = 10; who < 30; who++) /* as many as like are told */
        assert_int_equal(drain(f, who, 500, false).in_flight, 0);
    assert_true(drain(f, 9, 500, false).draining);
    assert_false(drain(f, 9, 0, true).draining);
    ask(f, 3);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->n_jobs, 2);
}

/* Who asked and went away drains nothing for ever. */
static void test_a_drain_ends_with_its_lease(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    drain(f, 9, 500, false);
    drain(f, 9, 100, false); /* a shorter one does not end a longer one */
    pass(f, 20);
    drain(f, 9, 0, false);
    for (int i = 0; i < DRAIN_LEASE_MS / 50; i++) {
        ask(f, (uint64_t)i);
        assert_int_equal(f->n_answers, i + 1);
        assert_int_equal(f->answer[i].error, FL_UNAVAILABLE);
        beat_all(f, 0);
        pass(f, 50);
    }
    beat_all(f, 0);
    ask(f, 1);
    assert_int_equal(f->n_jobs, 1);
}

static void test_malformed_inputs_are_refused(void **state)
{
    struct fixture *f = *state;
    struct message m;
    struct peer p = peer_named(1);
    zmq_msg_t none;
    all_workers(f);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_REQUEST;
    zmq_msg_init(&none);
    dispatch_client(f->d, &p, &m, &none, f->now);
    assert_int_equal(f->answer[0].error, FL_SHAPE);
    m.request.input = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {2, 4}};
    zmq_msg_close(&none);
    zmq_msg_init_size(&none, 32);
    dispatch_client(f->d, &p, &m, &none, f->now);
    zmq_msg_close(&none);
    assert_int_equal(f->answer[1].error, FL_SHAPE);
    assert_int_equal(requests_count(f->d->requests), 0);
}

/* What no worker of this pipeline can have sent indexes nothing, and the request lives on. */
static void test_results_from_nowhere_are_dropped(void **state)
{
    struct fixture *f = *state;
    static const struct stage_time from[] = {
        {.stage = 0xfffffffe}, {.stage = 3}, {.stage = 1, .replica = 2}, {.stage = 0, .replica = 1}};
    struct result r = {.label = 3, .attempt = 1, .trace = {.n = 1}};
    struct error e;
    zmq_msg_t none;
    (void)zmq_msg_init(&none);
    all_workers(f);
    ask(f, 1);
    r.request = f->job[0].request;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        r.trace.stage[0] = from[i];
        for (r.exit = -1; r.exit < 1; r.exit++)
            assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, &e), FL_PROTOCOL);
    }
    r.trace.n = r.exit = 0;
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, &e), FL_PROTOCOL);
    r.trace.stage[r.trace.n++] = (struct stage_time){0};
    r.attempt = 2;
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, &e), FL_PROTOCOL);
    r.attempt = 0;
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, &e), FL_PROTOCOL);
    assert_int_equal(f->n_answers, 0);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->answer[0].error, FL_OK);
}

/* The answer to job `j` with scores of n classes and this label, by the way of the job's route but that it
 * ends at `replica` of the middle stage, which is the last one that tells of the network's output. */
static int claim(struct fixture *f, const struct job *j, uint32_t replica, int n, int label)
{
    struct result r = {.request = j->request, .attempt = j->attempt, .exit = -1, .label = label};
    float scores[8] = {0};
    zmq_msg_t payload;
    int rc;
    zmq_msg_init_size(&payload, (size_t)n * sizeof *scores);
    memcpy(zmq_msg_data(&payload), scores, (size_t)n * sizeof *scores);
    r.scores = (struct tensor){.dtype = TENSOR_F32, .rank = 1, .dim = {n}};
    r.trace.n = 2;
    r.trace.stage[1] = (struct stage_time){.stage = 1, .replica = replica};
    rc = dispatch_result(f->d, &r, &payload, f->now, f->now, NULL);
    zmq_msg_close(&payload);
    dispatch_tick(f->d, f->now);
    return rc;
}

/* A worker whose answers cannot be is not believed: the request is tried elsewhere, and it is put aside. */
static void test_a_liar_is_put_aside(void **state)
{
    struct fixture *f = *state;
    struct tensor four = {.dtype = TENSOR_F32, .rank = 1, .dim = {4}};
    uint32_t liar;
    all_workers(f);
    registry_worker(f->d->registry, 2, 0)->hello.output.tensor = four;
    ask(f, 1);
    liar = f->job[0].route[1];
    assert_int_equal(claim(f, &f->job[0], liar, 3, 1), FL_PROTOCOL); /* another shape */
    pass(f, 60);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].route[1], !liar);
    assert_int_equal(claim(f, &f->job[1], !liar, 4, 1), FL_OK);
    registry_worker(f->d->registry, 1, (int)liar)->failures = TRUST_FAILURES - 1;
    ask(f, 2);
    if (f->job[2].route[1] != liar)
        ask(f, 3);
    assert_int_equal(f->job[f->n_jobs - 1].route[1], liar);
    assert_int_equal(claim(f, &f->job[f->n_jobs - 1], liar, 4, 4),
                     FL_PROTOCOL); /* a label beyond the classes */
    assert_true(trust_is_aside(registry_worker(f->d->registry, 1, (int)liar)));
}

/* What takes requests and is never heard of them again is put aside like what fails. */
static void test_a_silent_worker_is_put_aside(void **state)
{
    struct fixture *f = *state;
    struct member *m;
    all_workers(f);
    ask(f, 1);
    m = registry_worker(f->d->registry, 1, f->job[0].route[1]);
    m->failures = TRUST_FAILURES - 1;
    for (int i = 0; i < 20; i++) {
        pass(f, 20);
        beat_all(f, 0);
    }
    assert_int_equal(f->n_jobs, 2);
    assert_true(trust_is_aside(m));
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
}

/* Who answers what was given to another, or to nobody yet, changes nothing for who was asked. */
static void test_answers_to_others_requests_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct job future;
    uint32_t other;
    all_workers(f);
    ask(f, 1);
    other = !f->job[0].route[1];
    future = f->job[0];
    for (int i = 0; i < TRUST_FAILURES - 1; i++)
        assert_int_equal(claim(f, &f->job[0], other, 4, 1), FL_PROTOCOL);
    future.request += 64 * 1024;
    if (requests_when(f->d->requests, future.request) == REQUESTS_FUTURE)
        assert_int_equal(claim(f, &future, other, 4, 1), FL_PROTOCOL);
    assert_int_equal(f->n_answers, 0);
    assert_int_equal(claim(f, &f->job[0], f->job[0].route[1], 4, 1), FL_OK);
    assert_int_equal(f->n_answers, 1);
}

/* A stage refuses what the stage before it has sent: the request is not to blame, and goes another way. */
static void test_a_refused_activation_speaks_against_its_sender(void **state)
{
    struct fixture *f = *state;
    struct result r = {.attempt = 1, .exit = -1, .label = -1, .error = FL_SHAPE};
    zmq_msg_t none;
    (void)zmq_msg_init(&none);
    all_workers(f);
    ask(f, 1);
    r.request = f->job[0].request;
    r.trace.n = 2;
    r.trace.stage[1] = (struct stage_time){.stage = 1, .replica = f->job[0].route[1]};
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, NULL), FL_OK);
    pass(f, 60);
    assert_int_equal(f->n_answers, 0);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].route[1], !f->job[0].route[1]);
}

static uint64_t audits_told(const struct fixture *f)
{
    uint64_t n = 0;
    for (int i = 0; i < f->n_control; i++)
        n += f->control[i].type == MESSAGE_OUTCOME && f->control[i].outcome.audit &&
             f->control[i].outcome.label >= 0;
    return n;
}

/* Random events for a long while: each admitted request gets exactly one answer. */
static void test_nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    static unsigned char answers[3000];
    uint64_t next = 0, done = 0, drawn;
    srand(3);
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    f->pipeline.updates.audit = 0.3;
    for (int step = 0; step < 6000; step++) {
        uint64_t incarnation = 1000 + (uint64_t)step;
        f->n_control = 0;
        if (next < 3000 && rand() % 2)
            ask_with(f, next++, (uint32_t)(rand() % 400), 0);
        for (int i = 0; i < f->n_jobs; i++)
            if (rand() % 3)
                result(f, &f->job[i], rand() % 5 ? FL_OK : FL_UNAVAILABLE,
                       f->job[i].flags & JOB_SHADOW || rand() % 2 ? -1 : 0);
        f->n_jobs = 0;
        beat(f, 200);
        for (uint32_t s = 0; s < 3; s++)
            for (uint32_t r = 0; r < (s == 1 ? 2 : 1); r++) {
                const struct member *m = registry_worker(f->d->registry, (int)s, (int)r);
                if (rand() % 20 == 0)
                    hello_as(f, ROLE_STAGE, s, r, incarnation + s * 8 + r, rand() % 4, 1);
                else if (rand() % 8)
                    beat(f, m->hello.incarnation);
            }
        pass(f, (uint64_t)(rand() % 20));
        done += audits_told(f);
        for (int i = 0; i < f->n_answers; i++)
            answers[f->answer[i].id]++;
        f->n_answers = 0;
    }
    f->n_control = 0;
    dispatch_abandon(f->d, f->now);
    done += audits_told(f);
    for (int i = 0; i < f->n_answers; i++)
        answers[f->answer[i].id]++;
    assert_true(next > 2000);
    for (uint64_t i = 0; i < next; i++)
        assert_int_equal(answers[i], 1);
    check_nothing_is_left(f);
    assert_true(done > 50);
    drawn = f->d->counters.audits_drawn + f->d->counters.audits_refused;
    check_audits(f, drawn, done, drawn - done);
}

static void test_sampling_follows_its_shares(void **state)
{
    int sampled = 0, audited = 0, both = 0;
    (void)state;
    for (uint64_t id = 1; id <= 100000; id++) {
        uint32_t flags = sampling_flags(id, 0, 0.25);
        bool audit = sampling_audits(id, 0.1);
        assert_int_equal(flags, sampling_flags(id, 0, 0.25));
        sampled += (flags & JOB_SAMPLED) != 0;
        audited += audit;
        both += audit && flags;
        assert_int_equal(sampling_flags(id, JOB_NO_CACHE | JOB_AUDIT, 0.25), JOB_NO_CACHE);
        assert_true(sampling_audits(id, 1));
        assert_false(sampling_audits(id, 0));
    }
    assert_in_range(sampled, 24500, 25500);
    assert_in_range(audited, 9600, 10400);
    assert_in_range(both, 2350, 2650);
    assert_int_equal(sampling_flags(1, JOB_SAMPLED | JOB_SHADOW | JOB_TELL, 0), 0);
    assert_int_equal(sampling_flags(1, JOB_AUDIT, 0), JOB_AUDIT | JOB_SAMPLED);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* The first replica failed it, the other is full: it waits for that one rather than fail again. */
static void test_a_retry_waits_for_a_worker_that_has_not_failed_it(void **state)
{
    struct fixture *f = *state;
    struct dispatch_io io = {f, record_job, record_answer, record_control, record_reset, NULL, NULL, NULL};
    const struct hello self = {.role = ROLE_BROKER, .incarnation = 5, .boot_id = "B"};
    int failed;
    dispatch_free(f->d);
    f->pipeline.stage[0].n_replicas = 2;
    f->pipeline.stage[0].max_batch = 1;
    assert_int_equal(dispatch_new(&f->d, &f->pipeline, &io, &self, f->now), FL_OK);
    all_workers(f);
    hello(f, 0, 1, 101);
    f->slow = 1;
    ask(f, 1);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 2);
    failed = f->job[0].route[0];
    assert_int_not_equal(f->job[1].route[0], failed);
    result(f, &f->job[0], FL_NOMEM, -1);
    pass(f, 60);
    assert_int_equal(f->n_jobs, 2); /* it waits .. */
    beat(f, 100);
    beat(f, 101);
    tell_taken(f, failed ? 100 : 101, &f->job[1], 1);
    assert_int_equal(f->n_jobs, 3); /* .. until the other one takes what it has */
    assert_int_equal(f->job[2].request, f->job[0].request);
    assert_int_not_equal(f->job[2].route[0], failed);
}

/* ---- answers that are known ---- */

static void keep_responses(struct fixture *f)
{
    dispatch_free(f->d);
    f->pipeline.broker.response_cache_mb = 1;
    assert_int_equal(begin(f), FL_OK);
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 130, true, 1);
}

static const struct answer *last_answer(const struct fixture *f)
{
    return &f->answer[f->n_answers - 1];
}

static void test_a_known_input_is_answered_at_once(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    result(f, &f->job[0], 0, -1);
    f->full = 1; /* whatever the pipeline does */
    ask(f, 2);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(last_answer(f)->id, 2);
    assert_int_equal(last_answer(f)->label, 3);
    assert_true(last_answer(f)->known);
    assert_int_equal(f->d->counters.known, 1);
    assert_int_equal(f->d->counters.answered, 2);
    assert_int_equal(requests_count(f->d->requests), 0);
    f->full = 0;
    f->input = 1;
    ask(f, 3); /* another input */
    assert_int_equal(f->n_jobs, 2);
    f->input = 0;
    ask_with(f, 4, 0, JOB_NO_CACHE); /* this one wants the full answer */
    ask_with(f, 5, 0, JOB_AUDIT);    /* and these are computed whatever is known */
    ask_with(f, 6, 0, JOB_TRACE);
    assert_int_equal(f->n_jobs, 5);
}

static void test_the_same_input_is_computed_once(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    for (uint64_t id = 1; id <= 3; id++)
        ask(f, id);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(dispatch_under_way(f->d), 1);
    result(f, &f->job[0], 0, -1);
    assert_int_equal(f->n_answers, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->answer[i].id, i + 1);
        assert_int_equal(f->answer[i].label, 3);
        assert_int_equal(f->answer[i].known, i > 0);
    }
    assert_int_equal(requests_count(f->d->requests), 0);
    assert_int_equal(requests_bytes(f->d->requests), 0);
    assert_int_equal(outstanding(f), 0);
}

/* ---- requests that come again, where there are several brokers ---- */

static void be_second_of_two(struct fixture *f)
{
    dispatch_free(f->d);
    f->pipeline.broker.n_replicas = 2;
    assert_int_equal(begin(f), FL_OK);
    all_workers(f);
}

static void ask_keyed(struct fixture *f, uint64_t id, uint64_t key)
{
    ask_request(f, (struct request){.id = id, .key_low = key, .key_high = 7});
}

static void test_what_comes_again_is_not_computed_again(void **state)
{
    struct fixture *f = *state;
    const float scores[] = {0.25f, 0.75f};
    be_second_of_two(f);
    ask_keyed(f, 1, 11);
    ask_keyed(f, 1, 11); /* by another way: it is under way */
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(requests_count(f->d->requests), 1);
    result_with(f, &f->job[0], 0, -1, scores, 2);
    assert_int_equal(f->n_answers, 1);
    ask_keyed(f, 1, 11); /* its answer was lost */
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(last_answer(f)->id, 1);
    assert_int_equal(last_answer(f)->label, 3);
    assert_int_equal(last_answer(f)->scores.dim[0], 2);
    assert_true(last_answer(f)->known);
    assert_int_equal(f->d->counters.repeated, 2);
    assert_int_equal(f->d->counters.admitted, 1);
    assert_int_equal(f->d->counters.answered, 1);
    ask_keyed(f, 2, 12);
    ask(f, 3);
    ask(f, 3); /* without a key it is another one */
    assert_int_equal(f->n_jobs, 4);
}

static void test_errors_are_no_last_word(void **state)
{
    struct fixture *f = *state;
    be_second_of_two(f);
    ask_keyed(f, 1, 11);
    result(f, &f->job[0], FL_VALUE, -1);
    assert_int_equal(last_answer(f)->error, FL_VALUE);
    ask_keyed(f, 1, 11);
    assert_int_equal(f->n_jobs, 2);
}

static void test_work_of_other_brokers_counts(void **state)
{
    struct fixture *f = *state;
    struct message m = {.type = MESSAGE_HEARTBEAT};
    struct peer p = peer_named(110);
    be_second_of_two(f);
    m.heartbeat = (struct heartbeat){.incarnation = 110, .others = 9, .brokers = 2};
    dispatch_control(f->d, &p, &m, f->now);
    for (uint64_t id = 1; id <= 4; id++) {
        ask(f, id);
        assert_int_equal(f->job[f->n_jobs - 1].route[1], 1);
    }
}

static void test_a_failed_leader_has_an_heir(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask_with(f, 1, 50, 0);
    ask(f, 2);
    ask(f, 3);
    pass(f, 60);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].activation.dim[1], 4);
    result(f, &f->job[1], 0, -1);
    assert_int_equal(f->n_answers, 3);
    assert_int_equal(f->answer[1].error, FL_OK);
    assert_int_equal(f->answer[2].error, FL_OK);
    assert_int_equal(requests_bytes(f->d->requests), 0);
}

static void test_what_follows_has_its_own_deadline(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    ask_with(f, 2, 50, 0);
    pass(f, 60);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].id, 2);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    result(f, &f->job[0], 0, -1);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].id, 1);
    assert_int_equal(requests_count(f->d->requests), 0);
}

static void test_a_bad_input_is_bad_for_all(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    ask(f, 2);
    result(f, &f->job[0], FL_VALUE, -1);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[0].error, FL_VALUE);
    assert_int_equal(f->answer[1].error, FL_VALUE);
    ask(f, 3); /* nothing was kept */
    assert_int_equal(f->n_jobs, 2);
}

static void test_a_death_moves_the_leader_alone(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    ask(f, 2);
    hello(f, 0, 0, 101); /* in place of 100 */
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].request, f->job[0].request);
    result(f, &f->job[1], 0, -1);
    assert_int_equal(f->n_answers, 2);
}

static void tell_epoch(struct fixture *f, uint64_t epoch)
{
    struct message m = {.type = MESSAGE_HEARTBEAT, .heartbeat = {.incarnation = 130, .epoch = epoch}};
    struct peer p = peer_named(130);
    dispatch_control(f->d, &p, &m, f->now);
}

static void test_new_caches_answer_anew(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    ask(f, 1);
    result(f, &f->job[0], 0, 0);
    ask(f, 2);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(last_answer(f)->exit, 0);
    tell_epoch(f, 2);
    ask(f, 3); /* would they answer early, and what? */
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[1], 0, -1);
    tell_epoch(f, 3);
    ask(f, 4); /* the network says what it said */
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(last_answer(f)->id, 4);
    assert_int_equal(last_answer(f)->exit, -1);
}

/* Of the same epoch, of another build: its epochs begin anew. */
static void tell_near(struct fixture *f, uint32_t turns)
{
    struct message m = {.type = MESSAGE_HEARTBEAT,
                        .heartbeat = {.incarnation = 100, .epoch = 1, .exits = 1, .caches = turns}};
    struct peer p = peer_named(100);
    dispatch_control(f->d, &p, &m, f->now);
}

static void test_what_old_near_caches_said_counts_until_they_are_gone(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    f->slow = true; /* no other heartbeat */
    tell_near(f, 1);
    tell_epoch(f, 2);
    ask(f, 1); /* the service has new caches, the worker still uses the old ones */
    result(f, &f->job[0], 0, 0);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 1);
    tell_near(f, 2);
    ask(f, 3);
    assert_int_equal(f->n_jobs, 2);
}

/* What is under way was asked of caches that are not in use any more. */
static void test_nobody_follows_what_older_caches_may_answer(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    ask(f, 1);
    tell_epoch(f, 2);
    ask(f, 2);
    ask(f, 3);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[0], 0, 0);
    assert_int_equal(f->n_answers, 1); /* its own alone */
    result(f, &f->job[1], 0, 0);
    assert_int_equal(f->n_answers, 3);
    assert_int_equal(requests_count(f->d->requests), 0);
}

/* It came while others served, and waited. */
static void test_an_answer_is_kept_for_who_computed_it(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    f->full = 1;
    ask(f, 1);
    tell_epoch(f, 2);
    f->full = 0;
    pass(f, 1);
    result(f, &f->job[0], 0, 0);
    ask(f, 2);
    assert_true(last_answer(f)->known);
    tell_epoch(f, 1); /* rolled back */
    ask(f, 3);
    assert_int_equal(f->n_jobs, 2);
}

/* The first attempt answers after all, when a second one was sent to others. */
static void test_a_late_answer_is_not_kept(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    ask(f, 1);
    tell_epoch(f, 2);
    hello(f, 0, 0, 101); /* in place of 100 */
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[0], 0, 0);
    assert_int_equal(f->n_answers, 1);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_request_is_sent_and_answered_once),
        test(test_a_retry_waits_for_a_worker_that_has_not_failed_it),
        test(test_the_parts_of_the_way_are_told),
        test(test_times_of_all_answers_are_counted),
        test(test_another_clock_is_unknown_until_compared),
        test(test_spans_are_kept_until_they_are_taken),
        test(test_labels_of_answered_requests_go_to_a_cache_service),
        test(test_labels_come_at_a_limited_rate),
        test(test_labels_are_refused_where_nobody_learns),
        test(test_replicas_take_turns),
        test(test_too_many_are_told_at_once),
        test(test_without_workers_it_is_unavailable_at_once),
        test(test_a_young_broker_waits_for_workers),
        test(test_a_killed_worker_is_found_by_its_connection),
        test(test_a_dead_workers_requests_go_another_way),
        test(test_waits_for_a_restart),
        test(test_a_new_incarnation_takes_over),
        test(test_places_that_do_not_exist_are_refused),
        test(test_a_stranger_is_asked_for_its_hello),
        test(test_goodbye_re_routes),
        test(test_who_leaves_finishes_first),
        test(test_the_last_of_a_stage_may_leave),
        test(test_a_goodbye_costs_no_attempt),
        test(test_the_deadline_is_kept),
        test(test_an_answer_after_the_deadline_is_none),
        test(test_the_deadline_counts_from_when_it_was_sent),
        test(test_an_overlong_deadline_is_cut),
        test(test_a_lost_attempt_is_repeated),
        test(test_a_client_asks_no_faster_than_its_rate),
        test(test_time_outs_do_not_feed_an_overload),
        test(test_retries_end),
        test(test_a_failing_worker_is_put_aside),
        test(test_a_broken_link_is_avoided),
        test(test_bad_input_is_not_repeated),
        test(test_failures_of_old_attempts_are_ignored),
        test(test_waits_while_stage_0_is_full),
        test(test_stage_0_has_two_batches_at_most),
        test(test_hits_cancel_what_is_behind),
        test(test_a_client_cancels_what_it_asked),
        test(test_priorities_decide_who_is_sent_first),
        test(test_a_request_may_allow_less_loss),
        test(test_some_frames_of_a_stream_are_keys),
        test(test_a_request_gets_the_most_that_is_certified_within_what_it_allows),
        test(test_stages_that_never_saw_a_request_are_left_alone),
        test(test_hits_of_a_dead_cache_are_asked_for),
        test(test_hits_of_what_is_overdue_are_asked_for),
        test(test_what_clients_run_to_the_end_is_no_audit),
        test(test_an_audit_that_no_exit_answered_is_done),
        test(test_an_audit_tells_the_scores),
        test(test_an_audit_that_an_exit_answered_has_a_shadow),
        test(test_audits_are_told_in_the_order_of_the_draw),
        test(test_a_shadow_can_be_no_hit),
        test(test_shadows_are_below_other_work),
        test(test_shadows_refuse_nobody),
        test(test_a_shadow_is_tried_again),
        test(test_a_lost_shadow_is_told_of),
        test(test_for_bytes_all_that_are_drawn_go),
        test(test_learners_ask_for_audits),
        test(test_stages_hear_where_is_learned),
        test(test_learners_are_members),
        test(test_drain_admits_no_more),
        test(test_a_drain_ends_with_its_lease),
        test(test_malformed_inputs_are_refused),
        test(test_results_from_nowhere_are_dropped),
        test(test_a_liar_is_put_aside),
        test(test_a_silent_worker_is_put_aside),
        test(test_answers_to_others_requests_are_dropped),
        test(test_a_refused_activation_speaks_against_its_sender),
        test(test_nothing_is_lost),
        test(test_sampling_follows_its_shares),
        test(test_what_comes_again_is_not_computed_again),
        test(test_errors_are_no_last_word),
        test(test_work_of_other_brokers_counts),
        test(test_a_known_input_is_answered_at_once),
        test(test_the_same_input_is_computed_once),
        test(test_a_failed_leader_has_an_heir),
        test(test_what_follows_has_its_own_deadline),
        test(test_a_bad_input_is_bad_for_all),
        test(test_a_death_moves_the_leader_alone),
        test(test_new_caches_answer_anew),
        test(test_what_old_near_caches_said_counts_until_they_are_gone),
        test(test_nobody_follows_what_older_caches_may_answer),
        test(test_an_answer_is_kept_for_who_computed_it),
        test(test_a_late_answer_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
