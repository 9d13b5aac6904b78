/* test_kinds.c - which kind of cache wins at which exit */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/testing.h"
#include "numbers/shuffle.h"
#include "deploy/build/kinds.h"

enum { POINTS = 2000, EXITS = 2, KNN = 0, KMEANS = 1, LEARNED = 2 };

/* Evidence of one kind at two exits: right in good[i] of the points, sure in all of those and in no others.
 */
static void draw(struct evidence *ev, const char *kind, const double good[EXITS], double lookup)
{
    struct shuffle s;
    assert_int_equal(evidence_new(ev, EXITS, POINTS, true), FL_OK);
    for (int i = 0; i < EXITS; i++) {
        struct evidence_exit *x = &ev->exit[i];
        snprintf(x->name, sizeof x->name, "exit%d", i + 1);
        snprintf(x->kind, sizeof x->kind, "%s", kind);
        x->placed = true;
        x->before = 0.25 + 0.25 * i;
        x->lookup = lookup;
        shuffle_seed(&s, 1, 1);
        for (int p = 0; p < POINTS; p++) {
            double u = shuffle_uniform(&s);
            x->label[p] = u < good[i] ? 0 : 1;
            x->confidence[p] = u < good[i] ? 5 + (float)u : (float)u - 5;
        }
    }
}

static void enter(struct kinds_contest *c, int k, const struct evidence *ev, int only)
{
    for (int i = 0; i < EXITS; i++)
        if (only < 0 || only == i)
            c->entry[i][k] = (struct kinds_entry){.evidence = ev, .column = i, .threshold = 4, .bytes = 100};
}

static void test_names(void **state)
{
    bool wanted[KINDS];
    struct error e = {0};
    assert_int_equal(kinds_parse(wanted, "all", &e), FL_OK);
    assert_true(wanted[KNN] && wanted[KMEANS] && wanted[LEARNED]);
    assert_int_equal(kinds_parse(wanted, "learned,knn", &e), FL_OK);
    assert_true(wanted[KNN] && !wanted[KMEANS] && wanted[LEARNED]);
    assert_int_equal(kinds_parse(wanted, "", &e), FL_USAGE);
    assert_int_equal(kinds_parse(wanted, "knn,none", &e), FL_USAGE);
    assert_non_null(strstr(e.text, "'none'"));
    assert_int_equal(kinds_parse(wanted, "knn,,learned", &e), FL_USAGE);
    assert_int_equal(kinds_index("kmeans"), KMEANS);
    assert_int_equal(kinds_index("none"), -1);
}

/* By hand: points that an exit answers take 0.25 or 0.5, the others 1; each look-up 0.01. */
static void test_each_exit_has_its_winner(void **state)
{
    static const double early[] = {0.5, 0.6}, late[] = {0.2, 0.9};
    struct evidence a, b, won;
    struct kinds_contest c = {.n_exits = EXITS};
    draw(&a, "kmeans", early, 0.01);
    draw(&b, "learned", late, 0.01);
    enter(&c, KMEANS, &a, -1);
    enter(&c, LEARNED, &b, -1);
    assert_int_equal(kinds_compare(&c, NULL), FL_OK);
    assert_true(c.entry[0][KMEANS].won && !c.entry[0][LEARNED].won);
    assert_true(c.entry[1][LEARNED].won && !c.entry[1][KMEANS].won);
    assert_true(fabs(c.entry[0][KMEANS].agreement - 0.5) < 0.03 && c.entry[0][KMEANS].bytes == 100);
    assert_true(fabs(c.entry[0][KMEANS].share - 0.5) < 0.03);
    assert_true(fabs(c.entry[0][KMEANS].time - (1 - 0.75 * c.entry[0][KMEANS].share + 0.01)) < 1e-9);
    assert_true(isnan(c.uniform[KNN]) && c.time < c.uniform[KMEANS] && c.time < c.uniform[LEARNED]);
    assert_int_equal(kinds_evidence(&won, &c, NULL), FL_OK);
    assert_string_equal(won.exit[0].kind, "kmeans");
    assert_string_equal(won.exit[1].kind, "learned");
    assert_memory_equal(won.exit[1].label, b.exit[1].label, POINTS * sizeof(int32_t));
    evidence_release(&won);
    c.promised = c.may_drop = true;
    c.terms = (struct promise_terms){false, 0.01, 0.95};
    assert_int_equal(kinds_compare(&c, NULL), FL_OK);
    assert_true(c.entry[0][KMEANS].won && c.entry[1][LEARNED].won && c.time < 0.7);
    c.terms.certainty = 0.999;
    c.terms.budget = 1e-4;
    assert_int_equal(kinds_compare(&c, NULL), FL_VALUE); /* too few points */
    evidence_release(&a);
    evidence_release(&b);
}

/* The better kind loses where its look-up costs more than it gains. */
static void test_look_ups_count(void **state)
{
    static const double good[] = {0.52, 0.92}, less[] = {0.5, 0.9};
    struct evidence a, b;
    struct kinds_contest c = {.n_exits = EXITS};
    draw(&a, "knn", good, 0.1);
    draw(&b, "learned", less, 0.01);
    enter(&c, KNN, &a, -1);
    enter(&c, LEARNED, &b, -1);
    assert_int_equal(kinds_compare(&c, NULL), FL_OK);
    assert_true(c.entry[0][LEARNED].won && c.entry[1][LEARNED].won && c.time == c.uniform[LEARNED]);
    evidence_release(&a);
    evidence_release(&b);
}

static void test_kinds_that_are_not_everywhere(void **state)
{
    static const double good[] = {0.5, 0.9};
    struct evidence a, b;
    struct kinds_contest c = {.n_exits = EXITS + 1}; /* the last has no cache */
    json_t *json;
    draw(&a, "knn", good, 0.01);
    draw(&b, "learned", good, 0.02);
    enter(&c, KNN, &a, 0);
    enter(&c, LEARNED, &b, 1);
    assert_int_equal(kinds_compare(&c, NULL), FL_OK);
    assert_true(c.entry[0][KNN].won && c.entry[1][LEARNED].won);
    assert_true(c.uniform[KNN] == c.uniform[LEARNED] && c.uniform[KNN] == c.time);
    json = kinds_json(&c);
    assert_int_equal(json_array_size(json_object_get(json, "entries")), 2);
    json_decref(json);
    evidence_release(&a);
    evidence_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_each_exit_has_its_winner),
        cmocka_unit_test(test_look_ups_count),
        cmocka_unit_test(test_kinds_that_are_not_everywhere),
    };
    return cmocka_run_group_tests_name("kinds", tests, NULL, NULL);
}
