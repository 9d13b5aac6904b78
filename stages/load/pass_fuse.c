/* pass_fuse.c - bias, residual addition and activation into the Conv or Gemm before them, an activation into
 * a BatchNormalization too
 *
 * A node that is fused takes over what the follower makes: the follower's output value, and its name, so that
 * the point after it is called the same with and without fusion. Only a value that is read once disappears.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

struct fuser {
    struct graph *g;
    int *uses;   /* readers of each value */
    int *reader; /* the one reader of a value that is read once by a node, else GRAPH_NONE */
};

static int find_readers(struct fuser *f)
{
    struct graph *g = f->g;
    f->uses = graph_count_uses(g);
    f->reader = malloc(((size_t)g->n_values + 1) * sizeof *f->reader);
    if (!f->uses || !f->reader)
        return FL_NOMEM;
    for (int i = 0; i < g->n_values; i++)
        f->reader[i] = GRAPH_NONE;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; g->nodes[i].op && k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] != GRAPH_NONE)
                f->reader[g->nodes[i].in[k]] = i;
    for (int i = 0; i < g->n_outputs; i++)
        f->reader[g->outputs[i]] = GRAPH_NONE;
    return FL_OK;
}

/* The node that alone reads what n makes, or NULL. */
static struct node *follower(const struct fuser *f, const struct node *n)
{
    int v = n->out[0];
    if (v == GRAPH_NONE || f->uses[v] != 1 || f->reader[v] == GRAPH_NONE)
        return NULL;
    return &f->g->nodes[f->reader[v]];
}

/* Is t one number per channel of a value of that rank: [1,]C,1,1 for a Conv, [1,]N for a Gemm? */
static bool is_per_channel(const struct tensor *t, int rank, int channel_axis, int64_t channels)
{
    for (int i = 0; i < t->rank; i++) {
        int axis = i + rank - t->rank;
        if (axis < 0 || t->dim[i] != (axis == channel_axis ? channels : 1))
            return false;
    }
    return t->dtype == TENSOR_F32 && t->rank >= rank - channel_axis;
}

/* Conv or Gemm without a bias, then Add of a constant per channel. */
static int fuse_bias(struct fuser *f, struct node *n, bool *changed)
{
    struct graph *g = f->g;
    struct node *add = follower(f, n);
    const struct value *made = &g->values[n->out[0]];
    const struct tensor *bias;
    struct tensor copy = {.dtype = TENSOR_F32, .rank = 1};
    int axis = node_is(n, "Gemm") ? made->rank - 1 : 1, value, other;
    if (!node_is(add, "Add") || made->rank < 2 || (n->n_in > 2 && n->in[2] != GRAPH_NONE) ||
        n->post.activation != ACT_NONE || n->post.residual != GRAPH_NONE)
        return FL_OK;
    if (node_is(n, "Gemm") && attr_float(n, "beta", 1) != 1)
        return FL_OK;
    other = add->in[0] == n->out[0];
    bias = node_constant(g, add, other);
    if (!bias || !value_same_shape(&g->values[n->out[0]], &g->values[add->out[0]]) ||
        !is_per_channel(bias, made->rank, axis, made->dim[axis].fixed))
        return FL_OK;
    copy.dim[0] = made->dim[axis].fixed;
    if (tensor_alloc(&copy))
        return FL_NOMEM;
    memcpy(copy.data, bias->data, (size_t)tensor_bytes(&copy));
    value = graph_add_constant(g, NULL, &copy);
    if (value < 0 || node_widen_inputs(n, 3))
        return FL_NOMEM;
    n->in[2] = value;
    node_take_over(n, add);
    *changed = true;
    return FL_OK;
}

/* Where the residual goes: after all inputs that the operator itself may have. */
static int fuse_residual(struct fuser *f, struct node *n, bool *changed)
{
    struct graph *g = f->g;
    struct node *add = follower(f, n);
    int other, index;
    if (!node_is(add, "Add") || n->post.activation != ACT_NONE || n->post.residual != GRAPH_NONE ||
        add->in[0] == add->in[1])
        return FL_OK;
    other = add->in[0] == n->out[0] ? add->in[1] : add->in[0];
    if (g->values[other].constant || !value_same_shape(&g->values[other], &g->values[n->out[0]]) ||
        !value_same_shape(&g->values[other], &g->values[add->out[0]]) ||
        g->values[n->out[0]].dtype != TENSOR_F32)
        return FL_OK;
    index = n->op->max_in;
    if (node_widen_inputs(n, index + 1))
        return FL_NOMEM;
    n->in[index] = other;
    n->post.residual = index;
    node_take_over(n, add);
    *changed = true;
    return FL_OK;
}

