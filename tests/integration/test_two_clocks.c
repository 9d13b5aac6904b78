/* test_two_clocks.c - a stage and the cache service whose clock is another than the broker's
 *
 * They run in a time namespace of their own, in which CLOCK_MONOTONIC is days ahead: what another host is to
 * the broker. That needs root and a kernel that has them; elsewhere the test is skipped and says so.
 */
#include "harness.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/load/attribution.h"
#include "deploy/bench/chrome_trace.h"

#define AHEAD_S  "1000000"
#define REQUESTS 60

static const char yaml[] = "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {last: block2.out}\n"
                           "  - {}\n"
                           "exits: auto\n"
                           "updates: {sample: 0, audit: 0}\n"
                           "broker: {deadline_ms: 20000, heartbeat_ms: 100}\n";

static struct harness *h;

/* Forks, since a process does not enter the time namespace that it makes; hands the end on to its child. */
static const char in_tomorrow[] = "trap 'kill -TERM $p' TERM; \"$@\" & p=$!; wait $p; wait $p";

/* Starts a program of the pipeline in a time namespace of its own. */
static int spawn_tomorrow(const char *program, const char *option, const char *value)
{
    const char *build = getenv("FREEZELINE_BUILD");
    char path[HARNESS_PATH];
    const char *argv[] = {"unshare", "--time", "--monotonic", AHEAD_S,           "sh",   "-c",  in_tomorrow,
                          "sh",      path,     "-c",          harness_config(h), option, value, NULL};
    snprintf(path, sizeof path, "%s/%s", build ? build : "build/release", program);
    return harness_spawn_path(h, "unshare", argv);
}

static int setup(void **state)
{
    if (system("unshare --time --monotonic " AHEAD_S " true 2>/dev/null")) {
        printf("skipped: no time namespaces here (root and Linux 5.6 are needed)\n");
        return 0;
    }
    h = harness_new(NULL, yaml);
    harness_broker(h);
    spawn_tomorrow("freezeline-stage", "--stage", "1");
    spawn_tomorrow("freezeline-cache", "--index", "0");
    harness_spawn(h, "freezeline-stage", "--stage", "0", NULL);
    harness_spawn(h, "freezeline-stage", "--stage", "2", NULL);
    harness_expect(h, 1, "another clock", 1);
    harness_expect(h, 0, "every stage has a ready worker", 1);
    harness_expect(h, 0, "cache 0: pid", 1);
    return 0;
}

static int teardown(void **state)
{
    harness_free(h);
    return 0;
}

static struct answer ask(struct client *client, uint64_t seed, uint32_t flags)
{
    static float data[3 * 16 * 16];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    struct error e = {FL_OK, ""};
    struct answer a;
    int n;
    harness_random(data, 3 * 16 * 16, seed);
    if (client_infer(client, &in, flags, 0, &a, NULL, 0, &n, &e))
        fail_msg("%s", e.text);
    if (a.error)
        fail_msg("%s: %s", error_name((int)a.error), a.text);
    return a;
}

/* A worker is ready when it knows the clock by which deadlines count: nothing is dropped as late that is not.
 */
static void test_the_first_requests_are_in_time(void **state)
{
    struct client *client;
    struct status_reply s;
    if (!h)
        skip();
    client = harness_client(h);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(ask(client, i, JOB_NO_CACHE).attempts, 1);
    s = harness_status(client);
    assert_int_equal(s.retried, 0);
    assert_int_equal(s.failed, 0);
    client_free(client);
}

static bool clocks_are_known(void *client)
{
    struct status_reply s = harness_status(client);
    for (int i = 0; i < s.n_processes; i++)
        if (s.process[i].last.clock_error_ns == UINT64_MAX)
            return false;
    return true;
}

static struct client *connect_when_known(void)
{
    struct client *client;
    if (!h)
        skip();
    client = harness_client(h);
    harness_until(clocks_are_known, client, 60, "the clocks are compared");
    return client;
}

