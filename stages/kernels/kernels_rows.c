/* kernels_rows.c - what transformers do with the rows of row-major values: Softmax, LayerNormalization */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include "kernels_list.h"
#include "stages/simd/simd.h"

/* Input 0 and output 0 are row-major and alike, and nothing is to be done afterwards. */
static bool is_on_rows(const struct op_call *c, const char *op)
{
    return node_is(c->node, op) && post_is_nothing(c) && !c->in[0].data && c->in[0].dtype == TENSOR_F32 &&
           view_is_plain(&c->in[0]) && views_in_one_order(&c->in[0], &c->out[0]);
}

static int64_t row_length(const struct view *v, int axis)
{
    int64_t n = 1;
    for (int d = axis; d < v->rank; d++)
        n *= v->dim[d];
    return n;
}

static int softmax_axis(const struct op_call *c)
{
    return call_axis(c->node, c->in[0].rank, c->opset >= 13 ? -1 : 1);
}

static bool softmax_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    if (!is_on_rows(c, "Softmax") || !c->in[0].rank)
        return false;
    /* Before opset 13 all axes from this one on are normalised together. */
    return c->opset < 13 || row_length(&c->in[0], softmax_axis(c)) == c->in[0].dim[softmax_axis(c)];
}

static int alias_input(struct kernel_task *t, void **state)
{
    *state = NULL;
    t->alias = 0;
    return FL_OK;
}

static int softmax_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct simd *simd = simd_best();
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    int64_t all = view_count(&c->in[0]), n = row_length(&c->in[0], softmax_axis(c));
    (void)state;
    (void)r;
    for (int64_t at = 0; at < all; at += n)
        simd->softmax(x + at, y + at, n);
    return FL_OK;
}

const struct kernel kernel_plain_softmax = {
    .name = "vector",
    .family = KERNEL_PLAIN,
    .accepts = softmax_accepts,
    .prepare = alias_input,
    .run = softmax_run,
};

/* One constant number for each of the n of a row. */
static bool is_row(const struct op_call *c, int input, int64_t n)
{
    const struct view *v = &c->in[input];
    return v->dtype == TENSOR_F32 && v->data && view_is_plain(v) && view_count(v) == n;
}

static bool layer_norm_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    int64_t n;
    if (!is_on_rows(c, "LayerNormalization"))
        return false;
    for (int k = 1; k < c->n_out; k++)
        if (c->out[k].dtype != TENSOR_NONE)
            return false;
    n = row_length(&c->in[0], call_axis(c->node, c->in[0].rank, -1));
    return n > 0 && is_row(c, 1, n) && (!view_present(c, 2) || is_row(c, 2, n));
}

static int layer_norm_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct simd *simd = simd_best();
    const float *x = c->in[0].data, *bias = view_present(c, 2) ? c->in[2].data : NULL;
    float *y = c->out[0].data, epsilon = attr_float(c->node, "epsilon", 1e-5f);
    int64_t all = view_count(&c->in[0]), n = row_length(&c->in[0], call_axis(c->node, c->in[0].rank, -1));
    (void)state;
    (void)r;
    for (int64_t at = 0; at < all; at += n)
        simd->layer_norm(x + at, c->in[1].data, bias, epsilon, y + at, n);
    return FL_OK;
}

const struct kernel kernel_plain_layer_norm = {
    .name = "vector",
    .family = KERNEL_PLAIN,
    .accepts = layer_norm_accepts,
    .prepare = alias_input,
    .run = layer_norm_run,
};
