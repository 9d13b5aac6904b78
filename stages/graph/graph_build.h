/* graph_build.h - what the importer and the passes share while a graph is still being changed
 *
 * Order in graph_load: import, sort, expand, fold, choose, infer, passes, sort, sweep. Until inference the
 * dims of inputs stand in value.dim[].fixed as declared, DIM_FREE where the file leaves them open, and rank
 * is RANK_UNKNOWN where no shape is declared. A node whose op is NULL is dead; graph_sort drops it. Values
 * are only ever added at the end, so indices stay valid until graph_sort and graph_sweep.
 */
#ifndef FREEZELINE_GRAPH_BUILD_H
#define FREEZELINE_GRAPH_BUILD_H

#include "graph.h"
#include "op.h"

#define DIM_FREE     (-1)
#define RANK_UNKNOWN (-1)

/* Most elements that one value may have, at batch 1: beyond it the model is refused. */
#define VALUE_MAX_ELEMENTS ((int64_t)1 << 31)

/* What folding may spend, so that a small file cannot ask for much memory or time. */
struct external_files; /* onnx_external.h */

struct fold_budget {
    int64_t bytes;
    double flops;
};

/* Fills g from the bytes of a model. `files` reads external data, NULL refuses it. */
int onnx_import(struct graph *g, const void *bytes, size_t size, struct external_files *files,
                struct error *e);

/* Index of a new value (name copied; NULL makes one up), or -1 when memory is out. */
int graph_add_value(struct graph *g, const char *name);
/* Index of a new constant value that takes t's data; -1 when memory is out (t is released then). */
int graph_add_constant(struct graph *g, const char *name, struct tensor *t);
/* Makes v a constant that takes t's data. FL_NOMEM (t is released then). */
int value_set_constant(struct value *v, struct tensor *t);
/* Index of a new node with no attributes, all ins and outs GRAPH_NONE; -1 when memory is out. */
int graph_add_node(struct graph *g, const char *name, const struct op *op, int n_in, int n_out);
void node_release(struct node *n); /* frees what it owns and marks it dead */
void value_release(struct value *v);
/* n makes from now on what `after` made, under its name, so that the point behind them keeps its name. */
void node_take_over(struct node *n, struct node *after);
bool value_same_shape(const struct value *a, const struct value *b); /* and dtype */
/* The node that makes the value, or NULL. */
struct node *graph_producer(const struct graph *g, int value);
/* Makes node->in at least n long, filled up with GRAPH_NONE. FL_NOMEM. */
int node_widen_inputs(struct node *n, int n_in);
/* The attribute of that name, made when it is not there. NULL when memory is out. */
struct attr *node_attribute(struct node *n, const char *name, enum attr_kind kind);

/* Readers of each value; a graph output counts as one reader. malloc'ed, n_values long. NULL when memory is
 * out. */
int *graph_count_uses(const struct graph *g);
bool graph_is_output(const struct graph *g, int value);
bool graph_is_input(const struct graph *g, int value);
/* Is one of the values that it makes marked in `needed`, by value? */
bool node_makes_needed(const struct node *n, const unsigned char *needed);
/* The constant that input k of a node is, or NULL. */
const struct tensor *node_constant(const struct graph *g, const struct node *n, int k);

/* Drops dead nodes, orders the rest topologically (stable), sets producers. FL_MODEL names a node of a cycle.
 */
int graph_sort(struct graph *g, struct error *e);
/* Removes nodes that no output depends on, and values that nothing mentions. Call graph_sort before.
 * FL_NOMEM. */
int graph_sweep(struct graph *g, struct error *e);

/* Runs one node's inference on tensors; wraps errors with the node's name. in/out as in struct op_infer. */
int node_infer(const struct node *n, struct tensor *in, struct tensor *out, struct error *e);
/* Runs a node's reference kernel on row-major tensors whose out dims are set; allocates out data. The caller
 * owns it. */
int node_evaluate(const struct node *n, const struct tensor *in, struct tensor *out, struct error *e);
/* Work of a node whose shapes are known, in the measure of graph_node_flops. */
double node_flops(const struct node *n, const struct tensor *in, const struct tensor *out);

/* Replaces nodes whose inputs are all constant by constants. */
int pass_fold(struct graph *g, struct fold_budget *budget, struct error *e);
/* Sets dtype and dims of every value; finds out whether the batch is free (`pinned`: it is not); folds what
 * only shapes decide. */
int graph_infer(struct graph *g, const struct graph_options *o, bool pinned, struct error *e);

/* QLinearConv and its like as operators on numbers between DequantizeLinear and QuantizeLinear. */
int pass_qlinear(struct graph *g, struct error *e);
/* Pairs of these become a mark on the value that they round. */
int pass_quantized(struct graph *g, struct error *e);
/* Products of integers that are made while the model runs, as products of numbers. */
int pass_dynamic(struct graph *g, struct error *e);
int pass_identity(struct graph *g,
                  struct error *e); /* Identity, Dropout, and casts and reshapes that change nothing */
int pass_norm(struct graph *g, struct error *e); /* BatchNormalization into the Conv before it */
int pass_pad(struct graph *g, struct error *e);  /* zero Pad into the Conv after it */
int pass_patterns(struct graph *g,
                  struct error *e);              /* LayerNormalization and Gelu that are written in parts */
int pass_fuse(struct graph *g, struct error *e); /* bias, residual and activation into Conv and Gemm */

#endif
