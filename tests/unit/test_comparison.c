/* test_comparison.c - what is surely worse is found early, what is worse at all in the end, and nothing else
 */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/operate/pair_comparison.h"

#define MS 1000000ull

static struct comparison *c;
static char text[300];

static int begin(void **state)
{
    c = calloc(1, sizeof *c);
    c->limits = (struct comparison_limits){.points = 0.01, .slower = 0.25};
    return !c;
}

static int finish(void **state)
{
    free(c);
    return 0;
}

static struct observed answered(int32_t label, uint64_t ms)
{
    return (struct observed){.label = label, .ns = ms * MS};
}

static void add(int times, struct observed now, struct observed next, int32_t label)
{
    while (times--)
        comparison_add(c, &now, &next, label);
}

static bool worse(bool end)
{
    *text = '\0';
    return comparison_is_worse(c, end, text, sizeof text);
}

static void test_the_same_is_not_worse(void **state)
{
    add(200, answered(3, 10), answered(3, 10), 3);
    assert_false(worse(false));
    assert_false(worse(true));
    assert_int_equal(c->now.right, 200);
    assert_int_equal(c->next.answered, 200);
    assert_int_equal(c->next.latency.count, 200);
}

static void test_failures_of_the_next_one_end_it_early(void **state)
{
    const struct observed failed = {.error = 5, .label = -1};
    add(1, answered(3, 10), failed, -1);
    assert_false(worse(false)); /* one may be chance */
    add(1, answered(3, 10), failed, -1);
    assert_true(worse(false));
    assert_non_null(strstr(text, "of the requests fail"));
}

static void test_failures_of_both_are_nobodys(void **state)
{
    const struct observed failed = {.error = 5, .label = -1};
    add(10, failed, failed, -1);
    assert_false(worse(false));
    assert_true(worse(true)); /* but then nothing speaks for it either */
    assert_string_equal(text, "no request was answered by both");
    add(100, answered(1, 10), answered(1, 10), -1);
    add(3, failed, answered(1, 10), -1);
    add(3, answered(1, 10), failed, -1);
    assert_false(worse(true));
}

static void test_with_labels_it_is_accuracy_that_counts(void **state)
{
    struct measure m;
    add(50, answered(1, 10), answered(2, 10), 2); /* other answers, and right ones */
    add(50, answered(3, 10), answered(3, 10), 3);
    assert_false(worse(true));
    comparison_measure(c, MEASURE_AGREEMENT, &m);
    assert_int_equal(m.n, 0);
    add(80, answered(2, 10), answered(1, 10), 2);
    assert_true(worse(true));
    assert_non_null(strstr(text, "points of accuracy"));
}

static void test_without_labels_it_is_agreement(void **state)
{
    struct measure m;
    add(99, answered(1, 10), answered(1, 10), -1);
    add(1, answered(1, 10), answered(2, 10), -1);
    assert_false(worse(true));
    add(1, answered(1, 10), answered(2, 10), -1);
    assert_false(worse(false)); /* not for certain */
    assert_true(worse(true));
    comparison_measure(c, MEASURE_AGREEMENT, &m);
    assert_true(m.low < m.share && m.share < m.high && m.low < m.limit);
    add(20, answered(1, 10), answered(2, 10), -1);
    assert_true(worse(false));
}

static void test_most_pairs_have_to_be_slower(void **state)
{
    add(60, answered(1, 10), answered(1, 12), -1); /* within a quarter */
    add(40, answered(1, 10), answered(1, 90), -1);
    assert_false(worse(true));
    add(40, answered(1, 10), answered(1, 90), -1);
    assert_true(worse(true));
    add(300, answered(1, 10), answered(1, 13), -1);
    assert_true(worse(false));
    assert_non_null(strstr(text, "1.25 times as long"));
}

/* As the way through another broker costs. */
static void test_half_a_millisecond_is_not_slower(void **state)
{
    struct observed now = answered(1, 1), next = now;
    (void)state;
    now.ns = MS / 4;
    next.ns = MS * 3 / 4;
    add(200, now, next, -1);
    assert_int_equal(c->slower, 0);
    next.ns++;
    add(1, now, next, -1);
    assert_int_equal(c->slower, 1);
}

static void test_known_answers_say_nothing_of_time(void **state)
{
    struct observed known = answered(1, 1);
    known.known = known.early = true;
    add(100, known, answered(1, 90), -1);
    assert_false(worse(true));
    assert_int_equal(c->now.latency.count, 0);
    assert_int_equal(c->now.early, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_is_not_worse, begin, finish),
        cmocka_unit_test_setup_teardown(test_failures_of_the_next_one_end_it_early, begin, finish),
        cmocka_unit_test_setup_teardown(test_failures_of_both_are_nobodys, begin, finish),
        cmocka_unit_test_setup_teardown(test_with_labels_it_is_accuracy_that_counts, begin, finish),
        cmocka_unit_test_setup_teardown(test_without_labels_it_is_agreement, begin, finish),
        cmocka_unit_test_setup_teardown(test_most_pairs_have_to_be_slower, begin, finish),
        cmocka_unit_test_setup_teardown(test_half_a_millisecond_is_not_slower, begin, finish),
        cmocka_unit_test_setup_teardown(test_known_answers_say_nothing_of_time, begin, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
