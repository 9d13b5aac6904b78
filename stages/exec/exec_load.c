/* exec_load.c - make an executor: take the range out of the graph, choose kernels, plan the arena
 *
 * Step s (0-based) is node first + s. In the arena's time step s is s + 1: 0 is before the run (inputs are
 * written), and n_steps + 1 is after it (outputs are read).
 */
#include "exec_internal.h"
#include "layouts.h"
#include "parts.h"
#include "views.h"
#include "stages/graph/graph_build.h"

#include <cblas.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define MAX_THREADS 1024

/* The graph while its values become slots. */
struct source {
    const struct graph *g;
    bool *channels_last; /* of each value */
    int *slot_of;        /* -1: no slot yet */
};

/* The slot of a graph value, made when it has none yet. */
static int slot_for(struct exec *x, const struct source *from, int value)
{
    const struct value *v = &from->g->values[value];
    struct slot *s;
    if (from->slot_of[value] >= 0)
        return from->slot_of[value];
    s = &x->slot[x->n_slots];
    *s = (struct slot){.dtype = v->dtype,
                       .rank = v->rank,
                       .value = value,
                       .constant = v->constant,
                       .item = -1,
                       .base = -1,
                       .first = -1,
                       .last = -1};
    s->is_constant = v->constant != NULL;
    s->channels_last = from->channels_last[value];
    memcpy(s->dim, v->dim, sizeof s->dim);
    return from->slot_of[value] = x->n_slots++;
}

static int take_nodes(struct exec *x, const struct source *from, struct error *e)
{
    const struct graph *g = from->g;
    int n_values = 0;
    for (int i = x->first; i <= x->last; i++)
        n_values += g->nodes[i].n_in + g->nodes[i].n_out;
    n_values += g->n_inputs + g->n_outputs;
    x->slot = calloc((size_t)n_values + 1, sizeof *x->slot);
    x->step = calloc((size_t)x->n_steps + 1, sizeof *x->step);
    if (!x->slot || !x->step)
        return error_set(e, FL_NOMEM, "no memory for %d nodes", x->n_steps);
    for (int i = 0; i < x->n_steps; i++) {
        const struct node *n = &g->nodes[x->first + i];
        struct step *s = &x->step[i];
        if (n->n_in > OP_MAX_IO || n->n_out > OP_MAX_IO)
            return error_set(e, FL_UNSUPPORTED, "node %s has more than %d inputs or outputs", n->name,
                             OP_MAX_IO);
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] != GRAPH_NONE)
                slot_for(x, from, n->in[k]);
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k] != GRAPH_NONE)
                x->slot[slot_for(x, from, n->out[k])].first = i + 1;
        s->views = calloc((size_t)(n->n_in + n->n_out) + 1, sizeof *s->views);
        if (!s->views || exec_node_copy(&s->node, n, from->slot_of))
            return error_set(e, FL_NOMEM, "no memory for node %s", n->name);
        s->call = (struct op_call){&s->node, n->opset, n->n_in, n->n_out, s->views, s->views + n->n_in};
        s->alias = GRAPH_NONE;
        s->scratch_item = -1;
    }
    return FL_OK;
}

/* Which graph values enter the range from outside, or leave it: those that live across the point before node
 * `at`. */
static int crossing(const struct graph *g, int at, int *value, int room)
{
    int n = 0;
    for (int v = 0; v < g->n_values; v++) {
        bool used = false;
        if (g->values[v].constant || g->values[v].producer >= at)
            continue;
        for (int i = at; i < g->n_nodes && !used; i++)
            for (int k = 0; k < g->nodes[i].n_in; k++)
                used |= g->nodes[i].in[k] == v;
        for (int i = 0; i < g->n_outputs; i++)
            used |= g->outputs[i] == v;
        if (used && n < room)
            value[n] = v;
        n += used;
    }
    return n;
}

