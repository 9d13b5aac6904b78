/* kernels.h - the table of kernels: ways to run one node, each tested against the operator's reference
 *
 * A kernel is offered a node as a `struct kernel_task`: views of its inputs and outputs at max_batch, data
 * set only for constants. Images that are computed (rank 4) are channels-last, everything else is row-major.
 * Kernels keep what they pack in a state of their own; a run allocates nothing.
 */
#ifndef FREEZELINE_KERNELS_H
#define FREEZELINE_KERNELS_H

#include "engine.h"
#include "stages/graph/op.h"
#include "stages/simd/team.h"
#include "stages/ops/ops.h"
#include "stages/simd/weights.h"

enum kernel_family {
    KERNEL_PLAIN = 1,    /* our own loops, in every mode but reference */
    KERNEL_OPENBLAS = 2, /* the products are OpenBLAS's */
    KERNEL_ONEDNN = 4,
    KERNEL_NATIVE = 8, /* our own products, on vector units */
    KERNEL_REFERENCE = 16,
    KERNEL_LOW = 32, /* computes in, or between, lower types */
};

/* One node at load. Filled by the executor; prepare sets what follows `max_batch`. */
struct kernel_task {
    struct op_call call; /* views at max_batch */
    int max_batch, threads;
    struct weights *weights; /* where packed constants go */
    size_t scratch_bytes;    /* needed during a run, at max_batch */
    /* bit i: input i is a constant that was packed and is not needed any more */
    uint64_t packed[OP_MAX_IO / 64];
    int alias; /* input whose storage output 0 may take over when nobody needs it later; or GRAPH_NONE */
};

/* What a run may use beside the call. */
struct kernel_run {
    void *scratch; /* 64-byte aligned */
    struct team *team;
};

struct kernel {
    const char *name; /* as in profiles */
    enum kernel_family family;
    bool (*accepts)(const struct kernel_task *t);
    /* *state is owned by the caller and freed with release. NULL: no state. FL_NOMEM, FL_UNSUPPORTED (on to
     * the next). No function: nothing to prepare. */
    int (*prepare)(struct kernel_task *t, void **state);
    /* Views are at the batch of this run. Safe for one thread at a time per state. */
    int (*run)(void *state, const struct op_call *c, const struct kernel_run *r);
    void (*release)(void *state);
};

/* All kernels, best guess first, ended by one whose name is NULL. The last real one is the reference. */
const struct kernel *const *kernel_table(void);
const struct kernel *kernel_find(const char *name); /* the first of this name, or NULL */
unsigned kernel_families(enum exec_kernels mode);

/* Does it lie in its lower type? */
static inline bool view_is_low(const struct view *v)
{
    return v->low != TENSOR_NONE && v->dtype == v->low;
}

/* Layout tests; dims of 1 make both true. */
bool view_is_plain(const struct view *v);
bool view_is_channels_last(const struct view *v);
/* A computed float32 value, channels-last when of rank 4. */
bool view_is_activation(const struct view *v);
/* The same, but pixels of rank 4 may lie further apart than their channels: in a Concat's result. */
bool view_is_pitched_activation(const struct view *v);
/* Floats from a pixel to the next. */
int64_t view_pitch(const struct view *v);
/* float32, and in one of the two orders. */
bool view_is_dense(const struct view *v);
/* Two views of the same dims whose numbers lie in the same order, row-major or channels-last. */
bool views_in_one_order(const struct view *a, const struct view *b);

static inline void kernel_mark_packed(struct kernel_task *t, int input)
{
    t->packed[input / 64] |= 1ull << (input % 64);
}

/* No residual is added; nothing at all is done after the operator. */
bool post_adds_nothing(const struct op_call *c);
bool post_is_nothing(const struct op_call *c);
/* The node's activation on the n floats of its result, when it has one. */
void post_activate(const struct post *p, float *y, int64_t n);

/* Can a MatMul of computed values read a matrix that lies so, or write one? */
bool matmul_reads(const struct view *v);
bool matmul_writes(const struct view *v);

/* A convolution's or pool's window over channels-last images, all padding resolved. */
struct window2d {
    int64_t n, ih, iw, ic, oh, ow, oc;
    int64_t kh, kw, sh, sw, dh, dw, top, left, bottom, right;
    int64_t groups;
    int64_t ip, op; /* floats from a pixel to the next: ic and oc, or more where pixels may be pitched */
};

/* From views and attributes; false when the node is not a 2-D window over activations. */
bool window_of_conv(struct window2d *w, const struct op_call *c);
bool window_of_pitched_conv(struct window2d *w, const struct op_call *c);
/* The same where activations may lie in a lower type. */
bool window_of_low_conv(struct window2d *w, const struct op_call *c);
bool window_of_pitched_pool(struct window2d *w, const struct op_call *c);
/* Of a convolution or product: weights and bias are packed, and the result may take the residual's place. */
void kernel_packs_constants(struct kernel_task *t);
/* A copy of the convolution's bias among the weights, zeros where it has none. NULL without memory. */
float *conv_bias(struct kernel_task *t, int64_t channels);

/* A Gemm or MatMul as one product: y[m][n] = alpha * a[m][k] * b[k][n] + beta * c. */
struct product {
    int64_t m, k, n;
    bool trans_a, trans_b;
    float alpha, beta;
    const float *b;    /* when constant, else NULL */
    int c_view;        /* input that is c, or 0 */
    const float *bias; /* c when it is a constant of n elements or one; else NULL */
    bool bias_is_scalar;
};

/* False unless all is float32 and row-major, and the batch dims (MatMul) are all on the left. */
bool product_of(struct product *p, const struct op_call *c);
/* The same where what is computed may lie in a lower type. */
bool product_of_low(struct product *p, const struct op_call *c);

#endif
