/* test_promise.c - thresholds of all exits together, on evidence whose truth is known */
#include "cache_samples.h"

#include <math.h>
#include <stdio.h>

#include "cache_service/promise/gap_bound.h"
#include "cache_service/promise/promise.h"

/* A world of 10 classes and a network that is right in 90%. Exit k answers right (as the network does) with
 * probability 1 / (1 + exp(-(log odds + skew[k]))): with skew 0 its confidence is what it says. */
struct world {
    int exits;
    double sharpness[4], skew[4]; /* of each exit's log odds */
};

static void draw(struct evidence *ev, const struct world *w, int64_t n, uint64_t seed)
{
    struct shuffle s;
    assert_int_equal(evidence_new(ev, w->exits, n, true), FL_OK);
    shuffle_seed(&s, seed, 77);
    for (int k = 0; k < w->exits; k++) {
        struct evidence_exit *x = &ev->exit[k];
        snprintf(x->name, sizeof x->name, "exit%d", k + 1);
        strcpy(x->kind, "learned");
        x->placed = true;
        x->before = 0.2 * (k + 1);
        x->by_half = k < 2;
        x->lookup = 0.01;
    }
    for (int64_t i = 0; i < n; i++) {
        ev->full[i] = (int32_t)shuffle_below(&s, 10);
        ev->truth[i] = shuffle_uniform(&s) < 0.9 ? ev->full[i] : (ev->full[i] + 1) % 10;
        for (int k = 0; k < w->exits; k++) {
            double odds = w->sharpness[k] * (2 + shuffle_normal(&s)), p = 1 / (1 + exp(-odds - w->skew[k]));
            ev->exit[k].confidence[i] = (float)odds;
            ev->exit[k].label[i] = shuffle_uniform(&s) < p ? ev->full[i] : (ev->full[i] + 5) % 10;
        }
    }
}

static const struct world two = {2, {1, 2}, {0, 0}};
static const struct promise_terms one_point = {false, 0.01, 0.95};

static void test_judging_by_hand(void **state)
{
    struct evidence ev;
    struct promise_result r;
    static const float threshold[] = {0.5f, 0.25f};
    static const bool both[] = {true, true}, second[] = {false, true};
    assert_int_equal(evidence_new(&ev, 2, 4, true), FL_OK);
    memcpy(ev.full, (int32_t[]){1, 1, 2, 3}, 16);
    memcpy(ev.truth, (int32_t[]){1, 0, 2, 3}, 16);
    memcpy(ev.exit[0].label, (int32_t[]){2, 0, -1, 3}, 16); /* worse, better, no verdict, right but unsure */
    memcpy(ev.exit[0].confidence, (float[]){0.75f, 0.75f, 0.75f, 0.5f}, 16);
    memcpy(ev.exit[1].label, (int32_t[]){1, 1, 2, 4}, 16);
    memcpy(ev.exit[1].confidence, (float[]){1, 1, 0.5f, 0.25f}, 16);
    ev.exit[0].before = 0.25;
    ev.exit[1].before = 0.5;
    ev.exit[0].lookup = 0.0625;
    ev.exit[1].lookup = 0.125;
    ev.exit[0].by_half = true;
    promise_judge(&r, &ev, 0, 4, threshold, both, false);
    assert_true(r.lost == 1 && r.won == 1);
    assert_true(r.loss == 0 && r.share == 0.75 && r.by_half == 0.5 && r.points == 4);
    /* twice 0.25 + 0.0625, 0.5 + 0.1875, 1 + 0.1875 */
    assert_true(r.time == (0.3125 * 2 + 0.6875 + 1.1875) / 4);
    assert_int_equal(r.exit[0].answered, 2);
    assert_int_equal(r.exit[0].right, 1);
    assert_int_equal(r.exit[0].agreed, 0);
    promise_judge(&r, &ev, 0, 4, threshold, both, true);
    assert_true(r.lost == 2 && r.won == 0);
    promise_judge(&r, &ev, 2, 4, threshold, second, true);
    assert_true(r.loss == 0 && r.share == 0.5 && r.time == (0.625 + 1.125) / 2);
    evidence_release(&ev);
}

