/* layers.c - layers with weights in a graph, and the sites between them */
#include "layers.h"

#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

/* ---- layers ---- */

/* A bias that has one number per output, or one for all; or none. */
static bool bias_fits(const struct graph *g, const struct node *n, int64_t out)
{
    const struct tensor *b = node_constant(g, n, 2);
    if (n->n_in < 3 || n->in[2] == GRAPH_NONE)
        return true;
    return b && b->dtype == TENSOR_F32 && (tensor_count(b) == out || tensor_count(b) == 1) &&
           (b->rank < 1 || b->dim[b->rank - 1] == tensor_count(b));
}

static bool is_conv(const struct graph *g, const struct node *n, struct layer *l)
{
    const struct tensor *w = node_constant(g, n, 1);
    struct tensor in = value_shape(&g->values[n->in[0]], 1);
    if (!node_is(n, "Conv") || attr_int(n, "group", 1) != 1 ||
        window_resolve(&l->win, n, in.rank, in.dim, w->dim + 2, NULL))
        return false;
    l->conv = true;
    l->out = w->dim[0];
    l->features = w->dim[1];
    l->taps = 1;
    for (int i = 2; i < w->rank; i++)
        l->taps *= w->dim[i];
    l->pixels = tensor_count(&in) / w->dim[1];
    l->features *= l->taps;
    return true;
}

static bool is_product(const struct graph *g, const struct node *n, struct layer *l)
{
    const struct tensor *w = node_constant(g, n, 1);
    bool gemm = node_is(n, "Gemm"), rows = gemm && attr_int(n, "transB", 0);
    if ((!gemm && !node_is(n, "MatMul")) || w->rank != 2 || (gemm && attr_int(n, "transA", 0)) ||
        g->values[n->in[0]].rank < 2)
        return false;
    l->turned = !rows;
    l->out = w->dim[rows ? 0 : 1];
    l->features = w->dim[rows ? 1 : 0];
    l->taps = 1;
    return true;
}

static bool is_layer(const struct graph *g, int node, struct layer *l)
{
    const struct node *n = &g->nodes[node];
    const struct tensor *w = node_constant(g, n, 1);
    struct tensor y;
    *l = (struct layer){.node = node, .reads = -1, .makes = -1};
    if (!w || w->dtype != TENSOR_F32 || tensor_count(w) < 1 || n->in[0] == GRAPH_NONE ||
        node_constant(g, n, 0) || (!is_conv(g, n, l) && !is_product(g, n, l)) || !bias_fits(g, n, l->out))
        return false;
    y = value_shape(&g->values[n->out[0]], 1);
    l->biased = !node_is(n, "MatMul");
    l->places = tensor_count(&y) / l->out;
    for (int i = 0; l->conv && i < l->win.n; i++)
        l->side[i] = y.dim[i + 2];
    l->flops = graph_node_flops(g, node, 1);
    return l->places > 0;
}

/* ---- what reads a value ---- */

static int reader_of(const struct graph *g, int value, int from)
{
    for (int i = from; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] == value)
                return i;
    return -1;
}

/* The other operand of a sum of two. */
static int other(const struct node *n, int value)
{
    return n->in[n->in[0] == value];
}

/* Follows additions, of constants or of values of the same shape, as long as nothing else reads the sum. */
static int sum_of(const struct graph *g, const int *uses, int value, int node)
{
    while (uses[value] == 1 && (node = reader_of(g, value, node + 1)) >= 0) {
        const struct node *n = &g->nodes[node];
        int with;
        if (!node_is(n, "Add") || n->in[0] == n->in[1])
            break;
        with = other(n, value);
        if (!value_same_shape(&g->values[value], &g->values[n->out[0]]) ||
            (!g->values[with].constant && !value_same_shape(&g->values[with], &g->values[value])))
            break;
        value = n->out[0];
    }
    return value;
}

/* ---- sites ---- */

/* Where the channels of a value of a site lie. */
static int channel_axis(const struct layer *maker, const struct value *v)
{
    return maker->conv ? 1 : v->rank - 1;
}

/* Does a constant have one number for each channel, or one for all? */
static bool is_per_channel(const struct graph *g, const struct layer *maker, int constant,
                           const struct value *v)
{
    const struct tensor *t = g->values[constant].constant;
    int at = t ? channel_axis(maker, v) - (v->rank - t->rank) : -1;
    if (!t || t->dtype != TENSOR_F32 || t->rank > v->rank)
        return false;
    return tensor_count(t) == 1 || (at >= 0 && t->dim[at] == maker->out && tensor_count(t) == maker->out);
}

