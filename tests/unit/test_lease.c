/* test_lease.c - the learner's lease under a clock of our own */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "cache_service/store/lease.h"

#define SECOND 1000000000ull

static void taken_renewed_and_given_up(void **state)
{
    struct lease l;
    lease_init(&l, 3 * SECOND);
    assert_int_equal(lease_next(&l, true, 10 * SECOND, 0), LEASE_ACQUIRE);
    lease_acquired(&l, 7, 10 * SECOND);
    assert_true(lease_held(&l, 12 * SECOND));
    assert_int_equal(lease_next(&l, true, 10 * SECOND + SECOND / 2, 0), LEASE_IDLE);
    assert_int_equal(lease_next(&l, true, 11 * SECOND, 0), LEASE_RENEW);
    lease_renewed(&l, true, 11 * SECOND);
    assert_true(lease_held(&l, 14 * SECOND - 1));
    assert_false(lease_held(&l, 14 * SECOND));
    assert_int_equal(lease_next(&l, true, 14 * SECOND, 0), LEASE_ACQUIRE);
    assert_int_equal(l.fence, 0);
}

static void validity_counts_from_before_the_question(void **state)
{
    struct lease l;
    lease_init(&l, 3 * SECOND);
    lease_next(&l, true, 10 * SECOND, 0);
    /* The answer took two seconds: one is left. */
    lease_acquired(&l, 1, 10 * SECOND);
    assert_true(lease_held(&l, 12 * SECOND));
    assert_false(lease_held(&l, 13 * SECOND));
}

static void others_hold_it(void **state)
{
    struct lease l;
    lease_init(&l, 3 * SECOND);
    lease_acquired(&l, 0, 10 * SECOND);
    assert_false(lease_held(&l, 10 * SECOND));
    assert_int_equal(lease_next(&l, true, 10 * SECOND + 1, 0), LEASE_IDLE);
    assert_int_equal(lease_next(&l, true, 11 * SECOND, 0), LEASE_ACQUIRE);
}

static void a_refused_renewal_ends_it_at_once(void **state)
{
    struct lease l;
    lease_init(&l, 3 * SECOND);
    lease_acquired(&l, 4, 10 * SECOND);
    lease_renewed(&l, false, 11 * SECOND);
    assert_false(lease_held(&l, 11 * SECOND));
    assert_int_equal(lease_next(&l, true, 11 * SECOND, 0), LEASE_IDLE);
    assert_int_equal(lease_next(&l, true, 12 * SECOND, 0), LEASE_ACQUIRE);
    /* A late "yes" to a renewal from before the loss changes nothing. */
    lease_renewed(&l, true, 11 * SECOND);
    assert_false(lease_held(&l, 11 * SECOND));
}

/* What is due soon is asked for with what is due now; without anything to learn into it is given back. */
static void asked_early_and_given_back(void **state)
{
    struct lease l;
    lease_init(&l, 3 * SECOND);
    assert_int_equal(lease_next(&l, false, 10 * SECOND, 0), LEASE_IDLE);
    assert_true(lease_due(&l, false) == UINT64_MAX);
    lease_acquired(&l, 4, 10 * SECOND);
    assert_int_equal(lease_next(&l, true, 10 * SECOND + SECOND / 2, SECOND / 2), LEASE_RENEW);
    assert_int_equal(lease_next(&l, true, 13 * SECOND - 1, SECOND), LEASE_RENEW); /* still held */
    assert_int_equal(lease_due(&l, false), 0);
    assert_int_equal(lease_next(&l, false, 11 * SECOND, 0), LEASE_RELEASE);
    lease_lost(&l, 11 * SECOND);
    assert_int_equal(lease_next(&l, false, 11 * SECOND, 0), LEASE_IDLE);
    assert_int_equal(lease_next(&l, true, 11 * SECOND, 0), LEASE_IDLE); /* another may take it first */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken_renewed_and_given_up),
        cmocka_unit_test(validity_counts_from_before_the_question),
        cmocka_unit_test(others_hold_it),
        cmocka_unit_test(a_refused_renewal_ends_it_at_once),
        cmocka_unit_test(asked_early_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
