/* test_choice.c - which variant answers: under budgets, in a cascade, by feedback; what is refused */
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "broker/choice/choice.h"
#include "broker/choice/paging.h"

#define MS     1000000ull
#define SECOND (1000 * MS)

enum { FULL, INT8, SMALL, N };
static uint64_t now;
static struct choice_load load[CHOICE_MAX];
static struct choice_course course;

static const struct choice_variant three[N] = {
    {"float32", 0, 0, 8, 0.008, 50000000, INFINITY},
    {"int8", 0.1, 0.4, 3, 0.003, 14000000, INFINITY},
    {"small", 2, 3, 1, 0.001, 5000000, 0.9},
};

static struct choice *fresh(enum choose_rule how, double loss, double latency_ms)
{
    struct choice_budget b = {.how = how, .max_accuracy_loss = loss, .latency_ms = latency_ms};
    struct choice *c;
    struct error e = {0};
    if (choice_new(&c, three, N, &b, 7, &e))
        fail_msg("%s", e.text);
    now = 100 * SECOND;
    for (int i = 0; i < N; i++)
        load[i] = (struct choice_load){.ready = true};
    return c;
}

static uint32_t begin_with(struct choice *c, uint64_t id, uint64_t left_ns, double max_loss)
{
    struct choice_request r = {.id = id, .left_ns = left_ns, .max_loss = max_loss};
    return choice_begin(c, now, &r, load, &course);
}

static uint32_t begin(struct choice *c, uint64_t id)
{
    return begin_with(c, id, 100 * MS, -1);
}

static struct choice_step answers(struct choice *c, int v, double ms, int32_t label, float confidence)
{
    struct choice_answer a = {
        .variant = v, .took_ns = (uint64_t)(ms * MS), .label = label, .confidence = confidence};
    now += a.took_ns;
    return choice_answered(c, now, &course, &a, load);
}

static struct choice_step fails(struct choice *c, int v)
{
    struct choice_answer a = {.variant = v, .failed = true};
    return choice_answered(c, now, &course, &a, load);
}

static void test_full_quality_while_there_is_room_and_back_again(void **state)
{
    struct choice *c = fresh(CHOOSE_BUDGET, 1, 20);
    assert_int_equal(begin(c, 1), 1 << FULL);
    load[FULL].ahead = 2; /* 24 ms */
    assert_int_equal(begin(c, 2), 1 << INT8);
    load[FULL].ahead = 0;
    assert_int_equal(begin(c, 3), 1 << FULL);
    choice_free(c);
}

/* Both on the same processors: the queues are short, and answers come late all the same. */
static void test_late_answers_press_on_all_and_time_takes_that_back(void **state)
{
    struct choice *c = fresh(CHOOSE_BUDGET, 1, 20);
    int full = 0;
    for (int i = 0; i < N; i++)
        load[i].expects_ns = (uint64_t)three[i].ms * MS;
    for (int i = 1; i <= 200; i++) {
        bool first = begin(c, (uint64_t)i) == 1 << FULL;
        full += i > 100 && first;
        answers(c, first ? FULL : __builtin_ctz(course.asked), 21, 1, 1);
    }
    assert_in_range(full, 0, 30);
    for (int i = 1; i <= 20000; i++) /* as many a second */
        answers(c, __builtin_ctz(begin(c, (uint64_t)i)), 21 - 2 * (i > 9), 1, 1);
    assert_int_equal(begin(c, 101), 1 << FULL);
    choice_free(c);
}

static void test_a_request_may_allow_less(void **state)
{
    struct choice *c = fresh(CHOOSE_BUDGET, 1, 20);
    load[FULL].ahead = 9;
    assert_int_equal(begin_with(c, 1, 100 * MS, 0.2), 1 << FULL);
    assert_int_equal(begin_with(c, 2, 100 * MS, 0.5), 1 << INT8);
    assert_int_equal(begin_with(c, 3, 0, -1), 1 << INT8); /* no time at all: the quickest that is permitted */
    choice_free(c);
}

