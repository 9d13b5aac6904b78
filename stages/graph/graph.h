/* graph.h - a model in memory: values, nodes, what each node reads and writes
 *
 * Made by graph_load from an ONNX file: parsed, checked, constants folded, fused, shapes inferred. Everything
 * here is logical: dims stand in the order of the ONNX file (NCHW for images). Physical layout is the
 * executor's business. Nodes are in topological order. A loaded graph is read-only and may be shared by
 * threads.
 */
#ifndef FREEZELINE_GRAPH_H
#define FREEZELINE_GRAPH_H

#include "base/error.h"
#include "wire/tensor.h"

#define GRAPH_NONE (-1) /* an optional input that is absent */

struct op; /* op.h */

/* One dim of a value as a function of the batch size n: fixed + per_batch * n. */
struct extent {
    int64_t fixed;
    int64_t per_batch;
};

static inline int64_t extent_at(struct extent e, int64_t batch)
{
    return e.fixed + e.per_batch * batch;
}

struct value {
    char *name;
    enum tensor_dtype dtype;
    int rank;
    struct extent dim[TENSOR_MAX_RANK];
    struct tensor *constant; /* owned; NULL when it is computed or fed */
    int producer;            /* node index, GRAPH_NONE for inputs and constants */
    /* A float32 value that the model itself takes as integers (pass_quantized.c): TENSOR_U8 or TENSOR_I8,
     * x = scale * (integer - zero). Of a constant only that it was made from such. */
    enum tensor_dtype low;
    float scale;
    int zero;
};

enum attr_kind { ATTR_INT, ATTR_FLOAT, ATTR_STRING, ATTR_INTS, ATTR_FLOATS, ATTR_STRINGS, ATTR_TENSOR };

struct attr {
    char *name;
    enum attr_kind kind;
    int64_t i;
    float f;
    char *s;
    int count; /* of ints, floats or strings */
    int64_t *ints;
    float *floats;
    char **strings;
    struct tensor *tensor;
};

/* What a fused node applies to its result, in this order: + residual, then the activation. */
enum activation {
    ACT_NONE,
    ACT_RELU,
    ACT_CLIP,
    ACT_LEAKY_RELU,
    ACT_HARD_SWISH,
    ACT_SIGMOID,
    ACT_HARD_SIGMOID,
    ACT_SILU,
    ACT_TANH,
    ACT_ERF,
    ACT_GELU,
    ACT_GELU_TANH,
    ACT_LAST = ACT_GELU_TANH
};

struct post {
    int residual; /* index into node->in of the value to add (same shape as the output), or GRAPH_NONE */
    enum activation activation;
    float alpha, beta; /* CLIP: low, high. LEAKY_RELU: slope in alpha. HARD_SIGMOID: alpha, beta */
};

struct node {
    char *name;
    const struct op *op;
    /* what the operator's name means: the model's, or that of the function the node comes from */
    int64_t opset;
    int n_in, n_out;
    int *in;  /* value indices, GRAPH_NONE where an optional input is absent */
    int *out; /* likewise */
    int n_attr;
    struct attr *attr;
    struct post post; /* { GRAPH_NONE, ACT_NONE, 0, 0 } unless passes fused something in */
};

struct graph {
    char *path;
    int64_t opset, ir_version;
    char *producer;
    uint8_t digest[16]; /* xxh3-128 of the model file and of its weights outside it: which model this is */
    int n_values, n_nodes, n_inputs, n_outputs;
    struct value *values;
    struct node *nodes;
    int *inputs; /* values that are fed: graph inputs that are not initializers */
    int *outputs;
    bool free_batch; /* dim 0 of the inputs may be any n >= 1; otherwise only n = 1 runs, dims as in the file
                      */
};

struct graph_options {
    bool keep_as_written; /* no fusion, no folding of BatchNormalization: for tests and `run --reference` */
    bool for_writing;     /* nothing but operators of ONNX, BatchNormalization folded: for onnx_write */
    /* Shapes for inputs when the caller knows them, or NULL. They settle sizes that the model leaves free;
     * with a free batch dim 0 stays free all the same. Where data is given too and an operator needs the
     * values of an input to know its output's shape, they are taken from it: the graph then is right for them
     * alone. */
    const struct tensor *shapes;
    const char *const *shape_names; /* the inputs that the shapes are for; NULL, or a NULL entry: the inputs
                                       in the model's order */
    int n_shapes;
    int64_t max_bytes; /* largest model that is read, 0 = 4 GiB */
    /* Is told of each file beside the model that has weights; NULL: nobody is. */
    void (*outside)(void *arg, const char *location, const char *path);
    void *outside_arg;
};

/* Reads, checks and optimises the model. *out is owned by the caller. FL_IO, FL_MODEL, FL_UNSUPPORTED,
 * FL_USAGE when it has no input of that name, FL_NOMEM; the text names the file, node, operator and opset
 * concerned. */
int graph_load(struct graph **out, const char *path, const struct graph_options *options, struct error *e);
/* The same from a model's bytes (external data files are refused). */
int graph_load_bytes(struct graph **out, const void *bytes, size_t size, const struct graph_options *options,
                     struct error *e);
void graph_free(struct graph *g);

/* Attribute access with a default. `attr_find` returns NULL when absent. */
const struct attr *attr_find(const struct node *n, const char *name);
int64_t attr_int(const struct node *n, const char *name, int64_t otherwise);
float attr_float(const struct node *n, const char *name, float otherwise);
const char *attr_string(const struct node *n, const char *name, const char *otherwise);

/* The activation that the node by itself is, with its parameters as far as attributes give them: Clip's
 * bounds may stand in inputs 1 and 2. Sets activation, alpha and beta; false when it is none. */
bool node_activation(const struct node *n, struct post *p);
/* "Relu", "Gelu"; "" for ACT_NONE. */
const char *activation_name(enum activation a);

/* Does the model itself take values as integers, or products while they run ("dynamic")? */
bool graph_is_quantized(const struct graph *g);

/* The concrete shape of a value at a batch size (data NULL, or the constant's). */
struct tensor value_shape(const struct value *v, int64_t batch);

/* Is it an operator of that name ("Conv")? False for NULL. */
bool node_is(const struct node *n, const char *op);

/* Cost of one node at a batch size: 2 x multiply-adds for products, 1 per output element otherwise. */
double graph_node_flops(const struct graph *g, int node, int64_t batch);
int64_t graph_node_parameters(const struct graph *g, int node);

/* A cut is a point where exactly one computed value crosses: the model can be divided there, and it is a
 * possible exit. */
struct cut {
    int node;           /* the last node before the cut; nodes 0..node are before it, node+1.. after it */
    int value;          /* the one value that crosses */
    const char *name;   /* that node's name, owned by the graph */
    int depth;          /* nodes with weights on the longest path from the input up to here */
    double flops_share; /* share of the model's FLOPs up to here */
    bool after_block;   /* the end of a block: a join (residual Add, Concat) or, in plain chains, a pool or
                           activation */
};

/* All cuts strictly inside the model (not after the last node), in order. *out is malloc'ed, freed with
 * free(). */
int graph_cuts(const struct graph *g, struct cut **out, int *n, struct error *e);
int graph_depth(const struct graph *g); /* of the whole model, in the same measure */

#endif
