/* test_choice_world.c - variants under load in virtual time: hours of overload, and a variant that breaks
 * half-way
 *
 * Each variant has workers and a queue; all workers share the processors as an operating system shares them
 * among threads. A request takes more of them than was measured of its variant alone: brokers, sockets and
 * the client run on them, too. A variant that has more waiting than it can answer in time turns a request
 * away at once, and drops what has waited too long. Requests come at random (Poisson).
 */
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "numbers/shuffle.h"
#include "broker/choice/choice.h"

#define SECOND   1000000000.0
#define QUEUE    256
#define MOST     4    /* workers of a variant */
#define GIVES_UP 0.65 /* of its time that a request may be expected to wait */

/* --- the world --- */

struct job {
    double asked, deadline, until, work; /* s; until: its variant has it no longer */
    struct choice_course *course;
};

struct queue {
    struct job job[QUEUE];
    unsigned first, n;
    struct job at[MOST];
    bool busy[MOST];
    double gap, last; /* between two answers while more wait */
};

struct world {
    const struct choice_variant *variant;
    struct choice *choice;
    struct queue *queue;
    struct shuffle draw;
    int n, cores, workers;
    double deadline, more, now; /* s; more: processor time beside that of the variant */
    uint64_t id;
};

struct outcome {
    int64_t requests, in_time, served[CHOICE_MAX];
    double loss; /* points, sum over what was served */
};

static uint64_t ns(double s)
{
    return (uint64_t)(s * SECOND);
}

static unsigned ahead(const struct world *w, int v)
{
    unsigned n = w->queue[v].n;
    for (int k = 0; k < w->workers; k++)
        n += w->queue[v].busy[k];
    return n;
}

static void look(const struct world *w, struct choice_load *load)
{
    for (int i = 0; i < w->n; i++)
        load[i] = (struct choice_load){.ready = true, .ahead = ahead(w, i)};
}

static void hand(struct world *w, int v, struct choice_course *course, double deadline);

/* Its variant v has too much to do: another one, or none. */
static void turn_away(struct world *w, int v, struct choice_course *course, double deadline)
{
    struct choice_load load[CHOICE_MAX];
    struct choice_answer a = {.variant = v, .failed = true, .crowded = true};
    struct choice_step s;
    look(w, load);
    s = choice_answered(w->choice, ns(w->now), course, &a, load);
    if (s.what == CHOICE_ASK) {
        hand(w, s.variant, course, deadline);
        return;
    }
    assert_int_equal(s.what, CHOICE_FAIL);
    choice_end(w->choice, course);
    free(course);
}

static void start(struct world *w, int v)
{
    struct queue *q = &w->queue[v];
    for (int k = 0; k < w->workers; k++) {
        while (!q->busy[k] && q->n) {
            struct job j = q->job[q->first++ % QUEUE];
            q->n--;
            if (j.until <= w->now)
                turn_away(w, v, j.course, j.deadline);
            else {
                q->at[k] = j;
                q->busy[k] = true;
            }
        }
    }
}

/* The first variant computes here, as long as there is time; others are asked to answer while there is still
 * time to do it here. */
static void hand(struct world *w, int v, struct choice_course *course, double deadline)
{
    struct queue *q = &w->queue[v];
    double left = deadline - w->now, alone = w->variant[0].ms / 1e3;
    struct job j = {w->now, deadline, deadline, w->more + w->variant[v].ms / 1e3, course};
    if (v)
        j.until -= fmin(left / 2, 2 * alone);
    if (q->n == QUEUE || (q->n && (ahead(w, v) + 1) * q->gap > GIVES_UP * (j.until - w->now))) {
        turn_away(w, v, course, deadline);
        return;
    }
    j.work *= 0.9 + 0.2 * shuffle_uniform(&w->draw);
    q->job[(q->first + q->n++) % QUEUE] = j;
    start(w, v);
}

