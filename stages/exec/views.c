/* views.c - steps that only rearrange: what they make is seen in what they read, and nothing is copied
 *
 * A Concat of channels need not run either where kernels can write its parts into its result at once; in a
 * chain of them, as in DenseNet, all lie in the last one's.
 *
 * Around each head of attention exporters write Reshape, Transpose, Split, Squeeze and Gather. A MatMul can
 * read through all of these, since it takes any step between rows; and it can write what a Transpose behind
 * it would make. A step stays as it is when what it makes leaves the executor, or is read by one that wants
 * whole rows.
 */
#include "views.h"

#include <stdlib.h>
#include <string.h>

static int run_nothing(void *state, const struct op_call *c, const struct kernel_run *r)
{
    (void)state;
    (void)c;
    (void)r;
    return FL_OK;
}

static const struct kernel kernel_view = {.name = "view", .family = KERNEL_PLAIN, .run = run_nothing};

/* A view without data, and where it begins in its storage. */
struct place {
    struct view v;
    int64_t offset;
};

static bool permute(struct place *p, const struct node *n, bool back)
{
    const struct attr *perm = attr_find(n, "perm");
    struct view v = p->v;
    if (perm && (perm->kind != ATTR_INTS || perm->count != v.rank))
        return false;
    for (int d = 0; d < v.rank; d++) {
        int from = perm ? (int)perm->ints[d] : v.rank - 1 - d;
        p->v.dim[back ? from : d] = v.dim[back ? d : from];
        p->v.stride[back ? from : d] = v.stride[back ? d : from];
    }
    return true;
}

static void drop_dim(struct view *v, int d)
{
    for (; d < v->rank - 1; d++) {
        v->dim[d] = v->dim[d + 1];
        v->stride[d] = v->stride[d + 1];
    }
    v->rank--;
}

/* The same numbers in the same logical order under other dims; false when no strides say that. */
static bool reshape(struct place *p, const struct tensor *to)
{
    struct view from = p->v, v = {.dtype = from.dtype, .rank = to->rank};
    int i = 0, k = 0;
    for (int d = from.rank - 1; d >= 0; d--)
        if (from.dim[d] == 1)
            drop_dim(&from, d);
    while (k < to->rank) {
        int64_t have, want = to->dim[k], stride;
        int first = k;
        v.dim[k++] = want;
        if (want == 1) {
            v.stride[first] = 0;
            continue;
        }
        /* The fewest dims on both sides that have as many elements. */
        for (have = i < from.rank ? from.dim[i++] : 0; have != want;)
            if (have < want && i < from.rank) {
                if (from.stride[i - 1] != from.stride[i] * from.dim[i])
                    return false;
                have *= from.dim[i++];
            } else if (have > want && k < to->rank) {
                want *= to->dim[k];
                v.dim[k] = to->dim[k];
                k++;
            } else {
                return false;
            }
        stride = from.stride[i - 1];
        for (int d = k - 1; d >= first; d--) {
            v.stride[d] = stride;
            stride *= v.dim[d];
        }
    }
    p->v = v;
    return i == from.rank;
}

/* Output `out` of a Split begins where the outputs before it end. */
static bool split(const struct exec *x, const struct step *s, int out, int64_t batch, struct place *p)
{
    int axis = call_axis(&s->node, p->v.rank, 0);
    for (int k = 0; k < out; k++) {
        if (s->node.out[k] == GRAPH_NONE)
            return false;
        p->offset += extent_at(x->slot[s->node.out[k]].dim[axis], batch) * p->v.stride[axis];
    }
    p->v.dim[axis] = extent_at(x->slot[s->node.out[out]].dim[axis], batch);
    return true;
}

/* Of a Gather by one constant index. */
static bool gather(const struct exec *x, const struct step *s, struct place *p)
{
    const struct slot *index = &x->slot[s->node.in[1]];
    int axis = call_axis(&s->node, p->v.rank, 0);
    int64_t at;
    if (!index->is_constant || index->rank)
        return false;
    at = element_int(index->dtype, index->constant->data, 0);
    at += at < 0 ? p->v.dim[axis] : 0;
    if (at < 0 || at >= p->v.dim[axis])
        return false;
    p->offset += at * p->v.stride[axis];
    drop_dim(&p->v, axis);
    return true;
}

