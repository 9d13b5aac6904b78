/* test_liars.c - what workers and clients send that cannot be is refused, and who sends it is put aside */
#include "dispatch_world.h"
#include "broker/state/trust.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_malformed_inputs_are_refused),
        test(test_results_from_nowhere_are_dropped),
        test(test_a_liar_is_put_aside),
        test(test_a_silent_worker_is_put_aside),
        test(test_answers_to_others_requests_are_dropped),
        test(test_a_refused_activation_speaks_against_its_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
