/* test_hang.c - who is silent for long is killed; who slept, or is heard of, is not */
#include "tests/testing.h"
#include "base/clock.h"
#include "deploy/supervise/hang.h"

#define LIMIT (8 * NS_PER_S)

/* Looks each 100 ms from `from` for `seconds`; returns after how many seconds the process was to be killed,
 * or 0. */
static uint64_t looks(struct hang *h, int64_t pid, bool silent, uint64_t from, uint64_t seconds)
{
    for (uint64_t t = 0; t <= seconds * NS_PER_S; t += NS_PER_S / 10)
        if (hang_look(h, pid, silent, from + t, LIMIT))
            return t / NS_PER_MS;
    return 0;
}

static void test_silence_is_counted(void **state)
{
    struct hang h = {0};

    assert_int_equal(looks(&h, 7, false, 1, 100), 0);
    assert_int_equal(looks(&h, 7, true, 200 * NS_PER_S, 7), 0);
    assert_int_equal(looks(&h, 7, false, 210 * NS_PER_S, 1), 0); /* it was slow */
    assert_int_equal(looks(&h, 7, true, 220 * NS_PER_S, 7), 0);
    assert_int_equal(looks(&h, 8, true, 228 * NS_PER_S, 7), 0); /* another process */
    assert_int_equal(looks(&h, 8, true, 235 * NS_PER_S, 100), 1000);
}

static void test_a_machine_that_slept_is_no_silence(void **state)
{
    struct hang h = {0};

    assert_false(hang_look(&h, 7, false, NS_PER_S, LIMIT));
    assert_false(hang_look(&h, 7, true, 4000 * NS_PER_S, LIMIT)); /* an hour later: nobody was heard */
    assert_false(hang_look(&h, 7, true, 4001 * NS_PER_S, LIMIT));
    assert_false(hang_look(&h, 7, true, 9000 * NS_PER_S, LIMIT)); /* again: counts as one step */
    assert_false(hang_look(&h, 7, false, 9001 * NS_PER_S, LIMIT));
    assert_false(hang_look(&h, 7, true, 5, LIMIT)); /* a clock that went back */
    assert_int_equal(looks(&h, 7, true, 5, 100), 8000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silence_is_counted),
        cmocka_unit_test(test_a_machine_that_slept_is_no_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
