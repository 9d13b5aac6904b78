/* test_host_file.c - host files as people have them, and those that are refused */
#include <stdio.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/hosts/host_file.h"

static struct host_file f;

static int parse(const char *text, struct error *e)
{
    return host_file_parse(&f, text, strlen(text), "hosts", e);
}

static void test_usual(void **state)
{
    struct error e = {FL_OK, ""};
    assert_int_equal(
        parse("# ours\n\nnode1 slots=4 max_slots=8 # fast\r\n\tme@10.7.0.2\tslots=2\n[fd00::3]\nfd00::4\n"
              "node1 slots=2\nnode5",
              &e),
        FL_OK);
    assert_int_equal(f.n, 5);
    assert_string_equal(f.line[0].name, "node1");
    assert_int_equal(f.line[0].slots, 6);
    assert_string_equal(f.line[1].user, "me");
    assert_string_equal(f.line[1].name, "10.7.0.2");
    assert_string_equal(f.line[2].name, "fd00::3");
    assert_string_equal(f.line[3].name, "fd00::4");
    assert_int_equal(f.line[4].slots, 0);
}

static void refused(const char *text, const char *why)
{
    struct error e = {FL_OK, ""};
    assert_int_equal(parse(text, &e), FL_CONFIG);
    if (!strstr(e.text, why))
        fail_msg("`%s` does not say `%s`", e.text, why);
}

static void test_refused(void **state)
{
    struct error e = {FL_OK, ""};
    char many[8192] = "";
    refused("", "names no host");
    refused("# only this\n", "names no host");
    refused("a\n-oProxyCommand=x\n", "hosts:2: no host:");
    refused("a;reboot\n", "no host:");
    refused("@a\n", "no host:");
    refused("u@\n", "no host:");
    refused("u s@a\n", "not understood");
    refused("$(x)@a\n", "no host:");
    refused("a slots=0\n", "no number of slots");
    refused("a slots=99999999999999999999\n", "no number of slots");
    refused("a slots\n", "not understood");
    memset(many, 'x', 2000);
    refused(many, "no line of a host file");
    assert_int_equal(host_file_parse(&f, "a\0b\n", 4, "hosts", &e), FL_CONFIG);
    many[0] = '\0';
    for (int i = 0; i < HOST_FILE_MAX + 1; i++)
        snprintf(many + strlen(many), sizeof many - strlen(many), "h%d\n", i);
    refused(many, "more than 256 hosts");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usual),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
