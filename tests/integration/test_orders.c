/* test_orders.c - processes start again, are added and taken away, and files are taken, while every request
 * of a steady load is answered */
#include "steady_client.h"
#include "tool_world.h"

#include <sys/socket.h>

#include "deploy/supervise/order.h"

static const char two_stages[] = "exits: none\n"
                                 "stages:\n"
                                 "  - last: block1.out\n"
                                 "  - {replicas: 2}\n"
                                 "cache: {kind: none}\n"
                                 "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000}\n";

static const char with_redis[] = "exits: [{name: x, after: block1.out}]\n"
                                 "stages:\n"
                                 "  - last: block1.out\n"
                                 "  - {replicas: 2}\n"
                                 "redis: {managed: true}\n"
                                 "broker: {heartbeat_ms: 50, dead_after_ms: 1000, deadline_ms: 150000}\n";

static struct harness *world_up(const char *yaml)
{
    struct harness *h = harness_new(NULL, yaml);
    tool_ok(h, "up", "");
    return h;
}

static int workers_of(struct harness *h, int stage)
{
    json_t *root = tool_json(h, "status", ""), *process;
    char begins[32];
    size_t i;
    int n = 0;

    snprintf(begins, sizeof begins, "stage%d.", stage);
    json_array_foreach(json_object_get(root, "processes"), i, process) n +=
        !strncmp(json_string_value(json_object_get(process, "role")), begins, strlen(begins)) &&
        !strcmp(json_string_value(json_object_get(process, "state")), "ready");
    json_decref(root);
    return n;
}

/* Requests that a worker has computed; -1: it is not there. */
static int jobs_of(struct harness *h, const char *role)
{
    json_t *root = tool_json(h, "status", ""), *process;
    size_t i;
    int jobs = -1;

    json_array_foreach(json_object_get(root, "processes"), i,
                       process) if (!strcmp(json_string_value(json_object_get(process, "role")), role)) jobs =
        (int)json_integer_value(json_object_get(process, "jobs"));
    json_decref(root);
    return jobs;
}

struct worker {
    struct harness *h;
    const char *role;
};

static bool has_computed(void *arg)
{
    struct worker *w = arg;
    return jobs_of(w->h, w->role) > 0;
}

/* More workers of every stage, fewer, and more again: they get requests, and none fails. */
static void stages_grow_and_shrink_without_a_failed_request(void **state)
{
    struct harness *h = world_up(two_stages);
    struct worker first = {h, "stage0.1"}, last = {h, "stage1.3"};
    static struct steady load; /* its thread outlives a test that fails */

    steady_begin(&load, h, 100);
    tool_ok(h, "scale", "1=4");
    assert_said("stage 1 has 4 workers (before: 2)");
    tool_ok(h, "scale", "0=2");
    assert_true(workers_of(h, 0) == 2 && workers_of(h, 1) == 4);
    harness_until(has_computed, &first, 60, "a new worker of stage 0 computes");
    harness_until(has_computed, &last, 60, "a new worker of stage 1 computes");
    tool_ok(h, "restart", "stage0.0 stage1.3"); /* who starts again knows of those that were added */
    tool_ok(h, "scale", "1=1");
    tool_ok(h, "scale", "0=1");
    assert_true(workers_of(h, 0) == 1 && workers_of(h, 1) == 1);
    assert_int_equal(jobs_of(h, "stage1.3"), -1); /* it is no dead one */
    tool_ok(h, "scale", "1=2");
    steady_end(&load);
    tool_ok(h, "down", "");
    finish(h);
}

/* It holds for what starts again, and until `down`; --save writes it. */
static void a_number_is_remembered(void **state)
{
    struct harness *h = world_up(two_stages);
    struct replaced again = {h, "stage1.2", 0};

    tool_ok(h, "scale", "1=3");
    again.old = pid_of(h, "stage1.2");
    assert_int_equal(kill(again.old, SIGKILL), 0);
    harness_until(is_replaced, &again, 60, "stage1.2 starts again");
    tool_ok(h, "apply", "");
    assert_said("nothing to do");
    assert_int_equal(workers_of(h, 1), 3);
    tool_ok(h, "down", "");
    tool_ok(h, "up", "");
    assert_int_equal(workers_of(h, 1), 2);
    tool_ok(h, "scale", "1=3 --save");
    tool_ok(h, "apply", "");
    assert_said("nothing to do");
    tool_ok(h, "down", "");
    tool_ok(h, "up", "");
    assert_int_equal(workers_of(h, 1), 3);
    tool_ok(h, "down", "");
    finish(h);
}

