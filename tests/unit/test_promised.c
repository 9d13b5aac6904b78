/* test_promised.c - what the report of a promise says about each exit */
#include <math.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/build/promised.h"

/* 10,000 certifying points; `answered` by the exit. */
static void check_note(bool placed, double saves, float threshold, int64_t answered, const char *note)
{
    struct promised p = {.terms = {false, 0.01, 0.95}};
    json_t *root;
    assert_int_equal(evidence_new(&p.evidence, 1, 4, true), FL_OK);
    strcpy(p.evidence.exit[0].name, "exit1");
    p.choice.placed[0] = placed;
    p.choice.threshold[0] = threshold;
    p.choice.forecast.saves[0] = saves;
    p.choice.certified.points = 10000;
    p.choice.certified.exit[0].answered = answered;
    root = promised_json(&p);
    assert_non_null(root);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(json_object_get(root, "exits"), 0), "note")), note);
    json_decref(root);
    promised_release(&p);
}

static void exits_have_their_reasons(void **state)
{
    check_note(true, 0.1, 3, 5000, "placed");
    check_note(true, 0.1, 3, 0, "placed, but it answers next to nothing: do without it");
    check_note(true, 0.1, 3, 4, "placed, but it answers next to nothing: do without it");
    check_note(true, 0.1, 3, 5, "placed");
    check_note(true, -0.1, 3, 5000, "the pipeline file lists it; look-ups cost more than it saves");
    check_note(true, -0.1, 3, 0, "the pipeline file lists it; it answers next to nothing");
    check_note(true, 0.1, INFINITY, 0, "the pipeline file lists it; the promise allows it no answer");
    check_note(false, 0.1, INFINITY, 0, "left out: the promise allows it no answer");
    check_note(false, -0.1, INFINITY, 0, "left out: look-ups cost more than it saves");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(exits_have_their_reasons)};
    return cmocka_run_group_tests_name("promised", tests, NULL, NULL);
}
