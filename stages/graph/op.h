/* op.h - the table of operators: for each its opset range, shape inference and plain reference kernel
 *
 * Reference kernels see views: logical dims with element strides, so one kernel serves every physical layout.
 * They are the truth that faster kernels (kernels.h) are tested against. They allocate nothing that outlives
 * the call.
 */
#ifndef FREEZELINE_OP_H
#define FREEZELINE_OP_H

#include "graph.h"

struct view {
    enum tensor_dtype dtype;
    int rank;
    int64_t dim[TENSOR_MAX_RANK];    /* logical, ONNX order */
    int64_t stride[TENSOR_MAX_RANK]; /* in elements; 0 where broadcast */
    void *data;
    /* A float32 value that products may take in a lower type: which, what one step of an integer stands for
     * (1 otherwise), and the integer that 0 is. TENSOR_NONE: none. It lies in float32 or in that type, as
     * dtype says. */
    enum tensor_dtype low;
    float scale;
    int zero;
};

/* The newest operator set whose operators are known here: from 22 to 24 only types were added to those of the
 * table. */
#define OPSET_LAST 24

#define OP_MAX_IO 128 /* inputs (Concat) or outputs (Split) of one node */

/* One invocation. Absent optional inputs have dtype TENSOR_NONE and data NULL. */
struct op_call {
    const struct node *node;
    int64_t opset;
    int n_in, n_out;
    struct view *in;
    struct view *out; /* dims already set by inference */
};

/* What inference sees and fills. in[i].data is NULL unless the input is a known constant (row-major). It sets
 * dtype, rank and dims of out[i]. */
struct op_infer {
    const struct node *node;
    int64_t opset;
    int n_in, n_out;
    struct tensor *in;
    struct tensor *out;
    struct error *error;
};

enum op_flags {
    OP_WEIGHTED = 1,   /* counts as a layer with weights */
    OP_READS_DIMS = 2, /* its output follows from its inputs' dims alone (Shape, Size) */
    OP_SHAPE_ONLY = 4, /* output is input's bytes under other dims (Reshape, Flatten, Squeeze, Unsqueeze,
                          Identity, Dropout) */
    OP_EXPANDED = 8,   /* stands for others, which take its place at load (pass_qlinear.c) */
};

struct op {
    const char *name;
    int first_opset, last_opset;
    int min_in, max_in, min_out, max_out;
    unsigned flags;
    int (*infer)(struct op_infer *i);
    int (*reference)(const struct op_call *c);
};

/* NULL when there is no such operator at that opset. */
const struct op *op_find(const char *name, int64_t opset);

/* Row-major view of a tensor; channels-last view (dims logical NCHW, data NHWC) of a rank-4 tensor. */
struct view view_plain(const struct tensor *t);
struct view view_channels_last(const struct tensor *t);
/* Copies between any two views of the same dims and dtype (layout conversion, transposition). */
void view_copy(const struct view *from, const struct view *to);
/* Applies node->post (residual from in[post.residual], activation) to out in place. */
void post_apply(const struct post *p, const struct view *residual, const struct view *out);

#endif
