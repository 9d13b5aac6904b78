/* graph_cost.c - what nodes cost, and how deep they lie */
#include <string.h>

#include "graph_build.h"

static double elements(const struct tensor *t)
{
    double n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= (double)t->dim[i];
    return n;
}

/* Elements of the window that one output element of a pool is made from. */
static double window_elements(const struct node *n)
{
    const struct attr *k = attr_find(n, "kernel_shape");
    double w = 1;
    for (int i = 0; k && k->kind == ATTR_INTS && i < k->count; i++)
        w *= (double)k->ints[i];
    return w;
}

double node_flops(const struct node *n, const struct tensor *in, const struct tensor *out)
{
    const char *op = n->op->name;
    double made = 0, read = 0;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE)
            made += elements(&out[k]);
    for (int k = 0; k < n->n_in; k++)
        if (in[k].dtype != TENSOR_NONE && elements(&in[k]) > read)
            read = elements(&in[k]);
    if (!strcmp(op, "Conv"))
        return in[1].dim[0] ? 2 * made * elements(&in[1]) / (double)in[1].dim[0] : 0;
    if (!strcmp(op, "MatMul"))
        return in[0].rank ? 2 * made * (double)in[0].dim[in[0].rank - 1] : 0;
    if (!strcmp(op, "Gemm"))
        return 2 * made * (double)in[0].dim[attr_int(n, "transA", 0) ? 0 : in[0].rank - 1];
    if (!strcmp(op, "MaxPool") || !strcmp(op, "AveragePool"))
        return made * window_elements(n);
    if (!strncmp(op, "Global", 6) || !strncmp(op, "Reduce", 6))
        return read;
    return made;
}

static struct tensor shape_or_none(const struct graph *g, int value, int64_t batch)
{
    struct tensor none = {.dtype = TENSOR_NONE};
    return value == GRAPH_NONE ? none : value_shape(&g->values[value], batch);
}

double graph_node_flops(const struct graph *g, int node, int64_t batch)
{
    const struct node *n = &g->nodes[node];
    struct tensor in[OP_MAX_IO], out[OP_MAX_IO];
    for (int k = 0; k < n->n_in; k++)
        in[k] = shape_or_none(g, n->in[k], batch);
    for (int k = 0; k < n->n_out; k++)
        out[k] = shape_or_none(g, n->out[k], batch);
    return node_flops(n, in, out);
}

int64_t graph_node_parameters(const struct graph *g, int node)
{
    const struct node *n = &g->nodes[node];
    int64_t count = 0;
    for (int k = 0; k < n->n_in; k++) {
        const struct tensor *c = node_constant(g, n, k);
        if (c && c->dtype == TENSOR_F32)
            count += tensor_count(c);
    }
    return count;
}