static int make_edges(struct exec *x, const struct source *from, bool inputs, struct error *e)
{
    const struct graph *g = from->g;
    bool models_own = inputs ? x->first == 0 : x->last == g->n_nodes - 1;
    const int *value = inputs ? g->inputs : g->outputs;
    int n = inputs ? g->n_inputs : g->n_outputs, cut;
    struct edge *edge;
    if (!models_own) {
        int at = inputs ? x->first : x->last + 1;
        if (crossing(g, at, &cut, 1) != 1)
            return error_set(e, FL_CONFIG,
                             "the model cannot be divided after node %s: more than one value crosses there",
                             g->nodes[at - 1].name);
        value = &cut;
        n = 1;
    }
    edge = calloc((size_t)n + 1, sizeof *edge);
    *(inputs ? &x->in : &x->out) = edge;
    if (!edge)
        return error_set(e, FL_NOMEM, "no memory for inputs and outputs");
    for (int i = 0; i < n; i++) {
        struct slot *s;
        edge[i] = (struct edge){.name = strdup(g->values[value[i]].name), .item = -1};
        *(inputs ? &x->n_in : &x->n_out) = i + 1;
        if (!edge[i].name)
            return error_set(e, FL_NOMEM, "no memory for inputs and outputs");
        edge[i].slot = slot_for(x, from, value[i]);
        s = &x->slot[edge[i].slot];
        edge[i].own_place = edge[i].row_major = models_own && s->channels_last;
        if (s->is_constant)
            s->needed = true;
        if (inputs)
            s->first = edge[i].own_place ? 1 : 0;
        else
            s->last = x->n_steps + (edge[i].own_place ? 0 : 1);
    }
    return FL_OK;
}

/* Sets when each slot is used for the last time, and what crosses the point after each step. */
static void find_lives(struct exec *x)
{
    for (int i = 0; i < x->n_steps; i++) {
        const struct node *n = &x->step[i].node;
        for (int k = 0; k < n->n_in; k++)
            if (n->in[k] != GRAPH_NONE && x->slot[n->in[k]].last < i + 1)
                x->slot[n->in[k]].last = i + 1;
    }
    for (int i = 0; i < x->n_slots; i++)
        if (x->slot[i].last < x->slot[i].first)
            x->slot[i].last = x->slot[i].first;
    for (int i = 0; i < x->n_steps; i++) {
        int n = 0;
        for (int k = 0; k < x->n_slots; k++) {
            const struct slot *s = &x->slot[k];
            if (s->is_constant || s->first > i + 1 || s->last < i + 2)
                continue;
            x->step[i].cut = k;
            n++;
        }
        /* After the last step an output with a place of its own does not live on in its slot. */
        if (i == x->n_steps - 1 && x->n_out == 1) {
            x->step[i].cut = x->out[0].slot;
            n = 1;
        }
        if (n != 1)
            x->step[i].cut = -1;
    }
}

static int check_sizes(const struct exec *x, struct error *e)
{
    for (int i = 0; i < x->n_slots; i++) {
        const struct slot *s = &x->slot[i];
        if (s->rank < 0 || s->rank > TENSOR_MAX_RANK || slot_bytes(s, x->max_batch) < 0 ||
            slot_bytes(s, x->max_batch) > (int64_t)1 << 40)
            return error_set(e, FL_SHAPE, "a value of the model has no usable size at batch %d",
                             x->max_batch);
    }
    return FL_OK;
}

static int64_t storage_bytes(const struct exec *x, const struct slot *s)
{
    return slot_bytes(s, s->part ? s->part : x->max_batch);
}

/* Whether output 0 of the step may take over the storage of its input `alias`. */
static bool may_alias(const struct exec *x, int i, int alias)
{
    const struct step *s = &x->step[i];
    const struct slot *from, *to;
    int times = 0;
    if (alias == GRAPH_NONE || s->node.in[alias] == GRAPH_NONE || s->node.out[0] == GRAPH_NONE)
        return false;
    from = &x->slot[s->node.in[alias]];
    to = &x->slot[s->node.out[0]];
    for (int k = 0; k < s->node.n_in; k++)
        times += s->node.in[k] == s->node.in[alias];
    /* An output with a place of its own is copied there after the last step, so nobody may take its storage.
     */
    for (int k = 0; k < x->n_out; k++)
        times += x->out[k].slot == s->node.in[alias];
    return times == 1 && from->item >= 0 && from->last == i + 1 &&
           storage_bytes(x, from) == storage_bytes(x, to);
}

/* In its own place a value is not in a lower type. */
static int64_t edge_bytes(const struct exec *x, const struct edge *edge)
{
    const struct slot *s = &x->slot[edge->slot];
    return slot_bytes(s, x->max_batch) / (int64_t)tensor_dtype_bytes(s->dtype) *
           (int64_t)tensor_dtype_bytes(s->low == TENSOR_NONE ? s->dtype : TENSOR_F32);
}

