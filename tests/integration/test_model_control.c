/* test_model_control.c - the model is loaded and unloaded over HTTP, while requests come by both doors
 *
 * The pipeline is one that `up` started: its supervisor replaces, ends and starts the stage workers. What the
 * texts of requests may be is in tests/unit/test_oip.c and tests/conformance/oip; who may, in test_https.c.
 */
#include "steady_client.h"
#include "tool_world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static const char two_stages[] =
    "name: tiny\n"
    "exits: none\n"
    "stages:\n"
    "  - last: block1.out\n"
    "  - {replicas: 2}\n"
    "cache: {kind: none}\n"
    "broker: {http: '127.0.0.1:0', model_control: true, heartbeat_ms: 50, dead_after_ms: 1000,\n"
    "         deadline_ms: 150000}\n";

#define WORKERS 3
static const char *const workers[WORKERS] = {"stage0.0", "stage1.0", "stage1.1"};

/* ---- HTTP ---- */

static int port;

static void find_port(struct harness *h)
{
    char line[HARNESS_PATH + 128];
    snprintf(
        line, sizeof line,
        "sed -n 's|.*HTTP (Open.*http://127.0.0.1:\\([0-9]*\\)/v2.*|\\1|p' %s/logs/broker.log | tail -n 1",
        harness_pipeline(h)->state);
    assert_int_equal(shell(line), 0);
    assert_true((port = atoi(output)) > 0);
}

static int dial(void)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 200};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static int begin(const char *method, const char *path, const char *headers, const void *body, size_t n)
{
    char head[512];
    int fd = dial(), length = snprintf(head, sizeof head,
                                       "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Length: "
                                       "%zu\r\n\r\n",
                                       method, path, headers, n);
    assert_int_equal(send(fd, head, (size_t)length, MSG_NOSIGNAL), length);
    if (n)
        assert_int_equal(send(fd, body, n, MSG_NOSIGNAL), n);
    return fd;
}

static char reply[65536]; /* the last one, head and body */

static int end(int fd)
{
    size_t n = 0;
    ssize_t got;
    while ((got = recv(fd, reply + n, sizeof reply - 1 - n, 0)) > 0 || (got < 0 && errno == EINTR))
        n += got > 0 ? (size_t)got : 0;
    reply[n] = '\0';
    if (n < 12 || strncmp(reply, "HTTP/1.1 ", 9))
        fail_msg("no reply but \"%s\", and then %s", reply, got < 0 ? strerror(errno) : "the end");
    close(fd);
    return atoi(reply + 9);
}

static void replies(const char *text)
{
    if (!strstr(reply, text))
        fail_msg("\"%s\" is not in\n%s", text, reply);
}

static void answers(int want, int status)
{
    if (status != want)
        fail_msg("%d, not %d:\n%s", status, want, reply);
}

static int get(const char *path)
{
    return end(begin("GET", path, "", NULL, 0));
}

static int post(const char *path, const char *body)
{
    return end(begin("POST", path, "", body, strlen(body)));
}

#define LOAD   "/v2/repository/models/tiny/load"
#define UNLOAD "/v2/repository/models/tiny/unload"
#define INDEX  "/v2/repository/index"

static int infer(void)
{
    static const float row[STEADY_NUMBERS];
    return end(
        begin("POST", "/v2/models/tiny/infer", "Inference-Header-Content-Length: 0\r\n", row, sizeof row));
}

/* Requests by HTTP, one after another. */
struct asker {
    pthread_t thread;
    atomic_bool stop;
    atomic_int asked, failed;
};

static void *ask_on(void *arg)
{
    static const float row[STEADY_NUMBERS];
    static char text[65536];
    struct asker *a = arg;
    while (!a->stop) {
        int fd =
            begin("POST", "/v2/models/tiny/infer", "Inference-Header-Content-Length: 0\r\n", row, sizeof row);
        size_t n = 0;
        ssize_t got;
        while ((got = recv(fd, text + n, sizeof text - n, 0)) > 0 || (got < 0 && errno == EINTR))
            n += got > 0 ? (size_t)got : 0;
        close(fd);
        a->asked++;
        a->failed += n < 12 || strncmp(text + 9, "200", 3);
    }
    return NULL;
}

static void begin_to_ask(struct asker *a)
{
    memset(a, 0, sizeof *a);
    assert_int_equal(pthread_create(&a->thread, NULL, ask_on, a), 0);
}

static void end_to_ask(struct asker *a)
{
    a->stop = true;
    pthread_join(a->thread, NULL);
    assert_true(a->asked > 0);
    assert_int_equal(a->failed, 0);
}

/* ---- the world ---- */

