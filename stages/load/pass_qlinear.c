/* pass_qlinear.c - operators on integers, written as the same operators on numbers between Q and DQ
 *
 * QLinearConv(x, w) is QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w))), and so on: the form
 * that newer exporters write anyway, and that pass_quantized.c knows how to compute in integers. What adds
 * up to 32-bit integers (MatMulInteger, ConvInteger) adds whole numbers, which float32 does exactly up to
 * 2^24 and as well as the float32 that follows anyway beyond.
 */
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

/* Inputs in threes (integers, scale, zero point), then what the result is: its scale stands at `to`, its zero
 * point behind it. */
struct form {
    const char *name, *inner;
    int triples, bias, to; /* bias: -1 when it has none */
};

static const struct form forms[] = {
    {"QLinearConv", "Conv", 2, 8, 6},
    {"QLinearMatMul", "MatMul", 2, -1, 6},
    {"QGemm", "Gemm", 2, 6, 7},
    {"QLinearAdd", "Add", 2, -1, 6},
    {"QLinearMul", "Mul", 2, -1, 6},
    {"QLinearAveragePool", "AveragePool", 1, -1, 3},
    {"QLinearGlobalAveragePool", "GlobalAveragePool", 1, -1, 3},
    {"QLinearSigmoid", "Sigmoid", 1, -1, 3},
    {"QLinearLeakyRelu", "LeakyRelu", 1, -1, 3},
};

/* Adds a node of that operator; `out` GRAPH_NONE: of a new value. The value that it makes, or -1. */
static int add(struct graph *g, const char *op, const char *name, const int *in, int n_in, int out)
{
    int v = out == GRAPH_NONE ? graph_add_value(g, NULL) : out, at;
    while (n_in && in[n_in - 1] == GRAPH_NONE)
        n_in--;
    at = v < 0 ? -1 : graph_add_node(g, name, op_find(op, OPSET_LAST), n_in, 1);
    if (at < 0)
        return -1;
    g->nodes[at].opset = OPSET_LAST;
    memcpy(g->nodes[at].in, in, (size_t)n_in * sizeof *in);
    g->nodes[at].out[0] = v;
    g->values[v].producer = at;
    return v;
}

static int set_int(struct graph *g, int value, const char *name, int64_t to)
{
    struct attr *a = value < 0 ? NULL : node_attribute(&g->nodes[g->values[value].producer], name, ATTR_INT);
    if (!a)
        return -1;
    a->i = to;
    return value;
}

static int input(const struct node *n, int k)
{
    return k >= 0 && k < n->n_in ? n->in[k] : GRAPH_NONE;
}

/* The numbers that input k's integers are, with the scale and zero point at `scale` and behind it. */
static int dequantize(struct graph *g, const struct node *n, int k, int scale, int zero, int64_t axis)
{
    return set_int(g, add(g, "DequantizeLinear", n->name, (int[]){input(n, k), scale, zero}, 3, GRAPH_NONE),
                   "axis", axis);
}

/* Along which axis of its weights scales may differ. */
static int64_t weights_axis(const struct node *n, const char *inner)
{
    return strcmp(inner, "Conv") == 0 ? 0 : strcmp(inner, "Gemm") == 0 && attr_int(n, "transB", 0) ? 0 : -1;
}

/* A bias is 32-bit integers of the product of both scales. */
static int dequantize_bias(struct graph *g, const struct node *n, int k)
{
    int scale = add(g, "Mul", n->name, (int[]){input(n, 1), input(n, 4)}, 2, GRAPH_NONE);
    float alpha = attr_float(n, "alpha", 1);
    struct tensor t = {.dtype = TENSOR_F32};
    if (scale >= 0 && alpha != 1) { /* QGemm's */
        int factor;
        if (tensor_alloc(&t))
            return -1;
        *(float *)t.data = alpha;
        factor = graph_add_constant(g, NULL, &t);
        scale = factor < 0 ? -1 : add(g, "Mul", n->name, (int[]){scale, factor}, 2, GRAPH_NONE);
    }
    return scale < 0 ? -1 : dequantize(g, n, k, scale, GRAPH_NONE, 0);
}

/* The attributes go to the node that makes `value`. */
static void hand_attributes(struct graph *g, struct node *n, int value)
{
    struct node *to = &g->nodes[g->values[value].producer];
    to->attr = n->attr;
    to->n_attr = n->n_attr;
    n->attr = NULL;
    n->n_attr = 0;
}

/* Numbers to the integers that the node makes; where it names no scale it makes numbers. */
static int quantize(struct graph *g, const struct node *n, int value, int scale, int zero)
{
    return add(g, "QuantizeLinear", n->name, (int[]){value, scale, zero}, 3, n->out[0]);
}

