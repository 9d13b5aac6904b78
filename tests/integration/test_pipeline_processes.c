/* test_pipeline_processes.c - broker and stage workers as processes: answers, batches, deaths, deadlines,
 * bounds */
#include "harness.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stages/exec/exec.h"

#define PIXELS  (3 * 16 * 16)
#define CLASSES 10

static const char three_stages[] = "stages:\n"
                                   "  - {last: block1.out}\n"
                                   "  - {last: block2.out, replicas: 2}\n"
                                   "  - {}\n"
                                   "exits: none\n"
                                   "kernels: openblas\n"
                                   "broker: {deadline_ms: 30000, heartbeat_ms: 50, dead_after_ms: 1500}\n";

static struct tensor input_of(float *data, uint64_t seed)
{
    harness_random(data, PIXELS, seed);
    return (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
}

/* ---- the same model in this process ---- */

static struct exec *whole_model(const struct harness *h)
{
    struct exec_options o = {.kernels = KERNELS_REFERENCE, .max_batch = 1, .last = -1};
    struct graph *g = NULL;
    struct exec *x = NULL;
    struct error e = {FL_OK, ""};
    if (graph_load(&g, harness_pipeline(h)->model, NULL, &e) || exec_new(&x, g, &o, &e))
        fail_msg("%s", e.text);
    graph_free(g);
    return x;
}

static int last_node(const struct harness *h)
{
    struct graph *g = NULL;
    int n;
    assert_int_equal(graph_load(&g, harness_pipeline(h)->model, NULL, NULL), 0);
    n = g->n_nodes - 1;
    graph_free(g);
    return n;
}

static void assert_scores(struct exec *x, int last, uint64_t seed, const float *scores)
{
    struct error e = {FL_OK, ""};
    struct tensor want;
    harness_random(exec_input_buffer(x, 0), PIXELS, seed);
    if (exec_run(x, 0, last, 1, NULL, NULL, &e))
        fail_msg("%s", e.text);
    want = exec_output(x, 0, 1);
    for (int i = 0; i < CLASSES; i++)
        assert_true(fabsf(((float *)want.data)[i] - scores[i]) < 1e-4f);
}

/* ---- traffic ---- */

/* Keeps `window` requests in flight until `total` are answered; each must be answered exactly once and well.
 * After `at` answers, `event` is called. */
struct traffic {
    struct harness *h;
    struct client *client;
    int total, window, at;
    void (*event)(struct traffic *t);
    int process; /* for the event */
    int largest_batch, by_replica[PIPELINE_MAX_REPLICAS];
};

static void take_answer(struct traffic *t, int *answered, const uint64_t *ids)
{
    struct error e = {FL_OK, ""};
    struct answer a;
    float scores[CLASSES];
    int n = 0, i;
    if (client_receive(t->client, 60000, &a, scores, CLASSES, &n, &e))
        fail_msg("no answer: %s", e.text);
    if (a.error)
        fail_msg("answered with %s: %s", error_name((int)a.error), a.text);
    for (i = 0; i < t->total && ids[i] != a.id; i++)
        ;
    assert_true(i < t->total);
    assert_int_equal(answered[i]++, 0);
    assert_int_equal(n, CLASSES);
    assert_int_equal(a.trace.n, 3);
    assert_int_equal(a.exit, -1);
    t->by_replica[a.trace.stage[1].replica]++;
    for (int s = 0; s < 3; s++)
        if ((int)a.trace.stage[s].batch > t->largest_batch)
            t->largest_batch = (int)a.trace.stage[s].batch;
}

static void run_traffic(struct traffic *t)
{
    int *answered = calloc((size_t)t->total, sizeof *answered), sent = 0, got = 0;
    uint64_t *ids = calloc((size_t)t->total, sizeof *ids);
    float data[PIXELS];
    while (got < t->total) {
        struct error e = {FL_OK, ""};
        while (sent < t->total && sent - got < t->window) {
            struct tensor in = input_of(data, (uint64_t)sent);
            if (client_submit(t->client, &in, 0, 0, &ids[sent], &e))
                fail_msg("%s", e.text);
            sent++;
        }
        take_answer(t, answered, ids);
        if (++got == t->at && t->event)
            t->event(t);
    }
    free(ids);
    free(answered);
}

static struct harness *up(struct client **client, const char *yaml)
{
    struct harness *h = harness_new(NULL, yaml);
    harness_pipeline_up(h);
    *client = harness_client(h);
    return h;
}

static void down(struct harness *h, struct client *client)
{
    client_free(client);
    harness_free(h);
}

/* ---- tests ---- */

/* Does a process share memory with others? */
static bool has_lanes(const struct harness *h, int process)
{
    char path[64], line[512];
    bool found = false;
    FILE *f;
    snprintf(path, sizeof path, "/proc/%d/maps", harness_pid(h, process));
    f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        found = found || strstr(line, "freezeline-lane");
    if (f)
        fclose(f);
    return found;
}

static void check_answers(struct harness *h, struct client *client)
{
    struct exec *x = whole_model(h);
    int last = last_node(h);
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct error e = {FL_OK, ""};
        float data[PIXELS], scores[CLASSES];
        struct tensor in = input_of(data, seed);
        struct answer a;
        int n, best = 0;
        if (client_infer(client, &in, 0, 0, &a, scores, CLASSES, &n, &e))
            fail_msg("%s", e.text);
        assert_int_equal(a.error, FL_OK);
        assert_scores(x, last, seed, scores);
        for (int i = 0; i < CLASSES; i++)
            best = scores[i] > scores[best] ? i : best;
        assert_int_equal(a.label, best);
        assert_true(a.confidence > 0.1f && a.confidence <= 1);
        assert_int_equal(a.trace.n, 3);
        assert_true(a.total_ns > 0);
        for (int s = 0; s < 3; s++)
            assert_true(a.trace.stage[s].compute_ns > 0 && a.trace.stage[s].compute_ns < a.total_ns);
    }
    exec_free(x);
}

