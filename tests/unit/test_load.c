/* test_load.c - the load generator against servers whose behaviour is known */
#include "tests/testing.h"
#include "deploy/load/load.h"
#include "deploy/data/npy.h"
#include "deploy/load/precedence.h"
#include "fake_server.h"

#include <sched.h>
#include <sys/resource.h>

#define RECORDS 40

static struct fake_server server;
static struct pipeline *pipeline;
static struct target *target;
static struct dataset *data;
static struct traffic *traffic;
static struct arrivals *arrivals;
static struct tally *tally;
static struct load_outcome outcome;
static char images[64], labels[64];
static int clients = 1;

/* Record i is full of i; its label is i, but 0 for every fourth: three quarters of the answers are right. */
static void write_data(void)
{
    struct tensor x = {.dtype = TENSOR_F32, .rank = 4, .dim = {RECORDS, 3, 16, 16}};
    struct tensor y = {.dtype = TENSOR_I64, .rank = 1, .dim = {RECORDS}};
    struct error e;

    assert_int_equal(tensor_alloc(&x), FL_OK);
    assert_int_equal(tensor_alloc(&y), FL_OK);
    for (int i = 0; i < RECORDS; i++) {
        for (int k = 0; k < 3 * 16 * 16; k++)
            ((float *)x.data)[i * 3 * 16 * 16 + k] = (float)(i + 1);
        ((int64_t *)y.data)[i] = i % 4 ? i + 1 : 0;
    }
    assert_int_equal(npy_write(&x, images, &e), FL_OK);
    assert_int_equal(npy_write(&y, labels, &e), FL_OK);
    tensor_release(&x);
    tensor_release(&y);
}

static int group_up(void **state)
{
    snprintf(images, sizeof images, "/tmp/freezeline-load-%d-x.npy", (int)getpid());
    snprintf(labels, sizeof labels, "/tmp/freezeline-load-%d-y.npy", (int)getpid());
    write_data();
    return 0;
}

static int group_down(void **state)
{
    unlink(images);
    unlink(labels);
    return 0;
}

/* Server, client, data. `kind` of arrivals: NULL for a closed loop. */
static void open_all(const struct fake_behaviour *does, const char *kind, double rate, const char *records)
{
    char text[256], spec[160];
    struct error e = {0};

    assert_int_equal(fake_start(&server, does), 0);
    snprintf(text, sizeof text, "model: m.onnx\nbroker: {requests: '%s', deadline_ms: 200}\n",
             server.endpoint);
    snprintf(spec, sizeof spec, "npy:%s,%s", images, labels);
    assert_int_equal(pipeline_parse(&pipeline, text, strlen(text), "test.yaml", NULL, 0, &e), FL_OK);
    if (target_pipeline(&target, pipeline, 0, clients, &e))
        fail_msg("%s", e.text);
    if (dataset_open(&data, spec, &(struct dataset_options){.pipeline = pipeline}, &e))
        fail_msg("%s", e.text);
    assert_int_equal(traffic_new(&traffic, records, RECORDS, 1, &e), FL_OK);
    arrivals = NULL;
    if (kind)
        assert_int_equal(arrivals_new(&arrivals, kind, rate, 1, &e), FL_OK);
    assert_int_equal(tally_new(&tally), FL_OK);
}

static void close_all(void)
{
    target_free(target);
    fake_stop(&server);
    dataset_close(data);
    traffic_free(traffic);
    arrivals_free(arrivals);
    tally_free(tally);
    pipeline_free(pipeline);
}

static void run(struct load_options o)
{
    struct error e = {0};

    o.target = target;
    o.data = data;
    o.traffic = traffic;
    o.arrivals = arrivals;
    if (load_run(tally, &outcome, &o, &e))
        fail_msg("%s", e.text);
    assert_int_equal(tally->answered + tally->errors, tally->sent);
    assert_int_equal(tally->latency.count, tally->answered);
}

