/* kernels_low.c - a node that computes in float32 between values that lie in a lower type
 *
 * Pools, activations, sums and whatever no kernel of lower precision takes: inputs are widened, a kernel that
 * knows float32 runs, results are narrowed. Products take their values in the lower type on either side, so
 * that costs less than to move them in float32.
 */
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "kernels_list.h"
#include "stages/simd/low.h"

struct widened {
    const struct kernel *inner;
    void *state;
    int n_in;
    struct view view[2 * OP_MAX_IO];   /* of the call's inputs, then outputs, in float32 */
    size_t place[2 * OP_MAX_IO], room; /* of those in scratch; 0: where the value lies */
};

static bool any_low(const struct op_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (view_is_low(&c->in[i]))
            return true;
    for (int i = 0; i < c->n_out; i++)
        if (view_is_low(&c->out[i]))
            return true;
    return false;
}

static struct view wide(const struct view *v)
{
    struct view w = *v;
    w.dtype = view_is_low(v) ? TENSOR_F32 : v->dtype;
    w.low = TENSOR_NONE;
    return w;
}

/* The same node on float32, and the first kernel that takes it. */
static const struct kernel *inner_of(const struct kernel_task *t, struct kernel_task *inner,
                                     struct view *views)
{
    const struct kernel *const *k = kernel_table();
    *inner = *t;
    for (int i = 0; i < t->call.n_in; i++)
        views[i] = wide(&t->call.in[i]);
    for (int i = 0; i < t->call.n_out; i++)
        views[t->call.n_in + i] = wide(&t->call.out[i]);
    inner->call.in = views;
    inner->call.out = views + t->call.n_in;
    while (*k && ((*k)->family == KERNEL_LOW || !(*k)->accepts(inner)))
        k++;
    return *k;
}

static bool accepts(const struct kernel_task *t)
{
    struct view views[2 * OP_MAX_IO];
    struct kernel_task inner;
    return any_low(&t->call) && inner_of(t, &inner, views);
}

static void plan_room(struct widened *s, const struct kernel_task *t)
{
    for (int i = 0; i < t->call.n_in + t->call.n_out; i++) {
        const struct view *v = i < s->n_in ? &t->call.in[i] : &t->call.out[i - s->n_in];
        if (!view_is_low(v))
            continue;
        s->room = (s->room + 63) / 64 * 64;
        s->place[i] = s->room;
        s->room += (size_t)view_count(v) * sizeof(float) + 64;
    }
}

static int prepare(struct kernel_task *t, void **state)
{
    struct widened *s = calloc(1, sizeof *s);
    struct kernel_task inner;
    int rc;
    *state = s;
    if (!s)
        return FL_NOMEM;
    s->n_in = t->call.n_in;
    s->inner = inner_of(t, &inner, s->view);
    rc = s->inner->prepare ? s->inner->prepare(&inner, &s->state) : FL_OK;
    if (rc)
        return rc;
    memcpy(t->packed, inner.packed, sizeof t->packed);
    s->room = inner.scratch_bytes + 64; /* no place is 0 */
    plan_room(s, t);
    t->scratch_bytes = s->room;
    return FL_OK;
}

static int run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    struct widened *s = state;
    struct op_call call = *c;
    int rc;
    call.in = s->view;
    call.out = s->view + s->n_in;
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const struct view *v = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        s->view[i] = wide(v);
        if (s->place[i])
            s->view[i].data = (char *)r->scratch + s->place[i];
        if (i < c->n_in && s->place[i])
            low_move(v, TENSOR_F32, view_scale(v), s->view[i].data);
    }
    if ((rc = s->inner->run(s->state, &call, r)))
        return rc;
    for (int i = 0; i < c->n_out; i++)
        if (s->place[c->n_in + i])
            low_move(&call.out[i], c->out[i].dtype, view_scale(&c->out[i]), c->out[i].data);
    return FL_OK;
}

static void release(void *state)
{
    struct widened *s = state;
    if (s && s->inner && s->inner->release)
        s->inner->release(s->state);
    free(s);
}

const struct kernel kernel_low_widened = {
    .name = "widened",
    .family = KERNEL_LOW,
    .accepts = accepts,
    .prepare = prepare,
    .run = run,
    .release = release,
};
