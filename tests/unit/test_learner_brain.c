/* test_learner_brain.c - when caches are taught, certified, tightened, switched off, and what is never done
 *
 * A world without pictures: a candidate is a skill. Each audit has a confidence, uniform in 0..1, and the
 * cache is right with a probability that grows with it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "numbers/shuffle.h"
#include "cache_service/learn/learner_brain.h"

enum { EXITS = 2, ROWS = 40 };

struct world {
    struct learner_setup setup;
    struct learner_brain *brain;
    struct shuffle random;
    uint64_t now, request;
    double wrong; /* the share of wrong answers at confidence 0; none is wrong above `sure` */
    double sure;
    double luck[EXITS], confidence[EXITS]; /* of the audit in hand */
    int64_t taught, planning, grows;       /* grows: requests that a teaching audit counts for */
    /* what it decided */
    int teach, tune, forgets, numbers, events;
    uint64_t last_number, asked;
    struct learner_decision asks, serves;
    int served;
};

static int look(void *arg, uint64_t number, int32_t *label, float *confidence)
{
    struct world *w = arg;
    (void)number;
    for (int k = 0; k < EXITS; k++) {
        double wrong = w->confidence[k] < w->sure ? w->wrong * (1 - w->confidence[k] / w->sure) : 0;
        label[k] = w->luck[k] < wrong ? 2 : 1;
        confidence[k] = (float)w->confidence[k];
    }
    return FL_OK;
}

static void obey(struct world *w)
{
    struct learner_decision d;
    while (learner_brain_next(w->brain, &d)) {
        assert_true(d.why[0] != 0 || (d.what != LEARNER_SERVE && d.what != LEARNER_EVENT));
        w->numbers += d.what == LEARNER_NUMBER;
        if (d.what == LEARNER_NUMBER) {
            assert_int_equal(d.number, w->last_number + 1); /* each is used once */
            w->last_number = d.number;
        }
        if (d.what == LEARNER_TEACH || d.what == LEARNER_TUNE) {
            assert_int_equal(d.number, w->last_number); /* it was to be remembered first */
            w->teach += d.what == LEARNER_TEACH;
            w->tune += d.what == LEARNER_TUNE;
            w->asks = d;
            w->asked = d.number;
        }
        if (d.what == LEARNER_SERVE) {
            w->serves = d;
            w->served++;
        }
        w->forgets += d.what == LEARNER_FORGET;
        w->events += d.what == LEARNER_EVENT;
    }
}

static struct learner_setup plain(void)
{
    struct learner_setup s = {.n_exits = EXITS,
                              .terms = {.agreement = true, .budget = 0.01, .certainty = 0.95},
                              .audit = 0.02,
                              .audit_most = 0.25,
                              .interval_ns = 1000,
                              .differs = NAN};
    for (int k = 0; k < EXITS; k++) {
        s.exit[k].name[0] = (char)('a' + k);
        s.exit[k].before = 0.25 + 0.25 * k;
        s.exit[k].lookup = 0.01;
        s.threshold[k] = INFINITY;
    }
    return s;
}

static struct world *world_new(const struct learner_setup *s)
{
    struct world *w = calloc(1, sizeof *w);
    w->setup = *s;
    w->wrong = 0.2;
    w->sure = 0.5;
    w->grows = 1;
    w->last_number = s->candidate;
    shuffle_seed(&w->random, 3, 1);
    assert_int_equal(learner_brain_new(&w->brain, &w->setup, look, w, 0), FL_OK);
    return w;
}

static void world_free(struct world *w)
{
    learner_brain_free(w->brain);
    free(w);
}

/* As a test begins, and ends. */
static int plain_world(void **state)
{
    const struct learner_setup s = plain();
    *state = world_new(&s);
    return 0;
}

static int end_of_world(void **state)
{
    world_free(*state);
    return 0;
}

static void audit(struct world *w)
{
    struct learner_audit a = {++w->request, 1, -1, w->request};
    for (int k = 0; k < EXITS; k++) {
        w->confidence[k] = shuffle_uniform(&w->random);
        w->luck[k] = shuffle_uniform(&w->random);
    }
    w->now += 1000;
    learner_brain_audit(w->brain, &a, w->now);
    *(w->request % 2 == 0 ? &w->taught : &w->planning) += w->grows;
    learner_brain_grown(w->brain, w->taught, w->planning, w->now);
    obey(w);
}

