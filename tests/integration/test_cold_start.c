/* test_cold_start.c - `up` where nothing was built: caches are learned from traffic, certified, and serve
 *
 * The demo's network and its pictures through all processes that `up` starts. The learner is killed in the
 * middle; in the end everything is stopped and started again, and what was learned is still there.
 */
#include "tool_world.h"

#include <limits.h>

#include "deploy/build/cold_start.h"
#include "deploy/data/shapes.h"
#include "deploy/tool/command.h"

#define IN_FLIGHT 8
#define ROUND     200
#define ROUNDS    120

static const char yaml[] =
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits:\n"
    "  - {name: a, after: /blocks.3/Relu_1}\n"
    "  - {name: b, after: /blocks.5/Relu_1}\n"
    "cache: {kind: kmeans, nodes: 32, grids: [1, 2], memory_mb: 1, train_epochs: 2, threshold: risk,\n"
    "        promise: agreement, max_accuracy_loss: 5, certainty: 0.8, wait_us: 20000}\n"
    "redis: {managed: true}\n"
    "updates: {interval_ms: 100, reservoir_mb: 20}\n"
    "broker: {deadline_ms: 30000}\n";

/* Each early answer is an audit, and what its worker leaves behind is not tried again. */
static const char all_audited[] =
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits:\n"
    "  - {name: a, after: /blocks.3/Relu_1}\n"
    "  - {name: b, after: /blocks.5/Relu_1}\n"
    "stages: [{last: a}, {last: b}, {}]\n"
    "cache: {kind: kmeans, nodes: 32, grids: [1, 2], memory_mb: 1, train_epochs: 2, threshold: risk,\n"
    "        promise: agreement, max_accuracy_loss: 5, certainty: 0.8, wait_us: 20000}\n"
    "redis: {managed: true}\n"
    "updates: {interval_ms: 100, reservoir_mb: 20, audit: 1}\n"
    "broker: {deadline_ms: 30000, retries: 0}\n";

static const char apart[] =
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits: [{name: a, after: /blocks.3/Relu_1}]\n"
    "cache: {kind: kmeans, nodes: 16, grids: [1], memory_mb: 1, train_epochs: 1, threshold: risk,\n"
    "        promise: agreement, max_accuracy_loss: 20, certainty: 0.8}\n"
    "redis: {endpoint: 'unix:redis.sock'}\n"
    "updates: {reservoir_mb: 5}\n";

struct traffic {
    struct client *client;
    uint64_t next; /* picture */
    bool may_fail;
    int sent, answered, early, early_right;
    int32_t label[ROUNDS * ROUND + 1];
    uint64_t id[ROUNDS * ROUND + 1], request[ROUNDS * ROUND + 1]; /* the client's number, the broker's */
};

/* An absolute path; any test is run from the top of the repository. */
static const char *demo(void)
{
    static char path[PATH_MAX];
    if (!realpath("configs/demo/demo.onnx", path))
        fail_msg("run this test from the top of the repository");
    return path;
}

static void submit(struct traffic *t)
{
    static float pixels[SHAPES_BYTES];
    uint8_t planes[SHAPES_BYTES];
    struct shapes_truth truth;
    struct error e = {FL_OK, ""};
    do
        shapes_draw(31, t->next++, SHAPES_MORPH_FROM, planes, &truth);
    while (truth.difficulty >= SHAPES_EASY);
    for (int i = 0; i < SHAPES_BYTES; i++)
        pixels[i] = ((float)planes[i] - 128.0f) / 64.0f;
    struct tensor x = {
        .dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, SHAPES_SIDE, SHAPES_SIDE}, .data = pixels};
    t->label[t->sent] = truth.label;
    if (client_submit(t->client, &x, 0, 0, &t->id[t->sent], &e))
        fail_msg("%s", e.text);
    t->sent++;
}

static void receive(struct traffic *t)
{
    struct answer a;
    struct error e = {FL_OK, ""};
    float scores[SHAPES_CLASSES];
    int n, i = t->sent - 1;
    if (client_receive(t->client, 60000, &a, scores, SHAPES_CLASSES, &n, &e) || (a.error && !t->may_fail))
        fail_msg("no answer: %s%s", e.text, a.error ? a.text : "");
    while (t->id[i] != a.id)
        assert_true(--i >= 0);
    t->answered++;
    t->early += a.exit >= 0;
    t->request[i] = a.request;
    t->early_right += a.exit >= 0 && a.label == t->label[i];
}

