/* test_gap_bound.c - the exact bound on a loss of accuracy, where the truth is known */
#include <math.h>

#include "tests/testing.h"
#include "cache_service/promise/gap_bound.h"
#include "numbers/shuffle.h"

/* Without a nuisance the test is binomial: nothing lost by n requests has probability (1 - gap)^n. */
static void test_agreement_by_hand(void **state)
{
    struct gap_counts c = {298, 0, 0, false};
    assert_false(gap_is_below(&c, 0.01, 0.05)); /* 0.99^298 = 0.0500388 */
    c.n = 299;
    assert_true(gap_is_below(&c, 0.01, 0.05)); /* 0.0495384 */
    assert_int_equal(gap_points_needed(0.01, 0.05, false), 299);
    c = (struct gap_counts){10, 1, 0, false}; /* Clopper and Pearson's tables: 1 of 10 is below 0.39416 */
    assert_true(fabs(gap_upper_bound(&c, 0.05) - 0.39416) < 1e-4);
    c = (struct gap_counts){100, 3, 0, false}; /* 3 of 100: 0.07571 */
    assert_true(fabs(gap_upper_bound(&c, 0.05) - 0.07571) < 1e-4);
}

static double mass(int n, int i, int j, double lose, double win)
{
    return exp(lgamma(n + 1) - lgamma(i + 1) - lgamma(j + 1) - lgamma(n - i - j + 1) + i * log(lose) +
               j * log(win) + (n - i - j) * log1p(-lose - win));
}

/* How often counts drawn with these probabilities are rejected: all of them, no luck. */
static double rejected(int n, double lose, double win, double gap, double delta)
{
    double sum = 0;
    for (int i = 0; i <= n; i++)
        for (int j = 0; i + j <= n; j++) {
            struct gap_counts c = {n, i, j, true};
            double p = mass(n, i, j, lose, win);
            if (p > 1e-12 && gap_is_below(&c, gap, delta))
                sum += p;
        }
    return sum;
}

/* At the very edge of the hypothesis, whatever the nuisance, delta is kept; well below it the test has power.
 */
static void test_it_errs_at_most_as_often_as_it_says(void **state)
{
    double most = 0;
    for (double win = 0.002; win < 0.3; win *= 2.5) {
        double often = rejected(60, win + 0.1, win, 0.1, 0.05);
        assert_true(often <= 0.05);
        most = often > most ? often : most;
    }
    assert_true(most > 0.02);
    assert_true(rejected(60, 0.02, 0.02, 0.15, 0.05) > 0.8);
    assert_true(rejected(60, 0.02, 0.05, 0.15, 0.05) > rejected(60, 0.05, 0.02, 0.15, 0.05));
}

/* Drawn many times from known shares, the bound is over the true gap 95 times in 100; with many points it is
 * not much oftener. */
static void test_the_bound_covers(void **state)
{
    static const struct {
        int n;
        double lost, won;
    } of[] = {{200, 0.009, 0.0005}, {300, 0.0075, 0.0005}, {500, 0.02, 0.012}, {5000, 0.004, 0.002}};
    struct shuffle s;
    shuffle_seed(&s, 3, 3);
    for (int k = 0; k < 4; k++) {
        int covered = 0;
        for (int trial = 0; trial < 1000; trial++) {
            struct gap_counts c = {of[k].n, 0, 0, true};
            for (int i = 0; i < of[k].n; i++) {
                double u = shuffle_uniform(&s);
                c.lost += u < of[k].lost;
                c.won += u >= of[k].lost && u < of[k].lost + of[k].won;
            }
            covered += !gap_is_below(&c, of[k].lost - of[k].won, 0.05);
        }
        assert_true(covered >= 940);
        assert_true(of[k].n < 5000 || covered < 990);
    }
}

static void test_the_bound_narrows_and_knows_its_ends(void **state)
{
    struct gap_counts c = {1000, 0, 0, true};
    double none = gap_upper_bound(&c, 0.05), last = 1;
    assert_true(none > 0.003 && none < 0.005); /* no loss seen is not no loss */
    assert_true(gap_upper_bound(&(struct gap_counts){10000, 0, 0, true}, 0.05) < none);
    for (c.n = 100; c.n <= 1000000; c.n *= 10) {
        double bound;
        c.lost = c.n / 50;
        c.won = c.n / 100;
        bound = gap_upper_bound(&c, 0.05);
        assert_true(bound > 0.01 && bound < last);
        last = bound;
    }
    assert_true(last < 0.0104); /* the normal approximation gives 0.01028 */
    c = (struct gap_counts){3, 3, 0, true};
    assert_true(gap_upper_bound(&c, 0.05) > 0.999);
    c = (struct gap_counts){3000, 0, 3000, true};
    assert_true(gap_upper_bound(&c, 0.05) < -0.99);
    c = (struct gap_counts){0, 0, 0, true};
    assert_false(gap_is_below(&c, 0.5, 0.05));
    assert_true(gap_is_below(&c, 1, 0.05));
    assert_true(gap_points_needed(0, 0.05, true) == INT64_MAX);
}

static void test_points_needed(void **state)
{
    int64_t n = gap_points_needed(0.01, 0.05, true);
    struct gap_counts enough = {n, 0, 0, true}, few = {n - 1, 0, 0, true};
    assert_true(n > 299 && n < 500);
    assert_true(gap_is_below(&enough, 0.01, 0.05));
    assert_false(gap_is_below(&few, 0.01, 0.05));
    assert_true(gap_points_needed(0.005, 0.05, true) > n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement_by_hand), cmocka_unit_test(test_it_errs_at_most_as_often_as_it_says),
        cmocka_unit_test(test_the_bound_covers), cmocka_unit_test(test_the_bound_narrows_and_knows_its_ends),
        cmocka_unit_test(test_points_needed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