static void finish(struct world *w, int v, int k, struct outcome *o)
{
    struct queue *q = &w->queue[v];
    struct job j = q->at[k];
    struct choice_load load[CHOICE_MAX];
    struct choice_answer a = {.variant = v, .took_ns = ns(w->now - j.asked), .label = 1, .confidence = 1};
    q->busy[k] = false;
    if (q->n && q->last > 0)
        q->gap += (w->now - q->last - q->gap) * (q->gap > 0 ? 0.1 : 1);
    q->last = q->n ? w->now : 0;
    if (w->now > j.until) {
        turn_away(w, v, j.course, j.deadline);
    } else {
        look(w, load);
        assert_int_equal(choice_answered(w->choice, ns(w->now), j.course, &a, load).what, CHOICE_SERVE);
        o->in_time++;
        o->served[v]++;
        o->loss += w->variant[v].loss_upper;
        free(j.course);
    }
    start(w, v);
}

/* Work goes on until `until`; whoever is busy has an equal part of the processors, one at most. */
static void work_until(struct world *w, double until, struct outcome *o)
{
    for (;;) {
        int busy = 0, next = -1, by = -1;
        double least = INFINITY, rate;
        for (int i = 0; i < w->n; i++)
            for (int k = 0; k < w->workers; k++) {
                if (!w->queue[i].busy[k])
                    continue;
                busy++;
                if (w->queue[i].at[k].work < least) {
                    least = w->queue[i].at[k].work;
                    next = i;
                    by = k;
                }
            }
        rate = busy ? fmin(1, (double)w->cores / busy) : 1;
        if (next < 0 || w->now + least / rate > until) {
            least = (until - w->now) * rate;
            next = -1;
        }
        for (int i = 0; i < w->n; i++)
            for (int k = 0; k < w->workers; k++)
                if (w->queue[i].busy[k])
                    w->queue[i].at[k].work -= least;
        w->now += least / rate;
        if (next < 0) {
            w->now = until;
            return;
        }
        finish(w, next, by, o);
    }
}

static void arrive(struct world *w, struct outcome *o)
{
    struct choice_load load[CHOICE_MAX];
    struct choice_request r = {.id = ++w->id, .left_ns = ns(w->deadline), .max_loss = -1};
    struct choice_course *course = malloc(sizeof *course);
    uint32_t mask;
    int v;
    assert_non_null(course);
    look(w, load);
    mask = choice_begin(w->choice, ns(w->now), &r, load, course);
    v = __builtin_ctz(mask);
    assert_true(mask == 1u << v);
    o->requests++;
    hand(w, v, course, w->now + w->deadline);
}

static struct outcome run(struct world *w, double seconds, double rate)
{
    struct outcome o = {0};
    double end = w->now + seconds, next = w->now;
    while ((next += -log(1 - shuffle_uniform(&w->draw)) / rate) < end) {
        work_until(w, next, &o);
        arrive(w, &o);
    }
    work_until(w, end, &o);
    return o;
}

/* `told`: that there are so many processors; 0: nobody knows. */
static void open_world(struct world *w, const struct choice_variant *variant, int n, int cores, int told,
                       double loss)
{
    struct choice_budget b = {.max_accuracy_loss = loss};
    *w = (struct world){.variant = variant, .n = n, .cores = cores, .workers = 1, .deadline = 0.05, .now = 1};
    w->queue = calloc((size_t)n, sizeof *w->queue);
    assert_non_null(w->queue);
    shuffle_seed(&w->draw, 15, 1);
    assert_int_equal(choice_new(&w->choice, variant, n, &b, 15, NULL), FL_OK);
    choice_runs_on(w->choice, told, 0);
}

static void close_world(struct world *w)
{
    struct outcome o = {0};
    work_until(w, w->now + 100, &o);
    choice_free(w->choice);
    free(w->queue);
}

static double share(int64_t a, int64_t b)
{
    return (double)a / (double)b;
}

static double mean_loss(const struct outcome *o)
{
    return o->loss / (double)(o->served[0] + o->served[1]);
}

static void tell(const char *when, const struct outcome *o)
{
    print_message("%-28s %7lld requests, %.2f%% in time, %4.1f%% by float32, mean loss %.3f points\n", when,
                  (long long)o->requests, 100 * share(o->in_time, o->requests),
                  100 * share(o->served[0], o->requests), mean_loss(o));
}