static void test_answers_are_the_models_own(void **state)
{
    struct client *client;
    struct harness *h = up(&client, three_stages);
    check_answers(h, client);
    for (int i = 0; i < 5; i++)
        assert_true(has_lanes(h, i));
    down(h, client);
}

/* One process alone does without shared memory, then all do. */
static void test_answers_are_the_same_without_shared_memory(void **state)
{
    char yaml[sizeof three_stages + 32];
    struct client *client;
    struct harness *h = harness_new(NULL, three_stages);
    harness_broker(h);
    harness_stage(h, 0, 0);
    harness_spawn(h, "freezeline-stage", "-c", harness_config(h), "--stage", "1", "--set",
                  "shared_memory=false", NULL);
    harness_stage(h, 1, 1);
    harness_stage(h, 2, 0);
    for (int i = 1; i < 5; i++)
        harness_expect(h, i, "has accepted this worker", 1);
    harness_expect(h, 0, "every stage has a ready worker", 1);
    client = harness_client(h);
    check_answers(h, client);
    assert_false(has_lanes(h, 2));
    assert_true(has_lanes(h, 3));
    down(h, client);

    snprintf(yaml, sizeof yaml, "%sshared_memory: false\n", three_stages);
    h = up(&client, yaml);
    check_answers(h, client);
    for (int i = 0; i < 5; i++)
        assert_false(has_lanes(h, i));
    down(h, client);
}