static struct harness *world_up(const char *model, const char *yaml)
{
    struct harness *h = harness_new(model, yaml);
    if (model) {
        char line[2 * HARNESS_PATH];
        snprintf(line, sizeof line, "cp tests/data/tiny.onnx %.400s/%s", harness_dir(h), model);
        assert_int_equal(shell(line), 0);
    }
    tool_ok(h, "up", "");
    find_port(h);
    return h;
}

static void pids_of(struct harness *h, pid_t pid[WORKERS + 1])
{
    for (int i = 0; i < WORKERS; i++)
        assert_true((pid[i] = pid_of(h, workers[i])) > 0);
    pid[WORKERS] = pid_of(h, "broker");
}

/* All stage workers are others, the broker is the same. */
static void assert_replaced(struct harness *h, const pid_t before[WORKERS + 1])
{
    pid_t now[WORKERS + 1];
    pids_of(h, now);
    for (int i = 0; i < WORKERS; i++)
        assert_int_not_equal(now[i], before[i]);
    assert_int_equal(now[WORKERS], before[WORKERS]);
}

static void model_of(struct harness *h, char model[80])
{
    json_t *root = tool_json(h, "status", "");
    const char *digest = json_string_value(json_object_get(json_object_get(root, "serves"), "identity"));
    assert_non_null(digest);
    snprintf(model, 80, "%s", digest);
    json_decref(root);
}

static int native(struct harness *h, struct answer *a, struct error *e)
{
    static float row[STEADY_NUMBERS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = row};
    struct client *c = harness_client(h);
    int rc = client_infer(c, &in, 0, 0, a, NULL, 0, NULL, e);
    client_free(c);
    return rc;
}

static int refused(struct harness *h)
{
    struct client *c = harness_client(h);
    int n = (int)harness_status(c).refused_unloaded;
    client_free(c);
    return n;
}

/* ---- tests ---- */

/* The same files, and then another model in the same place and one more worker: no request fails, and none
 * waits for the order. */
static void it_is_loaded_again_without_a_failed_request(void **state)
{
    struct harness *h = world_up("net.onnx", two_stages);
    static struct steady load; /* their threads outlive a test that fails */
    static struct asker asker;
    char before[80], after[80], line[HARNESS_PATH + 64];
    pid_t pid[WORKERS + 1];
    (void)state;

    pids_of(h, pid);
    model_of(h, before);
    steady_begin(&load, h, 100);
    begin_to_ask(&asker);
    answers(200, post(LOAD, ""));
    replies("\r\n\r\n{}");
    answers(200, get("/v2/models/tiny/ready"));
    assert_replaced(h, pid);
    model_of(h, after);
    assert_string_equal(before, after);

    pids_of(h, pid);
    snprintf(line, sizeof line, "printf '\\062\\001x' >>%.400s/net.onnx", harness_dir(h)); /* a doc_string */
    assert_int_equal(shell(line), 0);
    edit(h, "replicas: 2", "replicas: 3");
    answers(200, post(LOAD, "{\"parameters\":{}}"));
    assert_true(pid_of(h, "stage1.2") > 0);
    assert_replaced(h, pid);
    model_of(h, after);
    assert_string_not_equal(before, after);
    end_to_ask(&asker);
    steady_end(&load);
    tool_ok(h, "apply", "");
    assert_said("nothing to do");
    tool_ok(h, "down", "");
    finish(h);
}

static bool is_ready(void *arg)
{
    (void)arg;
    return get("/v2/health/ready") == 200;
}

static void unloaded_it_refuses_until_it_is_loaded(void **state)
{
    struct harness *h = world_up(NULL, two_stages);
    struct process worker = process_of(h, "stage1.1");
    struct answer a;
    struct error e;
    (void)state;

    answers(200, infer());
    assert_int_equal(native(h, &a, &e) | (int)a.error, FL_OK);
    answers(200, post(UNLOAD, "{\"parameters\":{\"unload_dependents\":true}}"));
    assert_false(process_alive(&worker)); /* its memory is free when the answer comes */
    answers(200, post(INDEX, "{}"));
    replies("\"state\":\"UNAVAILABLE\",\"reason\":\"unloaded\"");
    answers(200, post(INDEX, "{\"ready\":true}"));
    replies("\r\n\r\n[]");
    answers(200, get("/v2/health/live"));
    answers(503, get("/v2/health/ready"));
    answers(503, get("/v2/models/tiny/ready"));
    answers(503, get("/v2/models/tiny"));
    replies("Request for unknown model: 'tiny' is not at ready state");
    answers(503, infer());
    replies("Request for unknown model: 'tiny' is not at ready state");
    assert_int_equal(native(h, &a, &e), FL_OK);
    assert_int_equal(a.error, FL_UNAVAILABLE);
    assert_non_null(strstr(a.text, "Request for unknown model: 'tiny' is not at ready state"));
    tool_ok(h, "status", "");
    assert_said("unloaded over HTTP");
    answers(200, get("/metrics"));
    replies("freezeline_unloaded{model=\"tiny\"} 1");
    assert_int_equal(refused(h), 2);
    answers(200, post(UNLOAD, "")); /* once more is as good as once */

    answers(200, post(LOAD, ""));
    answers(200, get("/v2/health/ready"));
    answers(200, get("/v2/models/tiny"));
    answers(200, infer());
    assert_int_equal(native(h, &a, &e) | (int)a.error, FL_OK);
    answers(200, post(INDEX, "{\"ready\":true}"));
    replies("\"state\":\"READY\",\"reason\":\"\"");
    for (int i = 0; i < WORKERS; i++)
        assert_true(pid_of(h, workers[i]) > 0);
    tool_ok(h, "down", "");
    finish(h);
}