static void audits(struct world *w, int n)
{
    for (int i = 0; i < n; i++)
        audit(w);
}

/* Rows from timid to bold, as a plan would have them: either exit in turn. */
static bool taught(struct world *w)
{
    float threshold[ROWS * EXITS];
    struct promise_order o = {{true, true}, ROWS, threshold};
    uint64_t number = w->asked;
    bool wanted;
    for (int i = 0; i < ROWS; i++) {
        threshold[i * EXITS] = 1 - (float)(i / 2) / (ROWS / 2);
        threshold[i * EXITS + 1] = 1 - (float)((i + 1) / 2) / (ROWS / 2);
    }
    w->asked = 0;
    wanted = learner_brain_taught(w->brain, number, &o, w->taught, w->now);
    obey(w);
    return wanted;
}

static void audits_and_lessons(struct world *w, int n)
{
    for (int i = 0; i < n; i++) {
        audit(w);
        if (w->asked != 0)
            taught(w);
    }
}

static struct learner_view view(const struct world *w)
{
    return learner_brain_view(w->brain);
}

/* From nothing to a candidate that serves. */
static void until_it_serves(struct world *w)
{
    for (int i = 0; i < 20000 && view(w).state != LEARNER_SERVING; i++)
        audits_and_lessons(w, 1);
    assert_int_equal(view(w).state, LEARNER_SERVING);
}

static void test_cold_start(void **state)
{
    struct world *w = *state;
    assert_int_equal(view(w).state, LEARNER_COLD);
    assert_true(view(w).audit == 1);
    audits(w, 100);
    assert_int_equal(w->teach, 0); /* too few */
    audits(w, 400);
    assert_int_equal(w->teach, 1);
    assert_false(w->asks.warm);
    assert_true(view(w).teaching);
    audits(w, 400); /* nothing else is asked for while that is in work */
    assert_int_equal(w->teach, 1);
    assert_true(taught(w));
    assert_int_equal(w->served, 0); /* what came while it was taught certifies nothing */
    until_it_serves(w);
    assert_true(w->serves.certified.upper <= 0.01);
    assert_true(w->serves.certified.counts.n >= 300);
    assert_true(view(w).audit >= 0.25); /* there is more to be gained */
}

static void test_becomes_bolder_but_not_too_bold(void **state)
{
    struct world *w = *state;
    float first;
    until_it_serves(w);
    first = w->serves.threshold[0];
    w->grows = 0; /* nothing more is taught */
    audits(w, 20000);
    assert_true(w->serves.threshold[0] < first);
    assert_true(w->serves.threshold[0] > 0.2f); /* below, more than a point is lost */
    assert_int_equal(w->serves.n_levels,
                     PROMISE_LEVELS); /* for requests that ask for less, more timid ones */
    for (int i = 1; i < PROMISE_LEVELS; i++)
        assert_true(w->serves.level[i][0] > w->serves.level[i - 1][0]);
    assert_true(w->serves.level[0][0] == w->serves.threshold[0]);
    assert_int_equal(view(w).state, LEARNER_SERVING);
    assert_true(view(w).alarm < 0.5);
    assert_true(view(w).audit == 0.02);
}

static void test_teaches_again_as_requests_grow(void **state)
{
    struct world *w = *state;
    uint64_t first;
    until_it_serves(w);
    first = view(w).serving;
    for (int i = 0; i < 20000; i++) {
        audit(w);
        if (w->asked != 0) {
            w->sure *= 0.9; /* each is better than the one before */
            taught(w);
        }
    }
    assert_in_range(w->teach, 8, 16);                              /* a third more each time */
    assert_true(w->asks.warm && w->asks.of == w->asks.number - 1); /* where the one before stands */
    assert_true(view(w).serving > first);
    assert_true(w->forgets > 0);
    assert_in_range(view(w).candidates, 1, LEARNER_CANDIDATES);
}