/* From the place of the step's input 0 to that of its output. */
static bool through(const struct exec *x, const struct step *s, int out, int64_t batch, struct place *p)
{
    struct tensor made;
    if (node_is(&s->node, "Transpose"))
        return permute(p, &s->node, false);
    if (node_is(&s->node, "Split"))
        return split(x, s, out, batch, p);
    if (node_is(&s->node, "Gather"))
        return gather(x, s, p);
    made = slot_logical(&x->slot[s->node.out[out]], batch);
    return reshape(p, &made);
}

static struct place place_of(const struct slot *s, int64_t batch)
{
    struct place p = {slot_view(s, batch), 0};
    p.v.data = NULL;
    if (s->base >= 0)
        p.offset = extent_at(s->offset, batch);
    return p;
}

/* The line through what a number is at a batch of two and of three; at one, where dims of 1 may have any
 * step, it holds too. */
static struct extent line(int64_t at_2, int64_t at_3)
{
    return (struct extent){3 * at_2 - 2 * at_3, at_3 - at_2};
}

static void settle(struct slot *s, int base, const struct place *at_2, const struct place *at_3)
{
    s->base = base;
    s->offset = line(at_2->offset, at_3->offset);
    for (int d = 0; d < s->rank; d++)
        s->stride[d] = line(at_2->v.stride[d], at_3->v.stride[d]);
}

struct finder {
    struct exec *x;
    bool *free;   /* of each step: it need not run */
    bool *itself; /* of each slot: it leaves the executor, or may be asked for between two steps */
    bool *edge;   /* the former */
    enum exec_kernels mode;
};

static bool see_through(struct finder *f, int i)
{
    const struct step *s = &f->x->step[i];
    struct slot *from = &f->x->slot[s->node.in[0]];
    for (int k = 0; k < s->node.n_out; k++) {
        struct place p[2] = {place_of(from, 2), place_of(from, 3)};
        int out = s->node.out[k];
        if (out == GRAPH_NONE)
            continue;
        if (f->itself[out] || f->x->slot[out].dtype != TENSOR_F32 || !through(f->x, s, k, 2, &p[0]) ||
            !through(f->x, s, k, 3, &p[1]))
            return false;
        settle(&f->x->slot[out], from->base >= 0 ? from->base : s->node.in[0], &p[0], &p[1]);
    }
    return true;
}

static bool may_be_view(const struct exec *x, const struct step *s)
{
    const struct node *n = &s->node;
    if (!n->n_in || n->in[0] == GRAPH_NONE || x->slot[n->in[0]].is_constant ||
        x->slot[n->in[0]].dtype != TENSOR_F32 || n->post.activation != ACT_NONE ||
        n->post.residual != GRAPH_NONE)
        return false;
    if (node_is(n, "Gather"))
        return n->in[1] != GRAPH_NONE;
    return node_is(n, "Transpose") || node_is(n, "Split") ||
           ((n->op->flags & OP_SHAPE_ONLY) && n->n_out == 1);
}

/* Does step i read its input k as it lies, when that is a view? */
static bool reads(const struct finder *f, int i, int k)
{
    const struct step *s = &f->x->step[i];
    const struct slot *slot = &f->x->slot[s->node.in[k]];
    struct view v = slot_view(slot, f->x->max_batch);
    if (k == 0 && (f->free[i] || node_is(&s->node, "Transpose") || node_is(&s->node, "Split")))
        return true;
    if (slot->channels_last ? view_is_channels_last(&v) : view_is_plain(&v))
        return true;
    return node_is(&s->node, "MatMul") && matmul_reads(&v);
}

/* Tries all steps that are still thought free; false, and one fewer, when there was one that is not. */
static bool all_fit(struct finder *f)
{
    struct exec *x = f->x;
    for (int i = 0; i < x->n_slots; i++)
        x->slot[i].base = -1;
    for (int i = 0; i < x->n_steps; i++)
        if (f->free[i] && !see_through(f, i))
            return f->free[i] = false;
    for (int i = 0; i < x->n_steps; i++)
        for (int k = 0; k < x->step[i].node.n_in; k++) {
            int in = x->step[i].node.in[k];
            if (in != GRAPH_NONE && x->slot[in].base >= 0 && !reads(f, i, k))
                return f->free[x->slot[in].first - 1] = false;
        }
    return true;
}

