/* test_alarm.c - a loss that grows is noticed soon, and one that does not hardly ever */
#include <math.h>
#include <stdlib.h>

#include "tests/testing.h"
#include "cache_service/promise/alarm.h"
#include "base/error.h"
#include "numbers/shuffle.h"

#define STREAMS 100

static int draw(struct shuffle *s, double lose, double win)
{
    double u = shuffle_uniform(s);
    return u < lose ? 1 : u < lose + win ? -1 : 0;
}

static struct alarm *new_alarm(double delta, bool may_win)
{
    struct alarm *a;
    assert_int_equal(alarm_new(&a, 0.01, delta, may_win), FL_OK);
    return a;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Medians over streams whose loss grows from 0.007 to `after` at audit `change`: of the delay, and of where
 * the change is said to be. */
static void delays(int64_t change, double after, double win, int64_t *delay, int64_t *since)
{
    int64_t all[STREAMS], begun[STREAMS];
    struct shuffle s;
    for (int i = 0; i < STREAMS; i++) {
        struct alarm *a = new_alarm(0.05, win > 0);
        shuffle_seed(&s, 11, (uint64_t)i);
        while (!alarm_raised(a) && alarm_seen(a) < change + 20000)
            alarm_see(a, draw(&s, (alarm_seen(a) < change ? 0.007 : after) + win, win));
        all[i] = alarm_seen(a) - change;
        begun[i] = alarm_since(a) - change;
        assert_true(alarm_log_wealth(a) >= log(20));
        alarm_free(a);
    }
    qsort(all, STREAMS, sizeof all[0], by_value);
    qsort(begun, STREAMS, sizeof begun[0], by_value);
    *delay = all[STREAMS / 2];
    *since = begun[STREAMS / 2];
}

/* As soon as can be: (log 1/delta + log(audits before)) / KL(after, budget). */
static void test_a_change_is_noticed_soon_however_late_it_comes(void **state)
{
    static const int64_t change[] = {0, 1000, 20000};
    static const double after[] = {0.02, 0.05, 0.2};
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            double q = after[j], growth = q * log(q / 0.01) + (1 - q) * log((1 - q) / 0.99),
                   bound = (log(20) + log(1 + (double)change[i])) / growth;
            int64_t delay, since;
            delays(change[i], q, 0, &delay, &since);
            assert_true((double)delay < 2 * bound + 4);
            assert_true(since > -bound && since < delay);
            if (i == 2)
                continue;
            delays(change[i], q, 0.005, &delay, &since); /* where answers win as well: P(d = -1) is 0.005 */
            assert_true((double)delay < 7 * bound + 20);
        }
    }
}

static void test_without_change_it_is_raised_as_often_as_it_may(void **state)
{
    struct shuffle s;
    for (int wins = 0; wins < 2; wins++) {
        int raised = 0;
        for (int i = 0; i < 300; i++) {
            struct alarm *a = new_alarm(0.1, wins);
            shuffle_seed(&s, 12, (uint64_t)i);
            for (int n = 0; n < 10000; n++)
                alarm_see(a, draw(&s, wins ? 0.02 : 0.01, wins ? 0.01 : 0));
            raised += alarm_raised(a);
            alarm_free(a);
        }
        assert_true(raised <= 30);
    }
}

static void test_an_alarm_stays_raised_and_its_wealth_a_number(void **state)
{
    struct alarm *a = new_alarm(0.05, false);
    int64_t since;
    assert_true(fabs(alarm_log_wealth(a)) < 1e-9 && !alarm_raised(a));
    for (int i = 0; i < 1000; i++)
        alarm_see(a, i % 2 ? 0 : -1); /* a win counts as nothing lost here */
    assert_false(alarm_raised(a));
    for (int i = 0; i < 20; i++)
        alarm_see(a, 1);
    assert_true(alarm_raised(a));
    since = alarm_since(a);
    assert_true(since >= 990 && since <= 1010);
    for (int i = 0; i < 100000; i++)
        alarm_see(a, 1);
    assert_true(isfinite(alarm_log_wealth(a)));
    for (int i = 0; i < 100000; i++)
        alarm_see(a, 0);
    assert_true(alarm_raised(a) && alarm_since(a) == since);
    alarm_free(a);
}

static void test_bad_terms_are_refused(void **state)
{
    struct alarm *a;
    assert_int_equal(alarm_new(&a, 0, 0.05, true), FL_VALUE);
    assert_int_equal(alarm_new(&a, 1, 0.05, true), FL_VALUE);
    assert_int_equal(alarm_new(&a, NAN, 0.05, true), FL_VALUE);
    assert_int_equal(alarm_new(&a, 0.01, 1, true), FL_VALUE);
    assert_null(a);
    alarm_free(a);
    assert_int_equal(alarm_new(&a, 0.95, 0.05, false), FL_OK); /* so much that no bet is left: never raised */
    for (int i = 0; i < 100; i++)
        alarm_see(a, 1);
    assert_false(alarm_raised(a));
    assert_int_equal(alarm_since(a), 0);
    alarm_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_change_is_noticed_soon_however_late_it_comes),
        cmocka_unit_test(test_without_change_it_is_raised_as_often_as_it_may),
        cmocka_unit_test(test_an_alarm_stays_raised_and_its_wealth_a_number),
        cmocka_unit_test(test_bad_terms_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
