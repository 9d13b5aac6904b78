/* test_operations.c - who may touch a running pipeline: two at once, another container, processes of others
 */
#include "tool_world.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n";

/* Another container shares the folder: there, pids of this one mean nothing. */
static void test_another_container_touches_nothing(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    const char *verbs[] = {"up", "down"};
    char line[1024];
    (void)state;

    if (shell("unshare --pid --fork --mount-proc true 2>&1")) {
        print_message("skipped: no pid namespaces can be made here\n");
        harness_free(h);
        skip();
    }
    tool_ok(h, "up", "");
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "unshare --pid --fork --mount-proc %s/freezeline %s -c %s 2>&1",
                 tool_folder(), verbs[i], harness_config(h));
        assert_int_equal(shell(line), 1);
        assert_said("in another container or on another host");
    }
    assert_true(file_exists(h, "run/stage0.0.pid"));
    assert_true(file_exists(h, "run/supervisor.pid"));
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    assert_said("stopped");
    assert_false(file_exists(h, "run/stage0.0.pid"));
    finish(h);
}

/* Nor does another container take over what lives without a supervisor. */
static void test_another_container_leaves_the_unsupervised(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct process supervisor;
    char line[1024];
    (void)state;

    if (shell("unshare --pid --fork --mount-proc true 2>&1")) {
        print_message("skipped: no pid namespaces can be made here\n");
        harness_free(h);
        skip();
    }
    tool_ok(h, "up", "");
    supervisor = process_of(h, "supervisor");
    assert_true(process_signal(&supervisor, SIGKILL));
    assert_true(process_wait_gone(&supervisor, 10000));
    snprintf(line, sizeof line, "unshare --pid --fork --mount-proc %s/freezeline up -c %s 2>&1",
             tool_folder(), harness_config(h));
    assert_int_equal(shell(line), 1);
    assert_said("live in another container or on another host");
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    finish(h);
}

static void test_of_two_at_once_one_starts(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    char line[1024];
    int n = 0;
    (void)state;

    snprintf(line, sizeof line,
             "for i in 1 2 3 4; do (%s/freezeline up -c %s 2>&1; echo \"status $?\") & done; wait",
             tool_folder(), harness_config(h));
    assert_int_equal(shell(line), 0);
    for (const char *at = output; (at = strstr(at, "status 0")); at++)
        n++;
    if (n != 1)
        fail_msg("%d of 4 started:\n%s", n, output);
    assert_true(pid_of(h, "stage1.0") > 0);
    tool_ok(h, "down", "");
    finish(h);
}

/* Processes that were started by hand keep their sockets, whoever calls `up` and `down`. */
static void test_sockets_of_others_stay(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct client *client;
    int broker = harness_broker(h);
    (void)state;

    assert_int_equal(tool(h, "up", ""), 1);
    assert_said("broker failed to start");
    assert_said("address already in use");
    tool(h, "down", "");
    client = harness_client(h);
    assert_false(harness_status(client).ready);
    client_free(client);
    harness_signal(h, broker, SIGTERM);
    assert_int_equal(harness_wait(h, broker), 0);
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_another_container_touches_nothing),
        cmocka_unit_test(test_another_container_leaves_the_unsupervised),
        cmocka_unit_test(test_of_two_at_once_one_starts),
        cmocka_unit_test(test_sockets_of_others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
