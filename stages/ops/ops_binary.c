/* ops_binary.c - two inputs (or more, in turn), element by element, with broadcasting */
#include <math.h>
#include <string.h>

#include "ops.h"

static int same_dtypes(struct op_infer *i, unsigned mask)
{
    int code;
    for (int k = 0; k < i->n_in; k++) {
        if (!infer_has(i, k))
            return infer_fail(i, "its input %d is missing", k);
        if ((code = infer_dtype(i, k, mask)))
            return code;
        if (i->in[k].dtype != i->in[0].dtype)
            return infer_fail(i, "its inputs have types %s and %s", tensor_dtype_name(i->in[0].dtype),
                              tensor_dtype_name(i->in[k].dtype));
    }
    return FL_OK;
}

static int broadcast_infer(struct op_infer *i, unsigned mask, enum tensor_dtype result)
{
    int code = same_dtypes(i, mask);
    if (code)
        return code;
    i->out[0].dtype = result == TENSOR_NONE ? i->in[0].dtype : result;
    return infer_broadcast(i, 0, i->n_in - 1, &i->out[0]);
}

int add_infer(struct op_infer *i)
{
    return broadcast_infer(i, DT_NUMERIC, TENSOR_NONE);
}

int compare_infer(struct op_infer *i)
{
    return broadcast_infer(i, DT_ANY, TENSOR_BOOL);
}

int logic_infer(struct op_infer *i)
{
    return broadcast_infer(i, DT(BOOL), TENSOR_BOOL);
}

/* The exponent may have another dtype. */
int pow_infer(struct op_infer *i)
{
    int code;
    if ((code = infer_dtype(i, 0, DT_NUMERIC)) || (code = infer_dtype(i, 1, DT_NUMERIC)))
        return code;
    i->out[0].dtype = i->in[0].dtype;
    return infer_broadcast(i, 0, 1, &i->out[0]);
}

int prelu_infer(struct op_infer *i)
{
    int code = same_dtypes(i, DT_FLOAT);
    if (!code)
        code = infer_broadcast(i, 0, 1, &i->out[0]);
    i->out[0].dtype = i->in[0].dtype;
    if (!code && !tensor_same_shape(&i->out[0], &i->in[0]))
        return infer_fail(i, "its slope does not broadcast to its input");
    return code;
}

typedef void (*loop_f32)(const struct walk *w, float *to, const float *a, const float *b);
typedef double (*one_real)(double a, double b);
typedef int64_t (*one_int)(int64_t a, int64_t b, bool is_unsigned);

struct binary {
    loop_f32 f32; /* NULL: go by one_real */
    one_real real;
    one_int whole; /* NULL: go by one_real */
};

static bool is_unsigned(enum tensor_dtype t)
{
    return t == TENSOR_U64 || t == TENSOR_U32 || t == TENSOR_U16 || t == TENSOR_U8;
}

static void run(const struct binary *f, const struct view *out, const struct view *x, const struct view *y)
{
    struct view a = view_broadcast(x, out), b = view_broadcast(y, out);
    const struct view *views[] = {out, &a, &b};
    bool real = dtype_is_real(a.dtype) || dtype_is_real(b.dtype) || !f->whole;
    struct walk w;
    for (bool more = walk_start_any(&w, 3, views); more; more = walk_next(&w)) {
        if (f->f32 && a.dtype == TENSOR_F32 && b.dtype == TENSOR_F32 && out->dtype == TENSOR_F32) {
            f->f32(&w, out->data, a.data, b.data);
            continue;
        }
        for (int64_t i = 0; i < w.inner; i++) {
            int64_t to = walk_at(&w, 0, i), pa = walk_at(&w, 1, i), pb = walk_at(&w, 2, i);
            if (real)
                put_real(out, to, f->real(real_at(&a, pa), real_at(&b, pb)));
            else
                put_int(out, to, f->whole(int_at(&a, pa), int_at(&b, pb), is_unsigned(a.dtype)));
        }
    }
}

/* Folds all inputs into the output from the left. */
static int binary(const struct op_call *c, const struct binary *f)
{
    const struct view *out = &c->out[0];
    if (c->n_in == 1 || !view_present(c, 1)) {
        view_copy(&c->in[0], out);
        return FL_OK;
    }
    run(f, out, &c->in[0], &c->in[1]);
    for (int k = 2; k < c->n_in; k++)
        if (view_present(c, k) && k != c->node->post.residual)
            run(f, out, out, &c->in[k]);
    return FL_OK;
}

