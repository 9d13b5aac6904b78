/* placement.c - a pipeline file's stages and exits, found in a model's graph */
#include "placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest_word.h"
#include "agreement.h"
#include "planner.h"

#define WORTH_AN_EXIT 0.99 /* share of the FLOPs: behind that there is nothing left to save */

static int load(struct graph **out, const struct pipeline *p, bool for_writing, struct error *e)
{
    struct tensor shape = {.rank = p->n_shape};
    struct graph_options o = {.shapes = &shape, .n_shapes = p->n_shape > 0, .for_writing = for_writing};
    int rc;
    for (int i = 0; i < p->n_shape; i++)
        shape.dim[i] = p->shape[i];
    rc = graph_load(out, p->model, &o, e);
    return rc == FL_IO ? error_wrap(e, rc, "`model` of %s", p->path) : rc;
}

int placement_load(struct graph **out, const struct pipeline *p, struct error *e)
{
    return load(out, p, false, e);
}

int placement_load_for_writing(struct graph **out, const struct pipeline *p, struct error *e)
{
    return load(out, p, true, e);
}

struct search {
    const struct graph *g;
    const struct pipeline *p;
    struct cut *cuts;
    int n_cuts;
    struct error *e;
};

static const char *nearest_cut(const struct search *s, const char *name)
{
    const char *best = NULL;
    int least = 0;
    for (int i = 0; i < s->n_cuts; i++) {
        int d = edit_distance(name, s->cuts[i].name);
        if (!best || d < least) {
            best = s->cuts[i].name;
            least = d;
        }
    }
    return best;
}

/* `key`: what names it in the pipeline file. */
static int find_cut(const struct search *s, const char *name, const char *key, const struct cut **out)
{
    for (int i = 0; i < s->n_cuts; i++)
        if (!strcmp(s->cuts[i].name, name)) {
            *out = &s->cuts[i];
            return FL_OK;
        }
    if (!s->n_cuts)
        return pipeline_error(s->p, key, s->e, "%s: after `%.150s`: this model cannot be divided anywhere",
                              key, name);
    return pipeline_error(
        s->p, key, s->e,
        "%s: the model cannot be divided after `%.100s`; the nearest name where it can is `%.100s` (see "
        "`freezeline inspect`)",
        key, name, nearest_cut(s, name));
}

static int add_exit(struct placement *out, const struct search *s, const char *name, const char *kind,
                    const struct cut *cut)
{
    struct placed_exit *x;
    int at = out->n_exits;
    if (out->n_exits == PIPELINE_MAX_EXITS)
        return error_set(s->e, FL_CONFIG, "more than %d exits: name those that are wanted under `exits`",
                         PIPELINE_MAX_EXITS);
    for (; at > 0 && out->exit[at - 1].cut.node > cut->node; at--)
        out->exit[at] = out->exit[at - 1];
    x = &out->exit[at];
    memset(x, 0, sizeof *x);
    if (snprintf(x->name, sizeof x->name, "%s", name) >= (int)sizeof x->name)
        return error_set(s->e, FL_CONFIG, "the exit's name `%.100s` is longer than %zu bytes", name,
                         sizeof x->name - 1);
    snprintf(x->kind, sizeof x->kind, "%s", kind ? kind : s->p->cache.kind ? s->p->cache.kind : "none");
    x->cut = *cut;
    out->n_exits++;
    return FL_OK;
}

static int place_exits(struct placement *out, const struct search *s)
{
    const struct pipeline *p = s->p;
    int rc = FL_OK, number = 0;
    char name[32];
    for (int i = 0; i < p->n_exits && !rc; i++) {
        const struct cut *cut;
        snprintf(name, sizeof name, "exits.%d.after", i);
        if (!(rc = find_cut(s, p->exit[i].after, name, &cut)))
            rc = add_exit(out, s, p->exit[i].name, p->exit[i].kind, cut);
    }
    /* Without caches no exits are made up: there is nothing to look up at them. */
    if (p->n_exits || !p->exits_auto || (p->cache.kind && !strcmp(p->cache.kind, "none")))
        return rc;
    for (int i = 0; i < s->n_cuts && !rc; i++)
        if (s->cuts[i].after_block && s->cuts[i].flops_share < WORTH_AN_EXIT) {
            snprintf(name, sizeof name, "exit%d", ++number);
            rc = add_exit(out, s, name, NULL, &s->cuts[i]);
        }
    return rc;
}

