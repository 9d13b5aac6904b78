/* test_ship_plan.c - what a host says of itself, what it is sent, and which libraries go along */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/hosts/ship_plan.h"

#define UNUSED __attribute__((unused))

#define OBJECT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define OBJECT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define OBJECT_C "cccccccccccccccccccccccccccccccc"

static struct host_facts facts(const char *text)
{
    struct host_facts f;
    struct error e = {0};
    if (host_facts_read(&f, strdup(text), strlen(text), &e))
        fail_msg("%s", e.text);
    return f;
}

static void a_host_is_read(void UNUSED **state)
{
    struct host_facts f =
        facts("directory /home/u/.cache/free zeline\nmachine Linux x86_64\nglibc glibc 2.36\n"
              "free 1000\nlibrary 5 /lib/libz.so.1\n");
    assert_string_equal(f.directory, "/home/u/.cache/free zeline");
    assert_string_equal(f.machine, "Linux x86_64");
    assert_int_equal(f.glibc, 36);
    assert_int_equal(f.free_bytes, 1024000);
    host_facts_free(&f);
    f = facts("noise\ndirectory /d\nglibc \nfree 99999999999999999999\n");
    assert_int_equal(f.glibc, -1);
    assert_int_equal(f.free_bytes, -1);
    assert_string_equal(f.machine, "");
    host_facts_free(&f);
}

static void a_host_that_does_not_say_where_is_refused(void UNUSED **state)
{
    static const char *const texts[] = {"", "machine Linux x86_64\n", "directory \n", "directory relative\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct host_facts f;
        assert_int_equal(host_facts_read(&f, strdup(texts[i]), strlen(texts[i]), NULL), FL_PROTOCOL);
        host_facts_free(&f);
    }
}

static void check(const char *text, int rc, const char *says)
{
    struct host_facts f = facts(text);
    struct error e = {0};
    assert_int_equal(host_facts_check(&f, "b", "Linux x86_64", 34, &e), rc);
    assert_non_null(strstr(e.text, says));
    host_facts_free(&f);
}

static void another_machine_or_c_library_is_refused(void UNUSED **state)
{
    check("directory /d\nmachine Linux x86_64\nglibc glibc 2.34\n", FL_OK, "");
    check("directory /d\nmachine Linux aarch64\nglibc glibc 2.36\n", FL_UNSUPPORTED,
          "host b: it is Linux aarch64");
    check("directory /d\nmachine Linux x86_64\nglibc glibc 2.31\n", FL_UNSUPPORTED, "glibc is 2.31");
    check("directory /d\nmachine Linux x86_64\nglibc \n", FL_UNSUPPORTED, "another C library");
}

static struct shipment_file files[] = {
    {.to = (char *)"bin/freezeline", .host = SHIPMENT_ALL, .bytes = 100, .object = OBJECT_A, .program = true},
    {.to = (char *)"lib/libz.so.1", .host = SHIPMENT_ALL, .bytes = 50, .object = OBJECT_B, .library = true},
    {.to = (char *)"keys/a.key", .host = 0, .bytes = 10, .object = OBJECT_C},
    {.to = (char *)"copy", .host = SHIPMENT_ALL, .bytes = 100, .object = OBJECT_A},
};
static const struct shipment shipment = {.n = 4, .file = files};

static int64_t plan(struct ship_step step[4], int host, const char *text, const char *bad)
{
    struct host_facts f = facts(text);
    int64_t bytes = ship_plan(step, &shipment, host, &f, ".x.part", bad);
    host_facts_free(&f);
    return bytes;
}

static void a_bare_host_gets_each_content_once(void UNUSED **state)
{
    struct ship_step step[4];
    assert_int_equal(plan(step, 0, "directory /d\n", ""), 160);
    assert_true(step[0].sent && step[1].sent && step[2].sent && !step[3].sent && step[3].wanted);
    assert_int_equal(plan(step, 1, "directory /d\n", ""), 150);
    assert_false(step[2].wanted);
}

static void what_is_there_is_not_sent(void UNUSED **state)
{
    struct ship_step step[4];
    assert_int_equal(plan(step, 0,
                          "directory /d\nobject 100 " OBJECT_A "\nobject 10 " OBJECT_C
                          "\nlibrary 50 /lib/x86_64-linux-gnu/libz.so.1\n",
                          ""),
                     0);
    assert_true(step[0].wanted && !step[0].sent);
    assert_false(step[1].wanted); /* its own does */
}

