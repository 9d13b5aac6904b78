/* test_rollout.c - files are tried beside what serves, taken or left, while every request of a steady load is
 * answered */
#include "steady_client.h"
#include "tool_world.h"

#include <limits.h>

#define RECORDS 40

static const char two_stages[] = "exits: none\n"
                                 "stages:\n"
                                 "  - last: block1.out\n"
                                 "  - {}\n"
                                 "cache: {kind: none}\n"
                                 "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000}\n";

/* Puts a network into the harness's folder; `other`: it finds class 3 in everything. */
static void put_model(struct harness *h, bool other)
{
    static char bytes[1 << 20];
    char path[HARNESS_PATH];
    FILE *in = fopen("tests/data/tiny.onnx", "rb"), *out;
    const float sure = 1000;
    size_t n;
    char *bias;

    assert_true(in && (n = fread(bytes, 1, sizeof bytes, in)) > 0);
    fclose(in);
    bias = memmem(bytes, n, "head.b\x4a\x28", 8);
    assert_non_null(bias);
    if (other)
        memcpy(bias + 8 + 3 * sizeof sure, &sure, sizeof sure);
    snprintf(path, sizeof path, "%.400s/net.onnx", harness_dir(h));
    assert_true((out = fopen(path, "wb")) && fwrite(bytes, 1, n, out) == n);
    assert_int_equal(fclose(out), 0);
}

/* Inputs without labels. */
static void put_data(struct harness *h)
{
    static float data[STEADY_NUMBERS];
    char path[HARNESS_PATH], head[128];
    FILE *f;
    int n;

    snprintf(path, sizeof path, "%.400s/d.npy", harness_dir(h));
    assert_non_null(f = fopen(path, "wb"));
    n = snprintf(head, sizeof head, "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, 3, 16, 16), }",
                 RECORDS);
    fprintf(f, "\x93NUMPY\x01%c%c%c%-117s\n", 0, 118, 0, head);
    assert_true(n < 117);
    for (int i = 0; i < RECORDS; i++) {
        harness_random(data, STEADY_NUMBERS, 100 + (uint64_t)i);
        assert_int_equal(fwrite(data, sizeof *data, STEADY_NUMBERS, f), STEADY_NUMBERS);
    }
    assert_int_equal(fclose(f), 0);
}

static struct harness *world_of(const char *yaml)
{
    struct harness *h = harness_new("net.onnx", yaml);
    put_model(h, false);
    put_data(h);
    tool_ok(h, "up", "");
    return h;
}

static struct harness *world_up(void)
{
    return world_of(two_stages);
}

static char *with_data(struct harness *h, const char *more, char arguments[HARNESS_PATH + 128])
{
    snprintf(arguments, HARNESS_PATH + 128, "--data npy:%.400s/d.npy --slower 10000 --steps none %s",
             harness_dir(h), more);
    return arguments;
}

static void end_world(struct harness *h)
{
    assert_false(file_exists(h, "rollout/run/supervisor.pid"));
    assert_false(file_exists(h, "rollout/sock/requests"));
    tool_ok(h, "down", "");
    finish(h);
}

static int64_t number(json_t *root, const char *side, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(root, side), key));
}

static void test_what_is_no_worse_is_taken(void **state)
{
    struct harness *h = world_up();
    char arguments[HARNESS_PATH + 128];
    static struct steady load; /* its thread outlives a test that fails */
    json_t *root;
    pid_t before = pid_of(h, "stage1.0");

    assert_int_equal(tool(h, "rollout", "--steps none"), 2);
    assert_said("--steps none takes --data");
    assert_int_equal(tool(h, "rollout", "--steps 5,1"), 2);
    assert_said("growing percentages");
    assert_int_equal(tool(h, "rollout", with_data(h, "", arguments)), 2);
    assert_said("nothing to do");
    assert_int_equal(tool(h, "rollout", with_data(h, "--set broker.retries=3", arguments)), 2);
    assert_said("write it into");
    steady_begin(&load, h, 40);
    edit(h, "block1.out", "block2.out");
    tool_ok(h, "rollout", with_data(h, "--dry-run", arguments));
    assert_said("`freezeline apply` takes it");
    assert_int_equal(pid_of(h, "stage1.0"), before);
    root = tool_json(h, "rollout", with_data(h, "", arguments));
    assert_true(json_is_true(json_object_get(root, "applied")));
    assert_int_equal(json_integer_value(json_object_get(root, "pairs")), RECORDS);
    assert_int_equal(json_integer_value(json_object_get(root, "agreed")), RECORDS);
    assert_int_equal(number(root, "next", "answered"), RECORDS);
    assert_int_equal(number(root, "now", "errors"), 0);
    json_decref(root);
    assert_int_not_equal(pid_of(h, "stage1.0"), before);
    tool_ok(h, "apply", "");
    assert_said("nothing to do");
    steady_end(&load);
    end_world(h);
}

