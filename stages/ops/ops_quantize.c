/* ops_quantize.c - DequantizeLinear, QuantizeLinear, DynamicQuantizeLinear
 *
 * Input 1 is the scale, input 2 the zero point, of one shape: one element for the whole tensor, a vector
 * along `axis`, or (block_size) a tensor of x's rank whose elements stand for block_size neighbours along
 * `axis` each.
 */
#include <math.h>

#include "ops.h"

/* Checks the scale and the zero point against x. */
static int check_scale(struct op_infer *i)
{
    const struct tensor *x = &i->in[0], *scale = &i->in[1];
    int64_t block = attr_int(i->node, "block_size", 0);
    int axis, code;
    if (infer_has(i, 2) && !tensor_same_shape(scale, &i->in[2]))
        return infer_fail(i, "its scale and its zero point have different shapes");
    if (tensor_count(scale) == 1 && scale->rank <= 1)
        return FL_OK;
    if ((code = infer_axis(i, attr_int(i->node, "axis", x->rank > 1), x->rank, &axis)))
        return code;
    if (scale->rank == 1 && !block)
        return scale->dim[0] == x->dim[axis]
                   ? FL_OK
                   : infer_fail(i, "its scale has %lld elements, its axis %d has %lld",
                                (long long)scale->dim[0], axis, (long long)x->dim[axis]);
    if (block < 1 || scale->rank != x->rank)
        return infer_fail(i, "its scale has %d dims, its input %d; block_size is %lld", scale->rank, x->rank,
                          (long long)block);
    for (int d = 0; d < x->rank; d++)
        if (scale->dim[d] != (d == axis ? (x->dim[d] - 1) / block + 1 : x->dim[d]))
            return infer_fail(i, "dim %d of its scale is %lld, which does not fit blocks of %lld", d,
                              (long long)scale->dim[d], (long long)block);
    return FL_OK;
}

int dequantize_linear_infer(struct op_infer *i)
{
    int64_t to = attr_int(i->node, "output_dtype", 0);
    int code;
    if ((code = infer_dtype(i, 0, DT(I8) | DT(U8) | DT(I16) | DT(U16) | DT(I32))) ||
        (code = infer_dtype(i, 1, DT(F32) | DT(F16))) || (code = check_scale(i)))
        return code;
    if (infer_has(i, 2) && i->in[2].dtype != i->in[0].dtype)
        return infer_fail(i, "its zero point has another type than its input");
    if (to && to != TENSOR_F32 && to != TENSOR_F16)
        return infer_unsupported(i, "dequantizing to element type %lld is not supported", (long long)to);
    infer_like(i, 0, &i->in[0]);
    i->out[0].dtype = to ? (enum tensor_dtype)to : i->in[1].dtype;
    return FL_OK;
}

int quantize_linear_infer(struct op_infer *i)
{
    int64_t to = attr_int(i->node, "output_dtype", 0);
    enum tensor_dtype dtype = infer_has(i, 2) ? i->in[2].dtype : to ? (enum tensor_dtype)to : TENSOR_U8;
    int code;
    if ((code = infer_dtype(i, 0, DT(F32) | DT(F16) | DT(I32))) ||
        (code = infer_dtype(i, 1, DT(F32) | DT(F16))) || (code = check_scale(i)))
        return code;
    if (dtype != TENSOR_I8 && dtype != TENSOR_U8 && dtype != TENSOR_I16 && dtype != TENSOR_U16)
        return infer_unsupported(i, "quantizing to element type %d is not supported", (int)dtype);
    if (to && to != (int64_t)dtype)
        return infer_fail(i, "its zero point and output_dtype name different types");
    infer_like(i, 0, &i->in[0]);
    i->out[0].dtype = dtype;
    return FL_OK;
}

/* A scale or zero point with the dims of x, for one block that begins at `at` along the axis. */
static struct view spread(const struct view *v, const struct view *x, int axis, int64_t at, int64_t block)
{
    struct view s = *x;
    s.dtype = v->dtype;
    s.data = v->data;
    for (int d = 0; d < x->rank; d++)
        s.stride[d] = block && d != axis ? v->stride[d] : 0;
    if (!block && view_count(v) > 1)
        s.stride[axis] = v->stride[0];
    if (block)
        s.data = (char *)v->data + at / block * v->stride[axis] * (int64_t)tensor_dtype_bytes(v->dtype);
    return s;
}

/* One block: v[0] out, v[1] x, v[2] scale, v[3] zero point (v[2] again where there is none). */
typedef void block_function(const struct view *const *v, bool has_zero);