/* Defines NAME_reference for real numbers (expression of a and b) and integers (the same of int64). */
#define BINARY(name, real_expression, int_expression)                                         \
    static void name##_f32(const struct walk *w, float *to, const float *pa, const float *pb) \
    {                                                                                         \
        for (int64_t i = 0; i < w->inner; i++) {                                              \
            float a = pa[walk_at(w, 1, i)], b = pb[walk_at(w, 2, i)];                         \
            to[walk_at(w, 0, i)] = (float)(real_expression);                                  \
        }                                                                                     \
    }                                                                                         \
    static double name##_real(double a, double b)                                             \
    {                                                                                         \
        return (double)(real_expression);                                                     \
    }                                                                                         \
    static int64_t name##_int(int64_t a, int64_t b, bool u)                                   \
    {                                                                                         \
        (void)u;                                                                              \
        return (int64_t)(int_expression);                                                     \
    }                                                                                         \
    int name##_reference(const struct op_call *c)                                             \
    {                                                                                         \
        static const struct binary f = {name##_f32, name##_real, name##_int};                 \
        return binary(c, &f);                                                                 \
    }

/* Division by zero gives 0, and the one overflow wraps, so that no model can stop the process. */
static int64_t divide(int64_t a, int64_t b, bool u)
{
    if (!b)
        return 0;
    if (u)
        return (int64_t)((uint64_t)a / (uint64_t)b);
    return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

/* Remainder with the divisor's sign, as Python's %. */
static int64_t modulo(int64_t a, int64_t b, bool u)
{
    int64_t r;
    if (!b || b == -1)
        return 0;
    if (u)
        return (int64_t)((uint64_t)a % (uint64_t)b);
    r = a % b;
    return r && (r < 0) != (b < 0) ? r + b : r;
}

static bool less(int64_t a, int64_t b, bool u)
{
    return u ? (uint64_t)a < (uint64_t)b : a < b;
}

BINARY(add, a + b, (uint64_t)a + (uint64_t)b)
BINARY(sub, a - b, (uint64_t)a - (uint64_t)b)
BINARY(mul, a *b, (uint64_t)a *(uint64_t)b)
BINARY(div, a / b, divide(a, b, u))
BINARY(min, a < b || isnan(a) ? a : b, less(a, b, u) ? a : b)
BINARY(max, a > b || isnan(a) ? a : b, less(b, a, u) ? a : b)
BINARY(prelu, a < 0 ? a * b : a, a < 0 ? (int64_t)((uint64_t)a * (uint64_t)b) : a)
BINARY(equal, a == b, a == b)
BINARY(less, a < b, less(a, b, u))
BINARY(greater, a > b, less(b, a, u))
BINARY(less_or_equal, a <= b, !less(b, a, u))
BINARY(greater_or_equal, a >= b, !less(a, b, u))
BINARY(and, a != 0 && b != 0, a &&b)
BINARY(or, a != 0 || b != 0, a || b)
BINARY(xor, (a != 0) != (b != 0), !a != !b)

int pow_reference(const struct op_call *c)
{
    static const struct binary f = {NULL, pow, NULL};
    return binary(c, &f);
}

int mod_infer(struct op_infer *i)
{
    int code = broadcast_infer(i, DT_NUMERIC, TENSOR_NONE);
    if (!code && !attr_int(i->node, "fmod", 0) && dtype_is_real(i->in[0].dtype))
        return infer_fail(i, "real numbers need fmod = 1");
    return code;
}

int mod_reference(const struct op_call *c)
{
    static const struct binary whole = {NULL, fmod, modulo}, real = {NULL, fmod, NULL};
    return binary(c, attr_int(c->node, "fmod", 0) ? &real : &whole);
}

/* Sum and Mean of any number of inputs. */
int mean_reference(const struct op_call *c)
{
    const struct view *out = &c->out[0], *views[] = {out};
    struct walk w;
    add_reference(c);
    for (bool more = walk_start_any(&w, 1, views); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.inner; i++) {
            int64_t at = walk_at(&w, 0, i);
            put_real(out, at, real_at(out, at) / c->n_in);
        }
    return FL_OK;
}

int where_infer(struct op_infer *i)
{
    int code;
    if ((code = infer_dtype(i, 0, DT(BOOL))) || (code = infer_dtype(i, 1, DT_ANY)))
        return code;
    if (i->in[1].dtype != i->in[2].dtype)
        return infer_fail(i, "its inputs have different types");
    i->out[0].dtype = i->in[1].dtype;
    return infer_broadcast(i, 0, 2, &i->out[0]);
}

int where_reference(const struct op_call *c)
{
    const struct view *out = &c->out[0];
    struct view test = view_broadcast(&c->in[0], out), a = view_broadcast(&c->in[1], out),
                b = view_broadcast(&c->in[2], out);
    const struct view *views[] = {out, &test, &a, &b};
    struct walk w;
    for (bool more = walk_start(&w, 4, views); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.inner; i++) {
            int k = ((const uint8_t *)test.data)[walk_at(&w, 1, i)] ? 2 : 3;
            element_copy(out, walk_at(&w, 0, i), views[k], walk_at(&w, k, i));
        }
    return FL_OK;
}