/* What the file says of endpoints holds for what serves alone. */
static void test_its_endpoints_are_its_own(void **state)
{
    struct harness *h = world_of(
        "exits: none\n"
        "stages:\n"
        "  - {last: block1.out, replicas: [{endpoint: ipc://sock/first, cache: 1}]}\n"
        "  - {replicas: [{endpoint: ipc://sock/a}, {endpoint: ipc://sock/b}]}\n"
        "cache: {endpoints: [ipc://sock/c0, ipc://sock/c1]}\n"
        "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000,\n"
        "         replicas: [{requests: ipc://sock/q, control: ipc://sock/k, results: ipc://sock/r}, {}]}\n");
    char arguments[HARNESS_PATH + 128];
    static struct steady load; /* its thread outlives a test that fails */

    steady_begin(&load, h, 40);
    edit(h, "block1.out", "block2.out");
    tool_ok(h, "rollout", with_data(h, "--requests 100", arguments));
    assert_said("it is no worse, and serves now");
    steady_end(&load);
    end_world(h);
}

static void test_what_answers_otherwise_is_left(void **state)
{
    struct harness *h = world_up();
    char arguments[HARNESS_PATH + 128];
    static struct steady load; /* its thread outlives a test that fails */
    pid_t before = pid_of(h, "stage1.0");

    steady_begin(&load, h, 40);
    put_model(h, true);
    if (tool(h, "rollout", with_data(h, "", arguments)) != 1)
        fail_msg("%s", output);
    assert_said("backed out: ");
    assert_said("of the answers are others");
    assert_int_equal(pid_of(h, "stage1.0"), before);
    steady_end(&load);
    end_world(h);
}

/* The same answers, many times slower: pairs of answers decide, no clock. */
static void test_what_takes_longer_is_left(void **state)
{
    struct harness *h = world_up();
    char arguments[HARNESS_PATH + 128];
    static struct steady load; /* its thread outlives a test that fails */
    pid_t before = pid_of(h, "stage1.0");

    edit(h, "kernels: openblas", "kernels: reference");
    steady_begin(&load, h, 40);
    snprintf(arguments, sizeof arguments, "--data npy:%.400s/d.npy --steps none", harness_dir(h));
    if (tool(h, "rollout", arguments) != 1)
        fail_msg("%s", output);
    assert_said("backed out: ");
    assert_said("of the answers took over 1.25 times as long");
    assert_int_equal(pid_of(h, "stage1.0"), before);
    steady_end(&load);
    end_world(h);
}

static void test_other_classes_are_refused_before_anything_starts(void **state)
{
    char model[PATH_MAX], text[PATH_MAX + 64], arguments[HARNESS_PATH + 128];
    struct harness *h = world_up();
    static struct steady load; /* its thread outlives a test that fails */

    steady_begin(&load, h, 40);
    assert_non_null(realpath("tests/conformance/cases/load_scores_4d/model.onnx", model));
    snprintf(text, sizeof text, "%s\nname: net\ninput: {shape: [1, 3, 16, 16]}", model);
    edit(h, "net.onnx", text);
    edit(h, "stages:\n  - last: block1.out\n  - {}\n", "stages: 2\n");
    if (tool(h, "rollout", with_data(h, "", arguments)) != 1)
        fail_msg("%s", output);
    assert_said("has 5 classes, and what serves has others");
    assert_false(file_exists(h, "rollout"));
    steady_end(&load);
    end_world(h);
}

