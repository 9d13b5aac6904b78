/* qdq.c - a network with QuantizeLinear and DequantizeLinear where int8 rounds
 *
 * All values are uint8, signed ones with 128 as their zero, since ONNX Runtime adds and multiplies values of
 * one type alone; read back here these are the int8 that they were.
 */
#include "qdq.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"
#include "stages/simd/low.h"

#define REACH 127 /* steps of the largest weight */

/* A new constant of n elements (0: a scalar), zeros; *data is where they lie. -1 without memory. */
static int constant(struct graph *g, enum tensor_dtype type, int64_t n, void **data)
{
    struct tensor t = {.dtype = type, .rank = n > 0, .dim = {n}};
    if (tensor_alloc(&t))
        return -1;
    *data = memset(t.data, 0, (size_t)tensor_bytes(&t));
    return graph_add_constant(g, NULL, &t);
}

/* A node of that operator behind value `from`; its output is a new value with the dims of `from`. -1 without
 * memory. */
static int add_half(struct graph *g, const char *op, int from, int scale, int zero, int64_t axis)
{
    int to = graph_add_value(g, NULL), at;
    char name[256];
    struct attr *a;
    if (to < 0 || scale < 0 || zero < 0)
        return -1;
    snprintf(name, sizeof name, "%.200s/%s", g->values[from].name, op);
    g->values[to].dtype = strcmp(op, "QuantizeLinear") ? TENSOR_F32 : TENSOR_U8;
    g->values[to].rank = g->values[from].rank;
    memcpy(g->values[to].dim, g->values[from].dim, sizeof g->values[to].dim);
    at = graph_add_node(g, name, op_find(op, g->opset), 3, 1);
    if (at < 0)
        return -1;
    memcpy(g->nodes[at].in, (int[]){from, scale, zero}, 3 * sizeof(int));
    g->nodes[at].out[0] = to;
    if (axis < 0)
        return to;
    a = node_attribute(&g->nodes[at], "axis", ATTR_INT);
    if (a)
        a->i = axis;
    return a ? to : -1;
}

/* All that read the value read its rounded one. */
static int round_value(struct graph *g, int value, const struct quantized_value *q)
{
    int n_nodes = g->n_nodes, scale, zero, to;
    void *data;
    if ((scale = constant(g, TENSOR_F32, 0, &data)) < 0)
        return FL_NOMEM;
    *(float *)data = q->step;
    if ((zero = constant(g, TENSOR_U8, 0, &data)) < 0)
        return FL_NOMEM;
    *(uint8_t *)data = q->is_signed ? 128 : 0;
    to = add_half(g, "QuantizeLinear", value, scale, zero, -1);
    to = to < 0 ? -1 : add_half(g, "DequantizeLinear", to, scale, zero, -1);
    if (to < 0)
        return FL_NOMEM;
    for (int i = 0; i < n_nodes; i++)
        for (int k = 0; k < g->nodes[i].n_in; k++)
            if (g->nodes[i].in[k] == value)
                g->nodes[i].in[k] = to;
    return FL_OK;
}

/* How weights lie: of channel c number k is at c * channel + k * number. */
struct lie {
    int64_t channels, each, channel, number;
    int axis;
};

/* False where the node is no product with constant weights. */
static bool weights_lie(const struct graph *g, const struct node *n, struct lie *l)
{
    const struct tensor *w = node_constant(g, n, 1);
    bool conv = node_is(n, "Conv"), rows = node_is(n, "Gemm") && attr_int(n, "transB", 0);
    if (!w || w->dtype != TENSOR_F32 || tensor_count(w) < 1)
        return false;
    if (conv || (rows && w->rank == 2))
        *l = (struct lie){w->dim[0], tensor_count(w) / w->dim[0], tensor_count(w) / w->dim[0], 1, 0};
    else if ((node_is(n, "Gemm") || node_is(n, "MatMul")) && w->rank == 2)
        *l = (struct lie){w->dim[1], w->dim[0], 1, w->dim[1], 1};
    else
        return false;
    return true;
}

