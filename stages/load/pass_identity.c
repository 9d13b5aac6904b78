/* pass_identity.c - remove nodes that give back their input
 *
 * Identity and Dropout always do; reshapes, casts, slices and the like when shape and type stay the same.
 * What read the output reads the input instead. Where the output is one of the model's, the input takes over
 * its name, unless it is itself an input, an output or a constant of the model: then the node stays.
 */
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

/* A Slice that keeps the shape keeps the order too unless a step is negative. */
static bool steps_forward(const struct graph *g, const struct node *n)
{
    const struct tensor *steps = node_constant(g, n, 4);
    if (n->n_in < 5 || n->in[4] == GRAPH_NONE)
        return true;
    for (int64_t i = 0; steps && i < tensor_count(steps); i++)
        if ((steps->dtype == TENSOR_I64 ? ((const int64_t *)steps->data)[i]
                                        : ((const int32_t *)steps->data)[i]) != 1)
            return false;
    return steps != NULL;
}

/* A Pad that keeps the shape may still move what is in it. */
static bool pads_nothing(const struct graph *g, const struct node *n)
{
    const struct attr *a = attr_find(n, "pads");
    const struct tensor *t = node_constant(g, n, 1);
    int64_t count = t && t->dtype == TENSOR_I64 ? tensor_count(t) : a && a->kind == ATTR_INTS ? a->count : 0;
    const int64_t *pads = t && t->dtype == TENSOR_I64 ? t->data : a ? a->ints : NULL;
    for (int64_t i = 0; i < count; i++)
        if (pads[i])
            return false;
    return count > 0;
}

static bool changes_nothing(const struct graph *g, const struct node *n)
{
    static const char *const keepers[] = {"Identity", "Dropout",   "Cast",   "Reshape", "Flatten",
                                          "Squeeze",  "Unsqueeze", "Expand", "Slice"};
    for (int k = 1; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE)
            return false;
    if (!n->n_in || n->in[0] == GRAPH_NONE || n->out[0] == GRAPH_NONE ||
        !value_same_shape(&g->values[n->in[0]], &g->values[n->out[0]]))
        return false;
    for (size_t k = 0; k < sizeof keepers / sizeof *keepers; k++)
        if (!strcmp(n->op->name, keepers[k]))
            return strcmp(n->op->name, "Slice") || steps_forward(g, n);
    if (node_is(n, "Pad"))
        return pads_nothing(g, n);
    return n->n_in == 1 && (node_is(n, "Concat") || node_is(n, "Sum"));
}

static void make_output(struct graph *g, int from, int to)
{
    char *name = g->values[from].name;
    g->values[from].name = g->values[to].name;
    g->values[to].name = name;
    for (int i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == from)
            g->outputs[i] = to;
}

/* Removes n if it changes nothing; instead[v] is the value to read in place of v. */
static void try_remove(struct graph *g, struct node *n, int *instead)
{
    int in, out;
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] != GRAPH_NONE)
            n->in[k] = instead[n->in[k]];
    if (!changes_nothing(g, n))
        return;
    in = n->in[0];
    out = n->out[0];
    if (graph_is_output(g, out)) {
        if (graph_is_output(g, in) || graph_is_input(g, in) || g->values[in].constant)
            return;
        make_output(g, out, in);
    }
    instead[out] = in;
    node_release(n);
}

int pass_identity(struct graph *g, struct error *e)
{
    int *instead = malloc(((size_t)g->n_values + 1) * sizeof *instead);
    if (!instead)
        return error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; i < g->n_values; i++)
        instead[i] = i;
    for (int i = 0; i < g->n_nodes; i++)
        if (g->nodes[i].op)
            try_remove(g, &g->nodes[i], instead);
    free(instead);
    return FL_OK;
}
