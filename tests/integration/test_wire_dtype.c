/* test_wire_dtype.c - activations between stages in bfloat16: half of the bytes, the same answers by every
 * way
 */
#include "slow_wire.h"

#include <math.h>
#include <string.h>

#define PIXELS   (3 * 16 * 16)
#define CLASSES  10
#define REQUESTS 20

static const char stages[] = "stages:\n"
                             "  - {last: block1.out}\n"
                             "  - {last: block2.out}\n"
                             "  - {}\n"
                             "exits: none\n"
                             "kernels: openblas\n"
                             "broker: {deadline_ms: 30000, heartbeat_ms: 50}\n";

struct answers {
    int32_t label[REQUESTS];
    float scores[REQUESTS][CLASSES];
    long long activation_bytes; /* through the socket before stage 1; 0: none went there */
};

static void ask(struct answers *out, struct client *client)
{
    for (int i = 0; i < REQUESTS; i++) {
        struct error e = {FL_OK, ""};
        float data[PIXELS];
        struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
        struct answer a;
        int n;
        harness_random(data, PIXELS, (uint64_t)i);
        if (client_infer(client, &in, 0, 0, &a, out->scores[i], CLASSES, &n, &e))
            fail_msg("%s", e.text);
        if (a.error)
            fail_msg("%s: %s", error_name((int)a.error), a.text);
        out->label[i] = a.label;
    }
}

/* As from another host: stage 0 reaches stage 1 through a wire of ours, which no lane passes by. */
static void start_apart(struct harness *h, struct slow_wire *wire)
{
    char set[2 * HARNESS_PATH];
    slow_wire_start(wire, h, "apart", ZMQ_PULL, harness_pipeline(h)->stage[1].replica[0].endpoint);
    snprintf(set, sizeof set, "stages.1.replicas.0.endpoint=%s", wire->endpoint);
    harness_broker(h);
    harness_spawn(h, "freezeline-stage", "--stage", "0", "--set", set, NULL);
    harness_stage(h, 1, 0);
    harness_stage(h, 2, 0);
    harness_expect(h, 0, "every stage has a ready worker", 1);
}

static void serve(struct answers *out, const char *more, bool apart)
{
    char yaml[sizeof stages + 128];
    struct slow_wire wire = {.context = NULL};
    struct harness *h;
    struct client *client;
    memset(out, 0, sizeof *out);
    snprintf(yaml, sizeof yaml, "%s%s", stages, more);
    h = harness_new(NULL, yaml);
    if (apart)
        start_apart(h, &wire);
    else
        harness_pipeline_up(h);
    client = harness_client(h);
    ask(out, client);
    out->activation_bytes = atomic_load(&wire.largest_bytes);
    client_free(client);
    slow_wire_stop(&wire);
    harness_free(h);
}

static void half_of_the_bytes_and_the_same_labels(void **state)
{
    static struct answers exact, narrow, lanes, sockets;
    serve(&exact, "", true);
    serve(&narrow, "wire_dtype: bfloat16\n", true);
    assert_true(exact.activation_bytes > 1024);
    assert_true(narrow.activation_bytes * 2 == exact.activation_bytes);
    assert_memory_equal(narrow.label, exact.label, sizeof exact.label);
    assert_memory_not_equal(narrow.scores, exact.scores, sizeof exact.scores);
    for (int i = 0; i < REQUESTS; i++)
        for (int k = 0; k < CLASSES; k++)
            assert_true(fabsf(narrow.scores[i][k] - exact.scores[i][k]) < 0.02f);
    /* An answer does not depend on the way. */
    serve(&lanes, "wire_dtype: bfloat16\n", false);
    serve(&sockets, "wire_dtype: bfloat16\nshared_memory: false\n", false);
    assert_memory_equal(lanes.scores, narrow.scores, sizeof narrow.scores);
    assert_memory_equal(sockets.scores, narrow.scores, sizeof narrow.scores);
}

/* Numbers for another wire are numbers of another network: such workers do not serve together. */
static void stages_agree_on_it(void **state)
{
    struct harness *h = harness_new(NULL, stages);
    int other;
    harness_broker(h);
    harness_stage(h, 0, 0);
    harness_stage(h, 1, 0);
    harness_expect(h, 1, "has accepted this worker", 1);
    harness_expect(h, 2, "has accepted this worker", 1);
    other = harness_spawn(h, "freezeline-stage", "--stage", "2", "--set", "wire_dtype=bfloat16", NULL);
    harness_expect(h, 0, "another `input`, precision", 1);
    assert_int_equal(harness_count(h, 0, "every stage has a ready worker"), 0);
    assert_int_equal(harness_count(h, other, "has accepted this worker"), 0);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_of_the_bytes_and_the_same_labels),
        cmocka_unit_test(stages_agree_on_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
