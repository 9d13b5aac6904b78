/* test_betting.c - tests that stay valid however often one looks, where the truth is known */
#include <math.h>

#include "tests/testing.h"
#include "cache_service/promise/betting.h"
#include "numbers/shuffle.h"

static const double budgets[] = {0.001, 0.005, 0.01, 0.02, 0.1, 0.3};

/* Of a loss whose mean is the budget, no gambler's wealth grows on average, whatever P(d = -1) is, and
 * together they have a stake of at most 1. */
static void check_fair(const struct betting *b, double budget, double win)
{
    double lose = budget + win, share = 0;
    for (int i = 0; i < b->n; i++) {
        double mean = lose * exp(b->lost[i]) + (1 - lose - win) * exp(b->same[i]) + win * exp(b->won[i]);
        assert_true(fabs(mean - 1) < 1e-12);
        share += exp(b->share[i]);
    }
    assert_true(share <= 1 + 1e-12);
}

static void test_bets_are_fair(void **state)
{
    struct betting b;
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        for (double win = 0; win < 0.3; win += 0.1) {
            betting_for_less(&b, budgets[i]);
            check_fair(&b, budgets[i], win);
            betting_for_more(&b, budgets[i], true);
            check_fair(&b, budgets[i], win);
        }
        betting_for_more(&b, budgets[i], false);
        check_fair(&b, budgets[i], 0);
    }
}

static int draw(struct shuffle *s, double lose, double win)
{
    double u = shuffle_uniform(s);
    return u < lose ? 1 : u < lose + win ? -1 : 0;
}

static void count(struct gap_counts *c, int d)
{
    c->n++;
    c->lost += d > 0;
    c->won += d < 0;
}

/* How many of 1000 streams ever reach 1/delta, looked at after each of 4000 audits. */
static int ever(double budget, double mean, double win, double delta, bool less, uint64_t seed)
{
    struct betting b;
    struct shuffle s;
    int reached = 0;
    if (less)
        betting_for_less(&b, budget);
    else
        betting_for_more(&b, budget, win > 0);
    for (int stream = 0; stream < 1000; stream++) {
        struct gap_counts c = {.may_win = win > 0};
        bool over = false;
        shuffle_seed(&s, seed, (uint64_t)stream);
        for (int i = 0; i < 4000 && !over; i++) {
            count(&c, draw(&s, mean + win, win));
            over = betting_wealth(&b, &c) >= log(1 / delta);
        }
        reached += over;
    }
    return reached;
}

static void test_looking_after_each_audit_errs_no_oftener(void **state)
{
    for (int less = 0; less < 2; less++) {
        assert_in_range(ever(0.02, 0.02, 0, 0.1, less, 1), 5, 100);
        assert_in_range(ever(0.02, 0.02, 0.01, 0.1, less, 2), 5, 100);
    }
    assert_true(ever(0.02, 0.01, 0, 0.1, true, 3) > 900);
    assert_true(ever(0.02, 0.05, 0, 0.1, false, 4) > 990);
}

/* Both bounds hold at once, after each of the audits, and come close. */
static void test_bounds_cover_at_all_times(void **state)
{
    struct shuffle s;
    int missed = 0;
    for (int stream = 0; stream < 200; stream++) {
        struct gap_counts c = {.may_win = true};
        double lower = -1, upper = 1;
        shuffle_seed(&s, 5, (uint64_t)stream);
        for (int i = 1; i <= 6000; i++) {
            count(&c, draw(&s, 0.03, 0.01));
            if (i % 500 != 0)
                continue;
            lower = fmax(lower, betting_lower(&c, 0.05));
            upper = fmin(upper, betting_upper(&c, 0.05));
        }
        missed += lower > 0.02 || upper < 0.02;
        assert_true(lower > 0 && upper < 0.05);
    }
    assert_true(missed <= 20);
}

static void test_bounds_by_hand(void **state)
{
    struct gap_counts none = {0, 0, 0, true}, all = {100, 100, 0, false}, clean = {1000, 0, 0, false};
    assert_true(betting_upper(&none, 0.05) > 0.999999 && betting_lower(&none, 0.05) == -1);
    assert_true(betting_upper(&all, 0.05) > 0.999999 && betting_lower(&all, 0.05) > 0.8);
    assert_true(betting_lower(&clean, 0.05) == 0);
    /* The exact bound for one look is 1 - 0.05^(1/1000) = 0.0030. */
    assert_true(betting_upper(&clean, 0.05) > 0.0030 && betting_upper(&clean, 0.05) < 0.0055);
    assert_true(betting_below(&clean, 0.01) > log(20) && betting_above(&clean, 0.01) < 0);
    for (double budget = -0.9; budget < 0.9; budget += 0.1) {
        struct gap_counts c = {500, 20, 10, true};
        assert_true(betting_below(&c, budget) < betting_below(&c, budget + 0.05));
        assert_true(betting_above(&c, budget) > betting_above(&c, budget + 0.05));
    }
}

/* The audits that a loss of `part` of the budget needs, by expected counts. */
static double needed(double budget, double part, double win, double delta, bool exact)
{
    double low = 1, high = 1e7;
    while (high / low > 1.01) {
        double n = sqrt(low * high);
        struct gap_counts c = {(int64_t)n, (int64_t)ceil(n * (win + part * budget)), (int64_t)(n * win),
                               win > 0};
        if (exact ? gap_is_below(&c, budget, delta) : betting_below(&c, budget) >= log(1 / delta))
            high = n;
        else
            low = n;
    }
    return high;
}

static void test_little_is_lost_against_the_exact_test_for_one_look(void **state)
{
    for (int i = 1; i < 4; i++) {
        for (double part = 0; part < 0.9; part += 0.2) {
            double times = needed(budgets[i], part, 0, 0.05, false) / needed(budgets[i], part, 0, 0.05, true);
            assert_true(times < (part < 0.5 ? 2.4 : 3));
            times = needed(budgets[i], part, budgets[i], 0.05, false) /
                    needed(budgets[i], part, budgets[i], 0.05, true);
            assert_true(times < (part < 0.5 ? 3 : 3.8));
        }
    }
}

static void test_all_candidates_together_spend_what_may_be_spent(void **state)
{
    double sum = 0;
    for (uint64_t k = 1; k <= 1000000; k++)
        sum += betting_delta(0.95, k);
    assert_true(sum < 0.05 && sum > 0.0499); /* what is left decays slowly */
    assert_true(sum + 0.05 / sqrt(1e6) / 0.6856987 < 0.0500001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bets_are_fair),
        cmocka_unit_test(test_looking_after_each_audit_errs_no_oftener),
        cmocka_unit_test(test_bounds_cover_at_all_times),
        cmocka_unit_test(test_bounds_by_hand),
        cmocka_unit_test(test_little_is_lost_against_the_exact_test_for_one_look),
        cmocka_unit_test(test_all_candidates_together_spend_what_may_be_spent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