static void test_every_request_is_counted_once(void **state)
{
    struct fake_behaviour does = {
        .service_ns = 100000, .error_every = 10, .exit_every = 3, .garbage_every = 7};
    int64_t answered = 0;

    open_all(&does, "poisson", 1000, "order");
    run((struct load_options){.requests = 300});
    assert_int_equal(tally->sent, 300);
    assert_int_equal(server.seen, 300);
    assert_int_equal(tally->answered, 270);
    assert_int_equal(tally->error[FL_OVERLOADED], 30);
    assert_int_equal(tally->lost, 0);
    assert_int_equal(tally->garbage, 300 / 7);
    assert_int_equal(tally->repeats, 300 - RECORDS);
    assert_int_equal(tally->exit[1].answered, 300 / 3 - 300 / 30); /* every 30th is an error */
    assert_int_equal(tally->exit[TALLY_NETWORK].answered, 270 - 90);
    assert_int_equal(tally->labelled, 270);
    for (int i = 0; i < tally->n_slots; i++)
        answered += tally->slot[i].answered;
    assert_int_equal(answered, 270);
    assert_int_equal(tally->lateness.count, 300);
    assert_true(tally->latency.min_ns >= 100000);
    assert_string_equal(outcome.cut_short, "");
    close_all();
}

/* Answers find the requests of their own client, and all are counted together. */
static void test_many_clients_are_one_load(void **state)
{
    struct fake_behaviour does = {.service_ns = 100000, .garbage_every = 7};

    for (int open = 0; open < 2; open++) {
        clients = 3;
        open_all(&does, open ? "poisson" : NULL, 1000, "order");
        clients = 1;
        run((struct load_options){.requests = 400, .closed = 8});
        assert_int_equal(server.n_peers, 3);
        assert_int_equal(server.seen, 400);
        assert_int_equal(tally->answered, 400);
        assert_int_equal(tally->lost, 0);
        assert_int_equal(tally->labelled, 400);
        assert_int_equal(tally->right, 300);
        close_all();
    }
}

static int heard, heard_alone;

static void hear(void *arg, const struct answer *a, uint64_t latency_ns, bool alone)
{
    assert_ptr_equal(arg, &heard);
    assert_int_equal(a->error, FL_OK);
    assert_true(latency_ns >= 100000);
    heard++;
    heard_alone += alone;
}

/* Who listens hears of every answer, and which requests were beside no other. */
static void test_answers_are_heard(void **state)
{
    struct fake_behaviour does = {.service_ns = 100000};
    struct load_options o = {.requests = 50, .answered = hear, .arg = &heard};

    for (o.closed = 1; o.closed <= 3; o.closed += 2) {
        heard = heard_alone = 0;
        open_all(&does, NULL, 0, "order");
        run(o);
        assert_int_equal(heard, 50);
        if (o.closed == 1)
            assert_int_equal(heard_alone, 50);
        else
            assert_true(heard_alone <= 1); /* the last one may be all that is left */
        close_all();
    }
}

/* Records in order, answered by their number: label i + 1 is right unless i % 4 == 0. */
static void test_answers_meet_their_labels(void **state)
{
    struct fake_behaviour does = {0};

    open_all(&does, NULL, 0, "order");
    run((struct load_options){.closed = 8, .requests = 2 * RECORDS});
    assert_int_equal(tally->labelled, 2 * RECORDS);
    assert_int_equal(tally->right, 2 * RECORDS * 3 / 4);
    assert_int_equal(tally->exit[TALLY_NETWORK].right, tally->right);
    close_all();
}

/* 400 requests are due within 2 s. The server stands still for 1 s: those that are due in that second wait
 * for its end, whether or not anybody is there to send them. A quarter of all waits more than half a second.
 */
static void test_a_stall_cannot_hide_in_an_open_loop(void **state)
{
    struct fake_behaviour does = {.service_ns = 50000, .stall_at = 100, .stall_ns = NS_PER_S};

    open_all(&does, "uniform", 200, "order");
    run((struct load_options){.requests = 400, .deadline_ms = 10000});
    assert_int_equal(tally->answered, 400);
    assert_true(tally->latency.max_ns >= 990 * NS_PER_MS);
    assert_true(histogram_quantile(&tally->latency, 0.80) >= 450 * NS_PER_MS);
    assert_true(histogram_quantile(&tally->latency, 0.70) >= 250 * NS_PER_MS);
    close_all();
}

/* In a closed loop only the one request that was in flight meets the stall: why it is not the way to measure
 * a service. */
