/* test_retry.c - what failed is put off for ever longer, and only its own success ends that */
#include "tests/testing.h"
#include "cache_service/keep/trouble.h"

static void failures_in_a_row_double_the_while(void **state)
{
    static const uint64_t whiles[] = {10, 20, 40, 80, 100, 100};
    struct retry r;
    uint64_t now = 1000;
    retry_init(&r, 10, 100);
    assert_true(retry_due(&r, 0));
    for (int i = 0; i < 6; i++) {
        retry_failed(&r, "full", now);
        assert_false(retry_due(&r, now + whiles[i] - 1));
        assert_true(retry_due(&r, now + whiles[i]));
        now += whiles[i];
    }
    assert_true(retry_worked(&r));
    assert_true(retry_due(&r, now));
    retry_failed(&r, "full", now);
    assert_true(retry_due(&r, now + 10));
}

static void only_news_is_said(void **state)
{
    struct retry r;
    retry_init(&r, 10, 100);
    assert_false(retry_worked(&r));
    assert_true(retry_failed(&r, "full", 0));
    for (int i = 0; i < 100; i++)
        assert_false(retry_failed(&r, "full", 0));
    assert_true(retry_failed(&r, "of another type", 0));
    assert_false(retry_failed(&r, "of another type", 0));
    assert_true(retry_worked(&r));
    assert_false(retry_worked(&r));
    assert_true(retry_failed(&r, "of another type", 0));
}

/* Nothing to do is no success. */
static void idling_resets_nothing(void **state)
{
    struct retry r;
    retry_init(&r, 10, 100);
    retry_failed(&r, "full", 0);
    retry_failed(&r, "full", 10);
    retry_idle(&r);
    assert_false(r.failing);
    assert_false(retry_due(&r, 29));
    assert_false(retry_failed(&r, "full", 30));
    assert_false(retry_due(&r, 69));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failures_in_a_row_double_the_while),
        cmocka_unit_test(only_news_is_said),
        cmocka_unit_test(idling_resets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
