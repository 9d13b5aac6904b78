/* test_statistics.c - summaries, the bound on an accuracy gap, words that are near */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/nearest.h"
#include "deploy/statistics.h"

static void test_summary(void **state)
{
    double samples[100];
    struct summary s;
    (void)state;

    for (int i = 0; i < 100; i++)
        samples[i] = 100 - i;
    s = statistics_summary(samples, 100);
    assert_true(s.mean == 50.5 && s.p50 == 50 && s.p99 == 99 && s.min == 1 && s.max == 100);
    s = statistics_summary(samples, 0);
    assert_true(s.mean == 0 && s.p99 == 0);
    s = statistics_summary(samples, 1);
    assert_true(s.p50 == 1 && s.p99 == 1);
}

/* No loss seen in 1,000 requests still allows for some. */
static void test_gap_is_never_certain(void **state)
{
    double none = statistics_gap_upper(0, 0, 1000);
    (void)state;
    assert_true(none > 0.001 && none < 0.005);
    assert_true(statistics_gap_upper(0, 0, 10000) < none);
}

/* Drawn many times from known shares, the bound is over the true gap at least about 95 times in 100. */
static void test_gap_covers(void **state)
{
    const double lost = 0.02, won = 0.012;
    unsigned seed = 7;
    int covered = 0;
    (void)state;

    for (int trial = 0; trial < 1000; trial++) {
        int b = 0, c = 0;
        for (int i = 0; i < 500; i++) {
            double u = (double)rand_r(&seed) / RAND_MAX;
            b += u < lost;
            c += u >= lost && u < lost + won;
        }
        covered += statistics_gap_upper(b, c, 500) >= lost - won;
    }
    assert_true(covered >= 930);
    assert_true(covered <= 990);
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"inspect", "run", "profile", "build", "status"};
    (void)state;

    assert_ptr_equal(nearest_word("inspcet", words, 5), words[0]);
    assert_ptr_equal(nearest_word("buidl", words, 5), words[3]);
    assert_ptr_equal(nearest_word("profil", words, 5), words[2]);
    assert_null(nearest_word("xyzzy", words, 5));
    assert_null(nearest_word("a-very-long-word-that-is-far-from-everything-there-is-here", words, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_gap_is_never_certain),
        cmocka_unit_test(test_gap_covers),
        cmocka_unit_test(test_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
