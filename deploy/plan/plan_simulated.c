/* plan_simulated.c - cuts that the simulation likes better than equal times */
#include "plan_simulated.h"

#include <stdlib.h>
#include <string.h>

#include "deploy/simulate/simulate_search.h"

#define REQUESTS 20000
#define SEED     1

struct planning {
    struct plan_simulated *s;
    const struct cut *cuts;
    int n_cuts, n_stages;
    int *chosen;
    struct search search;
};

static int set_cuts(struct planning *g, struct error *e)
{
    struct setup_shape *shape = &g->search.shape;
    const struct measured *m = g->search.measured;
    for (int k = 0; k < g->n_stages - 1; k++) {
        const char *name = g->cuts[g->chosen[k]].name;
        if ((shape->last[k] = measured_find_cut(m, name)) < 0)
            return error_set(e, FL_STALE, "%s is of another model: it knows no cut behind %s", g->s->measured,
                             name);
    }
    shape->last[g->n_stages - 1] = m->n_cuts;
    return FL_OK;
}

/* Stages that the file does not have yet are like its last one, with one worker. */
static void set_shape(struct planning *g, const struct pipeline *p)
{
    struct setup_shape *shape = &g->search.shape;
    const struct measured *m = g->search.measured;
    shape->pipeline = *p;
    shape->pipeline.n_stages = g->n_stages;
    shape->pipeline.n_exits = 0;
    for (int k = p->n_stages; k < g->n_stages; k++) {
        shape->pipeline.stage[k] = p->stage[p->n_stages - 1];
        shape->pipeline.stage[k].n_replicas = 1;
    }
    for (int i = 0; i < m->n_exits; i++) {
        int cut = measured_find_cut(m, m->exit[i].after);
        if (cut < 0)
            continue;
        shape->exit_cut[shape->pipeline.n_exits] = cut;
        shape->exit[shape->pipeline.n_exits++] = m->exit[i];
    }
}

static int p99_ms(struct planning *g, double *ms, struct error *e)
{
    int rc = set_cuts(g, e);
    if (!rc)
        rc = search_p99(&g->search, ms, e);
    g->s->tried++;
    return rc;
}

/* Moves cut k by `step` for good when that helps. */
static int try_move(struct planning *g, int k, int step, bool *moved, struct error *e)
{
    int to = g->chosen[k] + step, rc;
    double ms;
    if (to < 0 || to >= g->n_cuts || (k > 0 && to <= g->chosen[k - 1]) ||
        (k < g->n_stages - 2 && to >= g->chosen[k + 1]))
        return FL_OK;
    g->chosen[k] = to;
    if (!(rc = p99_ms(g, &ms, e)) && ms < g->s->after_ms) {
        g->s->after_ms = ms;
        *moved = true;
    } else {
        g->chosen[k] = to - step;
    }
    return rc;
}

static int climb(struct planning *g, struct error *e)
{
    bool moved = true;
    int rc = p99_ms(g, &g->s->before_ms, e);
    g->s->after_ms = g->s->before_ms;
    while (!rc && moved) {
        moved = false;
        for (int k = 0; k < g->n_stages - 1 && !rc; k++) {
            rc = try_move(g, k, -1, &moved, e);
            if (!rc)
                rc = try_move(g, k, 1, &moved, e);
        }
    }
    return rc;
}

int plan_simulate(struct plan_simulated *s, const struct pipeline *p, const struct graph *graph,
                  const struct cut *cuts, int n_cuts, int n_stages, int *chosen, struct error *e)
{
    struct planning g = {.s = s, .cuts = cuts, .n_cuts = n_cuts, .n_stages = n_stages, .chosen = chosen};
    struct cluster *c = malloc(sizeof *c);
    struct measured *m = NULL;
    int rc = c ? measured_load(&m, s->measured, e) : error_set(e, FL_NOMEM, "no memory");

    s->tried = 0;
    if (!rc)
        rc = setup_same_model(m, graph, e);
    if (!rc) {
        cluster_one_host(c, m->cores, m->all_busy);
        c->caches = p->cache.n_endpoints;
        g.search.measured = m;
        g.search.cluster = c;
        g.search.load = (struct search_load){.rate = s->rate, .requests = REQUESTS, .seed = SEED};
        set_shape(&g, p);
        rc = climb(&g, e);
    }
    measured_free(m);
    free(c);
    return rc;
}