static void test_alarm_tightens_then_switches_off(void **state)
{
    struct world *w = *state;
    float before[EXITS];
    int served, n;
    until_it_serves(w);
    w->grows = 0;
    audits(w, 5000);
    memcpy(before, w->serves.threshold, sizeof before);
    served = w->served;
    w->sure = 1; /* the world changes: sure answers are wrong too */
    w->wrong = 0.3;
    for (n = 0; n < 1000 && w->served == served; n++)
        audit(w);
    assert_true(n < 600);
    assert_int_equal(w->serves.state, LEARNER_TIGHTENED);
    assert_true(w->serves.threshold[0] >= before[0] && w->serves.threshold[1] >= before[1]);
    assert_true(view(w).audit >= 0.25);
    w->wrong = 9; /* and on: nothing can be trusted */
    for (n = 0; n < 2000 && view(w).state != LEARNER_OFF; n++)
        audit(w);
    assert_int_equal(view(w).state, LEARNER_OFF);
    for (int k = 0; k < EXITS; k++)
        assert_true(!w->serves.placed[k] && w->serves.threshold[k] == INFINITY);
    assert_true(view(w).audit == 1);
    w->grows = 1; /* it learns the new world, and comes back */
    w->sure = 0.3;
    w->wrong = 0.1;
    until_it_serves(w);
    assert_true(w->asks.since_ms > 0);
}

/* Where the alarm blames audits that lose far more than the budget, no thresholds are tried. */
static void test_alarm_at_a_collapse_switches_off_at_once(void **state)
{
    struct world *w = *state;
    int served, n;
    until_it_serves(w);
    w->grows = 0;
    audits(w, 5000);
    served = w->served;
    w->sure = 1;
    w->wrong = 0.9;
    for (n = 0; n < 200 && w->served == served; n++)
        audit(w);
    assert_true(n < 100);
    assert_int_equal(w->served, served + 1);
    assert_int_equal(w->serves.state, LEARNER_OFF);
    assert_non_null(strstr(w->serves.why, "far more than 1.00 points"));
    w->grows = 1;
    w->sure = 0.3;
    w->wrong = 0.1;
    until_it_serves(w);
    assert_int_equal(w->serves.state, LEARNER_SERVING);
}

/* The audits that are left lose nothing more than before. */
static void test_what_is_lost_raises_the_alarm(void **state)
{
    struct world *w = *state;
    int n;
    until_it_serves(w);
    for (n = 0; n < 2000 && w->serves.state == LEARNER_SERVING; n++) {
        audit(w);
        if (n % 4 == 0)
            learner_brain_audit_lost(w->brain, w->request, w->now);
        obey(w);
    }
    assert_true(n < 200);
    for (; n < 4000 && view(w).state != LEARNER_OFF; n++)
        learner_brain_audit_lost(w->brain, w->request, w->now);
    assert_int_equal(view(w).state, LEARNER_OFF);
}

/* All that are left are right, and yet nothing is certified. */
static void test_what_is_lost_judges_candidates(void **state)
{
    const struct learner_setup s = plain();
    for (int lost = 0; lost < 2; lost++) {
        struct world *w = world_new(&s);
        w->wrong = 0;
        for (int n = 0; n < 20000 && w->served == 0; n++) {
            audits_and_lessons(w, 1);
            if (lost && n % 3 == 0)
                learner_brain_audit_lost(w->brain, w->request, w->now);
            obey(w);
        }
        assert_int_equal(w->served > 0, !lost);
        world_free(w);
    }
}

static void test_a_signal_lets_it_learn_anew(void **state)
{
    struct world *w = *state;
    uint64_t asked;
    until_it_serves(w);
    w->grows = 0;
    audits(w, 5000);
    assert_true(view(w).audit == 0.02);
    w->grows = 1;
    learner_brain_signal(w->brain, "it is dark", w->now);
    obey(w);
    assert_true(w->events > 0 && view(w).audit >= 0.25);
    assert_int_equal(view(w).state, LEARNER_SERVING); /* what serves goes on: a signal proves nothing */
    w->asked = asked = 0;
    audits(w, 500);
    assert_true(w->asked != asked && w->asks.since_ms == 5000 + w->request - 5500);
}