/* Bursts of an hour's worst: over any hour the mean loss stays within the budget, and it is made use of. */
static void test_the_loss_of_any_hour_stays_within_the_budget(void **state)
{
    enum { MINUTES = 300 };
    static double cost[MINUTES];
    static int requests[MINUTES];
    struct choice *c = fresh(CHOOSE_BUDGET, 1, 20);
    double worst = 0, all = 0, n_all = 0;
    for (int m = 0; m < MINUTES; m++) {
        bool burst = m / 20 % 3 == 2;
        requests[m] = burst ? 600 : 300;
        cost[m] = 0;
        for (int i = 0; i < requests[m]; i++) {
            uint32_t v;
            load[FULL].ahead = load[INT8].ahead = burst ? 50 : 0;
            now += 60 * SECOND / (uint64_t)requests[m];
            v = begin(c, (uint64_t)i + 1);
            answers(c, __builtin_ctz(v), 0, 1, 1);
            cost[m] += v == 1 << SMALL ? 3 : v == 1 << INT8 ? 0.4 : 0;
        }
    }
    for (int m = 60; m <= MINUTES; m++) {
        double sum = 0, n = 0;
        for (int k = m - 60; k < m; k++) {
            sum += cost[k];
            n += requests[k];
        }
        worst = fmax(worst, sum / n);
        all += sum;
        n_all += n;
    }
    print_message("worst hour: %.3f points of 1; mean %.3f\n", worst, all / n_all);
    assert_true(worst <= 1 + 1e-9);
    assert_true(all / n_all > 0.5);
    choice_free(c);
}

static void test_processor_time_is_kept_to(void **state)
{
    struct choice_budget b = {.max_accuracy_loss = 1, .latency_ms = 20, .cpu_seconds_per_second = 0.5};
    struct choice *c;
    double used = 0;
    int full = 0;
    assert_int_equal(choice_new(&c, three, 2, &b, 7, NULL), FL_OK);
    load[FULL] = load[INT8] = (struct choice_load){.ready = true};
    for (int i = 0; i < 10000; i++) { /* 100 a second: all at full quality would take 0.8 */
        now += 10 * MS;
        full += begin(c, (uint64_t)i + 1) == 1 << FULL;
    }
    used = full * 0.008 + (10000 - full) * 0.003;
    assert_true(used <= 0.5 * 101 && used > 0.5 * 98);
    choice_free(c);
}

static void test_what_is_not_ready_is_never_asked(void **state)
{
    struct choice *c = fresh(CHOOSE_BUDGET, 10, 20);
    load[FULL].ready = false;
    assert_int_equal(begin(c, 1), 1 << INT8);
    load[INT8].ready = load[SMALL].ready = false;
    assert_int_equal(begin(c, 2), 0);
    choice_free(c);
}

static void test_after_a_failure_another_one_is_asked(void **state)
{
    struct choice *c = fresh(CHOOSE_BUDGET, 10, 20);
    struct choice_step s;
    assert_int_equal(begin(c, 1), 1 << FULL);
    s = fails(c, FULL);
    assert_int_equal(s.what, CHOICE_ASK);
    assert_int_equal(s.variant, INT8);
    assert_int_equal(fails(c, FULL).what, CHOICE_WAIT); /* told twice */
    assert_int_equal(fails(c, 99).what, CHOICE_WAIT);
    assert_int_equal(fails(c, INT8).variant, SMALL);
    assert_int_equal(fails(c, SMALL).what, CHOICE_FAIL);
    choice_free(c);
}

static void test_a_cascade_asks_the_next_one_where_it_is_unsure(void **state)
{
    struct choice *c = fresh(CHOOSE_CASCADE, 1, 50);
    struct choice_step s;
    assert_int_equal(begin(c, 1), 1 << SMALL);
    s = answers(c, SMALL, 1, 4, 0.95f);
    assert_int_equal(s.what, CHOICE_SERVE);
    assert_int_equal(s.variant, SMALL);
    assert_int_equal(begin(c, 2), 1 << SMALL);
    s = answers(c, SMALL, 1, 4, 0.9f); /* int8's certificate says "never": it is passed over */
    assert_int_equal(s.what, CHOICE_ASK);
    assert_int_equal(s.variant, FULL);
    s = answers(c, FULL, 8, 5, 0.5f);
    assert_int_equal(s.what, CHOICE_SERVE);
    assert_int_equal(s.variant, FULL);
    begin(c, 3);
    assert_int_equal(answers(c, SMALL, 1, 4, NAN).what, CHOICE_ASK); /* no confidence is none */
    choice_free(c);
}

