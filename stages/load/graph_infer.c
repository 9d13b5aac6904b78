/* graph_infer.c - shapes of all values as functions of the batch size
 *
 * The graph is inferred in several sizings that differ in the batch size alone (2, 3 and 5). In each, values
 * that follow from shapes (Shape, Gather, Concat, ... as exporters write them) are computed by the reference
 * kernels, so Reshape and its like see concrete numbers. A dim is then fixed + per_batch * n from the first
 * two sizings, and the third must agree. What is the same in every sizing becomes a constant; what differs
 * was needed for inference only. Where a model does not infer with a free batch (its batch size is baked in),
 * it is inferred once, as written.
 */
#include <stdlib.h>
#include <string.h>

#include "sizing.h"

static struct extent extent_between(int64_t at2, int64_t at3)
{
    return (struct extent){at2 - 2 * (at3 - at2), at3 - at2};
}

/* Do n sizings agree on one rank, one dtype and linear dims for value i? */
static bool is_linear(const struct sizing *w, int n, int i)
{
    const struct tensor *a = &w[0].value[i], *b = &w[1].value[i];
    for (int k = 1; k < n; k++)
        if (w[k].value[i].rank != a->rank || w[k].value[i].dtype != a->dtype)
            return false;
    for (int d = 0; d < a->rank; d++) {
        struct extent x = extent_between(a->dim[d], b->dim[d]);
        if (extent_at(x, 1) < 0)
            return false;
        for (int k = 2; k < n; k++)
            if (extent_at(x, sizing_batch[k]) != w[k].value[i].dim[d])
                return false;
    }
    return true;
}

static bool is_batched(const struct sizing *w, int i)
{
    const struct tensor *a = &w[0].value[i], *b = &w[1].value[i];
    struct extent first = a->rank ? extent_between(a->dim[0], b->dim[0]) : (struct extent){1, 0};
    if (first.fixed || first.per_batch <= 0)
        return false;
    for (int k = 1; k < a->rank; k++)
        if (a->dim[k] != b->dim[k])
            return false;
    return true;
}

/* Is it right to call the batch free? Outputs must carry it as dim 0. Where the file itself says 1 and only
 * we guess that it could be more (`ones_too`), every value that is computed from data must, so that no
 * request mixes with another. */
static bool sizings_agree(const struct graph *g, const struct sizing *w, bool ones_too)
{
    for (int i = 0; i < g->n_values; i++)
        if (!g->values[i].constant && w[0].value[i].dtype != TENSOR_NONE) {
            if (!is_linear(w, ones_too ? N_SIZINGS : N_SIZINGS - 1, i))
                return false;
            if (ones_too && !w[0].value[i].data && !is_batched(w, i))
                return false;
        }
    for (int i = 0; i < g->n_outputs; i++)
        if (ones_too && !is_batched(w, g->outputs[i]))
            return false;
    return true;
}

static void take_shapes(struct graph *g, const struct sizing *w, int n_sizings)
{
    for (int i = 0; i < g->n_values; i++) {
        struct value *v = &g->values[i];
        const struct tensor *t = &w[0].value[i];
        if (v->constant)
            continue;
        v->dtype = t->dtype;
        v->rank = t->rank;
        for (int k = 0; k < t->rank; k++)
            v->dim[k] = n_sizings == 1 ? (struct extent){t->dim[k], 0}
                                       : extent_between(t->dim[k], w[1].value[i].dim[k]);
    }
}

static bool same_everywhere(const struct sizing *w, int n_sizings, int i)
{
    for (int k = 0; k < n_sizings; k++) {
        const struct tensor *a = &w[0].value[i], *b = &w[k].value[i];
        if (!a->data || !b->data || !tensor_same_shape(a, b) || a->dtype != b->dtype ||
            memcmp(a->data, b->data, (size_t)tensor_bytes(a)))
            return false;
    }
    return true;
}

/* All outputs of a node that are the same in all sizings may become constants; those of the model are made by
 * nodes. */
static bool is_constant(const struct graph *g, const struct node *n, const struct sizing *w, int n_sizings)
{
    for (int k = 0; k < n->n_out; k++) {
        int v = n->out[k];
        if (v != GRAPH_NONE && (graph_is_output(g, v) || !w[0].owned[v] || !same_everywhere(w, n_sizings, v)))
            return false;
    }
    return true;
}

static int take_constants(struct graph *g, struct sizing *w, int n_sizings, struct error *e)
{
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = &g->nodes[i];
        if (!is_constant(g, n, w, n_sizings))
            continue;
        for (int k = 0; k < n->n_out; k++) {
            int v = n->out[k];
            if (v == GRAPH_NONE)
                continue;
            w[0].owned[v] = false;
            if (value_set_constant(&g->values[v], &w[0].value[v]))
                return error_set(e, FL_NOMEM, "out of memory");
        }
        node_release(n);
    }
    return FL_OK;
}

/* Inputs that only told a shape are not needed once the shape is known, so that what computes them dies. */
static void drop_shape_inputs(struct graph *g)
{
    static const struct {
        const char *op;
        int input;
    } shape_inputs[] = {{"Reshape", 1}, {"Expand", 1}, {"ConstantOfShape", 0}, {"Resize", 3}};
    for (int i = 0; i < g->n_nodes; i++)
        for (size_t k = 0; k < sizeof shape_inputs / sizeof *shape_inputs; k++)
            if (g->nodes[i].op && !strcmp(g->nodes[i].op->name, shape_inputs[k].op) &&
                shape_inputs[k].input < g->nodes[i].n_in)
                g->nodes[i].in[shape_inputs[k].input] = GRAPH_NONE;
}

/* Infers in all sizings, or as written when a.batch is 0. FL_AGAIN: this does not work with a free batch. */
static int infer_sizings(struct graph *g, const struct graph_options *o, struct assumption a, struct error *e)
{
    struct sizing w[N_SIZINGS] = {{NULL, NULL}};
    bool is_free = a.batch != 0;
    int n = is_free ? N_SIZINGS - !a.ones_too : 1, code = FL_OK;
    for (int k = 0; k < n && !code; k++) {
        a.batch = is_free ? sizing_batch[k] : 0;
        code = sizing_run(g, o, a, &w[k], e);
    }
    if (is_free && ((code && code != FL_NOMEM) || (!code && !sizings_agree(g, w, a.ones_too))))
        code = FL_AGAIN;
    if (!code) {
        g->free_batch = is_free;
        take_shapes(g, w, n);
        code = take_constants(g, w, n, e);
    }
    for (int k = 0; k < n; k++)
        sizing_free(&w[k], g);
    return code;
}

int graph_infer(struct graph *g, const struct graph_options *o, bool pinned, struct error *e)
{
    struct assumption a = {0, false, false};
    bool ones_too, is_free = sizing_may_be_free(g, &ones_too) && !pinned;
    int code = check_shape_names(g, o, e);
    if (code)
        return code;
    code = FL_AGAIN;
    for (int values = 0; values <= (o && o->shapes ? 1 : 0) && (code == FL_AGAIN || code == FL_UNSUPPORTED);
         values++) {
        a = (struct assumption){1, ones_too, values != 0};
        code = is_free ? infer_sizings(g, o, a, e) : FL_AGAIN;
        a.batch = 0;
        a.ones_too = false;
        if (code == FL_AGAIN)
            code = infer_sizings(g, o, a, e);
    }
    if (code)
        return code;
    if (!(o && o->for_writing))
        drop_shape_inputs(g);
    return FL_OK;
}
