/* test_executors.c - how many rows executors run at once, by the memory that there is */
#include "tests/testing.h"
#include "deploy/extract/executors.h"

static void test_keeps_the_batch_where_memory_is_plenty(void **state)
{
    assert_int_equal(executors_batch(100, 3200, 32, 4, 4 * 3300), 32);
}

static void test_runs_fewer_rows_at_once_where_memory_is_short(void **state)
{
    assert_int_equal(executors_batch(100, 3200, 32, 4, 4 * 3299), 31);
    assert_int_equal(executors_batch(100, 3200, 32, 4, 4 * 500), 4);
    assert_int_equal(executors_batch(100, 3200, 32, 4, 4 * 200), 1);
}

static void test_no_row_fits(void **state)
{
    assert_int_equal(executors_batch(100, 3200, 32, 4, 4 * 199), 0);
    assert_int_equal(executors_batch(1000, 3200, 32, 4, 4 * 900), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_the_batch_where_memory_is_plenty),
        cmocka_unit_test(test_runs_fewer_rows_at_once_where_memory_is_short),
        cmocka_unit_test(test_no_row_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