/* An unsure answer costs what the small variant loses: it is served only as far as the hour's budget goes, to
 * which every answer that is sure adds. */
static void test_a_cascade_without_its_last_one_stays_within_the_budget(void **state)
{
    struct choice *c = fresh(CHOOSE_CASCADE, 1, 50);
    struct choice_status st;
    int served = 0;
    load[FULL].ready = false;
    for (uint64_t i = 1; i <= 1000; i++) {
        begin(c, i);
        if (i % 2)
            assert_int_equal(answers(c, SMALL, 1, 4, 0.95f).what, CHOICE_SERVE);
        else
            served += answers(c, SMALL, 1, 4, 0.5f).what == CHOICE_SERVE;
    }
    choice_status(c, now, &st);
    assert_true(st.loss_hour <= 1 + 1e-9);
    assert_in_range(served, 200, 340);
    choice_free(c);
}

static void test_who_fails_has_no_vote_and_the_confidence_says_so(void **state)
{
    struct choice *c = fresh(CHOOSE_EXP4, 10, 50);
    struct choice_step s;
    assert_int_equal(begin(c, 1), 7);
    assert_int_equal(answers(c, FULL, 8, 3, 1).what, CHOICE_WAIT);
    s = answers(c, INT8, 1, 3, 1); /* two of three: the last one cannot change it */
    assert_int_equal(s.what, CHOICE_SERVE);
    assert_float_equal(s.confidence, 2.0 / 3, 1e-6);
    assert_int_equal(answers(c, SMALL, 1, 4, 1).what, CHOICE_WAIT); /* too late, and learned from */
    assert_int_equal(choice_feedback(c, 1, 4), FL_OK);
    assert_int_equal(choice_feedback(c, 1, 4), FL_NOT_FOUND); /* a label counts once */

    assert_int_equal(begin(c, 2), 7);
    fails(c, FULL);
    assert_int_equal(answers(c, INT8, 1, 3, 1).what, CHOICE_WAIT);
    s = choice_hurry(c, now, &course);
    assert_int_equal(s.what, CHOICE_SERVE);
    assert_int_equal(s.voted, 1 << INT8);
    assert_true(s.confidence < 0.34f);
    choice_free(c);
}

static void test_a_budget_that_nothing_meets_is_said(void **state)
{
    struct choice_budget b = {.max_accuracy_loss = 0.2, .latency_ms = 5};
    struct choice_variant twice[2] = {three[0], three[0]}, wrong = three[0];
    struct choice *c;
    struct error e = {0};
    assert_int_equal(choice_new(&c, three, N, &b, 7, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "float32 takes 8.00 ms"));
    b = (struct choice_budget){.max_accuracy_loss = 1, .memory = 1000000};
    assert_int_equal(choice_new(&c, three, N, &b, 7, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "memory_mb"));
    b = (struct choice_budget){.max_accuracy_loss = NAN};
    assert_int_equal(choice_new(&c, three, N, &b, 7, &e), FL_VALUE);
    b = (struct choice_budget){.max_accuracy_loss = 1};
    assert_int_equal(choice_new(&c, twice, 2, &b, 7, &e), FL_VALUE);
    assert_int_equal(choice_new(&c, three, 0, &b, 7, &e), FL_VALUE);
    assert_int_equal(choice_new(&c, three, CHOICE_MAX + 1, &b, 7, &e), FL_VALUE);
    wrong.ms = NAN;
    assert_int_equal(choice_new(&c, &wrong, 1, &b, 7, &e), FL_VALUE);
}

