/* test_feedback_trust.c - labels by honest people and by poisoners, about a network that is right 92% */
#include "tests/testing.h"
#include "numbers/shuffle.h"
#include "cache_service/learn/feedback_trust.h"

enum { CLASSES = 10 };

/* n labels, a share `wrong` of them drawn at random; returns after how many they are believed first, and in
 * *trusted how often they were. */
static int tell(struct feedback_trust *t, struct shuffle *random, int n, double wrong, int *trusted)
{
    int first = n;
    *trusted = 0;
    for (int i = 0; i < n; i++) {
        int32_t truth = (int32_t)(shuffle_below(random, CLASSES)), full = truth;
        if (shuffle_uniform(random) < 0.08)
            full = (truth + 1 + (int32_t)shuffle_below(random, CLASSES - 1)) % CLASSES;
        if (shuffle_uniform(random) < wrong)
            truth = (truth + 1 + (int32_t)shuffle_below(random, CLASSES - 1)) % CLASSES;
        feedback_trust_see(t, full, truth);
        *trusted += feedback_trusted(t);
        if (feedback_trusted(t) && first == n)
            first = i;
    }
    return first;
}

static void honest_labels_are_believed_soon(void **state)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct feedback_trust t = {0};
        struct shuffle random;
        int trusted;
        shuffle_seed(&random, seed, 1);
        assert_false(feedback_trusted(&t));
        assert_in_range(tell(&t, &random, 20000, 0, &trusted), 10, 300);
        assert_true(trusted > 19600);
    }
}

static void one_poisoner_in_a_hundred_changes_nothing(void **state)
{
    struct feedback_trust t = {0};
    struct shuffle random;
    int trusted;
    shuffle_seed(&random, 5, 1);
    tell(&t, &random, 20000, 0.01, &trusted);
    assert_true(trusted > 19600);
}

static void three_in_ten_are_not_believed(void **state)
{
    int trusted, all = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct feedback_trust t = {0};
        struct shuffle random;
        shuffle_seed(&random, seed, 2);
        tell(&t, &random, 20000, 0.3, &trusted);
        all += trusted;
    }
    assert_true(all <= 20 * 20000 / 100);
}

static void all_wrong_are_not_believed(void **state)
{
    struct feedback_trust t = {0};
    struct shuffle random;
    int trusted;
    shuffle_seed(&random, 7, 1);
    tell(&t, &random, 20000, 1, &trusted);
    assert_int_equal(trusted, 0);
}

static void belief_is_lost_and_comes_back(void **state)
{
    struct feedback_trust t = {0};
    struct shuffle random;
    int trusted;
    shuffle_seed(&random, 9, 1);
    tell(&t, &random, 100000, 0, &trusted);
    assert_true(feedback_trusted(&t));
    tell(&t, &random, 1000, 1, &trusted);
    assert_true(trusted < 500 && !feedback_trusted(&t));
    tell(&t, &random, 5000, 0, &trusted);
    assert_true(feedback_trusted(&t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(honest_labels_are_believed_soon),
        cmocka_unit_test(one_poisoner_in_a_hundred_changes_nothing),
        cmocka_unit_test(three_in_ten_are_not_believed),
        cmocka_unit_test(all_wrong_are_not_believed),
        cmocka_unit_test(belief_is_lost_and_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
