/* pass_quantized.c - QuantizeLinear and DequantizeLinear around numbers become a mark on the value
 *
 * A pair that rounds a value to integers of 8 bits and back says how products may take it: value.low, .scale
 * and .zero. The pair goes, so that what stands around it fuses as in a model of numbers; the executor then
 * computes in integers where it can, and in float32 where not. A value that disappears in a fusion is not
 * rounded, which is nearer to the network that was quantized. What integers cut off is kept where a model
 * relies on it: a pair without negative integers (or without positive ones) is a Clip, since quantizers leave
 * out the Relu before it.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

struct integers {
    enum tensor_dtype type;
    float scale;
    int zero;
};

struct pairs {
    struct graph *g;
    int *uses;
    int *fits;    /* readers of a value that are the other half of a pair */
    int *instead; /* what is read in place of a value */
};

/* As what a QuantizeLinear makes, or a DequantizeLinear takes, integers of 8 bits; false when they are
 * others, or have several scales. */
static bool integers_of(const struct graph *g, const struct node *n, struct integers *q)
{
    const struct tensor *scale = node_constant(g, n, 1), *zero = node_constant(g, n, 2);
    bool makes = node_is(n, "QuantizeLinear");
    if (!scale || scale->dtype != TENSOR_F32 || tensor_count(scale) != 1 ||
        (n->n_in > 2 && n->in[2] != GRAPH_NONE && (!zero || tensor_count(zero) != 1)))
        return false;
    *q = (struct integers){.type = g->values[makes ? n->out[0] : n->in[0]].dtype,
                           .scale = *(const float *)scale->data};
    if (q->type != TENSOR_U8 && q->type != TENSOR_I8)
        return false;
    if (zero)
        q->zero = q->type == TENSOR_U8 ? *(const uint8_t *)zero->data : *(const int8_t *)zero->data;
    return q->scale > 0 && !isinf(q->scale);
}

static bool same_integers(const struct integers *a, const struct integers *b)
{
    return a->type == b->type && a->scale == b->scale && a->zero == b->zero;
}

static int lowest(const struct integers *q)
{
    return q->type == TENSOR_U8 ? 0 : INT8_MIN;
}

static int highest(const struct integers *q)
{
    return q->type == TENSOR_U8 ? UINT8_MAX : INT8_MAX;
}

/* The QuantizeLinear of numbers that makes what this DequantizeLinear takes, in the same integers; or NULL.
 */
static struct node *other_half(const struct graph *g, const struct node *n)
{
    struct node *made = node_is(n, "DequantizeLinear") ? graph_producer(g, n->in[0]) : NULL;
    struct integers a, b;
    return node_is(made, "QuantizeLinear") && integers_of(g, n, &a) && integers_of(g, made, &b) &&
                   same_integers(&a, &b) && g->values[n->out[0]].dtype == TENSOR_F32 &&
                   g->values[made->in[0]].dtype == TENSOR_F32
               ? made
               : NULL;
}

/* ---- operators between the two that only move integers ---- */

