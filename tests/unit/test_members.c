/* test_members.c - workers come, fail, leave and die; a broker that drains */
#include "dispatch_world.h"

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
    say(f, incarnation, &m);
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

static struct status_reply drain(struct fixture *f, uint64_t who, uint32_t lease_ms, bool undo)
{
    static struct message m;
    struct peer p = peer_named(who);
    m.type = MESSAGE_DRAIN;
    m.drain = (struct drain){lease_ms, undo};
    say(f, who, &m);
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

/* What was admitted is answered, and so is what comes again once it is loaded. */
static void test_unloaded_admits_no_more(void **state)
{
    struct fixture *f = *state;
    struct settings settings;
    static struct status_reply said;
    settings_init(&settings, f->d->pipeline);
    dispatch_heed(f->d, &settings);
    all_workers(f);
    ask(f, 1);
    settings.unloaded = true;
    ask(f, 2);
    assert_int_equal(f->answer[0].error, FL_UNAVAILABLE);
    assert_int_equal(f->answer[0].retry_after_ms, 0); /* nobody knows when */
    assert_non_null(strstr(f->answer[0].text, "Request for unknown model: '"));
    assert_non_null(strstr(f->answer[0].text, "' is not at ready state"));
    dispatch_status(f->d, &said, f->now);
    assert_true(said.ready && said.unloaded && said.in_flight == 1 && said.refused_unloaded == 1);
    assert_int_equal(said.refused_draining + said.refused_absent, 0);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->answer[1].error, FL_OK);
    settings.unloaded = false;
    ask(f, 3);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->n_jobs, 2);
    dispatch_status(f->d, &said, f->now);
    assert_true(said.ready && !said.unloaded);
}

static int traced(const struct fixture *f)
{
    int n = 0;
    for (int i = 0; i < f->n_jobs; i++)
        n += (f->job[i].flags & JOB_TRACE) != 0;
    return n;
}

/* So many, and no more until it is said again. */
static void test_traces_are_drawn_as_they_are_set(void **state)
{
    struct fixture *f = *state;
    struct settings settings;
    settings_init(&settings, f->d->pipeline);
    dispatch_heed(f->d, &settings);
    all_workers(f);
    ask(f, 1);
    assert_int_equal(traced(f), 0);
    settings_set_traces(&settings, &(struct trace_settings){true, 1, 2});
    for (uint64_t id = 2; id < 6; id++) {
        ask(f, id);
        result(f, &f->job[f->n_jobs - 1], FL_OK, -1);
    }
    assert_int_equal(traced(f), 2);
    assert_int_equal(settings_traces(&settings).left, 0);
    settings_set_traces(&settings, &(struct trace_settings){false, 1, -1});
    ask(f, 6);
    assert_int_equal(traced(f), 2);
    settings_set_traces(&settings, &(struct trace_settings){true, 1, -1});
    ask(f, 7);
    assert_int_equal(traced(f), 3);
    assert_int_equal(settings_traces(&settings).left, -1);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_replicas_take_turns),
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
        test(test_a_failing_worker_is_put_aside),
        test(test_a_broken_link_is_avoided),
        test(test_drain_admits_no_more),
        test(test_unloaded_admits_no_more),
        test(test_traces_are_drawn_as_they_are_set),
        test(test_a_drain_ends_with_its_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
