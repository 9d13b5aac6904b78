/* graph_cuts.c - where a model can be divided
 *
 * A value is alive between two nodes when it was computed or fed before and is read after, or is an output of
 * the model made before. A cut is where exactly one value is alive, and it was computed: then it is what the
 * node just before made.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "graph_build.h"

/* depth[v]: nodes with weights on the longest path from the input to value v. The residual that is fused into
 * a node does not pass through its weights. */
static int node_depth(const struct graph *g, const struct node *n, const int *depth)
{
    bool second = n->n_in > 1 && n->in[1] != GRAPH_NONE && g->values[n->in[1]].constant;
    int weight = n->op->flags & OP_WEIGHTED && second ? 1 : 0, deepest = 0;
    for (int k = 0; k < n->n_in; k++) {
        int d = n->in[k] == GRAPH_NONE ? 0 : depth[n->in[k]] + (k == n->post.residual ? 0 : weight);
        deepest = d > deepest ? d : deepest;
    }
    return deepest;
}

static int *value_depths(const struct graph *g)
{
    int *depth = calloc((size_t)g->n_values + 1, sizeof *depth);
    for (int i = 0; depth && i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_out; k++)
            if (g->nodes[i].out[k] != GRAPH_NONE)
                depth[g->nodes[i].out[k]] = node_depth(g, &g->nodes[i], depth);
    return depth;
}

int graph_depth(const struct graph *g)
{
    int *depth = value_depths(g), deepest = 0;
    for (int i = 0; depth && i < g->n_outputs; i++)
        deepest = depth[g->outputs[i]] > deepest ? depth[g->outputs[i]] : deepest;
    free(depth);
    return deepest;
}

/* Last node that reads each value; INT_MAX for outputs, -1 for values that nobody reads. */
static int *last_uses(const struct graph *g)
{
    int *last = malloc(((size_t)g->n_values + 1) * sizeof *last);
    for (int i = 0; last && i < g->n_values; i++)
        last[i] = -1;
    for (int i = 0; last && i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != GRAPH_NONE)
                last[g->nodes[i].in[k]] = i;
    for (int i = 0; last && i < g->n_outputs; i++)
        last[g->outputs[i]] = INT_MAX;
    return last;
}

static bool is_computed(const struct graph *g, int value)
{
    return value != GRAPH_NONE && !g->values[value].constant;
}

static bool is_join(const struct graph *g, const struct node *n)
{
    if (n->post.residual != GRAPH_NONE || node_is(n, "Concat"))
        return true;
    return node_is(n, "Add") && is_computed(g, n->in[0]) && is_computed(g, n->in[1]);
}

static bool is_pool(const struct node *n)
{
    return node_is(n, "MaxPool") || node_is(n, "AveragePool");
}