static void test_thresholds_keep_the_budget(void **state)
{
    struct evidence ev, world;
    struct promise_choice c;
    struct promise_result r;
    draw(&ev, &two, 5000, 1);
    draw(&world, &two, 200000, 2);
    assert_int_equal(promise_choose(&c, &ev, &one_point, false, NULL), FL_OK);
    assert_int_equal(c.planned_on, 1000);
    assert_int_equal(c.certified.points, 4000);
    assert_true(c.upper <= one_point.budget && c.certified.loss < c.upper);
    assert_true(c.threshold[0] < INFINITY && c.threshold[1] < INFINITY);
    promise_judge(&r, &world, 0, world.points, c.threshold, c.placed, false);
    assert_true(r.loss <= one_point.budget && fabs(r.share - c.certified.share) < 0.05 && r.share > 0.2);
    evidence_release(&ev);
    evidence_release(&world);
}

/* The network that serves errs where float32 does not, one in `every` points. */
static void lower_precision(struct evidence *ev, int every)
{
    assert_int_equal(evidence_add_last(ev), FL_OK);
    for (int64_t i = 0; i < ev->points; i++)
        ev->last[i] = i % every ? ev->full[i] : (ev->full[i] + 7) % 10;
}

/* What precision loses leaves less for early answers, and what is served stays within the budget. */
static void test_precision_spends_the_budget(void **state)
{
    struct evidence ev, low, world, poor;
    struct promise_terms left;
    struct promise_choice wide, c;
    struct promise_result r;
    struct error e = {0};
    draw(&ev, &two, 20000, 1);
    draw(&low, &two, 20000, 1);
    draw(&world, &two, 200000, 2);
    draw(&poor, &two, 20000, 1);
    lower_precision(&low, 200);
    lower_precision(&world, 200);
    lower_precision(&poor, 40);
    assert_int_equal(promise_choose(&wide, &ev, &one_point, false, NULL), FL_OK);
    assert_int_equal(promise_choose(&c, &low, &one_point, false, NULL), FL_OK);
    assert_true(c.upper <= one_point.budget);
    assert_true(c.certified.share < wide.certified.share && c.certified.share > 0);
    promise_judge(&r, &world, 0, world.points, c.threshold, c.placed, false);
    assert_true(r.loss <= one_point.budget && fabs(r.loss - c.certified.loss) < 0.003);
    assert_int_equal(promise_choose(&c, &poor, &one_point, false, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "precision"));
    /* Audits compare with the network that serves: what its precision loses, one point in 200 here, is taken
     * off. */
    left = promise_left_by_precision(&low, &one_point);
    assert_true(left.budget > 0.003 && left.budget < 0.0055 && fabs(left.certainty - 0.955) < 1e-12);
    assert_true(promise_left_by_precision(&ev, &one_point).budget == one_point.budget);
    assert_true(promise_left_by_precision(&poor, &one_point).budget < 0);
    evidence_release(&ev);
    evidence_release(&low);
    evidence_release(&world);
    evidence_release(&poor);
}

/* Confidence that lies by a factor of e^3 in the odds must not help: harm is learned from outcomes. */
static void test_boasting_exit(void **state)
{
    static const struct world boast = {2, {1, 2}, {-3, 0}};
    struct evidence ev;
    struct promise_choice honest, c;
    draw(&ev, &two, 5000, 3);
    assert_int_equal(promise_choose(&honest, &ev, &one_point, false, NULL), FL_OK);
    evidence_release(&ev);
    draw(&ev, &boast, 5000, 3);
    assert_int_equal(promise_choose(&c, &ev, &one_point, false, NULL), FL_OK);
    assert_true(c.threshold[0] > honest.threshold[0]);
    assert_true(c.upper <= one_point.budget);
    evidence_release(&ev);
}