/* `free`: by steps that are free alone; NULL: by any. */
static int count_reads(const struct exec *x, int slot, const bool *free)
{
    int n = 0;
    for (int i = 0; i < x->n_steps; i++)
        for (int k = 0; k < x->step[i].node.n_in; k++)
            n += x->step[i].node.in[k] == slot && (!free || free[i]);
    return n;
}

/* A Reshape of rows that nothing looks through is left to its kernel, which may give its input's storage on.
 */
static bool leaves_reshapes(struct finder *f)
{
    struct exec *x = f->x;
    for (int i = 0; i < x->n_steps; i++) {
        const struct node *n = &x->step[i].node;
        if (f->free[i] && (n->op->flags & OP_SHAPE_ONLY) && x->slot[n->in[0]].base < 0 &&
            !count_reads(x, n->out[0], f->free))
            return f->free[i] = false;
    }
    return true;
}

/* A MatMul whose result only this Transpose reads writes where that one would have put it. */
static void write_through(struct finder *f, int i)
{
    struct exec *x = f->x;
    const struct step *s = &x->step[i];
    struct slot *to = &x->slot[s->node.out[0]], *made = &x->slot[s->node.in[0]];
    struct place p[2] = {place_of(to, 2), place_of(to, 3)};
    if (f->free[i] || !node_is(&s->node, "Transpose") || made->is_constant || made->base >= 0 ||
        made->first < 1 || made->dtype != TENSOR_F32 || to->dtype != TENSOR_F32 || f->itself[s->node.in[0]] ||
        count_reads(x, s->node.in[0], NULL) != 1 || !node_is(&x->step[made->first - 1].node, "MatMul"))
        return;
    if (!permute(&p[0], &s->node, true) || !permute(&p[1], &s->node, true) || !matmul_writes(&p[0].v))
        return;
    settle(made, s->node.out[0], &p[0], &p[1]);
    f->free[i] = true;
}

/* Where part k of a Concat of channels begins in its result, in channels; -1: not a part that can lie there.
 */
static int64_t part_at(const struct exec *x, const struct node *n, int k)
{
    int64_t at = 0;
    for (int i = 0; i <= k; i++) {
        const struct slot *s = &x->slot[n->in[i]];
        if (n->in[i] == GRAPH_NONE || s->is_constant || !s->channels_last || s->dtype != TENSOR_F32 ||
            s->low != TENSOR_NONE || s->dim[1].per_batch)
            return -1;
        at += i < k ? s->dim[1].fixed : 0;
    }
    return at;
}

static bool joins_channels(const struct exec *x, const struct step *s)
{
    int64_t axis = attr_int(&s->node, "axis", 1);
    return node_is(&s->node, "Concat") && s->node.out[0] != GRAPH_NONE && (axis == 1 || axis == -3) &&
           x->slot[s->node.out[0]].channels_last && x->slot[s->node.out[0]].low == TENSOR_NONE &&
           part_at(x, &s->node, s->node.n_in - 1) >= 0;
}

/* Lays a slot into the storage of `base`, `at` channels behind where `to` begins there, or lies. */
static void lay(struct exec *x, int slot, int to, int64_t at)
{
    struct slot *s = &x->slot[slot];
    const struct slot *t = &x->slot[to];
    struct place p[2] = {place_of(t, 2), place_of(t, 3)};
    for (int i = 0; i < 2; i++) {
        struct tensor dims = slot_logical(s, 2 + i);
        memcpy(p[i].v.dim, dims.dim, sizeof dims.dim);
        p[i].offset += at;
    }
    settle(s, t->base >= 0 ? t->base : to, &p[0], &p[1]);
}

static bool is_base(const struct exec *x, int slot)
{
    for (int i = 0; i < x->n_slots; i++)
        if (x->slot[i].base == slot)
            return true;
    return false;
}

static bool touches(const struct node *n, int slot)
{
    for (int k = 0; k < n->n_in + n->n_out; k++)
        if ((k < n->n_in ? n->in[k] : n->out[k - n->n_in]) == slot)
            return true;
    return false;
}

/* Have all steps that make or read this slot a fast kernel, where it lies now? */
static bool stays_fast(struct finder *f, int slot)
{
    struct exec *x = f->x;
    exec_set_batch(x, x->max_batch);
    exec_show_constants(x);
    for (int i = 0; i < x->n_steps; i++)
        if (!f->free[i] && touches(&x->step[i].node, slot) && !exec_is_fast(x, &x->step[i], f->mode))
            return false;
    return true;
}