static void test_what_waits_becomes_a_batch(void **state)
{
    struct traffic t = {.total = 200, .window = 64};
    struct harness *h = up(&t.client, three_stages);
    struct status_reply s;
    int rounds = 0;
    while (rounds++ < 50 && !(t.by_replica[0] && t.by_replica[1] && t.largest_batch > 1))
        run_traffic(&t); /* a replica gets nothing until stage 0 has connected to it */
    assert_true(t.largest_batch > 1);
    assert_true(t.by_replica[0] > 0 && t.by_replica[1] > 0);
    s = harness_status(t.client);
    assert_true(s.ready);
    assert_true(s.answered > 0 && s.answered % (uint64_t)t.total == 0);
    assert_int_equal(s.in_flight, 0);
    assert_int_equal(s.failed, 0);
    assert_int_equal(s.retried,
                     0); /* ready means that there is a way: nothing was sent where no link was yet */
    assert_int_equal(s.n_processes, 4);
    down(h, t.client);
}

static void kill_it(struct traffic *t)
{
    harness_signal(t->h, t->process, SIGKILL);
    harness_wait(t->h, t->process);
}

static void kill_and_restart(struct traffic *t)
{
    kill_it(t);
    t->process = harness_stage(t->h, 2, 0);
}

static void test_a_killed_replica_loses_nothing(void **state)
{
    struct traffic t = {.total = 400, .window = 32, .at = 100, .event = kill_it, .process = 2};
    t.h = up(&t.client, three_stages);
    run_traffic(&t); /* process 2 is stage 1 replica 0 */
    memset(t.by_replica, 0, sizeof t.by_replica);
    t.event = NULL;
    harness_expect(t.h, 0, "stage 1 replica 0 (pid", 1);
    harness_stage(t.h, 1, 0);
    harness_expect(t.h, 0, "stage 1 replica 0: pid", 2);
    for (int i = 0; i < 50 && !t.by_replica[0]; i++)
        run_traffic(&t); /* it gets nothing until stage 0 has connected to it */
    assert_true(t.by_replica[0] > 0);
    down(t.h, t.client);
}

static void test_a_stage_that_is_all_gone_is_waited_for(void **state)
{
    struct traffic t = {.total = 150, .window = 16, .at = 50, .event = kill_and_restart, .process = 4};
    t.h = up(&t.client, three_stages);
    run_traffic(&t);
    down(t.h, t.client);
}

static void term_it(struct traffic *t)
{
    harness_signal(t->h, t->process, SIGTERM);
}

static void test_a_worker_says_goodbye(void **state)
{
    struct traffic t = {.total = 300, .window = 32, .at = 50, .event = term_it, .process = 3};
    t.h = up(&t.client, three_stages);
    run_traffic(&t);
    assert_int_equal(harness_wait(t.h, 3), 0);
    harness_expect(t.h, 0, "it said goodbye; 0 requests re-routed", 1);
    assert_int_equal(harness_status(t.client).retried, 0);
    down(t.h, t.client);
}

static void restart_politely(struct traffic *t)
{
    static const int stages[] = {0, 1, 2}, processes[] = {1, 3, 4};
    if (t->process == 3)
        return;
    harness_signal(t->h, processes[t->process], SIGTERM);
    assert_int_equal(harness_wait(t->h, processes[t->process]), 0);
    harness_stage(t->h, stages[t->process], t->process == 1);
    t->process++;
    t->at += 80;
}

/* One worker of each stage after the other ends and starts again under load, without a spare try. */
static void test_a_rolling_restart_repeats_nothing(void **state)
{
    struct traffic t = {.total = 400, .window = 24, .at = 60, .event = restart_politely};
    struct status_reply s;
    char yaml[1024];
    snprintf(yaml, sizeof yaml, "%s", three_stages);
    strcpy(strrchr(yaml, '}'), ", retries: 0}\n");
    t.h = up(&t.client, yaml);
    run_traffic(&t);
    assert_int_equal(t.process, 3);
    s = harness_status(t.client);
    assert_int_equal(s.answered, t.total);
    assert_int_equal(s.retried, 0);
    assert_int_equal(s.duplicates, 0);
    down(t.h, t.client);
}

