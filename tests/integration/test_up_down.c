/* test_up_down.c - the tool itself: up, status, infer, bench, logs, down; deaths and left-overs */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>
#include <zmq.h>

#include "deploy/data/npy.h"
#include "deploy/launch/process.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {last: block2.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n";

static char output[65536]; /* of the last command, stdout and stderr */

static const char *build_dir(void)
{
    const char *env = getenv("FREEZELINE_BUILD");
    return env ? env : "build/release";
}

/* Runs `freezeline COMMAND -c pipeline.yaml ARGS`; returns its exit status. */
static int tool(struct harness *h, const char *command, const char *arguments)
{
    char line[2048];
    size_t n = 0, got;
    FILE *f;
    int status;

    snprintf(line, sizeof line, "%s/freezeline %s -c %s %s%s", build_dir(), command, harness_config(h),
             arguments, strstr(arguments, "2>") ? "" : " 2>&1");
    f = popen(line, "r");
    assert_non_null(f);
    while (n < sizeof output - 1 && (got = fread(output + n, 1, sizeof output - 1 - n, f)) > 0)
        n += got;
    output[n] = 0;
    status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void tool_ok(struct harness *h, const char *command, const char *arguments)
{
    int rc = tool(h, command, arguments);
    if (rc)
        fail_msg("freezeline %s %s ended with %d:\n%s", command, arguments, rc, output);
}

static json_t *tool_json(struct harness *h, const char *command, const char *arguments)
{
    char with[1024];
    json_error_t problem;
    json_t *root;

    snprintf(with, sizeof with, "%s --json 2>/dev/null", arguments);
    tool_ok(h, command, with);
    root = json_loads(output, 0, &problem);
    if (!root)
        fail_msg("%s: %s in\n%s", command, problem.text, output);
    return root;
}

/* The pid that status reports for a role; 0 when it is not there. */
static pid_t pid_of(struct harness *h, const char *role)
{
    json_t *root = tool_json(h, "status", ""), *process;
    pid_t pid = 0;
    size_t i;

    json_array_foreach(json_object_get(root, "processes"), i, process)
    {
        if (!strcmp(json_string_value(json_object_get(process, "role")), role) &&
            !strcmp(json_string_value(json_object_get(process, "state")), "ready"))
            pid = (pid_t)json_integer_value(json_object_get(process, "pid"));
    }
    json_decref(root);
    return pid;
}

static bool file_exists(struct harness *h, const char *name)
{
    char path[HARNESS_PATH + 64];
    snprintf(path, sizeof path, "%s/%s", harness_pipeline(h)->state, name);
    return !access(path, F_OK);
}

/* The processes that `up` started log below the state directory, where the harness does not look. */
static void finish(struct harness *h)
{
    char line[HARNESS_PATH + 128];
    snprintf(line, sizeof line, "grep -rE 'Sanitizer|runtime error' %s/logs 2>/dev/null",
             harness_pipeline(h)->state);
    assert_int_not_equal(system(line), 0);
    harness_free(h);
}

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
    (void)state;

    write_input(h);
    assert_int_equal(tool(h, "status", ""), 1);
    assert_non_null(strstr(output, "does not answer"));
    tool_ok(h, "up", "");
    root = tool_json(h, "status", "");
    assert_true(json_is_true(json_object_get(root, "ready")));
    assert_int_equal(json_array_size(json_object_get(root, "processes")), 4);
    json_decref(root);
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

struct restarted {
    struct harness *h;
    pid_t old;
};

static bool has_new_pid(void *arg)
{
    struct restarted *r = arg;
    pid_t now = pid_of(r->h, "stage1.0");
    return now && now != r->old;
}

static void test_killed_worker_comes_back(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct restarted r = {h, 0};
    (void)state;

    write_input(h);
    tool_ok(h, "up", "");
    r.old = pid_of(h, "stage1.0");
    assert_true(r.old > 1);
    assert_int_equal(kill(r.old, SIGKILL), 0);
    harness_until(has_new_pid, &r, 60, "stage1.0 started again");
    check_infer(h);
    tool_ok(h, "down", "");
    finish(h);
}

/* A supervisor that was killed leaves its children; the next `up` ends them and starts afresh. */
static void test_left_overs(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process supervisor;
    char path[HARNESS_PATH + 64];
    pid_t old;
    (void)state;

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
    tool_ok(h, "up", "");
    assert_non_null(strstr(output, "left behind"));
    check_infer(h);
    tool_ok(h, "down", "");
    finish(h);
}

/* A pid file whose pid now belongs to another process must not get that process ended: this one's own. */
static void test_stale_pid_file(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process self = {getpid(), 1};
    char path[HARNESS_PATH + 64];
    (void)state;

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
    (void)state;

    assert_int_equal(zmq_bind(socket, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    snprintf(arguments, sizeof arguments, "--set broker.requests=%s", endpoint);
    assert_int_equal(tool(h, "up", arguments), 1);
    assert_non_null(strstr(output, "broker failed to start"));
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
    (void)state;

    assert_int_equal(tool(h, "up", "--on mars"), 2);
    assert_non_null(strstr(output, "local"));
    assert_int_equal(tool(h, "up", "--set stages.1.last=block9.out"), 2);
    assert_int_equal(tool(h, "up", "--set model=/nowhere.onnx"), 1);
    assert_int_equal(tool(h, "up", "--set stages.0.replicas.0.host=node7"), 2);
    assert_int_equal(tool(h, "infer", ""), 2);
    assert_int_equal(tool(h, "bench", "--data cifar10:x --rate 1 --closed 1"), 2);
    assert_int_equal(tool(h, "infer", "--input /nowhere.png"), 1);
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