/* The parts lie side by side already, in their order: so the result lies there too. */
static bool lie_joined(const struct finder *f, const struct node *n)
{
    const struct exec *x = f->x;
    const struct slot *first = &x->slot[n->in[0]];
    if (first->base < 0 || f->edge[n->out[0]] || x->slot[n->out[0]].base >= 0)
        return false;
    for (int k = 0; k < n->n_in; k++) {
        const struct slot *s = &x->slot[n->in[k]];
        if (s->base != first->base || s->offset.fixed != first->offset.fixed + part_at(x, n, k) ||
            s->offset.per_batch != first->offset.per_batch ||
            memcmp(s->stride, first->stride, sizeof s->stride))
            return false;
    }
    return true;
}

static bool may_move(const struct finder *f, const struct node *n, int k)
{
    const struct slot *s = &f->x->slot[n->in[k]];
    for (int i = 0; i < k; i++)
        if (n->in[i] == n->in[k])
            return false;
    return s->base < 0 && s->first > 0 && !f->edge[n->in[k]] && !f->free[s->first - 1] &&
           !is_base(f->x, n->in[k]);
}

/* The result of a Concat into its parts' storage, or the parts into its own. */
static bool join_channels(struct finder *f, const struct node *n)
{
    struct exec *x = f->x;
    bool joined = lie_joined(f, n), fits = true;
    int laid = 0;
    if (joined) {
        lay(x, n->out[0], n->in[0], 0);
        fits = stays_fast(f, n->out[0]);
    }
    for (; !joined && laid < n->n_in && may_move(f, n, laid); laid++)
        lay(x, n->in[laid], n->out[0], part_at(x, n, laid));
    fits &= joined || laid == n->n_in;
    for (int k = 0; !joined && fits && k < n->n_in; k++)
        fits = stays_fast(f, n->in[k]);
    if (fits)
        return true;
    if (joined)
        x->slot[n->out[0]].base = -1;
    for (int k = 0; k < laid; k++)
        x->slot[n->in[k]].base = -1;
    return false;
}

static void mark_own(struct finder *f)
{
    const struct exec *x = f->x;
    for (int i = 0; i < x->n_in; i++)
        f->itself[x->in[i].slot] = f->edge[x->in[i].slot] = true;
    for (int i = 0; i < x->n_out; i++)
        f->itself[x->out[i].slot] = f->edge[x->out[i].slot] = true;
    for (int i = 0; i < x->n_steps; i++)
        if (x->step[i].cut >= 0)
            f->itself[x->step[i].cut] = true;
}

/* Storage lives as long as anything that is seen in it. */
static void lengthen_lives(struct exec *x)
{
    for (int i = 0; i < x->n_slots; i++) {
        const struct slot *s = &x->slot[i];
        struct slot *base = s->base >= 0 ? &x->slot[s->base] : NULL;
        if (base) {
            base->first = s->first < base->first ? s->first : base->first;
            base->last = s->last > base->last ? s->last : base->last;
        }
    }
}

int views_find(struct exec *x, enum exec_kernels mode, bool join, struct error *e)
{
    struct finder f = {x, calloc((size_t)x->n_steps + 1, 1), calloc((size_t)x->n_slots + 1, 1),
                       calloc((size_t)x->n_slots + 1, 1), mode};
    int rc =
        f.free && f.itself && f.edge ? FL_OK : error_set(e, FL_NOMEM, "no memory for %d nodes", x->n_steps);
    if (!rc) {
        mark_own(&f);
        for (int i = 0; i < x->n_steps; i++)
            f.free[i] = may_be_view(x, &x->step[i]);
        while (!all_fit(&f) || !leaves_reshapes(&f))
            ;
        for (int i = 0; i < x->n_steps; i++)
            write_through(&f, i);
        for (int i = x->n_steps - 1; i >= 0 && join && mode == KERNELS_AUTO; i--)
            if (joins_channels(x, &x->step[i]))
                f.free[i] = join_channels(&f, &x->step[i].node);
        lengthen_lives(x);
    }
    for (int i = 0; !rc && i < x->n_steps; i++)
        if (f.free[i]) {
            x->step[i].kernel = &kernel_view;
            memset(x->step[i].packed, 0xff, sizeof x->step[i].packed);
        }
    free(f.free);
    free(f.itself);
    free(f.edge);
    return rc;
}
