/* test_certificate.c - rows that hold, against plain counting, and how often one is wrong */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "cache_service/promise/betting.h"
#include "cache_service/promise/certificate.h"
#include "numbers/shuffle.h"

#define EXITS 3

static const struct promise_terms agreement = {true, 0.02, 0.95}, accuracy = {false, 0.02, 0.95};

/* One audit of a world in which the network is right in 90%, and exits are right the oftener the surer they
 * are. */
struct audit {
    int32_t label[EXITS], full, truth;
    float confidence[EXITS];
};

static struct audit draw(struct shuffle *s, double skew)
{
    struct audit a = {.full = (int32_t)shuffle_below(s, 10)};
    a.truth = shuffle_uniform(s) < 0.9 ? a.full : (a.full + 1) % 10;
    if (shuffle_uniform(s) < 0.3)
        a.truth = -1;
    for (int k = 0; k < EXITS; k++) {
        double odds = (k + 1) * (1.5 + shuffle_normal(s)), right = 1 / (1 + exp(-odds - skew));
        a.confidence[k] = shuffle_uniform(s) < 0.05 ? NAN : (float)odds;
        a.label[k] = shuffle_uniform(s) < 0.05    ? -1
                     : shuffle_uniform(s) < right ? a.full
                                                  : (a.full + 1 + (int32_t)shuffle_below(s, 9)) % 10;
    }
    return a;
}

/* `rows` vectors of thresholds from `from` down to `to`, the later exits ahead of the earlier ones. */
static struct promise_order order_of(int64_t rows, double from, double to)
{
    struct promise_order o = {.rows = rows, .threshold = malloc((size_t)rows * EXITS * sizeof(float))};
    for (int64_t row = 0; row < rows; row++) {
        for (int k = 0; k < EXITS; k++)
            o.threshold[row * EXITS + k] =
                (float)(from + (to - from) * (double)row / (double)rows) + (float)(EXITS - k) * 0.5f;
    }
    return o;
}

/* What the header says, counted row by row. */
struct plain {
    struct gap_counts counts[64];
    int64_t answered[64][EXITS];
    bool holds[64];
};

static void plain_see(struct plain *p, const struct promise_order *o, const struct promise_terms *t,
                      double delta, const struct audit *a)
{
    bool before = true;
    for (int64_t row = 0; row < o->rows; row++) {
        int k = 0, d;
        while (k < EXITS && !(a->label[k] >= 0 && a->confidence[k] > o->threshold[row * EXITS + k]))
            k++;
        d = k == EXITS ? 0 : certificate_loss(t->agreement, a->label[k], a->full, a->truth);
        p->counts[row].n++;
        p->counts[row].lost += d > 0;
        p->counts[row].won += d < 0;
        if (k < EXITS)
            p->answered[row][k]++;
        p->holds[row] =
            before && (p->holds[row] || betting_below(&p->counts[row], t->budget) >= log(1 / delta));
        before = p->holds[row];
    }
}

static int64_t first_that_fails(const struct plain *p, const struct promise_order *o)
{
    int64_t row = 0;
    while (row < o->rows && p->holds[row])
        row++;
    return row;
}

/* The boldest row that holds and is at 1/delta by all audits. */
static int64_t last_that_is_ready(const struct plain *p, const struct promise_order *o,
                                  const struct promise_terms *t, double delta)
{
    int64_t row = first_that_fails(p, o) - 1;
    while (row >= 0 && betting_below(&p->counts[row], t->budget) < log(1 / delta))
        row--;
    return row;
}

static void compare(const struct certificate *c, const struct plain *p, const struct promise_order *o,
                    const struct promise_terms *t)
{
    struct certificate_row r;
    int64_t row = first_that_fails(p, o), share = 0;
    assert_int_equal(certificate_row(c), row - 1);
    assert_int_equal(certificate_ready_row(c, 0), last_that_is_ready(p, o, t, 0.05));
    row = row < o->rows ? row : o->rows - 1;
    certificate_counts(c, row, &r);
    assert_int_equal(r.counts.n, p->counts[row].n);
    assert_int_equal(r.counts.lost, p->counts[row].lost);
    assert_int_equal(r.counts.won, p->counts[row].won);
    for (int k = 0; k < EXITS; k++) {
        assert_int_equal(r.answered[k], p->answered[row][k]);
        share += r.answered[k];
        assert_true(r.threshold[k] == o->threshold[row * EXITS + k]);
    }
    assert_true(fabs(r.share * (double)r.counts.n - (double)share) < 1e-6);
    assert_true(r.threshold[EXITS] == INFINITY);
}

