/* pass_patterns.c - what exporters write in parts, as the one operator that it is
 *
 * LayerNormalization before opset 17, Gelu before opset 20, and a factor behind a product of two computed
 * values. The last node of a pattern becomes the operator, under its own name; what nothing reads any more is
 * swept away afterwards.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

static bool is_near(double x, double wanted)
{
    return fabs(x - wanted) <= 1e-4 * fabs(wanted);
}

/* Input k is one float32 number. */
static bool scalar_at(const struct graph *g, const struct node *n, int k, double *out)
{
    const struct tensor *t = node_constant(g, n, k);
    if (!t || t->dtype != TENSOR_F32 || tensor_count(t) != 1)
        return false;
    *out = (double)*(const float *)t->data;
    return true;
}

/* The node behind the value, when it is of that operator. */
static struct node *made_by(const struct graph *g, int value, const char *op)
{
    struct node *n = value == GRAPH_NONE ? NULL : graph_producer(g, value);
    return node_is(n, op) ? n : NULL;
}

/* n is `op` of a value and one number; the value, or GRAPH_NONE. Only the second may be the number of a Div.
 */
static int with_scalar(const struct graph *g, const struct node *n, const char *op, double *number)
{
    if (!node_is(n, op) || n->n_in != 2)
        return GRAPH_NONE;
    if (scalar_at(g, n, 1, number))
        return n->in[0];
    return strcmp(op, "Div") && scalar_at(g, n, 0, number) ? n->in[1] : GRAPH_NONE;
}

/* Makes n that operator of these inputs. */
static int become(struct node *n, const char *op, const int *in, int n_in)
{
    if (node_widen_inputs(n, n_in))
        return FL_NOMEM;
    n->op = op_find(op, OPSET_LAST);
    n->opset = OPSET_LAST;
    memcpy(n->in, in, (size_t)n_in * sizeof *in);
    n->n_in = n_in;
    return FL_OK;
}

/* ---- LayerNormalization ---- */

/* Over the last axis, which stays as 1. */
static bool is_row_mean(const struct graph *g, const struct node *n)
{
    const struct attr *a = attr_find(n, "axes");
    const struct tensor *t = node_constant(g, n, 1);
    int64_t axis, rank = g->values[n->in[0]].rank;
    if (a && a->kind == ATTR_INTS && a->count == 1)
        axis = a->ints[0];
    else if (t && t->dtype == TENSOR_I64 && tensor_count(t) == 1)
        axis = *(const int64_t *)t->data;
    else
        return false;
    return (axis == -1 || axis == rank - 1) && attr_int(n, "keepdims", 1);
}

/* x, when `value` is x - mean(x); else GRAPH_NONE. */
static int centred(const struct graph *g, int value)
{
    const struct node *sub = made_by(g, value, "Sub"),
                      *mean = sub ? made_by(g, sub->in[1], "ReduceMean") : NULL;
    return mean && is_row_mean(g, mean) && mean->in[0] == sub->in[0] ? sub->in[0] : GRAPH_NONE;
}

/* x, when `value` is (x - mean(x))^2. */
static int centred_square(const struct graph *g, int value)
{
    const struct node *pow = made_by(g, value, "Pow"), *mul = made_by(g, value, "Mul");
    double exponent;
    if (pow && scalar_at(g, pow, 1, &exponent) && exponent == 2)
        return centred(g, pow->in[0]);
    return mul && mul->in[0] == mul->in[1] ? centred(g, mul->in[0]) : GRAPH_NONE;
}

/* The x that `value` is the standard deviation of, with epsilon. */
static int deviation(const struct graph *g, int value, double *epsilon)
{
    const struct node *root = made_by(g, value, "Sqrt"), *add = root ? made_by(g, root->in[0], "Add") : NULL;
    int variance = add ? with_scalar(g, add, "Add", epsilon) : GRAPH_NONE;
    const struct node *mean = made_by(g, variance, "ReduceMean");
    return mean && is_row_mean(g, mean) ? centred_square(g, mean->in[0]) : GRAPH_NONE;
}

