/* kernels.c - what kernels share: layout tests, windows */
#include "kernels.h"

#include <string.h>

#include "stages/simd/simd.h"

static bool strides_are(const struct view *v, const int64_t *want)
{
    for (int i = 0; i < v->rank; i++)
        if (v->dim[i] != 1 && v->stride[i] != want[i])
            return false;
    return true;
}

bool view_is_plain(const struct view *v)
{
    int64_t want[TENSOR_MAX_RANK], stride = 1;
    for (int i = v->rank - 1; i >= 0; i--) {
        want[i] = stride;
        stride *= v->dim[i];
    }
    return strides_are(v, want);
}

bool view_is_channels_last(const struct view *v)
{
    if (v->rank != 4)
        return false;
    return strides_are(v,
                       (int64_t[]){v->dim[1] * v->dim[2] * v->dim[3], 1, v->dim[3] * v->dim[1], v->dim[1]});
}

static bool lies_computed(const struct view *v)
{
    return !v->data && (v->rank == 4 ? view_is_channels_last(v) : view_is_plain(v));
}

bool view_is_activation(const struct view *v)
{
    return v->dtype == TENSOR_F32 && lies_computed(v);
}

int64_t view_pitch(const struct view *v)
{
    for (int d = 3; d >= 2; d--)
        if (v->dim[d] != 1)
            return d == 3 ? v->stride[3] : v->stride[2] / v->dim[3];
    return v->dim[0] == 1 ? v->dim[1] : v->stride[0];
}

bool view_is_pitched_activation(const struct view *v)
{
    int64_t pitch;
    if (v->rank != 4 || v->data || v->dtype != TENSOR_F32)
        return view_is_activation(v);
    pitch = view_pitch(v);
    return pitch >= v->dim[1] &&
           strides_are(v, (int64_t[]){v->dim[2] * v->dim[3] * pitch, 1, v->dim[3] * pitch, pitch});
}

/* The same as view_is_activation, or it lies in its lower type. */
static bool view_is_low_activation(const struct view *v)
{
    return (v->dtype == TENSOR_F32 || view_is_low(v)) && lies_computed(v);
}

bool view_is_dense(const struct view *v)
{
    return v->dtype == TENSOR_F32 && (view_is_plain(v) || view_is_channels_last(v));
}

bool views_in_one_order(const struct view *a, const struct view *b)
{
    if (a->rank != b->rank || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim))
        return false;
    return (view_is_plain(a) && view_is_plain(b)) || (view_is_channels_last(a) && view_is_channels_last(b));
}

bool post_adds_nothing(const struct op_call *c)
{
    return c->node->post.residual == GRAPH_NONE;
}

bool post_is_nothing(const struct op_call *c)
{
    return post_adds_nothing(c) && c->node->post.activation == ACT_NONE;
}

void post_activate(const struct post *p, float *y, int64_t n)
{
    if (p->activation != ACT_NONE)
        simd_best()->post(p, y, NULL, n);
}

void kernel_packs_constants(struct kernel_task *t)
{
    t->alias = t->call.node->post.residual;
    kernel_mark_packed(t, 1);
    kernel_mark_packed(t, 2);
}

float *conv_bias(struct kernel_task *t, int64_t channels)
{
    float *bias = weights_alloc(t->weights, (size_t)channels * sizeof *bias);
    if (bias && view_present(&t->call, 2))
        memcpy(bias, t->call.in[2].data, (size_t)channels * sizeof *bias);
    return bias;
}

/* The op's own window_resolve knows auto_pad; two spatial dims are what the fast kernels take. */
static bool resolve(struct window2d *w, const struct op_call *c, const int64_t *kernel)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    struct window any;
    if (x->rank != 4 || y->rank != 4 || window_resolve(&any, c->node, 4, x->dim, kernel, NULL))
        return false;
    *w = (struct window2d){.n = x->dim[0], .ic = x->dim[1], .ih = x->dim[2], .iw = x->dim[3]};
    w->oc = y->dim[1], w->oh = y->dim[2], w->ow = y->dim[3];
    w->ip = view_pitch(x), w->op = view_pitch(y);
    w->kh = any.kernel[0], w->kw = any.kernel[1];
    w->sh = any.stride[0], w->sw = any.stride[1];
    w->dh = any.dilation[0], w->dw = any.dilation[1];
    w->top = any.before[0], w->left = any.before[1];
    w->bottom = any.after[0], w->right = any.after[1];
    w->groups = attr_int(c->node, "group", 1);
    return true;
}