static bool scalar(const struct graph *g, const struct node *n, int input, float *out)
{
    const struct tensor *t = node_constant(g, n, input);
    if (!t || t->dtype != TENSOR_F32 || tensor_count(t) != 1)
        return false;
    *out = *(const float *)t->data;
    return true;
}

/* The activation that a node by itself is. */
static bool is_activation(const struct graph *g, const struct node *n, struct post *p)
{
    if (!n || !node_activation(n, p))
        return false;
    if (p->activation != ACT_CLIP)
        return true;
    if (n->n_in > 1 && n->in[1] != GRAPH_NONE && !scalar(g, n, 1, &p->alpha))
        return false;
    if (n->n_in > 2 && n->in[2] != GRAPH_NONE && !scalar(g, n, 2, &p->beta))
        return false;
    return p->alpha <= p->beta;
}

static bool can_activate(const struct fuser *f, const struct node *n)
{
    return (node_is(n, "Conv") || node_is(n, "Gemm") || node_is(n, "BatchNormalization")) &&
           n->post.activation == ACT_NONE && f->g->values[n->out[0]].dtype == TENSOR_F32;
}

static void fuse_activation(struct fuser *f, struct node *n, bool *changed)
{
    struct node *after = follower(f, n);
    struct post p = n->post;
    if (!can_activate(f, n) || !is_activation(f->g, after, &p))
        return;
    n->post = p;
    node_take_over(n, after);
    *changed = true;
}

/* x is read twice, by a gate g(x) and by the Mul x * g(x), which alone reads the gate. */
static void fuse_gate(struct fuser *f, struct node *n, bool *changed)
{
    struct graph *g = f->g;
    int x = n->out[0];
    if (!can_activate(f, n) || f->uses[x] != 2 || f->reader[x] == GRAPH_NONE)
        return;
    struct node *mul = &g->nodes[f->reader[x]];
    struct node *gate = NULL;
    struct post p = n->post;
    int other;
    if (!node_is(mul, "Mul") || mul->in[0] == mul->in[1])
        return;
    other = mul->in[0] == x ? mul->in[1] : mul->in[0];
    if (g->values[other].producer == GRAPH_NONE || f->uses[other] != 1 ||
        !value_same_shape(&g->values[other], &g->values[x]))
        return;
    gate = &g->nodes[g->values[other].producer];
    if (!gate->op || !gate->n_in || gate->in[0] != x || !is_activation(g, gate, &p))
        return;
    if (p.activation == ACT_SIGMOID)
        p.activation = ACT_SILU;
    else if (p.activation == ACT_HARD_SIGMOID && fabsf(p.alpha - 1.0f / 6) < 1e-6f && p.beta == 0.5f)
        p.activation = ACT_HARD_SWISH;
    else
        return;
    n->post = p;
    node_release(gate);
    node_take_over(n, mul);
    *changed = true;
}

/* MatMul with constant weights is a Gemm, which can carry a bias and an activation. All dims of its input but
 * the last are its rows. */
static void matmul_to_gemm(const struct graph *g, struct node *n)
{
    const struct tensor *w = node_constant(g, n, 1);
    if (!node_is(n, "MatMul") || !w || w->rank != 2 || w->dtype != TENSOR_F32 ||
        g->values[n->in[0]].rank < 2 || attr_find(n, "transA") || attr_find(n, "transB"))
        return;
    n->op = op_find("Gemm", OPSET_LAST);
    n->opset = OPSET_LAST;
}

static int fuse_node(struct fuser *f, struct node *n, bool *changed)
{
    int code;
    *changed = false;
    if (node_is(n, "BatchNormalization"))
        fuse_activation(f, n, changed);
    if (!node_is(n, "Conv") && !node_is(n, "Gemm"))
        return FL_OK;
    if ((code = fuse_bias(f, n, changed)) || *changed)
        return code;
    fuse_gate(f, n, changed);
    if (!*changed)
        fuse_activation(f, n, changed);
    return *changed ? FL_OK : fuse_residual(f, n, changed);
}

int pass_fuse(struct graph *g, struct error *e)
{
    struct fuser f = {g, NULL, NULL};
    int code = find_readers(&f);
    for (int i = 0; i < g->n_nodes && !code; i++) {
        bool changed = true;
        if (g->nodes[i].op)
            matmul_to_gemm(g, &g->nodes[i]);
        while (changed && !code)
            code = fuse_node(&f, &g->nodes[i], &changed);
    }
    free(f.uses);
    free(f.reader);
    return code ? error_set(e, (enum fl_code)code, "out of memory") : FL_OK;
}