/* Returns how many were answered by caches. */
static int send_requests(struct traffic *t, int count)
{
    int early = t->early;
    for (int i = 0; i < count; i++) {
        if (i >= IN_FLIGHT)
            receive(t);
        submit(t);
    }
    while (t->answered < t->sent)
        receive(t);
    return t->early - early;
}

/* Traffic until a fifth of it is answered early. A pause after each round: a learner has the cores that
 * others leave, and on a busy machine that is little. */
static void learn(struct traffic *t)
{
    for (int round = 0; round < ROUNDS - 10; round++) {
        if (send_requests(t, ROUND) > ROUND / 5)
            return;
        sleep(1);
    }
    fail_msg("after %d requests caches answered %d", t->sent, t->early);
}

static void open_client(struct traffic *t, const struct harness *h)
{
    struct error e = {FL_OK, ""};
    if (client_new(&t->client, harness_pipeline(h), &e))
        fail_msg("%s", e.text);
}

static json_t *told_of(json_t *status, const char *role)
{
    json_t *process;
    size_t i;
    json_array_foreach(
        json_object_get(status, "processes"), i,
        process) if (!strcmp(json_string_value(json_object_get(process, "role")), role)) return process;
    fail_msg("no %s in status", role);
    return NULL;
}

static bool is_text(json_t *o, const char *key, const char *text)
{
    const char *is = json_string_value(json_object_get(o, key));
    return is && !strcmp(is, text);
}

static bool learns(void *arg)
{
    json_t *status = tool_json(arg, "status", "");
    bool yes = is_text(json_object_get(told_of(status, "cache0"), "learning"), "state", "certified") &&
               is_text(told_of(status, "learner0"), "state", "ready");
    json_decref(status);
    return yes;
}

static void assert_learns(struct harness *h)
{
    harness_until(learns, h, 60, "no cache service that serves what a learner certifies");
}

static void kill_learner(struct harness *h)
{
    struct replaced learner = {h, "learner0", pid_of(h, "learner0")};
    assert_true(learner.old > 0);
    assert_int_equal(kill(learner.old, SIGKILL), 0);
    harness_until(is_replaced, &learner, 60, "no other learner");
}

static json_int_t count_of(struct harness *h, const char *command, const char *arguments, const char *key)
{
    json_t *o = tool_json(h, command, arguments);
    json_int_t n = json_integer_value(json_object_get(o, key));
    json_decref(o);
    return n;
}