static bool moves_integers(const struct node *n)
{
    static const char *const names[] = {"MaxPool", "Reshape",   "Flatten",  "Squeeze",
                                        "Slice",   "Unsqueeze", "Transpose"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (node_is(n, names[k]))
            return n->n_out == 1;
    return false;
}

/* A new node of that operator from value `from` to `to`, with the scale and zero point of `like`. */
static int add_half(struct graph *g, const char *op, const struct node *like, int from, int to)
{
    int n_in = like->n_in, in[3] = {from, like->in[1], n_in > 2 ? like->in[2] : GRAPH_NONE};
    int at = graph_add_node(g, like->name, op_find(op, OPSET_LAST), n_in, 1);
    if (at < 0)
        return FL_NOMEM;
    g->nodes[at].opset = OPSET_LAST;
    memcpy(g->nodes[at].in, in, (size_t)n_in * sizeof *in);
    g->nodes[at].out[0] = to;
    g->values[to].producer = at;
    return FL_OK;
}

static int like_value(struct graph *g, int value)
{
    int v = graph_add_value(g, NULL);
    if (v < 0)
        return v;
    g->values[v].dtype = TENSOR_F32;
    g->values[v].rank = g->values[value].rank;
    memcpy(g->values[v].dim, g->values[value].dim, sizeof g->values[v].dim);
    return v;
}

/* Q, then n: becomes Q, DQ, n, Q. */
static int move_numbers(struct graph *g, int at)
{
    struct node *n = &g->nodes[at];
    struct node q = {0}, *made = moves_integers(n) && n->n_in ? graph_producer(g, n->in[0]) : NULL;
    struct integers i;
    int in, out, integers;
    if (!node_is(made, "QuantizeLinear") || !integers_of(g, made, &i))
        return FL_OK;
    q = *made;
    integers = n->out[0];
    in = like_value(g, n->in[0]);
    out = in < 0 ? -1 : like_value(g, integers);
    if (out < 0 || add_half(g, "DequantizeLinear", &q, n->in[0], in))
        return FL_NOMEM;
    g->nodes[at].in[0] = in;
    g->nodes[at].out[0] = out;
    g->values[out].producer = at;
    return add_half(g, "QuantizeLinear", &q, out, integers);
}

/* ---- Clip between the two, as PyTorch writes integers of fewer bits ---- */

/* A value that cannot be negative on real data has no negative integers either. Only behind these may a Relu
 * have stood, which a quantizer leaves out because integers without a sign cut off the same. */
static bool may_lack_relu(const struct graph *g, int value)
{
    static const char *const names[] = {"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"};
    const struct node *n = graph_producer(g, value);
    const struct tensor *t;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (node_is(n, names[k]))
            return true;
    if (!node_is(n, "Add"))
        return !n;
    t = node_constant(g, n, 0) ? node_constant(g, n, 0) : node_constant(g, n, 1);
    return !t || tensor_count(t) > 1;
}

/* The bound of a Clip of integers at input k. */
static bool bound_of(const struct graph *g, const struct node *n, int k, int otherwise, int *out)
{
    const struct tensor *t = node_constant(g, n, k);
    *out = otherwise;
    if (k >= n->n_in || n->in[k] == GRAPH_NONE)
        return true;
    if (!t || tensor_count(t) != 1 || (t->dtype != TENSOR_U8 && t->dtype != TENSOR_I8))
        return false;
    *out = t->dtype == TENSOR_U8 ? *(const uint8_t *)t->data : *(const int8_t *)t->data;
    return true;
}

/* The integers that the Clip keeps to some bits, where it cuts off what lies far away alone; GRAPH_NONE where
 * it may be a Relu too. */
static int clipped(const struct graph *g, const struct node *n)
{
    const struct node *made = node_is(n, "Clip") ? graph_producer(g, n->in[0]) : NULL;
    struct integers q;
    int low, high;
    if (!node_is(made, "QuantizeLinear") || graph_is_output(g, n->out[0]) || !integers_of(g, made, &q) ||
        !bound_of(g, n, 1, lowest(&q), &low) || !bound_of(g, n, 2, highest(&q), &high) || q.zero >= high ||
        q.zero < low || (q.zero == low && may_lack_relu(g, made->in[0])))
        return GRAPH_NONE;
    return n->in[0];
}

static int skip_clips(struct graph *g)
{
    int *instead = malloc(((size_t)g->n_values + 1) * sizeof *instead);
    if (!instead)
        return FL_NOMEM;
    for (int v = 0; v < g->n_values; v++)
        instead[v] = v;
    for (int i = 0; i < g->n_nodes; i++) {
        int integers = clipped(g, &g->nodes[i]);
        if (integers == GRAPH_NONE)
            continue;
        instead[g->nodes[i].out[0]] = integers;
        node_release(&g->nodes[i]);
    }
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != GRAPH_NONE)
                g->nodes[i].in[k] = instead[g->nodes[i].in[k]];
    free(instead);
    return FL_OK;
}

/* ---- pairs ---- */

static int number(struct graph *g, float x)
{
    struct tensor t = {.dtype = TENSOR_F32};
    if (tensor_alloc(&t))
        return -1;
    *(float *)t.data = x;
    return graph_add_constant(g, NULL, &t);
}

/* What rounds becomes what cuts off the same numbers. */
static int become_clip(struct graph *g, struct node *n, const struct integers *q)
{
    int low = number(g, q->scale * (float)(lowest(q) - q->zero)),
        high = number(g, q->scale * (float)(highest(q) - q->zero));
    if (low < 0 || high < 0 || node_widen_inputs(n, 3))
        return FL_NOMEM;
    n->op = op_find("Clip", OPSET_LAST);
    n->opset = OPSET_LAST;
    n->in[1] = low;
    n->in[2] = high;
    return FL_OK;
}

static void mark(struct value *v, struct integers q)
{
    v->dtype = TENSOR_F32;
    if (q.type == TENSOR_U8 && q.zero == 128)
        q = (struct integers){TENSOR_I8, q.scale, 0};
    v->low = q.type;
    v->scale = q.scale;
    v->zero = q.zero;
}

