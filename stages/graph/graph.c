/* graph.c - values, nodes and attributes: making, finding, sizing, freeing */
#include "graph.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph_build.h"

/* Arrays grow at powers of two, so no capacity is kept. `n` is how many stand in it now. Returns NULL without
 * memory. */
static void *grow(void *array, int n, size_t size)
{
    if (n & (n - 1) || n >= 1 << 28)
        return n >= 1 << 28 ? NULL : array;
    return realloc(array, (size_t)(n ? 2 * n : 1) * size);
}

int graph_add_value(struct graph *g, const char *name)
{
    struct value *values = grow(g->values, g->n_values, sizeof *values), *v;
    char made_up[32];
    if (!values)
        return -1;
    g->values = values;
    v = &values[g->n_values];
    memset(v, 0, sizeof *v);
    v->producer = GRAPH_NONE;
    snprintf(made_up, sizeof made_up, "value_%d", g->n_values);
    v->name = strdup(name ? name : made_up);
    return v->name ? g->n_values++ : -1;
}

int value_set_constant(struct value *v, struct tensor *t)
{
    struct tensor *constant = malloc(sizeof *constant);
    if (!constant) {
        tensor_release(t);
        return FL_NOMEM;
    }
    *constant = *t;
    t->data = NULL;
    v->constant = constant;
    v->producer = GRAPH_NONE;
    v->dtype = constant->dtype;
    v->rank = constant->rank;
    for (int i = 0; i < v->rank; i++)
        v->dim[i] = (struct extent){constant->dim[i], 0};
    return FL_OK;
}

int graph_add_constant(struct graph *g, const char *name, struct tensor *t)
{
    int v = graph_add_value(g, name);
    if (v < 0) {
        tensor_release(t);
        return -1;
    }
    return value_set_constant(&g->values[v], t) ? -1 : v;
}

/* The importer allocates the node array at its full size, so growing copies it once. */
int graph_add_node(struct graph *g, const char *name, const struct op *op, int n_in, int n_out)
{
    struct node *nodes = realloc(g->nodes, (size_t)(g->n_nodes + 1) * sizeof *nodes), *n;
    if (!nodes)
        return -1;
    g->nodes = nodes;
    n = &nodes[g->n_nodes];
    memset(n, 0, sizeof *n);
    n->op = op;
    n->opset = g->opset;
    n->post.residual = GRAPH_NONE;
    n->name = strdup(name);
    n->in = malloc((size_t)(n_in + 1) * sizeof *n->in);
    n->out = malloc((size_t)(n_out + 1) * sizeof *n->out);
    if (!n->name || !n->in || !n->out) {
        node_release(n);
        return -1;
    }
    n->n_in = n_in;
    n->n_out = n_out;
    for (int i = 0; i < n_in; i++)
        n->in[i] = GRAPH_NONE;
    for (int i = 0; i < n_out; i++)
        n->out[i] = GRAPH_NONE;
    return g->n_nodes++;
}

int node_widen_inputs(struct node *n, int n_in)
{
    int *in;
    if (n->n_in >= n_in)
        return FL_OK;
    in = realloc(n->in, (size_t)n_in * sizeof *in);
    if (!in)
        return FL_NOMEM;
    n->in = in;
    while (n->n_in < n_in)
        in[n->n_in++] = GRAPH_NONE;
    return FL_OK;
}

struct attr *node_attribute(struct node *n, const char *name, enum attr_kind kind)
{
    struct attr *a = (struct attr *)(uintptr_t)attr_find(n, name), *attrs;
    if (a)
        return a;
    attrs = realloc(n->attr, (size_t)(n->n_attr + 1) * sizeof *attrs);
    if (!attrs)
        return NULL;
    n->attr = attrs;
    a = &attrs[n->n_attr];
    memset(a, 0, sizeof *a);
    a->kind = kind;
    a->name = strdup(name);
    n->n_attr += a->name != NULL;
    return a->name ? a : NULL;
}

static void attr_release(struct attr *a)
{
    for (int i = 0; a->strings && i < a->count; i++)
        free(a->strings[i]);
    if (a->tensor)
        tensor_release(a->tensor);
    free(a->tensor);
    free(a->strings);
    free(a->ints);
    free(a->floats);
    free(a->s);
    free(a->name);
}

void node_release(struct node *n)
{
    for (int i = 0; i < n->n_attr; i++)
        attr_release(&n->attr[i]);
    free(n->attr);
    free(n->in);
    free(n->out);
    free(n->name);
    memset(n, 0, sizeof *n);
}

void value_release(struct value *v)
{
    if (v->constant)
        tensor_release(v->constant);
    free(v->constant);
    free(v->name);
    memset(v, 0, sizeof *v);
}

void graph_free(struct graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_nodes; i++)
        node_release(&g->nodes[i]);
    for (int i = 0; i < g->n_values; i++)
        value_release(&g->values[i]);
    free(g->nodes);
    free(g->values);
    free(g->inputs);
    free(g->outputs);
    free(g->producer);
    free(g->path);
    free(g);
}

