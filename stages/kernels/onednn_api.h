/* onednn_api.h - oneDNN 2's interface and oneDNN 3's behind one, for the kernels that compute with it
 *
 * Only kernels_onednn*.c include this, in a build that has oneDNN (FREEZELINE_DNNL). oneDNN 2 has values for
 * descriptors of memories and makes a primitive's in two steps; oneDNN 3 hands out pointers, which may be
 * NULL here, and makes a primitive's in one.
 */
#ifndef FREEZELINE_ONEDNN_API_H
#define FREEZELINE_ONEDNN_API_H

#include <dnnl.h>

#include "kernels.h"

#if DNNL_VERSION_MAJOR != 2 && DNNL_VERSION_MAJOR != 3
#error "onednn_api.h is written for oneDNN 2 and 3; build with `make DNNL=`"
#endif

#if DNNL_VERSION_MAJOR == 2
typedef const dnnl_memory_desc_t *desc_view;
#else
typedef const_dnnl_memory_desc_t desc_view;
#endif

/* What a convolution or product is made for: its memories, and how the window moves. `weights` leaves their
 * order to the primitive, `plain` is the model's own. */
struct problem {
    dnnl_memory_desc_t src, dst, weights, plain, bias;
    bool has_bias;
    dnnl_dims_t strides, dilates, before, after;
};

/* What turns integers into numbers: a step of the source, of the destination and of the residual, and one of
 * the weights per channel of the result. All 1 in floating point. What the integer 0 of source and residual
 * is stands in the bias, unless `zero` says that the source is padded with it. */
struct steps {
    float src, dst, residual;
    int zero, dst_zero;
    const float *weights; /* NULL: floating point */
    int64_t n;
    int mask; /* dims of the weights along which they differ */
};

bool onednn_ready(void);
dnnl_stream_t onednn_stream(void);
/* For the primitives that follow on this thread. */
void onednn_threads(int threads);
/* The engine's own type of one of ours; dnnl_data_type_undef for what it cannot compute with. */
dnnl_data_type_t onednn_type(enum tensor_dtype t);

desc_view desc_of(const dnnl_memory_desc_t *d);
dnnl_status_t desc_new(dnnl_memory_desc_t *d, int n, const dnnl_dims_t dims, dnnl_data_type_t type,
                       dnnl_format_tag_t tag);
desc_view desc_in(const_dnnl_primitive_desc_t pd, dnnl_query_t what);
int memory_new(dnnl_memory_t *m, desc_view d, void *data);
/* Moves data into another order at load. FL_UNSUPPORTED. */
int onednn_reorder(dnnl_memory_t from, desc_view from_desc, dnnl_memory_t to, desc_view to_desc);

dnnl_status_t conv_describe(dnnl_primitive_desc_t *pd, const struct problem *p, dnnl_primitive_attr_t attr);
/* Of a product, which has no window. */
dnnl_status_t product_describe(dnnl_primitive_desc_t *pd, const struct problem *p,
                               dnnl_primitive_attr_t attr);
void problem_free(struct problem *p);

/* Is the activation one that oneDNN applies to that destination? */
bool onednn_activates(const struct post *p);
/* Attributes: a residual of that type in dst is added, then the activation; NULL when oneDNN cannot. */
dnnl_primitive_attr_t onednn_attr(const struct post *p, dnnl_data_type_t residual, const struct steps *q);
/* What oneDNN multiplies its bias by, so that it is to be divided by it: for channel i. */
float onednn_bias_unit(const struct steps *q, int64_t i);
/* What is to be added to the bias, before that, so that the destination's zero is where it belongs. */
float onednn_bias_shift(const struct post *p, const struct steps *q);
/* The memories that the attributes' scales and zeros need at each run, at most 4; *n of them. They stay where
 * they are put: of `room`, q->n + 3 floats. */
int onednn_scales(dnnl_exec_arg_t *args, int *n, const struct steps *q, float *room);

#endif
