/* exec.c - run a range of a model's nodes in an arena that was planned at load */
#include "parts.h"

#include <cblas.h>
#include <string.h>

#include "stages/kernels/layout.h"
#include "stages/simd/low.h"
#include "stages/ops/ops.h"

struct tensor slot_logical(const struct slot *s, int64_t batch)
{
    struct tensor t = {.dtype = s->dtype, .rank = s->rank, .data = NULL};
    for (int i = 0; i < s->rank; i++)
        t.dim[i] = extent_at(s->dim[i], batch);
    return t;
}

int64_t slot_bytes(const struct slot *s, int64_t batch)
{
    struct tensor t = slot_logical(s, batch);
    return tensor_bytes(&t);
}

struct view slot_view(const struct slot *s, int64_t batch)
{
    struct tensor t = slot_logical(s, batch);
    struct view v = s->channels_last ? view_channels_last(&t) : view_plain(&t);
    v.data = s->data;
    v.low = s->low;
    v.scale = s->scale;
    v.zero = s->zero;
    for (int d = 0; s->base >= 0 && d < s->rank; d++)
        v.stride[d] = extent_at(s->stride[d], batch);
    return v;
}

struct view slot_view_in(const struct slot *s, int64_t batch, void *storage)
{
    struct view v = slot_view(s, batch);
    v.data = storage;
    if (s->base >= 0 && storage)
        v.data = (float *)storage + extent_at(s->offset, batch);
    return v;
}

static struct view view_at(const struct exec *x, int slot, int batch)
{
    struct view absent = {0};
    const struct slot *s;
    if (slot == GRAPH_NONE)
        return absent;
    s = &x->slot[slot];
    return slot_view_in(s, batch, s->base >= 0 ? x->slot[s->base].data : s->data);
}

void exec_set_batch(struct exec *x, int batch)
{
    for (int i = 0; i < x->n_steps; i++) {
        struct step *s = &x->step[i];
        for (int k = 0; k < s->node.n_in; k++)
            s->call.in[k] = view_at(x, s->node.in[k], batch);
        for (int k = 0; k < s->node.n_out; k++)
            s->call.out[k] = view_at(x, s->node.out[k], batch);
    }
    x->batch = batch;
}

/* The physical shape of a slot: NHWC when it lies so. */
static struct tensor slot_physical(const struct slot *s, int64_t batch)
{
    struct tensor t = slot_logical(s, batch);
    if (s->channels_last) {
        int64_t c = t.dim[1];
        t.dim[1] = t.dim[2], t.dim[2] = t.dim[3], t.dim[3] = c;
    }
    t.data = s->data;
    return t;
}

/* A lower type is the executor's own business. */
static void call_it_wide(const struct slot *s, struct tensor *t)
{
    if (s->low != TENSOR_NONE)
        t->dtype = TENSOR_F32;
}

static struct tensor edge_tensor(const struct exec *x, const struct edge *edge, int batch)
{
    const struct slot *s = &x->slot[edge->slot];
    struct tensor t = edge->row_major ? slot_logical(s, batch) : slot_physical(s, batch);
    t.data = edge->data;
    call_it_wide(s, &t);
    return t;
}

/* Between an edge's own place and its slot: of another layout, or in a lower type. */
static void convert(const struct exec *x, const struct edge *edge, bool in)
{
    struct tensor t = edge_tensor(x, edge, x->batch);
    struct view outside = view_plain(&t), inside = slot_view(&x->slot[edge->slot], x->batch);
    if (!view_is_low(&inside))
        layout_copy(in ? &outside : &inside, in ? &inside : &outside);
    else if (in)
        low_narrow(outside.data, inside.dtype, view_scale(&inside), inside.data, view_count(&inside));
    else
        low_widen(inside.data, inside.dtype, view_scale(&inside), outside.data, view_count(&inside));
}

/* To bfloat16 and back, as a message does. Whole numbers of steps may become others: so both ends see it. */
static void round_cut(struct exec *x, int slot)
{
    struct view v = slot_view(&x->slot[slot], x->batch);
    int64_t n = view_count(&v);
    float *values = view_is_low(&v) ? x->wide : v.data;
    uint16_t half[512];
    if (v.dtype == TENSOR_BF16 || !(view_is_low(&v) || v.dtype == TENSOR_F32))
        return;
    if (view_is_low(&v))
        low_widen(v.data, v.dtype, view_scale(&v), values, n);
    for (int64_t i = 0; i < n; i += 512) {
        int64_t some = n - i < 512 ? n - i : 512;
        low_narrow(values + i, TENSOR_BF16, SCALE_NONE, half, some);
        low_widen(half, TENSOR_BF16, SCALE_NONE, values + i, some);
    }
    if (view_is_low(&v))
        low_narrow(values, v.dtype, view_scale(&v), v.data, n);
}

