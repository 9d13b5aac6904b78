/* test_catch_up.c - audits that came while a candidate was taught: each once, in order, so many of them */
#include "tests/testing.h"
#include "cache_service/learn/catch_up.h"

static struct catch_up *filled(int n)
{
    struct catch_up *c;
    assert_int_equal(catch_up_new(&c), FL_OK);
    for (int i = 0; i < n; i++) {
        struct learner_audit a = {.request = (uint64_t)i, .full = i % 10, .truth = -1};
        catch_up_add(c, &a, &(struct reservoir_row){.slot = 1000 + i});
    }
    return c;
}

/* Takes what there is; returns how many, which follow request `first`. */
static int taken(struct catch_up *c, int behind, int first)
{
    struct learner_audit a;
    struct reservoir_row row;
    int n = 0;
    while (catch_up_next(c, behind, &a, &row)) {
        assert_int_equal(a.request, first + n);
        assert_int_equal(a.full, (first + n) % 10);
        assert_int_equal(row.slot, 1000 + first + n);
        n++;
    }
    return n;
}

static void test_each_once_and_in_order(void **state)
{
    struct catch_up *c = filled(20);
    assert_int_equal(taken(c, 0, 0), 20);
    assert_int_equal(taken(c, 0, 20), 0);
    catch_up_add(c, &(struct learner_audit){.request = 20}, &(struct reservoir_row){.slot = 1020});
    assert_int_equal(taken(c, 0, 20), 1); /* one that comes while it catches up */
    catch_up_clear(c);
    assert_int_equal(taken(c, 0, 0), 0);
    catch_up_free(c);
}

static void test_those_beyond_the_limit_are_none(void **state)
{
    struct catch_up *c = filled(CATCH_UP_MOST + 5);
    assert_int_equal(taken(c, 0, 0), CATCH_UP_MOST);
    catch_up_add(c, &(struct learner_audit){.request = 1}, &(struct reservoir_row){.slot = 1});
    assert_int_equal(taken(c, 0, 0), 0);
    catch_up_free(c);
}

static void test_the_last_ones_wait_for_their_truth(void **state)
{
    struct catch_up *c = filled(20);
    struct learner_audit a;
    struct reservoir_row row;
    assert_int_equal(taken(c, 5, 0), 15);
    catch_up_truth(c, 3, 7); /* too late */
    catch_up_truth(c, 16, 7);
    catch_up_truth(c, 999, 7); /* of another */
    for (int i = 15; i < 20; i++) {
        assert_true(catch_up_next(c, 0, &a, &row));
        assert_int_equal(a.truth, i == 16 ? 7 : -1);
    }
    catch_up_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once_and_in_order),
        cmocka_unit_test(test_those_beyond_the_limit_are_none),
        cmocka_unit_test(test_the_last_ones_wait_for_their_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