static void test_exit_that_does_not_pay(void **state)
{
    static const struct world three = {3, {1, 2, 2}, {0, 0, 0}};
    struct evidence ev;
    struct promise_choice c;
    draw(&ev, &three, 5000, 4);
    ev.exit[2].before = 0.99;
    ev.exit[2].lookup = 0.05;
    assert_int_equal(promise_choose(&c, &ev, &one_point, true, NULL), FL_OK);
    assert_true(c.placed[1] && !c.placed[2] && c.forecast.saves[2] <= 0 && isinf(c.threshold[2]));
    assert_int_equal(promise_choose(&c, &ev, &one_point, false, NULL), FL_OK);
    assert_true(c.placed[2]); /* the pipeline file says so */
    assert_true(c.forecast.saves[2] <= 0);
    evidence_release(&ev);
}

/* What an exit is worth is the difference between plans with it and without it. */
static void test_what_an_exit_is_worth(void **state)
{
    struct evidence ev;
    struct promise_forecast both, second, f;
    struct promise_choice c;
    draw(&ev, &two, 5000, 9);
    assert_int_equal(promise_foresee(&both, &ev, &one_point, false, NULL), FL_OK);
    assert_true(both.placed[0] && both.placed[1] && both.time < 1 && both.share > 0.2);
    ev.exit[0].placed = false;
    assert_int_equal(promise_foresee(&second, &ev, &one_point, false, NULL), FL_OK);
    assert_true(!second.placed[0] && second.placed[1]);
    assert_true(fabs(both.saves[0] - (second.time - both.time)) < 1e-9);
    assert_true(fabs(both.marginal[0] - (both.share - second.share)) < 1e-9);
    assert_true(fabs(second.saves[1] - (1 - second.time)) < 1e-9 && second.marginal[1] == second.share);
    ev.exit[0].placed = true;
    assert_int_equal(promise_choose(&c, &ev, &one_point, true, NULL), FL_OK);
    assert_int_equal(promise_foresee(&f, &ev, &one_point, true, NULL), FL_OK);
    assert_memory_equal(&c.forecast, &f, sizeof f);
    assert_int_equal(promise_foresee(&f, &ev, &(struct promise_terms){false, 1e-4, 0.99}, true, NULL),
                     FL_VALUE);
    evidence_release(&ev);
}

/* From nobody to everybody with a verdict, each step as bold as the one before or bolder. */
static void test_the_order(void **state)
{
    struct evidence ev;
    struct promise_order o;
    struct promise_result r;
    double share = 0;
    draw(&ev, &two, 2000, 10);
    assert_int_equal(promise_order(&o, &ev, &one_point, false, NULL), FL_OK);
    assert_true(o.rows > 100 && o.placed[0] && o.placed[1]);
    for (int64_t row = 0; row < o.rows; row++) {
        const float *t = o.threshold + 2 * row;
        assert_true(row == 0 || (t[0] <= t[-2] && t[1] <= t[-1]));
        promise_judge(&r, &ev, 0, ev.points, t, o.placed, false);
        assert_true(r.share >= share);
        share = r.share;
    }
    assert_true(share == 1);
    promise_order_release(&o);
    ev.exit[0].placed = false;
    assert_int_equal(promise_order(&o, &ev, &one_point, false, NULL), FL_OK);
    assert_true(!o.placed[0] && isinf(o.threshold[2 * (o.rows - 1)]));
    promise_order_release(&o);
    ev.exit[1].placed = false;
    assert_int_equal(promise_order(&o, &ev, &one_point, false, NULL), FL_OK);
    assert_int_equal(o.rows, 0);
    promise_order_release(&o);
    evidence_release(&ev);
}