static const struct choice_variant pair[] = {
    {"float32", 0, 0, 8, 0.008, 0, INFINITY},
    {"int8", 0.2, 0.5, 3, 0.003, 0, INFINITY},
};

/* At rest, an hour at `times` float32's capacity with all that belongs to it, at rest again. */
static struct outcome overload(struct world *w, const char *where, double times)
{
    struct outcome before, hour, after;
    double capacity = fmin(w->cores, w->workers) / (w->variant[0].ms / 1e3 + w->more);
    before = run(w, 600, 0.4 * capacity);
    hour = run(w, 3600, times * capacity);
    run(w, 30, 0.4 * capacity);
    after = run(w, 600, 0.4 * capacity);
    print_message("%s, an hour at %g of float32's capacity\n", where, times);
    tell("  0.4 of the capacity", &before);
    tell("  that hour", &hour);
    tell("  0.4 again, half a minute on", &after);
    assert_true(share(before.served[0], before.requests) > 0.95);
    assert_true(share(hour.in_time, hour.requests) >= 0.99);
    assert_true(mean_loss(&hour) <= 1);
    assert_true(share(after.served[0], after.requests) > 0.95);
    close_world(w);
    return hour;
}

static void test_an_hour_of_overload_on_a_processor_each(void **state)
{
    struct world w;
    struct outcome hour;
    open_world(&w, pair, 2, 2, 2, 1);
    hour = overload(&w, "a processor each", 2);
    assert_true(share(hour.served[0], hour.requests) > 0.4);
}

static void test_an_hour_of_overload_on_one_processor(void **state)
{
    struct world w;
    for (int told = 0; told < 2; told++) {
        open_world(&w, pair, 2, 1, told, 1);
        overload(&w, told ? "one processor" : "one processor, and nobody knows", 2);
        open_world(&w, pair, 2, 1, told, 1);
        overload(&w, told ? "one processor" : "one processor, and nobody knows", 1.3);
    }
}

/* As on a small machine: two workers of each variant, the brokers and the client on two processors. */
static void test_an_hour_of_overload_where_all_share_the_processors(void **state)
{
    const struct choice_variant measured[] = {
        {"float32", 0, 0, 7.1, 0.0071, 0, INFINITY},
        {"int8", 0.1, 0.24, 2.65, 0.00265, 0, INFINITY},
    };
    static const double times[] = {1.2, 1.6, 2};
    struct world w;
    for (int told = 0; told <= 2; told += 2)
        for (int i = 0; i < 3; i++) {
            open_world(&w, measured, 2, 2, told, 1);
            w.workers = 2;
            w.deadline = 0.2;
            w.more = 0.0006;
            overload(&w, told ? "two shared processors" : "two shared processors, and nobody knows",
                     times[i]);
        }
}

/* What is cheap costs three times the budget: however hard the load presses, accuracy goes first. */
static void test_overload_that_the_promise_does_not_let_through(void **state)
{
    const struct choice_variant dear[] = {pair[0], {"small", 2, 3, 3, 0.003, 0, INFINITY}};
    struct world w;
    struct outcome hour;
    open_world(&w, dear, 2, 1, 1, 1);
    run(&w, 3600, 50);
    hour = run(&w, 3600, 250);
    tell("an hour at twice the capacity", &hour);
    assert_true(mean_loss(&hour) <= 1 + 1e-9);
    assert_true(mean_loss(&hour) > 0.7);
    close_world(&w);
}

/* --- by feedback --- */

enum { REQUESTS = 20000, SEEDS = 10 };

/* How likely each variant is right: the best one breaks half-way. */
static double skill(int variant, int t, bool context)
{
    static const double of[2][3] = {{0.95, 0.9, 0.7}, {0.7, 0.9, 0.95}};
    int break_at = context ? 2 : 0;
    return variant == break_at && t >= REQUESTS / 2 ? 0.2 : of[context][variant];
}

