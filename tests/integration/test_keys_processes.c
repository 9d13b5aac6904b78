/* test_keys_processes.c - a pipeline whose processes meet over tcp with keys: who has the right ones is
 * served, whoever has not is refused while serving goes on, and keys become others under load
 */
#include "steady_client.h"
#include "tool_world.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "keys/keys.h"
#include "wire/frames.h"

/* Below those that the system gives to connections: one of these could take the port while its process starts
 * again. */
static int free_port(void)
{
    static int next;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = -1, rc;

    next = next ? next : 20000 + getpid() % 10000;
    do {
        if (fd >= 0)
            close(fd);
        fd = socket(AF_INET, SOCK_STREAM, 0);
        a.sin_port = htons((uint16_t)++next);
        rc = bind(fd, (struct sockaddr *)&a, sizeof a);
    } while (rc && next < 32000);
    close(fd);
    return next;
}

/* All that could go over a network does, so that nothing is left to ipc. */
static struct harness *world(void)
{
    char yaml[1024];
    snprintf(yaml, sizeof yaml,
             "exits: none\n"
             "security: curve\n"
             "stages:\n"
             "  - {last: block1.out, replicas: [{endpoint: 'tcp://127.0.0.1:%d'}]}\n"
             "  - {replicas: [{endpoint: 'tcp://127.0.0.1:%d'}]}\n"
             "cache: {kind: none, endpoints: ['tcp://127.0.0.1:%d']}\n"
             "broker: {requests: 'tcp://127.0.0.1:%d', control: 'tcp://127.0.0.1:%d', results: "
             "'tcp://127.0.0.1:%d',\n"
             "         heartbeat_ms: 50, dead_after_ms: 2000, deadline_ms: 20000}\n",
             free_port(), free_port(), free_port(), free_port(), free_port(), free_port());
    return harness_new(NULL, yaml);
}

static struct harness *world_up(void)
{
    struct harness *h = world();
    tool_ok(h, "keys make", "");
    tool_ok(h, "up", "");
    return h;
}

static const char *key_of(const struct harness *h, const char *file)
{
    static char path[2 * HARNESS_PATH];
    snprintf(path, sizeof path, "%.900s/%s", harness_pipeline(h)->keys, file);
    return path;
}

