/* ops.h - what the files that implement operators (ops_*.c) share
 *
 * Inference functions check ranks, dims and dtypes and return FL_MODEL or FL_UNSUPPORTED with one line (the
 * caller adds the node's name). Reference kernels may rely on what inference checked, but not on the values
 * in data inputs.
 */
#ifndef FREEZELINE_OPS_H
#define FREEZELINE_OPS_H

#include "stages/graph/op.h"

#define SPATIAL_MAX (TENSOR_MAX_RANK - 2)

/* Steps through views of the same dims together (views with stride 0 repeat). The caller loops over `inner`
 * elements: element i of view k is at off[k] + i * step[k]. for (bool more = walk_start(&w, ...); more; more
 * = walk_next(&w)) */
struct walk {
    int n, rank;
    int64_t dim[TENSOR_MAX_RANK], index[TENSOR_MAX_RANK];
    int64_t stride[4][TENSOR_MAX_RANK];
    int64_t off[4], step[4], inner;
};

/* Row-major order of the logical dims. False when there are no elements. All views have the dims of the
 * first. */
bool walk_start(struct walk *w, int n, const struct view *const *views);
/* Any order: dims are sorted by the first view's strides and merged, for speed. */
bool walk_start_any(struct walk *w, int n, const struct view *const *views);
bool walk_next(struct walk *w);
/* Where element i of the inner loop lies in view k. */
static inline int64_t walk_at(const struct walk *w, int k, int64_t i)
{
    return w->off[k] + i * w->step[k];
}

/* The next position of n dims in row-major order; false, at the first again, after the last. All limits must
 * be above 0. */
bool index_advance(int64_t *index, const int64_t *limit, int n);
/* Where the element at index[0..n) lies. */
int64_t index_offset(const int64_t *index, const int64_t *stride, int n);

/* v seen with the dims of `to` (numpy's broadcasting, aligned right). */
struct view view_broadcast(const struct view *v, const struct view *to);
/* v with `count` of dim d, from index `at` on. */
struct view view_part(const struct view *v, int d, int64_t at, int64_t count);
int64_t view_count(const struct view *v);
bool view_present(const struct op_call *c, int input);

/* Any dtype as double or int64. Conversions that do not fit saturate; NaN becomes 0. */
double element_real(enum tensor_dtype t, const void *data, int64_t at);
int64_t element_int(enum tensor_dtype t, const void *data, int64_t at);
void element_set_real(enum tensor_dtype t, void *data, int64_t at, double x);
void element_set_int(enum tensor_dtype t, void *data, int64_t at, int64_t x);
bool dtype_is_real(enum tensor_dtype t);

/* The element at that offset of a view. */
static inline double real_at(const struct view *v, int64_t at)
{
    return element_real(v->dtype, v->data, at);
}
static inline int64_t int_at(const struct view *v, int64_t at)
{
    return element_int(v->dtype, v->data, at);
}
static inline void put_real(const struct view *v, int64_t at, double x)
{
    element_set_real(v->dtype, v->data, at, x);
}
static inline void put_int(const struct view *v, int64_t at, int64_t x)
{
    element_set_int(v->dtype, v->data, at, x);
}
/* Copies one element between views of one dtype. */
void element_copy(const struct view *to, int64_t at, const struct view *from, int64_t source);
/* Element i of a rank-0 or rank-1 view of integers. */
int64_t view_int(const struct view *v, int64_t i);

/* How a convolution or pool moves over the spatial dims. */
struct window {
    int n; /* spatial dims */
    int64_t kernel[SPATIAL_MAX], stride[SPATIAL_MAX], dilation[SPATIAL_MAX];
    int64_t before[SPATIAL_MAX], after[SPATIAL_MAX]; /* padding */
    bool ceil_mode;
};

/* Reads the attributes for an input with dims in[0..rank) (N, C, spatial...) and, for a convolution, its
 * kernel dims (NULL: attribute kernel_shape). Resolves auto_pad. FL_MODEL, FL_UNSUPPORTED. */
int window_resolve(struct window *w, const struct node *n, int rank, const int64_t *in, const int64_t *kernel,
                   struct error *e);
/* Sets the spatial dims of output 0 from those of input 0. FL_MODEL when the window does not fit. */
int window_infer(struct op_infer *i, const struct window *w);

/* Helpers of inference. */
int infer_fail(struct op_infer *i, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* FL_MODEL */
int infer_unsupported(struct op_infer *i, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* as named */
bool infer_has(const struct op_infer *i, int input);
/* out[k] gets the dtype and dims of t. */
void infer_like(struct op_infer *i, int k, const struct tensor *t);
/* Output 0 is like input 0, whose dtype is one of the mask. FL_UNSUPPORTED. */
int infer_same(struct op_infer *i, unsigned mask);
/* Axis in [-rank, rank) to [0, rank). FL_MODEL. */
int infer_axis(struct op_infer *i, int64_t axis, int rank, int *out);
/* The list of integers that attribute `name` or (when `input` >= 0) known input `input` gives. Copies at most
 * `max`. *count = -1 when neither is there. FL_MODEL, FL_UNSUPPORTED (known only at run time). */
int infer_ints(struct op_infer *i, const char *name, int input, int64_t *out, int max, int *count);
/* Broadcasts the dims of all inputs from..to into *t. FL_MODEL. */
int infer_broadcast(struct op_infer *i, int from, int to, struct tensor *t);
/* One of a set of dtypes, given as a mask of bits 1 << dtype. FL_UNSUPPORTED. */
int infer_dtype(struct op_infer *i, int input, unsigned mask);

#define DT(name)   (1u << TENSOR_##name)
#define DT_FLOAT   (DT(F32) | DT(F64) | DT(F16))
#define DT_INT     (DT(I8) | DT(I16) | DT(I32) | DT(I64) | DT(U8) | DT(U16) | DT(U32) | DT(U64))
#define DT_NUMERIC (DT_FLOAT | DT_INT)
#define DT_ANY     (DT_NUMERIC | DT(BOOL))

/* At run time, trusting what inference checked: attribute `axis` in [0, rank). */
int call_axis(const struct node *n, int rank, int64_t otherwise);
/* Likewise an axis list from attribute or input; *count = -1 when absent. */
void call_ints(const struct op_call *c, const char *name, int input, int64_t *out, int max, int *count);

/* Does this BatchNormalization compute the statistics of its batch? Before opset 14 outputs beyond the first
 * say so. Requests that share a batch are not independent then. */
bool batch_norm_trains(const struct node *n, int64_t opset);

/* The functions of all operators; inference is shared by operators of one shape. */
#define OP(name, first, last, min_in, max_in, min_out, max_out, flags, infer, reference) \
    int infer##_infer(struct op_infer *i);                                               \
    int reference##_reference(const struct op_call *c);
#include "op_list.h"
#undef OP

#endif
