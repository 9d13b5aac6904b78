/* test_startup.c - the options that all services take; mishaps are counted and told now and then */
#include <getopt.h>
#include <stdio.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "base/mishap.h"
#include "config/startup.h"

#define ARGUMENTS 8

static int options(struct startup *s, const char *const argument[ARGUMENTS])
{
    char *argv[ARGUMENTS + 2] = {(char *)"program"};
    int argc = 1;

    for (; argument[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)argument[argc - 1];
    *s = (struct startup){
        .program = "program", .usage = "usage: program\n", .number = {{"stage", 10, -1}, {"replica", 5, 3}}};
    optind = 0; /* from the start again */
    return startup_options(s, argc, argv);
}

static void test_options(void **state)
{
    struct startup s;

    assert_true(options(&s, (const char *[ARGUMENTS]){"-c", "p.yaml", "--stage", "9", "--set", "a=1",
                                                      "--set=b=2"}) < 0);
    assert_string_equal(s.config, "p.yaml");
    assert_int_equal(s.number[0].value, 9);
    assert_int_equal(s.number[1].value, 3);
    assert_int_equal(s.n_sets, 2);
    assert_string_equal(s.set[1], "b=2");
    assert_null(s.log);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"-h"}), 0);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"--version"}), 0);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"--stage", "1"}), 2);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"-c", "p.yaml"}), 2);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"-c", "p.yaml", "--stage", "10"}), 2);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"-c", "p.yaml", "--stage", "1x"}), 2);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"-c", "p.yaml", "--stage", "1", "more"}), 2);
    assert_int_equal(options(&s, (const char *[ARGUMENTS]){"-c", "p.yaml", "--stage", "1", "--speed", "3"}),
                     2);
}

static void test_mishaps(void **state)
{
    struct mishap m = {0};

    log_threshold = LOG_LEVEL_ERROR + 1;
    for (int i = 0; i < 1000; i++)
        mishap(&m, LOG_LEVEL_WARN, "socket", "garbage", NS_PER_S + (uint64_t)i);
    assert_int_equal(m.count, 1000);
    assert_int_equal(m.told, 1);
    mishap(&m, LOG_LEVEL_WARN, "socket", "garbage", 7 * NS_PER_S);
    assert_int_equal(m.told, 1001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_options), cmocka_unit_test(test_mishaps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
