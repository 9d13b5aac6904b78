/* pass_fold.c - compute at load what depends on constants alone
 *
 * The reference kernels do the work. A budget of bytes and floating-point operations, in proportion to the
 * model's size, keeps a small hostile file from asking for much; what is over it stays a node.
 */
#include <string.h>

#include "stages/onnx/if_choice.h"
#include "stages/graph/graph_build.h"

static bool constants_of(const struct graph *g, const struct node *n, struct tensor *in)
{
    for (int k = 0; k < n->n_in; k++) {
        const struct tensor *c = node_constant(g, n, k);
        memset(&in[k], 0, sizeof in[k]);
        if (n->in[k] != GRAPH_NONE && !c)
            return false;
        if (c)
            in[k] = *c;
    }
    return true;
}

static bool makes_output(const struct graph *g, const struct node *n)
{
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE && graph_is_output(g, n->out[k]))
            return true;
    return false;
}

static bool afford(struct fold_budget *b, const struct node *n, const struct tensor *in,
                   const struct tensor *out)
{
    double flops = node_flops(n, in, out);
    int64_t bytes = 0;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE)
            bytes += tensor_bytes(&out[k]);
    if (bytes > b->bytes || flops > b->flops)
        return false;
    b->bytes -= bytes;
    b->flops -= flops;
    return true;
}

/* Were the node's constant numbers integers of 8 bits in the file, and are they only moved since? */
static bool stands_for_integers(const struct graph *g, const struct node *n)
{
    const struct value *v = n->n_in && n->in[0] != GRAPH_NONE ? &g->values[n->in[0]] : NULL;
    if (node_is(n, "DequantizeLinear"))
        return v->dtype == TENSOR_I8 || v->dtype == TENSOR_U8;
    return v && v->low != TENSOR_NONE && (node_is(n, "Transpose") || (n->op->flags & OP_SHAPE_ONLY));
}

/* `tolerant`: a node that fails may lie in a branch that is not taken; it stays, and fails again if its
 * result is needed. */
static int fold_node(struct graph *g, struct node *n, struct fold_budget *budget, bool tolerant,
                     struct error *e)
{
    struct tensor in[OP_MAX_IO], out[OP_MAX_IO];
    int code = FL_OK;
    if (n->op == &op_choice || makes_output(g, n) || !constants_of(g, n, in))
        return FL_OK;
    memset(out, 0, (size_t)n->n_out * sizeof *out);
    if ((code = node_infer(n, in, out, tolerant ? NULL : e)))
        return tolerant && code != FL_NOMEM ? FL_OK : code;
    if (!afford(budget, n, in, out))
        return FL_OK;
    if ((code = node_evaluate(n, in, out, tolerant ? NULL : e)))
        return tolerant && code != FL_NOMEM ? FL_OK : code;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE && value_set_constant(&g->values[n->out[k]], &out[k]))
            code = error_set(e, FL_NOMEM, "out of memory");
    if (!code && stands_for_integers(g, n))
        g->values[n->out[0]].low = TENSOR_I8;
    node_release(n);
    return code;
}

int pass_fold(struct graph *g, struct fold_budget *budget, struct error *e)
{
    bool tolerant = choice_any(g);
    for (int i = 0; i < g->n_nodes; i++) {
        int code = fold_node(g, &g->nodes[i], budget, tolerant, e);
        if (code)
            return code;
    }
    return graph_sort(g, e);
}