static int run_step(struct exec *x, int i, struct error *e)
{
    struct step *s = &x->step[i];
    struct kernel_run run = {s->scratch, x->team};
    int rc = s->kernel->run(s->state, &s->call, &run);
    if (rc)
        return error_set(e, (enum fl_code)rc, "node %s (%s) failed: %s", s->node.name, s->node.op->name,
                         error_sentence(rc));
    return FL_OK;
}

static int check_run(const struct exec *x, int first, int last, int batch, struct error *e)
{
    if (batch < 1 || batch > x->max_batch)
        return error_set(e, FL_SHAPE, "a batch of %d: this executor takes 1 to %d", batch, x->max_batch);
    if (first < x->first || last > x->last || first > last)
        return error_set(e, FL_INTERNAL, "nodes %d to %d are not within %d to %d", first, last, x->first,
                         x->last);
    if (last < x->last && x->step[last - x->first].cut < 0 && x->step[last - x->first].part &&
        x->step[last - x->first].part == x->step[last - x->first + 1].part)
        return error_set(e, FL_INTERNAL, "a run cannot end at node %d: there is no cut after it", last);
    if (first != x->first && first - x->first != x->next)
        return error_set(e, FL_INTERNAL, "a run may begin at node %d or continue at %d, not at %d", x->first,
                         x->first + x->next, first);
    return FL_OK;
}

static void *row_of(const struct view *v, int row)
{
    return (char *)v->data + (size_t)(row * v->stride[0]) * tensor_dtype_bytes(v->dtype);
}

/* Shows steps [from, to] the n requests of the batch from `row` on. */
static void show_part(struct exec *x, int from, int to, int row, int n)
{
    for (int i = from; i <= to; i++) {
        struct step *s = &x->step[i];
        for (int k = 0; k < s->node.n_in + s->node.n_out; k++) {
            int slot = k < s->node.n_in ? s->node.in[k] : s->node.out[k - s->node.n_in];
            if (slot == GRAPH_NONE || x->slot[slot].is_constant)
                continue;
            s->views[k] = view_at(x, slot, n);
            if (!x->slot[slot].part)
                s->views[k].data = row_of(&s->views[k], row);
        }
    }
}

/* Steps [from, to], which share a loop over the batch's parts. */
static int run_steps(struct exec *x, int from, int to, exec_after after, void *arg, struct error *e)
{
    int part = x->step[from].part ? x->step[from].part : x->batch, rc;
    for (int row = 0; row < x->batch; row += part) {
        if (part < x->batch)
            show_part(x, from, to, row, x->batch - row < part ? x->batch - row : part);
        for (int i = from; i <= to; i++) {
            if ((rc = run_step(x, i, e)))
                return rc;
            if (after && after(arg, x->first + i))
                return error_set(e, FL_CANCELLED, "stopped after node %s", x->step[i].node.name);
        }
    }
    return FL_OK;
}

int exec_run(struct exec *x, int first, int last, int batch, exec_after after, void *arg, struct error *e)
{
    int rc = check_run(x, first, last, batch, e);
    if (rc)
        return rc;
    /* Threads are the executor's own. */
    if (openblas_get_num_threads() != 1)
        openblas_set_num_threads(1);
    if (x->batch != batch)
        exec_set_batch(x, batch);
    x->next = 0;
    for (int k = 0; first == x->first && k < x->n_in; k++)
        if (x->in[k].own_place)
            convert(x, &x->in[k], true);
    for (int i = first - x->first, to; i <= last - x->first; i = to + 1) {
        to = parts_end(x, i) < last - x->first ? parts_end(x, i) : last - x->first;
        if (x->step[i].rounded)
            round_cut(x, x->step[i - 1].cut);
        if ((rc = run_steps(x, i, to, after, arg, e)))
            return rc;
    }
    for (int k = 0; last == x->last && k < x->n_out; k++)
        if (x->out[k].own_place)
            convert(x, &x->out[k], false);
    x->next = last - x->first + 1;
    return FL_OK;
}

