/* test_statistics.c - summaries, order statistics, words that are near */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "numbers/binomial.h"
#include "base/nearest_word.h"
#include "numbers/samples.h"
#include "deploy/tool/statistics.h"

static void test_order_statistics(void **state)
{
    double even[] = {4, -1, 10, 3}, odd[] = {7, 5, 6};
    assert_true(samples_median(even, 4) == 3.5);
    assert_true(even[0] == -1 && even[3] == 10);
    assert_true(samples_median(odd, 3) == 6);
    assert_true(isnan(samples_median(odd, 0)));
    assert_true(samples_quantile(even, 4, 0) == -1 && samples_quantile(even, 4, 0.25) == -1);
    assert_true(samples_quantile(even, 4, 0.26) == 3 && samples_quantile(even, 4, 1) == 10);
    assert_true(isnan(samples_quantile(even, 0, 0.5)));
}

static void test_students_t(void **state)
{
    static const struct {
        int degrees;
        double t;
    } table[] = {{1, 12.706}, {2, 4.303}, {3, 3.182}, {4, 2.776}, {9, 2.262}, {19, 2.093}, {999, 1.962}};

    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_true(fabs(statistics_t_975(table[i].degrees) / table[i].t - 1) < 0.0015);
    assert_true(isinf(statistics_t_975(0)));
}

static void test_summary(void **state)
{
    double samples[100];
    struct summary s;

    for (int i = 0; i < 100; i++)
        samples[i] = 100 - i;
    s = statistics_summary(samples, 100);
    assert_true(s.mean == 50.5 && s.p50 == 50 && s.p99 == 99 && s.min == 1 && s.max == 100);
    s = statistics_summary(samples, 0);
    assert_true(s.mean == 0 && s.p99 == 0);
    s = statistics_summary(samples, 1);
    assert_true(s.p50 == 1 && s.p99 == 1);
}

/* The median of 10 samples, by hand: P(2 <= B <= 8) = 0.979 for B ~ Binomial(10, 1/2), P(3 <= B <= 7) =
 * 0.891. */
static void test_quantile_ranks_of_few(void **state)
{
    int64_t low, high;

    statistics_quantile_ranks(10, 0.5, &low, &high);
    assert_int_equal(low, 2);
    assert_int_equal(high, 9);
    statistics_quantile_ranks(10, 0.99, &low, &high); /* nothing can be said from above */
    assert_int_equal(high, 11);
    statistics_quantile_ranks(100000000, 0.999, &low, &high); /* sd 316 */
    assert_true(labs((long)(low - (99900000 - 619))) < 5 && labs((long)(high - (99900000 + 620))) < 5);
}

/* By hand, and from Clopper and Pearson's charts: 1 of 10 is 0.25 to 44.5%. */
static void test_binomial(void **state)
{
    assert_true(fabs(binomial_tail(10, 1, 0.05) - (1 - pow(0.95, 10))) < 1e-12);
    assert_true(fabs(binomial_tail(3, 2, 0.5) - 0.5) < 1e-12 && binomial_tail(3, 0, 0.5) == 1);
    assert_true(fabs(binomial_tail(4, 4, 0.1) - 1e-4) < 1e-12);
    assert_true(binomial_tail(200, 18, 0.05) > 0.01 && binomial_tail(200, 19, 0.05) < 0.01);
    assert_true(binomial_tail(1000000, 51000, 0.05) < 1e-5 && binomial_tail(1000000, 49000, 0.05) > 0.9999);
    assert_true(fabs(binomial_lower(10, 1, 0.025) - 0.00253) < 1e-5);
    assert_true(fabs(binomial_upper(10, 1, 0.025) - 0.44502) < 1e-5);
    assert_true(binomial_lower(10, 0, 0.025) == 0 && binomial_upper(10, 10, 0.025) == 1);
}

/* Drawn many times from a skewed distribution whose quantiles are known, the interval holds them 95 times in
 * 100. Uniform samples suffice: the interval only knows ranks. */
static void test_quantile_ranks_cover(void **state)
{
    enum { N = 400, TRIALS = 2000 };
    static const double shares[] = {0.5, 0.9, 0.95};
    unsigned seed = 11;
    double sample[N];

    for (size_t k = 0; k < sizeof shares / sizeof *shares; k++) {
        double q = shares[k];
        int64_t low, high;
        int covered = 0;
        statistics_quantile_ranks(N, q, &low, &high);
        assert_true(low >= 1 && high <= N);
        for (int trial = 0; trial < TRIALS; trial++) {
            for (int i = 0; i < N; i++)
                sample[i] = (double)rand_r(&seed) / RAND_MAX;
            samples_sort(sample, N);
            covered += sample[low - 1] <= q && q < sample[high - 1];
        }
        if (covered < 0.94 * TRIALS || covered > 0.98 * TRIALS)
            fail_msg("q %g: covered %d of %d", q, covered, TRIALS);
    }
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"inspect", "run", "profile", "build", "status"};

    assert_ptr_equal(nearest_word("inspcet", words, 5), words[0]);
    assert_ptr_equal(nearest_word("buidl", words, 5), words[3]);
    assert_ptr_equal(nearest_word("profil", words, 5), words[2]);
    assert_null(nearest_word("xyzzy", words, 5));
    assert_null(nearest_word("a-very-long-word-that-is-far-from-everything-there-is-here", words, 5));
}

/* Swapped neighbours are one slip, so `stagse` is nearer to `stages` than to `state`. */
static void test_distance(void **state)
{
    char a[301], b[301];

    assert_int_equal(edit_distance("stagse", "stages"), 1);
    assert_int_equal(edit_distance("stagse", "state"), 2);
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_int_equal(edit_distance("ca", "abc"),
                     3); /* nothing is changed between letters that were swapped */
    assert_int_equal(edit_distance("same", "same"), 0);
    memset(a, 'x', sizeof a);
    memset(b, 'x', sizeof b);
    a[300] = b[300] = '\0';
    b[299] = 'y';
    assert_int_equal(edit_distance(a, b), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_statistics),
        cmocka_unit_test(test_students_t),
        cmocka_unit_test(test_summary),
        cmocka_unit_test(test_binomial),
        cmocka_unit_test(test_quantile_ranks_of_few),
        cmocka_unit_test(test_quantile_ranks_cover),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