/* The input of n that is computed, when the other is one constant number per element of a row of `like`. */
static int with_row(const struct graph *g, const struct node *n, int *row)
{
    for (int k = 0; k < 2; k++) {
        const struct tensor *t = node_constant(g, n, k);
        const struct value *v = &g->values[n->in[!k]];
        if (!t || v->constant || t->dtype != TENSOR_F32 || t->rank != 1 || v->rank < 1 ||
            v->dim[v->rank - 1].per_batch || v->dim[v->rank - 1].fixed != t->dim[0])
            continue;
        *row = n->in[k];
        return n->in[!k];
    }
    return GRAPH_NONE;
}

static int fuse_layer_norm(struct graph *g, struct node *n)
{
    const struct node *mul, *div;
    struct attr *a;
    int in[3], scaled;
    double epsilon;
    if (!node_is(n, "Add") || (scaled = with_row(g, n, &in[2])) == GRAPH_NONE)
        return FL_OK;
    mul = made_by(g, scaled, "Mul");
    div = mul ? made_by(g, with_row(g, mul, &in[1]), "Div") : NULL;
    in[0] = div ? centred(g, div->in[0]) : GRAPH_NONE;
    if (in[0] == GRAPH_NONE || deviation(g, div->in[1], &epsilon) != in[0] ||
        g->values[in[0]].dtype != TENSOR_F32 || !value_same_shape(&g->values[in[0]], &g->values[n->out[0]]))
        return FL_OK;
    a = node_attribute(n, "epsilon", ATTR_FLOAT);
    if (!a)
        return FL_NOMEM;
    a->f = (float)epsilon;
    return become(n, "LayerNormalization", in, 3);
}

/* ---- Gelu ---- */

/* x, when `value` is x^3. */
static int cubed(const struct graph *g, int value)
{
    const struct node *pow = made_by(g, value, "Pow"), *mul = made_by(g, value, "Mul");
    double exponent;
    if (pow && scalar_at(g, pow, 1, &exponent) && exponent == 3)
        return pow->in[0];
    for (int k = 0; mul && k < 2; k++) {
        const struct node *square = made_by(g, mul->in[k], "Mul");
        if (square && square->in[0] == square->in[1] && square->in[0] == mul->in[!k])
            return mul->in[!k];
    }
    return GRAPH_NONE;
}

/* x, when `value` is sqrt(2 / pi) * (x + 0.044715 * x^3). */
static int tanh_argument(const struct graph *g, int value)
{
    const struct node *mul = made_by(g, value, "Mul"), *add;
    double factor;
    int sum = mul ? with_scalar(g, mul, "Mul", &factor) : GRAPH_NONE;
    add = sum != GRAPH_NONE && is_near(factor, 0.7978845608) ? made_by(g, sum, "Add") : NULL;
    for (int k = 0; add && k < 2; k++) {
        const struct node *part = made_by(g, add->in[k], "Mul");
        int cube = part ? with_scalar(g, part, "Mul", &factor) : GRAPH_NONE;
        if (cube != GRAPH_NONE && is_near(factor, 0.044715) && cubed(g, cube) == add->in[!k])
            return add->in[!k];
    }
    return GRAPH_NONE;
}

/* x, when `value` is x / sqrt(2). */
static int erf_argument(const struct graph *g, int value)
{
    const struct node *n = graph_producer(g, value);
    double factor;
    int x;
    if (n && (x = with_scalar(g, n, "Div", &factor)) != GRAPH_NONE && is_near(factor, 1.4142135624))
        return x;
    if (n && (x = with_scalar(g, n, "Mul", &factor)) != GRAPH_NONE && is_near(factor, 0.7071067812))
        return x;
    return GRAPH_NONE;
}