static bool is_activation(const struct node *n)
{
    static const char *const names[] = {"Relu",      "LeakyRelu", "PRelu", "Clip",
                                        "HardSwish", "Sigmoid",   "Tanh",  "Elu"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (node_is(n, names[i]))
            return true;
    return false;
}

/* The node that alone continues after node i, or NULL. */
static const struct node *only_reader(const struct graph *g, int i, const int *uses)
{
    int v = g->nodes[i].out[0];
    if (v == GRAPH_NONE || uses[v] != 1)
        return NULL;
    for (int k = i + 1; k < g->n_nodes; k++)
        for (int j = 0; j < g->nodes[k].n_in; j++)
            if (g->nodes[k].in[j] == v)
                return &g->nodes[k];
    return NULL;
}

/* An activation that follows a join alone belongs to its block. */
static bool ends_join(const struct graph *g, int i, const int *uses)
{
    const struct node *n = &g->nodes[i], *next = only_reader(g, i, uses),
                      *before = graph_producer(g, n->n_in ? n->in[0] : GRAPH_NONE);
    if (is_join(g, n))
        return !next || !is_activation(next);
    return is_activation(n) && before && is_join(g, before) && uses[n->in[0]] == 1;
}

/* In a plain chain blocks end at pools, and at activations that no pool follows. */
static bool ends_chain_block(const struct graph *g, int i, const int *uses)
{
    const struct node *n = &g->nodes[i], *next = only_reader(g, i, uses);
    bool active = n->post.activation != ACT_NONE || is_activation(n);
    return is_pool(n) || (active && !(next && is_pool(next)));
}

static bool has_joins(const struct graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (is_join(g, &g->nodes[i]))
            return true;
    return false;
}

/* What crosses must be something that another process can take over: float32, one row per request. */
static bool can_cross(const struct graph *g, int value)
{
    const struct value *v = &g->values[value];
    if (v->dtype != TENSOR_F32 || v->rank < 1)
        return false;
    for (int i = 1; i < v->rank; i++)
        if (v->dim[i].per_batch)
            return false;
    return !g->free_batch || (v->dim[0].fixed == 0 && v->dim[0].per_batch == 1);
}

struct scan {
    const struct graph *g;
    int *depth, *last, *uses;
    int *dies; /* how many alive values are read last by node i */
    double *flops;
};

static int scan_new(struct scan *s)
{
    const struct graph *g = s->g;
    s->depth = value_depths(g);
    s->last = last_uses(g);
    s->uses = graph_count_uses(g);
    s->dies = calloc((size_t)g->n_nodes + 1, sizeof *s->dies);
    s->flops = calloc((size_t)g->n_nodes + 1, sizeof *s->flops);
    if (!s->depth || !s->last || !s->uses || !s->dies || !s->flops)
        return FL_NOMEM;
    for (int i = 0; i < g->n_values; i++)
        if (!g->values[i].constant && s->last[i] >= 0 && s->last[i] != INT_MAX)
            s->dies[s->last[i]]++;
    for (int i = 0; i < g->n_nodes; i++)
        s->flops[i] = (i ? s->flops[i - 1] : 0) + graph_node_flops(g, i, 1);
    return FL_OK;
}

static void scan_free(struct scan *s)
{
    free(s->depth);
    free(s->last);
    free(s->uses);
    free(s->dies);
    free(s->flops);
}

static int fed_values(const struct scan *s)
{
    int n = 0;
    for (int i = 0; i < s->g->n_inputs; i++)
        n += s->last[s->g->inputs[i]] >= 0;
    return n;
}

/* The value that node i made and that lives on, or GRAPH_NONE. */
static int lives_after(const struct scan *s, int i)
{
    const struct node *n = &s->g->nodes[i];
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE && s->last[n->out[k]] > i && s->last[n->out[k]] != INT_MAX)
            return n->out[k];
    return GRAPH_NONE;
}

static int scan_cuts(const struct scan *s, struct cut *cut, bool joins)
{
    const struct graph *g = s->g;
    double all = g->n_nodes ? s->flops[g->n_nodes - 1] : 0;
    int alive = fed_values(s), n = 0;
    for (int i = 0; i < g->n_nodes - 1; i++) {
        int v = lives_after(s, i);
        for (int k = 0; k < g->nodes[i].n_out; k++)
            alive += g->nodes[i].out[k] != GRAPH_NONE && s->last[g->nodes[i].out[k]] >= 0;
        alive -= s->dies[i];
        if (alive != 1 || v == GRAPH_NONE || !can_cross(g, v))
            continue;
        cut[n++] = (struct cut){i,
                                v,
                                g->nodes[i].name,
                                s->depth[v],
                                all > 0 ? s->flops[i] / all : 0,
                                joins ? ends_join(g, i, s->uses) : ends_chain_block(g, i, s->uses)};
    }
    return n;
}

int graph_cuts(const struct graph *g, struct cut **out, int *n, struct error *e)
{
    struct scan s = {.g = g};
    *n = 0;
    *out = malloc(((size_t)g->n_nodes + 1) * sizeof **out);
    if (!*out || scan_new(&s)) {
        free(*out);
        *out = NULL;
        scan_free(&s);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    *n = scan_cuts(&s, *out, has_joins(g));
    scan_free(&s);
    return FL_OK;
}
