/* test_history.c - events survive a round trip; lines that are none are refused */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "cache_service/store/history.h"

static struct history_event sample(void)
{
    struct history_event x;
    history_event_now(&x, HISTORY_BOLDER);
    x.serial = 7;
    memset(x.build, 0xab, sizeof x.build);
    x.points = 1500;
    x.loss = 0.002;
    x.upper = 0.0099;
    x.terms = (struct promise_terms){true, 0.01, 0.95};
    x.early_share = 0.75;
    x.n_exits = 2;
    x.exit[0] = (struct history_exit){"exit1", 1.25f, 0.5};
    x.exit[1] = (struct history_exit){"exit2", INFINITY, NAN};
    strcpy(x.why, "1,500 audits \"more\"");
    return x;
}

static void round_trip(void **state)
{
    struct history_event in = sample(), out;
    char *line = history_format(&in);
    assert_non_null(line);
    assert_null(strchr(line, '\n'));
    assert_int_equal(history_parse(&out, line, strlen(line), NULL), FL_OK);
    free(line);
    assert_true(out.at_ms == in.at_ms && out.kind == HISTORY_BOLDER && out.serial == 7 && out.points == 1500);
    assert_memory_equal(out.build, in.build, sizeof in.build);
    assert_true(out.loss == in.loss && out.upper == in.upper && out.early_share == in.early_share);
    assert_true(out.terms.agreement && out.terms.budget == 0.01 && out.terms.certainty == 0.95);
    assert_int_equal(out.n_exits, 2);
    assert_true(out.exit[0].threshold == 1.25f && out.exit[0].share == 0.5);
    assert_true(isinf(out.exit[1].threshold) && isnan(out.exit[1].share));
    assert_string_equal(out.why, in.why);
}

static void the_longest_event_fits_a_line(void **state)
{
    struct history_event in = sample(), out;
    char *line;
    in.n_exits = PIPELINE_MAX_EXITS;
    for (int i = 0; i < in.n_exits; i++) {
        memset(in.exit[i].name, 'x', sizeof in.exit[i].name - 1);
        in.exit[i].threshold = -1.2345678e-38f;
        in.exit[i].share = 1.0 / 3;
    }
    memset(in.why, 'w', sizeof in.why - 1);
    assert_non_null(line = history_format(&in));
    assert_true(strlen(line) < HISTORY_LINE_BYTES);
    assert_int_equal(history_parse(&out, line, strlen(line), NULL), FL_OK);
    assert_int_equal(out.n_exits, in.n_exits);
    free(line);
}

/* Replaces `from`, which must be there, by `to`. */
static char *changed(const char *line, const char *from, const char *to)
{
    const char *at = strstr(line, from);
    char *out = malloc(strlen(line) + strlen(to) + 1);
    assert_non_null(at);
    strcpy(out, line);
    strcpy(out + (at - line), to);
    strcat(out, at + strlen(from));
    return out;
}

static void what_is_no_event_is_refused(void **state)
{
    static const char *const wrong[][2] = {
        {"\"bolder\"", "\"braver\""},
        {"\"serial\":7", "\"serial\":-7"},
        {"\"serial\":7", "\"serial\":\"7\""},
        {"\"serial\":7,", ""},
        {"\"points\":1500", "\"points\":1e300"},
        {"\"loss\":0.002", "\"loss\":2"},
        {"\"early_share\":0.75", "\"early_share\":1.5"},
        {"abababab", "abababag"},
        {"[{", "[[],{"},
        {"\"share\":0.5", "\"share\":\"half\""},
        {"\"why\":", "\"why\":7,\"who\":"},
        {"{", "[{"},
    };
    struct history_event in = sample(), out;
    char *line = history_format(&in), *big = calloc(1, HISTORY_LINE_BYTES + 2);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char *bad = changed(line, wrong[i][0], wrong[i][1]);
        if (history_parse(&out, bad, strlen(bad), NULL) != FL_CORRUPT)
            fail_msg("%s is taken", bad);
        free(bad);
    }
    for (size_t n = 0; n < strlen(line); n++)
        assert_int_equal(history_parse(&out, line, n, NULL), FL_CORRUPT);
    memset(big, ' ', HISTORY_LINE_BYTES + 1);
    assert_int_equal(history_parse(&out, big, HISTORY_LINE_BYTES + 1, NULL), FL_CORRUPT);
    free(big);
    free(line);
}

static void nothing_in_it_commands_a_terminal(void **state)
{
    struct history_event in = sample(), out;
    char *line;
    strcpy(in.why, "\033[2Jgone\n");
    line = history_format(&in);
    assert_int_equal(history_parse(&out, line, strlen(line), NULL), FL_OK);
    assert_string_equal(out.why, "?[2Jgone?");
    free(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(the_longest_event_fits_a_line),
        cmocka_unit_test(what_is_no_event_is_refused),
        cmocka_unit_test(nothing_in_it_commands_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