const struct attr *attr_find(const struct node *n, const char *name)
{
    for (int i = 0; i < n->n_attr; i++)
        if (!strcmp(n->attr[i].name, name))
            return &n->attr[i];
    return NULL;
}

int64_t attr_int(const struct node *n, const char *name, int64_t otherwise)
{
    const struct attr *a = attr_find(n, name);
    return a && a->kind == ATTR_INT ? a->i : otherwise;
}

float attr_float(const struct node *n, const char *name, float otherwise)
{
    const struct attr *a = attr_find(n, name);
    return a && a->kind == ATTR_FLOAT ? a->f : otherwise;
}

const char *attr_string(const struct node *n, const char *name, const char *otherwise)
{
    const struct attr *a = attr_find(n, name);
    return a && a->kind == ATTR_STRING ? a->s : otherwise;
}

bool graph_is_quantized(const struct graph *g)
{
    for (int i = 0; i < g->n_values; i++)
        if (g->values[i].low != TENSOR_NONE && !g->values[i].constant)
            return true;
    for (int i = 0; i < g->n_nodes; i++)
        if (attr_int(&g->nodes[i], "dynamic", 0))
            return true;
    return false;
}

struct tensor value_shape(const struct value *v, int64_t batch)
{
    struct tensor t = {.dtype = v->dtype, .rank = v->rank, .data = v->constant ? v->constant->data : NULL};
    for (int i = 0; i < v->rank && i < TENSOR_MAX_RANK; i++)
        t.dim[i] = extent_at(v->dim[i], batch);
    return t;
}

bool graph_is_input(const struct graph *g, int value)
{
    for (int i = 0; i < g->n_inputs; i++)
        if (g->inputs[i] == value)
            return true;
    return false;
}

bool graph_is_output(const struct graph *g, int value)
{
    for (int i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == value)
            return true;
    return false;
}

void node_take_over(struct node *n, struct node *after)
{
    char *name = n->name;
    n->out[0] = after->out[0];
    n->name = after->name;
    after->name = name;
    node_release(after);
}

const char *activation_name(enum activation a)
{
    static const char *const names[ACT_LAST + 1] = {
        [ACT_NONE] = "",
        [ACT_RELU] = "Relu",
        [ACT_CLIP] = "Clip",
        [ACT_LEAKY_RELU] = "LeakyRelu",
        [ACT_HARD_SWISH] = "HardSwish",
        [ACT_SIGMOID] = "Sigmoid",
        [ACT_HARD_SIGMOID] = "HardSigmoid",
        [ACT_SILU] = "SiLU",
        [ACT_TANH] = "Tanh",
        [ACT_ERF] = "Erf",
        [ACT_GELU] = "Gelu",
        [ACT_GELU_TANH] = "Gelu(tanh)",
    };
    return names[a];
}

bool node_activation(const struct node *n, struct post *p)
{
    static const struct {
        const char *op;
        enum activation activation;
        float alpha, beta; /* where attributes do not say */
    } table[] = {
        {"Relu", ACT_RELU, 0, 0},
        {"LeakyRelu", ACT_LEAKY_RELU, 0.01f, 0},
        {"Sigmoid", ACT_SIGMOID, 0, 0},
        {"HardSigmoid", ACT_HARD_SIGMOID, 0.2f, 0.5f},
        {"HardSwish", ACT_HARD_SWISH, 0, 0},
        {"Clip", ACT_CLIP, -INFINITY, INFINITY},
        {"Tanh", ACT_TANH, 0, 0},
        {"Erf", ACT_ERF, 0, 0},
        {"Gelu", ACT_GELU, 0, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (node_is(n, table[i].op)) {
            bool clip = table[i].activation == ACT_CLIP;
            p->activation = table[i].activation;
            if (p->activation == ACT_GELU && !strcmp(attr_string(n, "approximate", "none"), "tanh"))
                p->activation = ACT_GELU_TANH;
            p->alpha = attr_float(n, clip ? "min" : "alpha", table[i].alpha);
            p->beta = attr_float(n, clip ? "max" : "beta", table[i].beta);
            return true;
        }
    return false;
}

bool value_same_shape(const struct value *a, const struct value *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i].fixed != b->dim[i].fixed || a->dim[i].per_batch != b->dim[i].per_batch)
            return false;
    return true;
}

struct node *graph_producer(const struct graph *g, int value)
{
    int p = value == GRAPH_NONE ? GRAPH_NONE : g->values[value].producer;
    return p == GRAPH_NONE ? NULL : &g->nodes[p];
}

int *graph_count_uses(const struct graph *g)
{
    int *uses = calloc((size_t)g->n_values + 1, sizeof *uses);
    if (!uses)
        return NULL;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; g->nodes[i].op && k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != GRAPH_NONE)
                uses[g->nodes[i].in[k]]++;
    for (int i = 0; i < g->n_outputs; i++)
        uses[g->outputs[i]]++;
    return uses;
}

const struct tensor *node_constant(const struct graph *g, const struct node *n, int k)
{
    return k < n->n_in && n->in[k] != GRAPH_NONE ? g->values[n->in[k]].constant : NULL;
}

bool node_is(const struct node *n, const char *op)
{
    return n && n->op && !strcmp(n->op->name, op);
}
