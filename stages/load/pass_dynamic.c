/* pass_dynamic.c - products of integers that are made while the model runs, as products of numbers
 *
 * ONNX Runtime's dynamic quantization writes DynamicQuantizeLinear(x), MatMulInteger or ConvInteger with
 * constant weights, Cast, and Mul by both scales. All of it becomes the product of x and the weights as
 * numbers, with the attribute "dynamic": that says that x may be rounded for it.
 */
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

static struct node *made_by(const struct graph *g, int value, const char *op)
{
    struct node *n = value == GRAPH_NONE ? NULL : graph_producer(g, value);
    return node_is(n, op) ? n : NULL;
}

/* Output k of a DynamicQuantizeLinear, or of what only changes its type. */
static struct node *dynamic(const struct graph *g, int value, int k)
{
    struct node *n = made_by(g, value, "DynamicQuantizeLinear");
    return n && k < n->n_out && n->out[k] == value ? n : NULL;
}

/* The DynamicQuantizeLinear whose scale the value is, times a constant (NULL: 1). */
static struct node *scale_of(const struct graph *g, int value, const struct tensor **constant)
{
    const struct node *mul = made_by(g, value, "Mul");
    *constant = NULL;
    for (int k = 0; mul && k < 2; k++)
        if (dynamic(g, mul->in[k], 1) && (*constant = node_constant(g, mul, !k)))
            return dynamic(g, mul->in[k], 1);
    return dynamic(g, value, 1);
}

/* A product that becomes integers of 32 bits and numbers again, which nothing else reads on the way. */
struct chain {
    struct node *product, *integer, *number;
};

static bool chain_of(const struct graph *g, int value, const int *uses, struct chain *c)
{
    c->number = made_by(g, value, "Cast");
    c->integer = c->number ? made_by(g, c->number->in[0], "Cast") : NULL;
    c->product = c->integer ? graph_producer(g, c->integer->in[0]) : NULL;
    return (node_is(c->product, "MatMul") || node_is(c->product, "Conv")) && uses[value] == 1 &&
           uses[c->number->in[0]] == 1 && uses[c->integer->in[0]] == 1 &&
           attr_int(c->number, "to", 0) == TENSOR_F32 && attr_int(c->integer, "to", 0) == TENSOR_I32;
}

/* The number that the product takes is x as q made it: all of its integers less its zero. */
static bool takes(const struct graph *g, const struct node *product, const struct node *q)
{
    const struct node *n = made_by(g, product->in[0], "DequantizeLinear");
    const struct tensor *scale = n ? node_constant(g, n, 1) : NULL;
    return scale && tensor_count(scale) == 1 && *(const float *)scale->data == 1 && n->n_in > 2 &&
           dynamic(g, n->in[0], 0) == q && dynamic(g, n->in[2], 2) == q;
}

/* A copy of the weights times their scale, one or one for each column of a matrix; -1 where it does not fit
 * or memory is out. */
static int scaled(struct graph *g, int weights, const struct tensor *scale)
{
    const struct tensor *w = g->values[weights].constant;
    int64_t columns = w->rank ? w->dim[w->rank - 1] : 1, n = scale ? tensor_count(scale) : 1;
    struct tensor t = *w;
    int v;
    if (n != 1 && (n != columns || w->rank != 2))
        return -1;
    if (tensor_alloc(&t))
        return -1;
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] = ((const float *)w->data)[i] *
                               (scale ? ((const float *)scale->data)[n == 1 ? 0 : i % columns] : 1);
    v = graph_add_constant(g, g->values[weights].name, &t);
    if (v >= 0)
        g->values[v].low = g->values[weights].low;
    return v;
}

static int try_dynamic(struct graph *g, struct node *mul, const int *uses)
{
    for (int k = 0; k < 2; k++) {
        struct chain c;
        struct node *product = chain_of(g, mul->in[k], uses, &c) ? c.product : NULL, *q;
        const struct tensor *scale;
        struct attr *mark;
        int w;
        if (!product || !(q = scale_of(g, mul->in[!k], &scale)) || !takes(g, product, q) ||
            !node_constant(g, product, 1) || node_constant(g, product, 1)->dtype != TENSOR_F32 ||
            (scale && scale->dtype != TENSOR_F32) ||
            !value_same_shape(&g->values[product->out[0]], &g->values[mul->out[0]]) ||
            (w = scaled(g, product->in[1], scale)) < 0)
            continue;
        if (!(mark = node_attribute(product, "dynamic", ATTR_INT)))
            return FL_NOMEM;
        mark->i = 1;
        product->in[0] = q->in[0];
        product->in[1] = w;
        node_release(c.number);
        node_release(c.integer);
        node_take_over(product, mul);
        break;
    }
    return FL_OK;
}

int pass_dynamic(struct graph *g, struct error *e)
{
    int *uses = graph_count_uses(g), code = uses ? FL_OK : FL_NOMEM;
    for (int i = 0; i < g->n_nodes && !code; i++)
        if (node_is(&g->nodes[i], "Mul") && g->nodes[i].n_in == 2)
            code = try_dynamic(g, &g->nodes[i], uses);
    free(uses);
    return code ? error_set(e, (enum fl_code)code, "out of memory") : graph_sort(g, e);
}