/* Nobody is there to say that nothing is left to do: a worker ends all the same. */
static void test_a_worker_ends_without_a_broker(void **state)
{
    struct client *client;
    struct harness *h = up(&client, three_stages);
    harness_signal(h, 0, SIGKILL);
    harness_wait(h, 0);
    harness_signal(h, 2, SIGTERM);
    assert_int_equal(harness_wait(h, 2), 0);
    down(h, client);
}

static void test_the_broker_may_be_restarted(void **state)
{
    struct traffic t = {.total = 50, .window = 8};
    int broker;
    t.h = up(&t.client, three_stages);
    run_traffic(&t);
    harness_signal(t.h, 0, SIGKILL);
    harness_wait(t.h, 0);
    broker = harness_broker(t.h);
    harness_expect(t.h, broker, "every stage has a ready worker", 1);
    client_free(t.client);
    t.client = harness_client(t.h);
    run_traffic(&t);
    down(t.h, t.client);
}

static struct answer ask(struct client *client, const struct tensor *in, uint32_t deadline_ms)
{
    struct error e = {FL_OK, ""};
    struct answer a;
    float scores[CLASSES];
    int n;
    if (client_infer(client, in, 0, deadline_ms, &a, scores, CLASSES, &n, &e))
        fail_msg("%s", e.text);
    return a;
}

static void test_the_deadline_is_kept(void **state)
{
    struct client *client;
    struct harness *h = up(&client, three_stages);
    float data[PIXELS];
    struct tensor in = input_of(data, 1);
    struct answer a;
    uint64_t start;
    harness_signal(h, 4, SIGSTOP);
    start = clock_ns();
    a = ask(client, &in, 200);
    assert_int_equal(a.error, FL_DEADLINE);
    assert_in_range((clock_ns() - start) / NS_PER_MS, 195, 1500);
    harness_signal(h, 4, SIGCONT);
    assert_int_equal(ask(client, &in, 0).error, FL_OK);
    assert_int_equal(harness_status(client).expired, 1);
    down(h, client);
}

static void test_too_many_requests_are_told_at_once(void **state)
{
    struct client *client;
    struct harness *h = up(&client, "stages: 3\nexits: none\nkernels: openblas\n"
                                    "broker: {max_requests: 4, deadline_ms: 20000, dead_after_ms: 20000}\n");
    float data[PIXELS];
    struct tensor in = input_of(data, 1);
    int counts[FL_CODES] = {0};
    harness_signal(h, 3, SIGSTOP);
    for (int i = 0; i < 12; i++) {
        uint64_t id;
        assert_int_equal(client_submit(client, &in, 0, 0, &id, NULL), 0);
    }
    for (int i = 0; i < 12; i++) {
        struct answer a;
        int n;
        if (i == 8)
            harness_signal(h, 3, SIGCONT);
        assert_int_equal(client_receive(client, 30000, &a, NULL, 0, &n, NULL), 0);
        counts[a.error]++;
    }
    assert_int_equal(counts[FL_OVERLOADED], 8);
    assert_int_equal(counts[FL_OK], 4);
    down(h, client);
}

static void test_bad_inputs_are_refused_by_name(void **state)
{
    struct client *client;
    struct harness *h = up(&client, three_stages);
    float data[PIXELS * 2];
    struct tensor in = input_of(data, 1);
    struct answer a;
    data[100] = NAN;
    a = ask(client, &in, 0);
    assert_int_equal(a.error, FL_VALUE);
    data[100] = INFINITY;
    assert_int_equal(ask(client, &in, 0).error, FL_VALUE);
    input_of(data, 1);
    in.dim[2] = 32;
    a = ask(client, &in, 0);
    assert_int_equal(a.error, FL_SHAPE);
    assert_non_null(strstr(a.text, "1x3x16x16"));
    in.dim[2] = 16;
    in.dim[0] = 2;
    assert_int_equal(ask(client, &in, 0).error, FL_SHAPE);
    in.dim[0] = 1;
    in.dtype = TENSOR_I32;
    a = ask(client, &in, 0);
    assert_int_equal(a.error, FL_DTYPE);
    assert_non_null(strstr(a.text, "int32"));
    in.dtype = TENSOR_F32;
    assert_int_equal(ask(client, &in, 0).error, FL_OK);
    down(h, client);
}