static void test_a_stall_hides_in_a_closed_loop(void **state)
{
    struct fake_behaviour does = {.service_ns = 50000, .stall_at = 100, .stall_ns = NS_PER_S};

    open_all(&does, NULL, 0, "order");
    run((struct load_options){.closed = 1, .requests = 400, .deadline_ms = 10000});
    assert_true(tally->latency.max_ns >= NS_PER_S);
    assert_true(histogram_quantile(&tally->latency, 0.80) < 450 * NS_PER_MS);
    close_all();
}

/* Little's law: what is in flight is the rate times the time in the system. */
static double mean_in_flight(int closed)
{
    struct fake_behaviour does = {.service_ns = 300000};
    double in_flight;

    open_all(&does, NULL, 0, "order");
    run((struct load_options){.closed = closed, .requests = 1000});
    in_flight = (double)tally->answered / tally->seconds * histogram_mean(&tally->latency) / NS_PER_S;
    close_all();
    return in_flight;
}

/* A client that dawdles between an answer and the next request would always have fewer. A busy machine makes
 * it do so now and then. */
static void test_a_closed_loop_keeps_its_number_in_flight(void **state)
{
    for (int closed = 1; closed <= 4; closed += 3) {
        double best = 0;
        for (int tries = 0; tries < 10 && best < 0.9 * closed; tries++) {
            double in_flight = mean_in_flight(closed);
            assert_true(in_flight < 1.02 * closed);
            best = in_flight > best ? in_flight : best;
        }
        assert_true(best >= 0.9 * closed);
    }
}

/* Who is told to come back in 50 ms does not ask again before. */
static void test_a_closed_loop_waits_as_it_is_told(void **state)
{
    struct fake_behaviour does = {.error_every = 1, .like = {.retry_after_ms = 50}};

    open_all(&does, NULL, 0, "order");
    run((struct load_options){.closed = 2, .duration_s = 0.2});
    assert_in_range(tally->sent, 2, 2 * (200 / 50 + 1));
    assert_int_equal(tally->refusal.count, tally->sent);
    close_all();
}

/* The server takes 1 ms each: 2000 a second are twice what it can do, and the queue shows. */
static void test_too_high_a_rate_shows_as_a_queue(void **state)
{
    struct fake_behaviour does = {.service_ns = NS_PER_MS};

    open_all(&does, "uniform", 2000, "order");
    run((struct load_options){.requests = 600, .deadline_ms = 10000});
    assert_int_equal(tally->answered, 600);
    assert_true(tally->latency.max_ns >= 290 * NS_PER_MS); /* 600 ms of work in 300 ms */
    assert_true(tally->seconds >= 0.59);
    close_all();
}

static void test_groups_are_complete_before_the_next(void **state)
{
    struct fake_behaviour does = {.service_ns = NS_PER_MS};

    open_all(&does, NULL, 0, "order");
    run((struct load_options){.closed = 8, .group = 8, .requests = 80});
    assert_int_equal(tally->answered, 80);
    assert_int_equal(tally->query.count, 10);
    assert_true(tally->query.min_ns >= 8 * NS_PER_MS);
    assert_true(tally->latency.min_ns < tally->query.min_ns);
    close_all();
}

static void test_a_dead_server_ends_the_run(void **state)
{
    struct fake_behaviour does = {.silent_from = 51};

    open_all(&does, "uniform", 1000, "order");
    run((struct load_options){.duration_s = 1000});
    assert_int_equal(tally->answered, 50);
    assert_true(tally->lost > 0);
    assert_non_null(strstr(outcome.cut_short, "did not answer any more"));
    assert_true(tally->sent < 100000);
    close_all();
}

/* The last requests get no answer: there is nothing left to send that would show it. */
static void test_a_server_that_dies_at_the_end(void **state)
{
    struct fake_behaviour does = {.silent_from = 51};

    for (int open = 0; open < 2; open++) {
        open_all(&does, open ? "uniform" : NULL, 1000, "order");
        run((struct load_options){.requests = 60, .closed = 10});
        assert_int_equal(tally->answered, 50);
        assert_int_equal(tally->lost, 10);
        assert_non_null(strstr(outcome.cut_short, "did not answer any more"));
        assert_false(outcome.stopped);
        close_all();
    }
}

