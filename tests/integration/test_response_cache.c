/* test_response_cache.c - the same input twice: computed once, by real processes, with the same scores */
#include "harness.h"

#include <string.h>

#define PIXELS  (3 * 16 * 16)
#define CLASSES 10
#define CROWD   20

static const char yaml[] = "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {}\n"
                           "exits: none\n"
                           "kernels: openblas\n"
                           "updates: {sample: 0, audit: 0}\n"
                           "broker: {response_cache_mb: 1, deadline_ms: 30000, heartbeat_ms: 50}\n";

static struct tensor picture(float *data, uint64_t seed)
{
    harness_random(data, PIXELS, seed);
    return (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
}

static struct answer ask(struct client *c, uint64_t seed, float *scores)
{
    struct error e = {FL_OK, ""};
    float data[PIXELS];
    struct tensor in = picture(data, seed);
    struct answer a;
    int n;
    if (client_infer(c, &in, 0, 0, &a, scores, CLASSES, &n, &e))
        fail_msg("%s", e.text);
    if (a.error)
        fail_msg("%s: %s", error_name((int)a.error), a.text);
    assert_int_equal(n, CLASSES);
    return a;
}

static void the_same_input_has_the_same_answer(void **state)
{
    float first[CLASSES], again[CLASSES], other[CLASSES];
    struct harness *h = harness_new(NULL, yaml);
    struct answer a, b;
    struct client *c;
    harness_pipeline_up(h);
    c = harness_client(h);
    a = ask(c, 1, first);
    assert_false(a.known);
    b = ask(c, 1, again);
    assert_true(b.known);
    assert_int_equal(b.label, a.label);
    assert_memory_equal(first, again, sizeof first);
    assert_false(ask(c, 2, other).known);
    assert_memory_not_equal(first, other, sizeof first);
    assert_int_equal(harness_status(c).known, 1);
    client_free(c);
    harness_free(h);
}

/* All are sent before the first is answered, or find its answer. */
static void a_crowd_with_one_input_is_computed_once(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    struct client *c;
    float data[PIXELS], scores[CLASSES];
    struct tensor in = picture(data, 3);
    struct error e = {FL_OK, ""};
    struct status_reply status;
    struct answer a;
    uint64_t id;
    int n, known = 0;
    harness_pipeline_up(h);
    c = harness_client(h);
    for (int i = 0; i < CROWD; i++)
        assert_int_equal(client_submit(c, &in, 0, 0, &id, &e), FL_OK);
    for (int i = 0; i < CROWD; i++) {
        if (client_receive(c, 30000, &a, scores, CLASSES, &n, &e))
            fail_msg("%s", e.text);
        assert_int_equal(a.error, FL_OK);
        known += a.known;
    }
    status = harness_status(c);
    assert_int_equal(known, CROWD - 1);
    assert_int_equal(status.answered, CROWD);
    assert_int_equal(status.known, CROWD - 1);
    assert_int_equal(status.in_flight, 0);
    client_free(c);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_input_has_the_same_answer),
        cmocka_unit_test(a_crowd_with_one_input_is_computed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