/* The last ROUND answers, and lines that are wrong. */
static void tell_what_was_true(struct harness *h, const struct traffic *t)
{
    char path[HARNESS_PATH], line[HARNESS_PATH + 64];
    FILE *f;
    snprintf(path, sizeof path, "%.400s/labels.csv", harness_dir(h));
    assert_non_null(f = fopen(path, "we"));
    fputs("request,label\n", f);
    for (int i = t->sent - ROUND; i < t->sent; i++)
        fprintf(f, "%llu,%d\n", (unsigned long long)t->request[i], (int)t->label[i]);
    assert_int_equal(fclose(f), 0);
    snprintf(line, sizeof line, "--input %s", path);
    assert_int_equal(count_of(h, "feedback", line, "taken"), ROUND);
    assert_non_null(f = fopen(path, "ae"));
    fputs("7,1\n{\"request\": 8, \"truth\": 77}\n", f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(tool(h, "feedback", line), 1);
    assert_said(
        "labels.csv:203 (--skip-bad leaves such lines out): label 77: the network has the classes 0 to 9");
    strcat(line, " --skip-bad");
    tool_ok(h, "feedback", line);
    assert_said("1 refused: of another broker");
    assert_said("1 lines left out");
}

/* The manifest of a cold start names exits, and no caches that could be judged. */
static void evaluates_the_network_alone(struct harness *h)
{
    char line[4 * HARNESS_PATH];
    const char *dir = harness_dir(h);
    snprintf(line, sizeof line, "%.400s/freezeline generate --count 20 --seed 6 --output %.400s/e.bin 2>&1",
             tool_folder(), dir);
    assert_int_equal(shell(line), 0);
    snprintf(line, sizeof line, "--data cifar10:%.300s/e.bin", dir);
    tool_ok(h, "eval", line);
    assert_said("20 requests, to the network alone: no caches are built yet");
}

/* What bench writes, feedback reads. */
static void bench_tells_what_the_data_say(struct harness *h)
{
    char line[4 * HARNESS_PATH];
    const char *dir = harness_dir(h);
    snprintf(line, sizeof line, "%.400s/freezeline generate --count 200 --seed 5 --output %.400s/d.bin 2>&1",
             tool_folder(), dir);
    assert_int_equal(shell(line), 0);
    snprintf(line, sizeof line,
             "--data cifar10:%.300s/d.bin --requests 100 --no-warm-up --labels %.300s/l.csv", dir, dir);
    tool_ok(h, "bench", line);
    snprintf(line, sizeof line, "--input %.300s/l.csv", dir);
    assert_int_equal(count_of(h, "feedback", line, "taken"), 100);
}

/* The oldest of the epochs that are kept: not each number came to serve. */
static int oldest_kept(struct harness *h)
{
    const char *list, *last;

    tool_ok(h, "cache history", "");
    assert_non_null(list = strstr(output, "kept, to go back to: "));
    list += strlen("kept, to go back to: ");
    last = list + strcspn(list, "\n");
    while (last > list && last[-1] != ' ')
        last--;
    return atoi(last);
}

/* A learner that got no core for as long as its lease lasts works again a moment later. */
static bool epoch_is_told(void *arg)
{
    json_t *status = tool_json(arg, "status", ""), *learner = json_object_get(status, "learner");
    bool is = json_array_size(json_object_get(status, "events")) > 0 &&
              json_integer_value(json_object_get(learner, "epoch")) > 0 &&
              json_array_size(json_object_get(learner, "exits")) == 2;
    json_decref(status);
    return is;
}

struct wanted_epoch {
    struct harness *h;
    int number;
};

/* The history and the caches call an epoch by one number. */
static bool caches_have_the_epoch(void *arg)
{
    const struct wanted_epoch *w = arg;
    json_t *status = tool_json(w->h, "status", ""), *row;
    int n = 0;
    size_t i;
    json_array_foreach(json_object_get(status, "processes"), i, row)
    {
        const char *role = json_string_value(json_object_get(row, "role"));
        n += role && !strncmp(role, "cache", 5) &&
             json_integer_value(json_object_get(row, "epoch")) == w->number;
    }
    json_decref(status);
    return n == 1;
}

static void an_operator_sees_it_and_stops_it(struct harness *h)
{
    struct wanted_epoch wanted = {h, 0};
    char number[16], serves[48];

    harness_until(epoch_is_told, h, 60, "no learner whose epoch serves, with two exits and events");
    assert_true(count_of(h, "cache", "history", "epoch") > 0);
    tool_ok(h, "cache freeze", "");
    assert_said("learning is frozen");
    wanted.number = oldest_kept(h); /* while frozen: else a new one could push it out */
    snprintf(number, sizeof number, "%d", wanted.number);
    snprintf(serves, sizeof serves, "epoch %s serves again", number);
    tool_ok(h, "cache rollback", number);
    assert_said(serves);
    harness_until(caches_have_the_epoch, &wanted, 60, "caches of the epoch that serves again");
    tool_ok(h, "cache thaw", "");
    tool_ok(h, "top", "--once");
    assert_said("last events");
}

static void caches_come_of_traffic_alone(void **state)
{
    struct traffic *t = calloc(1, sizeof *t);
    struct harness *h = harness_new(demo(), yaml);
    int early;
    assert_non_null(t);
    tool_ok(h, "up", "");
    assert_said("time the exits: ");
    assert_said("cold start");
    assert_said("at most 5 points of agreement lost, certainty 80%");
    tool_ok(h, "down", "");
    tool_ok(h, "up", "");
    assert_said("no caches are certified yet");
    evaluates_the_network_alone(h);
    assert_learns(h);
    open_client(t, h);
    assert_int_equal(send_requests(t, 2 * ROUND), 0); /* nothing is certified */
    kill_learner(h);
    learn(t);
    assert_true(t->early_right > t->early * 8 / 10);
    assert_learns(h);
    tell_what_was_true(h, t);
    bench_tells_what_the_data_say(h);
    an_operator_sees_it_and_stops_it(h);
    client_free(t->client);
    tool_ok(h, "down", "");
    tool_ok(h, "up", "");
    assert_null(strstr(output, "cold start"));
    open_client(t, h);
    early = send_requests(t, ROUND); /* what was learned is there at once */
    assert_true(early > 0);
    assert_learns(h);
    printf("%d requests, %d answered by caches, %d of them right\n", t->sent, t->early, t->early_right);
    client_free(t->client);
    tool_ok(h, "down", "");
    harness_free(h);
    free(t);
}

/* The last worker dies while those that were answered early wait before it for their truth. They go there
 * only while the broker has room for more than is under way, so the others must be few. */
static void lose_audits(struct harness *h, struct traffic *t)
{
    struct replaced last = {h, "stage2.0", pid_of(h, "stage2.0")};

    assert_true(last.old > 0);
    assert_int_equal(kill(last.old, SIGSTOP), 0);
    for (int i = 0; i < ROUND / 10; i++)
        submit(t);
    sleep(1);
    assert_int_equal(kill(last.old, SIGKILL), 0);
    while (t->answered < t->sent)
        receive(t);
    harness_until(is_replaced, &last, 60, "no other worker");
}

/* Without a promise of accuracy an audit is lost when it differs: more are only where nobody knows. Many
 * raise the alarm. */
static bool loss_is_told(void *arg)
{
    json_t *status = tool_json(arg, "status", ""), *learner = json_object_get(status, "learner");
    bool is = json_integer_value(json_object_get(learner, "lost")) >
                  json_integer_value(json_object_get(learner, "differ")) ||
              is_text(learner, "state", "tightened") || is_text(learner, "state", "off");
    json_decref(status);
    return is;
}

static void what_comes_to_nothing_counts_as_lost(void **state)
{
    struct traffic *t = calloc(1, sizeof *t);
    struct harness *h = harness_new(demo(), all_audited);
    assert_non_null(t);
    tool_ok(h, "up", "");
    assert_learns(h);
    open_client(t, h);
    learn(t);
    assert_false(loss_is_told(h));
    t->may_fail = true;
    for (int i = 0; i < 10 && !loss_is_told(h); i++)
        lose_audits(h, t);
    harness_until(loss_is_told, h, 60, "the learner hears of no audit that was lost");
    client_free(t->client);
    tool_ok(h, "down", "");
    finish(h);
    free(t);
}

/* A build, which takes the place of the cold start that is there. */
static void build(struct harness *h)
{
    char data[HARNESS_PATH], train[HARNESS_PATH + 32], calibrate[HARNESS_PATH + 32];
    struct error e = {FL_OK, ""};
    snprintf(data, sizeof data, "%.400s/d.bin", harness_dir(h));
    snprintf(train, sizeof train, "cifar10:%.500s#0-599", data);
    snprintf(calibrate, sizeof calibrate, "cifar10:%.500s#600-999", data);
    char *generate[] = {"generate", "--count", "1000", "--seed", "5", "--output", data, NULL};
    char *argv[] = {"build",   "-c", (char *)(uintptr_t)harness_config(h), "--train", train, "--calibrate",
                    calibrate, NULL};
    if (command_generate(7, generate, &e) || command_build(7, argv, &e))
        fail_msg("%s", e.text);
}

/* As a learner of a host that cannot be reached from here would, for a while. */
static void take_lease(const struct harness *h, const char *endpoint, int ms)
{
    char line[2 * HARNESS_PATH];
    snprintf(line, sizeof line, "redis-cli -s %s SET 'freezeline:{%s}:lease' 1:another PX %d",
             endpoint + strlen("unix:"), harness_pipeline(h)->name, ms);
    assert_int_equal(shell(line), 0);
    assert_said("OK");
}

/* Each process by itself, as on several machines. */
static void of_two_learners_one_works_whatever_dies(void **state)
{
    struct harness *h = harness_new(demo(), apart);
    char endpoint[HARNESS_PATH];
    struct model_shape *model = malloc(sizeof *model);
    struct error e = {FL_OK, ""};
    int redis, cache, first, second;
    bool began;
    assert_non_null(model);
    if (model_shape_load(model, harness_pipeline(h), &e) ||
        cold_start(harness_pipeline(h), model, &began, &e))
        fail_msg("%s", e.text);
    assert_true(began);
    if (cold_start(harness_pipeline(h), model, &began, &e))
        fail_msg("%s", e.text);
    assert_false(began); /* it is there already */
    redis = harness_redis(h, endpoint);
    cache = harness_cache(h, 0);
    harness_pipeline_up(h);
    first = harness_spawn(h, "freezeline-learner", NULL);
    harness_expect(h, first, "learns from build", 1);
    second = harness_spawn(h, "freezeline-learner", "--index", "1", NULL);
    harness_expect(h, second, "ready: learner 1", 1);
    assert_int_equal(harness_count(h, second, "learns from build"), 0);
    harness_signal(h, first, SIGKILL);
    harness_wait(h, first);
    harness_expect(h, second, "learns from build", 1);
    take_lease(h, endpoint, 4000);
    harness_expect(h, second, "the learner (fence", 2);
    assert_int_equal(harness_count(h, second, "lets go of what"), 0);
    take_lease(h, endpoint, 14000);
    harness_expect(h, second, "lets go of what", 1);
    harness_expect(h, second, "the learner (fence", 3);
    assert_int_equal(harness_count(h, second, "learns from build"), 1); /* it goes on with that */
    harness_signal(h, redis, SIGKILL);
    harness_wait(h, redis);
    assert_true(harness_redis(h, endpoint) >= 0);
    harness_expect(h, second, "does again all that is wanted of it", 1);
    build(h);
    harness_signal(h, cache, SIGHUP);
    harness_expect(h, second, "learns from build", 2);
    harness_signal(h, second, SIGTERM);
    assert_int_equal(harness_wait(h, second), 0);
    free(model);
    harness_free(h);
}

static void without_redis_nothing_is_begun(void **state)
{
    struct harness *h = harness_new(demo(), yaml);
    json_t *status;
    tool_ok(h, "up", "--set redis.managed=false");
    assert_said("no caches are built yet");
    assert_said("with Redis");
    status = tool_json(h, "status", "");
    assert_int_equal(json_array_size(json_object_get(status, "processes")), 3); /* no learner */
    json_decref(status);
    tool_ok(h, "down", "");
    harness_free(h);
}

/* Between stages all is rounded, so the network that serves is not the one of the promise. */
static const char rounded[] =
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "wire_dtype: bfloat16\n"
    "exits: [{name: a, after: /blocks.3/Relu_1}]\n"
    "stages: [{last: a}, {}]\n"
    "cache: {kind: kmeans, nodes: 16, grids: [1], memory_mb: 1, train_epochs: 1, threshold: risk,\n"
    "        promise: agreement, max_accuracy_loss: 30, certainty: 0.8}\n"
    "redis: {managed: true}\n"
    "updates: {interval_ms: 100, reservoir_mb: 5, audit: 1, audit_most: 1}\n"
    "broker: {deadline_ms: 30000}\n";

static bool has_taught(void *arg)
{
    tool_ok(arg, "cache history", "");
    return strstr(output, "taught") != NULL;
}

static void below_float32_what_was_built_learns_on(void **state)
{
    struct traffic *t = calloc(1, sizeof *t);
    struct harness *h = harness_new(demo(), rounded);
    char line[3 * HARNESS_PATH];
    const char *dir = harness_dir(h);
    assert_non_null(t);
    tool_ok(h, "up", "");
    assert_said("it alone knows what that loses"); /* a build: no cold start */
    tool_ok(h, "down", "");
    snprintf(line, sizeof line, "%.400s/freezeline generate --count 800 --output %.400s/d.bin 2>&1",
             tool_folder(), dir);
    assert_int_equal(shell(line), 0);
    snprintf(line, sizeof line, "--train cifar10:%.400s/d.bin#0-399 --calibrate cifar10:%.400s/d.bin#400-799",
             dir, dir);
    tool_ok(h, "build", line);
    tool_ok(h, "up", "");
    assert_learns(h);
    open_client(t, h);
    for (int round = 0; !has_taught(h); round++) {
        assert_true(round < ROUNDS);
        send_requests(t, ROUND / 4);
        sleep(1); /* audits run when nothing else does */
    }
    client_free(t->client);
    tool_ok(h, "down", "");
    harness_free(h);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(caches_come_of_traffic_alone),
        cmocka_unit_test(what_comes_to_nothing_counts_as_lost),
        cmocka_unit_test(of_two_learners_one_works_whatever_dies),
        cmocka_unit_test(without_redis_nothing_is_begun),
        cmocka_unit_test(below_float32_what_was_built_learns_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