/* All are due at once, more of them than can be sent in the time. */
static void test_an_impossible_rate_ends_the_run(void **state)
{
    struct fake_behaviour does = {0};
    char path[64], spec[80];
    FILE *f;

    snprintf(path, sizeof path, "/tmp/freezeline-load-%d.csv", (int)getpid());
    f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 16000000; i++)
        fputs("0\n", f);
    fclose(f);
    snprintf(spec, sizeof spec, "trace:%s", path);
    open_all(&does, spec, 0, "order");
    unlink(path);
    run((struct load_options){.duration_s = 1000});
    assert_non_null(strstr(outcome.cut_short, "the rate is impossible here"));
    assert_true(histogram_quantile(&tally->lateness, 1) >= 4 * NS_PER_S);
    close_all();
}

static int pause_once(void *arg, const struct tally *t, double seconds)
{
    (void)seconds;
    if (t->answered && !(*(int *)arg)++)
        sleep(6);
    return 0;
}

/* The whole machine may stand still: that says nothing of the rate. */
static void test_a_sender_that_stood_still_says_so(void **state)
{
    struct fake_behaviour does = {0};
    int pauses = 0;

    open_all(&does, "uniform", 100, "order");
    run((struct load_options){.duration_s = 1000, .tick = pause_once, .arg = &pauses});
    if (!strstr(outcome.cut_short, "the sender stood still"))
        fail_msg("it says \"%s\"", outcome.cut_short);
    close_all();
}

static int enough(void *arg, const struct tally *t, double seconds)
{
    (void)arg;
    (void)seconds;
    return t->answered >= 20;
}

static void test_an_interrupt_leaves_what_was_measured(void **state)
{
    struct fake_behaviour does = {0};

    open_all(&does, "uniform", 200, "order");
    run((struct load_options){.duration_s = 1000, .tick = enough});
    assert_true(tally->answered >= 20);
    assert_int_equal(tally->lost, 0);
    assert_true(outcome.stopped);
    assert_non_null(strstr(outcome.cut_short, "interrupted"));
    close_all();
}

static int now(void *arg, const struct tally *t, double seconds)
{
    (void)arg;
    (void)t;
    (void)seconds;
    return 1;
}

static void test_an_interrupt_during_the_warm_up(void **state)
{
    struct fake_behaviour does = {0};

    open_all(&does, "uniform", 200, "order");
    run((struct load_options){.duration_s = 1000, .warmup_s = 1000, .tick = now});
    assert_int_equal(tally->sent, 0);
    assert_non_null(strstr(outcome.cut_short, "interrupted"));
    assert_true(outcome.end_s == 0 && outcome.cpu_s == 0);
    close_all();
}

static void note_begin(void *arg)
{
    *(int64_t *)arg = server.seen;
}

static void test_the_warm_up_does_not_count(void **state)
{
    struct fake_behaviour does = {.service_ns = 100000};
    int64_t seen = 0;

    open_all(&does, "uniform", 500, "order");
    run((struct load_options){.requests = 100, .warmup_s = 5, .begun = note_begin, .arg = &seen});
    assert_int_equal(tally->sent, 100);
    assert_true(seen > 0);
    assert_true(outcome.warmup_requests >= 3 * 32);
    assert_int_equal(server.seen, 100 + outcome.warmup_requests);
    assert_true(outcome.warmup_s > 0);
    close_all();
}

static void test_a_trace_ends(void **state)
{
    char path[64], spec[80];
    struct fake_behaviour does = {0};
    struct arrivals *warming;
    struct error e;
    FILE *f;

    snprintf(path, sizeof path, "/tmp/freezeline-load-%d.csv", (int)getpid());
    f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 25; i++)
        fprintf(f, "%g\n", i * 0.004);
    fclose(f);
    snprintf(spec, sizeof spec, "trace:%s", path);
    open_all(&does, spec, 0, "order");
    run((struct load_options){0});
    assert_int_equal(tally->answered, 25);
    close_all();
    open_all(&does, spec, 0, "order");
    run((struct load_options){.warmup_s = 10});
    assert_int_equal(tally->sent, 0);
    assert_non_null(strstr(outcome.cut_short, "warming up"));
    close_all();
    open_all(&does, spec, 0, "order");
    assert_int_equal(arrivals_new(&warming, "poisson", 500, 1, &e), FL_OK);
    run((struct load_options){.warmup_s = 10, .warming = warming}); /* loses nothing of it */
    assert_int_equal(tally->answered, 25);
    assert_true(outcome.warmup_requests >= 3 * 32);
    assert_true(tally->sending_seconds >= 24 * 0.004 - 1e-6 && tally->sending_seconds < 24 * 0.004 + 0.01);
    assert_string_equal(outcome.cut_short, "");
    arrivals_free(warming);
    close_all();
    unlink(path);
}

