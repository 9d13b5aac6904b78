/* test_account.c - the ledger of a real load: what is right, wrong, late, lost, twice */
#include <stdio.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "tests/faults/real/account.h"

#define MS       NS_PER_MS
#define DEADLINE (1000 * MS)
#define GRACE    (100 * MS)

static const int32_t truth[] = {3, 5};

static struct answer answer(int exit, uint64_t epoch, int label)
{
    return (struct answer){.exit = exit, .epoch = epoch, .label = label, .attempts = 1};
}

static struct answer refusal(int code, const char *text, uint32_t retry_ms)
{
    struct answer a = {.error = (uint32_t)code, .exit = -1, .label = -1, .retry_after_ms = retry_ms};

    snprintf(a.text, sizeof a.text, "%s", text);
    return a;
}

/* Sends one request at `ms` that shows `input`, and hears `a` after 10 ms. */
static void ask(struct account *a, uint64_t ms, int32_t input, struct answer heard)
{
    int64_t number = account_sent(a, input, ms * MS, ms * MS);
    account_seen(a, number, &heard);
    account_heard(a, number, &heard, (ms + 10) * MS);
}

static struct account_sum sum(const struct account *a, uint64_t now_ms)
{
    struct account_sum s;
    assert_int_equal(account_sum(a, 0, UINT64_MAX, 10, 20, GRACE, now_ms * MS, &s), FL_OK);
    return s;
}

static void test_labels(void **state)
{
    struct account a;
    struct account_sum s;

    account_init(&a, truth, 2, DEADLINE);
    ask(&a, 1, 0, answer(-1, 0, 3)); /* the network's own */
    ask(&a, 2, 0, answer(-1, 0, 4)); /* wrong */
    ask(&a, 3, 0, answer(1, 7, 4));  /* a cache's, which differs: counted */
    ask(&a, 4, 0, answer(1, 7, 4));
    ask(&a, 5, 0, answer(1, 7, 3)); /* the same cache says another label: wrong */
    ask(&a, 6, 0, answer(1, 8, 3)); /* a later epoch may */
    ask(&a, 7, 1, answer(2, 7, 5));
    s = sum(&a, 100);
    assert_int_equal(s.sent, 7);
    assert_int_equal(s.wrong, 2);
    assert_int_equal(s.right, 5);
    assert_int_equal(s.early, 5);
    assert_int_equal(s.differ, 2);
    account_release(&a);
}

static void test_lost_late_and_twice(void **state)
{
    struct account a;
    struct account_sum s;
    struct answer first = answer(-1, 0, 3), other = answer(-1, 0, 5);
    int64_t number;

    account_init(&a, truth, 2, DEADLINE);
    ask(&a, 1, 0, first);
    account_seen(&a, 0, &first);
    ask(&a, 2, 0, first);
    account_seen(&a, 1, &other);
    account_sent(&a, 0, 3 * MS, 3 * MS); /* never answered */
    number = account_sent(&a, 0, 4 * MS, 4 * MS);
    account_heard(&a, number, &first, 1105 * MS); /* after deadline and grace */
    account_seen(&a, 99, &first);
    s = sum(&a, 50);
    assert_int_equal(s.lost, 0); /* not yet */
    assert_int_equal(account_open(&a, GRACE, 50 * MS), 1);
    s = sum(&a, 1104);
    assert_int_equal(s.lost, 1);
    assert_int_equal(s.late, 1);
    assert_int_equal(s.doubled, 2);
    assert_int_equal(s.contradicted, 1);
    a.several = true; /* two brokers may say the same, and one an error before the other answers */
    s = sum(&a, 1104);
    assert_int_equal(s.doubled, 0);
    assert_int_equal(s.contradicted, 1);
    assert_int_equal(a.strangers, 1);
    assert_int_equal(account_open(&a, GRACE, 1200 * MS), 0);
    account_release(&a);
}

static void test_errors_and_who_met_the_fault(void **state)
{
    struct account a;
    struct account_sum s;
    struct answer again = answer(-1, 0, 3);
    int64_t number;

    account_init(&a, truth, 2, DEADLINE);
    ask(&a, 1, 0, answer(-1, 0, 3));
    ask(&a, 2, 0, refusal(FL_OVERLOADED, "too many", 20)); /* a refusal is no disturbance */
    ask(&a, 3, 0, refusal(FL_OVERLOADED, "too many", 0));
    ask(&a, 4, 0, refusal(FL_UNAVAILABLE, "", 0));
    again.attempts = 2;
    ask(&a, 5, 0, again);
    number = account_sent(&a, 0, 6 * MS, 6 * MS);
    again.attempts = 1;
    account_heard(&a, number, &again, 306 * MS); /* more than 3 times the calm's p99 and 20 ms */
    s = sum(&a, 400);
    assert_int_equal(s.error[FL_OVERLOADED], 2);
    assert_int_equal(s.error[FL_UNAVAILABLE], 1);
    assert_int_equal(s.without_hint, 1);
    assert_int_equal(s.nameless, 1);
    assert_int_equal(s.retried, 1);
    assert_int_equal(s.met, 3);
    assert_true(s.last_met_ns == 306 * MS);
    assert_true(s.added_p99_ms > 289 && s.added_p99_ms < 291);
    account_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_lost_late_and_twice),
        cmocka_unit_test(test_errors_and_who_met_the_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
