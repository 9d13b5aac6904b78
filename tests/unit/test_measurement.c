/* test_measurement.c - verdicts and documents from tallies that are known */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "deploy/bench/measurement.h"
#include "deploy/load/warmup.h"
#include "deploy/report/bench_csv.h"
#include "deploy/tool/output.h"

static struct pipeline *pipeline;
static struct model_shape model;
static struct configuration configuration;
static struct measurement measurement;
static struct tally *tally;
static char folder[] = "/tmp/freezeline-bench-XXXXXX";

static int set_up(void **state)
{
    static const char text[] = "model: m.onnx\nname: known\nstages: 2\ncache: {kind: kmeans}\n";
    struct error e;

    if (pipeline_parse(&pipeline, text, sizeof text - 1, "test.yaml", NULL, 0, &e) || tally_new(&tally))
        return 1;
    model = (struct model_shape){.n_exits = 2, .n_stages = 2};
    for (int i = 0; i < 2; i++) {
        snprintf(model.exit[i].name, sizeof model.exit[i].name, "exit%d", i);
        strcpy(model.exit[i].kind, "kmeans");
        model.exit[i].stage = i;
    }
    configuration =
        (struct configuration){.label = "known", .pipeline = pipeline, .model = &model, .caches = true};
    measurement = (struct measurement){.of = &configuration, .tally = tally, .rate = 100};
    measurement.options = (struct measurement_options){
        .data_spec = "npy:x,y", .arrivals = "poisson", .duration_s = 10, .seed = 1};
    strcpy(measurement.arrivals, "poisson");
    strcpy(measurement.traffic, "uniform");
    measurement.outcome =
        (struct load_outcome){.cpu_s = 1, .end_s = 10, .warmup_s = 2, .warmup_requests = 200};
    return 0;
}

static int tear_down(void **state)
{
    measurement_close(&measurement);
    pipeline_free(pipeline);
    return 0;
}

/* 1000 requests in 10 s, the i-th answered after i + 1 us .. 1 ms * (i + 1) / 1000, a fifth by exit 1; 10 us
 * of it outside of the broker. */
static void fill(void)
{
    for (int i = 0; i < 1000; i++) {
        uint64_t at = (uint64_t)i * 10 * NS_PER_MS, latency = (uint64_t)(i + 1) * NS_PER_US * 10;
        struct answer a = {.exit = i % 5 ? -1 : 1, .attempts = 1, .label = i % 2};
        a.total_ns = latency;
        a.trace.n = 1;
        a.trace.stage[0] = (struct stage_time){.batch = 1, .compute_ns = latency};
        tally_sent(tally, at, 50 * NS_PER_US, i >= 900);
        tally_answer(tally, at + latency, &a, latency, 1);
    }
    tally->sending_seconds = 9.99;
}

static double number(const json_t *root, const char *group, const char *name)
{
    const json_t *value = json_object_get(group ? json_object_get(root, group) : root, name);
    if (!json_is_number(value))
        fail_msg("%s.%s is no number", group ? group : "", name);
    return json_number_value(value);
}

static bool about(double x, double expected)
{
    return fabs(x - expected) <= 0.01 * fabs(expected);
}

