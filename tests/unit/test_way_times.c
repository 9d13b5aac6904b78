/* test_way_times.c - what the broker tells of times: parts of the way, spans, clocks that are not its own */
#include "dispatch_world.h"

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
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 130, true, 1);
    assert_int_equal(clock_error_of(f, 1), 0);
    say(f, 100, &m); /* all of one clock, whatever it says */
    assert_int_equal(clock_error_of(f, 2), 0);

    f->clock = 'X';
    hello(f, 0, 0, 101);
    sent = f->n_jobs;
    ask(f, 3);
    assert_int_equal(f->n_jobs, sent);
    m.heartbeat.incarnation = 101;
    m.heartbeat.clock_error_ns = UINT64_MAX;
    say(f, 100, &m);
    pass(f, 1);
    assert_int_equal(f->n_jobs, sent);
    m.heartbeat.clock_error_ns = 55;
    say(f, 100, &m);
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
        say(f, 100, &m); /* more than there is room for */
    take_spans(f);
    assert_int_equal(f->spans.n, MESSAGE_MAX_SPANS);
    assert_int_equal(f->spans.left, DISPATCH_SPANS - MESSAGE_MAX_SPANS);
    assert_int_equal(f->spans.lost, 300 * 4 + 300 * MESSAGE_MAX_SPANS - DISPATCH_SPANS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_the_parts_of_the_way_are_told),
        test(test_times_of_all_answers_are_counted),
        test(test_another_clock_is_unknown_until_compared),
        test(test_spans_are_kept_until_they_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