struct learned {
    double right, fixed, changing; /* of all: ours; the best one's in hindsight; the best at each time */
};

/* One run. Labels of a share of the requests come, so many requests later. */
static struct learned learn(enum choose_rule how, uint64_t seed, double labelled, int later, bool contexts)
{
    const struct choice_variant v[] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
    struct choice_load load[3] = {{.ready = true}, {.ready = true}, {.ready = true}};
    struct choice_budget b = {.how = how, .max_accuracy_loss = INFINITY};
    struct choice_course x;
    struct choice *c;
    struct shuffle draw;
    double right = 0, each[2][3] = {{0}}, changing = 0;
    shuffle_seed(&draw, seed, 2);
    assert_int_equal(choice_new(&c, v, 3, &b, seed, NULL), FL_OK);
    for (int t = 0; t < REQUESTS; t++) {
        bool context = contexts && shuffle_uniform(&draw) < 0.5;
        struct choice_request r = {(uint64_t)t + 1, contexts ? 77u + context : 0, ns(1), -1};
        struct choice_step s = {.what = CHOICE_WAIT};
        bool good[3];
        uint32_t asked = choice_begin(c, ns(t), &r, load, &x);
        for (int i = 0; i < 3; i++) {
            struct choice_answer a = {.variant = i, .took_ns = 1, .confidence = 1};
            good[i] = shuffle_uniform(&draw) < skill(i, t, context);
            a.label = good[i] ? 1 : 2 + i; /* who is wrong is so in his own way */
            each[context][i] += good[i];
            if (asked >> i & 1 && s.what == CHOICE_WAIT)
                s = choice_answered(c, ns(t), &x, &a, load);
            else if (asked >> i & 1)
                choice_answered(c, ns(t), &x, &a, load);
        }
        assert_int_equal(s.what, CHOICE_SERVE);
        right += good[s.variant];
        changing += fmax(skill(0, t, context), fmax(skill(1, t, context), skill(2, t, context)));
        if (t >= later && shuffle_uniform(&draw) < labelled)
            choice_feedback(c, (uint64_t)(t - later) + 1, 1);
    }
    choice_free(c);
    for (int k = 0; k < 2; k++)
        each[k][0] = fmax(each[k][0], fmax(each[k][1], each[k][2]));
    return (struct learned){right / REQUESTS, (each[0][0] + each[1][0]) / REQUESTS, changing / REQUESTS};
}

static void regret(const char *name, enum choose_rule how, double labelled, int later, bool contexts)
{
    double worst = -1, sum = 0, worst_changing = -1;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct learned l = learn(how, seed, labelled, later, contexts);
        sum += 1 - l.right / l.fixed;
        worst = fmax(worst, 1 - l.right / l.fixed);
        worst_changing = fmax(worst_changing, 1 - l.right / l.changing);
    }
    print_message("%-40s regret against the best in hindsight: mean %5.2f%%, worst %5.2f%%; against the best "
                  "at each time: worst %.2f%%\n",
                  name, 100 * sum / SEEDS, 100 * worst, 100 * worst_changing);
    assert_true(worst <= 0.1);
}

static void test_regret_when_a_variant_breaks_half_way(void **state)
{
    regret("Exp3", CHOOSE_EXP3, 1, 0, false);
    regret("Exp3, 200 requests later", CHOOSE_EXP3, 1, 200, false);
    regret("Exp3, labels of 30%, two contexts", CHOOSE_EXP3, 0.3, 50, true);
    regret("Exp4", CHOOSE_EXP4, 1, 0, false);
    regret("Exp4, labels of 30%, two contexts", CHOOSE_EXP4, 0.3, 50, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_overload_that_the_promise_does_not_let_through),
        cmocka_unit_test(test_regret_when_a_variant_breaks_half_way),
        cmocka_unit_test(test_an_hour_of_overload_on_a_processor_each),
        cmocka_unit_test(test_an_hour_of_overload_on_one_processor),
        cmocka_unit_test(test_an_hour_of_overload_where_all_share_the_processors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