/* A request by whoever has these keys: what becomes of it, and why in `why`. */
static struct error why;
static int infer_as(struct harness *h, const char *keys)
{
    static float data[STEADY_NUMBERS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    struct pipeline p = *harness_pipeline(h);
    struct client *c;
    struct answer answer;
    struct error e = {0};
    int rc;
    p.keys = (char *)(uintptr_t)keys;
    p.broker.deadline_ms = 500;
    if (client_new(&c, &p, &e))
        fail_msg("%s", e.text);
    why = (struct error){0};
    rc = client_infer(c, &in, 0, 0, &answer, NULL, 0, NULL, &why);
    client_free(c);
    return rc ? rc : (int)answer.error;
}

static void assert_why(const char *text)
{
    if (!strstr(why.text, text))
        fail_msg("\"%s\" does not say \"%s\"", why.text, text);
}

/* Whoever serves can gain nothing by starting programs, and leaves no core file with keys. */
static void assert_hardened(struct harness *h)
{
    char line[128];
    snprintf(line, sizeof line, "grep -E '^(NoNewPrivs:.1|Seccomp:.2)' /proc/%d/status | wc -l",
             (int)pid_of(h, "stage1.0"));
    assert_int_equal(shell(line), 0);
    assert_said("2");
}

static void without_keys_nothing_starts(void **state)
{
    struct harness *h = world();
    char line[2 * HARNESS_PATH];

    assert_int_not_equal(tool(h, "up", ""), 0);
    assert_said("`freezeline keys make` makes them");
    tool_ok(h, "keys make", "");
    assert_int_equal(chmod(key_of(h, "worker.key"), 0644), 0);
    assert_int_not_equal(tool(h, "up", ""), 0);
    assert_said("has mode 644, so others can read it: `chmod 600 ");
    assert_int_equal(chmod(key_of(h, "worker.key"), 0600), 0);
    snprintf(line, sizeof line, "cd %.900s && mv allowed lost", harness_pipeline(h)->keys);
    assert_int_equal(shell(line), 0);
    assert_int_not_equal(tool(h, "up", ""), 0);
    assert_said("/allowed, which lists who may come in: bring it back");
    assert_int_not_equal(tool(h, "keys make", ""), 0);
    assert_said("/allowed that lists it: bring that back");
    snprintf(line, sizeof line, "cd %.900s && mv lost allowed", harness_pipeline(h)->keys);
    assert_int_equal(shell(line), 0);
    tool_ok(h, "up", "");
    assert_hardened(h);
    tool_ok(h, "down", "");
    finish(h);
}

/* Keys to give away: one is good, one expires, one is revoked, one nobody knows. */
static void whose_key_is_allowed_is_served(void **state)
{
    struct harness *h = world_up();
    char line[8 * HARNESS_PATH], alice[HARNESS_PATH], strange[HARNESS_PATH];
    static struct steady load; /* its thread outlives a test that fails */

    steady_begin(&load, h, 50);
    snprintf(line, sizeof line, "mkdir -m 700 %.400s/alice %.400s/strange", harness_dir(h), harness_dir(h));
    assert_int_equal(shell(line), 0);
    assert_int_equal(tool(h, "keys add alice", "--output /nowhere/client.key"), 1);
    snprintf(line, sizeof line, "--days 30 --output %.400s/alice/client.key", harness_dir(h));
    tool_ok(h, "keys add alice", line);
    snprintf(alice, sizeof alice, "%.400s/alice", harness_dir(h));
    assert_int_equal(infer_as(h, alice), FL_OK);
    tool_ok(h, "keys list", "");
    assert_said("alice");
    assert_int_equal(tool(h, "keys add alice", ""), 2);
    tool_ok(h, "keys revoke alice", "");
    assert_int_not_equal(infer_as(h, alice), FL_OK);
    assert_why(" does not let in this key: ");
    /* A key from elsewhere, which knows another broker, and then this one. */
    snprintf(strange, sizeof strange, "%.400s/strange", harness_dir(h));
    snprintf(line, sizeof line,
             "S=%.400s; %.400s/freezeline keys make -c %.400s --set keys=$S && rm $S/operator.key", strange,
             tool_folder(), harness_config(h));
    assert_int_equal(shell(line), 0);
    assert_int_not_equal(infer_as(h, strange), 0);
    assert_why(" has another key than `broker:` in client.key says");
    snprintf(line, sizeof line, "rm %.400s/allowed; sed -n 's/^public/broker/p' %.900s >>%.400s/client.key",
             strange, key_of(h, "broker.key"), strange);
    assert_int_equal(shell(line), 0);
    assert_int_not_equal(infer_as(h, strange), 0);
    assert_why(" does not let in this key: ");
    tool_ok(h, "logs", "broker");
    assert_said("a key was refused");
    steady_end(&load);
    tool_ok(h, "down", "");
    finish(h);
}

/* A client's key opens the connection, but makes nobody a worker, nor an operator. */
static void a_key_is_good_for_its_role_alone(void **state)
{
    struct harness *h = world_up();
    struct pipeline *p = (struct pipeline *)(uintptr_t)harness_pipeline(h);
    struct security s = {.mode = SECURITY_CURVE};
    struct socket_options o = {.immediate = true};
    struct message m = {.type = MESSAGE_HELLO,
                        .hello = {.role = ROLE_STAGE, .incarnation = 7, .ready = true}};
    void *context = zmq_ctx_new(), *control;
    static struct steady load; /* its thread outlives a test that fails */
    struct error e;

    steady_begin(&load, h, 50);
    assert_int_equal(keys_open(&s.keys, p->keys, PARTY_CLIENT, NULL, &e), FL_OK);
    assert_int_equal(
        frames_socket(&control, context, ZMQ_DEALER, FRAMES_CONNECT, p->broker.control, &o, &s, &e), FL_OK);
    while (frames_send(control, NULL, &m, NULL) == FL_AGAIN)
        usleep(1000);
    m = (struct message){.type = MESSAGE_DRAIN, .drain = {.lease_ms = 60000}};
    assert_int_equal(frames_send(control, NULL, &m, NULL), FL_OK);
    do
        tool_ok(h, "logs", "broker");
    while (!strstr(output, "the key of client `client` does not allow this message here"));
    frames_close(control, 0);
    zmq_ctx_term(context);
    keys_close(s.keys);
    steady_end(&load);
    tool_ok(h, "status", "");
    tool_ok(h, "down", "");
    finish(h);
}

/* Each key has a rate of its own, however many connections its owner makes. */
static void who_asks_too_fast_is_refused(void **state)
{
    static const char *const names[] = {"alice", "bob"};
    struct harness *h = world();
    char line[4 * HARNESS_PATH], keys[2][HARNESS_PATH];

    tool_ok(h, "keys make", "");
    for (int i = 0; i < 2; i++) {
        snprintf(keys[i], sizeof keys[i], "%.400s/%s", harness_dir(h), names[i]);
        snprintf(line, sizeof line, "mkdir -m 700 %s", keys[i]);
        assert_int_equal(shell(line), 0);
        snprintf(line, sizeof line, "%s --output %s/client.key", names[i], keys[i]);
        tool_ok(h, "keys add", line);
    }
    tool_ok(h, "up", "--set broker.client_rate=0.01");
    assert_int_equal(infer_as(h, keys[0]), FL_OK);
    assert_int_equal(infer_as(h, keys[0]), FL_OVERLOADED);
    assert_int_equal(infer_as(h, keys[1]), FL_OK);
    tool_ok(h, "down", "");
    finish(h);
}

/* Three steps; after the first two all processes start again. Clients that were started before a step end
 * before the next one. */
static void keys_become_others_under_load(void **state)
{
    struct harness *h = world_up();
    static struct steady load; /* its thread outlives a test that fails */
    char before[256];

    tool_ok(h, "keys list", "");
    snprintf(before, sizeof before, "%.250s", output);
    for (int step = 1; step <= 3; step++) {
        char said[32];
        snprintf(said, sizeof said, "step %d of 3", step);
        steady_begin(&load, h, 50);
        tool_ok(h, "keys rotate", "");
        assert_said(said);
        if (step < 3) {
            assert_int_equal(tool(h, "keys rotate", ""), 1);
            assert_said("not started again since the last step: ");
            assert_said("broker");
            tool_ok(h, "restart", "--rolling");
        }
        steady_end(&load);
    }
    tool_ok(h, "keys list", "");
    assert_int_not_equal(strncmp(before, output, strlen(before)), 0);
    assert_int_not_equal(access(key_of(h, "broker.old.key"), F_OK), 0);
    tool_ok(h, "status", "");
    tool_ok(h, "down", "");
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_keys_nothing_starts),      cmocka_unit_test(whose_key_is_allowed_is_served),
        cmocka_unit_test(a_key_is_good_for_its_role_alone), cmocka_unit_test(who_asks_too_fast_is_refused),
        cmocka_unit_test(keys_become_others_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
