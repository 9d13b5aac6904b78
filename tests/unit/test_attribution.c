/* test_attribution.c - answers with known parts: their sums by part, by stage and in the middle */
#include <math.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "deploy/load/attribution.h"

#define US NS_PER_US

static struct attribution *a;

static int setup(void **state)
{
    return attribution_new(&a);
}

static int teardown(void **state)
{
    attribution_free(a);
    return 0;
}

/* Two stages, 1000 us in the broker: 20 broker, 30 + 40 + 50 wire, 100 queue, 300 + 350 compute, 15 look-up,
 * 85 serialise, 10 unexplained. Layers that ran beside a look-up are not on the path. */
static struct answer full(void)
{
    return (struct answer){.exit = -1,
                           .broker_ns = 20 * US,
                           .return_ns = 50 * US,
                           .total_ns = 1000 * US,
                           .trace = {.n = 2,
                                     .stage = {{.stage = 0,
                                                .batch = 4,
                                                .wire_ns = 30 * US,
                                                .queue_ns = 100 * US,
                                                .compute_ns = 300 * US,
                                                .lookup_ns = 15 * US,
                                                .hidden_ns = 200 * US,
                                                .serialise_ns = 60 * US},
                                               {.stage = 1,
                                                .batch = 2,
                                                .wire_ns = 40 * US,
                                                .compute_ns = 350 * US,
                                                .serialise_ns = 25 * US}}}};
}

/* Answered at stage 0's exit: look-up 10 + 20 + 30 us beside the 5 that asking took; nothing unexplained. */
static struct answer early(void)
{
    return (struct answer){.exit = 0,
                           .broker_ns = 20 * US,
                           .lookup_wire_ns = 10 * US,
                           .lookup_queue_ns = 20 * US,
                           .lookup_ns = 30 * US,
                           .return_ns = 15 * US,
                           .total_ns = 300 * US,
                           .clock_error_ns = 7 * US,
                           .trace = {.n = 1,
                                     .stage = {{.stage = 0,
                                                .batch = 1,
                                                .wire_ns = 30 * US,
                                                .compute_ns = 150 * US,
                                                .lookup_ns = 5 * US,
                                                .serialise_ns = 20 * US}}}};
}

static void test_parts_of_a_full_answer(void **state)
{
    static const double expected_us[PARTS] = {
        [PART_CLIENT] = 200,  [PART_BROKER] = 20, [PART_WIRE] = 120,     [PART_QUEUE] = 100,
        [PART_COMPUTE] = 650, [PART_LOOKUP] = 15, [PART_SERIALISE] = 85, [PART_RESIDUAL] = 10};
    struct answer answer = full();
    double part_ns[PARTS], sum = 0;
    attribution_of(&answer, 1200 * US, part_ns);
    for (int i = 0; i < PARTS; i++) {
        assert_float_equal(part_ns[i], expected_us[i] * US, 1e-6);
        sum += part_ns[i];
    }
    assert_float_equal(sum, 1200 * US, 1e-6);
}

static void test_parts_of_an_early_answer(void **state)
{
    struct answer answer = early();
    double part_ns[PARTS];
    attribution_of(&answer, 310 * US, part_ns);
    assert_float_equal(part_ns[PART_CLIENT], 10 * US, 1e-6);
    assert_float_equal(part_ns[PART_WIRE], 45 * US, 1e-6);
    assert_float_equal(part_ns[PART_LOOKUP], 65 * US, 1e-6);
    assert_float_equal(part_ns[PART_RESIDUAL], 0, 1e-6);
}

static double number(const json_t *o, const char *key, const char *inner)
{
    const json_t *x = json_object_get(o, key);
    return json_number_value(inner ? json_object_get(x, inner) : x);
}

/* A number of a stage in what bench writes; -1 when it has no such stage. */
static double of_stage(size_t stage, const char *key)
{
    json_t *o = json_object();
    const json_t *s;
    double x;

    assert_int_equal(attribution_json(a, o), 0);
    s = json_array_get(json_object_get(o, "stages"), stage);
    x = s ? number(s, key, NULL) : -1;
    json_decref(o);
    return x;
}

static void test_means_and_stages(void **state)
{
    struct answer one = full(), two = early();
    double mean[PARTS];
    attribution_add(a, &one, 1200 * US);
    attribution_add(a, &two, 310 * US);
    attribution_mean(a, mean);
    assert_float_equal(mean[PART_COMPUTE], 400 * US, 1e-6);
    assert_float_equal(mean[PART_RESIDUAL], 5 * US, 1e-6);
    assert_float_equal(attribution_residual_share(mean), 10.0 / 1510, 1e-9);
    assert_true(of_stage(0, "entered") == 2 && of_stage(0, "exited") == 1);
    assert_true(of_stage(1, "entered") == 1 && of_stage(1, "exited") == 0);
    assert_true(of_stage(2, "entered") == -1);
}

/* 1000 requests that take 1, 2, .. 1000 us, all of it computing: the middle's mean is the median. Then slow
 * ones join that spend it queueing, and the middle does not see them. */
