/* sizing.c - a graph under one assumption about the batch size */
#include "sizing.h"

#include <stdlib.h>
#include <string.h>

#include "stages/onnx/if_choice.h"
#include "stages/ops/ops.h"

const int64_t sizing_batch[N_SIZINGS] = {2, 3, 5, 1};

static int sizing_new(struct sizing *w, const struct graph *g)
{
    w->value = calloc((size_t)g->n_values + 1, sizeof *w->value);
    w->owned = calloc((size_t)g->n_values + 1, sizeof *w->owned);
    return w->value && w->owned ? FL_OK : FL_NOMEM;
}

void sizing_free(struct sizing *w, const struct graph *g)
{
    for (int i = 0; w->owned && i < g->n_values; i++)
        if (w->owned[i])
            tensor_release(&w->value[i]);
    free(w->value);
    free(w->owned);
}

/* Where requests of one batch are not independent, they must not be put together. */
static bool mixes_requests(const struct graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (node_is(&g->nodes[i], "BatchNormalization") && batch_norm_trains(&g->nodes[i], g->opset))
            return true;
    return false;
}

static bool has_free_input(const struct graph *g, bool ones_too)
{
    for (int i = 0; i < g->n_inputs; i++) {
        const struct value *v = &g->values[g->inputs[i]];
        if (!ones_too && (v->rank == RANK_UNKNOWN || (v->rank > 0 && v->dim[0].fixed == DIM_FREE)))
            return true;
        if (ones_too && v->rank == 4 && v->dim[0].fixed == 1)
            return true;
    }
    return false;
}

bool sizing_may_be_free(const struct graph *g, bool *ones_too)
{
    *ones_too = !has_free_input(g, false);
    return !mixes_requests(g) && (!*ones_too || has_free_input(g, true));
}

static void gather_inputs(const struct node *n, const struct sizing *w, struct tensor *in)
{
    for (int k = 0; k < n->n_in; k++) {
        memset(&in[k], 0, sizeof in[k]);
        if (n->in[k] != GRAPH_NONE)
            in[k] = w->value[n->in[k]];
    }
}

/* May this node be computed now, in this sizing? Only small things, so that inference stays cheap. */
static bool is_known(const struct node *n, const struct tensor *in, const struct tensor *out)
{
    if (n->op->flags & OP_READS_DIMS)
        return true;
    for (int k = 0; k < n->n_in; k++)
        if (in[k].dtype != TENSOR_NONE && !in[k].data)
            return false;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE && tensor_count(&out[k]) > KNOWN_MAX_ELEMENTS)
            return false;
    return node_flops(n, in, out) < 1e6;
}

int sizing_infer_node(const struct node *n, struct sizing *w, struct error *e)
{
    struct tensor in[OP_MAX_IO], out[OP_MAX_IO];
    int code;
    gather_inputs(n, w, in);
    memset(out, 0, (size_t)n->n_out * sizeof *out);
    if ((code = node_infer(n, in, out, e)) || (is_known(n, in, out) && (code = node_evaluate(n, in, out, e))))
        return code;
    for (int k = 0; k < n->n_out; k++)
        if (n->out[k] != GRAPH_NONE) {
            w->value[n->out[k]] = out[k];
            w->owned[n->out[k]] = out[k].data != NULL;
        }
    return FL_OK;
}

int sizing_missing_input(const struct node *n, const struct sizing *w)
{
    for (int k = 0; k < n->n_in; k++)
        if (n->in[k] != GRAPH_NONE && w->value[n->in[k]].dtype == TENSOR_NONE)
            return n->in[k];
    return GRAPH_NONE;
}

/* The outputs of a choice are those of the branch that is taken, if that is known. Its data stays the
 * branch's. */
static void take_branch(const struct node *n, struct sizing *w)
{
    int taken = choice_taken(&w->value[n->in[0]]);
    for (int k = 0; k < n->n_out && taken >= 0; k++)
        if (n->out[k] != GRAPH_NONE)
            w->value[n->out[k]] = w->value[n->in[choice_input(n, taken, k)]];
}

static int infer_in_sizing(const struct graph *g, struct sizing *w, struct error *e)
{
    bool choices = choice_any(g);
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        int code = FL_OK;
        if (n->op == &op_choice)
            take_branch(n, w);
        else if (!choices)
            code = sizing_infer_node(n, w, e);
        else if (sizing_missing_input(n, w) == GRAPH_NONE)
            code = sizing_infer_node(n, w, NULL) == FL_NOMEM ? FL_NOMEM : FL_OK;
        if (code)
            return code;
    }
    return FL_OK;
}

/* Operands that tell an output's shape: an input of the model that stands there must be known at load. */
static const struct {
    const char *op;
    int first, last;
} shape_operands[] = {{"Reshape", 1, 1},    {"Expand", 1, 1},     {"Tile", 1, 1},
                      {"Slice", 1, 4},      {"Pad", 1, 3},        {"Squeeze", 1, 1},
                      {"Split", 1, 1},      {"Unsqueeze", 1, 1},  {"ConstantOfShape", 0, 0},
                      {"Range", 0, 2},      {"Resize", 1, 3},     {"Upsample", 1, 1},
                      {"ReduceMean", 1, 1}, {"ReduceSum", 1, 1},  {"ReduceMax", 1, 1},
                      {"ReduceMin", 1, 1},  {"ReduceProd", 1, 1}, {"Dropout", 2, 2}};

static bool tells_shape(const struct graph *g, int value)
{
    for (int i = 0; i < g->n_nodes; i++)
        for (size_t s = 0; s < sizeof shape_operands / sizeof *shape_operands; s++) {
            if (strcmp(g->nodes[i].op->name, shape_operands[s].op))
                continue;
            for (int k = shape_operands[s].first; k <= shape_operands[s].last && k < g->nodes[i].n_in; k++)
                if (g->nodes[i].in[k] == value)
                    return true;
        }
    return false;
}

/* Gives the inputs that tell shapes, and lists of integers, the values that the caller will feed. They stay
 * his. */
static void know_inputs(const struct graph *g, const struct graph_options *o, struct sizing *w)
{
    for (int i = 0; i < g->n_inputs; i++) {
        struct tensor *t = &w->value[g->inputs[i]];
        const struct tensor *given = given_shape(g, i, o);
        bool list = t->rank <= 1 && !dtype_is_real(t->dtype);
        if (given && given->data && given->dtype == t->dtype && tensor_same_shape(given, t) &&
            tensor_count(t) <= KNOWN_MAX_ELEMENTS && (list || tells_shape(g, g->inputs[i])))
            t->data = given->data;
    }
}

int sizing_run(const struct graph *g, const struct graph_options *o, struct assumption a, struct sizing *w,
               struct error *e)
{
    if (sizing_new(w, g))
        return error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; i < g->n_values; i++)
        if (g->values[i].constant)
            w->value[i] = *g->values[i].constant;
    for (int i = 0; i < g->n_inputs; i++) {
        int code = input_shape(g, i, o, a, &w->value[g->inputs[i]], e);
        if (code)
            return code;
    }
    if (a.values_too)
        know_inputs(g, o, w);
    return infer_in_sizing(g, w, e);
}