static void test_document_of_known_latencies(void **state)
{
    json_t *root, *interval, *exits, *upper, *count;
    int64_t sum = 0;

    fill();
    measurement_judge(&measurement);
    assert_int_equal(measurement.n_doubts, 0);
    root = measurement_document(&measurement);
    assert_true(json_is_true(json_object_get(root, "valid")));
    assert_true(json_is_null(json_object_get(root, "doubt")));
    assert_true(about(number(root, "latency_ms", "mean"), 5.005));
    assert_true(about(number(root, "latency_ms", "p50"), 5));
    assert_true(about(number(root, "latency_ms", "p95"), 9.5));
    assert_true(about(number(root, "latency_ms", "p99"), 9.9));
    assert_true(about(number(root, "latency_ms", "max"), 10));
    interval = json_object_get(json_object_get(root, "latency_ms"), "interval");
    /* Ranks 469 and 532 of 1000 samples hold the median with 95% certainty. */
    assert_true(about(json_number_value(json_array_get(json_object_get(interval, "p50"), 0)), 4.69));
    assert_true(about(json_number_value(json_array_get(json_object_get(interval, "p50"), 1)), 5.32));
    assert_true(json_is_null(json_array_get(json_object_get(interval, "p9999"), 1)));
    assert_true(number(root, NULL, "offered_rps") == 100);
    assert_true(about(number(root, NULL, "achieved_rps"), 100));
    assert_true(number(root, NULL, "accuracy") == 0.5);
    assert_true(number(root, "load", "repeats") == 100);
    assert_true(about(number(root, "parts_ms", "compute"), 5.005));
    assert_true(number(root, NULL, "residual_share") == 0);
    assert_true(about(number(json_object_get(root, "generator"), "lateness_us", "p99"), 50));
    assert_true(number(root, "generator", "cpu_share") == 0.1);
    exits = json_object_get(root, "exits");
    assert_int_equal(json_array_size(exits), 3);
    assert_true(number(json_array_get(exits, 0), NULL, "answered") == 0);
    assert_true(number(json_array_get(exits, 1), NULL, "share") == 0.2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(exits, 2), "name")), "network");
    assert_true(
        json_is_null(json_object_get(json_object_get(json_array_get(exits, 0), "latency_ms"), "p50")));
    upper = json_object_get(json_object_get(root, "histogram"), "upper_us");
    count = json_object_get(json_object_get(root, "histogram"), "count");
    assert_int_equal(json_array_size(upper), json_array_size(count));
    for (size_t i = 0; i < json_array_size(count); i++)
        sum += json_integer_value(json_array_get(count, i));
    assert_int_equal(sum, 1000);
    assert_int_equal(json_array_size(json_object_get(root, "timeline")), 11);
    json_decref(root);
}

static void expect_doubt(const char *says)
{
    measurement_judge(&measurement);
    for (int i = 0; i < measurement.n_doubts; i++)
        if (strstr(measurement.doubt[i], says))
            return;
    fail_msg("no doubt says '%s'", says);
}

/* The reload is the reason, not what the file said at the beginning. */
static void test_a_reload_spoils_a_run(void **state)
{
    fill();
    snprintf(configuration.other_model, sizeof configuration.other_model, "serves another model");
    measurement.reloaded = true;
    expect_doubt("was reloaded meanwhile");
    assert_int_equal(measurement.n_doubts, 1);
    measurement.reloaded = false;
    expect_doubt("serves another model");
    configuration.other_model[0] = '\0';
}

static void test_a_late_sender_spoils_a_run(void **state)
{
    fill();
    for (int i = 0; i < 30; i++)
        histogram_record(&tally->lateness, 3 * NS_PER_MS); /* p99 latency is 9.9 ms */
    expect_doubt("the sender was late: ");
    assert_int_equal(measurement.n_doubts, 1);
}

/* 10 s, in each of which 100 are answered after 50 us, 100 after 150 us, and 200 refused after 1 us .. 2 ms.
 */
static void test_what_is_in_time_and_what_is_refused(void **state)
{
    json_t *root;

    tally->deadline_ns = 100 * NS_PER_US;
    for (int i = 0; i < 2000; i++) {
        struct answer a = {.exit = -1, .attempts = 1};
        uint64_t at = (uint64_t)(i + 1) * 5 * NS_PER_MS;
        tally_sent(tally, at, 0, false);
        tally_answer(tally, at, &a, (i % 2 ? 50 : 150) * NS_PER_US, -1);
        tally_sent(tally, at, 0, false);
        tally_refusal(tally, at, (uint64_t)(i + 1) * NS_PER_US);
    }
    root = measurement_document(&measurement);
    assert_true(about(number(root, NULL, "achieved_rps"), 200));
    assert_true(about(number(root, NULL, "goodput_rps"), 100));
    assert_true(about(number(root, NULL, "errors"), 2000));
    assert_true(about(number(root, NULL, "refused"), 2000));
    assert_true(about(number(root, "errors_by_kind", "overloaded"), 2000));
    assert_true(about(number(root, "refusal_ms", "p50"), 1));
    assert_true(about(number(root, "refusal_ms", "p99"), 1.98));
    json_decref(root);
}

static void test_doubts(void **state)
{
    struct answer a = {.exit = -1, .total_ns = 100 * NS_PER_MS};

    expect_doubt("no request was answered");
    fill();
    strcpy(measurement.outcome.cut_short, "interrupted after 3.0 s");
    expect_doubt("interrupted after 3.0 s");
    tally->garbage = 2;
    expect_doubt("2 messages");
    measurement.outcome.drifting = true;
    expect_doubt("latency still changed");
    tally_error(tally, 0, FL_OK);
    expect_doubt("1 requests were lost");
    for (int i = 0; i < 30; i++)
        tally_error(tally, 0, FL_OVERLOADED);
    expect_doubt("3.1% of the requests failed");
    for (int i = 0; i < 10000; i++) /* 100 ms each that nothing explains */
        tally_answer(tally, 0, &a, 100 * NS_PER_MS, -1);
    expect_doubt("unexplained");
}

