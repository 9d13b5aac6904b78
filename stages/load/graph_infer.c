/* graph_infer.c - shapes of all values as functions of the batch size
 *
 * The graph is inferred in several worlds that differ in the batch size alone (2, 3 and 5). In each, values
 * that follow from shapes (Shape, Gather, Concat, ... as exporters write them) are computed by the reference
 * kernels, so Reshape and its like see concrete numbers. A dim is then fixed + per_batch * n from the first
 * two worlds, and the third must agree. What is the same in every world becomes a constant; what differs was
 * needed for inference only. Where a model does not infer with a free batch (its batch size is baked in), it
 * is inferred once, as written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"
#include "stages/ops/ops.h"

#define KNOWN_MAX_ELEMENTS 4096 /* of a value that is computed from shapes */
#define N_WORLDS           4

/* The last one only where the file fixes the batch at 1 and we guess that it is free: there it must mean the
 * same. */
static const int64_t world_batch[N_WORLDS] = {2, 3, 5, 1};

/* One assumption about the batch size; value[i].data is owned unless the value is a constant of the graph. */
struct world {
    struct tensor *value;
    bool *owned;
};

static int world_new(struct world *w, const struct graph *g)
{
    w->value = calloc((size_t)g->n_values + 1, sizeof *w->value);
    w->owned = calloc((size_t)g->n_values + 1, sizeof *w->owned);
    return w->value && w->owned ? FL_OK : FL_NOMEM;
}

static void world_free(struct world *w, const struct graph *g)
{
    for (int i = 0; w->owned && i < g->n_values; i++)
        if (w->owned[i])
            tensor_release(&w->value[i]);
    free(w->value);
    free(w->owned);
}

int node_infer(const struct graph *g, const struct node *n, struct tensor *in, struct tensor *out,
               struct error *e)
{
    struct op_infer call = {n, g->opset, n->n_in, n->n_out, in, out, e};
    int code = n->op->infer(&call);
    if (code)
        return error_wrap(e, (enum fl_code)code, "node '%s' (%s, opset %lld)", n->name, n->op->name,
                          (long long)g->opset);
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

int node_evaluate(const struct graph *g, const struct node *n, const struct tensor *in, struct tensor *out,
                  struct error *e)
{
    struct view vin[OP_MAX_IO], vout[OP_MAX_IO];
    struct op_call call = {n, g->opset, n->n_in, n->n_out, vin, vout};
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

static void gather_inputs(const struct node *n, const struct world *w, struct tensor *in)
{
    for (int k = 0; k < n->n_in; k++) {
        memset(&in[k], 0, sizeof in[k]);
        if (n->in[k] != GRAPH_NONE)
            in[k] = w->value[n->in[k]];
    }
}

/* May this node be computed now, in this world? Only small things, so that inference stays cheap. */
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

static int infer_in_world(const struct graph *g, struct world *w, struct error *e)
{
    struct tensor in[OP_MAX_IO], out[OP_MAX_IO];
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        int code;
        gather_inputs(n, w, in);
        memset(out, 0, (size_t)n->n_out * sizeof *out);
        code = node_infer(g, n, in, out, e);
        if (code)
            return code;
        if (is_known(n, in, out) && (code = node_evaluate(g, n, in, out, e)))
            return code;
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k] != GRAPH_NONE) {
                w->value[n->out[k]] = out[k];
                w->owned[n->out[k]] = out[k].data != NULL;
            }
    }
    return FL_OK;
}

static const char *shape_name(const struct graph_options *o, int k)
{
    return o->shape_names ? o->shape_names[k] : NULL;
}

/* The shape that the caller gives for input i, by its name or by its place among those without one; or NULL.
 */
static const struct tensor *given_shape(const struct graph *g, int i, const struct graph_options *o)
{
    int place = 0;
    for (int k = 0; o && o->shapes && k < o->n_shapes; k++) {
        const char *name = shape_name(o, k);
        if (name ? !strcmp(name, g->values[g->inputs[i]].name) : place++ == i)
            return &o->shapes[k];
    }
    return NULL;
}

/* Every shape that is given by name must be an input's. */
static int check_shape_names(const struct graph *g, const struct graph_options *o, struct error *e)
{
    for (int k = 0; o && o->shapes && k < o->n_shapes; k++) {
        const char *name = shape_name(o, k);
        int i = 0;
        while (name && i < g->n_inputs && strcmp(name, g->values[g->inputs[i]].name))
            i++;
        if (name && i == g->n_inputs)
            return error_set(e, FL_USAGE, "the model has no input '%.100s'%s%.100s", name,
                             g->n_inputs ? "; its first is " : "",
                             g->n_inputs ? g->values[g->inputs[0]].name : "");
    }
    return FL_OK;
}