static void test_what_cannot_be_promised(void **state)
{
    struct evidence ev, few;
    struct promise_choice c;
    struct promise_terms same = {true, 0.01, 0.95};
    struct error e = {0};
    static int32_t row[100];
    char needed[64];
    int64_t need = promise_points_needed(&one_point);
    draw(&ev, &two, 2000, 5);
    assert_int_equal(evidence_take(&few, &ev, row, 100), FL_OK);
    assert_int_equal(promise_choose(&c, &few, &one_point, false, &e), FL_VALUE);
    snprintf(needed, sizeof needed, "at least %lld", (long long)need);
    assert_non_null(strstr(e.text, needed));
    assert_true(isinf(c.threshold[0]));
    free(ev.truth);
    ev.truth = NULL;
    assert_int_equal(promise_choose(&c, &ev, &one_point, false, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "cache.promise: agreement"));
    assert_int_equal(promise_choose(&c, &ev, &same, false, &e), FL_OK);
    for (int64_t i = 0; i < ev.points; i++) /* never a verdict: nothing to choose from */
        ev.exit[0].label[i] = ev.exit[1].label[i] = -1;
    assert_int_equal(promise_choose(&c, &ev, &same, true, &e), FL_OK);
    assert_true(isinf(c.threshold[0]) && !c.placed[0] && c.certified.share == 0);
    evidence_release(&ev);
    evidence_release(&few);
}

/* Half of the certainty leaves nothing but the budget on the points themselves. */
static void test_point_estimate(void **state)
{
    struct promise_terms half = {false, 0.01, 0.5};
    struct evidence ev;
    struct promise_choice sure, c;
    draw(&ev, &two, 3000, 6);
    assert_int_equal(promise_choose(&sure, &ev, &one_point, false, NULL), FL_OK);
    assert_int_equal(promise_choose(&c, &ev, &half, false, NULL), FL_OK);
    assert_true(c.certified.loss <= 0.01 && c.certified.share > sure.certified.share);
    assert_true(isnan(c.upper) && !isnan(sure.upper)); /* a mean is no bound */
    evidence_release(&ev);
}

/* Less loss: more timid at each exit, within a bound of its own; none where there are too few points. */
static void test_levels_keep_shares_of_the_budget(void **state)
{
    struct promise_result r;
    struct promise_choice c;
    struct evidence ev, world, few;
    static int32_t row[400];
    draw(&ev, &two, 8000, 11);
    draw(&world, &two, 200000, 12);
    for (int i = 0; i < 400; i++)
        row[i] = i;
    assert_int_equal(promise_choose(&c, &ev, &one_point, false, NULL), FL_OK);
    assert_int_equal(c.n_levels, PROMISE_LEVELS);
    assert_memory_equal(c.level[0].threshold, c.threshold, sizeof c.threshold);
    for (int i = 0; i < c.n_levels; i++) {
        double budget = promise_level(i) * one_point.budget;
        promise_judge(&r, &world, 0, world.points, c.level[i].threshold, c.placed, false);
        assert_true(r.loss <= budget && c.level[i].upper <= budget && r.share > 0.05);
        assert_int_equal(promise_level_ppm(one_point.budget, i), 10000 >> i);
        for (int k = 0; i > 0 && k < 2; k++)
            assert_true(c.level[i].threshold[k] >= c.level[i - 1].threshold[k]);
    }
    assert_true(c.level[2].certified.share < c.level[0].certified.share);
    assert_int_equal(evidence_take(&few, &ev, row, 400), FL_OK);
    assert_int_equal(promise_choose(&c, &few, &(struct promise_terms){true, 0.02, 0.95}, false, NULL), FL_OK);
    assert_true(c.n_levels < PROMISE_LEVELS && c.n_levels >= 0);
    evidence_release(&few);
    evidence_release(&ev);
    evidence_release(&world);
}