static int expand_form(struct graph *g, struct node *n, const struct form *f)
{
    int in[3] = {GRAPH_NONE, GRAPH_NONE, GRAPH_NONE}, made;
    bool integers = input(n, f->to) != GRAPH_NONE;
    for (int i = 0; i < f->triples; i++)
        if ((in[i] = dequantize(g, n, 3 * i, input(n, 3 * i + 1), input(n, 3 * i + 2),
                                i ? weights_axis(n, f->inner) : -1)) < 0)
            return FL_NOMEM;
    if (input(n, f->bias) != GRAPH_NONE && (in[2] = dequantize_bias(g, n, f->bias)) < 0)
        return FL_NOMEM;
    made = add(g, f->inner, n->name, in, 3, integers ? GRAPH_NONE : n->out[0]);
    if (made < 0)
        return FL_NOMEM;
    hand_attributes(g, n, made);
    return integers && quantize(g, n, made, input(n, f->to), input(n, f->to + 1)) < 0 ? FL_NOMEM : FL_OK;
}

/* y's scale, y's zero point, then threes. */
static int expand_concat(struct graph *g, struct node *n)
{
    int in[OP_MAX_IO], count = (n->n_in - 2) / 3, made;
    for (int i = 0; i < count; i++)
        if ((in[i] = dequantize(g, n, 2 + 3 * i, input(n, 3 + 3 * i), input(n, 4 + 3 * i), 1)) < 0)
            return FL_NOMEM;
    made = add(g, "Concat", n->name, in, count, GRAPH_NONE);
    if (made < 0)
        return FL_NOMEM;
    hand_attributes(g, n, made);
    return quantize(g, n, made, n->in[0], n->in[1]) < 0 ? FL_NOMEM : FL_OK;
}

/* A scale of 1 with the dims of the zero point, which is one number where it is computed. */
static int ones(struct graph *g, int zero)
{
    const struct tensor *z = zero == GRAPH_NONE ? NULL : g->values[zero].constant;
    struct tensor t = {.dtype = TENSOR_F32, .rank = z ? z->rank : 0};
    if (z)
        memcpy(t.dim, z->dim, sizeof t.dim);
    if (tensor_alloc(&t))
        return -1;
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] = 1;
    return graph_add_constant(g, NULL, &t);
}

/* (a, b, a's zero point, b's zero point) to 32-bit integers. */
static int expand_integer(struct graph *g, struct node *n, const char *inner)
{
    int in[2], made;
    for (int i = 0; i < 2; i++) {
        int zero = input(n, 2 + i), one = ones(g, zero);
        int64_t axis = i ? weights_axis(n, inner) : -2;
        if (one < 0 || (in[i] = dequantize(g, n, i, one, zero, axis)) < 0)
            return FL_NOMEM;
    }
    made = add(g, inner, n->name, in, 2, GRAPH_NONE);
    if (made < 0)
        return FL_NOMEM;
    hand_attributes(g, n, made);
    made = add(g, "Cast", n->name, &made, 1, n->out[0]);
    return set_int(g, made, "to", TENSOR_I32) < 0 ? FL_NOMEM : FL_OK;
}

/* A product of numbers, plus a bias. `dynamic`: a may be rounded for it (pass_dynamic.c). */
static int multiply(struct graph *g, const struct node *n, int a, int b, int bias, bool dynamic)
{
    int made;
    if (a < 0 || b < 0)
        return FL_NOMEM;
    made = add(g, "MatMul", n->name, (int[]){a, b}, 2, bias == GRAPH_NONE ? n->out[0] : GRAPH_NONE);
    if (dynamic)
        made = set_int(g, made, "dynamic", 1);
    if (made >= 0 && bias != GRAPH_NONE)
        made = add(g, "Add", n->name, (int[]){made, bias}, 2, n->out[0]);
    return made < 0 ? FL_NOMEM : FL_OK;
}

static const struct form *form_of(const struct node *n)
{
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (node_is(n, forms[i].name))
            return &forms[i];
    return NULL;
}

static int expand(struct graph *g, struct node *n)
{
    const struct form *f = form_of(n);
    if (f)
        return expand_form(g, n, f);
    if (node_is(n, "QLinearConcat"))
        return expand_concat(g, n);
    if (node_is(n, "ConvInteger"))
        return expand_integer(g, n, "Conv");
    if (node_is(n, "MatMulInteger"))
        return expand_integer(g, n, "MatMul");
    if (node_is(n, "DynamicQuantizeMatMul"))
        return multiply(g, n, n->in[0], dequantize(g, n, 1, input(n, 2), input(n, 3), -1), input(n, 4), true);
    return multiply(g, n, dequantize(g, n, 0, input(n, 2), input(n, 4), -1),
                    dequantize(g, n, 1, input(n, 3), input(n, 5), -1), input(n, 6), false);
}

int pass_qlinear(struct graph *g, struct error *e)
{
    int n_nodes = g->n_nodes;
    for (int i = 0; i < n_nodes; i++) {
        struct node n = g->nodes[i];
        if (!n.op || !(n.op->flags & OP_EXPANDED))
            continue;
        if (attr_int(&n, "channels_last", 0))
            return error_set(e, FL_UNSUPPORTED,
                             "node '%s' (%s) has its channels last, which is not supported", n.name,
                             n.op->name);
        memset(&g->nodes[i], 0, sizeof n);
        if (expand(g, &n)) {
            node_release(&n);
            return error_set(e, FL_NOMEM, "out of memory");
        }
        node_release(&n);
    }
    return graph_sort(g, e);
}
