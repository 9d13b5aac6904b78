/* pass_norm.c - BatchNormalization into the Conv before it, zero Pad into the Conv or AveragePool after it
 *
 * y = (conv(x) - mean) * s + shift with s = scale / sqrt(variance + epsilon) is a Conv with weights w * s per
 * output channel and bias (b - mean) * s + shift. Computed in double.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"
#include "stages/ops/ops.h"

/* The Conv whose result only this BatchNormalization reads, all parameters being constant; or NULL. */
static struct node *foldable_conv(struct graph *g, const struct node *norm, const int *uses)
{
    struct node *conv = graph_producer(g, norm->in[0]);
    if (!node_is(conv, "Conv") || uses[norm->in[0]] != 1 || !node_constant(g, conv, 1))
        return NULL;
    if (conv->n_in > 2 && conv->in[2] != GRAPH_NONE && !node_constant(g, conv, 2))
        return NULL;
    for (int k = 1; k < 5; k++)
        if (!node_constant(g, norm, k))
            return NULL;
    return node_constant(g, conv, 1)->dtype == TENSOR_F32 ? conv : NULL;
}

static int fold(struct graph *g, struct node *conv, struct node *norm)
{
    const struct tensor *w = node_constant(g, conv, 1), *b = node_constant(g, conv, 2);
    const float *scale = node_constant(g, norm, 1)->data, *shift = node_constant(g, norm, 2)->data;
    const float *mean = node_constant(g, norm, 3)->data, *variance = node_constant(g, norm, 4)->data;
    double epsilon = attr_float(norm, "epsilon", 1e-5f);
    struct tensor weights = *w, bias = {.dtype = TENSOR_F32, .rank = 1, .dim = {w->dim[0]}};
    int64_t channels = w->dim[0], each = channels ? tensor_count(w) / channels : 0;
    int wv, bv;
    if (tensor_alloc(&weights) || tensor_alloc(&bias)) {
        if (weights.data != w->data)
            tensor_release(&weights);
        return FL_NOMEM;
    }
    for (int64_t o = 0; o < channels; o++) {
        double s = scale[o] / sqrt(variance[o] + epsilon);
        for (int64_t k = 0; k < each; k++)
            ((float *)weights.data)[o * each + k] = (float)(((const float *)w->data)[o * each + k] * s);
        ((float *)bias.data)[o] = (float)(((b ? ((const float *)b->data)[o] : 0) - mean[o]) * s + shift[o]);
    }
    wv = graph_add_constant(g, g->values[conv->in[1]].name, &weights);
    bv = graph_add_constant(g, NULL, &bias);
    if (wv < 0 || bv < 0 || node_widen_inputs(conv, 3))
        return FL_NOMEM;
    conv->in[1] = wv;
    conv->in[2] = bv;
    return FL_OK;
}

int pass_norm(struct graph *g, struct error *e)
{
    int *uses = graph_count_uses(g), code = uses ? FL_OK : FL_NOMEM;
    for (int i = 0; i < g->n_nodes && !code; i++) {
        struct node *norm = &g->nodes[i], *conv;
        if (!node_is(norm, "BatchNormalization") || g->values[norm->out[0]].dtype != TENSOR_F32 ||
            batch_norm_trains(norm, norm->opset))
            continue;
        conv = foldable_conv(g, norm, uses);
        if (!conv)
            continue;
        code = fold(g, conv, norm);
        if (!code)
            node_take_over(conv, norm);
    }
    free(uses);
    return code ? error_set(e, (enum fl_code)code, "out of memory") : FL_OK;
}

static bool pads_with_zero(const struct graph *g, const struct node *pad)
{
    const struct tensor *value = node_constant(g, pad, 2);
    if (strcmp(attr_string(pad, "mode", "constant"), "constant") || attr_float(pad, "value", 0) != 0)
        return false;
    if (pad->n_in > 2 && pad->in[2] != GRAPH_NONE &&
        (!value || value->dtype != TENSOR_F32 || *(const float *)value->data != 0))
        return false;
    return pad->n_in < 4 || pad->in[3] == GRAPH_NONE;
}

/* The pads of a Pad over a rank-n value, n and channels excluded: n - 2 befores, then n - 2 afters. */
static bool spatial_pads(const struct graph *g, const struct node *pad, int rank, int64_t *out)
{
    const struct attr *a = pad->opset < 11 ? attr_find(pad, "pads") : NULL;
    const struct tensor *t = node_constant(g, pad, 1);
    const int64_t *p = a && a->kind == ATTR_INTS && a->count == 2 * rank ? a->ints : NULL;
    if (!p && t && t->dtype == TENSOR_I64 && tensor_count(t) == 2 * rank)
        p = t->data;
    if (!p || p[0] || p[1] || p[rank] || p[rank + 1])
        return false;
    for (int d = 2; d < rank; d++) {
        if (p[d] < 0 || p[rank + d] < 0 || p[d] > 4096 || p[rank + d] > 4096)
            return false;
        out[d - 2] = p[d];
        out[rank - 2 + d - 2] = p[rank + d];
    }
    return true;
}

/* Adds to the node's own pads. */
static int add_pads(struct node *n, const int64_t *extra, int count)
{
    struct attr *a = node_attribute(n, "pads", ATTR_INTS);
    if (!a || (!a->ints && !(a->ints = calloc((size_t)count, sizeof *a->ints))))
        return FL_NOMEM;
    a->count = count;
    for (int k = 0; k < count; k++)
        a->ints[k] += extra[k];
    return FL_OK;
}

/* An average over a padded value is the average that counts its own padding, while no window lies in it
 * alone. */
static bool can_average(const struct node *pool, const int64_t *extra, int n)
{
    const struct attr *pads = attr_find(pool, "pads"), *kernel = attr_find(pool, "kernel_shape");
    if (attr_int(pool, "ceil_mode", 0) || attr_find(pool, "dilations") || !kernel || kernel->count * 2 != n)
        return false;
    for (int k = 0; k < n; k++)
        if ((pads && pads->ints[k]) || extra[k] >= kernel->ints[k % kernel->count])
            return false;
    return true;
}

static int absorb_pad(struct graph *g, struct node *n, const struct node *pad)
{
    int64_t extra[2 * TENSOR_MAX_RANK];
    int rank = g->values[n->in[0]].rank, count = 2 * (rank - 2);
    bool pool = node_is(n, "AveragePool");
    struct attr *counted;
    if (strcmp(attr_string(n, "auto_pad", "NOTSET"), "NOTSET") || !pads_with_zero(g, pad) ||
        !spatial_pads(g, pad, rank, extra) || (pool && !can_average(n, extra, count)))
        return FL_OK;
    if (pool) {
        counted = node_attribute(n, "count_include_pad", ATTR_INT);
        if (!counted)
            return FL_NOMEM;
        counted->i = 1;
    }
    if (add_pads(n, extra, count))
        return FL_NOMEM;
    n->in[0] = pad->in[0];
    return FL_OK;
}

int pass_pad(struct graph *g, struct error *e)
{
    for (int i = 0; i < g->n_nodes; i++) {
        struct node *n = &g->nodes[i], *pad;
        if (!node_is(n, "Conv") && !node_is(n, "AveragePool"))
            continue;
        pad = graph_producer(g, n->in[0]);
        if (node_is(pad, "Pad") && absorb_pad(g, n, pad))
            return error_set(e, FL_NOMEM, "out of memory");
    }
    return FL_OK;
}