static void test_feedback_for_what_is_not_remembered(void **state)
{
    struct choice *c = fresh(CHOOSE_EXP3, 10, 50);
    struct choice_status st;
    uint32_t asked;
    uint64_t small = 0;
    for (uint64_t id = 1; id < 100; id++) {
        asked = begin(c, id);
        answers(c, __builtin_ctz(asked), 1, 3, 1);
        small = asked == 1 << SMALL ? id : small;
    }
    assert_int_equal(choice_feedback(c, small, 3), FL_OK);
    assert_int_equal(choice_feedback(c, 12345, 3), FL_NOT_FOUND);
    assert_int_equal(choice_feedback(c, 0, 3), FL_NOT_FOUND);
    assert_int_equal(choice_feedback(c, small, -1), FL_VALUE);
    choice_status(c, now, &st);
    assert_int_equal(st.feedback_taken, 1);
    assert_int_equal(st.feedback_unknown, 2);
    choice_free(c);
    c = fresh(CHOOSE_BUDGET, 10, 50);
    assert_int_equal(choice_feedback(c, 1, 3), FL_UNSUPPORTED);
    choice_free(c);
}

/* Memory for two of three: those that requests use; a change needs a reason and time. */
static void test_memory_holds_what_requests_use(void **state)
{
    struct choice_budget b = {.max_accuracy_loss = 10, .latency_ms = 20, .memory = 64000000};
    struct choice *c;
    int changes = 0;
    uint32_t was;
    assert_int_equal(choice_new(&c, three, N, &b, 7, NULL), FL_OK);
    for (int i = 0; i < N; i++)
        load[i] = (struct choice_load){.ready = i != SMALL};
    was = choice_wants(c, now, 0);
    assert_int_equal(was, 1 << FULL | 1 << INT8);
    for (int i = 0; i < 36000; i++) { /* an hour in which the third would be of use now and then */
        now += 100 * MS;
        load[FULL].ahead = 9;
        load[INT8].ahead = i % 200 < 3 ? 9 : 0;
        begin(c, (uint64_t)i + 1);
        changes += choice_wants(c, now, was) != was;
        was = choice_wants(c, now, was);
    }
    assert_int_equal(changes, 0);
    load[INT8].ahead = 9;
    for (int i = 0; i < 3000; i++) {
        now += 100 * MS;
        assert_int_equal(begin(c, (uint64_t)i + 1) & 1 << SMALL, 0);
        changes += choice_wants(c, now, was) != was;
        was = choice_wants(c, now, was);
    }
    assert_int_equal(changes, 1);
    assert_int_equal(was, 1 << FULL | 1 << SMALL);
    choice_free(c);
}

/* Loading takes a minute: the next change has to wait for twenty times as long. Who never comes is done
 * without. */
static void test_what_loading_costs_bounds_how_often(void **state)
{
    const uint64_t bytes[] = {50, 14, 14};
    struct paging p;
    uint32_t loaded = 3, wanted;
    uint64_t t = SECOND, changed = 0;
    int changes = 0;
    paging_init(&p, bytes, 3, 64);
    for (int s = 0; s < 3600; s++, t += SECOND) {
        uint32_t use = s / 200 % 2 ? 2 : 4; /* now the one, now the other */
        for (int i = 0; i < 50; i++)
            paging_wished(&p, t, use);
        wanted = paging_wants(&p, t, loaded);
        changes += wanted != loaded && !changed;
        changed = wanted == loaded ? 0 : changed ? changed : t;
        if (changed && t - changed >= 60 * SECOND) {
            loaded = wanted;
            changed = 0;
        }
    }
    assert_in_range(changes, 1, 6);

    paging_init(&p, bytes, 3, 64);
    for (int s = 0; s < 300; s++, t += SECOND) {
        paging_wished(&p, t, s < 20 ? 4 : 2);
        wanted = paging_wants(&p, t, 1);
    }
    assert_int_equal(p.wanted, 5);
    for (int s = 0; s < 700; s++, t += SECOND) {
        paging_wished(&p, t, 2);
        wanted = paging_wants(&p, t, 3);
    }
    assert_int_equal(wanted, 3);
}

