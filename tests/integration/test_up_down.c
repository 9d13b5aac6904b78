/* test_up_down.c - the tool itself: up, status, infer, bench, logs, down; deaths and left-overs */
#include "tool_world.h"

#include <zmq.h>

#include "deploy/data/npy.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {last: block2.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n";

static void write_input(struct harness *h)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {4, 3, 16, 16}};
    char path[HARNESS_PATH + 64];
    struct error e;

    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] = (float)((i * 37 % 101) - 50) / 50;
    snprintf(path, sizeof path, "%s/x4.npy", harness_dir(h));
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    t.dim[0] = 1;
    snprintf(path, sizeof path, "%s/x.npy", harness_dir(h));
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
}

static void check_infer(struct harness *h)
{
    char arguments[HARNESS_PATH + 64];
    json_t *root;

    snprintf(arguments, sizeof arguments, "--input %s/x.npy", harness_dir(h));
    tool_ok(h, "infer", arguments);
    assert_non_null(strstr(output, "whole network"));
    assert_non_null(strstr(output, "stage 2 compute"));
    root = tool_json(h, "infer", arguments);
    assert_string_equal(json_string_value(json_object_get(root, "exit")), "network");
    assert_int_equal(json_array_size(json_object_get(root, "stages")), 3);
    assert_int_equal(json_array_size(json_object_get(root, "scores")), 10);
    json_decref(root);
}

static void check_bench(struct harness *h)
{
    char arguments[HARNESS_PATH + 64];
    json_t *root;

    snprintf(arguments, sizeof arguments, "--data npy:%s/x4.npy --rate 200 --requests 100", harness_dir(h));
    root = tool_json(h, "bench", arguments);
    assert_int_equal(json_integer_value(json_object_get(root, "answered")), 100);
    assert_int_equal(json_integer_value(json_object_get(root, "errors")), 0);
    assert_true(json_number_value(json_object_get(json_object_get(root, "latency_ms"), "p50")) > 0);
    json_decref(root);
}

static void test_up_down(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    json_t *root;

    write_input(h);
    assert_int_equal(tool(h, "status", ""), 1);
    assert_non_null(strstr(output, "does not answer"));
    tool_ok(h, "up", "");
    root = tool_json(h, "status", "");
    assert_true(json_is_true(json_object_get(root, "ready")));
    assert_int_equal(json_array_size(json_object_get(root, "processes")), 4);
    assert_string_equal(json_string_value(json_object_get(root, "endpoint")),
                        harness_pipeline(h)->broker.requests);
    json_decref(root);
    tool_ok(h, "status", "");
    assert_said("ready; requests go to ipc://");
    check_infer(h);
    check_bench(h);
    tool_ok(h, "top", "--once");
    assert_non_null(strstr(output, "stage1.0"));
    tool_ok(h, "logs", "stage1.0");
    assert_non_null(strstr(output, "ready"));
    assert_int_equal(tool(h, "logs", "stage7"), 2);
    assert_int_equal(tool(h, "up", ""), 1);
    assert_non_null(strstr(output, "up already"));
    tool_ok(h, "down", "");
    assert_false(file_exists(h, "run/supervisor.pid"));
    assert_false(file_exists(h, "run/broker.pid"));
    assert_false(file_exists(h, "sock/requests"));
    tool_ok(h, "down", "");
    assert_non_null(strstr(output, "nothing was running"));
    finish(h);
}

static void test_killed_worker_comes_back(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct replaced r = {h, "stage1.0", 0};

    write_input(h);
    tool_ok(h, "up", "");
    r.old = pid_of(h, "stage1.0");
    assert_true(r.old > 1);
    assert_int_equal(kill(r.old, SIGKILL), 0);
    harness_until(is_replaced, &r, 60, "stage1.0 started again");
    check_infer(h);
    tool_ok(h, "down", "");
    finish(h);
}

/* A supervisor that was killed leaves its children; an `up` with other settings ends them and starts afresh.
 */
static void test_left_overs(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process supervisor;
    char path[HARNESS_PATH + 64];
    pid_t old;

    write_input(h);
    tool_ok(h, "up", "");
    old = pid_of(h, "broker");
    if (!old)
        old = pid_of(h, "stage0.0");
    snprintf(path, sizeof path, "%s/run/supervisor.pid", harness_pipeline(h)->state);
    assert_int_equal(process_load(&supervisor, path), FL_OK);
    assert_true(process_signal(&supervisor, SIGKILL));
    assert_true(process_wait_gone(&supervisor, 10000));
    assert_int_equal(kill(old, 0), 0);
    tool_ok(h, "up", "--set broker.retries=5");
    assert_said("left behind");
    check_infer(h);
    tool_ok(h, "down", "");
    finish(h);
}

/* A pid file whose pid now belongs to another process must not get that process ended: this one's own. */
static void test_stale_pid_file(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process self = {.pid = getpid(), .start = 1};
    char path[HARNESS_PATH + 64];

    snprintf(path, sizeof path, "mkdir -p %s/run", harness_pipeline(h)->state);
    assert_int_equal(system(path), 0);
    snprintf(path, sizeof path, "%s/run/broker.pid", harness_pipeline(h)->state);
    assert_int_equal(process_save(&self, path, NULL), FL_OK);
    tool_ok(h, "down", "");
    assert_int_not_equal(access(path, F_OK), 0);
    finish(h);
}

static void test_occupied_port(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_ROUTER);
    char endpoint[128], arguments[256];
    size_t size = sizeof endpoint;
    int linger = 0;

    assert_int_equal(zmq_bind(socket, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    snprintf(arguments, sizeof arguments, "--set broker.requests=%s", endpoint);
    assert_int_equal(tool(h, "up", arguments), 1);
    assert_non_null(strstr(output, "broker failed to start: cannot bind tcp://"));
    assert_non_null(strstr(output, strrchr(endpoint, ':') + 1));
    assert_false(file_exists(h, "run/stage0.0.pid"));
    assert_false(file_exists(h, "run/supervisor.pid"));
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_close(socket);
    zmq_ctx_term(context);
    finish(h);
}

static void test_usage(void **state)
{
    struct harness *h = harness_new(NULL, yaml);

    assert_int_equal(tool(h, "up", "--on mars"), 2);
    assert_non_null(strstr(output, "local"));
    assert_int_equal(tool(h, "up", "--set stages.1.last=block9.out"), 2);
    assert_int_equal(tool(h, "up", "--set model=/nowhere.onnx"), 1);
    assert_int_equal(tool(h, "up", "--set stages.0.replicas.0.host=node7"), 2);
    assert_int_equal(tool(h, "infer", ""), 2);
    assert_int_equal(tool(h, "bench", "--data cifar10:x --rate 1 --closed 1"), 2);
    assert_int_equal(tool(h, "infer", "--input /nowhere.png"), 1);
    assert_non_null(strstr(output, "the pipeline is not up (`freezeline up` starts it)"));
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_down),       cmocka_unit_test(test_killed_worker_comes_back),
        cmocka_unit_test(test_left_overs),    cmocka_unit_test(test_stale_pid_file),
        cmocka_unit_test(test_occupied_port), cmocka_unit_test(test_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