static void dequantize_block(const struct view *const *v, bool has_zero)
{
    struct walk w;
    for (bool more = walk_start_any(&w, 4, v); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            int64_t x = int_at(v[1], walk_at(&w, 1, k));
            int64_t zero = has_zero ? int_at(v[3], walk_at(&w, 3, k)) : 0;
            double scale = real_at(v[2], walk_at(&w, 2, k));
            put_real(v[0], walk_at(&w, 0, k), (double)(x - zero) * scale);
        }
}

/* The numbers that an integer type of 8 or 16 bits has. */
static double saturate(enum tensor_dtype t, double x)
{
    double low = t == TENSOR_I8 ? INT8_MIN : t == TENSOR_I16 ? INT16_MIN : 0;
    double high = t == TENSOR_I8    ? INT8_MAX
                  : t == TENSOR_U8  ? UINT8_MAX
                  : t == TENSOR_I16 ? INT16_MAX
                                    : UINT16_MAX;
    return x < low ? low : x > high ? high : x;
}

/* Divided in float32, as everyone does, so that what is halfway between two numbers is the same everywhere.
 */
static void quantize_block(const struct view *const *v, bool has_zero)
{
    struct walk w;
    for (bool more = walk_start_any(&w, 4, v); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            float x = (float)real_at(v[1], walk_at(&w, 1, k));
            float scale = (float)real_at(v[2], walk_at(&w, 2, k));
            int64_t zero = has_zero ? int_at(v[3], walk_at(&w, 3, k)) : 0;
            put_real(v[0], walk_at(&w, 0, k),
                     saturate(v[0]->dtype, nearbyint((double)(x / scale)) + (double)zero));
        }
}

static int each_block(const struct op_call *c, block_function *run)
{
    const struct view *x = &c->in[0], *out = &c->out[0];
    bool has_zero = view_present(c, 2);
    bool one = view_count(&c->in[1]) == 1;
    int64_t block = one ? 0 : attr_int(c->node, "block_size", 0);
    int d = one ? 0 : call_axis(c->node, x->rank, x->rank > 1);
    for (int64_t at = 0, n; at < (x->rank ? x->dim[d] : 1); at += n) {
        struct view to = *out, from = *x, scale, zero;
        n = x->rank ? x->dim[d] - at : 1;
        if (block) {
            n = n < block ? n : block;
            to = view_part(out, d, at, n);
            from = view_part(x, d, at, n);
        }
        scale = spread(&c->in[1], &from, d, at, block);
        zero = has_zero ? spread(&c->in[2], &from, d, at, block) : scale;
        run((const struct view *const[]){&to, &from, &scale, &zero}, has_zero);
    }
    return FL_OK;
}

int dequantize_linear_reference(const struct op_call *c)
{
    return each_block(c, dequantize_block);
}

int quantize_linear_reference(const struct op_call *c)
{
    return each_block(c, quantize_block);
}

int dynamic_quantize_infer(struct op_infer *i)
{
    int code = infer_dtype(i, 0, DT(F32));
    if (code)
        return code;
    infer_like(i, 0, &i->in[0]);
    i->out[0].dtype = TENSOR_U8;
    i->out[1] = (struct tensor){.dtype = TENSOR_F32};
    i->out[2] = (struct tensor){.dtype = TENSOR_U8};
    return FL_OK;
}

/* A step so that 0 to 255 reach from the smallest number to the largest, 0 among them. Scale and zero point
 * may be read by nobody. */
int dynamic_quantize_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0];
    float low = 0, high = 0, step;
    uint8_t zero;
    struct view v = {.dtype = TENSOR_F32, .data = &step}, z = {.dtype = TENSOR_U8, .data = &zero}, scale,
                point;
    struct walk w;
    for (bool more = walk_start_any(&w, 1, &x); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            float at = ((const float *)x->data)[walk_at(&w, 0, k)];
            low = fminf(low, at);
            high = fmaxf(high, at);
        }
    step = (high - low) / 255;
    zero = step > 0 ? (uint8_t)saturate(TENSOR_U8, nearbyint((double)(-low / step))) : 0;
    if (c->n_out > 1 && c->out[1].data)
        *(float *)c->out[1].data = step;
    if (c->n_out > 2 && c->out[2].data)
        *(uint8_t *)c->out[2].data = zero;
    scale = spread(&v, x, 0, 0, 0);
    point = spread(&z, x, 0, 0, 0);
    quantize_block((const struct view *const[]){&c->out[0], x, &scale, &point}, true);
    return FL_OK;
}

/* What stands for others is replaced before anything is inferred. */
int expanded_infer(struct op_infer *i)
{
    return infer_unsupported(i, "it was not replaced by what it stands for");
}

int expanded_reference(const struct op_call *c)
{
    (void)c;
    return FL_INTERNAL;
}