static void test_drain_lets_everything_end(void **state)
{
    struct status_reply s;
    struct client *client, *other;
    struct harness *h = up(&client, three_stages);
    float data[PIXELS];
    struct tensor in = input_of(data, 1);
    struct error e = {FL_OK, ""};
    for (int i = 0; i < 50; i++) {
        uint64_t id;
        assert_int_equal(client_submit(client, &in, 0, 0, &id, NULL), 0);
    }
    other = harness_client(h);
    /* The 50 were sent by another socket: wait until they are in. */
    while (harness_status(other).admitted < 50)
        ;
    do {
        if (client_drain(other, DRAIN_MAX_LEASE_MS, 30000, &s, &e))
            fail_msg("%s", e.text);
        assert_true(s.draining);
    } while (s.in_flight);
    for (int i = 0; i < 50; i++) {
        struct answer a;
        int n;
        assert_int_equal(client_receive(client, 10000, &a, NULL, 0, &n, NULL), 0);
        assert_int_equal(a.error, FL_OK);
    }
    assert_int_equal(ask(client, &in, 0).error, FL_UNAVAILABLE);
    assert_int_equal(client_undrain(other, 30000, &e), FL_OK);
    assert_int_equal(ask(client, &in, 0).error, FL_OK);
    client_free(other);
    down(h, client);
}

static void test_without_workers_it_says_so(void **state)
{
    struct harness *h = harness_new(NULL, three_stages);
    struct client *client;
    float data[PIXELS];
    struct tensor in = input_of(data, 1);
    struct answer a;
    harness_broker(h);
    client = harness_client(h);
    a = ask(client, &in, 0);
    assert_int_equal(a.error, FL_UNAVAILABLE);
    assert_non_null(strstr(a.text, "stage 0"));
    assert_false(harness_status(client).ready);
    down(h, client);
}

static void test_wrong_starts_end_with_one_line(void **state)
{
    struct harness *h = harness_new(NULL, three_stages);
    int p;
    harness_broker(h);
    p = harness_spawn(h, "freezeline-broker", NULL);
    assert_int_equal(harness_wait(h, p), 2);
    harness_expect(h, p, "address already in use", 1);
    p = harness_spawn(h, "freezeline-stage", "--stage", "7", NULL);
    assert_int_equal(harness_wait(h, p), 2);
    p = harness_spawn(h, "freezeline-stage", "--stage", "1", "--replica", "2", NULL);
    assert_int_equal(harness_wait(h, p), 2);
    p = harness_spawn(h, "freezeline-stage", NULL);
    assert_int_equal(harness_wait(h, p), 2);
    p = harness_spawn(h, "freezeline-stage", "--stage", "0", "--set", "model=/nowhere.onnx", NULL);
    assert_true(harness_wait(h, p) > 0);
    p = harness_spawn(h, "freezeline-stage", "--stage", "0", "--set", "stages.0.last=nonesuch", NULL);
    assert_int_equal(harness_wait(h, p), 2);
    harness_expect(h, p, "nonesuch", 1);
    harness_stage(h, 0, 0);
    p = harness_spawn(h, "freezeline-stage", "--stage", "0", NULL);
    assert_int_equal(harness_wait(h, p), 2);
    harness_expect(h, p, "address already in use", 1);
    harness_free(h);
}