/* What cannot be loaded changes nothing, whether it serves or not. */
static void what_is_wrong_with_the_files_is_told(void **state)
{
    struct harness *h = world_up("net.onnx", two_stages);
    char line[2 * HARNESS_PATH];
    pid_t pid[WORKERS + 1], now[WORKERS + 1];
    (void)state;

    pids_of(h, pid);
    edit(h, "deadline_ms: 150000", "deadline_ms: 140000");
    answers(400, post(LOAD, ""));
    replies("failed to load 'tiny', `broker.deadline_ms` has changed");
    replies("freezeline apply");
    edit(h, "deadline_ms: 140000", "deadline_ms: 150000");
    snprintf(line, sizeof line, "echo nonsense >%.400s/net.onnx", harness_dir(h));
    assert_int_equal(shell(line), 0);
    answers(400, post(LOAD, ""));
    replies("failed to load 'tiny', ");
    pids_of(h, now);
    assert_memory_equal(pid, now, sizeof pid);
    answers(200, infer());
    answers(200, post(UNLOAD, ""));
    answers(400, post(LOAD, ""));
    answers(503, infer());
    snprintf(line, sizeof line,
             "cp tests/data/tiny.onnx %.400s/net.onnx && printf '\\062\\001x' >>%.400s/net.onnx",
             harness_dir(h), harness_dir(h));
    assert_int_equal(shell(line), 0);
    answers(200, post(LOAD, "")); /* another model than served before */
    answers(200, infer());
    tool_ok(h, "down", "");
    finish(h);
}

static bool has_begun(void *arg)
{
    char line[HARNESS_PATH + 64];
    snprintf(line, sizeof line, "grep -q 'load: ordered' %s/logs/supervisor.log",
             harness_pipeline(arg)->state);
    return system(line) == 0;
}

/* Who goes away calls nothing off; who comes meanwhile has its turn afterwards. */
static void orders_are_carried_out_one_after_another(void **state)
{
    struct harness *h = world_up(NULL, two_stages);
    struct process worker = process_of(h, "stage1.0");
    int first, second, third;
    pid_t pid[WORKERS + 1];
    (void)state;

    pids_of(h, pid);
    assert_true(process_signal(&worker, SIGSTOP)); /* its heir waits until it is killed: that takes a while */
    first = begin("POST", LOAD, "", "", 0);
    harness_until(has_begun, h, 60, "the supervisor loads");
    close(first);
    second = begin("POST", UNLOAD, "", "", 0);
    third = begin("POST", LOAD, "", "", 0);
    answers(200, infer()); /* the door's thread waits for none of them */
    answers(200, get("/v2/health/ready"));
    answers(200, end(second));
    answers(200, end(third));
    answers(200, infer());
    assert_replaced(h, pid);
    tool_ok(h, "down", "");
    finish(h);
}

/* Nobody starts workers anew then, and those that are there go on. */
static void without_a_supervisor_it_admits_or_says_what_to_do(void **state)
{
    struct harness *h = world_up(NULL, two_stages);
    struct process it = process_of(h, "supervisor");
    pid_t pid[WORKERS + 1], now[WORKERS + 1];
    (void)state;

    pids_of(h, pid);
    assert_true(process_signal(&it, SIGKILL));
    assert_true(process_wait_gone(&it, 10000));
    answers(503, post(LOAD, ""));
    replies("no supervisor of this broker's host tends the pipeline: `freezeline up` starts one");
    answers(200, infer());
    answers(200, post(UNLOAD, ""));
    answers(503, infer());
    answers(200, post(LOAD, ""));
    answers(200, infer());
    pids_of(h, now);
    assert_memory_equal(pid, now, sizeof pid);
    tool_ok(h, "up", "");
    answers(200, post(LOAD, ""));
    assert_replaced(h, pid);
    tool_ok(h, "down", "");
    finish(h);
}