static void test_frozen_serves_what_it_served(void **state)
{
    struct learner_setup s = plain();
    struct world *w;
    s.frozen = true;
    w = world_new(&s);
    audits_and_lessons(w, 5000);
    assert_int_equal(w->served, 0);
    assert_int_equal(w->events, 1); /* that something waits is told once */
    learner_brain_frozen(w->brain, false, w->now);
    audits(w, 1);
    assert_int_equal(w->served, 1);
    world_free(w);
}

/* What was certified before the world changed does not begin to serve after it, whatever kept it waiting. */
static void test_old_certificates_do_not_begin_to_serve(void **state)
{
    struct learner_setup s = plain();
    struct world *w;
    s.frozen = true;
    w = world_new(&s);
    audits_and_lessons(w, 5000);
    assert_int_equal(w->events, 1); /* certified */
    w->wrong = 1;
    w->sure = 100; /* whatever they are sure of is wrong */
    audits(w, 1000);
    learner_brain_frozen(w->brain, false, w->now);
    audits(w, 1);
    assert_int_equal(w->served, 0);
    world_free(w);
}

static void test_what_a_build_made(void **state)
{
    struct learner_setup s = plain();
    struct world *w;
    s.serves = true;
    s.candidate = 7;
    for (int k = 0; k < EXITS; k++) {
        s.placed[k] = true;
        s.threshold[k] = 0.9f;
    }
    w = world_new(&s);
    assert_int_equal(view(w).state, LEARNER_SERVING);
    w->grows = 1;
    for (int i = 0; i < 400 && w->tune == 0; i++) {
        audit(w);
        w->taught = 0;
    }
    assert_int_equal(w->tune, 1); /* first, the same caches */
    assert_int_equal(w->asks.number, 8);
    assert_int_equal(w->asks.of, 0);
    taught(w);
    audits(w, 3000);
    assert_true(w->served > 0 && w->serves.number == 8 && w->serves.threshold[0] < 0.9f);
    world_free(w);
}

/* A promise of accuracy: where the network is wrong, an answer that differs costs nothing. */
static void test_truth_may_come_later(void **state)
{
    struct learner_setup s = plain();
    float without;
    for (int feedback = 0; feedback < 2; feedback++) {
        struct world *w;
        s.terms.agreement = false;
        w = world_new(&s);
        until_it_serves(w);
        w->grows = 0;
        for (int i = 0; i < 8000; i++) {
            audit(w);
            if (feedback)
                learner_brain_truth(w->brain, w->request, w->request % 3 == 0 ? 1 : 0, w->now);
            obey(w);
        }
        if (!feedback)
            without = w->serves.threshold[0];
        else
            assert_true(w->serves.threshold[0] < without);
        learner_brain_truth(w->brain, 999999, 1, w->now); /* of a request that never was */
        world_free(w);
    }
}

/* A build that was certified by true labels answers otherwise than the network as often as then: no alarm. */
static void test_answers_that_differ_as_often_as_in_the_build(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct learner_setup s = plain();
        struct world *w;
        bool alarmed = false;
        s.terms.agreement = false;
        s.serves = true;
        s.differs = known ? 0.05 : NAN;
        for (int k = 0; k < EXITS; k++) {
            s.placed[k] = true;
            s.threshold[k] = 0;
        }
        w = world_new(&s);
        w->sure = 2;
        w->wrong = 0.05 / 0.75; /* the first exit answers all; 5% are wrong */
        for (int i = 0; i < 4000; i++) {
            audit(w);
            obey(w);
            alarmed = alarmed || view(w).state == LEARNER_TIGHTENED || view(w).state == LEARNER_OFF;
        }
        assert_int_equal(alarmed, !known);
        world_free(w);
    }
}

/* However often a build's answers differ, that all do is heard. */
static void test_a_build_that_differs_nearly_always_has_an_alarm(void **state)
{
    struct learner_setup s = plain();
    struct world *w;
    bool alarmed = false;
    (void)state;
    s.terms.agreement = false;
    s.serves = s.placed[0] = true;
    s.threshold[0] = 0;
    s.differs = 0.9;
    w = world_new(&s);
    w->sure = w->wrong = 2;
    for (int i = 0; i < 4000; i++) {
        audit(w);
        obey(w);
        alarmed = alarmed || view(w).state == LEARNER_TIGHTENED || view(w).state == LEARNER_OFF;
    }
    assert_true(alarmed);
    world_free(w);
}