static void test_the_middle_explains_the_median(void **state)
{
    double part_ns[PARTS];
    for (uint64_t us = 1; us <= 1000; us++) {
        struct answer answer = {.exit = -1, .total_ns = us * US, .trace = {.n = 1}};
        answer.trace.stage[0].compute_ns = us <= 900 ? us * US : 0;
        answer.trace.stage[0].queue_ns = us <= 900 ? 0 : us * US;
        attribution_add(a, &answer, us * US);
    }
    attribution_middle(a, part_ns);
    assert_float_equal(part_ns[PART_COMPUTE], 500.5 * US, 5 * US);
    assert_float_equal(part_ns[PART_QUEUE], 0, 1e-6);
    attribution_mean(a, part_ns);
    assert_float_equal(part_ns[PART_QUEUE], 95.05 * US, 1e-3);
}

static void test_few_requests_have_a_middle_too(void **state)
{
    struct answer one = early();
    double part_ns[PARTS];
    attribution_middle(a, part_ns);
    assert_float_equal(part_ns[PART_WIRE], 0, 0);
    attribution_add(a, &one, 310 * US);
    attribution_middle(a, part_ns);
    assert_float_equal(part_ns[PART_WIRE], 45 * US, 1e-6);
}

static void test_merged_is_as_if_counted_in_one(void **state)
{
    struct answer one = full(), two = early();
    struct attribution *b;
    double merged[PARTS], together[PARTS];
    assert_int_equal(attribution_new(&b), 0);
    attribution_add(a, &one, 1200 * US);
    attribution_add(b, &two, 310 * US);
    attribution_add(b, &one, 1300 * US);
    attribution_merge(a, b);
    attribution_add(b, &one, 1200 * US);
    attribution_mean(a, merged);
    attribution_mean(b, together);
    for (int i = 0; i < PARTS; i++)
        assert_float_equal(merged[i], together[i], 1e-6);
    assert_true(of_stage(0, "entered") == 3 && of_stage(1, "entered") == 2);
    attribution_free(b);
}

static void test_json(void **state)
{
    struct answer one = full(), two = early();
    json_t *o = json_object();
    const json_t *stage;
    assert_int_equal(attribution_json(a, o), 0);
    assert_true(json_is_null(json_object_get(json_object_get(o, "parts_ms"), "wire")));
    assert_true(json_is_null(json_object_get(o, "residual_share")));
    assert_int_equal(json_array_size(json_object_get(o, "stages")), 0);
    attribution_add(a, &one, 1200 * US);
    attribution_add(a, &two, 310 * US);
    assert_int_equal(attribution_json(a, o), 0);
    assert_float_equal(number(o, "parts_ms", "compute"), 0.4, 1e-9);
    assert_float_equal(number(o, "parts_ms", "residual"), 0.005, 1e-9);
    assert_float_equal(number(o, "answering_lookup_ms", "queue"), 0.02, 1e-9);
    assert_float_equal(number(o, "clock", "error_us"), 7, 1e-9);
    assert_int_equal(json_array_size(json_object_get(o, "stages")), 2);
    stage = json_array_get(json_object_get(o, "stages"), 0);
    assert_float_equal(number(stage, "batch_mean", NULL), 2.5, 1e-9);
    assert_float_equal(number(stage, "lookup_exposed_ms", NULL), 0.04, 1e-9);
    assert_float_equal(number(stage, "lookup_hidden_ms", NULL), 0.1, 1e-9);
    json_decref(o);
}

/* A number of the parts of those that an exit answered; NAN when it is null. */
static double of_exit(int exit, const char *part)
{
    json_t *o = attribution_exit_json(a, exit);
    const json_t *x = json_object_get(o, part);
    double value = json_is_null(x) ? NAN : json_number_value(x);
    json_decref(o);
    return value;
}

static void test_parts_by_exit(void **state)
{
    struct answer one = full(), two = early();
    attribution_add(a, &one, 1200 * US);
    attribution_add(a, &two, 310 * US);
    attribution_add(a, &two, 510 * US);
    assert_float_equal(of_exit(0, "client"), 0.11, 1e-9);
    assert_float_equal(of_exit(0, "lookup"), 0.065, 1e-9);
    assert_float_equal(of_exit(-1, "lookup"), 0.015, 1e-9);
    assert_true(isnan(of_exit(1, "lookup")));
    two.exit = INT32_MAX; /* what comes from the wire may say anything */
    attribution_add(a, &two, 310 * US);
    assert_float_equal(of_exit(-1, "compute"), 0.4, 1e-9);
}

/* What comes from the wire may say anything. */
static void test_a_stage_that_cannot_be_is_left_out(void **state)
{
    struct answer answer = full();
    answer.trace.stage[1].stage = UINT32_MAX;
    attribution_add(a, &answer, UINT64_MAX);
    assert_true(of_stage(0, "entered") == 1 && of_stage(1, "entered") == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parts_of_a_full_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_of_an_early_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_means_and_stages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_middle_explains_the_median, setup, teardown),
        cmocka_unit_test_setup_teardown(test_few_requests_have_a_middle_too, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merged_is_as_if_counted_in_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test_setup_teardown(test_parts_by_exit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_stage_that_cannot_be_is_left_out, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
