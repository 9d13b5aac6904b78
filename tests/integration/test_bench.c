/* test_bench.c - `freezeline bench` on real processes: what it reports, and what it survives */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "deploy/data/npy.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {last: block2.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n"
                           "broker: {deadline_ms: 500}\n";

static char data[HARNESS_PATH + 64], output[HARNESS_PATH + 64];

static struct harness *open_world(void)
{
    struct harness *h = harness_new(NULL, yaml);
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {8, 3, 16, 16}};
    char path[HARNESS_PATH + 32];
    struct error e;

    assert_int_equal(tensor_alloc(&t), FL_OK);
    harness_random(t.data, tensor_count(&t), 1);
    snprintf(path, sizeof path, "%s/x.npy", harness_dir(h));
    snprintf(data, sizeof data, "npy:%s", path);
    snprintf(output, sizeof output, "%s/out.json", harness_dir(h));
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
    return h;
}

/* Starts `freezeline bench` on the data with more arguments, ended by NULL. */
static int start(struct harness *h, const char *const *arguments)
{
    const char *argv[24] = {"freezeline", "bench", "-c", harness_config(h), "--data", data}, *build;
    char path[HARNESS_PATH + 32];
    int n = 6;

    while (*arguments && n < 23)
        argv[n++] = *arguments++;
    build = getenv("FREEZELINE_BUILD");
    snprintf(path, sizeof path, "%s/freezeline", build ? build : "build/release");
    return harness_spawn_path(h, path, argv);
}

/* Starts a bench that would go on for long. */
static int start_long(struct harness *h)
{
    return start(h, (const char *const[]){"--rate", "100", "--duration", "600", "--no-warm-up", "--output",
                                          output, NULL});
}

static json_t *document(void)
{
    json_error_t problem;
    json_t *root = json_load_file(output, 0, &problem);

    if (!root)
        fail_msg("%s: %s", output, problem.text);
    assert_string_equal(json_string_value(json_object_get(root, "format")), "freezeline-bench");
    return root;
}

struct seen {
    struct client *client;
    uint64_t answered;
};

static bool answered(void *arg)
{
    const struct seen *s = arg;
    return harness_status(s->client).answered >= s->answered;
}

static void wait_for_answers(struct harness *h, uint64_t more)
{
    struct seen s = {.client = harness_client(h)};

    s.answered = harness_status(s.client).answered + more;
    harness_until(answered, &s, 60, "answers");
    client_free(s.client);
}

static void test_compare_with_whole_and_no_cache(void **state)
{
    struct harness *h = open_world();
    json_t *root, *against, *one;
    int bench;

    harness_pipeline_up(h);
    bench = start(h, (const char *const[]){"--closed", "2", "--requests", "50", "--rounds", "5", "--against",
                                           "no-cache", "--against", "traced:0.5", "--against", "whole",
                                           "--output", output, NULL});
    assert_int_equal(harness_wait(h, bench), 0);
    assert_true(harness_count(h, bench, "tiny / tiny in one process") == 1);
    assert_true(harness_count(h, bench, "tiny / tiny, 50% traced") == 1);
    root = document();
    against = json_object_get(root, "against");
    assert_int_equal(json_integer_value(json_object_get(against, "rounds")), 5);
    assert_int_equal(json_array_size(json_object_get(against, "configurations")), 4);
    assert_int_equal(json_array_size(json_object_get(against, "ratios")), 3 * 4);
    for (size_t i = 0; i < 4; i++) {
        one = json_array_get(json_object_get(against, "configurations"), i);
        assert_int_equal(json_integer_value(json_object_get(one, "answered")), 50);
        assert_int_equal(json_integer_value(json_object_get(one, "errors")), 0);
    }
    assert_int_equal(json_integer_value(json_object_get(json_object_get(one, "pipeline"), "stages")), 1);
    assert_true(json_is_null(json_object_get(root, "accuracy"))); /* the data has no labels */
    json_decref(root);
    harness_free(h);
}

