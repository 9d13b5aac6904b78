/* test_slurm_job.c - what Slurm writes about a job's nodes */
#include "tests/testing.h"
#include "deploy/hosts/slurm_job.h"

#define UNUSED __attribute__((unused))

static void processors_of_each_node(void UNUSED **state)
{
    int cpus[4];

    assert_true(slurm_cpus_parse("8", cpus, 1));
    assert_int_equal(cpus[0], 8);
    assert_true(slurm_cpus_parse("8(x2),4,16", cpus, 4));
    assert_int_equal(cpus[1], 8);
    assert_int_equal(cpus[2], 4);
    assert_int_equal(cpus[3], 16);
}

static void what_says_it_not_for_each_node_is_refused(void UNUSED **state)
{
    static const char *const wrong[] = {"",           "8",      "8(x3)",    "8(x2",
                                        "8x2",        "8(x)",   "0(x2)",    "-8(x2)",
                                        "8(x999999)", "8(x2)4", "8,four,1", "99999999999999(x2)"};
    int cpus[2];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(slurm_cpus_parse(wrong[i], cpus, 2));
}

static void ids_of_jobs(void UNUSED **state)
{
    static const char *const wrong[] = {
        "", "-1", "x", "1 2", "1;id", "_1", "111111111111111111111111111111111"};

    assert_int_equal(slurm_id_check("12", NULL), FL_OK);
    assert_int_equal(slurm_id_check("12_3", NULL), FL_OK);
    assert_int_equal(slurm_id_check("12+0", NULL), FL_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(slurm_id_check(wrong[i], NULL), FL_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(processors_of_each_node),
        cmocka_unit_test(what_says_it_not_for_each_node_is_refused),
        cmocka_unit_test(ids_of_jobs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