static void test_who_does_not_come_up_is_left(void **state)
{
    struct harness *h = world_up();
    char arguments[HARNESS_PATH + 128];
    static struct steady load; /* its thread outlives a test that fails */

    steady_begin(&load, h, 40);
    edit(h, "  - {}", "  - {replicas: [{cpus: [4000]}]}");
    assert_int_equal(tool(h, "rollout", with_data(h, "", arguments)), 2);
    assert_said("cpu 4000");
    assert_false(file_exists(h, "rollout"));
    steady_end(&load);
    end_world(h);
}

static bool is_beside(void *h)
{
    return file_exists(h, "rollout/run/ready");
}

/* A rollout under way, with more requests than are ever asked, or with clients' requests in one step that
 * does not end; returns its number. */
static int begin_rollout(struct harness *h, const char *step)
{
    static char path[HARNESS_PATH], data[HARNESS_PATH];
    const char *asked[] = {
        path,      "rollout",  "-c",    harness_config(h), "--data", data,         "--requests",
        "1000000", "--slower", "10000", "--tolerance",     "0",      "--deadline", "500",
        "--steps", "none",     NULL};
    const char *live[] = {path,
                          "rollout",
                          "-c",
                          harness_config(h),
                          "--steps",
                          step,
                          "--step-time",
                          "600",
                          "--slower",
                          "10000",
                          "--tolerance",
                          "100",
                          "--step-requests",
                          "1000000000",
                          "--lease",
                          "5",
                          NULL};
    int process;

    snprintf(path, sizeof path, "%s/freezeline", tool_folder());
    snprintf(data, sizeof data, "npy:%.400s/d.npy", harness_dir(h));
    edit(h, "block1.out", "block2.out");
    process = harness_spawn_path(h, path, step ? live : asked);
    harness_until(is_beside, h, 60, "a pipeline beside");
    return process;
}

static json_t *relay_of(struct harness *h)
{
    json_t *root, *relay;
    tool(h, "status", "--json 2>/dev/null");
    root = json_loads(output, 0, NULL);
    relay = json_incref(json_array_get(json_object_get(root, "relays"), 0));
    json_decref(root);
    return relay;
}

static void test_live_requests_go_over_by_steps(void **state)
{
    struct harness *h = world_up();
    static struct steady load; /* its thread outlives a test that fails */
    json_t *root, *live;

    /* A host that is busy may refuse one of them, which counts as the new pipeline's failure: it is tolerated
     * here. */
    steady_begin(&load, h, 50);
    edit(h, "block1.out", "block2.out");
    root = tool_json(
        h, "rollout",
        "--steps 10,50,100 --step-time 60 --step-requests 20 --mirror 40 --slower 10000 --tolerance 20");
    assert_true(json_is_true(json_object_get(root, "applied")));
    live = json_object_get(root, "live");
    assert_int_equal(json_integer_value(json_object_get(live, "steps")), 3);
    assert_true(json_integer_value(json_object_get(live, "handed_on")) >= 60);
    assert_true(json_integer_value(json_object_get(live, "compared")) >= 40);
    json_decref(root);
    tool_ok(h, "apply", "");
    assert_said("nothing to do");
    steady_end(&load);
    assert_null(relay_of(h));
    end_world(h);
}

static void test_live_requests_answered_otherwise_end_it(void **state)
{
    struct harness *h = world_up();
    static struct steady load; /* its thread outlives a test that fails */
    pid_t before = pid_of(h, "stage1.0");

    steady_begin(&load, h, 100);
    put_model(h, true);
    if (tool(h, "rollout", "--steps 0.0001,50 --step-time 60 --mirror 99 --slower 10000") != 1)
        fail_msg("%s", output);
    assert_said("of the answers are others");
    assert_said("backed out: ");
    assert_int_equal(pid_of(h, "stage1.0"), before);
    steady_end(&load);
    end_world(h);
}

