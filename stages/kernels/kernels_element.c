/* kernels_element.c - activations, sums and products element by element, BatchNormalization */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "simd.h"
#include "stages/ops/ops.h"

/* Physically one run of floats: channels-last or row-major throughout. */
static bool same_order(const struct view *a, const struct view *b)
{
    if (a->rank != b->rank || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof *a->dim))
        return false;
    return a->rank == 4 ? view_is_channels_last(a) && view_is_channels_last(b)
                        : view_is_plain(a) && view_is_plain(b);
}

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
    return c->n_in >= 1 && activation_of(&p, c) && view_is_activation(&c->in[0]) &&
           same_order(&c->in[0], &c->out[0]) && post_adds_nothing(c);
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

/* How the second operand meets the first, which has the shape of the result. */
enum meeting { MEET_NOT, MEET_SAME, MEET_SCALAR, MEET_CHANNELS, MEET_CHANNELS_OF_EACH };

struct binary {
    char op;
    enum meeting how;
    bool swapped; /* the one that has the result's shape is input 1 */
};

static char sign_of(const char *op)
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

/* `b` has one value per channel of `a`, as [C,1,1], [1,C,1,1] or (computed) [N,C,1,1]. */
static enum meeting channels_meeting(const struct view *a, const struct view *b)
{
    int64_t c = a->dim[1];
    if (a->rank != 4 || b->rank < 3 || b->rank > 4 || b->dim[b->rank - 1] != 1 || b->dim[b->rank - 2] != 1 ||
        b->dim[b->rank - 3] != c)
        return MEET_NOT;
    if (b->rank == 3 || (b->data && b->dim[0] == 1))
        return MEET_CHANNELS;
    return b->dim[0] == a->dim[0] ? MEET_CHANNELS_OF_EACH : MEET_NOT;
}

static enum meeting meeting_of(const struct view *a, const struct view *b, const struct view *out)
{
    if (!view_is_activation(a) || !same_order(a, out) || b->dtype != TENSOR_F32)
        return MEET_NOT;
    if (b->data && view_count(b) == 1 && b->rank <= out->rank)
        return MEET_SCALAR;
    if (view_is_activation(b) && same_order(b, out))
        return MEET_SAME;
    return channels_meeting(a, b);
}

static bool binary_of(struct binary *b, const struct op_call *c)
{
    *b = (struct binary){.op = sign_of(c->node->op->name)};
    if (!b->op || c->n_in < 2 || c->in[0].dtype != TENSOR_F32 || !post_adds_nothing(c))
        return false;
    b->how = meeting_of(&c->in[0], &c->in[1], &c->out[0]);
    if (b->how == MEET_NOT) {
        b->swapped = true;
        b->how = meeting_of(&c->in[1], &c->in[0], &c->out[0]);
    }
    /* By channels only what does not care about the order. */
    return b->how != MEET_NOT && (!b->swapped || b->how == MEET_SCALAR || b->op == '+' || b->op == '*');
}

static bool binary_accepts(const struct kernel_task *t)
{
    struct binary b;
    return binary_of(&b, &t->call);
}

static int binary_prepare(struct kernel_task *t, void **state)
{
    struct binary *b = malloc(sizeof *b);
    *state = b;
    if (!b)
        return FL_NOMEM;
    binary_of(b, &t->call);
    t->alias = b->swapped ? 1 : 0;
    return FL_OK;
}

/* Pixels of c channels each, all with the same c values of b. */
static void by_channels(const struct binary *b, const float *x, const float *with, float *y, int64_t pixels,
                        int64_t c)
{
    for (int64_t i = 0; i < pixels; i++)
        simd_best()->binary(b->op, x + i * c, with, y + i * c, c);
}

static int binary_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct binary *b = state;
    const float *x = c->in[b->swapped].data, *with = c->in[!b->swapped].data;
    const struct view *out = &c->out[0];
    float *y = out->data;
    int64_t n = view_count(out), pixels = out->rank == 4 ? out->dim[2] * out->dim[3] : 0,
            image = out->rank == 4 ? pixels * out->dim[1] : 0;
    (void)r;
    switch (b->how) {
    case MEET_SAME:
        simd_best()->binary(b->op, x, with, y, n);
        break;
    case MEET_SCALAR:
        simd_best()->binary_scalar(b->op, x, *with, b->swapped, y, n);
        break;
    case MEET_CHANNELS:
        by_channels(b, x, with, y, out->dim[0] * pixels, out->dim[1]);
        break;
    default:
        for (int64_t i = 0; i < out->dim[0]; i++)
            by_channels(b, x + i * image, with + i * out->dim[1], y + i * image, pixels, out->dim[1]);
    }
    post_activate(&c->node->post, y, n);
    return FL_OK;
}

const struct kernel kernel_plain_binary = {
    .name = "vector",
    .family = KERNEL_PLAIN,
    .accepts = binary_accepts,
    .prepare = binary_prepare,
    .run = binary_run,
    .release = free,
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
    return (c->in[0].rank == 4 || c->in[0].rank == 2) && view_is_activation(&c->in[0]) &&
           same_order(&c->in[0], &c->out[0]);
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
    t->alias = 0;
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
        simd_best()->scale_shift(&c->node->post, c->in[0].data, s->scale, s->shift, c->out[0].data,
                                 n / channels, channels);
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