static int add_item(struct arena_item *item, int *n, int64_t bytes, int first, int last, int takes)
{
    item[*n] = (struct arena_item){(size_t)bytes, first, last, takes, 0};
    return (*n)++;
}

static int add_slot(const struct exec *x, struct arena_item *item, int *n, const struct slot *s, int takes)
{
    int first, last;
    parts_life(x, s, &first, &last);
    return add_item(item, n, storage_bytes(x, s), first, last, takes);
}

/* Items in the order of time, so that takers come after those they take from. */
static int list_items(struct exec *x, struct arena_item *item)
{
    int n = 0;
    for (int i = 0; i < x->n_in; i++) {
        struct slot *s = &x->slot[x->in[i].slot];
        if (x->in[i].own_place)
            x->in[i].item = add_item(item, &n, edge_bytes(x, &x->in[i]), 0, 1, -1);
        if (!s->is_constant)
            s->item = add_slot(x, item, &n, s, -1);
    }
    for (int i = 0; i < x->n_steps; i++) {
        struct step *st = &x->step[i];
        for (int k = 0; k < st->node.n_out; k++) {
            struct slot *s;
            int takes = -1;
            if (st->node.out[k] == GRAPH_NONE)
                continue;
            s = &x->slot[st->node.out[k]];
            if (s->base >= 0)
                continue;
            if (k == 0 && may_alias(x, i, st->alias))
                takes = x->slot[st->node.in[st->alias]].item;
            s->item = add_slot(x, item, &n, s, takes);
        }
        if (st->scratch_bytes)
            st->scratch_item = add_item(item, &n, (int64_t)st->scratch_bytes, i + 1, i + 1, -1);
    }
    for (int i = 0; i < x->n_out; i++)
        if (x->out[i].own_place)
            x->out[i].item = add_item(item, &n, edge_bytes(x, &x->out[i]), x->n_steps, x->n_steps + 1, -1);
    return n;
}

static void place(struct exec *x, const struct arena_item *item)
{
    for (int i = 0; i < x->n_slots; i++)
        if (x->slot[i].item >= 0)
            x->slot[i].data = x->arena + item[x->slot[i].item].offset;
    for (int i = 0; i < x->n_steps; i++)
        if (x->step[i].scratch_item >= 0)
            x->step[i].scratch = x->arena + item[x->step[i].scratch_item].offset;
    for (int i = 0; i < x->n_in; i++)
        x->in[i].data =
            x->in[i].own_place ? x->arena + item[x->in[i].item].offset : x->slot[x->in[i].slot].data;
    for (int i = 0; i < x->n_out; i++)
        x->out[i].data =
            x->out[i].own_place ? x->arena + item[x->out[i].item].offset : x->slot[x->out[i].slot].data;
}