static void test_without_live_requests_nothing_is_taken(void **state)
{
    struct harness *h = world_up();

    edit(h, "block1.out", "block2.out");
    assert_int_equal(tool(h, "rollout", "--steps 10 --step-time 1"), 1);
    assert_said("clients have sent no requests that could be compared");
    assert_said("the pipeline serves what it did");
    end_world(h);
}

static bool handed_on(void *h)
{
    static int64_t before;
    json_t *relay = relay_of(h);
    int64_t answered = json_integer_value(json_object_get(relay, "answered"));
    bool more = relay && answered >= before + 30;
    before = more ? answered : before > answered ? 0 : before;
    json_decref(relay);
    return more;
}

static bool nothing_handed_on(void *h)
{
    json_t *relay = relay_of(h);
    bool none = !relay;
    json_decref(relay);
    return none;
}

static bool beside_ended(void *h)
{
    return !file_exists(h, "rollout/run/supervisor.pid");
}

/* Whatever is killed while the new pipeline answers most requests, none fails. */
static void test_kills_during_a_share_fail_no_request(void **state)
{
    static const char *const victims[] = {"../rollout/run/stage1.0", "../rollout/run/broker",
                                          "../rollout/run/stage0.0", "broker"};
    struct harness *h = world_up();
    static struct steady load; /* its thread outlives a test that fails */
    struct process victim;
    int process;

    steady_begin(&load, h, 100);
    process = begin_rollout(h, "90");
    for (size_t i = 0; i < sizeof victims / sizeof *victims; i++) {
        harness_until(handed_on, h, 60, "requests that the new pipeline answers");
        victim = process_of(h, victims[i]);
        assert_true(process_signal(&victim, SIGKILL));
    }
    harness_until(handed_on, h, 60, "requests that the new pipeline answers after all kills");
    harness_signal(h, process, SIGKILL);
    assert_int_equal(harness_wait(h, process), -SIGKILL);
    harness_until(nothing_handed_on, h, 60, "the end of the share");
    harness_until(beside_ended, h, 60, "the end of the pipeline beside, whose lease nobody renews");
    steady_end(&load);
    end_world(h);
}

static void test_workers_that_fail_are_left(void **state)
{
    struct harness *h = world_up();
    struct process worker;
    static struct steady load; /* its thread outlives a test that fails */
    pid_t before = pid_of(h, "stage1.0");
    int process;

    steady_begin(&load, h, 40);
    process = begin_rollout(h, NULL);
    worker = process_of(h, "../rollout/run/stage1.0");
    assert_true(process_signal(&worker, SIGSTOP));
    assert_int_equal(harness_wait(h, process), 1);
    assert_int_equal(harness_count(h, process, "backed out: "), 1);
    assert_int_equal(harness_count(h, process, "more of the requests fail"), 1);
    assert_false(process_alive(&worker));
    assert_int_equal(pid_of(h, "stage1.0"), before);
    steady_end(&load);
    end_world(h);
}

static void test_an_interrupted_one_is_left(void **state)
{
    struct harness *h = world_up();
    static struct steady load; /* its thread outlives a test that fails */
    pid_t before = pid_of(h, "stage1.0");
    int process;

    steady_begin(&load, h, 40);
    process = begin_rollout(h, NULL);
    harness_signal(h, process, SIGINT);
    assert_int_equal(harness_wait(h, process), 1);
    assert_int_equal(harness_count(h, process, "called off: the pipeline serves what it did"), 1);
    assert_int_equal(pid_of(h, "stage1.0"), before);
    steady_end(&load);
    end_world(h);
}

static bool beside_serves(void *h)
{
    char line[HARNESS_PATH + 128];
    snprintf(line, sizeof line, "%s/freezeline status -c %s/rollout/pipeline.yaml 2>&1", tool_folder(),
             harness_pipeline(h)->state);
    return !shell(line);
}

