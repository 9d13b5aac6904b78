/* test_planner.c - the planner finds what trying all cuts finds */
#include <math.h>

#include "tests/testing.h"
#include "stages/place/planner.h"

static uint32_t seed;

static int draw(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)n);
}

struct problem {
    double cost[24], until[25], transfer[24];
    struct cut cut[24];
    struct planner_exit exit[24];
    int n_nodes, n_cuts, n_stages, n_exits, workers[24];
    bool far;
};

static struct planner_input input(const struct problem *p)
{
    return (struct planner_input){p->until,    p->n_nodes, p->cut,  p->n_cuts,  p->transfer,
                                  p->n_stages, p->workers, p->exit, p->n_exits, p->far};
}

/* Who is answered at an exit in front of the stage is not there; who is at one within leaves at the next one.
 */
static double share_at(const struct problem *p, int first, int node)
{
    double share = 1;
    for (int x = 0; x < p->n_exits; x++) {
        bool gone = p->exit[x].node < (p->far ? first : node);
        for (int y = x + 1; y < p->n_exits; y++)
            gone = gone || p->exit[y].node < node;
        share -= gone ? p->exit[x].share : 0;
    }
    return share;
}

/* What is looked up behind this node, by the worker itself. */
static double look_at(const struct problem *p, int node)
{
    for (int x = 0; x < p->n_exits; x++)
        if (p->exit[x].node == node && !p->far)
            return p->exit[x].look_ms;
    return 0;
}

static double slowest(const struct problem *p, const int *chosen)
{
    double worst = 0;
    int node = 0;
    for (int s = 0; s < p->n_stages; s++) {
        bool last = s == p->n_stages - 1;
        int first = node, end = last ? p->n_nodes - 1 : p->cut[chosen[s]].node;
        double ms = last ? 0 : p->transfer[chosen[s]] * share_at(p, end + 1, end + 1);
        for (; node <= end; node++)
            ms += (p->cost[node] + look_at(p, node)) * share_at(p, first, node);
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
    p->n_cuts = p->n_exits = 0;
    p->far = draw(2);
    for (int i = 0; i < p->n_nodes; i++) {
        p->cost[i] = draw(100) / 10.0;
        p->until[i + 1] = p->until[i] + p->cost[i];
        p->workers[i] = 1 + draw(3);
        if (i < p->n_nodes - 1 && !draw(4))
            p->exit[p->n_exits++] = (struct planner_exit){i, draw(20) / 100.0, draw(10) / 10.0};
        p->transfer[i] = draw(30) / 10.0;
        if (i < p->n_nodes - 1 && draw(3))
            p->cut[p->n_cuts++] = (struct cut){.node = i};
    }
    p->n_stages = 1 + draw(p->n_cuts + 1);
    p->n_stages = p->n_stages > 5 ? 5 : p->n_stages;
}

static void finds_the_best(void **state)
{
    for (int i = 0; i < 300; i++) {
        struct problem p = {0};
        struct planner_input in;
        int chosen[24], tried[24];
        seed = (uint32_t)i;
        draw_problem(&p);
        in = input(&p);
        assert_int_equal(planner_cut(&in, chosen, NULL), FL_OK);
        for (int s = 1; s < p.n_stages - 1; s++)
            assert_true(chosen[s] > chosen[s - 1]);
        assert_true(fabs(slowest(&p, chosen) - try_all(&p, tried, 0, 0)) < 1e-9);
    }
}

/* Half of the requests are answered behind the first of four equal parts. Where the verdict comes from far, a
 * cut there frees the second stage of them, and a cut behind the second part would find them still running.
 */
static void stages_end_behind_exits(void **state)
{
    struct cut cut[] = {{.node = 0}, {.node = 1}, {.node = 2}};
    struct planner_exit exit = {0, 0.5, 0.25};
    struct planner_input in = {(double[]){0, 1, 2, 3, 4}, 4, cut, 3, NULL, 2, NULL, &exit, 1, true};
    int chosen[1];
    assert_int_equal(planner_cut(&in, chosen, NULL), FL_OK);
    assert_int_equal(chosen[0], 0);
    assert_true(planner_stage_ms(&in, -1, 0) == 1 && planner_stage_ms(&in, 0, 3) == 1.5);
    assert_true(planner_stage_ms(&in, -1, 1) == 2 && planner_stage_ms(&in, -1, 3) == 4);
    in.far = false;
    assert_true(planner_stage_ms(&in, -1, 0) == 1.25 && planner_stage_ms(&in, -1, 3) == 2.75);
    exit.share = 0;
    planner_cut(&in, chosen, NULL);
    assert_int_equal(chosen[0], 1);
}

static void too_many_stages_are_refused(void **state)
{
    struct cut cut = {.node = 0};
    struct planner_input in = {(double[]){0, 1, 3}, 2, &cut, 1, NULL, 0, NULL, NULL, 0, false};
    struct error e;
    int chosen[4];
    for (; in.n_stages <= 3; in.n_stages++)
        assert_int_equal(planner_cut(&in, chosen, &e),
                         in.n_stages == 1 || in.n_stages == 2 ? FL_OK : FL_USAGE);
    assert_int_equal(chosen[0], 0);
}

static void as_many_workers_as_cores_can_use(void **state)
{
    int n[3];
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
        cmocka_unit_test(stages_end_behind_exits),
        cmocka_unit_test(too_many_stages_are_refused),
        cmocka_unit_test(as_many_workers_as_cores_can_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