/* A mean over dims behind the channels. */
static bool is_spatial_mean(const struct graph *g, const struct node *n, const struct value *v)
{
    const struct attr *a = attr_find(n, "axes");
    const struct tensor *t = node_constant(g, n, 1);
    int64_t axis[TENSOR_MAX_RANK];
    int count = a && a->kind == ATTR_INTS ? a->count : t && t->dtype == TENSOR_I64 ? (int)tensor_count(t) : 0;
    if (!node_is(n, "ReduceMean") || count < 1 || count > TENSOR_MAX_RANK)
        return false;
    memcpy(axis, a ? a->ints : t->data, (size_t)count * sizeof *axis);
    for (int i = 0; i < count; i++)
        if ((axis[i] < 0 ? axis[i] + v->rank : axis[i]) < 2)
            return false;
    return true;
}

static bool is_depthwise(const struct graph *g, const struct layer *maker, const struct node *n)
{
    const struct tensor *w = node_constant(g, n, 1);
    return node_is(n, "Conv") && w && w->dtype == TENSOR_F32 && w->dim[0] == maker->out &&
           attr_int(n, "group", 1) == maker->out && maker->out > 1 && bias_fits(g, n, maker->out);
}

static bool one_of(const struct node *n, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (node_is(n, names[i]))
            return true;
    return false;
}