/* Where the pipeline file names no ends of stages, each stage gets an equal share of the FLOPs. */
static int share_flops(struct placement *out, const struct search *s)
{
    int chosen[PIPELINE_MAX_STAGES], rc;
    struct error why;
    struct planner_input in = {
        .n_nodes = s->g->n_nodes, .cuts = s->cuts, .n_cuts = s->n_cuts, .n_stages = s->p->n_stages};
    double *until = calloc((size_t)s->g->n_nodes + 1, sizeof *until);
    if (!until)
        return error_set(s->e, FL_NOMEM, "no memory to place %d stages", s->p->n_stages);
    for (int i = 0; i < s->g->n_nodes; i++)
        until[i + 1] = until[i] + graph_node_flops(s->g, i, 1);
    in.until_ms = until;
    rc = planner_cut(&in, chosen, &why);
    free(until);
    if (rc == FL_USAGE)
        return pipeline_error(s->p, "stages", s->e, "%.390s", why.text);
    if (rc)
        return error_set(s->e, (enum fl_code)rc, "%s", why.text);
    for (int i = 0; i < s->p->n_stages - 1; i++)
        out->stage[i].last = s->cuts[chosen[i]].node;
    return FL_OK;
}

/* A stage's end by the name of a cut, or of an exit that `auto` made. */
static int named_end(const struct placement *out, const struct search *s, int stage, int *node)
{
    const char *name = s->p->stage[stage].last;
    const struct cut *cut;
    char what[32];
    int rc;
    for (int i = 0; i < out->n_exits; i++)
        if (!strcmp(out->exit[i].name, name)) {
            *node = out->exit[i].cut.node;
            return FL_OK;
        }
    snprintf(what, sizeof what, "stages.%d.last", stage);
    if ((rc = find_cut(s, name, what, &cut)))
        return rc;
    *node = cut->node;
    return FL_OK;
}

static int place_stages(struct placement *out, const struct search *s)
{
    const struct pipeline *p = s->p;
    int named = 0, rc, n = p->n_stages < 1 ? 1 : p->n_stages;
    char key[32];
    out->n_stages = n;
    for (int i = 0; i < n - 1; i++)
        named += p->stage[i].last != NULL;
    if (n > 1 && !named && (rc = share_flops(out, s)))
        return rc;
    for (int i = 0; i < n - 1 && named; i++) {
        snprintf(key, sizeof key, "stages.%d.last", i);
        if (!p->stage[i].last)
            return pipeline_error(
                p, key, s->e, "%s is missing: name the stage's last layer, or run `freezeline plan`", key);
        if ((rc = named_end(out, s, i, &out->stage[i].last)))
            return rc;
        if (i && out->stage[i].last <= out->stage[i - 1].last)
            return pipeline_error(p, key, s->e, "%s: `%.150s` does not come after the end of stage %d", key,
                                  p->stage[i].last, i - 1);
    }
    out->stage[n - 1].last = s->g->n_nodes - 1;
    for (int i = 0; i < n; i++)
        out->stage[i].first = i ? out->stage[i - 1].last + 1 : 0;
    return FL_OK;
}

int placement_resolve(struct placement *out, const struct graph *g, const struct pipeline *p, struct error *e)
{
    struct search s = {.g = g, .p = p, .e = e};
    int rc = agreement_check(p, g, e);
    memset(out, 0, sizeof *out);
    if (rc || (rc = graph_cuts(g, &s.cuts, &s.n_cuts, e)))
        return rc;
    if (!(rc = place_exits(out, &s)))
        rc = place_stages(out, &s);
    out->depth = graph_depth(g);
    for (int i = 0; i < out->n_exits && !rc; i++)
        for (int k = 0; k < out->n_stages; k++)
            if (out->exit[i].cut.node >= out->stage[k].first && out->exit[i].cut.node <= out->stage[k].last)
                out->exit[i].stage = k;
    free(s.cuts);
    return rc;
}

bool placed_has_cache(const struct placed_exit *x)
{
    return strcmp(x->kind, "none") != 0;
}
