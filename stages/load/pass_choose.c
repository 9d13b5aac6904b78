/* pass_choose.c - finds out which branch of each If is taken, and leaves that one alone */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stages/onnx/if_choice.h"
#include "sizing.h"

/* What the outputs need in a sizing, through the branches that are taken there. */
static void mark_needed(const struct graph *g, const struct sizing *w, unsigned char *needed)
{
    for (int i = 0; i < g->n_outputs; i++)
        needed[g->outputs[i]] = 1;
    for (int i = g->n_nodes - 1; i >= 0; i--) {
        const struct node *n = &g->nodes[i];
        int taken = n->op == &op_choice ? choice_taken(&w->value[n->in[0]]) : -1;
        bool wanted = false;
        for (int k = 0; k < n->n_out; k++) {
            bool is = n->out[k] != GRAPH_NONE && needed[n->out[k]];
            wanted = wanted || is;
            if (is && taken >= 0)
                needed[n->in[choice_input(n, taken, k)]] = 1;
        }
        for (int k = 0; wanted && k < (n->op == &op_choice ? 1 : n->n_in); k++)
            if (n->in[k] != GRAPH_NONE)
                needed[n->in[k]] = 1;
    }
}

/* Why value v could not be made: the cause farthest up. */
static int explain(const struct graph *g, struct sizing *w, int v, struct error *e)
{
    for (;;) {
        int p = g->values[v].producer, k = 0, missing, taken;
        const struct node *n = p == GRAPH_NONE ? NULL : &g->nodes[p];
        if (!n)
            return error_set(e, FL_MODEL, "value '%s' is made by nothing", g->values[v].name);
        missing = sizing_missing_input(n, w);
        if (n->op != &op_choice) {
            if (missing == GRAPH_NONE)
                return sizing_infer_node(n, w, e);
            v = missing;
            continue;
        }
        taken = choice_taken(&w->value[n->in[0]]);
        if (w->value[n->in[0]].dtype != TENSOR_NONE && taken < 0)
            return error_set(e, FL_UNSUPPORTED,
                             "node '%s' (If): its condition is known only while the model runs, which is not "
                             "supported",
                             n->name);
        while (n->out[k] != v)
            k++;
        v = taken < 0 ? n->in[0] : n->in[choice_input(n, taken, k)];
    }
}

static int check_outputs(const struct graph *g, struct sizing *w, struct error *e)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (w->value[g->outputs[i]].dtype == TENSOR_NONE)
            return explain(g, w, g->outputs[i], e);
    return FL_OK;
}

/* Replaces a choice by Identity nodes that pass on what the branch that is taken gives. */
static int settle(struct graph *g, int node, int taken)
{
    struct node old = g->nodes[node];
    int code = FL_OK;
    memset(&g->nodes[node], 0, sizeof old);
    for (int k = 0; k < old.n_out && !code; k++) {
        char name[256];
        int at;
        if (old.out[k] == GRAPH_NONE)
            continue;
        snprintf(name, sizeof name, k ? "%.240s_%d" : "%.255s", old.name, k);
        at = graph_add_node(g, name, op_find("Identity", OPSET_LAST), 1, 1);
        if (at < 0) {
            code = FL_NOMEM;
            break;
        }
        g->nodes[at].in[0] = old.in[choice_input(&old, taken, k)];
        g->nodes[at].out[0] = old.out[k];
    }
    node_release(&old);
    return code;
}

/* Settles what n sizings agree on. FL_AGAIN when they do not. */
static int settle_all(struct graph *g, const struct sizing *w, int n, struct error *e)
{
    unsigned char *needed = calloc((size_t)g->n_values + 1, 1);
    int n_nodes = g->n_nodes, code = needed ? FL_OK : FL_NOMEM;
    if (needed)
        mark_needed(g, &w[0], needed);
    for (int i = 0; i < n_nodes && !code; i++) {
        const struct node *c = &g->nodes[i];
        int taken = c->op == &op_choice ? choice_taken(&w[0].value[c->in[0]]) : -1;
        bool wanted = c->op == &op_choice && node_makes_needed(c, needed);
        for (int k = 1; wanted && k < n; k++)
            if (choice_taken(&w[k].value[c->in[0]]) != taken)
                code = FL_AGAIN;
    }
    for (int i = 0; i < n_nodes && !code; i++)
        if (g->nodes[i].op == &op_choice && node_makes_needed(&g->nodes[i], needed))
            code = settle(g, i, choice_taken(&w[0].value[g->nodes[i].in[0]]));
    free(needed);
    return code == FL_NOMEM ? error_set(e, FL_NOMEM, "out of memory") : code;
}

static int choose_in(struct graph *g, const struct graph_options *o, struct assumption a, struct error *e)
{
    struct sizing w[N_SIZINGS] = {{NULL, NULL}};
    int n = a.batch ? N_SIZINGS : 1, code = FL_OK;
    for (int k = 0; k < n && !code; k++) {
        a.batch = a.batch ? sizing_batch[k] : 0;
        if (!(code = sizing_run(g, o, a, &w[k], e)))
            code = check_outputs(g, &w[k], e);
    }
    if (!code)
        code = settle_all(g, w, n, e);
    for (int k = 0; k < n; k++)
        sizing_free(&w[k], g);
    return code;
}

int pass_choose(struct graph *g, const struct graph_options *o, bool *pinned, struct error *e)
{
    struct assumption a = {1, false, false};
    int code = FL_AGAIN;
    *pinned = false;
    if (!choice_any(g))
        return FL_OK;
    if (sizing_may_be_free(g, &a.ones_too) && (code = choose_in(g, o, a, e)) && code != FL_NOMEM) {
        code = FL_AGAIN;
        *pinned = true;
    }
    for (int values = 0; values <= (o && o->shapes ? 1 : 0) && (code == FL_AGAIN || code == FL_UNSUPPORTED);
         values++)
        code = choose_in(g, o, (struct assumption){0, false, values != 0}, e);
    if (code || (code = graph_sort(g, e)))
        return code;
    return graph_sweep(g, e);
}