/* FL_UNSUPPORTED, with what to write: the sizes that the model fixes, and likely ones for the others. */
static int shape_is_missing(const struct value *v, struct error *e)
{
    static const int64_t picture[4] = {1, 3, 224, 224};
    int rank = v->rank == RANK_UNKNOWN ? 4 : v->rank, n = 0, m = 0;
    char with_x[160] = "", with_commas[160] = "";
    for (int k = 0; k < rank; k++) {
        int64_t dim = v->rank == RANK_UNKNOWN || v->dim[k].fixed == DIM_FREE ? (rank == 4 ? picture[k]
                                                                                : k       ? 128
                                                                                          : 1)
                                                                             : v->dim[k].fixed;
        n += snprintf(with_x + n, sizeof with_x - (size_t)n, "%s%lld", k ? "x" : "", (long long)dim);
        m += snprintf(with_commas + m, sizeof with_commas - (size_t)m, "%s%lld", k ? ", " : "",
                      (long long)dim);
    }
    return error_set(
        e, FL_UNSUPPORTED,
        "input '%.60s' has sizes that the model leaves open, beyond the batch: give them, such as "
        "--shape %.60s=%s, or in a pipeline file `input: {shape: [%s]}`",
        v->name, v->name, with_x, with_commas);
}

/* The shape to assume for input i: given by the caller or declared. `batch` 0: as written. */
static int input_shape(const struct graph *g, int i, const struct graph_options *o, int64_t batch,
                       bool ones_too, struct tensor *out, struct error *e)
{
    const struct value *v = &g->values[g->inputs[i]];
    const struct tensor *given = given_shape(g, i, o);
    struct tensor t = {.dtype = v->dtype, .rank = v->rank == RANK_UNKNOWN && given ? given->rank : v->rank};
    bool free_first = t.rank > 0 && (v->rank == RANK_UNKNOWN || v->dim[0].fixed == DIM_FREE ||
                                     (ones_too && v->dim[0].fixed == 1 && t.rank == 4));
    if (t.rank == RANK_UNKNOWN)
        return shape_is_missing(v, e);
    if (given && given->rank != t.rank)
        return error_set(e, FL_SHAPE, "input '%s' has %d dims, the shape that is given for it %d", v->name,
                         t.rank, given->rank);
    for (int k = 0; k < t.rank; k++) {
        int64_t declared = v->rank == RANK_UNKNOWN ? DIM_FREE : v->dim[k].fixed;
        t.dim[k] = declared != DIM_FREE ? declared : given ? given->dim[k] : k == 0 ? 1 : DIM_FREE;
        if (k == 0 && free_first && batch)
            t.dim[0] = batch;
        else if (t.dim[k] == DIM_FREE)
            return shape_is_missing(v, e);
        else if (given && given->dim[k] != t.dim[k] && !(k == 0 && free_first))
            return error_set(e, FL_SHAPE, "input '%s': dim %d is %lld, the model wants %lld", v->name, k,
                             (long long)given->dim[k], (long long)t.dim[k]);
    }
    if (tensor_count(&t) < 0 || tensor_count(&t) > VALUE_MAX_ELEMENTS)
        return error_set(e, FL_UNSUPPORTED, "input '%s' is declared with an impossible size", v->name);
    *out = t;
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
static void know_inputs(const struct graph *g, const struct graph_options *o, struct world *w)
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

/* What is assumed: `batch` (0: as written), whether a dim 0 of 1 is free too, whether values of inputs are
 * known. */
struct assumption {
    int64_t batch;
    bool ones_too, values_too;
};

static int run_world(const struct graph *g, const struct graph_options *o, struct assumption a,
                     struct world *w, struct error *e)
{
    if (world_new(w, g))
        return error_set(e, FL_NOMEM, "out of memory");
    for (int i = 0; i < g->n_values; i++)
        if (g->values[i].constant)
            w->value[i] = *g->values[i].constant;
    for (int i = 0; i < g->n_inputs; i++) {
        int code = input_shape(g, i, o, a.batch, a.ones_too, &w->value[g->inputs[i]], e);
        if (code)
            return code;
    }
    if (a.values_too)
        know_inputs(g, o, w);
    return infer_in_world(g, w, e);
}

static struct extent extent_between(int64_t at2, int64_t at3)
{
    return (struct extent){at2 - 2 * (at3 - at2), at3 - at2};
}

/* Do n worlds agree on one rank, one dtype and linear dims for value i? */
static bool is_linear(const struct world *w, int n, int i)
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
            if (extent_at(x, world_batch[k]) != w[k].value[i].dim[d])
                return false;
    }
    return true;
}