/* Does the node, which reads v first, treat each channel for itself? */
static bool keeps_channels(const struct graph *g, const struct layer *maker, const struct node *n, int value)
{
    static const char *const each[] = {"Identity", "Elu", "Selu", "Softplus", "Abs", "Neg", NULL};
    static const char *const pools[] = {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", NULL};
    static const char *const twos[] = {"Add", "Mul", "Sub", "Div", NULL};
    const struct value *v = &g->values[value];
    struct post unused;
    if (one_of(n, twos) && value_same_shape(v, &g->values[n->out[0]]))
        return is_per_channel(g, maker, other(n, value), v);
    if (n->in[0] != value || n->n_out != 1)
        return false;
    if (node_activation(n, &unused) || one_of(n, each))
        return true;
    return maker->conv && v->rank > 2 &&
           (one_of(n, pools) || is_spatial_mean(g, n, v) || is_depthwise(g, maker, n) ||
            (node_is(n, "Flatten") && attr_int(n, "axis", 1) == 1));
}

/* x * s(x), where s is an activation: both nodes are between. Returns what they make, or GRAPH_NONE. */
static int gated(const struct graph *g, const int *uses, int value, int node, struct site *s)
{
    struct post unused;
    int a = reader_of(g, value, node + 1), b = a < 0 ? -1 : reader_of(g, value, a + 1);
    const struct node *gate, *product;
    if (b < 0 || uses[value] != 2)
        return GRAPH_NONE;
    gate = &g->nodes[a];
    product = &g->nodes[b];
    if (!node_activation(gate, &unused) || !node_is(product, "Mul") || uses[gate->out[0]] != 1 ||
        product->in[0] == product->in[1] || other(product, value) != gate->out[0])
        return GRAPH_NONE;
    s->between[s->n_between++] = a;
    s->between[s->n_between++] = b;
    return product->out[0];
}

/* The layer that alone reads what `maker` makes; -1: none. Fills s->between. */
static int follow(const struct graph *g, const int *uses, const struct layers *l, int maker, struct site *s)
{
    const struct layer *m = &l->layer[maker];
    int value = g->nodes[m->node].out[0], node = m->node;
    while (s->n_between < g->n_nodes) {
        int next = uses[value] == 2 ? gated(g, uses, value, node, s) : GRAPH_NONE;
        if (next != GRAPH_NONE) {
            value = next;
            continue;
        }
        if (uses[value] != 1 || (node = reader_of(g, value, node + 1)) < 0)
            return -1;
        for (int i = maker + 1; i < l->n; i++)
            if (l->layer[i].node == node)
                return g->nodes[node].in[0] == value ? i : -1;
        if (!keeps_channels(g, m, &g->nodes[node], value))
            return -1;
        s->between[s->n_between++] = node;
        value = g->nodes[node].out[0];
    }
    return -1;
}

static int find_sites(struct layers *l, const struct graph *g, const int *uses)
{
    for (int i = 0; i < l->n; i++) {
        struct site *s = &l->site[l->n_sites];
        *s = (struct site){.maker = i};
        s->between = malloc(((size_t)g->n_nodes + 2) * sizeof *s->between);
        if (!s->between)
            return FL_NOMEM;
        s->reader = follow(g, uses, l, i, s);
        s->channels = l->layer[i].out;
        if (s->reader < 0 || s->channels < 2 || l->layer[s->reader].features % s->channels ||
            l->layer[s->reader].features > LAYERS_MOST_FEATURES) {
            free(s->between);
            s->between = NULL;
            continue;
        }
        s->group = l->layer[s->reader].features / s->channels;
        l->layer[i].makes = l->layer[s->reader].reads = l->n_sites++;
    }
    return FL_OK;
}

int layers_find(struct layers *out, const struct graph *g, struct error *e)
{
    int *uses = graph_count_uses(g), rc = FL_OK;
    *out = (struct layers){.layer = calloc((size_t)g->n_nodes + 1, sizeof *out->layer),
                           .site = calloc((size_t)g->n_nodes + 1, sizeof *out->site)};
    if (!uses || !out->layer || !out->site)
        rc = FL_NOMEM;
    for (int i = 0; !rc && i < g->n_nodes; i++)
        if (is_layer(g, i, &out->layer[out->n])) {
            struct layer *l = &out->layer[out->n++];
            l->sum = sum_of(g, uses, g->nodes[i].out[0], i);
        }
    if (!rc)
        rc = find_sites(out, g, uses);
    free(uses);
    return rc ? error_set(e, (enum fl_code)rc, "no memory for the network's layers") : FL_OK;
}

void layers_release(struct layers *l)
{
    for (int i = 0; i < l->n_sites; i++)
        free(l->site[i].between);
    free(l->layer);
    free(l->site);
    *l = (struct layers){0};
}

/* ---- weights ---- */

/* Where W's number k of output o lies in the constant. */
static size_t place(const struct layer *l, int64_t o, int64_t k)
{
    return (size_t)(l->turned ? k * l->out + o : o * l->features + k);
}

void layer_weights(const struct graph *g, const struct layer *l, double *w, double *bias)
{
    const struct node *n = &g->nodes[l->node];
    const float *from = node_constant(g, n, 1)->data;
    const struct tensor *b = node_constant(g, n, 2);
    for (int64_t o = 0; o < l->out; o++) {
        bias[o] = b ? (double)((const float *)b->data)[tensor_count(b) == 1 ? 0 : o] : 0;
        for (int64_t k = 0; k < l->features; k++)
            w[o * l->features + k] = (double)from[place(l, o, k)];
    }
}

void layer_set_weights(struct graph *g, const struct layer *l, const double *w, const double *bias)
{
    const struct node *n = &g->nodes[l->node];
    float *to = node_constant(g, n, 1)->data, *b = l->biased ? node_constant(g, n, 2)->data : NULL;
    for (int64_t o = 0; o < l->out; o++) {
        if (b)
            b[o] = (float)bias[o];
        for (int64_t k = 0; k < l->features; k++)
            to[place(l, o, k)] = (float)w[o * l->features + k];
    }
}

/* Weights and bias times what Gemm multiplies them by, in constants of the layer's own. */
static int own(struct graph *g, const struct layer *l)
{
    struct node *n = &g->nodes[l->node];
    const struct tensor *w = node_constant(g, n, 1), *b = node_constant(g, n, 2);
    struct tensor weights = *w, bias = {.dtype = TENSOR_F32, .rank = 1, .dim = {l->out}};
    float alpha = node_is(n, "Gemm") ? attr_float(n, "alpha", 1) : 1,
          beta = node_is(n, "Gemm") ? attr_float(n, "beta", 1) : 1;
    int64_t count = tensor_count(w);
    if (tensor_alloc(&weights))
        return FL_NOMEM;
    for (int64_t i = 0; i < count; i++)
        ((float *)weights.data)[i] = alpha * ((const float *)w->data)[i];
    if ((n->in[1] = graph_add_constant(g, g->values[n->in[1]].name, &weights)) < 0)
        return FL_NOMEM;
    for (int i = 0; i < n->n_attr; i++)
        if (!strcmp(n->attr[i].name, "alpha") || !strcmp(n->attr[i].name, "beta"))
            n->attr[i].f = 1;
    if (!l->biased)
        return FL_OK;
    if (tensor_alloc(&bias))
        return FL_NOMEM;
    for (int64_t o = 0; b && o < l->out; o++)
        ((float *)bias.data)[o] = beta * ((const float *)b->data)[tensor_count(b) == 1 ? 0 : o];
    if (node_widen_inputs(n, 3)) {
        tensor_release(&bias);
        return FL_NOMEM;
    }
    n->in[2] = graph_add_constant(g, NULL, &bias);
    return n->in[2] < 0 ? FL_NOMEM : FL_OK;
}

int layers_own(struct graph *g, const struct layers *l, struct error *e)
{
    for (int i = 0; i < l->n; i++)
        if (own(g, &l->layer[i]))
            return error_set(e, FL_NOMEM, "no memory for weights");
    return FL_OK;
}