static void check_world(const struct promise_terms *t, double skew, uint64_t seed, int64_t at_least)
{
    struct promise_order o = order_of(60, 6, -1);
    struct promise_terms half = {t->agreement, t->budget / 2, t->certainty};
    struct plain p = {0}, less = {0};
    struct certificate *c;
    struct shuffle s;
    shuffle_seed(&s, seed, 1);
    assert_int_equal(certificate_new(&c, &o, EXITS, t, 0.05), FL_OK);
    certificate_add_level(c, half.budget);
    assert_int_equal(certificate_rows(c), 60);
    for (int i = 0; i < 4000; i++) {
        struct audit a = draw(&s, skew);
        certificate_see(c, a.label, a.confidence, a.full, a.truth);
        plain_see(&p, &o, t, 0.05, &a);
        plain_see(&less, &o, &half, 0.05, &a);
        if (i % 97 == 0)
            compare(c, &p, &o, t);
        assert_int_equal(certificate_level_row(c, 1), first_that_fails(&less, &o) - 1);
        assert_true(certificate_level_row(c, 1) <= certificate_row(c) && certificate_level_row(c, 2) < 0);
    }
    assert_true(certificate_row(c) >= at_least && certificate_row(c) < 59);
    assert_int_equal(certificate_seen(c), 4000);
    certificate_free(c);
    promise_order_release(&o);
}

static void test_counts_and_rows_as_plain_counting_has_them(void **state)
{
    check_world(&agreement, 0, 1, 10);
    check_world(&accuracy, 0, 2, 10);
    check_world(&accuracy, -2, 3, 0);
}

/* Whoever looks after each audit meets a row that is over the budget in delta of all streams at most. */
/* A row holds for ever, but may begin to serve only by what is known then. */
static void test_rows_that_held_are_asked_anew(void **state)
{
    struct promise_order o = order_of(60, 6, -1);
    struct certificate *c;
    struct audit a;
    struct shuffle s;
    int64_t held;
    shuffle_seed(&s, 5, 1);
    assert_int_equal(certificate_new(&c, &o, EXITS, &agreement, 0.05), FL_OK);
    certificate_add_level(c, agreement.budget / 2);
    for (int i = 0; i < 4000; i++) {
        a = draw(&s, 0);
        certificate_see(c, a.label, a.confidence, a.full, a.truth);
    }
    held = certificate_row(c);
    assert_true(held > 10 && certificate_ready_row(c, 0) > held - 5);
    assert_true(certificate_ready_row(c, 1) >= 0 &&
                certificate_ready_row(c, 1) < certificate_ready_row(c, 0));
    for (int k = 0; k < EXITS; k++) {
        a.label[k] = a.full + 1;
        a.confidence[k] = 100;
    }
    for (int i = 0; i < 100; i++)
        certificate_see(c, a.label, a.confidence, a.full, a.truth);
    assert_int_equal(certificate_row(c), held);
    assert_int_equal(certificate_ready_row(c, 0), -1);
    assert_int_equal(certificate_ready_row(c, 1), -1);
    certificate_free(c);
    promise_order_release(&o);
}

static void test_no_row_over_the_budget_holds_oftener_than_it_may(void **state)
{
    struct promise_order o = order_of(60, 6, -1);
    struct certificate *c;
    struct shuffle s;
    double lost[60] = {0};
    int64_t honest = 0, half = 0;
    int wrong = 0, wrong_half = 0;
    shuffle_seed(&s, 4, 0);
    for (int i = 0; i < 200000; i++) {
        struct audit a = draw(&s, -1);
        for (int64_t row = 0; row < 60; row++) {
            int k = 0;
            while (k < EXITS && !(a.label[k] >= 0 && a.confidence[k] > o.threshold[row * EXITS + k]))
                k++;
            lost[row] += k < EXITS && a.label[k] != a.full;
        }
    }
    while (honest < 60 && lost[honest] / 200000 <= agreement.budget)
        honest++;
    while (lost[half] / 200000 <= agreement.budget / 2)
        half++;
    assert_in_range(honest, 5, 55);
    for (int stream = 0; stream < 400; stream++) {
        shuffle_seed(&s, 4, 1 + (uint64_t)stream);
        assert_int_equal(certificate_new(&c, &o, EXITS, &agreement, 0.1), FL_OK);
        certificate_add_level(c, agreement.budget / 2);
        for (int i = 0; i < 3000; i++) {
            struct audit a = draw(&s, -1);
            certificate_see(c, a.label, a.confidence, a.full, -1);
        }
        wrong += certificate_row(c) >= honest;
        wrong_half += certificate_level_row(c, 1) >= half;
        assert_true(certificate_row(c) >= honest / 2);
        certificate_free(c);
    }
    assert_true(wrong <= 40 && wrong_half <= 40);
    promise_order_release(&o);
}