/* x, when `value` is 1 + erf(x / sqrt(2)), or its approximation by tanh. */
static int gelu_gate(const struct graph *g, int value, bool *by_tanh)
{
    const struct node *add = made_by(g, value, "Add"), *n;
    double one;
    int inner = add ? with_scalar(g, add, "Add", &one) : GRAPH_NONE;
    if (inner == GRAPH_NONE || one != 1)
        return GRAPH_NONE;
    *by_tanh = (n = made_by(g, inner, "Tanh")) != NULL;
    if (n)
        return tanh_argument(g, n->in[0]);
    n = made_by(g, inner, "Erf");
    return n ? erf_argument(g, n->in[0]) : GRAPH_NONE;
}

/* The value that `value` is half of. */
static int half_of(const struct graph *g, int value)
{
    const struct node *n = graph_producer(g, value);
    double factor;
    int x = n ? with_scalar(g, n, "Mul", &factor) : GRAPH_NONE;
    return x != GRAPH_NONE && factor == 0.5 ? x : GRAPH_NONE;
}

/* x, when n is one half, x and the gate multiplied in some order. */
static int gelu_of(const struct graph *g, const struct node *n, bool *by_tanh)
{
    int product = half_of(g, n->out[0]);
    const struct node *mul = product == GRAPH_NONE ? n : made_by(g, product, "Mul");
    for (int k = 0; mul && k < 2; k++) {
        int gate = mul->in[k], other = mul->in[!k], x;
        if (mul == n && (x = half_of(g, gate)) != GRAPH_NONE)
            gate = x;
        else if (mul == n)
            other = half_of(g, other);
        if (gate != GRAPH_NONE && other != GRAPH_NONE && gelu_gate(g, gate, by_tanh) == other)
            return other;
    }
    return GRAPH_NONE;
}

static int fuse_gelu(struct graph *g, struct node *n)
{
    struct attr *a;
    bool by_tanh = false;
    int x;
    if (!node_is(n, "Mul") || n->n_in != 2 || (x = gelu_of(g, n, &by_tanh)) == GRAPH_NONE ||
        g->values[x].dtype != TENSOR_F32 || !value_same_shape(&g->values[x], &g->values[n->out[0]]))
        return FL_OK;
    a = by_tanh ? node_attribute(n, "approximate", ATTR_STRING) : NULL;
    if (by_tanh && (!a || (!a->s && !(a->s = strdup("tanh")))))
        return FL_NOMEM;
    return become(n, "Gelu", &x, 1);
}

/* ---- scaled products ---- */

/* A product of two computed values, then Mul or Div by a number: the product's "alpha". */
static int fuse_scale(struct graph *g, struct node *n, const int *uses)
{
    struct node *product;
    struct attr *a;
    double factor = 1;
    int v = with_scalar(g, n, "Mul", &factor);
    if (v == GRAPH_NONE && (v = with_scalar(g, n, "Div", &factor)) != GRAPH_NONE)
        factor = 1 / factor;
    product = made_by(g, v, "MatMul");
    if (!product || uses[v] != 1 || node_constant(g, product, 1) || g->values[v].dtype != TENSOR_F32 ||
        !value_same_shape(&g->values[v], &g->values[n->out[0]]))
        return FL_OK;
    a = node_attribute(product, "alpha", ATTR_FLOAT);
    if (!a)
        return FL_NOMEM;
    a->f = (float)(factor * (a->f ? (double)a->f : 1));
    node_take_over(product, n);
    return FL_OK;
}

int pass_patterns(struct graph *g, struct error *e)
{
    int *uses = graph_count_uses(g), rc = uses ? FL_OK : FL_NOMEM;
    for (int i = 0; i < g->n_nodes && !rc; i++) {
        struct node *n = &g->nodes[i];
        if (n->op)
            rc = fuse_layer_norm(g, n);
        if (n->op && !rc)
            rc = fuse_gelu(g, n);
        if (n->op && !rc)
            rc = fuse_scale(g, n, uses);
    }
    free(uses);
    return rc ? error_set(e, (enum fl_code)rc, "out of memory") : FL_OK;
}
