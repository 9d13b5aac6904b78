/* node_infer.c - one node: its outputs' shapes, or its outputs by the reference kernel */
#include <string.h>

#include "stages/graph/graph_build.h"

int node_infer(const struct node *n, struct tensor *in, struct tensor *out, struct error *e)
{
    struct op_infer call = {n, n->opset, n->n_in, n->n_out, in, out, e};
    int code = n->op->infer(&call);
    if (code)
        return error_wrap(e, (enum fl_code)code, "node '%s' (%s, opset %lld)", n->name, n->op->name,
                          (long long)n->opset);
    for (int i = 0; i < n->n_out; i++) {
        int64_t count = n->out[i] == GRAPH_NONE ? 0 : tensor_count(&out[i]);
        if (count < 0 || count > VALUE_MAX_ELEMENTS)
            return error_set(e, FL_UNSUPPORTED, "node '%s' (%s): its output %d would have an impossible size",
                             n->name, n->op->name, i);
    }
    return FL_OK;
}

static struct view view_of(const struct tensor *t)
{
    struct view none = {.dtype = TENSOR_NONE};
    return t->dtype == TENSOR_NONE ? none : view_plain(t);
}

int node_evaluate(const struct node *n, const struct tensor *in, struct tensor *out, struct error *e)
{
    struct view vin[OP_MAX_IO], vout[OP_MAX_IO];
    struct op_call call = {n, n->opset, n->n_in, n->n_out, vin, vout};
    int code = FL_OK;
    for (int i = 0; i < n->n_in; i++)
        vin[i] = view_of(&in[i]);
    for (int i = 0; i < n->n_out; i++) {
        vout[i].dtype = TENSOR_NONE;
        vout[i].data = NULL;
        if (n->out[i] == GRAPH_NONE)
            continue;
        if (!code)
            code = tensor_alloc(&out[i]);
        vout[i] = view_plain(&out[i]);
    }
    if (!code)
        code = n->op->reference(&call);
    if (!code && (n->post.activation != ACT_NONE || n->post.residual != GRAPH_NONE))
        post_apply(&n->post, n->post.residual == GRAPH_NONE ? NULL : &vin[n->post.residual], &vout[0]);
    if (!code)
        return FL_OK;
    for (int i = 0; i < n->n_out; i++)
        tensor_release(&out[i]);
    return error_set(e, (enum fl_code)code, "node '%s' (%s): %s", n->name, n->op->name, error_sentence(code));
}