/* The same network in another file: its digest differs, and nobody would notice from the shapes. */
static void write_other_model(struct harness *h, char set[HARNESS_PATH + 16])
{
    char path[HARNESS_PATH];
    FILE *from = fopen(harness_pipeline(h)->model, "rb"), *to;
    int c;
    snprintf(path, sizeof path, "%.400s/other.onnx", harness_dir(h));
    assert_true(from && (to = fopen(path, "wb")));
    while ((c = getc(from)) != EOF)
        putc(c, to);
    fputs("\x32\x01x", to); /* ModelProto.doc_string = "x" */
    fclose(from);
    fclose(to);
    snprintf(set, HARNESS_PATH + 16, "model=%s", path);
}

static void test_another_model_waits(void **state)
{
    struct harness *h = harness_new(NULL, three_stages);
    char set[HARNESS_PATH + 16];
    int p;
    write_other_model(h, set);
    harness_broker(h);
    harness_stage(h, 0, 0);
    harness_expect(h, 0, "stage 0 replica 0: pid", 1);
    p = harness_spawn(h, "freezeline-stage", "--stage", "1", "--set", set, NULL);
    harness_expect(h, p, "this worker has to wait", 1);
    harness_expect(h, 0, "has another model than stage 0 replica 0: it waits; `freezeline apply -c ", 1);
    harness_signal(h, p, SIGTERM);
    assert_int_equal(harness_wait(h, p), 0);
    harness_free(h);
}

static int successor(struct harness *h, int process, int stage, int replica, const char *set)
{
    char pid[16], s[16], r[16];
    snprintf(pid, sizeof pid, "%d", harness_pid(h, process));
    snprintf(s, sizeof s, "%d", stage);
    snprintf(r, sizeof r, "%d", replica);
    return harness_spawn(h, "freezeline-stage", "--stage", s, "--replica", r, "--after", pid, "--set", set,
                         NULL);
}

static void let_successors_take_over(struct traffic *t)
{
    static const int place[4][2] = {{0, 0}, {1, 0}, {1, 1}, {2, 0}};
    char set[HARNESS_PATH + 16];
    int heir[4];
    write_other_model(t->h, set);
    for (int i = 0; i < 4; i++) /* the broker is process 0 */
        heir[i] = successor(t->h, 1 + i, place[i][0], place[i][1], set);
    harness_expect(t->h, 0, "every worker has a successor", 1);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(harness_wait(t->h, 1 + i), 1);
        harness_expect(t->h, heir[i], "ready: stage", 1);
    }
}

static void test_successors_take_over_and_nothing_is_lost(void **state)
{
    struct harness *h = harness_new(NULL, three_stages);
    struct traffic t = {.h = h, .total = 400, .window = 16, .at = 100, .event = let_successors_take_over};
    struct status_reply s;
    harness_pipeline_up(h);
    t.client = harness_client(h);
    run_traffic(&t);
    s = harness_status(t.client);
    assert_true(s.ready && s.answered == 400 && !s.failed && !s.retried && s.n_processes == 4);
    client_free(t.client);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_are_the_models_own),
        cmocka_unit_test(test_answers_are_the_same_without_shared_memory),
        cmocka_unit_test(test_what_waits_becomes_a_batch),
        cmocka_unit_test(test_a_killed_replica_loses_nothing),
        cmocka_unit_test(test_a_stage_that_is_all_gone_is_waited_for),
        cmocka_unit_test(test_a_worker_says_goodbye),
        cmocka_unit_test(test_a_rolling_restart_repeats_nothing),
        cmocka_unit_test(test_a_worker_ends_without_a_broker),
        cmocka_unit_test(test_the_broker_may_be_restarted),
        cmocka_unit_test(test_the_deadline_is_kept),
        cmocka_unit_test(test_too_many_requests_are_told_at_once),
        cmocka_unit_test(test_bad_inputs_are_refused_by_name),
        cmocka_unit_test(test_drain_lets_everything_end),
        cmocka_unit_test(test_without_workers_it_says_so),
        cmocka_unit_test(test_another_model_waits),
        cmocka_unit_test(test_successors_take_over_and_nothing_is_lost),
        cmocka_unit_test(test_wrong_starts_end_with_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