/* The worker's death and its successor are in the report; no request is lost by it. */
static void test_a_worker_that_dies_is_an_event(void **state)
{
    struct harness *h = open_world();
    int broker, bench;
    json_t *root, *events, *event;
    size_t i, told = 0;

    broker = harness_pipeline_up(h);
    bench = start_long(h);
    wait_for_answers(h, 150); /* more than a second: it was looked at */
    harness_signal(h, broker + 2, SIGKILL);
    harness_wait(h, broker + 2);
    harness_stage(h, 1, 0);
    wait_for_answers(h, 250);
    harness_signal(h, bench, SIGINT);
    assert_int_equal(harness_wait(h, bench), 1);
    assert_int_equal(harness_count(h, bench, "the report is partial"), 1);
    assert_int_equal(harness_count(h, bench, "events: at "), 1);
    assert_true(harness_count(h, bench, " s: stage1.0 ") > 0);
    root = document();
    assert_true(json_is_false(json_object_get(root, "valid")));
    assert_non_null(strstr(json_string_value(json_object_get(root, "doubt")), "interrupted"));
    events = json_object_get(root, "events");
    json_array_foreach(events, i, event)
    {
        told += strstr(json_string_value(json_object_get(event, "text")), "stage1.0") != NULL;
    }
    assert_true(told > 0);
    assert_true(json_array_size(json_object_get(root, "processes")) >= 4);
    json_decref(root);
    harness_free(h);
}

static void test_a_broker_that_dies_leaves_a_partial_report(void **state)
{
    struct harness *h = open_world();
    int broker, bench;
    json_t *root;

    broker = harness_pipeline_up(h);
    bench = start(h, (const char *const[]){"--rate", "100", "--duration", "600", "--no-warm-up", "--output",
                                           output, "--trace", "trace.json", NULL});
    wait_for_answers(h, 50);
    harness_signal(h, broker, SIGKILL);
    harness_wait(h, broker);
    assert_int_equal(harness_wait(h, bench), 1);
    assert_int_equal(harness_count(h, bench, "the report is partial"), 1);
    assert_int_equal(harness_count(h, bench, "no trace in trace.json"), 1);
    root = document();
    assert_true(json_is_false(json_object_get(root, "valid")));
    assert_non_null(strstr(json_string_value(json_object_get(root, "doubt")), "did not answer any more"));
    assert_true(json_integer_value(json_object_get(root, "answered")) >= 50);
    json_decref(root);
    harness_free(h);
}

static void test_a_comparison_with_a_broker_that_dies(void **state)
{
    struct harness *h = open_world();
    int broker, bench;

    broker = harness_pipeline_up(h);
    bench = start(h, (const char *const[]){"--closed", "2", "--duration", "20", "--against", "no-cache",
                                           "--no-warm-up", "--output", output, NULL});
    wait_for_answers(h, 50);
    harness_signal(h, broker, SIGKILL);
    harness_wait(h, broker);
    assert_int_equal(harness_wait(h, bench), 1);
    assert_int_equal(harness_count(h, bench, "the report is partial"), 1);
    json_decref(document());
    harness_free(h);
}

static void test_a_recorded_trace_is_sent_whole(void **state)
{
    struct harness *h = open_world();
    char times[HARNESS_PATH + 32], spec[HARNESS_PATH + 64];
    json_t *root;
    FILE *f;
    int bench;

    snprintf(times, sizeof times, "%s/times.csv", harness_dir(h));
    snprintf(spec, sizeof spec, "trace:%s", times);
    f = fopen(times, "w");
    assert_non_null(f);
    for (int i = 0; i <= 100; i++)
        fprintf(f, "%g\n", i / 200.0);
    fclose(f);
    harness_pipeline_up(h);
    bench = start(h, (const char *const[]){"--arrivals", spec, "--output", output, NULL});
    assert_int_equal(harness_wait(h, bench), 0);
    root = document();
    assert_int_equal(json_integer_value(json_object_get(root, "sent")), 101);
    assert_true(json_integer_value(json_object_get(json_object_get(root, "load"), "warmup_requests")) > 0);
    json_decref(root);
    harness_free(h);
}

static void test_a_full_disk(void **state)
{
    struct harness *h = open_world();
    int bench;

    harness_pipeline_up(h);
    bench = start(h, (const char *const[]){"--requests", "20", "--no-warm-up", "--json", "--output",
                                           "/dev/full", NULL});
    assert_int_equal(harness_wait(h, bench), 1);
    assert_int_equal(harness_count(h, bench, "cannot write /dev/full: No space left"), 1);
    assert_int_equal(harness_count(h, bench, "\"sent\": 20,"),
                     2); /* stdout still has it, and its time line */
    harness_free(h);
}

