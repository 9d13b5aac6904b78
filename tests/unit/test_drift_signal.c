/* test_drift_signal.c - traffic that looks otherwise, and traffic that does not */
#include <math.h>

#include "tests/testing.h"
#include "base/error.h"
#include "numbers/shuffle.h"
#include "cache_service/promise/drift_signal.h"

#define WINDOW 500

/* Exits answer `first` and `second` of all requests; the second's confidence is around `sure`. */
struct look {
    double first, second, sure;
};

static void see(struct drift_signal *d, struct shuffle *s, struct look look, int times)
{
    double u = shuffle_uniform(s);
    const float confidence[2] = {NAN, (float)(look.sure + shuffle_normal(s))};
    for (int i = 0; i < times; i++)
        drift_signal_see(d, u < look.first ? 0 : u < look.first + look.second ? 1 : 2, confidence);
}

/* Windows until the signal goes up after `before` turns into `after`; -1: not within 200. */
static int windows_until(struct look before, struct look after, int slowly, uint64_t seed)
{
    struct drift_signal *d;
    struct shuffle s;
    int i = 0;
    shuffle_seed(&s, seed, 3);
    assert_int_equal(drift_signal_new(&d, 2, WINDOW), FL_OK);
    for (; i < 40 * WINDOW; i++)
        see(d, &s, before, 1);
    assert_int_equal(drift_signal_count(d), 0);
    for (i = 0; i < 200 * WINDOW && !drift_signal_up(d); i++) {
        double part = fmin(1, (double)i / (slowly * WINDOW + 1.0));
        see(d, &s,
            (struct look){before.first + part * (after.first - before.first),
                          before.second + part * (after.second - before.second),
                          before.sure + part * (after.sure - before.sure)},
            1);
    }
    drift_signal_free(d);
    return i < 200 * WINDOW ? i / WINDOW : -1;
}

static const struct look usual = {0.3, 0.5, 3};

static void test_changes_are_seen(void **state)
{
    assert_in_range(windows_until(usual, (struct look){0.1, 0.6, 3}, 0, 1), 0, 1);
    assert_in_range(windows_until(usual, (struct look){0.3, 0.5, 2}, 0, 2), 0, 1);
    assert_in_range(windows_until(usual, (struct look){0.25, 0.5, 3}, 0, 3), 1, 12);
    assert_in_range(windows_until(usual, (struct look){0.1, 0.6, 2}, 50, 4), 1, 25);
    assert_in_range(windows_until(usual, (struct look){0, 0, 3}, 0, 5), 0, 1);
    assert_in_range(windows_until((struct look){0, 0, 3}, usual, 0, 6), 0,
                    1); /* what was never answered now is */
}

static void test_the_same_traffic_hardly_ever_raises_one(void **state)
{
    for (int times = 1; times <= 20; times += 19) { /* alone, and in bursts of the same request */
        struct drift_signal *d;
        struct shuffle s;
        shuffle_seed(&s, 7, (uint64_t)times);
        assert_int_equal(drift_signal_new(&d, 2, WINDOW), FL_OK);
        for (int i = 0; i < 1000000 / times; i++)
            see(d, &s, usual, times);
        assert_in_range(drift_signal_count(d), 0, 4);
        drift_signal_free(d);
    }
}

/* Of lives of 20,000 requests that stay as they are, in short windows. */
static void test_few_lives_have_a_false_signal(void **state)
{
    int lives = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct drift_signal *d;
        struct shuffle s;
        shuffle_seed(&s, seed, 9);
        assert_int_equal(drift_signal_new(&d, 2, 100), FL_OK);
        for (int i = 0; i < 20000; i++)
            see(d, &s, usual, 1);
        lives += drift_signal_count(d) > 0;
        drift_signal_free(d);
    }
    assert_in_range(lives, 0, 8);
}

static void test_a_signal_says_why_and_ends_when_the_new_is_usual(void **state)
{
    struct drift_signal *d;
    struct drift_cause why;
    struct shuffle s;
    shuffle_seed(&s, 8, 1);
    assert_int_equal(drift_signal_new(&d, 2, WINDOW), FL_OK);
    for (int i = 0; i < 20 * WINDOW; i++)
        see(d, &s, usual, 1);
    for (int i = 0; i < WINDOW; i++)
        see(d, &s, (struct look){0.05, 0.5, 3}, 1);
    assert_true(drift_signal_up(d));
    why = drift_signal_cause(d);
    assert_true(why.exit == 0 && !why.confidence && fabs(why.before - 0.3) < 0.05 &&
                fabs(why.now - 0.05) < 0.05);
    for (int i = 0; i < DRIFT_WHILE * WINDOW; i++) {
        assert_true(drift_signal_up(d));
        see(d, &s, (struct look){0.05, 0.5, 3}, 1);
    }
    assert_false(drift_signal_up(d));
    for (int i = 0; i < 50 * WINDOW; i++)
        see(d, &s, (struct look){0.05, 0.5, 3}, 1);
    assert_int_equal(drift_signal_count(d), 1);
    for (int i = 0; i < WINDOW; i++) /* and back */
        see(d, &s, usual, 1);
    assert_true(drift_signal_up(d));
    assert_int_equal(drift_signal_count(d), 2);
    drift_signal_free(d);
}

static void test_odd_confidences_and_terms(void **state)
{
    const float odd[3] = {INFINITY, -3.4e38f, NAN};
    struct drift_signal *d;
    assert_int_equal(drift_signal_new(&d, 3, 5), FL_VALUE);
    assert_int_equal(drift_signal_new(&d, 33, WINDOW), FL_VALUE);
    assert_null(d);
    drift_signal_free(d);
    assert_int_equal(drift_signal_new(&d, 3, WINDOW), FL_OK);
    for (int i = 0; i < 100 * WINDOW; i++)
        drift_signal_see(d, 3, odd);
    assert_int_equal(drift_signal_count(d), 0);
    drift_signal_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_are_seen),
        cmocka_unit_test(test_the_same_traffic_hardly_ever_raises_one),
        cmocka_unit_test(test_few_lives_have_a_false_signal),
        cmocka_unit_test(test_a_signal_says_why_and_ends_when_the_new_is_usual),
        cmocka_unit_test(test_odd_confidences_and_terms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