static void test_resampling_finds_few_broken(void **state)
{
    struct promise_check check[PROMISE_LEVELS], again[PROMISE_LEVELS];
    struct evidence ev;
    draw(&ev, &two, 3000, 7);
    assert_int_equal(promise_check(check, &ev, &one_point, 60, 1, NULL, NULL, NULL), FL_OK);
    for (int i = 0; i < PROMISE_LEVELS; i++) {
        assert_int_equal(check[i].resamples, 60);
        assert_true(check[i].broken <= 3 && check[i].worst >= check[i].loss);
    }
    assert_true(check[0].share > 0.1 && check[1].share > 0 && check[1].share < check[0].share);
    assert_int_equal(promise_check(again, &ev, &one_point, 60, 1, NULL, NULL, NULL), FL_OK);
    assert_memory_equal(check, again, sizeof check);
    evidence_release(&ev);
}

/* What must not be done: the order is made from the same points that judge it, and chance gets no allowance.
 */
static bool leaks(const struct evidence *ev, const struct evidence *world, const struct promise_terms *terms)
{
    struct promise_order o;
    struct promise_result r;
    int64_t last = -1;
    assert_int_equal(promise_order(&o, ev, terms, false, NULL), FL_OK);
    for (int64_t row = 0; row < o.rows; row++) {
        promise_judge(&r, ev, 0, ev->points, o.threshold + 2 * row, o.placed, false);
        if (r.loss <= terms->budget)
            last = row;
    }
    r.loss = 0;
    if (last >= 0)
        promise_judge(&r, world, 0, world->points, o.threshold + 2 * last, o.placed, false);
    promise_order_release(&o);
    return r.loss > terms->budget;
}

/* Planning and certifying together (test_risk.c has the certificate alone, in 2,000 worlds). */
static void test_promises_in_many_worlds(void **state)
{
    enum { WORLDS = 150 };
    static const struct promise_terms terms = {false, 0.02, 0.9};
    struct evidence world;
    int broken = 0, leaky = 0;
    double share = 0;
    draw(&world, &two, 100000, 1000);
    for (int i = 0; i < WORLDS; i++) {
        struct evidence ev;
        struct promise_choice c;
        struct promise_result r;
        draw(&ev, &two, 800, 2000 + (uint64_t)i);
        assert_int_equal(promise_choose(&c, &ev, &terms, false, NULL), FL_OK);
        promise_judge(&r, &world, 0, world.points, c.threshold, c.placed, false);
        broken += r.loss > terms.budget;
        share += r.share / WORLDS;
        leaky += leaks(&ev, &world, &terms);
        evidence_release(&ev);
    }
    assert_true(broken <= 0.1 * WORLDS);
    assert_true(share > 0.2);
    assert_true(leaky > 0.3 * WORLDS);
    evidence_release(&world);
}

/* The last row of the order up to which the points from `from` on certify each, or -1. */
static int64_t walk(const struct promise_order *o, const struct evidence *ev, int64_t from,
                    const struct promise_terms *t)
{
    int64_t row;
    for (row = 0; row < o->rows; row++) {
        struct promise_result r;
        promise_judge(&r, ev, from, ev->points, o->threshold + row * ev->n_exits, o->placed, t->agreement);
        if (!gap_is_below(&(struct gap_counts){r.points, r.lost, r.won, !t->agreement}, t->budget,
                          1 - t->certainty))
            break;
    }
    return row - 1;
}

/* Of the first n points alone. */
static void order_of_first(struct promise_order *out, const struct evidence *ev, int64_t n,
                           const struct promise_terms *t)
{
    static int32_t row[2000];
    struct evidence first;
    for (int64_t i = 0; i < n; i++)
        row[i] = (int32_t)i;
    assert_int_equal(evidence_take(&first, ev, row, n), FL_OK);
    assert_int_equal(promise_order(out, &first, t, false, NULL), FL_OK);
    evidence_release(&first);
}

/* Other certifying points: 0 leaves them as they are, 1 makes the first exit boast and err, 2 the second one,
 * 3 lets all of them be right. */
static void change_certifying(struct evidence *ev, int64_t from, int how)
{
    for (int64_t i = from; i < ev->points; i++)
        for (int k = 0; k < 2; k++) {
            struct evidence_exit *x = &ev->exit[k];
            if (how == k + 1) {
                x->confidence[i] += 3;
                x->label[i] = (ev->full[i] + 5) % 10;
            } else if (how == 3)
                x->label[i] = ev->truth[i];
        }
}

