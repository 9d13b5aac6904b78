/* test_pays.c - whether a pipeline pays: the sum of its parts, and what is said of it */
#include <math.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/model/pays.h"

static const struct message_cost cost = {.fixed_ms = 0.1, .per_byte_ms = 1e-6};

static void test_messages_of_a_request_follow_one_another(void **state)
{
    const double cuts[] = {200000, 100000};

    /* client, broker, two cuts, back to the broker, back to the client; the input goes twice */
    assert_float_equal(pays_messages_ms(&cost, 50000, cuts, 3), 6 * 0.1 + 0.4, 1e-9);
    assert_float_equal(pays_messages_ms(&cost, 50000, NULL, 1), 4 * 0.1 + 0.1, 1e-9);
}

static void test_a_large_network_gains_and_a_small_one_does_not(void **state)
{
    struct pays large = {.one_process_ms = 8, .time_share = 0.4, .messages_ms = 0.9, .stages = 3},
                small = large;
    char text[384];

    assert_float_equal(pays_pipeline_ms(&large), 4.1, 1e-9);
    assert_float_equal(pays_from_ms(&large), 1.5, 1e-9);
    assert_non_null(
        strstr(pays_sentence(&large, text, sizeof text), "1.95 times as fast; networks gain from 1.50 ms"));
    small.one_process_ms = 0.5;
    assert_non_null(strstr(pays_sentence(&small, text, sizeof text), "2.20 times slower"));
    assert_non_null(strstr(text, "sooner in one process"));
}

static void test_stages_without_caches_never_answer_sooner(void **state)
{
    struct pays p = {.one_process_ms = 8, .time_share = 1, .messages_ms = 0.9, .stages = 3};
    json_t *json = pays_json(&p);
    char text[384], shorter[40];

    assert_true(isinf(pays_from_ms(&p)));
    assert_non_null(strstr(pays_sentence(&p, text, sizeof text), "more requests a second on more cores"));
    assert_non_null(strstr(text, "1.11 times slower"));
    p.messages_ms = 0.01;
    assert_non_null(strstr(pays_sentence(&p, text, sizeof text), "8.00 ms in one process: no difference; "));
    assert_true(json_is_false(json_object_get(json, "faster")));
    assert_true(json_is_null(json_object_get(json, "from_ms")));
    pays_sentence(&p, shorter, sizeof shorter);
    assert_int_equal(strlen(shorter), sizeof shorter - 1);
    json_decref(json);
}

static void test_messages_are_measured(void **state)
{
    struct pipeline p = {.shared_memory = false};

    for (int lanes = 0; lanes < 2; lanes++) {
        struct message_cost measured = {0};
        struct error e = {0};
        p.shared_memory = lanes;
        if (message_cost_measure(&measured, &p, 0, &e))
            fail_msg("%s", e.text);
        assert_true(measured.fixed_ms > 0 && measured.fixed_ms < 1000);
        assert_true(measured.per_byte_ms >= 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_a_request_follow_one_another),
        cmocka_unit_test(test_a_large_network_gains_and_a_small_one_does_not),
        cmocka_unit_test(test_stages_without_caches_never_answer_sooner),
        cmocka_unit_test(test_messages_are_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