static int find_cut(const struct exec *x, int node, struct error *e)
{
    if (node < x->first || node > x->last || x->step[node - x->first].cut < 0) {
        error_set(e, FL_INTERNAL, "there is no cut after node %d", node);
        return -1;
    }
    return x->step[node - x->first].cut;
}

/* An image whose pixels lie in wider ones. */
static void gather(const struct slot *s, const struct view *from, float *to)
{
    struct tensor t = {.dtype = s->dtype, .rank = 4};
    struct view v;
    memcpy(t.dim, from->dim, sizeof t.dim);
    v = view_channels_last(&t);
    v.data = to;
    view_copy(from, &v);
}

int exec_cut(struct exec *x, int node, int batch, struct tensor *out, struct error *e)
{
    int slot = find_cut(x, node, e);
    struct view v;
    if (slot < 0)
        return FL_INTERNAL;
    *out = slot_physical(&x->slot[slot], batch);
    v = view_at(x, slot, batch);
    if (view_is_low(&v))
        low_widen(v.data, v.dtype, view_scale(&v), x->wide, view_count(&v));
    else if (x->slot[slot].base >= 0)
        gather(&x->slot[slot], &v, x->wide);
    if (view_is_low(&v) || x->slot[slot].base >= 0)
        out->data = x->wide;
    call_it_wide(&x->slot[slot], out);
    return FL_OK;
}

struct tensor exec_value(struct exec *x, int node, int batch)
{
    int at = x->step[node - x->first].node.out[0];
    const struct slot *s = &x->slot[at];
    struct tensor t = slot_physical(s, batch);
    struct view v = view_at(x, at, batch);
    t.data = (s->channels_last ? view_is_channels_last(&v) : view_is_plain(&v)) ? v.data : NULL;
    return t;
}

struct view exec_view(struct exec *x, int node, int batch)
{
    const struct edge *in = x->in;
    struct view v;
    struct tensor t;
    if (node >= 0)
        return view_at(x, x->step[node - x->first].node.out[0], batch);
    t = slot_logical(&x->slot[in->slot], batch);
    v = in->row_major ? view_plain(&t) : slot_view(&x->slot[in->slot], batch);
    v.data = in->data;
    return v;
}

int exec_compact(struct exec *x, int node, const int *keep, int n, struct error *e)
{
    int at = find_cut(x, node, e);
    const struct slot *s = at < 0 ? NULL : &x->slot[at];
    struct view begin, to, from;
    if (!s)
        return FL_INTERNAL;
    if (s->rank < 1 || s->dim[0].per_batch < 1 || s->dim[0].fixed != 0)
        return error_set(e, FL_SHAPE, "the value after node %s has no batch dimension",
                         x->step[node - x->first].node.name);
    begin = to = from = view_at(x, at, 1);
    for (int i = 0; i < n; i++) {
        if (keep[i] < i || keep[i] >= x->max_batch || (i && keep[i] <= keep[i - 1]))
            return error_set(e, FL_INTERNAL, "rows to keep are not ascending");
        to.data = row_of(&begin, i);
        from.data = row_of(&begin, keep[i]);
        if (keep[i] != i && s->base < 0)
            memcpy(to.data, from.data, (size_t)slot_bytes(s, 1));
        else if (keep[i] != i)
            view_copy(&from, &to);
    }
    return FL_OK;
}

int exec_n_inputs(const struct exec *x)
{
    return x->n_in;
}

const char *exec_input_name(const struct exec *x, int i)
{
    return x->in[i].name;
}

const char *exec_output_name(const struct exec *x, int i)
{
    return x->out[i].name;
}

struct tensor exec_input_shape(const struct exec *x, int i, int batch)
{
    struct tensor t = edge_tensor(x, &x->in[i], batch);
    t.data = NULL;
    return t;
}

struct tensor exec_output_shape(const struct exec *x, int i, int batch)
{
    struct tensor t = edge_tensor(x, &x->out[i], batch);
    t.data = NULL;
    return t;
}

void *exec_input_buffer(struct exec *x, int i)
{
    return x->in[i].data;
}

struct tensor exec_output(struct exec *x, int i, int batch)
{
    return edge_tensor(x, &x->out[i], batch);
}

size_t exec_weight_bytes(const struct exec *x)
{
    return weights_bytes(x->weights);
}

size_t exec_arena_bytes(const struct exec *x)
{
    return x->arena_bytes;
}

const char *exec_kernel_name(const struct exec *x, int node)
{
    return node < x->first || node > x->last ? "none" : x->step[node - x->first].kernel->name;
}