/* A broker that starts again goes on with the hour; where the file is damaged, it borrows nothing for one. */
static void test_the_hour_outlives_the_broker(void **state)
{
    char path[] = "/tmp/freezeline-hour-XXXXXX";
    struct choice *c = fresh(CHOOSE_BUDGET, 1, 20);
    struct choice_status st;
    struct error e = {0};
    double was;
    FILE *f;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    for (int i = 0; i < 3000; i++) { /* half an hour; int8 for a third */
        now += SECOND;
        load[FULL].ahead = i % 3 ? 0 : 9;
        answers(c, __builtin_ctz(begin(c, (uint64_t)i + 1)), 0, 1, 1);
    }
    choice_status(c, now, &st);
    was = st.loss_hour;
    assert_int_equal(choice_keep_hour(c, now, 1000000, path, &e), FL_OK);
    choice_free(c);

    c = fresh(CHOOSE_BUDGET, 1, 20);
    now = 5 * SECOND; /* the machine has started again meanwhile */
    assert_int_equal(choice_recall_hour(c, now, 1000060, path, &e), FL_OK);
    choice_status(c, now, &st);
    assert_float_equal(st.loss_hour, was, 0.01);
    assert_in_range(st.served_hour, 2900, 3000);
    load[FULL].ahead = load[INT8].ahead = 50;
    assert_int_equal(begin(c, 1), 1 << SMALL); /* on credit */
    choice_free(c);

    c = fresh(CHOOSE_BUDGET, 1, 20);
    assert_int_equal(choice_recall_hour(c, now, 1000000 + 7200, path, &e), FL_OK);
    choice_status(c, now, &st);
    assert_int_equal(st.served_hour, 0);
    assert_int_equal(choice_recall_hour(c, now, 0, path, &e), FL_OK); /* a calendar that was set back */
    choice_status(c, now, &st);
    assert_int_equal(st.served_hour, 3000);
    choice_free(c);

    assert_int_equal(truncate(path, 100), 0);
    c = fresh(CHOOSE_BUDGET, 1, 20);
    assert_int_equal(choice_recall_hour(c, now, 1000060, path, &e), FL_CORRUPT);
    assert_non_null(strstr(e.text, path));
    for (int i = 0; i < 1000; i++) { /* a credit that it may not use yet */
        now += SECOND;
        load[FULL].ahead = load[INT8].ahead = i % 10 ? 0 : 50;
        assert_true(begin(c, (uint64_t)i) != 1 << SMALL);
        answers(c, FULL, 0, 1, 1);
    }
    choice_free(c);
    assert_non_null(f = fopen(path, "w"));
    fprintf(f, "freezeline hour 1 at 5 credit nan\nend\n");
    fclose(f);
    c = fresh(CHOOSE_BUDGET, 1, 20);
    assert_int_equal(choice_recall_hour(c, now, 1000060, path, &e), FL_CORRUPT);
    assert_int_equal(truncate(path, 100000), 0);
    assert_int_equal(choice_recall_hour(c, now, 1000060, path, &e), FL_CORRUPT);
    unlink(path);
    assert_int_equal(choice_recall_hour(c, now, 1000060, path, &e), FL_NOT_FOUND);
    choice_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_quality_while_there_is_room_and_back_again),
        cmocka_unit_test(test_late_answers_press_on_all_and_time_takes_that_back),
        cmocka_unit_test(test_a_request_may_allow_less),
        cmocka_unit_test(test_the_loss_of_any_hour_stays_within_the_budget),
        cmocka_unit_test(test_processor_time_is_kept_to),
        cmocka_unit_test(test_what_is_not_ready_is_never_asked),
        cmocka_unit_test(test_after_a_failure_another_one_is_asked),
        cmocka_unit_test(test_a_cascade_asks_the_next_one_where_it_is_unsure),
        cmocka_unit_test(test_a_cascade_without_its_last_one_stays_within_the_budget),
        cmocka_unit_test(test_who_fails_has_no_vote_and_the_confidence_says_so),
        cmocka_unit_test(test_a_budget_that_nothing_meets_is_said),
        cmocka_unit_test(test_feedback_for_what_is_not_remembered),
        cmocka_unit_test(test_memory_holds_what_requests_use),
        cmocka_unit_test(test_what_loading_costs_bounds_how_often),
        cmocka_unit_test(test_the_hour_outlives_the_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