/* Throughput is that of the whole time in which requests were sent, not of the server's lifetime. Lost ones
 * were waited for long after; that is no time of the load's. */
static void test_a_dead_server_does_not_keep_up(void **state)
{
    fill(); /* 100 a second for 10 s */
    for (int i = 0; i < 3000; i++)
        tally_sent(tally, (uint64_t)(1000 + i) * 10 * NS_PER_MS, 0, false);
    tally->sending_seconds = 39.99;
    measurement.options.duration_s = 40;
    for (int i = 0; i < 3000; i++)
        tally_error(tally, 45 * NS_PER_S, FL_OK);
    assert_true(about(measurement_offered(&measurement), 100));
    assert_true(about(measurement_achieved(&measurement), 25));
    tally_error(tally, 50 * NS_PER_S, FL_DEADLINE);
    assert_true(about(measurement_achieved(&measurement), 20));
}

static void test_nothing_is_offered_in_a_closed_loop(void **state)
{
    json_t *root;

    fill();
    measurement.options.arrivals = NULL;
    measurement.options.closed = 1;
    strcpy(measurement.arrivals, "closed");
    root = measurement_document(&measurement);
    assert_true(json_is_null(json_object_get(root, "offered_rps")));
    assert_true(about(number(root, NULL, "achieved_rps"), 100));
    json_decref(root);
}

/* A rate takes time: a trace whose requests all come at once has none. */
static void test_a_trace_of_one_moment_has_no_rate(void **state)
{
    for (int i = 0; i < 3; i++)
        tally_sent(tally, 0, 0, false);
    strcpy(measurement.arrivals, "trace");
    measurement.options.duration_s = 0;
    assert_true(isnan(measurement_offered(&measurement)));
}

static void test_bursts_of_errors_are_events(void **state)
{
    json_t *root, *events;

    fill();
    for (int i = 0; i < 40; i++)
        tally_error(tally, (3 + (uint64_t)i / 20) * NS_PER_S, FL_OVERLOADED);
    tally_error(tally, 8 * NS_PER_S, FL_OVERLOADED);
    root = measurement_document(&measurement);
    events = json_object_get(root, "events");
    assert_int_equal(json_array_size(events), 2);
    assert_true(number(json_array_get(events, 0), NULL, "t") == 3);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, 0), "text")),
                        "40 errors within 2 s");
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, 1), "text")),
                        "1 error within 1 s");
    assert_true(number(root, "errors_by_kind", "overloaded") == 41);
    json_decref(root);
}

static void test_a_long_time_line_is_folded(void **state)
{
    struct answer a = {.exit = -1};
    int64_t answered = 0;

    for (uint64_t s = 0; s < 1500; s++) {
        tally_sent(tally, s * NS_PER_S, 0, false);
        tally_answer(tally, s * NS_PER_S, &a, s * NS_PER_US, -1);
    }
    assert_int_equal(tally->slot_ns, 4 * NS_PER_S);
    assert_int_equal(tally->n_slots, 375);
    for (int i = 0; i < tally->n_slots; i++) {
        assert_int_equal(tally->slot[i].sent, 4);
        assert_int_equal(tally->slot[i].latency.max_ns, (uint64_t)(4 * i + 3) * NS_PER_US);
        answered += tally->slot[i].answered;
    }
    assert_int_equal(answered, 1500);
}

static void test_merged_tallies(void **state)
{
    double once[PARTS], twice[PARTS];
    struct tally *other;

    fill();
    assert_int_equal(tally_new(&other), FL_OK);
    tally_merge(other, tally);
    tally_merge(other, tally);
    assert_int_equal(other->answered, 2000);
    assert_int_equal(other->exit[1].answered, 400);
    assert_int_equal(other->latency.count, 2000);
    attribution_mean(tally->attribution, once);
    attribution_mean(other->attribution, twice);
    assert_memory_equal(once, twice, sizeof once);
    assert_true(other->seconds == 2 * tally->seconds);
    tally_free(other);
}

/* The text of a file. */
static char *text_of(const char *path)
{
    static char text[1 << 20];
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    return text;
}

