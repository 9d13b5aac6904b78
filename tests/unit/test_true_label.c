/* test_true_label.c - lines that say what a request should have been answered, and lines that do not */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/ask/true_label.h"

static char *names[] = {"cat", "dog", "7"};
static const struct pipeline named = {.n_labels = 3, .label = names}, unnamed;

static int parse(struct feedback_item *out, const char *text, const struct pipeline *p, struct error *e)
{
    char *line = strdup(text);
    int rc = true_label_parse(out, line, p, 3, e);
    free(line);
    return rc;
}

static void lines_in_all_their_forms(void **state)
{
    static const char *const good[] = {"123,1",
                                       " 123 ; 1 \r\n",
                                       "123\tdog",
                                       "{\"request\": 123, \"truth\": \"dog\"}",
                                       "{\"request\": \"123\", \"label\": 1}",
                                       "{\"request\":123,\"label\":2,\"exit\":\"exit1\",\"truth\":1}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct feedback_item item = {0, -1};
        struct error e = {0};
        if (parse(&item, good[i], &named, &e))
            fail_msg("%s: %s", good[i], e.text);
        assert_true(item.request == 123 && item.label == 1);
    }
}

static void a_name_comes_before_a_number(void **state)
{
    struct feedback_item item;
    assert_int_equal(parse(&item, "1,7", &named, NULL), FL_OK);
    assert_int_equal(item.label, 2);
}

static void blank_lines_and_headings_are_passed_over(void **state)
{
    struct feedback_item item;
    assert_int_equal(parse(&item, "", &named, NULL), FL_AGAIN);
    assert_int_equal(parse(&item, " \t\r\n", &named, NULL), FL_AGAIN);
    assert_int_equal(parse(&item, "request,label", &named, NULL), FL_AGAIN);
}

static void whatever_is_wrong_is_named(void **state)
{
    static const char *const bad[][2] = {
        {"123", "neither"},
        {"x,1", "\"x\" is no request's number"},
        {"-1,1", "no request's number"},
        {"99999999999999999999999,1", "no request's number"},
        {"123,3", "classes 0 to 2"},
        {"123,-1", "classes 0 to 2"},
        {"123,", "is no class"},
        {"123,bird", "\"bird\" is no class"},
        {"123,1,2", "is no class"},
        {"123,\033[2J", "\"?[2J\" is no class"},
        {"{\"request\": 123", "no JSON object"},
        {"{\"truth\": 1}", "is missing"},
        {"{\"request\": [], \"truth\": 1}", "no request's number"},
        {"{\"request\": 1.5, \"truth\": 1}", "no request's number"},
        {"{\"request\": 1, \"truth\": null}", "is no class"},
        {"{\"request\": 1, \"label\": 1, \"exit\": \"exit1\"}", "this is an answer"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct feedback_item item;
        struct error e = {0};
        int rc = parse(&item, bad[i][0], &named, &e);
        if ((rc != FL_CORRUPT && rc != FL_VALUE) || !strstr(e.text, bad[i][1]))
            fail_msg("%s: \"%s\" does not say \"%s\"", bad[i][0], e.text, bad[i][1]);
    }
    struct feedback_item item;
    struct error e = {0};
    assert_int_equal(parse(&item, "1,cat", &unnamed, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "names none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_in_all_their_forms),
        cmocka_unit_test(a_name_comes_before_a_number),
        cmocka_unit_test(blank_lines_and_headings_are_passed_over),
        cmocka_unit_test(whatever_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