static bool window_over(struct window2d *w, const struct op_call *c,
                        bool (*is_activation)(const struct view *))
{
    const struct post *p = &c->node->post;
    if (strcmp(c->node->op->name, "Conv") || c->n_in < 2 || !is_activation(&c->in[0]) ||
        !is_activation(&c->out[0]))
        return false;
    if (c->in[1].dtype != TENSOR_F32 || c->in[1].rank != 4 || !c->in[1].data)
        return false;
    if (view_present(c, 2) && (c->in[2].dtype != TENSOR_F32 || !c->in[2].data))
        return false;
    if (p->residual != GRAPH_NONE && (!is_activation(&c->in[p->residual]) ||
                                      memcmp(c->in[p->residual].dim, c->out[0].dim, 4 * sizeof(int64_t)) ||
                                      view_pitch(&c->in[p->residual]) != view_pitch(&c->out[0])))
        return false;
    return resolve(w, c, c->in[1].dim + 2) && w->groups > 0;
}

bool window_of_conv(struct window2d *w, const struct op_call *c)
{
    return window_over(w, c, view_is_activation);
}

bool window_of_pitched_conv(struct window2d *w, const struct op_call *c)
{
    return window_over(w, c, view_is_pitched_activation);
}

bool window_of_low_conv(struct window2d *w, const struct op_call *c)
{
    return window_over(w, c, view_is_low_activation);
}

bool window_of_pitched_pool(struct window2d *w, const struct op_call *c)
{
    const char *op = c->node->op->name;
    if ((strcmp(op, "MaxPool") && strcmp(op, "AveragePool")) || c->n_out != 1)
        return false;
    return view_is_pitched_activation(&c->in[0]) && view_is_pitched_activation(&c->out[0]) &&
           resolve(w, c, NULL);
}

static bool is_matrix(const struct view *v)
{
    return v->dtype == TENSOR_F32 && v->rank >= 2 && view_is_plain(v);
}

static bool is_low_matrix(const struct view *v)
{
    return (v->dtype == TENSOR_F32 || view_is_low(v)) && v->rank >= 2 && view_is_plain(v);
}

static bool post_fits(const struct op_call *c)
{
    int r = c->node->post.residual;
    return r == GRAPH_NONE ||
           (view_is_plain(&c->in[r]) && c->in[r].rank == c->out[0].rank &&
            !memcmp(c->in[r].dim, c->out[0].dim, (size_t)c->out[0].rank * sizeof(int64_t)));
}

static bool product_of_gemm(struct product *p, const struct op_call *c)
{
    const struct view *a = &c->in[0], *b = &c->in[1];
    p->trans_a = attr_int(c->node, "transA", 0) != 0;
    if (b->rank != 2 || (a->rank != 2 && p->trans_a))
        return false;
    p->trans_b = attr_int(c->node, "transB", 0) != 0;
    p->alpha = attr_float(c->node, "alpha", 1);
    p->beta = attr_float(c->node, "beta", 1);
    p->k = a->dim[p->trans_a ? 0 : a->rank - 1];
    p->m = p->k ? view_count(a) / p->k : 0;
    p->n = b->dim[p->trans_b ? 0 : 1];
    if (view_present(c, 2) && c->node->post.residual != 2) {
        int64_t n = view_count(&c->in[2]), last = c->in[2].rank ? c->in[2].dim[c->in[2].rank - 1] : 1;
        p->c_view = 2;
        p->bias_is_scalar = n == 1;
        p->bias = c->in[2].dtype == TENSOR_F32 && (n == 1 || (n == p->n && last == n)) ? c->in[2].data : NULL;
    }
    return true;
}

/* b of rank 2 multiplies all of a's rows at once. */
static bool product_of_matmul(struct product *p, const struct op_call *c)
{
    const struct view *a = &c->in[0], *b = &c->in[1];
    if (b->rank != 2)
        return false;
    p->alpha = attr_float(c->node, "alpha", 1);
    p->k = b->dim[0];
    p->n = b->dim[1];
    p->m = p->k ? view_count(a) / p->k : 0;
    return a->dim[a->rank - 1] == p->k;
}

static bool product_over(struct product *p, const struct op_call *c, bool (*is_value)(const struct view *))
{
    bool gemm = !strcmp(c->node->op->name, "Gemm");
    *p = (struct product){.alpha = 1, .beta = 1};
    if (!gemm && strcmp(c->node->op->name, "MatMul"))
        return false;
    if (c->n_in < 2 || !is_value(&c->in[0]) || !is_matrix(&c->in[1]) || !is_value(&c->out[0]) ||
        !post_fits(c))
        return false;
    p->b = c->in[1].data;
    return gemm ? product_of_gemm(p, c) : product_of_matmul(p, c);
}

bool product_of(struct product *p, const struct op_call *c)
{
    return product_over(p, c, is_matrix);
}

bool product_of_low(struct product *p, const struct op_call *c)
{
    return product_over(p, c, is_low_matrix);
}