static int round_weights(struct graph *g, int node, const struct lie *l, float *steps)
{
    const struct tensor *w = node_constant(g, &g->nodes[node], 1);
    struct tensor q = *w;
    float *one = malloc((size_t)l->each * sizeof *one);
    int8_t *integer = malloc((size_t)l->each);
    int value, scale, zero;
    void *data;
    q.dtype = TENSOR_I8;
    if (!one || !integer || tensor_alloc(&q)) {
        free(one);
        free(integer);
        return FL_NOMEM;
    }
    for (int64_t c = 0; c < l->channels; c++) {
        for (int64_t k = 0; k < l->each; k++)
            one[k] = ((const float *)w->data)[c * l->channel + k * l->number];
        steps[c] = low_weight_step(one, l->each, REACH);
        low_narrow(one, TENSOR_I8, (struct scale){steps[c], 0}, integer, l->each);
        for (int64_t k = 0; k < l->each; k++)
            ((int8_t *)q.data)[c * l->channel + k * l->number] = integer[k];
    }
    free(one);
    free(integer);
    value = graph_add_constant(g, g->values[g->nodes[node].in[1]].name, &q);
    if (value < 0 || (scale = constant(g, TENSOR_F32, l->channels, &data)) < 0)
        return FL_NOMEM;
    memcpy(data, steps, (size_t)l->channels * sizeof *steps);
    zero = constant(g, TENSOR_I8, l->channels, &data);
    value = add_half(g, "DequantizeLinear", value, scale, zero, l->axis);
    if (value < 0)
        return FL_NOMEM;
    g->nodes[node].in[1] = value;
    return FL_OK;
}

/* A bias as integers of the product of both steps, unless it does not fit. */
static int round_bias(struct graph *g, int node, int64_t channels, float input_step, const float *steps)
{
    const struct tensor *b = node_constant(g, &g->nodes[node], 2);
    int value, scale, zero;
    void *integer, *data;
    if (!b || b->dtype != TENSOR_F32 || b->rank != 1 || b->dim[0] != channels)
        return FL_OK;
    for (int64_t c = 0; c < channels; c++)
        if (fabs((double)((const float *)b->data)[c] / ((double)input_step * (double)steps[c])) > 2e9)
            return FL_OK;
    if ((value = constant(g, TENSOR_I32, channels, &integer)) < 0 ||
        (scale = constant(g, TENSOR_F32, channels, &data)) < 0)
        return FL_NOMEM;
    for (int64_t c = 0; c < channels; c++) {
        ((float *)data)[c] = input_step * steps[c];
        ((int32_t *)integer)[c] =
            (int32_t)lrint((double)((const float *)b->data)[c] / (double)((float *)data)[c]);
    }
    zero = constant(g, TENSOR_I32, channels, &data);
    value = add_half(g, "DequantizeLinear", value, scale, zero, 0);
    if (value < 0)
        return FL_NOMEM;
    g->nodes[node].in[2] = value;
    return FL_OK;
}

static int round_product(struct graph *g, int node, const struct quantization *q)
{
    const struct node *n = &g->nodes[node];
    const struct quantized_value *in = n->n_in > 1 ? quantization_find(q, g->values[n->in[0]].name) : NULL;
    struct lie l;
    float *steps;
    int rc;
    if (!in || !weights_lie(g, n, &l))
        return FL_OK;
    steps = malloc((size_t)l.channels * sizeof *steps);
    rc = steps ? round_weights(g, node, &l, steps) : FL_NOMEM;
    if (!rc && !node_is(&g->nodes[node], "MatMul"))
        rc = round_bias(g, node, l.channels, in->step, steps);
    free(steps);
    return rc;
}

int qdq_insert(struct graph *g, const struct quantization *q, struct error *e)
{
    int n_nodes = g->n_nodes, n_values = g->n_values, rc = FL_OK;
    for (int i = 0; i < n_nodes && !rc; i++)
        rc = round_product(g, i, q);
    for (int v = 0; v < n_values && !rc; v++) {
        const struct quantized_value *at = quantization_find(q, g->values[v].name);
        if (at && !g->values[v].constant && g->values[v].dtype == TENSOR_F32 && !graph_is_output(g, v))
            rc = round_value(g, v, at);
    }
    if (rc)
        return error_set(e, (enum fl_code)rc, "out of memory");
    return (rc = graph_sort(g, e)) ? rc : graph_sweep(g, e);
}

int qdq_add_summands(struct quantization *q, const struct quantization *measured, const struct graph *g)
{
    int rc = FL_OK;
    for (int i = 0; i < g->n_nodes && !rc; i++)
        for (int k = 0; node_is(&g->nodes[i], "Add") && k < 2 && !rc; k++) {
            const char *name = g->values[g->nodes[i].in[k]].name;
            const struct quantized_value *m = quantization_find(measured, name);
            if (m && node_is(graph_producer(g, g->nodes[i].in[k]), "Conv") && !quantization_find(q, name))
                rc = quantization_add(q, name, m->step, m->is_signed);
        }
    return rc;
}