/* All that the pipeline's processes did for each request, in a file for Perfetto. */
static void test_a_trace(void **state)
{
    struct harness *h = open_world();
    const json_t *event;
    json_t *root;
    size_t i;
    int bench, computed = 0, answered_by_broker = 0;

    harness_pipeline_up(h);
    bench = start(h, (const char *const[]){"--closed", "1", "--requests", "20", "--trace", output,
                                           "--trace-share", "0.5", NULL});
    assert_int_equal(harness_wait(h, bench), 0);
    assert_int_equal(harness_count(h, bench, "offered"), 0); /* nothing is, in a closed loop */
    root = json_load_file(output, 0, NULL);
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "traceEvents"), i, event)
    {
        const char *name = json_string_value(json_object_get(event, "name")),
                   *phase = json_string_value(json_object_get(event, "ph"));
        computed += !strcmp(phase, "X") && !strcmp(name, "compute");
        answered_by_broker += !strcmp(phase, "b") && !strcmp(name, "request");
    }
    assert_int_equal(answered_by_broker, 10); /* of those that count, none of the warm-up */
    assert_int_equal(computed, 30);           /* in three stages */
    json_decref(root);
    bench = start(h, (const char *const[]){"--requests", "5", "--no-warm-up", "--trace", "/dev/full", NULL});
    assert_int_equal(harness_wait(h, bench), 1);
    assert_int_equal(harness_count(h, bench, "cannot write /dev/full: No space left"), 1);
    unlink(output); /* a report that cannot be written takes no trace with it */
    bench = start(h, (const char *const[]){"--requests", "20", "--no-warm-up", "--output", "/dev/full",
                                           "--trace", output, "--trace-share", "1", NULL});
    assert_int_equal(harness_wait(h, bench), 1);
    assert_int_equal(harness_count(h, bench, "cannot write /dev/full: No space left"), 1);
    assert_int_equal(access(output, R_OK), 0);
    bench = start(h, (const char *const[]){"--trace", output, "--trace-share", "2", NULL});
    assert_int_equal(harness_wait(h, bench), 2);
    harness_free(h);
}

/* The same network, other bytes: with a doc_string. */
static void write_other_model(const char *path)
{
    char bytes[65536];
    FILE *from = fopen("tests/data/tiny.onnx", "rb"), *to = fopen(path, "wb");
    size_t n;

    assert_non_null(from);
    assert_non_null(to);
    while ((n = fread(bytes, 1, sizeof bytes, from)) > 0)
        fwrite(bytes, 1, n, to);
    fwrite("\x32\x01x", 1, 3, to);
    fclose(from);
    assert_int_equal(fclose(to), 0);
}

/* What runs was started from another file: the document would describe what it did not measure. */
static void test_another_model(void **state)
{
    struct harness *h = open_world();
    char path[HARNESS_PATH + 32], set[HARNESS_PATH + 64];
    json_t *root;
    int bench;

    harness_pipeline_up(h);
    snprintf(path, sizeof path, "%s/other.onnx", harness_dir(h));
    snprintf(set, sizeof set, "model=%s", path);
    write_other_model(path);
    bench = start(
        h, (const char *const[]){"--requests", "20", "--no-warm-up", "--output", output, "--set", set, NULL});
    assert_int_equal(harness_wait(h, bench), 0);
    assert_int_equal(harness_count(h, bench, "the pipeline serves another model"), 1);
    root = document();
    assert_true(json_is_false(json_object_get(root, "valid")));
    json_decref(root);
    harness_free(h);
}

static const char *const few = "20 requests cannot bound p99 from above";

/* What so few requests cannot tell is not printed, and said. */
static void test_few_requests(void **state)
{
    struct harness *h = open_world();
    int bench;

    harness_pipeline_up(h);
    bench = start(h, (const char *const[]){"--requests", "20", "--no-warm-up", NULL});
    assert_int_equal(harness_wait(h, bench), 0);
    assert_int_equal(harness_count(h, bench, few), 1);
    assert_int_equal(harness_count(h, bench, "  95% from"), 1);
    assert_int_equal(harness_count(h, bench, " -  "), 3); /* lines: all, the network, upper bounds */
    bench = start(h, (const char *const[]){"--requests", "400", "--no-warm-up", NULL});
    assert_int_equal(harness_wait(h, bench), 0);
    assert_int_equal(harness_count(h, bench, few), 0);
    harness_free(h);
}

static void test_nobody_there(void **state)
{
    struct harness *h = open_world();
    int bench;

    bench = start(h, (const char *const[]){NULL});
    assert_int_equal(harness_wait(h, bench), 1);
    assert_int_equal(harness_count(h, bench, "does not reply"), 1);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare_with_whole_and_no_cache),
        cmocka_unit_test(test_a_worker_that_dies_is_an_event),
        cmocka_unit_test(test_a_broker_that_dies_leaves_a_partial_report),
        cmocka_unit_test(test_a_comparison_with_a_broker_that_dies),
        cmocka_unit_test(test_a_recorded_trace_is_sent_whole),
        cmocka_unit_test(test_a_full_disk),
        cmocka_unit_test(test_a_trace),
        cmocka_unit_test(test_another_model),
        cmocka_unit_test(test_few_requests),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