/* What a long measurement would not be able to leave behind is known before it begins. */
static void check_files(const char *path)
{
    char same[80], next[80];
    const char *const good[] = {path, NULL, "/dev/null", "/dev/null"};
    struct error e;

    snprintf(same, sizeof same, "%s/../%s/out.json", folder, strrchr(folder, '/') + 1);
    snprintf(next, sizeof next, "%s.new", path);
    assert_int_equal(output_check(good, 4, &e), FL_OK);
    assert_int_equal(output_check((const char *const[]){NULL, path, "/nowhere/x.html"}, 3, &e), FL_IO);
    assert_non_null(strstr(e.text, "/nowhere/x.html: No such file"));
    assert_int_equal(output_check((const char *const[]){path, same}, 2, &e), FL_USAGE);
    assert_int_equal(output_check((const char *const[]){folder}, 1, &e), FL_IO);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(next, F_OK), -1);
}

/* /dev/stdout is such a link: it must lead to the same place afterwards. */
static void check_link(const json_t *root, const char *path)
{
    char link[80], to[80] = {0};

    snprintf(link, sizeof link, "%s/link", folder);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(output_json(root, 12, link, NULL), FL_OK);
    assert_int_equal(readlink(link, to, sizeof to - 1), (int)strlen(path));
    assert_int_equal(access(path, R_OK), 0);
    unlink(link);
    unlink(path);
}

static void test_files(void **state)
{
    char path[64], next[80];
    json_t *root, *back;
    struct error e;

    fill();
    root = measurement_document(&measurement);
    snprintf(path, sizeof path, "%s/out.json", folder);
    snprintf(next, sizeof next, "%s.new", path);
    assert_int_equal(output_json(root, 12, path, &e), FL_OK);
    back = json_load_file(path, 0, NULL);
    assert_true(number(back, NULL, "answered") == 1000);
    json_decref(back);
    assert_int_equal(access(next, F_OK), -1);
    assert_int_equal(bench_csv_write(root, path, &e), FL_OK);
    assert_string_equal(
        text_of(path),
        "Request Rate,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server "
        "Compute Input,Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 "
        "latency,p95 latency,p99 latency\n"
        "100,100,0,0,0,0,5005,0,0,4997,9011,9470,9929\n");
    unlink(path);
    assert_int_equal(output_json(root, 12, "/dev/full", &e), FL_IO);
    assert_non_null(strstr(e.text, "/dev/full: No space left"));
    assert_int_equal(bench_csv_write(root, "/dev/full", &e), FL_IO);
    assert_int_equal(output_json(root, 12, "/nowhere/out.json", &e), FL_IO);
    check_files(path);
    check_link(root, path);
    json_decref(root);
}

/* Latencies fall from 100 to 10 ms over the first 2 s and stay there: warm no sooner. */
static void test_warm_when_latency_stays(void **state)
{
    struct warmup *w = calloc(1, sizeof *w);
    int64_t i = 0;
    bool warm = false;

    assert_non_null(w);
    for (; i < 5000 && !warm; i++) { /* 200 a second */
        double ms = fmax(10, 100 - 45.0 * (double)i / 200) + (double)(i % 7) / 10;
        if (i == 300)
            assert_true(warmup_drifts(w));
        warm = warmup_note(w, (uint64_t)i * 5 * NS_PER_MS, (uint64_t)(ms * NS_PER_MS));
    }
    assert_true(warm);
    assert_in_range(i, 400, 400 + 5 * 33);
    assert_false(warmup_drifts(w));
    free(w);
}

static void test_a_queue_that_grows_is_never_warm(void **state)
{
    struct warmup *w = calloc(1, sizeof *w);

    assert_non_null(w);
    for (uint64_t i = 0; i < 5000; i++) /* doubles within each 500 */
        assert_false(warmup_note(w, i * 10 * NS_PER_MS, (uint64_t)(pow(2, (double)i / 500) * NS_PER_MS)));
    assert_true(warmup_drifts(w));
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_document_of_known_latencies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_reload_spoils_a_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_late_sender_spoils_a_run, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_in_time_and_what_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_doubts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_dead_server_does_not_keep_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nothing_is_offered_in_a_closed_loop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_trace_of_one_moment_has_no_rate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bursts_of_errors_are_events, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_long_time_line_is_folded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_merged_tallies, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files, set_up, tear_down),
        cmocka_unit_test(test_warm_when_latency_stays),
        cmocka_unit_test(test_a_queue_that_grows_is_never_warm),
    };
    int failed;

    if (!mkdtemp(folder))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(folder);
    return failed;
}