static void test_what_was_not_taught(void **state)
{
    struct world *w = *state;
    audits(w, 500);
    assert_int_equal(w->teach, 1);
    learner_brain_not_taught(w->brain, w->asked + 5, "another one", w->now);
    assert_true(view(w).teaching);
    learner_brain_not_taught(w->brain, w->asked, "the disk is full", w->now);
    obey(w);
    assert_int_equal(w->events, 1);
    assert_false(taught(w)); /* too late */
    audits(w, 1000);
    assert_int_equal(w->teach, 2); /* again, when there is more to learn from */
}

/* Audits that came while it was taught, and lost nothing or all. */
static void recall(struct world *w, uint64_t number, int n, bool lost)
{
    const float sure[EXITS] = {1, 1};
    const int32_t right[EXITS] = {1, 1};
    for (int i = 0; i < n; i++) {
        struct learner_audit a = {++w->request, 1, -1, w->request};
        if (lost)
            learner_brain_recall_lost(w->brain, number, &a);
        else
            learner_brain_recall(w->brain, number, &a, right, sure);
    }
    w->now += 1000;
    learner_brain_tick(w->brain, w->now);
    obey(w);
}

static void test_is_judged_by_what_came_while_it_was_taught(void **state)
{
    const struct learner_setup s = plain();
    for (int lost = 0; lost < 2; lost++) {
        struct world *w = world_new(&s);
        while (w->asked == 0)
            audit(w);
        recall(w, w->asked, 2000, false); /* it is not there yet */
        assert_true(taught(w));
        recall(w, w->last_number + 1, 2000, false); /* nobody */
        assert_int_equal(view(w).state, LEARNER_COLD);
        recall(w, w->last_number, 20, lost);
        assert_int_equal(view(w).state, LEARNER_COLD); /* too few */
        recall(w, w->last_number, 1500, false);
        assert_int_equal(view(w).state, lost ? LEARNER_COLD : LEARNER_SERVING);
        if (!lost) {
            assert_int_equal(w->serves.certified.counts.n, 1520);
            assert_int_equal(w->serves.certified.counts.lost, 0);
        }
        world_free(w);
    }
}

/* Of many worlds with caches that are never good enough, in hardly any one serves. */
static void test_hardly_ever_serves_what_loses_too_much(void **state)
{
    const struct learner_setup s = plain();
    int broken = 0;
    for (int i = 0; i < 40; i++) {
        struct world *w = world_new(&s);
        shuffle_seed(&w->random, 100, (uint64_t)i);
        w->sure =
            1000; /* wrong at any confidence, a little more than what may be lost where half is answered */
        w->wrong = 0.25;
        audits_and_lessons(w, 3000);
        for (int k = 0; k < EXITS; k++)
            broken += w->served > 0 && w->serves.threshold[k] < 0.9f;
        world_free(w);
    }
    assert_in_range(broken, 0, 2);
}

#define in_plain_world(test) cmocka_unit_test_setup_teardown(test, plain_world, end_of_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        in_plain_world(test_cold_start),
        in_plain_world(test_becomes_bolder_but_not_too_bold),
        in_plain_world(test_teaches_again_as_requests_grow),
        in_plain_world(test_alarm_tightens_then_switches_off),
        in_plain_world(test_alarm_at_a_collapse_switches_off_at_once),
        in_plain_world(test_what_is_lost_raises_the_alarm),
        cmocka_unit_test(test_what_is_lost_judges_candidates),
        in_plain_world(test_a_signal_lets_it_learn_anew),
        cmocka_unit_test(test_frozen_serves_what_it_served),
        cmocka_unit_test(test_old_certificates_do_not_begin_to_serve),
        cmocka_unit_test(test_what_a_build_made),
        cmocka_unit_test(test_truth_may_come_later),
        cmocka_unit_test(test_answers_that_differ_as_often_as_in_the_build),
        cmocka_unit_test(test_a_build_that_differs_nearly_always_has_an_alarm),
        in_plain_world(test_what_was_not_taught),
        cmocka_unit_test(test_is_judged_by_what_came_while_it_was_taught),
        cmocka_unit_test(test_hardly_ever_serves_what_loses_too_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