/* n rounds a value that nothing reads but what rounds it so: n goes, or becomes a Clip. */
static int take_quantizer(struct pairs *p, struct node *n, const struct integers *q)
{
    struct graph *g = p->g;
    int x = n->in[0], made = n->out[0];
    if ((q->zero == lowest(q) || q->zero == highest(q)) && may_lack_relu(g, x)) {
        mark(&g->values[made], *q);
        return become_clip(g, n, q);
    }
    mark(&g->values[x], *q);
    p->instead[made] = x;
    node_release(n);
    return FL_OK;
}

/* The other half of one that was taken. */
static void take_dequantizer(struct pairs *p, struct node *n)
{
    int v = n->in[0];
    if (p->instead[v] == v && !node_is(graph_producer(p->g, v), "Clip"))
        return;
    p->instead[n->out[0]] = v;
    node_release(n);
}

/* How many readers of each value are halves of pairs: of integers those that make numbers of them, of numbers
 * those that make the same integers of them, all of whose readers are such. */
static void count_halves(struct pairs *p)
{
    struct graph *g = p->g;
    for (int i = 0; i < g->n_nodes; i++)
        if (other_half(g, &g->nodes[i]) && !graph_is_output(g, g->nodes[i].out[0]))
            p->fits[g->nodes[i].in[0]]++;
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        struct integers q, first;
        if (!node_is(n, "QuantizeLinear") || !p->fits[n->out[0]] ||
            p->fits[n->out[0]] != p->uses[n->out[0]] || !integers_of(g, n, &q))
            continue;
        /* `instead` holds the first of a value's halves for now. */
        if (p->instead[n->in[0]] < 0)
            p->instead[n->in[0]] = i;
        integers_of(g, &g->nodes[p->instead[n->in[0]]], &first);
        p->fits[n->in[0]] += same_integers(&q, &first);
    }
}

static int take_pairs(struct pairs *p)
{
    struct graph *g = p->g;
    int code = FL_OK;
    for (int v = 0; v < g->n_values; v++)
        p->instead[v] = v;
    for (int i = 0; i < g->n_nodes && !code; i++) {
        struct node *n = &g->nodes[i];
        struct integers q;
        int v = n->op && n->n_in ? n->in[0] : GRAPH_NONE;
        if (v == GRAPH_NONE || g->values[v].constant || p->fits[v] != p->uses[v])
            continue;
        if (node_is(n, "DequantizeLinear"))
            take_dequantizer(p, n);
        else if (node_is(n, "QuantizeLinear") && p->fits[n->out[0]] == p->uses[n->out[0]] &&
                 integers_of(g, n, &q))
            code = take_quantizer(p, n, &q);
    }
    return code;
}

/* What moves marked numbers, or leaves out the negative ones, makes numbers of the same integers. */
static void hand_on(struct graph *g)
{
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        struct value *from = n->op && n->n_in && n->in[0] != GRAPH_NONE ? &g->values[n->in[0]] : NULL, *to;
        if (!from || from->constant || from->low == TENSOR_NONE ||
            !(moves_integers(n) || node_is(n, "Relu")) || graph_is_output(g, n->out[0]))
            continue;
        to = &g->values[n->out[0]];
        if (to->dtype == TENSOR_F32 && to->low == TENSOR_NONE)
            mark(to, (struct integers){from->low, from->scale, from->zero});
    }
}

static int follow(const struct pairs *p, int value)
{
    while (value != GRAPH_NONE && p->instead[value] != value)
        value = p->instead[value];
    return value;
}

int pass_quantized(struct graph *g, struct error *e)
{
    struct pairs p = {.g = g};
    int n_nodes = g->n_nodes, n_values, code = skip_clips(g);
    for (int i = 0; i < n_nodes && !code; i++)
        code = move_numbers(g, i);
    if (code || (code = graph_sort(g, e)))
        return code == FL_NOMEM ? error_set(e, FL_NOMEM, "out of memory") : code;
    n_values = g->n_values;
    p.uses = graph_count_uses(g);
    p.fits = calloc((size_t)n_values + 1, sizeof *p.fits);
    p.instead = malloc(((size_t)n_values + 1) * sizeof *p.instead);
    code = p.uses && p.fits && p.instead ? FL_OK : FL_NOMEM;
    if (!code) {
        memset(p.instead, 0xff, ((size_t)n_values + 1) * sizeof *p.instead);
        count_halves(&p);
        code = take_pairs(&p);
    }
    for (int i = 0; i < g->n_nodes && !code; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != GRAPH_NONE && g->nodes[i].in[k] < n_values)
                g->nodes[i].in[k] = follow(&p, g->nodes[i].in[k]);
    if (!code)
        hand_on(g);
    free(p.uses);
    free(p.fits);
    free(p.instead);
    return code ? error_set(e, FL_NOMEM, "out of memory") : FL_OK;
}