static void test_nobody_there(void **state)
{
    static const char text[] = "model: m.onnx\nbroker: {requests: 'ipc:///tmp/freezeline-nobody'}\n";
    struct pipeline *p;
    struct target *t;
    struct error e;

    assert_int_equal(pipeline_parse(&p, text, sizeof text - 1, "test.yaml", NULL, 0, &e), FL_OK);
    assert_int_equal(target_pipeline(&t, p, 0, 1, &e), FL_UNAVAILABLE);
    assert_null(t);
    assert_non_null(strstr(e.text, "does not reply"));
    pipeline_free(p);
}

/* In the open loop the whole model is a server that takes one request after the other. */
static void test_the_whole_model_in_this_process(void **state)
{
    static const char text[] = "model: tests/data/tiny.onnx\n";
    struct fake_behaviour does = {0};
    struct pipeline *p;
    struct target *pipe;
    struct error e;

    open_all(&does, "poisson", 500, "shuffled");
    assert_int_equal(pipeline_parse(&p, text, sizeof text - 1, "./here.yaml", NULL, 0, &e), FL_OK);
    pipe = target;
    if (target_whole(&target, p, &e))
        fail_msg("%s", e.text);
    assert_true(target_is_whole(target));
    run((struct load_options){.requests = 50});
    assert_int_equal(tally->answered, 50);
    assert_int_equal(tally->exit[TALLY_NETWORK].answered, 50);
    assert_int_equal(server.seen, 0);
    target_free(pipe);
    close_all();
    pipeline_free(p);
}

static void *note_policy(void *policy)
{
    *(int *)policy = sched_getscheduler(0);
    return NULL;
}

/* Where the system allows it. */
static void test_the_sender_goes_first(void **state)
{
    const struct sched_param least = {.sched_priority = 1}, none = {0};
    bool allowed = !sched_setscheduler(0, SCHED_FIFO, &least);
    int niceness = getpriority(PRIO_PROCESS, 0), before, of_thread = -1;
    pthread_t thread;

    (void)state;
    assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &none), 0);
    before = precedence_raise();
    assert_int_equal(sched_getscheduler(0), allowed ? SCHED_FIFO : SCHED_OTHER);
    assert_int_equal(pthread_create(&thread, NULL, note_policy, &of_thread), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(of_thread, sched_getscheduler(0));
    precedence_restore(before);
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), niceness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_sender_goes_first),
        cmocka_unit_test(test_every_request_is_counted_once),
        cmocka_unit_test(test_many_clients_are_one_load),
        cmocka_unit_test(test_answers_are_heard),
        cmocka_unit_test(test_answers_meet_their_labels),
        cmocka_unit_test(test_a_stall_cannot_hide_in_an_open_loop),
        cmocka_unit_test(test_a_stall_hides_in_a_closed_loop),
        cmocka_unit_test(test_a_closed_loop_keeps_its_number_in_flight),
        cmocka_unit_test(test_a_closed_loop_waits_as_it_is_told),
        cmocka_unit_test(test_too_high_a_rate_shows_as_a_queue),
        cmocka_unit_test(test_groups_are_complete_before_the_next),
        cmocka_unit_test(test_a_dead_server_ends_the_run),
        cmocka_unit_test(test_a_server_that_dies_at_the_end),
        cmocka_unit_test(test_an_impossible_rate_ends_the_run),
        cmocka_unit_test(test_a_sender_that_stood_still_says_so),
        cmocka_unit_test(test_an_interrupt_leaves_what_was_measured),
        cmocka_unit_test(test_an_interrupt_during_the_warm_up),
        cmocka_unit_test(test_the_warm_up_does_not_count),
        cmocka_unit_test(test_a_trace_ends),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_the_whole_model_in_this_process),
    };
    return cmocka_run_group_tests(tests, group_up, group_down);
}