/* A library of the same name but another size is another build: ours goes along. */
static void another_build_of_a_library_is_not_ours(void UNUSED **state)
{
    struct ship_step step[4];
    assert_int_equal(plan(step, 1, "directory /d\nobject 100 " OBJECT_A "\nlibrary 51 /lib/libz.so.1\n", ""),
                     50);
    assert_true(step[1].wanted && step[1].sent);
}

static void a_copy_that_broke_off_goes_on(void UNUSED **state)
{
    struct ship_step step[4];
    assert_int_equal(plan(step, 1, "directory /d\nobject 60 " OBJECT_A ".x.part\n", ""), 90);
    assert_int_equal(step[0].offset, 60);
    /* another machine's half, and one that is longer than the whole, are no use */
    assert_int_equal(plan(step, 1, "directory /d\nobject 60 " OBJECT_A ".y.part\n", ""), 150);
    assert_int_equal(plan(step, 1, "directory /d\nobject 101 " OBJECT_A ".x.part\n", ""), 150);
    assert_int_equal(step[0].offset, 0);
    /* complete, but not yet at its place: it is sent nothing more */
    assert_int_equal(plan(step, 1, "directory /d\nobject 100 " OBJECT_A ".x.part\n", ""), 50);
    assert_true(step[0].sent);
}

static void what_was_found_wrong_is_sent_whole(void UNUSED **state)
{
    struct ship_step step[4];
    assert_int_equal(
        plan(step, 1, "directory /d\nobject 100 " OBJECT_A "\nobject 5 " OBJECT_A ".x.part\n", OBJECT_A " "),
        150);
    assert_int_equal(step[0].offset, 0);
}

static void lines_of_ldd_are_read(void UNUSED **state)
{
    char name[128], path[1024];
    bool missing;
    assert_true(shipment_library("\tlibzmq.so.5 => /lib/x/libzmq.so.5 (0x00007f)", name, path, &missing));
    assert_string_equal(name, "libzmq.so.5");
    assert_string_equal(path, "/lib/x/libzmq.so.5");
    assert_false(missing);
    assert_true(shipment_library("\tlibdnnl.so.2 => not found", name, path, &missing));
    assert_true(missing);
    assert_false(shipment_library("\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)", name, path, &missing));
    assert_false(shipment_library("\tlibm.so.6 => /lib/x/libm.so.6 (0x00007f)", name, path, &missing));
    assert_false(shipment_library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)", name, path, &missing));
    assert_false(shipment_library("\tlinux-vdso.so.1 (0x00007f)", name, path, &missing));
    assert_false(shipment_library("/usr/bin/freezeline:", name, path, &missing));
}

static void the_newest_glibc_that_is_asked_for_counts(void UNUSED **state)
{
    static const char text[] = "\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.14\0GLIBC_PRIVATE\0GLIBC_2.";
    assert_int_equal(shipment_glibc(text, sizeof text - 1), 34);
    assert_int_equal(shipment_glibc("", 0), 0);
}

static void places_lead_nowhere_else(void UNUSED **state)
{
    static const char *const wrong[] = {"", "/etc/passwd", "../x", "a/../../x", "a/..", "a\nb"};
    struct shipment s;
    struct error e = {0};

    assert_int_equal(shipment_init(&s, "demo-1", &e), FL_OK);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(shipment_add(&s, SHIPMENT_ALL, "Makefile", wrong[i], &e), FL_CONFIG);
    assert_int_equal(s.n, 0);
    shipment_free(&s);
    assert_int_equal(shipment_init(&s, "a b", &e), FL_CONFIG);
    assert_int_equal(shipment_init(&s, "../x", &e), FL_CONFIG);
    assert_int_equal(shipment_init(&s, "", &e), FL_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_is_read),
        cmocka_unit_test(a_host_that_does_not_say_where_is_refused),
        cmocka_unit_test(another_machine_or_c_library_is_refused),
        cmocka_unit_test(a_bare_host_gets_each_content_once),
        cmocka_unit_test(what_is_there_is_not_sent),
        cmocka_unit_test(another_build_of_a_library_is_not_ours),
        cmocka_unit_test(a_copy_that_broke_off_goes_on),
        cmocka_unit_test(what_was_found_wrong_is_sent_whole),
        cmocka_unit_test(lines_of_ldd_are_read),
        cmocka_unit_test(the_newest_glibc_that_is_asked_for_counts),
        cmocka_unit_test(places_lead_nowhere_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