/* What a killed rollout leaves is ended by the next one. */
static void test_a_killed_one_leaves_nothing_to_the_next(void **state)
{
    struct harness *h = world_up();
    char arguments[HARNESS_PATH + 128];
    struct process supervisor;
    static struct steady load; /* its thread outlives a test that fails */
    int process;

    steady_begin(&load, h, 40);
    process = begin_rollout(h, NULL);
    assert_int_equal(tool(h, "rollout", with_data(h, "", arguments)), 1); /* two at once */
    harness_signal(h, process, SIGKILL);
    assert_int_equal(harness_wait(h, process), -SIGKILL);
    assert_true(beside_serves(h));
    supervisor = process_of(h, "../rollout/run/supervisor");
    tool_ok(h, "rollout", with_data(h, "", arguments));
    assert_false(process_alive(&supervisor));
    steady_end(&load);
    end_world(h);
}

static void test_a_killed_one_ends_with_what_serves(void **state)
{
    struct harness *h = world_up();
    struct process supervisor;
    int process;

    process = begin_rollout(h, NULL);
    harness_signal(h, process, SIGKILL);
    assert_int_equal(harness_wait(h, process), -SIGKILL);
    supervisor = process_of(h, "../rollout/run/supervisor");
    tool_ok(h, "down", "");
    assert_false(process_alive(&supervisor));
    harness_free(h);
}

static const char cached[] =
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits:\n"
    "  - {name: a, after: /blocks.1/Relu_1}\n"
    "stages:\n"
    "  - last: /blocks.1/Relu_1\n"
    "  - {}\n"
    "cache: {kind: kmeans, grids: [1], nodes: 32, train_epochs: 1, threshold: risk,\n"
    "        max_accuracy_loss: 40}\n"
    "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000}\n";

static void build(struct harness *h, const char *train)
{
    char arguments[3 * HARNESS_PATH];
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%.400s/d.bin%s --calibrate cifar10:%.400s/d.bin#200-399", harness_dir(h), train,
             harness_dir(h));
    tool_ok(h, "build", arguments);
}

/* Another build alone is tried and taken, too. */
static void test_other_caches_are_tried(void **state)
{
    char model[PATH_MAX], line[900];
    struct harness *h = harness_new(realpath("configs/demo/demo.onnx", model), cached);
    json_t *root;
    pid_t before;

    snprintf(line, sizeof line, "%s/freezeline generate --count 460 --output %.400s/d.bin", tool_folder(),
             harness_dir(h));
    assert_int_equal(shell(line), 0);
    build(h, "#0-199");
    tool_ok(h, "up", "");
    before = pid_of(h, "cache0");
    build(h, "#0-149");
    snprintf(line, sizeof line,
             "--data cifar10:%.400s/d.bin#400-459 --slower 10000 --tolerance 100 --steps none",
             harness_dir(h));
    root = tool_json(h, "rollout", line);
    assert_true(json_is_true(json_object_get(root, "applied")));
    assert_int_equal(number(root, "next", "answered"), 60);
    assert_true(number(root, "next", "early") > 0);
    assert_true(json_is_real(json_object_get(json_object_get(root, "next"), "accuracy")));
    json_decref(root);
    assert_int_equal(pid_of(h, "cache0"), before);
    tool_ok(h, "apply", "");
    assert_said("nothing to do");
    assert_false(file_exists(h, "rollout/caches/manifest.json"));
    end_world(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_no_worse_is_taken),
        cmocka_unit_test(test_its_endpoints_are_its_own),
        cmocka_unit_test(test_what_answers_otherwise_is_left),
        cmocka_unit_test(test_what_takes_longer_is_left),
        cmocka_unit_test(test_other_classes_are_refused_before_anything_starts),
        cmocka_unit_test(test_who_does_not_come_up_is_left),
        cmocka_unit_test(test_workers_that_fail_are_left),
        cmocka_unit_test(test_an_interrupted_one_is_left),
        cmocka_unit_test(test_a_killed_one_leaves_nothing_to_the_next),
        cmocka_unit_test(test_a_killed_one_ends_with_what_serves),
        cmocka_unit_test(test_other_caches_are_tried),
        cmocka_unit_test(test_live_requests_go_over_by_steps),
        cmocka_unit_test(test_live_requests_answered_otherwise_end_it),
        cmocka_unit_test(test_without_live_requests_nothing_is_taken),
        cmocka_unit_test(test_kills_during_a_share_fail_no_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