static bool is_batched(const struct world *w, int i)
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
static bool worlds_agree(const struct graph *g, const struct world *w, bool ones_too)
{
    for (int i = 0; i < g->n_values; i++)
        if (!g->values[i].constant && w[0].value[i].dtype != TENSOR_NONE) {
            if (!is_linear(w, ones_too ? N_WORLDS : N_WORLDS - 1, i))
                return false;
            if (ones_too && !w[0].value[i].data && !is_batched(w, i))
                return false;
        }
    for (int i = 0; i < g->n_outputs; i++)
        if (ones_too && !is_batched(w, g->outputs[i]))
            return false;
    return true;
}

static void take_shapes(struct graph *g, const struct world *w, int n_worlds)
{
    for (int i = 0; i < g->n_values; i++) {
        struct value *v = &g->values[i];
        const struct tensor *t = &w[0].value[i];
        if (v->constant)
            continue;
        v->dtype = t->dtype;
        v->rank = t->rank;
        for (int k = 0; k < t->rank; k++)
            v->dim[k] = n_worlds == 1 ? (struct extent){t->dim[k], 0}
                                      : extent_between(t->dim[k], w[1].value[i].dim[k]);
    }
}

static bool same_everywhere(const struct world *w, int n_worlds, int i)
{
    for (int k = 0; k < n_worlds; k++) {
        const struct tensor *a = &w[0].value[i], *b = &w[k].value[i];
        if (!a->data || !b->data || !tensor_same_shape(a, b) || a->dtype != b->dtype ||
            memcmp(a->data, b->data, (size_t)tensor_bytes(a)))
            return false;
    }
    return true;
}

/* All outputs of a node that are the same in all worlds may become constants; those of the model are made by
 * nodes. */
static bool is_constant(const struct graph *g, const struct node *n, const struct world *w, int n_worlds)
{
    for (int k = 0; k < n->n_out; k++) {
        int v = n->out[k];
        if (v != GRAPH_NONE && (graph_is_output(g, v) || !w[0].owned[v] || !same_everywhere(w, n_worlds, v)))
            return false;
    }
    return true;
}

static int take_constants(struct graph *g, struct world *w, int n_worlds, struct error *e)
{
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = &g->nodes[i];
        if (!is_constant(g, n, w, n_worlds))
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

/* Where requests of one batch are not independent, they must not be put together. */
static bool mixes_requests(const struct graph *g)
{
    for (int i = 0; i < g->n_nodes; i++)
        if (!strcmp(g->nodes[i].op->name, "BatchNormalization") && batch_norm_trains(&g->nodes[i], g->opset))
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

/* Infers in all worlds, or as written when a.batch is 0. FL_AGAIN: this does not work with a free batch. */
static int infer_worlds(struct graph *g, const struct graph_options *o, struct assumption a, struct error *e)
{
    struct world w[N_WORLDS] = {{NULL, NULL}};
    bool is_free = a.batch != 0;
    int n = is_free ? N_WORLDS - !a.ones_too : 1, code = FL_OK;
    for (int k = 0; k < n && !code; k++) {
        a.batch = is_free ? world_batch[k] : 0;
        code = run_world(g, o, a, &w[k], e);
    }
    if (is_free && ((code && code != FL_NOMEM) || (!code && !worlds_agree(g, w, a.ones_too))))
        code = FL_AGAIN;
    if (!code) {
        g->free_batch = is_free;
        take_shapes(g, w, n);
        code = take_constants(g, w, n, e);
    }
    for (int k = 0; k < n; k++)
        world_free(&w[k], g);
    return code;
}

int graph_infer(struct graph *g, const struct graph_options *o, struct error *e)
{
    struct assumption a = {0, false, false};
    bool free_first = !mixes_requests(g) && has_free_input(g, false);
    bool free_ones = !mixes_requests(g) && !free_first && has_free_input(g, true);
    int code = check_shape_names(g, o, e);
    if (code)
        return code;
    code = FL_AGAIN;
    for (int values = 0; values <= (o && o->shapes ? 1 : 0) && (code == FL_AGAIN || code == FL_UNSUPPORTED);
         values++) {
        a = (struct assumption){1, free_ones, values != 0};
        code = free_first || free_ones ? infer_worlds(g, o, a, e) : FL_AGAIN;
        a.batch = 0;
        a.ones_too = false;
        if (code == FL_AGAIN)
            code = infer_worlds(g, o, a, e);
    }
    if (code)
        return code;
    drop_shape_inputs(g);
    return FL_OK;
}