static void test_thousands_of_rows_are_thinned_and_equal_ones_merged(void **state)
{
    struct promise_order o = order_of(4096, 6, -1), twice = order_of(8, 3, 1);
    struct certificate_row r;
    struct certificate *c;
    assert_int_equal(certificate_new(&c, &o, EXITS, &agreement, 0.05), FL_OK);
    assert_int_equal(certificate_rows(c), CERTIFICATE_ROWS);
    certificate_counts(c, 0, &r);
    assert_true(r.threshold[0] == o.threshold[0]);
    assert_true(r.counts.n == 0 && r.share == 0);
    certificate_counts(c, CERTIFICATE_ROWS - 1, &r);
    assert_true(r.threshold[2] == o.threshold[4095 * EXITS + 2]);
    certificate_free(c);
    memcpy(twice.threshold + 3, twice.threshold, 3 * sizeof(float));
    assert_int_equal(certificate_new(&c, &twice, EXITS, &agreement, 0.05), FL_OK);
    assert_int_equal(certificate_rows(c), 7);
    certificate_free(c);
    promise_order_release(&o);
    promise_order_release(&twice);
}

static void test_what_cannot_be_tested_is_refused(void **state)
{
    struct promise_order o = order_of(8, 3, 1), empty = {.rows = 0};
    struct promise_terms wide = {true, 1, 0.95};
    const int32_t label[EXITS] = {1, 1, 1};
    const float confidence[EXITS] = {9, 9, 9};
    struct certificate *c;
    assert_int_equal(certificate_new(&c, &o, EXITS, &wide, 0.05), FL_VALUE);
    assert_int_equal(certificate_new(&c, &o, EXITS, &agreement, 0), FL_VALUE);
    assert_int_equal(certificate_new(&c, &o, PIPELINE_MAX_EXITS + 1, &agreement, 0.05), FL_VALUE);
    o.threshold[5] = 10; /* more timid than the row before */
    assert_int_equal(certificate_new(&c, &o, EXITS, &agreement, 0.05), FL_VALUE);
    o.threshold[5] = NAN;
    assert_int_equal(certificate_new(&c, &o, EXITS, &agreement, 0.05), FL_VALUE);
    assert_null(c);
    certificate_free(c);
    assert_int_equal(certificate_new(&c, &empty, EXITS, &agreement, 0.05), FL_OK);
    for (int i = 0; i < 1000; i++)
        certificate_see(c, label, confidence, i % 2 != 0 ? 1 : -1, -1);
    assert_int_equal(certificate_row(c), -1);
    assert_int_equal(certificate_seen(c), 500);
    certificate_free(c);
    promise_order_release(&o);
}

/* test_certificate AUDITS: how long one takes. */
static int measure(int audits)
{
    struct promise_order o = order_of(500, 6, -1);
    struct certificate *c;
    struct shuffle s;
    uint64_t spent = 0;
    shuffle_seed(&s, 5, 0);
    if (certificate_new(&c, &o, EXITS, &agreement, 0.05) != FL_OK)
        return 1;
    for (int i = 0; i < audits; i += 1000) {
        struct audit a[1000];
        uint64_t begun;
        for (int j = 0; j < 1000; j++)
            a[j] = draw(&s, 0);
        begun = clock_ns();
        for (int j = 0; j < 1000; j++)
            certificate_see(c, a[j].label, a[j].confidence, a[j].full, a[j].truth);
        spent += clock_ns() - begun;
    }
    printf("certificate_see, %lld rows, %d exits: %.2f us\n", (long long)certificate_rows(c), EXITS,
           (double)spent / audits / 1000);
    certificate_free(c);
    promise_order_release(&o);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_and_rows_as_plain_counting_has_them),
        cmocka_unit_test(test_rows_that_held_are_asked_anew),
        cmocka_unit_test(test_no_row_over_the_budget_holds_oftener_than_it_may),
        cmocka_unit_test(test_thousands_of_rows_are_thinned_and_equal_ones_merged),
        cmocka_unit_test(test_what_cannot_be_tested_is_refused),
    };
    return argc > 1 ? measure(atoi(argv[1])) : cmocka_run_group_tests(tests, NULL, NULL);
}