/* A broker that starts again does not know that it was unloaded; nor does it find workers. */
static void a_broker_that_starts_again_is_loaded_again(void **state)
{
    struct harness *h = world_up(NULL, two_stages);
    struct process before;
    struct replaced broker = {h, "broker", pid_of(h, "broker")};
    (void)state;

    answers(200, post(UNLOAD, ""));
    before = process_of(h, "broker");
    assert_true(process_signal(&before, SIGTERM));
    harness_until(is_replaced, &broker, 60, "the broker starts again");
    find_port(h);
    answers(503, infer());
    answers(200, post(LOAD, ""));
    harness_until(is_ready, NULL, 60, "it is ready");
    answers(200, infer());

    answers(200, post(UNLOAD, ""));
    tool_ok(h, "apply", ""); /* starts workers, and admits nothing */
    assert_true(pid_of(h, "stage1.1") > 0);
    answers(503, infer());
    answers(200, post(LOAD, ""));
    answers(200, infer());
    tool_ok(h, "down", "");
    finish(h);
}

static const char cached[] =
    "name: tiny\n"
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits: [{name: a, after: /blocks.1/Relu_1}]\n"
    "stages:\n"
    "  - last: /blocks.1/Relu_1\n"
    "  - {}\n"
    "cache: {kind: kmeans, grids: [1], nodes: 32, train_epochs: 1, threshold: risk, max_accuracy_loss: 40}\n"
    "updates: {sample: 0, audit: 0}\n"
    "broker: {http: '127.0.0.1:0', model_control: true, heartbeat_ms: 50, dead_after_ms: 1000,\n"
    "         deadline_ms: 150000}\n";

static void build(struct harness *h)
{
    char arguments[2 * HARNESS_PATH + 100];
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%.400s/d.bin#0-199 --calibrate cifar10:%.400s/d.bin#200-399", harness_dir(h),
             harness_dir(h));
    tool_ok(h, "build", arguments);
}

static bool answers_from_caches(void *arg)
{
    tool_ok(arg, "status", "");
    return strstr(output, "the caches promise: at most 40 points") && !strstr(output, "not served yet") &&
           !strstr(output, "of another model");
}

/* As `freezeline apply`: no model without its own caches, and with them they are read. */
static void caches_go_with_their_model(void **state)
{
    struct harness *h = harness_new("net.onnx", cached);
    char line[3 * HARNESS_PATH];
    (void)state;

    snprintf(line, sizeof line,
             "cp configs/demo/demo.onnx %.400s/net.onnx && %.100s/freezeline generate --count 400 --output "
             "%.400s/d.bin",
             harness_dir(h), tool_folder(), harness_dir(h));
    assert_int_equal(shell(line), 0);
    build(h);
    tool_ok(h, "up", "");
    find_port(h);
    harness_until(answers_from_caches, h, 60, "the caches answer");
    snprintf(line, sizeof line, "printf '\\062\\001x' >>%.400s/net.onnx", harness_dir(h));
    assert_int_equal(shell(line), 0);
    answers(400, post(LOAD, ""));
    replies("were built for another model");
    build(h);
    answers(200, post(LOAD, ""));
    harness_until(answers_from_caches, h, 60, "the new caches answer");
    tool_ok(h, "down", "");
    finish(h);
}

/* Loopback asks nobody who he is, so what changes the pipeline takes a word in its file; a page in a browser
 * has none. */
static void nobody_may_who_is_not_asked(void **state)
{
    struct harness *h = world_up(NULL, "exits: none\nstages: 1\ncache: {kind: none}\n"
                                       "broker: {http: '127.0.0.1:0'}\n");
    (void)state;

    answers(403, post(UNLOAD, ""));
    replies("broker.model_control: true");
    answers(403, post(LOAD, ""));
    answers(200, infer());
    edit(h, "broker: {", "broker: {model_control: true, ");
    tool_ok(h, "apply", "");
    find_port(h);
    answers(403, end(begin("POST", UNLOAD, "Origin: http://127.0.0.1:1\r\n", "", 0)));
    answers(403, end(begin("POST", UNLOAD, "Sec-Fetch-Site: cross-site\r\n", "", 0)));
    answers(200, infer());
    answers(200, post(UNLOAD, ""));
    answers(503, infer());
    tool_ok(h, "down", "");
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_loaded_again_without_a_failed_request),
        cmocka_unit_test(unloaded_it_refuses_until_it_is_loaded),
        cmocka_unit_test(what_is_wrong_with_the_files_is_told),
        cmocka_unit_test(orders_are_carried_out_one_after_another),
        cmocka_unit_test(without_a_supervisor_it_admits_or_says_what_to_do),
        cmocka_unit_test(a_broker_that_starts_again_is_loaded_again),
        cmocka_unit_test(caches_go_with_their_model),
        cmocka_unit_test(nobody_may_who_is_not_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
