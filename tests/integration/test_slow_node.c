/* test_slow_node.c - one node that takes longer than broker.dead_after_ms: no death, unless it seems to hang
 *
 * The first convolution of slow.onnx takes a second with the reference kernel; sanitizers make that forty
 * times slower, so there wide.onnx has to do. A busy machine lets a node, and a heartbeat, take longer: how
 * long the node takes is measured first, and a third of that is what a worker may be silent for.
 */
#include "harness.h"

#include <limits.h>
#include <stdlib.h>

#include "base/clock.h"

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MODEL "tests/data/wide.onnx"
enum { SIDE = 224, REQUESTS = 6 };
#else
#define MODEL "tests/data/slow.onnx"
enum { SIDE = 16, REQUESTS = 1 };
#endif

static const char vouched[] = "stages: 1\nexits: none\ncache: {kind: none}\nkernels: reference\n"
                              "broker: {deadline_ms: 120000, heartbeat_ms: 20, dead_after_ms: %d}\n";
static const char doubted[] =
    "stages: 1\nexits: none\ncache: {kind: none}\nkernels: reference\n"
    "broker: {deadline_ms: 120000, heartbeat_ms: 10, dead_after_ms: 50, hung_after_ms: 150}\n";

static struct harness *up(const char *yaml, struct client **client, int *broker)
{
    char model[PATH_MAX];
    struct harness *h = harness_new(realpath(MODEL, model), yaml);
    *broker = harness_pipeline_up(h);
    *client = harness_client(h);
    return h;
}

static void submit(struct client *client, uint64_t *id)
{
    static float pixels[3 * SIDE * SIDE];
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, SIDE, SIDE}, .data = pixels};
    struct error e;
    harness_random(pixels, tensor_count(&input), 1);
    if (client_submit(client, &input, 0, 0, id, &e))
        fail_msg("%s", e.text);
}

/* All are answered at the first attempt. Returns how long the longest computed, in ms. */
static int longest_of(struct client *client, int requests)
{
    struct answer a;
    struct error e;
    float scores[10];
    uint64_t id, longest_ns = 0;
    int n;

    for (int i = 0; i < requests; i++)
        submit(client, &id);
    for (int i = 0; i < requests; i++) {
        if (client_receive(client, 120000, &a, scores, 10, &n, &e))
            fail_msg("%s", e.text);
        if (a.error)
            fail_msg("%s", a.text);
        assert_int_equal(n, 10);
        assert_int_equal(a.attempts, 1);
        longest_ns = a.trace.stage[0].compute_ns > longest_ns ? a.trace.stage[0].compute_ns : longest_ns;
    }
    return (int)(longest_ns / NS_PER_MS);
}

static int up_and_measure(int dead_after_ms, int requests)
{
    char yaml[sizeof vouched + 16];
    struct client *client;
    int broker, longest_ms;
    struct harness *h;

    snprintf(yaml, sizeof yaml, vouched, dead_after_ms);
    h = up(yaml, &client, &broker);
    longest_ms = longest_of(client, requests);
    assert_int_equal(harness_status(client).retried, 0);
    assert_int_equal(harness_count(h, broker, "is gone"), 0);
    client_free(client);
    harness_free(h);
    return longest_ms;
}

/* Where the machine was busy only as long as nothing could die, it is tried again. */
static void test_a_long_node_is_no_death(void **state)
{
    int took_ms = up_and_measure(60000, REQUESTS), dead_after_ms;

    do {
        dead_after_ms = took_ms / 3;       /* batches may fall otherwise the next time */
        assert_true(dead_after_ms >= 200); /* ten heartbeats */
        took_ms = up_and_measure(dead_after_ms, REQUESTS);
    } while (took_ms <= dead_after_ms);
}

/* Its thread may never come back: the broker must find out. */
static void test_a_node_without_end_is_one(void **state)
{
    struct client *client;
    uint64_t id;
    int broker;
    struct harness *h = up(doubted, &client, &broker);
    for (int i = 0; i < REQUESTS; i++)
        submit(client, &id);
    harness_expect(h, broker, "is gone", 1);
    client_free(client);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_long_node_is_no_death),
        cmocka_unit_test(test_a_node_without_end_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
