/* ops_softmax.c - Softmax and LogSoftmax
 *
 * From opset 13 along one axis (the last by default); before, along all axes from `axis` (1 by default) on.
 */
#include <math.h>

#include "ops.h"

int softmax_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t asked = attr_int(i->node, "axis", i->opset >= 13 ? -1 : 1);
    int axis, code;
    if ((code = infer_dtype(i, 0, DT_FLOAT)))
        return code;
    infer_like(i, 0, x);
    if (i->opset < 13 && asked == x->rank)
        return FL_OK;
    return infer_axis(i, asked, x->rank, &axis);
}

struct softmax {
    const struct view *x, *y;
    struct view in, out; /* the axes that are normalised, in x and in y */
    bool log;
};

static void softmax_at(const struct softmax *s, int64_t from, int64_t to)
{
    const struct view *views[] = {&s->out, &s->in};
    double max = -INFINITY, sum = 0;
    struct walk w;
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double x = element_real(s->x->dtype, s->x->data, from + w.off[1] + k * w.step[1]);
            max = x > max ? x : max;
        }
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            sum += exp(element_real(s->x->dtype, s->x->data, from + w.off[1] + k * w.step[1]) - max);
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double x = element_real(s->x->dtype, s->x->data, from + w.off[1] + k * w.step[1]) - max;
            element_set_real(s->y->dtype, s->y->data, to + w.off[0] + k * w.step[0],
                             s->log ? x - log(sum) : exp(x) / sum);
        }
}

static void push_dim(struct view *v, const struct view *from, int d)
{
    v->dim[v->rank] = from->dim[d];
    v->stride[v->rank++] = from->stride[d];
}

static int softmax(const struct op_call *c, bool log)
{
    struct softmax s = {.x = &c->in[0], .y = &c->out[0], .log = log};
    struct view in = {.rank = 0}, out = {.rank = 0};
    const struct view *views[] = {&out, &in};
    int64_t axis = attr_int(c->node, "axis", c->opset >= 13 ? -1 : 1);
    struct walk w;
    axis += axis < 0 ? s.x->rank : 0;
    for (int d = 0; d < s.x->rank; d++) {
        bool normalised = c->opset >= 13 ? d == axis : d >= axis;
        push_dim(normalised ? &s.in : &in, s.x, d);
        push_dim(normalised ? &s.out : &out, s.y, d);
    }
    for (bool more = walk_start(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            softmax_at(&s, w.off[1] + k * w.step[1], w.off[0] + k * w.step[0]);
    return FL_OK;
}

int softmax_reference(const struct op_call *c)
{
    return softmax(c, false);
}

int log_softmax_reference(const struct op_call *c)
{
    return softmax(c, true);
}
