/* test_startup.c - the options that all services take; mishaps are counted and told now and then */
#include <getopt.h>
#include <stdio.h>
#include <unistd.h>

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

/* The last line on stderr of options that are refused. */
static void refused(const char *const argument[ARGUMENTS], const char *text)
{
    FILE *said = tmpfile();
    int before = dup(STDERR_FILENO), status;
    struct startup s;
    char line[200] = "";

    assert_non_null(said);
    dup2(fileno(said), STDERR_FILENO);
    status = options(&s, argument);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(said);
    while (fgets(line, sizeof line, said))
        ;
    fclose(said);
    assert_int_equal(status, 2);
    assert_string_equal(line, text);
}

static void test_what_is_wrong_is_named(void **state)
{
    refused((const char *[ARGUMENTS]){"--stage", "1"}, "program: --config is missing; --help tells more\n");
    refused((const char *[ARGUMENTS]){"-c", "p.yaml"}, "program: --stage is missing; --help tells more\n");
    refused((const char *[ARGUMENTS]){"-c", "p.yaml", "--stage", "1", "more"},
            "program: `more` is not understood; --help tells more\n");
    refused((const char *[ARGUMENTS]){"-c", "p.yaml", "--stage", "1", "--speed"},
            "program: --help tells more\n");
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
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_options),
                                       cmocka_unit_test(test_what_is_wrong_is_named),
                                       cmocka_unit_test(test_mishaps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