/* What is certified never says which thresholds are tried, nor in which order: only how far to go. */
static void test_certifying_points_choose_no_candidates(void **state)
{
    static const struct promise_terms terms = {false, 0.02, 0.9};
    struct promise_forecast plan, f;
    int64_t last[4];
    for (int how = 0; how < 4; how++) {
        struct evidence ev;
        struct promise_choice c;
        struct promise_order o;
        draw(&ev, &two, 2000, 11);
        assert_int_equal(promise_choose(&c, &ev, &terms, false, NULL), FL_OK);
        change_certifying(&ev, c.planned_on, how);
        assert_int_equal(promise_choose(&c, &ev, &terms, false, NULL), FL_OK);
        assert_int_equal(c.certified.points, ev.points - c.planned_on);
        order_of_first(&o, &ev, c.planned_on, &terms);
        last[how] = walk(&o, &ev, c.planned_on, &terms);
        for (int k = 0; k < 2; k++)
            assert_true(c.threshold[k] == (last[how] < 0 ? INFINITY : o.threshold[2 * last[how] + k]));
        assert_int_equal(promise_foresee(how == 0 ? &plan : &f, &ev, &terms, true, NULL), FL_OK);
        assert_true(how == 0 || memcmp(&plan, &f, sizeof f) == 0);
        promise_order_release(&o);
        evidence_release(&ev);
    }
    assert_true(last[1] < last[0] && last[2] < last[0] && last[0] < last[3]);
}

/* Many exits that are as good as one another and whose confidence says nothing: which of them seems harmless
 * is chance alone, and an order that has seen the certifying points begins with those that were lucky there.
 */
static void draw_blind(struct evidence *ev, int exits, int64_t n, double wrong, uint64_t seed)
{
    struct shuffle s;
    assert_int_equal(evidence_new(ev, exits, n, false), FL_OK);
    shuffle_seed(&s, seed, 78);
    for (int k = 0; k < exits; k++) {
        struct evidence_exit *x = &ev->exit[k];
        snprintf(x->name, sizeof x->name, "exit%d", k + 1);
        strcpy(x->kind, "learned");
        x->placed = true;
        x->before = 0.3 + 0.001 * k;
        x->lookup = 0.0001;
        for (int64_t i = 0; i < n; i++) {
            x->confidence[i] = (float)shuffle_normal(&s);
            x->label[i] = shuffle_uniform(&s) < wrong; /* the full answer is always 0 */
        }
    }
}

static double loss_in(const struct evidence *world, const float *threshold, const bool *placed)
{
    struct promise_result r;
    promise_judge(&r, world, 0, world->points, threshold, placed, true);
    return r.loss;
}

static void test_planning_on_certifying_points_would_break(void **state)
{
    enum { WORLDS = 150, EXITS = 8, MOST_BROKEN = 24 /* at one in ten, more are in one of 150 tests */ };
    static const struct promise_terms terms = {true, 0.1, 0.9};
    struct evidence world;
    int broken = 0, broken_half = 0, leaky = 0;
    draw_blind(&world, EXITS, 20000, 0.11, 1);
    for (int i = 0; i < WORLDS; i++) {
        struct evidence ev;
        struct promise_choice c;
        struct promise_order o;
        int64_t last;
        draw_blind(&ev, EXITS, 300, 0.11, 100 + (uint64_t)i);
        assert_int_equal(promise_choose(&c, &ev, &terms, false, NULL), FL_OK);
        broken += loss_in(&world, c.threshold, c.placed) > terms.budget;
        broken_half += c.n_levels > 1 && loss_in(&world, c.level[1].threshold, c.placed) > terms.budget / 2;
        assert_int_equal(promise_order(&o, &ev, &terms, false, NULL), FL_OK);
        last = walk(&o, &ev, c.planned_on, &terms);
        leaky += last >= 0 && loss_in(&world, o.threshold + last * EXITS, o.placed) > terms.budget;
        promise_order_release(&o);
        evidence_release(&ev);
    }
    assert_true(broken <= MOST_BROKEN && broken_half <= MOST_BROKEN);
    assert_true(leaky > 0.25 * WORLDS);
    evidence_release(&world);
}