static int make_arena(struct exec *x, struct error *e)
{
    struct arena_item *item;
    int room = x->n_in * 2 + x->n_out + x->n_steps, n;
    size_t total;
    for (int i = 0; i < x->n_steps; i++)
        room += x->step[i].node.n_out;
    item = calloc((size_t)room + 1, sizeof *item);
    if (!item)
        return error_set(e, FL_NOMEM, "no memory to plan the arena");
    n = list_items(x, item);
    if (arena_plan(item, n, &total)) {
        free(item);
        return error_set(e, FL_NOMEM, "no memory to plan the arena");
    }
    /* Vector kernels may read (never write) up to 64 bytes past a value. */
    x->arena_bytes = (total + 64 + 4095) / 4096 * 4096;
    x->arena = mmap(NULL, x->arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (x->arena == MAP_FAILED) {
        x->arena = NULL;
        free(item);
        return error_set(e, FL_NOMEM, "no memory for an arena of %zu bytes (batch %d)", x->arena_bytes,
                         x->max_batch);
    }
    if (x->arena_bytes >= (size_t)4 << 20)
        madvise(x->arena, x->arena_bytes, MADV_HUGEPAGE);
    place(x, item);
    free(item);
    return FL_OK;
}

/* Copies the constants that kernels read as they are; the graph's own are not touched from here on. */
static int keep_constants(struct exec *x, struct error *e)
{
    for (int i = 0; i < x->n_steps; i++) {
        const struct step *s = &x->step[i];
        for (int k = 0; k < s->node.n_in; k++)
            if (s->node.in[k] != GRAPH_NONE && !(s->packed[k / 64] >> (k % 64) & 1))
                x->slot[s->node.in[k]].needed = true;
    }
    for (int i = 0; i < x->n_slots; i++) {
        struct slot *s = &x->slot[i];
        const struct tensor *from = s->constant;
        s->constant = NULL;
        if (!s->is_constant || !s->needed)
            continue;
        s->data = weights_alloc(x->weights, (size_t)tensor_bytes(from) + 64);
        if (!s->data)
            return error_set(e, FL_NOMEM, "no memory for %lld bytes of weights",
                             (long long)tensor_bytes(from));
        if (tensor_bytes(from) > 0)
            memcpy(s->data, from->data, (size_t)tensor_bytes(from));
    }
    for (int i = 0; i < x->n_out; i++)
        if (x->slot[x->out[i].slot].is_constant)
            x->out[i].data = x->slot[x->out[i].slot].data;
    return FL_OK;
}

/* Room for the largest value at a cut that lies in a lower type, or in a wider image. Untouched pages cost
 * nothing. */
static int make_wide(struct exec *x, struct error *e)
{
    int64_t most = 0;
    for (int i = 0; i < x->n_steps; i++) {
        struct tensor t;
        if (x->step[i].cut < 0 ||
            (x->slot[x->step[i].cut].low == TENSOR_NONE && x->slot[x->step[i].cut].base < 0))
            continue;
        t = slot_logical(&x->slot[x->step[i].cut], x->max_batch);
        most = tensor_count(&t) > most ? tensor_count(&t) : most;
    }
    if (most && !(x->wide = malloc((size_t)most * sizeof *x->wide)))
        return error_set(e, FL_NOMEM, "no memory for values at cuts");
    return FL_OK;
}

static int check_options(const struct graph *g, const struct exec_options *o, struct error *e)
{
    int last = o->last < 0 ? g->n_nodes - 1 : o->last;
    if (o->first < 0 || last >= g->n_nodes || o->first > last)
        return error_set(e, FL_CONFIG, "nodes %d to %d are no range of a model of %d nodes", o->first, last,
                         g->n_nodes);
    if (o->max_batch < 0 || o->max_batch > 1 << 20 || o->threads < 0 || o->threads > MAX_THREADS)
        return error_set(e, FL_CONFIG, "batch %d or threads %d out of range", o->max_batch, o->threads);
    if (o->max_batch > 1 && !g->free_batch)
        return error_set(e, FL_SHAPE, "the model has a fixed batch size: max_batch must be 1, not %d",
                         o->max_batch);
    return FL_OK;
}

static int check_lower(const struct graph *g, const struct exec_options *o, struct error *e)
{
    int rc = engine_precision_check(o->precision, o->kernels, e);
    if (rc || o->precision != PRECISION_INT8)
        return rc;
    if (!o->quantization)
        return error_set(e, FL_CONFIG, "precision int8 needs scales: `freezeline quantize` finds them");
    if (memcmp(o->quantization->model, g->digest, sizeof g->digest))
        return error_set(e, FL_STALE,
                         "the scales for int8 are of another network: run `freezeline quantize`");
    return FL_OK;
}

/* Does the model itself say which values are integers, where that can be computed with? Otherwise they are
 * float32, which is at least as exact. */
static bool computes_as_written(const struct graph *g, const struct exec_options *o)
{
    return graph_is_quantized(g) && engine_precision_check(PRECISION_INT8, o->kernels, NULL) == FL_OK;
}

static int lower(struct exec *x, const struct exec_options *o, const struct source *from, struct error *e)
{
    const struct graph *g = from->g;
    struct exec *whole;
    int rc;
    if (o->precision == PRECISION_FLOAT32 && !computes_as_written(g, o))
        return FL_OK;
    if (o->precision != PRECISION_FLOAT32 && (rc = check_lower(g, o, e)))
        return rc;
    whole = calloc(1, sizeof *whole);
    if (!whole)
        return error_set(e, FL_NOMEM, "no memory for an executor");
    whole->n_steps = g->n_nodes;
    whole->last = g->n_nodes - 1;
    whole->max_batch = x->max_batch;
    whole->threads = x->threads;
    memset(from->slot_of, -1, (size_t)g->n_values * sizeof *from->slot_of);
    if (!(rc = take_nodes(whole, from, e)) && exec_lower(x, whole, g, o))
        rc = error_set(e, FL_NOMEM, "no memory for an executor");
    exec_free(whole);
    return rc;
}

static bool may_stop(const struct exec_options *o, int node)
{
    for (int i = 0; i < o->n_stops; i++)
        if (o->stops[i] == node)
            return true;
    for (int i = 0; i < o->n_rounded; i++)
        if (o->rounded[i] == node + 1)
            return true;
    return !o->only_stops;
}

static void forget_cuts(struct exec *x, const struct exec_options *o)
{
    for (int i = 0; i < x->n_steps - 1; i++)
        if (!may_stop(o, x->first + i))
            x->step[i].cut = -1;
}

static int mark_rounded(struct exec *x, const struct exec_options *o, struct error *e)
{
    for (int i = 0; i < o->n_rounded; i++) {
        int at = o->rounded[i] - x->first;
        if (at < 1 || at >= x->n_steps)
            continue;
        if (x->step[at - 1].cut < 0)
            return error_set(e, FL_INTERNAL, "there is no cut before node %s", x->step[at].node.name);
        x->step[at].rounded = true;
    }
    return FL_OK;
}

int exec_new(struct exec **out, const struct graph *g, const struct exec_options *o, struct error *e)
{
    struct exec *x;
    struct source from = {g, NULL, NULL};
    int rc;
    *out = NULL;
    if ((rc = check_options(g, o, e)))
        return rc;
    x = calloc(1, sizeof *x);
    from.slot_of = malloc(((size_t)g->n_values + 1) * sizeof *from.slot_of);
    if (!x || !from.slot_of || weights_new(&x->weights)) {
        rc = error_set(e, FL_NOMEM, "no memory for an executor");
        goto done;
    }
    if ((rc = layouts_of(g, &from.channels_last, e)))
        goto done;
    memset(from.slot_of, -1, (size_t)g->n_values * sizeof *from.slot_of);
    x->first = o->first;
    x->last = o->last < 0 ? g->n_nodes - 1 : o->last;
    x->n_steps = x->last - x->first + 1;
    x->max_batch = o->max_batch ? o->max_batch : 1;
    x->threads = o->threads ? o->threads : 1;
    x->by_rank = graph_is_quantized(g);
    if (team_new(&x->team, x->threads))
        rc = error_set(e, FL_UNAVAILABLE, "cannot start %d threads", x->threads);
    if (!rc && !(rc = take_nodes(x, &from, e)) && !(rc = make_edges(x, &from, true, e)) &&
        !(rc = make_edges(x, &from, false, e)) && !(rc = check_sizes(x, e)) &&
        !(rc = lower(x, o, &from, e))) {
        find_lives(x);
        forget_cuts(x, o);
        if (!(rc = mark_rounded(x, o, e)))
            rc = views_find(x, o->kernels, !o->apart && !o->n_rounded, e);
        openblas_set_num_threads(1);
        if (!rc)
            rc = exec_choose_kernels(x, o->kernels, e);
        if (!rc && !o->apart)
            parts_find(x);
        if (!rc && !(rc = make_arena(x, e)) && !(rc = make_wide(x, e)) && !(rc = keep_constants(x, e)))
            exec_set_batch(x, 1);
    }
    /* What choosing and timing used goes back to the system. */
    malloc_trim(0);
done:
    free(from.slot_of);
    free(from.channels_last);
    if (rc)
        exec_free(x);
    else
        *out = x;
    return rc;
}

void exec_free(struct exec *x)
{
    if (!x)
        return;
    for (int i = 0; x->step && i < x->n_steps; i++) {
        struct step *s = &x->step[i];
        if (s->kernel && s->kernel->release)
            s->kernel->release(s->state);
        node_release(&s->node);
        free(s->views);
    }
    for (int i = 0; i < x->n_in; i++)
        free(x->in[i].name);
    for (int i = 0; i < x->n_out; i++)
        free(x->out[i].name);
    free(x->in);
    free(x->out);
    free(x->step);
    free(x->slot);
    free(x->wide);
    if (x->arena)
        munmap(x->arena, x->arena_bytes);
    team_free(x->team);
    weights_free(x->weights);
    free(x);
}
