/* test_supervisors.c - a pipeline over two hosts that are one machine: two addresses of loopback, two
 * supervisors
 */
#include "tool_world.h"

static char yaml[1024];

/* Addresses of this process's own, so that tests may run side by side. */
static const char *two_hosts(const char *more)
{
    int pid = (int)getpid(), a = 77 + pid % 100, b = pid / 100 % 250;
    snprintf(yaml, sizeof yaml,
             "name: tiny\n"
             "hosts: [{name: x, address: 127.%d.%d.2}, {name: y, address: 127.%d.%d.3}]\n"
             "stages:\n"
             "  - {last: block1.out, replicas: 2}\n"
             "  - {last: block2.out}\n"
             "  - {}\n"
             "%s",
             a, b, a, b, more);
    return yaml;
}

static int supervise(struct harness *h, const char *host)
{
    char program[HARNESS_PATH], set[HARNESS_PATH];
    const char *argv[] = {program, "supervise", "-c", harness_config(h), "--host", host, "--set", set, NULL};
    snprintf(program, sizeof program, "%.400s/freezeline", tool_folder());
    snprintf(set, sizeof set, "state=%.400s/%s", harness_dir(h), host);
    return harness_spawn_path(h, program, argv);
}

static bool exists(const struct harness *h, const char *name)
{
    char path[HARNESS_PATH];
    snprintf(path, sizeof path, "%.400s/%s", harness_dir(h), name);
    return !access(path, F_OK);
}

static uint32_t infer(struct client *c, float *scores)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}};
    struct answer answer;
    struct error e = {FL_OK, ""};
    int n;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    harness_random(t.data, tensor_count(&t), 7);
    if (client_infer(c, &t, 0, 10000, &answer, scores, 10, &n, &e))
        fail_msg("%s", e.text);
    assert_int_equal(answer.error, 0);
    assert_int_equal(n, 10);
    tensor_release(&t);
    return answer.label;
}

/* Each supervisor starts what is its host's, and says ready when the whole is. What meets within a host does
 * so by unix sockets; the client, of neither, by tcp. */
static void test_two_supervisors(void **state)
{
    struct harness *h = harness_new(NULL, two_hosts("cache: {kind: none}\n"));
    float scores[10];
    int x, y;
    struct client *c;
    x = supervise(h, "x");
    y = supervise(h, "y");
    harness_expect(h, x, "supervisor info ready", 1);
    harness_expect(h, y, "supervisor info ready", 1);
    assert_int_equal(harness_count(h, x, "broker started"), 1);
    assert_int_equal(harness_count(h, y, "broker started"), 0);
    assert_int_equal(harness_count(h, x, "stage0.0 started") + harness_count(h, x, "stage1.0 started"), 2);
    assert_int_equal(harness_count(h, y, "stage0.1 started") + harness_count(h, y, "stage2.0 started"), 2);
    assert_true(exists(h, "x/sock/requests") && exists(h, "x/sock/stage.1.0"));
    assert_true(exists(h, "y/sock/stage.2.0") && !exists(h, "y/sock/requests"));
    c = harness_client(h);
    infer(c, scores);
    harness_signal(h, y, SIGKILL); /* what it started serves on, and is taken over */
    harness_wait(h, y);
    infer(c, scores);
    y = supervise(h, "y");
    harness_expect(h, y, "2 processes of an earlier supervisor go on", 1);
    harness_expect(h, y, "supervisor info ready", 1);
    assert_int_equal(harness_count(h, y, "stage2.0 started"), 0);
    infer(c, scores);
    client_free(c);
    harness_signal(h, y, SIGTERM);
    harness_signal(h, x, SIGTERM);
    assert_int_equal(harness_wait(h, y), 0);
    assert_int_equal(harness_wait(h, x), 0);
    assert_false(exists(h, "x/sock/requests"));
    harness_free(h);
}

/* Who does not say where it is, on a machine that is two of the hosts, is told to. */
static void test_which_host(void **state)
{
    struct harness *h = harness_new(NULL, two_hosts("cache: {kind: none}\n"));
    int b = harness_spawn(h, "freezeline-broker", NULL), s;
    assert_int_equal(harness_wait(h, b), 2);
    assert_int_equal(
        harness_count(h, b, "several of `hosts` are this machine (x, y): say which with --host NAME"), 1);
    s = harness_spawn(h, "freezeline-stage", "--stage", "0", "--host", "z", NULL);
    assert_int_equal(harness_wait(h, s), 2);
    assert_int_equal(harness_count(h, s, "--host z: `hosts`"), 1);
    harness_free(h);
}

/* One host alone says what it waits for while it waits, and gives up. */
static void test_a_host_alone(void **state)
{
    struct harness *h = harness_new(NULL, two_hosts("cache: {kind: none}\n"));
    assert_int_equal(tool(h, "up", "--host x --timeout 11"), 1);
    assert_said("waiting: ");
    assert_said("not ready after 11 s: ");
    assert_said("stage2.0 is not heard of");
    harness_free(h);
}

/* A managed Redis for two hosts asks for a password, at its port too. */
static void test_redis(void **state)
{
    struct harness *h;
    char text[HARNESS_PATH];
    FILE *f;
    int x, y;
    if (shell("command -v redis-server"))
        skip();
    h = harness_new(NULL, two_hosts("redis: {managed: true, password_file: secret}\n"));
    snprintf(text, sizeof text, "%.400s/secret", harness_dir(h));
    assert_non_null(f = fopen(text, "we"));
    fputs("a \"quoted\" word\n", f);
    assert_int_equal(fclose(f), 0);
    x = supervise(h, "x");
    y = supervise(h, "y");
    harness_expect(h, x, "supervisor info ready", 1);
    harness_expect(h, y, "supervisor info ready", 1);
    assert_int_equal(harness_count(h, x, "redis started"), 1);
    assert_int_equal(harness_count(h, y, "cache1 started"), 1);
    snprintf(text, sizeof text, "redis-cli -h %s -p 5600 info 2>&1", harness_pipeline(h)->host[0].address);
    shell(text);
    assert_non_null(strstr(output, "NOAUTH"));
    harness_signal(h, y, SIGTERM);
    harness_wait(h, y);
    harness_signal(h, x, SIGTERM);
    harness_wait(h, x);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_supervisors),
        cmocka_unit_test(test_which_host),
        cmocka_unit_test(test_a_host_alone),
        cmocka_unit_test(test_redis),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
