/* ops_unary.c - one input, one output, element by element
 *
 * float32 runs in one loop per operator; other dtypes go through double, one element at a time.
 */
#include <math.h>
#include <string.h>

#include "ops.h"

int unary_infer(struct op_infer *i)
{
    return infer_same(i, DT_NUMERIC);
}

int not_infer(struct op_infer *i)
{
    return infer_same(i, DT(BOOL));
}

int unary_float_infer(struct op_infer *i)
{
    return infer_same(i, DT_FLOAT);
}

/* Defines NAME_reference, which computes `expression` of x (a double, or a float in the float32 loop), with
 * parameters a and b that are read by `a_init` and `b_init`. */
#define UNARY(name, a_init, b_init, expression)                                                  \
    static void name##_f32(const struct walk *w, float *to, const float *from, float a, float b) \
    {                                                                                            \
        (void)a;                                                                                 \
        (void)b;                                                                                 \
        for (int64_t i = 0; i < w->inner; i++) {                                                 \
            float x = from[walk_at(w, 1, i)];                                                    \
            to[walk_at(w, 0, i)] = (float)(expression);                                          \
        }                                                                                        \
    }                                                                                            \
    static double name##_any(double x, double a, double b)                                       \
    {                                                                                            \
        (void)a;                                                                                 \
        (void)b;                                                                                 \
        return (double)(expression);                                                             \
    }                                                                                            \
    int name##_reference(const struct op_call *c)                                                \
    {                                                                                            \
        return unary(c, name##_f32, name##_any, (a_init), (b_init));                             \
    }

typedef void (*loop_f32)(const struct walk *w, float *to, const float *from, float a, float b);
typedef double (*one_any)(double x, double a, double b);

static int unary(const struct op_call *c, loop_f32 loop, one_any one, float a, float b)
{
    const struct view *in = &c->in[0], *out = &c->out[0];
    const struct view *views[] = {out, in};
    struct walk w;
    for (bool more = walk_start_any(&w, 2, views); more; more = walk_next(&w)) {
        if (in->dtype == TENSOR_F32) {
            loop(&w, out->data, in->data, a, b);
            continue;
        }
        for (int64_t i = 0; i < w.inner; i++)
            put_real(out, walk_at(&w, 0, i), one(real_at(in, walk_at(&w, 1, i)), a, b));
    }
    return FL_OK;
}

#define FLOAT(name, otherwise) attr_float(c->node, name, otherwise)

/* Picks the float or the double function of libm by the type of x. */
#define MATH(fn, x) _Generic((x), float : fn##f, default : fn)(x)

UNARY(relu, 0, 0, x < 0 ? 0 : x)
UNARY(leaky_relu, FLOAT("alpha", 0.01f), 0, x < 0 ? a * x : x)
UNARY(sigmoid, 0, 0, 1 / (1 + MATH(exp, -x)))
UNARY(hard_sigmoid, FLOAT("alpha", 0.2f), FLOAT("beta", 0.5f),
      a *x + b < 0    ? 0
      : a * x + b > 1 ? 1
                      : a * x + b)
UNARY(hard_swish, 0, 0, x *(x / 6 + 0.5f < 0 ? 0 : x / 6 + 0.5f > 1 ? 1 : x / 6 + 0.5f))
UNARY(tanh, 0, 0, MATH(tanh, x))
UNARY(erf, 0, 0, MATH(erf, x))
UNARY(sqrt, 0, 0, MATH(sqrt, x))
UNARY(exp, 0, 0, MATH(exp, x))
UNARY(log, 0, 0, MATH(log, x))
UNARY(abs, 0, 0, x < 0 ? -x : x)
UNARY(neg, 0, 0, -x)
UNARY(not, 0, 0, x == 0)
UNARY(floor, 0, 0, MATH(floor, x))
UNARY(ceil, 0, 0, MATH(ceil, x))
UNARY(round, 0, 0, MATH(rint, x))
UNARY(reciprocal, 0, 0, 1 / x)
UNARY(sign, 0, 0, x > 0 ? 1 : x < 0 ? -1 : x)
UNARY(sin, 0, 0, MATH(sin, x))
UNARY(cos, 0, 0, MATH(cos, x))
UNARY(elu, FLOAT("alpha", 1), 0, x < 0 ? a * MATH(expm1, x) : x)
UNARY(selu, FLOAT("alpha", 1.67326319217681884765625f), FLOAT("gamma", 1.05070102214813232421875f),
      b *(x < 0 ? a * MATH(expm1, x) : x))
UNARY(softplus, 0, 0, x > 20 ? x : MATH(log1p, MATH(exp, x)))
UNARY(softsign, 0, 0, x / (1 + (x < 0 ? -x : x)))
UNARY(mish, 0, 0, x *MATH(tanh, (x > 20 ? x : MATH(log1p, MATH(exp, x)))))
static int gelu_erf_reference(const struct op_call *c);
static int gelu_tanh_reference(const struct op_call *c);
UNARY(gelu_erf, 0, 0, 0.5f * x * (1 + MATH(erf, x * 0.70710678118654752440f)))
UNARY(gelu_tanh, 0, 0, 0.5f * x * (1 + MATH(tanh, 0.79788456080286535588f * (x + 0.044715f * x * x * x))))

int gelu_reference(const struct op_call *c)
{
    return !strcmp(attr_string(c->node, "approximate", "none"), "tanh") ? gelu_tanh_reference(c)
                                                                        : gelu_erf_reference(c);
}