static void what_is_no_number_is_told(void **state)
{
    struct harness *h = world_up(two_stages);

    assert_int_equal(tool(h, "scale", "1=0"), 2);
    assert_said("a stage has 1 to 16 workers");
    assert_int_equal(tool(h, "scale", "1=17"), 2);
    assert_int_equal(tool(h, "scale", "2=1"), 2);
    assert_said("the pipeline has stages 0 to 1");
    assert_int_equal(tool(h, "scale", "1"), 2);
    assert_int_equal(tool(h, "scale", "1=2x"), 2);
    assert_int_equal(tool(h, "scale", ""), 2);
    tool_ok(h, "down", "");
    finish(h);
}

static void a_worker_starts_again_without_a_failed_request(void **state)
{
    struct harness *h = world_up(two_stages);
    static struct steady load; /* its thread outlives a test that fails */
    pid_t only, one, other;

    only = pid_of(h, "stage0.0");
    one = pid_of(h, "stage1.0");
    other = pid_of(h, "stage1.1");
    steady_begin(&load, h, 100);
    tool_ok(h, "restart", "stage0.0 stage1.0");
    assert_said("2 processes started again");
    steady_end(&load);
    assert_true(pid_of(h, "stage0.0") > 0 && pid_of(h, "stage0.0") != only);
    assert_true(pid_of(h, "stage1.0") > 0 && pid_of(h, "stage1.0") != one);
    assert_int_equal(pid_of(h, "stage1.1"), other);
    tool_ok(h, "down", "");
    finish(h);
}

/* Caches, Redis, a learner's place, the one broker: everything is another process afterwards. */
static void all_start_again_without_a_failed_request(void **state)
{
    struct harness *h = world_up(with_redis);
    static const char *const roles[] = {"broker", "cache0", "stage0.0", "stage1.0", "stage1.1"};
    struct process redis = process_of(h, "redis"), now;
    pid_t before[5];
    static struct steady load; /* its thread outlives a test that fails */

    for (int i = 0; i < 5; i++)
        before[i] = pid_of(h, roles[i]);
    steady_begin(&load, h, 100);
    tool_ok(h, "restart", "--rolling");
    assert_said("6 processes started again");
    steady_end(&load);
    for (int i = 0; i < 5; i++)
        assert_true(pid_of(h, roles[i]) > 0 && pid_of(h, roles[i]) != before[i]);
    now = process_of(h, "redis");
    assert_true(now.pid != redis.pid && process_alive(&now));
    tool_ok(h, "down", "");
    finish(h);
}

static void what_is_no_process_is_told(void **state)
{
    struct harness *h = harness_new(NULL, two_stages);
    pid_t before;

    assert_int_equal(tool(h, "restart", "stage0.0"), 1);
    assert_said("no supervisor of this host tends this pipeline");
    tool_ok(h, "up", "");
    before = pid_of(h, "stage0.0");
    assert_int_equal(tool(h, "restart", "stage7.0"), 2);
    assert_said("there is no process `stage7.0`; there are broker, stage0.0, stage1.0, stage1.1");
    assert_int_equal(tool(h, "restart", "stage0.0 nobody"), 2); /* all or none */
    assert_int_equal(tool(h, "restart", ""), 2);
    assert_int_equal(tool(h, "restart", "--rolling broker"), 2);
    assert_int_equal(pid_of(h, "stage0.0"), before);
    tool_ok(h, "down", "");
    finish(h);
}

static bool is_called_dead(void *arg)
{
    struct harness *h = arg;
    char line[HARNESS_PATH + 64];
    snprintf(line, sizeof line, "grep -q 'is gone: no heartbeat' %s/logs/broker.log",
             harness_pipeline(h)->state);
    return system(line) == 0;
}

/* A worker that is stopped neither says nor does anything: its successor takes over all the same, from one
 * that the broker calls dead already, too. */
static void one_that_hangs_is_replaced(void **state)
{
    struct harness *h = world_up(two_stages);

    for (int dead = 0; dead < 2; dead++) {
        pid_t before = pid_of(h, "stage1.0");
        assert_int_equal(kill(before, SIGSTOP), 0);
        if (dead)
            harness_until(is_called_dead, h, 60, "the broker calls it dead");
        tool_ok(h, "restart", "stage1.0");
        assert_true(pid_of(h, "stage1.0") > 0 && pid_of(h, "stage1.0") != before);
    }
    tool_ok(h, "down", "");
    finish(h);
}

