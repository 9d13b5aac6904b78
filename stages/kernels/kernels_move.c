/* kernels_move.c - nodes that only move numbers: Concat along channels, Reshape and its kin */
#include "kernels.h"

#include <string.h>

#include "kernels_list.h"
#include "layout.h"

static bool concat_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    int64_t axis = attr_int(c->node, "axis", 1);
    if (strcmp(c->node->op->name, "Concat") || (axis != 1 && axis != -3) || !post_is_nothing(c) ||
        c->out[0].rank != 4)
        return false;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].rank != 4 || !view_is_pitched_activation(&c->in[i]))
            return false;
    return view_is_pitched_activation(&c->out[0]);
}

static int concat_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    int64_t pixels = c->out[0].dim[0] * c->out[0].dim[2] * c->out[0].dim[3], wide = view_pitch(&c->out[0]),
            at = 0;
    (void)state;
    (void)r;
    for (int i = 0; i < c->n_in; i++) {
        int64_t n = c->in[i].dim[1], pitch = view_pitch(&c->in[i]);
        const float *from = c->in[i].data;
        float *to = (float *)c->out[0].data + at;
        for (int64_t p = 0; p < pixels; p++)
            memcpy(to + p * wide, from + p * pitch, (size_t)n * sizeof *to);
        at += n;
    }
    return FL_OK;
}

const struct kernel kernel_plain_concat = {
    .name = "copy",
    .family = KERNEL_PLAIN,
    .accepts = concat_accepts,
    .run = concat_run,
};

/* Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout: the same numbers in the same logical order. Where
 * in- and output lie in that order, or in the same one, the bytes stay; else they change between row-major
 * and channels-last. */
static bool bytes_stay(const struct view *a, const struct view *b)
{
    if (view_is_plain(a) && view_is_plain(b))
        return true;
    return a->rank == 4 && b->rank == 4 && !memcmp(a->dim, b->dim, 4 * sizeof *a->dim) &&
           view_is_channels_last(a) && view_is_channels_last(b);
}

static bool reshape_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    if (!(c->node->op->flags & OP_SHAPE_ONLY) || c->n_in < 1 || c->in[0].data || !post_is_nothing(c))
        return false;
    for (int i = 1; i < c->n_out; i++)
        if (c->out[i].dtype != TENSOR_NONE)
            return false;
    if (bytes_stay(&c->in[0], &c->out[0]))
        return true;
    if (c->in[0].dtype != TENSOR_F32)
        return false;
    return (c->in[0].rank == 4 && view_is_channels_last(&c->in[0]) && view_is_plain(&c->out[0])) ||
           (c->out[0].rank == 4 && view_is_plain(&c->in[0]) && view_is_channels_last(&c->out[0]));
}

static int reshape_prepare(struct kernel_task *t, void **state)
{
    *state = NULL;
    /* A batch of one may make a layout look plain that is not at two: the views are at max_batch. */
    t->alias = bytes_stay(&t->call.in[0], &t->call.out[0]) ? 0 : GRAPH_NONE;
    for (int i = 1; i < t->call.n_in; i++)
        kernel_mark_packed(t, i);
    return FL_OK;
}

static int reshape_run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    (void)state;
    (void)r;
    if (x->data == y->data)
        return FL_OK;
    if (bytes_stay(x, y))
        memcpy(y->data, x->data, (size_t)view_count(x) * tensor_dtype_bytes(x->dtype));
    else if (x->rank == 4 && view_is_channels_last(x))
        layout_transpose(x->data, y->data, x->dim[0], x->dim[2] * x->dim[3], x->dim[1]);
    else
        layout_transpose(x->data, y->data, y->dim[0], y->dim[1], y->dim[2] * y->dim[3]);
    return FL_OK;
}

const struct kernel kernel_plain_reshape = {
    .name = "copy",
    .family = KERNEL_PLAIN,
    .accepts = reshape_accepts,
    .prepare = reshape_prepare,
    .run = reshape_run,
};