/* Days of difference show nowhere; what is left is within the error that is told. */
static void test_wires_between_clocks_are_right_within_the_error(void **state)
{
    struct client *client = connect_when_known();
    for (uint64_t i = 0; i < REQUESTS; i++) {
        struct answer a = ask(client, i, 0);
        double part_ns[PARTS];
        assert_int_equal(a.trace.n, 3);
        assert_true(a.clock_error_ns > 0 && a.clock_error_ns < 10 * NS_PER_S);
        attribution_of(&a, a.total_ns, part_ns);
        for (int s = 0; s < 3; s++) {
            assert_true(a.trace.stage[s].wire_ns <= a.total_ns + 2 * a.clock_error_ns);
            assert_true(a.trace.stage[s].queue_ns <= a.total_ns + 2 * a.clock_error_ns);
        }
        /* A wire may seem to take less than nothing, which counts as nothing; 8 heartbeats may drift. */
        assert_true(fabs(part_ns[PART_RESIDUAL]) <= 2 * (double)a.clock_error_ns + NS_PER_MS);
    }
    client_free(client);
}

static void test_the_status_tells_the_error(void **state)
{
    struct client *client = connect_when_known();
    struct status_reply s = harness_status(client);
    for (int i = 0; i < s.n_processes; i++) {
        const struct process_status *p = &s.process[i];
        bool other = p->role == ROLE_CACHE || p->stage == 1;
        assert_true(other ? p->last.clock_error_ns > 0 && p->last.clock_error_ns < 10 * NS_PER_S
                          : p->last.clock_error_ns == 0);
    }
    client_free(client);
}

/* The stage of tomorrow: what the shell of spawn_tomorrow runs, and how often its main thread has slept. */
static unsigned long long times_asleep(const struct status_reply *s)
{
    unsigned long long n = 0;
    char path[64], line[128];
    FILE *f;
    for (int i = 0; i < s->n_processes; i++)
        if (s->process[i].role == ROLE_STAGE && s->process[i].stage == 1)
            snprintf(path, sizeof path, "/proc/%llu/status", (unsigned long long)s->process[i].pid);
    assert_non_null(f = fopen(path, "re"));
    while (fgets(line, sizeof line, f) && sscanf(line, "voluntary_ctxt_switches: %llu", &n) != 1)
        ;
    fclose(f);
    return n;
}

struct beats {
    struct client *client;
    uint64_t last_ns;
    int n;
};

static bool five_beats(void *arg)
{
    struct beats *b = arg;
    struct status_reply s = harness_status(b->client);
    for (int i = 0; i < s.n_processes; i++)
        if (s.process[i].role == ROLE_STAGE && s.process[i].stage == 1 &&
            s.process[i].last.worker_ns != b->last_ns) {
            b->last_ns = s.process[i].last.worker_ns;
            b->n++;
        }
    return b->n > 5;
}

/* An idle worker wakes for heartbeats and their echoes, also where it has a clock of its own. */
static void test_idle_workers_sleep(void **state)
{
    struct client *client = connect_when_known();
    struct status_reply s = harness_status(client);
    struct beats b = {.client = client};
    unsigned long long before;
    harness_until(five_beats, &b, 60, "heartbeats"); /* the quick ones at the start are over */
    b.n = 1;
    before = times_asleep(&s);
    harness_until(five_beats, &b, 60, "heartbeats");
    assert_in_range(times_asleep(&s) - before, 1, 5 * 6);
    client_free(client);
}

/* Spans of all processes lie within the request, by one clock. */
static void test_a_trace_has_one_clock(void **state)
{
    struct client *client = connect_when_known();
    struct answer a = ask(client, 5, JOB_TRACE);
    struct chrome_trace t = {0};
    uint64_t first = UINT64_MAX, last = 0;
    bool stage = false;
    for (int tries = 0; tries < 500 && !stage; tries++) {
        assert_int_equal(chrome_trace_collect(&t, harness_pipeline(h), NULL), 0);
        for (int i = 0; i < t.n; i++)
            stage |= t.span[i].request == a.request && t.span[i].role == ROLE_STAGE && t.span[i].stage == 1 &&
                     t.span[i].kind == SPAN_COMPUTE;
    }
    assert_true(stage);
    for (int i = 0; i < t.n; i++) {
        if (t.span[i].request != a.request || t.span[i].kind == SPAN_LOOKUP)
            continue;
        first = t.span[i].start_ns < first ? t.span[i].start_ns : first;
        last = t.span[i].end_ns > last ? t.span[i].end_ns : last;
    }
    assert_true(last - first <= a.total_ns + 60 * NS_PER_S);
    chrome_trace_release(&t);
    client_free(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_requests_are_in_time),
        cmocka_unit_test(test_wires_between_clocks_are_right_within_the_error),
        cmocka_unit_test(test_the_status_tells_the_error),
        cmocka_unit_test(test_idle_workers_sleep),
        cmocka_unit_test(test_a_trace_has_one_clock),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