/* Answers of the supervisor to raw lines. */
static void say_raw(struct harness *h, const char *line, char *answer, size_t size)
{
    struct error e;
    ssize_t n;
    int fd;

    assert_int_equal(order_socket(&fd, harness_pipeline(h), false, &e), FL_OK);
    assert_int_equal(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
    n = recv(fd, answer, size - 1, 0);
    answer[n > 0 ? n : 0] = '\0';
    close(fd);
}

static bool has_begun(void *arg)
{
    struct harness *h = arg;
    char line[HARNESS_PATH + 64];
    snprintf(line, sizeof line, "grep -q 'restart: ordered' %s/logs/supervisor.log",
             harness_pipeline(h)->state);
    return system(line) == 0;
}

/* One whose broker does not speak takes its time, until that is let go on. */
static FILE *restart_slowly(struct harness *h, struct process *broker)
{
    char line[HARNESS_PATH + 256];
    FILE *f;

    *broker = process_of(h, "broker");
    assert_true(process_signal(broker, SIGSTOP));
    snprintf(line, sizeof line, "%s/freezeline restart -c %s stage1.0 2>&1", tool_folder(),
             harness_config(h));
    assert_non_null(f = popen(line, "r"));
    harness_until(has_begun, h, 60, "the restart has begun");
    return f;
}

/* Reads all that it says; its exit status. */
static int end_of(FILE *f)
{
    char said[256];
    while (fgets(said, sizeof said, f))
        continue;
    return WEXITSTATUS(pclose(f));
}

static void of_two_orders_at_once_one_is_refused(void **state)
{
    struct harness *h = world_up(two_stages);
    struct process broker;
    FILE *first = restart_slowly(h, &broker);

    assert_int_equal(tool(h, "scale", "1=3"), 1);
    assert_said("another order (restart) is being carried out");
    process_signal(&broker, SIGCONT);
    assert_int_equal(end_of(first), 0);
    tool_ok(h, "down", "");
    finish(h);
}

static void kill_supervisor(struct harness *h)
{
    struct process it = process_of(h, "supervisor");
    assert_true(process_signal(&it, SIGKILL));
    assert_true(process_wait_gone(&it, 10000));
}

/* Its successor takes over what serves, starts what has ended meanwhile, and tends all of it as its own. */
static void a_supervisor_that_dies_is_followed_without_a_failed_request(void **state)
{
    static const char *const roles[] = {"redis", "broker", "cache0", "stage0.0", "stage1.0"};
    struct harness *h = world_up(with_redis);
    struct replaced again = {h, "stage1.1", pid_of(h, "stage1.1")};
    struct process before[5], now;
    static struct steady load; /* its thread outlives a test that fails */

    for (int i = 0; i < 5; i++)
        before[i] = process_of(h, roles[i]);
    steady_begin(&load, h, 100);
    kill_supervisor(h);
    assert_int_equal(kill(again.old, SIGKILL), 0);
    tool_ok(h, "status", "");
    assert_said("nobody supervises");
    tool_ok(h, "up", "");
    assert_said("a new one takes over");
    for (int i = 0; i < 5; i++) {
        now = process_of(h, roles[i]);
        assert_true(now.pid == before[i].pid && process_alive(&now));
    }
    assert_true(is_replaced(&again));
    again = (struct replaced){h, "stage1.0", before[4].pid};
    assert_true(process_signal(&before[4], SIGKILL)); /* nobody's child here */
    harness_until(is_replaced, &again, 60, "stage1.0 starts again");
    tool_ok(h, "restart", "stage0.0 cache0");
    tool_ok(h, "scale", "1=3");
    kill_supervisor(h);
    tool_ok(h, "up", ""); /* and once more, with the number that was scaled to */
    assert_int_equal(workers_of(h, 1), 3);
    steady_end(&load);
    tool_ok(h, "down", "");
    for (int i = 0; i < 5; i++)
        assert_false(process_alive(&before[i]));
    assert_false(file_exists(h, "run/orders"));
    finish(h);
}

/* In the foreground too, where nobody has to say so. */
static void one_in_the_foreground_follows_by_itself(void **state)
{
    struct harness *h = harness_new(NULL, two_stages);
    char program[HARNESS_PATH];
    const char *argv[] = {program, "up", "--foreground", "-c", harness_config(h), NULL};
    struct replaced again = {h, "stage0.0", 0};
    struct process broker;
    int number;

    snprintf(program, sizeof program, "%.400s/freezeline", tool_folder());
    number = harness_spawn_path(h, program, argv);
    harness_expect(h, number, "ready: ", 1);
    broker = process_of(h, "broker");
    kill_supervisor(h);
    again.old = process_of(h, "stage0.0").pid;
    assert_int_equal(kill(again.old, SIGKILL), 0);
    harness_until(is_replaced, &again, 60, "somebody starts it again");
    assert_true(process_alive(&broker));
    harness_signal(h, number, SIGTERM);
    assert_int_equal(harness_wait(h, number), 0);
    assert_false(process_alive(&broker));
    finish(h);
}

static bool is_whole(void *arg)
{
    return workers_of(arg, 0) == 1 && workers_of(arg, 1) == 2;
}

/* It dies in the middle of an order: that is over, and `up` works afterwards. */
static void a_supervisor_that_dies_leaves_nothing(void **state)
{
    struct harness *h = world_up(two_stages);
    struct process worker = process_of(h, "stage1.1"), before = process_of(h, "stage1.0"), broker;
    FILE *first;

    first = restart_slowly(h, &broker);
    kill_supervisor(h);
    assert_int_equal(end_of(first), 1);
    assert_true(process_signal(&broker, SIGCONT));
    tool_ok(h, "up", "");
    harness_until(is_whole, h, 60, "all workers serve");
    assert_true(process_alive(&worker));
    tool_ok(h, "down", "");
    assert_false(process_alive(&worker) || process_alive(&before));
    assert_false(file_exists(h, "run/orders"));
    finish(h);
}

static bool has_three(void *arg)
{
    return workers_of(arg, 1) == 3;
}

/* Settings of every kind of process and a number, taken in one go. */
static void a_changed_file_is_taken_without_a_failed_request(void **state)
{
    struct harness *h = world_up(two_stages);
    static struct steady load; /* its thread outlives a test that fails */
    pid_t broker = pid_of(h, "broker"), stage = pid_of(h, "stage0.0");

    steady_begin(&load, h, 100);
    edit(h, "dead_after_ms: 1000", "dead_after_ms: 1500, retries: 5");
    edit(h, "{replicas: 2}", "{replicas: 3, batch: 4}");
    tool_ok(h, "apply", "--dry-run");
    assert_said("broker.retries: 2 -> 5: the broker starts again");
    assert_said("stages.1.replicas: 2 -> 3: workers start or end");
    assert_said("stages.1.batch: 8 -> 4: the stage workers start again");
    assert_int_equal(pid_of(h, "broker"), broker);
    tool_ok(h, "apply", "");
    harness_until(has_three, h, 60, "the third worker of stage 1 has said hello to the new broker");
    assert_true(pid_of(h, "broker") != broker && pid_of(h, "stage0.0") != stage);
    tool_ok(h, "apply", "");
    assert_said("nothing to do");
    edit(h, "stages:", "stages: [");
    assert_int_equal(tool(h, "apply", ""), 2); /* no YAML: nothing changes */
    edit(h, "stages: [", "stages:");
    steady_end(&load);
    tool_ok(h, "down", "");
    finish(h);
}

static void lines_that_are_no_orders_are_refused(void **state)
{
    static char huge[20000];
    struct harness *h = world_up(two_stages);
    char answer[4096];

    say_raw(h, "{\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "no order"));
    say_raw(h, "{\"do\": \"dance\"}\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "no order"));
    say_raw(h, "{\"do\": \"restart\", \"who\": [1]}\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "names of processes"));
    say_raw(h, "{\"do\": \"scale\", \"stage\": 0, \"replicas\": 17}\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "1 to 16"));
    memset(huge, 'x', sizeof huge - 1);
    say_raw(h, huge, answer, sizeof answer);
    assert_string_equal(answer, "");
    say_raw(h, "{\"do\": \"state\"}\n", answer, sizeof answer);
    assert_non_null(strstr(answer, "\"stage1.1\""));
    tool_ok(h, "down", "");
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_grow_and_shrink_without_a_failed_request),
        cmocka_unit_test(a_number_is_remembered),
        cmocka_unit_test(what_is_no_number_is_told),
        cmocka_unit_test(a_worker_starts_again_without_a_failed_request),
        cmocka_unit_test(all_start_again_without_a_failed_request),
        cmocka_unit_test(what_is_no_process_is_told),
        cmocka_unit_test(one_that_hangs_is_replaced),
        cmocka_unit_test(of_two_orders_at_once_one_is_refused),
        cmocka_unit_test(a_supervisor_that_dies_is_followed_without_a_failed_request),
        cmocka_unit_test(one_in_the_foreground_follows_by_itself),
        cmocka_unit_test(a_supervisor_that_dies_leaves_nothing),
        cmocka_unit_test(a_changed_file_is_taken_without_a_failed_request),
        cmocka_unit_test(lines_that_are_no_orders_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
