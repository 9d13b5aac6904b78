/* test_learning.c - what is shown of how a cache service learns */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/observe/learning.h"

static struct process_status service(enum learning_state state)
{
    struct process_status s = {.role = ROLE_CACHE, .replica = 1};
    s.last.learning.state = state;
    return s;
}

static void says(const struct process_status *s, int which, const char *text)
{
    char line[LEARNING_LINES][LEARNING_LINE_BYTES] = {"", ""};
    int n = learning_lines(s, line);
    if (which >= n || !strstr(line[which], text))
        fail_msg("line %d of %d, \"%s\", does not say \"%s\"", which, n, line[which], text);
}

static void every_state_has_its_words(void **state)
{
    char line[LEARNING_LINES][LEARNING_LINE_BYTES];
    for (int i = 0; i < LEARNING_STATES; i++) {
        struct process_status s = service((enum learning_state)i);
        json_t *o = learning_json(&s);
        assert_int_equal(learning_lines(&s, line), i != LEARNING_UNKNOWN && i != LEARNING_NO_CACHES);
        assert_int_equal(json_is_null(o), i == LEARNING_UNKNOWN);
        assert_true(i == LEARNING_UNKNOWN || strlen(json_string_value(json_object_get(o, "state"))));
        json_decref(o);
    }
    struct process_status later = service((enum learning_state)LEARNING_STATES),
                          stage = service(LEARNING_ALONE);
    stage.role = ROLE_STAGE;
    assert_int_equal(learning_lines(&later, line), 0);
    assert_int_equal(learning_lines(&stage, line), 0);
}

static void counts_are_shown_before_and_after(void **state)
{
    struct process_status s = service(LEARNING_SHARED);
    char line[LEARNING_LINES][LEARNING_LINE_BYTES];
    json_t *o;
    says(&s, 0, "cache1 learns through Redis");
    assert_int_equal(learning_lines(&s, line), 1);
    assert_null(strstr(line[0], "updates"));
    s.last.learning.built = (struct lookup_tally){.lookups = 1000, .hits = 312};
    assert_int_equal(learning_lines(&s, line), 1); /* nothing to compare with yet */
    s.last.learning.accepted = 70;
    s.last.jobs = 64;
    s.last.queued = 5;
    s.last.dropped = 2;
    s.last.learning.rejected = 1;
    s.last.learning.learned =
        (struct lookup_tally){.lookups = 2000, .hits = 760, .audit_hits = 200, .audit_right = 197};
    says(&s, 0, "70 accepted, 64 put into caches here, 5 waiting, 2 dropped, 1 refused");
    says(&s, 1,
         "31.2% of 1000 in the caches as built, 38.0% of 2000 since they learned (audits: 98.5% of 200 "
         "right)");
    s.last.learning.built = (struct lookup_tally){0};
    says(&s, 1, "look-ups that hit: 38.0% of 2000 since they learned");
    o = learning_json(&s);
    assert_int_equal(json_integer_value(json_object_get(o, "applied")), 64);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "learned"), "audit_right")), 197);
    json_decref(o);
}

static void whose_build_is_where(void **state)
{
    struct process_status s = service(LEARNING_ASIDE);
    memset(s.caches.build, 0xab, sizeof s.caches.build);
    memset(s.last.learning.redis_build, 0xcd, sizeof s.last.learning.redis_build);
    says(&s, 0,
         "another build than this host (abababababab here, cdcdcdcdcdcd there) (`freezeline logs cache1`)");
}

static void no_number_is_too_large(void **state)
{
    struct process_status s = service(LEARNING_REFUSED);
    char line[LEARNING_LINES][LEARNING_LINE_BYTES];
    memset(&s.last, 0xff, sizeof s.last);
    s.last.learning.state = LEARNING_REFUSED;
    assert_int_equal(learning_lines(&s, line), 2);
    assert_true(strlen(line[0]) < LEARNING_LINE_BYTES - 1 && strlen(line[1]) < LEARNING_LINE_BYTES - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_its_words),
        cmocka_unit_test(counts_are_shown_before_and_after),
        cmocka_unit_test(whose_build_is_where),
        cmocka_unit_test(no_number_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