static bool same(const struct evidence *a, const struct evidence *b)
{
    uint64_t digest[2];
    assert_int_equal(evidence_digest(a, &digest[0]), FL_OK);
    assert_int_equal(evidence_digest(b, &digest[1]), FL_OK);
    return digest[0] == digest[1];
}

static void test_evidence_on_disk(void **state)
{
    char path[] = "/tmp/freezeline-evidence-XXXXXX";
    struct evidence ev, back;
    struct error e = {0};
    uint8_t other[16] = {1};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    draw(&ev, &two, 500, 8);
    assert_int_equal(evidence_load(&back, path, NULL, &e), FL_CORRUPT);
    assert_int_equal(evidence_save(&ev, path, &e), FL_OK);
    assert_int_equal(evidence_load(&back, path, ev.identity, &e), FL_OK);
    assert_true(same(&ev, &back));
    assert_true(back.exit[1].before == ev.exit[1].before && back.exit[0].by_half && back.exit[1].placed);
    back.exit[1].confidence[499] += 1;
    assert_false(same(&ev, &back));
    evidence_release(&back);
    lower_precision(&ev, 3);
    assert_int_equal(evidence_save(&ev, path, &e), FL_OK);
    assert_int_equal(evidence_load(&back, path, ev.identity, &e), FL_OK);
    assert_true(same(&ev, &back));
    assert_memory_equal(back.last, ev.last, 500 * sizeof *ev.last);
    evidence_release(&back);
    assert_int_equal(evidence_load(&back, path, other, &e), FL_STALE);
    assert_int_equal(truncate(path, 3000), 0);
    assert_int_equal(evidence_load(&back, path, NULL, &e), FL_CORRUPT);
    unlink(path);
    assert_int_equal(evidence_load(&back, path, NULL, &e), FL_NOT_FOUND);
    evidence_release(&ev);
}

static void test_cache_with_threshold(void **state)
{
    static const float points[] = {0, 0, 1, 1};
    static const int32_t labels[] = {0, 1};
    static const struct cache_levels none;
    struct cache *c = sample_knn(2, 2, 1, points, labels, 2), *other;
    assert_int_equal(cache_with_threshold(&other, c, 7, &none), FL_OK);
    assert_true(cache_info(other).threshold == 7 && cache_info(c).threshold == 0.5f);
    assert_int_equal(cache_info(other).entries, 2);
    cache_free(other);
    assert_int_equal(cache_with_threshold(&other, c, INFINITY, &none), FL_OK);
    assert_true(isinf(cache_info(other).threshold));
    cache_free(other);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judging_by_hand),
        cmocka_unit_test(test_thresholds_keep_the_budget),
        cmocka_unit_test(test_precision_spends_the_budget),
        cmocka_unit_test(test_boasting_exit),
        cmocka_unit_test(test_exit_that_does_not_pay),
        cmocka_unit_test(test_what_an_exit_is_worth),
        cmocka_unit_test(test_the_order),
        cmocka_unit_test(test_what_cannot_be_promised),
        cmocka_unit_test(test_point_estimate),
        cmocka_unit_test(test_levels_keep_shares_of_the_budget),
        cmocka_unit_test(test_resampling_finds_few_broken),
        cmocka_unit_test(test_promises_in_many_worlds),
        cmocka_unit_test(test_certifying_points_choose_no_candidates),
        cmocka_unit_test(test_planning_on_certifying_points_would_break),
        cmocka_unit_test(test_evidence_on_disk),
        cmocka_unit_test(test_cache_with_threshold),
    };
    return cmocka_run_group_tests_name("promise", tests, NULL, NULL);
}
