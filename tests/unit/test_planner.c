/* test_planner.c - the planner finds what trying all cuts finds */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "stages/place/planner.h"

static uint32_t seed;

static int draw(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)n);
}

struct problem {
    double cost[24], transfer[24];
    struct cut cut[24];
    int n_nodes, n_cuts, n_stages, workers[24];
};

static double slowest(const struct problem *p, const int *chosen)
{
    double worst = 0;
    int node = 0;
    for (int s = 0; s < p->n_stages; s++) {
        int end = s == p->n_stages - 1 ? p->n_nodes - 1 : p->cut[chosen[s]].node;
        double ms = s == p->n_stages - 1 ? 0 : p->transfer[chosen[s]];
        for (; node <= end; node++)
            ms += p->cost[node];
        worst = fmax(worst, ms / p->workers[s]);
    }
    return worst;
}

static double try_all(const struct problem *p, int *chosen, int s, int from)
{
    double best = INFINITY;
    if (s == p->n_stages - 1)
        return slowest(p, chosen);
    for (int c = from; c < p->n_cuts; c++) {
        chosen[s] = c;
        best = fmin(best, try_all(p, chosen, s + 1, c + 1));
    }
    return best;
}

static void draw_problem(struct problem *p)
{
    p->n_nodes = 2 + draw(12);
    p->n_cuts = 0;
    for (int i = 0; i < p->n_nodes; i++) {
        p->cost[i] = draw(100) / 10.0;
        p->workers[i] = 1 + draw(3);
        p->transfer[i] = draw(30) / 10.0;
        if (i < p->n_nodes - 1 && draw(3))
            p->cut[p->n_cuts++] = (struct cut){.node = i};
    }
    p->n_stages = 1 + draw(p->n_cuts + 1);
    p->n_stages = p->n_stages > 5 ? 5 : p->n_stages;
}

static void finds_the_best(void **state)
{
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct problem p;
        int chosen[24], tried[24];
        seed = (uint32_t)i;
        draw_problem(&p);
        assert_int_equal(planner_cut(&(struct planner_input){p.cost, p.n_nodes, p.cut, p.n_cuts, p.transfer,
                                                             p.n_stages, p.workers},
                                     chosen, NULL),
                         FL_OK);
        for (int s = 1; s < p.n_stages - 1; s++)
            assert_true(chosen[s] > chosen[s - 1]);
        assert_true(fabs(slowest(&p, chosen) - try_all(&p, tried, 0, 0)) < 1e-9);
    }
}

static void too_many_stages_are_refused(void **state)
{
    struct cut cut = {.node = 0};
    double cost[] = {1, 2};
    struct error e;
    int chosen[4];
    (void)state;
    for (int n = 0; n <= 3; n++)
        assert_int_equal(planner_cut(&(struct planner_input){cost, 2, &cut, 1, NULL, n, NULL}, chosen, &e),
                         n == 1 || n == 2 ? FL_OK : FL_USAGE);
    planner_cut(&(struct planner_input){cost, 2, &cut, 1, NULL, 2, NULL}, chosen, &e);
    assert_int_equal(chosen[0], 0);
}

static void as_many_workers_as_cores_can_use(void **state)
{
    int n[3];
    (void)state;
    planner_workers((double[]){1.06, 0.56, 0.45}, 3, 2, n); /* half of the work and a little more: one core */
    assert_true(n[0] == 1 && n[1] == 1 && n[2] == 1);
    planner_workers((double[]){1.4, 0.56, 0.45}, 3, 2, n);
    assert_true(n[0] == 2 && n[1] == 1 && n[2] == 1);
    planner_workers((double[]){6, 1, 1}, 3, 8, n);
    assert_true(n[0] == 6 && n[1] == 1 && n[2] == 1);
    planner_workers((double[]){0, 0, 0}, 3, 8, n);
    assert_true(n[0] == 1 && n[1] == 1 && n[2] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_best),
        cmocka_unit_test(too_many_stages_are_refused),
        cmocka_unit_test(as_many_workers_as_cores_can_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
