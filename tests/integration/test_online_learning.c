/* test_online_learning.c - caches that never saw one class learn it from traffic, while Redis dies and comes
 * back
 *
 * The demo's network and its pictures, through the real pipeline: the broker samples, the cache service joins
 * descriptors with outcomes, Redis keeps the updates, a new epoch is swapped in. The caches are built without
 * one class. They first serve without any Redis, so nothing can be learned and few requests of that class are
 * answered early; then Redis starts, is killed in the middle of traffic, and starts again.
 */
#include "harness.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/command.h"
#include "deploy/data/shapes.h"

#define NEW_CLASS 6 /* star */
#define IN_FLIGHT 4
#define WINDOW    120 /* requests of the class over which shares are taken */
#define GAIN      0.3 /* by which the early share must grow */

static const char yaml[] =
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits: auto\n"
    "stages: 3\n"
    "cache: {kind: kmeans, nodes: 64, grids: [1, 2], memory_mb: 2, train_epochs: 4, wait_us: 20000}\n"
    "redis: {endpoint: 'unix:redis.sock'}\n"
    "updates: {sample: 1, audit: 0.05, batch: 256, interval_ms: 100}\n"
    "broker: {deadline_ms: 30000}\n";

/* What came of the requests that were sent so far. */
struct traffic {
    struct client *client;
    uint64_t next; /* picture */
    int sent, answered, failed;
    int of_class, early; /* of NEW_CLASS; answers of a cache with that label */
};

static void find_model(char path[PATH_MAX])
{
    static const char *const at[] = {"configs/demo/demo.onnx", "../configs/demo/demo.onnx",
                                     "../../configs/demo/demo.onnx"};
    for (int i = 0; i < 3; i++)
        if (realpath(at[i], path))
            return;
    fail_msg("run this test from inside the repository");
}

static void generate(const struct harness *h, const char *name, const char *count, const char *seed)
{
    char path[HARNESS_PATH];
    struct error e = {FL_OK, ""};
    snprintf(path, sizeof path, "%.400s/%s", harness_dir(h), name);
    char *argv[] = {"generate",
                    "--count",
                    (char *)(uintptr_t)count,
                    "--seed",
                    (char *)(uintptr_t)seed,
                    "--output",
                    path,
                    "--without",
                    (char *)(uintptr_t)shapes_label(NEW_CLASS),
                    NULL};
    if (command_generate(9, argv, &e))
        fail_msg("%s", e.text);
}

static void build_without_the_class(struct harness *h)
{
    char train[HARNESS_PATH], calibrate[HARNESS_PATH];
    struct error e = {FL_OK, ""};
    generate(h, "train.bin", "2500", "21");
    generate(h, "calibrate.bin", "800", "22");
    snprintf(train, sizeof train, "cifar10:%.400s/train.bin", harness_dir(h));
    snprintf(calibrate, sizeof calibrate, "cifar10:%.400s/calibrate.bin", harness_dir(h));
    char *argv[] = {"build",   "-c", (char *)(uintptr_t)harness_config(h), "--train", train, "--calibrate",
                    calibrate, NULL};
    if (command_build(7, argv, &e))
        fail_msg("%s", e.text);
}

/* The next picture: every other one is easy and of the new class, so that what the caches know decides, not
 * the picture. */
static void submit(struct traffic *t)
{
    static float pixels[SHAPES_BYTES];
    uint8_t planes[SHAPES_BYTES];
    struct shapes_truth truth;
    struct error e = {FL_OK, ""};
    uint64_t id;
    bool wanted = t->sent % 2;
    do
        shapes_draw(23, t->next++, SHAPES_MORPH_FROM, planes, &truth);
    while ((truth.label == NEW_CLASS) != wanted || truth.difficulty >= SHAPES_EASY);
    for (int i = 0; i < SHAPES_BYTES; i++)
        pixels[i] = ((float)planes[i] - 128.0f) / 64.0f;
    struct tensor x = {
        .dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, SHAPES_SIDE, SHAPES_SIDE}, .data = pixels};
    if (client_submit(t->client, &x, 0, 0, &id, &e))
        fail_msg("%s", e.text);
    t->sent++;
    t->of_class += wanted;
}

static void receive(struct traffic *t)
{
    struct answer a;
    struct error e = {FL_OK, ""};
    float scores[SHAPES_CLASSES];
    int n;
    if (client_receive(t->client, 60000, &a, scores, SHAPES_CLASSES, &n, &e))
        fail_msg("no answer: %s", e.text);
    t->answered++;
    if (a.error) {
        fprintf(stderr, "request failed: %s\n", a.text);
        t->failed++;
    }
    if (!a.error && a.exit >= 0 && a.label == NEW_CLASS)
        t->early++;
}

/* Sends `count` requests, IN_FLIGHT at a time, and waits for their answers. Returns the share of the new
 * class's pictures that a cache answered with that class. */
static double send_requests(struct traffic *t, int count)
{
    int of_class = t->of_class, early = t->early;
    for (int i = 0; i < count; i++) {
        if (i >= IN_FLIGHT)
            receive(t);
        submit(t);
    }
    while (t->answered < t->sent)
        receive(t);
    return (double)(t->early - early) / (double)(t->of_class - of_class);
}

static uint64_t cache_epoch(struct traffic *t)
{
    static struct status_reply s;
    struct error e = {FL_OK, ""};
    if (client_status(t->client, 20000, &s, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < s.n_processes; i++)
        if (s.process[i].role == ROLE_CACHE)
            return s.process[i].last.epoch;
    return 0;
}

/* Sends traffic until the share of early answers or the epoch is where it should be. */
static double learn(struct traffic *t, double until_share, uint64_t until_epoch)
{
    double share = 0;
    for (int round = 0; round < 60; round++) {
        share = send_requests(t, 2 * WINDOW);
        if (share >= until_share && cache_epoch(t) >= until_epoch)
            return share;
    }
    fail_msg("after %d requests the caches answer %.0f%% of the new class (wanted: %.0f%%), epoch %llu "
             "(wanted: %llu)",
             t->sent, 100 * share, 100 * until_share, (unsigned long long)cache_epoch(t),
             (unsigned long long)until_epoch);
    return 0;
}

static void test_a_class_is_learned_from_traffic_though_redis_dies(void **state)
{
    char model[PATH_MAX], endpoint[HARNESS_PATH];
    struct traffic t = {0};
    struct error e = {FL_OK, ""};
    int redis;
    find_model(model);
    struct harness *h = harness_new(model, yaml);
    build_without_the_class(h);
    harness_cache(h, 0);
    harness_pipeline_up(h);
    if (client_new(&t.client, harness_pipeline(h), &e))
        fail_msg("%s", e.text);

    double before = send_requests(&t, 2 * WINDOW); /* there is no Redis: nothing is learned */
    uint64_t epoch = cache_epoch(&t);
    if ((redis = harness_redis(h, endpoint)) < 0)
        skip();
    learn(&t, 0, epoch + 1);

    harness_signal(h, redis, SIGKILL);
    harness_wait(h, redis);
    send_requests(&t, 2 * WINDOW); /* nobody notices */
    epoch = cache_epoch(&t);
    assert_true(harness_redis(h, endpoint) >= 0);
    double after = learn(&t, before + GAIN, epoch + 1);

    printf("%d requests, %d failed; of easy pictures of a new class caches answer %.0f%% at first, %.0f%% at "
           "last\n",
           t.sent, t.failed, 100 * before, 100 * after);
    assert_int_equal(t.failed, 0);
    assert_int_equal(t.answered, t.sent);
    client_free(t.client);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_class_is_learned_from_traffic_though_redis_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
