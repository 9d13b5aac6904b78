/* test_log.c - lines that repeat are bounded, and so is the file */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/log_rate.h"

static int allowed(struct log_rate *r, const char *format, int n, uint64_t now, uint64_t step,
                   uint32_t *left_out)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        char text[64];
        uint32_t left;
        snprintf(text, sizeof text, format, i);
        if (log_rate_allows(r, text, now + (uint64_t)i * step, &left)) {
            count++;
            *left_out = left;
        }
    }
    return count;
}

static void test_alike_lines_are_bounded(void **state)
{
    struct log_rate r = {0};
    uint32_t left = 0;

    assert_int_equal(allowed(&r, "cannot reach Redis, try %d", 1000, NS_PER_S, 1, &left), LOG_RATE_BURST);
    assert_int_equal(allowed(&r, "something else %d", 1, NS_PER_S, 0, &left), 1); /* others are not hidden */
    /* 38 a second for an hour: one each LOG_RATE_EVERY_NS, the first of which says how many there were */
    assert_true(log_rate_allows(&r, "cannot reach Redis, try 7", NS_PER_S + LOG_RATE_EVERY_NS + 1000, &left));
    assert_int_equal(left, 1000 - LOG_RATE_BURST);
    assert_in_range(allowed(&r, "cannot reach Redis, try %d", 38 * 3600, 8 * NS_PER_S, NS_PER_S / 38, &left),
                    719, 721);
    assert_in_range(left, 180, 200);
    /* after a quiet time all is as at first */
    assert_int_equal(allowed(&r, "cannot reach Redis, try %d", 100, 9000 * NS_PER_S, 1, &left),
                     LOG_RATE_BURST);
}

static void test_many_kinds_forget_the_quietest(void **state)
{
    struct log_rate r = {0};
    uint32_t left;

    for (int i = 0; i < 2 * LOG_RATE_KINDS; i++) {
        char text[8] = {(char)('a' + i % 26), (char)('a' + i / 26), 0};
        assert_true(log_rate_allows(&r, text, NS_PER_S + (uint64_t)i, &left));
    }
    /* a clock that stands still gives nothing, one that goes back takes nothing */
    assert_true(log_rate_allows(&r, "x", NS_PER_S, &left));
    assert_true(log_rate_allows(&r, "x", 1, &left));
}

/* In a process of its own, since stdout and stderr go to the file. */
static int in_child(void (*work)(const char *path), const char *path)
{
    pid_t pid = fork();
    int status;

    if (!pid) {
        work(path);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int64_t size_of(const char *path, const char *end)
{
    char full[256];
    struct stat st;
    snprintf(full, sizeof full, "%s%s", path, end);
    return stat(full, &st) ? -1 : (int64_t)st.st_size;
}

static void write_much(const char *path)
{
    if (log_to(path, 10.0 / 1024, 2, NULL))
        _exit(1);
    log_threshold = LOG_LEVEL_DEBUG;
    for (int i = 0; i < 1000; i++)
        log_debug("line %d of a process that has much to say", i);
    if (write(STDOUT_FILENO, "a library's own words\n", 22) != 22)
        _exit(2);
}

static void write_moved(const char *path)
{
    char moved[256];
    snprintf(moved, sizeof moved, "%s.moved", path);
    if (log_to(path, 1, 2, NULL))
        _exit(1);
    log_info("first");
    if (rename(path, moved))
        _exit(2);
    log_reopen();
    log_info("second");
    if (unlink(path)) /* by someone who wanted its space back */
        _exit(3);
    log_info("third");
    log_info("fourth");
}

static void write_json(const char *path)
{
    if (log_to(path, 1, 0, NULL))
        _exit(1);
    log_open("stage1.0", "debug");
    log_as_json(true);
    log_at(LOG_LEVEL_WARN, UINT64_MAX, "a \"quoted\" \\ line\n\x01 of \xc3\xa9 and \xff");
    for (int i = 0; i <= LOG_RATE_BURST; i++)
        log_info("again %d", i);
    log_debug("the last");
}

static const char *text_of(const json_t *line, const char *key)
{
    const char *s = json_string_value(json_object_get(line, key));
    return s ? s : "";
}

static void test_each_line_is_json(void **state)
{
    char dir[] = "/tmp/freezeline-log.XXXXXX", path[64], line[4096];
    json_t *first = NULL, *last = NULL;
    int n = 0;
    FILE *f;

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.log", dir);
    assert_int_equal(in_child(write_json, path), 0);
    assert_non_null(f = fopen(path, "re"));
    for (; fgets(line, sizeof line, f); n++) {
        json_decref(last);
        last = json_loads(line, 0, NULL);
        assert_true(json_is_object(last));
        if (!n)
            first = json_incref(last);
    }
    fclose(f);
    assert_int_equal(n, LOG_RATE_BURST + 2);
    assert_string_equal(text_of(first, "request"), "18446744073709551615");
    assert_string_equal(text_of(first, "role"), "stage1.0");
    assert_string_equal(text_of(first, "level"), "warn");
    assert_string_equal(text_of(first, "message"), "a \"quoted\" \\ line\n\x01 of \xc3\xa9 and ?");
    assert_int_equal(strlen(text_of(first, "time")), strlen("2026-01-01T00:00:00.000Z"));
    assert_string_equal(text_of(last, "message"), "the last");
    assert_null(json_object_get(last, "request"));
    json_decref(first);
    json_decref(last);
    unlink(path);
    rmdir(dir);
}

static void test_the_file_is_bounded(void **state)
{
    char dir[] = "/tmp/freezeline-log.XXXXXX", path[64], line[128];

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.log", dir);
    assert_int_equal(in_child(write_much, path), 0);
    assert_in_range(size_of(path, ""), 22, 10 * 1024 + 200);
    assert_in_range(size_of(path, ".1"), 9 * 1024, 10 * 1024 + 200);
    assert_in_range(size_of(path, ".2"), 9 * 1024, 10 * 1024 + 200);
    assert_int_equal(size_of(path, ".3"), -1);
    assert_int_equal(in_child(write_moved, path), 0);
    assert_true(size_of(path, ".moved") > size_of(path, ""));
    assert_true(size_of(path, "") > 50); /* third and fourth */
    assert_int_equal(log_to("/nowhere/x.log", 1, 1, NULL), FL_IO);
    snprintf(line, sizeof line, "rm -r %s", dir);
    assert_int_equal(system(line), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alike_lines_are_bounded),
        cmocka_unit_test(test_many_kinds_forget_the_quietest),
        cmocka_unit_test(test_each_line_is_json),
        cmocka_unit_test(test_the_file_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
