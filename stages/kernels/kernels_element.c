/* kernels_element.c - activations, sums and products element by element, BatchNormalization */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "stages/simd/simd.h"
#include "stages/ops/ops.h"

static bool scalar_of(const struct op_call *c, int i, float otherwise, float *out)
{
    *out = otherwise;
    if (!view_present(c, i))
        return true;
    if (c->in[i].dtype != TENSOR_F32 || !c->in[i].data || view_count(&c->in[i]) != 1)
        return false;
    *out = *(const float *)c->in[i].data;
    return true;
}

/* The node's operator as an activation. */
static bool activation_of(struct post *p, const struct op_call *c)
{
    *p = (struct post){GRAPH_NONE, ACT_NONE, 0, 0};
    if (!node_activation(c->node, p) || p->activation != ACT_CLIP)
        return p->activation != ACT_NONE;
    return scalar_of(c, 1, p->alpha, &p->alpha) && scalar_of(c, 2, p->beta, &p->beta) && p->alpha <= p->beta;
}

static bool unary_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    struct post p;
    return c->n_in >= 1 && activation_of(&p, c) && view_is_dense(&c->in[0]) && !c->in[0].data &&
           views_in_one_order(&c->in[0], &c->out[0]) && post_adds_nothing(c);
}

static int unary_prepare(struct kernel_task *t, void **state)
{
    struct post *p = malloc(sizeof *p);
    *state = p;
    if (!p)
        return FL_NOMEM;
    activation_of(p, &t->call);
    t->alias = 0;
    kernel_mark_packed(t, 1);
    kernel_mark_packed(t, 2);
    return FL_OK;
}

static int unary_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    int64_t n = view_count(&c->in[0]);
    (void)r;
    if (c->out[0].data != c->in[0].data)
        memcpy(c->out[0].data, c->in[0].data, (size_t)n * sizeof(float));
    simd_best()->post(state, c->out[0].data, NULL, n);
    post_activate(&c->node->post, c->out[0].data, n);
    return FL_OK;
}

const struct kernel kernel_plain_unary = {
    .name = "vector",
    .family = KERNEL_PLAIN,
    .accepts = unary_accepts,
    .prepare = unary_prepare,
    .run = unary_run,
    .release = free,
};

static char binary_sign(const char *op)
{
    static const struct {
        const char *op;
        char sign;
    } table[] = {{"Add", '+'}, {"Sub", '-'}, {"Mul", '*'}, {"Div", '/'}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!strcmp(op, table[i].op))
            return table[i].sign;
    return 0;
}

/* Both operands seen with the dims of the result. */
struct pair {
    struct view a, b;
    struct walk w;
};

static bool pair_start(struct pair *p, const struct op_call *c)
{
    const struct view *views[] = {&c->out[0], &p->a, &p->b};
    p->a = view_broadcast(&c->in[0], &c->out[0]);
    p->b = view_broadcast(&c->in[1], &c->out[0]);
    return walk_start_any(&p->w, 3, views);
}

static bool binary_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    struct pair p;
    if (!binary_sign(c->node->op->name) || c->n_in != 2 || c->in[0].dtype != TENSOR_F32 ||
        !post_adds_nothing(c) || !view_is_dense(&c->out[0]) || !pair_start(&p, c))
        return false;
    return p.w.step[0] == 1 &&
           ((p.w.step[1] == 1 && p.w.step[2] <= 1) || (p.w.step[1] == 0 && p.w.step[2] == 1));
}

static int binary_prepare(struct kernel_task *t, void **state)
{
    const struct op_call *c = &t->call;
    *state = NULL;
    for (int k = 1; k >= 0; k--)
        if (!c->in[k].data && views_in_one_order(&c->in[k], &c->out[0]))
            t->alias = k;
    return FL_OK;
}

static int binary_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct simd *simd = simd_best();
    char op = binary_sign(c->node->op->name);
    float *y = c->out[0].data;
    struct pair p;
    (void)state;
    (void)r;
    for (bool more = pair_start(&p, c); more; more = walk_next(&p.w)) {
        const float *a = (const float *)p.a.data + p.w.off[1], *b = (const float *)p.b.data + p.w.off[2];
        float *to = y + p.w.off[0];
        if (p.w.step[1] == 1 && p.w.step[2] == 1)
            simd->binary(op, a, b, to, p.w.inner);
        else if (p.w.step[2] == 1)
            simd->binary_scalar(op, b, *a, true, to, p.w.inner);
        else
            simd->binary_scalar(op, a, *b, false, to, p.w.inner);
    }
    post_activate(&c->node->post, y, view_count(&c->out[0]));
    return FL_OK;
}

const struct kernel kernel_plain_binary = {
    .name = "vector",
    .family = KERNEL_PLAIN,
    .accepts = binary_accepts,
    .prepare = binary_prepare,
    .run = binary_run,
};

/* BatchNormalization that no convolution could take in: y = x * scale + shift per channel. */
struct norm {
    const float *scale, *shift;
};

static bool norm_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    if (strcmp(c->node->op->name, "BatchNormalization") || c->n_in < 5 || c->n_out != 1 ||
        !post_adds_nothing(c) || batch_norm_trains(c->node, c->opset))
        return false;
    for (int i = 1; i < 5; i++)
        if (c->in[i].dtype != TENSOR_F32 || !c->in[i].data)
            return false;
    /* Rank 2 has its channels last too. */
    return (c->in[0].rank == 4 || c->in[0].rank == 2) && view_is_pitched_activation(&c->in[0]) &&
           view_is_activation(&c->out[0]);
}

static int norm_prepare(struct kernel_task *t, void **state)
{
    struct norm *s = calloc(1, sizeof *s);
    const struct op_call *c = &t->call;
    const float *gamma = c->in[1].data, *beta = c->in[2].data, *mean = c->in[3].data,
                *variance = c->in[4].data;
    double epsilon = attr_float(c->node, "epsilon", 1e-5f);
    int64_t n = c->in[0].dim[1];
    float *scale, *shift;
    *state = s;
    if (!s)
        return FL_NOMEM;
    scale = weights_alloc(t->weights, (size_t)n * sizeof *scale);
    shift = weights_alloc(t->weights, (size_t)n * sizeof *shift);
    if (!scale || !shift)
        return FL_NOMEM;
    for (int64_t i = 0; i < n; i++) {
        double factor = (double)gamma[i] / sqrt((double)variance[i] + epsilon);
        scale[i] = (float)factor;
        shift[i] = (float)((double)beta[i] - (double)mean[i] * factor);
    }
    s->scale = scale;
    s->shift = shift;
    t->alias = view_is_activation(&c->in[0]) ? 0 : GRAPH_NONE;
    for (int i = 1; i < 5; i++)
        kernel_mark_packed(t, i);
    return FL_OK;
}

static int norm_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct norm *s = state;
    int64_t channels = c->in[0].dim[1], n = view_count(&c->in[0]);
    (void)r;
    if (n)
        simd_best()->scale_shift(&c->node->post, c->in[0].data,
                                 c->in[0].rank == 4 ? view_pitch(&c->in[0]) : channels, s->scale, s->shift,
                                 c->out[0].data, n / channels, channels);
    return FL_OK;
}

const struct kernel kernel_plain_norm = {
    .name = "vector",
    .family = KERNEL_PLAIN,
    .accepts = norm_accepts,
    .prepare = norm_prepare,
    .run = norm_run,
    .release = free,
};
