/* test_qdq.c - quantized models: written, read back, run as they are; operators on integers */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/quantize/qdq.h"
#include "stages/exec/exec.h"
#include "stages/graph/graph_build.h"
#include "stages/onnx/onnx_write.h"

#define MODEL "tests/data/tiny.onnx"

static char path[] = "/tmp/test_qdq.XXXXXX";
static uint32_t seed;

static uint32_t draw(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static float draw_real(void)
{
    return (float)draw(2000001) / 1000000 - 1;
}

static struct graph *load(const char *from, const struct graph_options *o)
{
    struct graph *g;
    struct error e = {FL_OK, ""};
    if (graph_load(&g, from, o, &e))
        fail_msg("%s", e.text);
    return g;
}

/* The answers of one run on these numbers, or on drawn ones (NULL); `n` of them. */
static float *answers_to(const float *input, const struct graph *g, struct exec_options o, int batch,
                         int64_t *n)
{
    struct error e = {FL_OK, ""};
    struct exec *x;
    struct tensor t;
    float *copy;
    o.last = -1;
    o.max_batch = batch;
    if (exec_new(&x, g, &o, &e))
        fail_msg("%s", e.text);
    seed = 11;
    for (int i = 0; i < exec_n_inputs(x); i++) {
        t = exec_input_shape(x, i, batch);
        for (int64_t k = 0; k < tensor_count(&t); k++)
            ((float *)exec_input_buffer(x, i))[k] = input ? input[k] : draw_real();
    }
    if (exec_run(x, 0, g->n_nodes - 1, batch, NULL, NULL, &e))
        fail_msg("%s", e.text);
    t = exec_output(x, 0, batch);
    *n = tensor_count(&t);
    copy = malloc((size_t)*n * sizeof *copy);
    memcpy(copy, t.data, (size_t)*n * sizeof *copy);
    exec_free(x);
    return copy;
}

static float *answers(const struct graph *g, struct exec_options o, int batch, int64_t *n)
{
    return answers_to(NULL, g, o, batch, n);
}

static void assert_near(const float *got, const float *want, int64_t n, double allowed)
{
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= allowed))
            fail_msg("number %d is %g, expected %g within %g", (int)i, (double)got[i], (double)want[i],
                     allowed);
}

static bool is_fast(void)
{
    return engine_precision_fast(PRECISION_INT8);
}

static double largest(const float *x, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        most = fmax(most, fabs((double)x[i]));
    return most;
}

/* --- the file that `quantize --output` writes --- */

/* Steps for what convolutions take and make: values of the network reach about so far on drawn numbers. */
static void some_steps(struct quantization *q, const struct graph *g)
{
    *q = (struct quantization){0};
    memcpy(q->model, g->digest, sizeof q->model);
    for (int i = 0; i < g->n_nodes; i++) {
        const struct node *n = &g->nodes[i];
        int values[3] = {n->in[0], n->out[0],
                         n->post.residual == GRAPH_NONE ? n->out[0] : n->in[n->post.residual]};
        for (int k = 0; node_is(n, "Conv") && k < 3; k++) {
            const struct node *made = graph_producer(g, values[k]);
            bool positive = made && made->post.activation == ACT_RELU;
            assert_int_equal(
                quantization_add(q, g->values[values[k]].name, positive ? 6.0f / 255 : 6.0f / 127, !positive),
                FL_OK);
        }
    }
}

static void what_is_written_answers_as_int8(void **state)
{
    struct graph *g = load(MODEL, NULL), *plain = load(MODEL, &(struct graph_options){.for_writing = true}),
                 *back;
    struct quantization q, all;
    struct exec_options o = {.kernels = KERNELS_ONEDNN};
    bool int8 = engine_precision_check(PRECISION_INT8, KERNELS_AUTO, NULL) == FL_OK;
    int64_t n, m;
    float *want, *got, *full;
    if (!int8)
        o.kernels = KERNELS_AUTO;
    some_steps(&q, g);
    some_steps(&all, g);
    /* What is added up is rounded in the file, and never here. */
    for (int i = 0; i < plain->n_nodes; i++)
        if (node_is(&plain->nodes[i], "Conv") &&
            !quantization_find(&q, plain->values[plain->nodes[i].out[0]].name) &&
            quantization_add(&q, plain->values[plain->nodes[i].out[0]].name, 6.0f / 127, true))
            fail();
    assert_int_equal(qdq_add_summands(&all, &q, plain), FL_OK);
    assert_true(all.n > 0 && all.n < q.n);
    assert_int_equal(qdq_insert(plain, &all, NULL), FL_OK);
    assert_int_equal(onnx_write(plain, path, NULL), FL_OK);
    back = load(path, NULL);
    assert_true(graph_is_quantized(back));
    assert_int_equal(back->n_nodes, g->n_nodes);
    full = answers(g, o, 3, &n);
    got = answers(back, o, 3, &m);
    assert_int_equal(n, m);
    if (int8) {
        o.precision = PRECISION_INT8;
        o.quantization = &all;
    }
    want = answers(g, o, 3, &m);
    /* Biases are integers in the file; weights have coarser steps where the CPU has no instructions for them.
     */
    assert_near(got, want, n, (is_fast() ? 0.01 : 0.05) * largest(want, n));
    assert_near(got, full, n, 0.2 * largest(full, n));
    free(want);
    free(got);
    free(full);
    quantization_release(&q);
    quantization_release(&all);
    graph_free(back);
    graph_free(plain);
    graph_free(g);
}

/* --- models as others write them --- */

static int value(struct graph *g, const char *name, int64_t c, int64_t side)
{
    int v = graph_add_value(g, name);
    assert_true(v >= 0);
    g->values[v].dtype = TENSOR_F32;
    g->values[v].rank = 4;
    g->values[v].dim[0].per_batch = 1;
    g->values[v].dim[1].fixed = c;
    g->values[v].dim[2].fixed = g->values[v].dim[3].fixed = side;
    return v;
}

static int scalar(struct graph *g, enum tensor_dtype type, double x)
{
    struct tensor t = {.dtype = type};
    int v;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    if (type == TENSOR_F32)
        *(float *)t.data = (float)x;
    else
        *(int8_t *)t.data = (int8_t)(int)x;
    assert_true((v = graph_add_constant(g, NULL, &t)) >= 0);
    return v;
}

static int integers(struct graph *g, enum tensor_dtype type, int rank, const int64_t *dim)
{
    struct tensor t = {.dtype = type, .rank = rank};
    int v;
    memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int64_t i = 0; i < tensor_count(&t); i++)
        if (type == TENSOR_I32)
            ((int32_t *)t.data)[i] = (int32_t)draw(4001) - 2000;
        else
            ((int8_t *)t.data)[i] = (int8_t)((int)draw(201) - 100);
    assert_true((v = graph_add_constant(g, NULL, &t)) >= 0);
    return v;
}

static int node(struct graph *g, const char *op, const int *in, int n, int out)
{
    char name[32];
    int at;
    snprintf(name, sizeof name, "%s_%d", op, g->n_nodes);
    out = out == GRAPH_NONE ? graph_add_value(g, NULL) : out;
    at = graph_add_node(g, name, op_find(op, 13), n, 1);
    assert_true(at >= 0 && out >= 0);
    memcpy(g->nodes[at].in, in, (size_t)n * sizeof *in);
    g->nodes[at].out[0] = out;
    g->values[out].producer = at;
    return out;
}

static void pad_by_one(struct graph *g)
{
    struct attr *a = node_attribute(&g->nodes[g->n_nodes - 1], "pads", ATTR_INTS);
    assert_non_null(a);
    a->count = 4;
    a->ints = malloc(4 * sizeof *a->ints);
    for (int i = 0; i < 4; i++)
        a->ints[i] = 1;
}

/* Rounded to uint8 and back. */
static int round_trip(struct graph *g, int v, double step, int zero)
{
    int s = scalar(g, TENSOR_F32, step), z = scalar(g, TENSOR_U8, zero);
    v = node(g, "QuantizeLinear", (int[]){v, s, z}, 3, GRAPH_NONE);
    return node(g, "DequantizeLinear", (int[]){v, s, z}, 3, GRAPH_NONE);
}

/* Weights as integers of one step, a bias as well. */
static int convolution(struct graph *g, int x, double x_step, int64_t in, int64_t out, int64_t kernel)
{
    int w = integers(g, TENSOR_I8, 4, (int64_t[]){out, in, kernel, kernel}),
        b = integers(g, TENSOR_I32, 1, &out), y;
    w = node(g, "DequantizeLinear", (int[]){w, scalar(g, TENSOR_F32, 0.01), scalar(g, TENSOR_I8, 0)}, 3,
             GRAPH_NONE);
    b = node(g, "DequantizeLinear", (int[]){b, scalar(g, TENSOR_F32, 0.01 * x_step)}, 2, GRAPH_NONE);
    y = node(g, "Conv", (int[]){x, w, b}, 3, GRAPH_NONE);
    if (kernel == 3)
        pad_by_one(g);
    return y;
}

/* Two layers, a sum with what was before them, a pool between integers, and no Relu where rounding cuts off.
 */
static struct graph *foreign(void)
{
    struct graph *g = calloc(1, sizeof *g);
    int x, y, s, z, out;
    assert_non_null(g);
    g->opset = 13;
    g->ir_version = 7;
    g->inputs = malloc(sizeof *g->inputs);
    g->outputs = malloc(sizeof *g->outputs);
    g->n_inputs = g->n_outputs = 1;
    seed = 3;
    x = g->inputs[0] = value(g, "x", 3, 9);
    x = round_trip(g, x, 0.01, 117);
    x = round_trip(g, convolution(g, x, 0.01, 3, 16, 3), 0.06, 0);
    y = node(g, "Relu", (int[]){convolution(g, x, 0.06, 16, 16, 3)}, 1, GRAPH_NONE);
    y = round_trip(g, y, 0.2, 3);
    y = convolution(g, y, 0.2, 16, 16, 1);
    s = scalar(g, TENSOR_F32, 1);
    z = scalar(g, TENSOR_U8, 60);
    y = node(g, "QuantizeLinear", (int[]){y, s, z}, 3, GRAPH_NONE);
    y = node(g, "Clip", (int[]){y, scalar(g, TENSOR_U8, 0), scalar(g, TENSOR_U8, 127)}, 3, GRAPH_NONE);
    y = node(g, "DequantizeLinear", (int[]){y, s, z}, 3, GRAPH_NONE);
    y = round_trip(g, node(g, "Add", (int[]){y, x}, 2, GRAPH_NONE), 0.6, 100);
    s = scalar(g, TENSOR_F32, 0.6);
    z = scalar(g, TENSOR_U8, 100);
    y = node(g, "QuantizeLinear", (int[]){y, s, z}, 3, GRAPH_NONE);
    y = node(g, "DequantizeLinear", (int[]){y, s, z}, 3, GRAPH_NONE);
    out = g->outputs[0] = value(g, "y", 8, 9);
    y = convolution(g, y, 0.6, 16, 8, 1);
    g->nodes[g->values[y].producer].out[0] = out;
    return g;
}

static void foreign_models_run_in_integers(void **state)
{
    struct graph *made = foreign(), *g, *written;
    struct exec_options plain = {.kernels = KERNELS_REFERENCE}, fast = {.kernels = KERNELS_AUTO};
    int64_t n, m;
    float *want, *got, *wide;
    assert_int_equal(onnx_write(made, path, NULL), FL_OK);
    graph_free(made);
    written = load(path, &(struct graph_options){.keep_as_written = true});
    g = load(path, NULL);
    assert_true(graph_is_quantized(g) && !graph_is_quantized(written));
    for (int i = 0; i < g->n_nodes; i++)
        assert_false(node_is(&g->nodes[i], "DequantizeLinear") || node_is(&g->nodes[i], "Add"));
    want = answers(written, plain, 2, &n);
    got = answers(g, fast, 2, &m);
    assert_int_equal(n, m);
    assert_near(got, want, n, 0.03 * largest(want, n));
    /* Without integers it answers nearly the same: what rounding cut off, a Clip cuts off. */
    fast.kernels = KERNELS_OPENBLAS;
    wide = answers(g, fast, 2, &m);
    assert_near(wide, want, n, 0.05 * largest(want, n));
    free(want);
    free(got);
    free(wide);
    graph_free(g);
    graph_free(written);
}

/* Both halves of a model answer as the whole: what is handed on is a number, and the same integer on either
 * side. */
static void parts_answer_as_the_whole(void **state)
{
    struct graph *made = foreign(), *g;
    struct cut *cut;
    int n;
    assert_int_equal(onnx_write(made, path, NULL), FL_OK);
    graph_free(made);
    g = load(path, NULL);
    assert_int_equal(graph_cuts(g, &cut, &n, NULL), FL_OK);
    for (int i = 0; i < n; i++) {
        struct exec_options o = {.max_batch = 2, .last = -1};
        struct exec *whole, *head, *tail;
        struct tensor t, want;
        assert_int_equal(exec_new(&whole, g, &o, NULL), FL_OK);
        o.last = cut[i].node;
        assert_int_equal(exec_new(&head, g, &o, NULL), FL_OK);
        o.first = cut[i].node + 1;
        o.last = -1;
        assert_int_equal(exec_new(&tail, g, &o, NULL), FL_OK);
        t = exec_input_shape(whole, 0, 2);
        seed = 17;
        for (int64_t k = 0; k < tensor_count(&t); k++)
            ((float *)exec_input_buffer(whole, 0))[k] = ((float *)exec_input_buffer(head, 0))[k] =
                draw_real();
        assert_int_equal(exec_run(whole, 0, g->n_nodes - 1, 2, NULL, NULL, NULL), FL_OK);
        assert_int_equal(exec_run(head, 0, cut[i].node, 2, NULL, NULL, NULL), FL_OK);
        t = exec_output(head, 0, 2);
        memcpy(exec_input_buffer(tail, 0), t.data, (size_t)tensor_bytes(&t));
        assert_int_equal(exec_run(tail, cut[i].node + 1, g->n_nodes - 1, 2, NULL, NULL, NULL), FL_OK);
        want = exec_output(whole, 0, 2);
        t = exec_output(tail, 0, 2);
        assert_memory_equal(t.data, want.data, (size_t)tensor_bytes(&want));
        exec_free(whole);
        exec_free(head);
        exec_free(tail);
    }
    assert_true(n > 0);
    free(cut);
    graph_free(g);
}

/* A pair is left alone where something else reads the value, or its halves differ. */
static void what_is_no_pair_stays(void **state)
{
    struct graph *g = calloc(1, sizeof *g);
    int x, q, y;
    assert_non_null(g);
    g->opset = 13;
    g->inputs = malloc(sizeof *g->inputs);
    g->outputs = malloc(sizeof *g->outputs);
    g->n_inputs = g->n_outputs = 1;
    x = g->inputs[0] = value(g, "x", 3, 9);
    q = node(g, "QuantizeLinear", (int[]){x, scalar(g, TENSOR_F32, 0.1), scalar(g, TENSOR_U8, 9)}, 3,
             GRAPH_NONE);
    y = node(g, "DequantizeLinear", (int[]){q, scalar(g, TENSOR_F32, 0.2), scalar(g, TENSOR_U8, 9)}, 3,
             GRAPH_NONE);
    g->outputs[0] = node(g, "Add", (int[]){x, y}, 2, value(g, "y", 3, 9));
    assert_int_equal(onnx_write(g, path, NULL), FL_OK);
    graph_free(g);
    g = load(path, NULL);
    assert_false(graph_is_quantized(g));
    assert_int_equal(g->n_nodes, 3);
    graph_free(g);
}

/* --- operators on integers: the examples of ONNX's own documents --- */

/* A graph whose one input is made integers of 8 bits, exactly; *x is these. */
static struct graph *on_integers(int64_t rows, int64_t columns, int rank, int *x)
{
    struct graph *g = calloc(1, sizeof *g);
    struct value *v;
    assert_non_null(g);
    g->opset = 13;
    g->inputs = malloc(sizeof *g->inputs);
    g->outputs = malloc(sizeof *g->outputs);
    g->n_inputs = g->n_outputs = 1;
    *x = g->inputs[0] = value(g, "x", 1, 1);
    v = &g->values[*x];
    v->rank = rank;
    for (int d = 0; d < rank; d++)
        v->dim[d] = (struct extent){d == rank - 2 ? rows : d == rank - 1 ? columns : 1, 0};
    *x = node(g, "QuantizeLinear", (int[]){*x, scalar(g, TENSOR_F32, 1), scalar(g, TENSOR_U8, 0)}, 3,
              GRAPH_NONE);
    return g;
}

static int bytes(struct graph *g, int rank, const int64_t *dim, const uint8_t *from)
{
    struct tensor t = {.dtype = TENSOR_U8, .rank = rank};
    memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    memcpy(t.data, from, (size_t)tensor_count(&t));
    return graph_add_constant(g, NULL, &t);
}

/* The node's integers as numbers are the model's output: writes, reads and runs it. */
static void assert_integers(struct graph *g, int made, const float *input, const float *want, int64_t count)
{
    struct exec_options o = {.kernels = KERNELS_AUTO};
    struct attr *to;
    int64_t n;
    float *got;
    g->outputs[0] = node(g, "Cast", &made, 1, value(g, "y", 1, 1));
    g->values[g->outputs[0]].rank = 0; /* nobody reads it */
    to = node_attribute(&g->nodes[g->n_nodes - 1], "to", ATTR_INT);
    to->i = TENSOR_F32;
    assert_int_equal(onnx_write(g, path, NULL), FL_OK);
    graph_free(g);
    g = load(path, NULL);
    got = answers_to(input, g, o, 1, &n);
    assert_int_equal(n, count);
    for (int64_t i = 0; i < n; i++)
        assert_float_equal(got[i], want[i], 0);
    free(got);
    graph_free(g);
}

static void a_product_of_integers(void **state)
{
    static const float a[] = {208, 236, 0, 238, 3, 214, 255, 29}, want[] = {168, 115, 255, 1, 66, 151};
    static const uint8_t b[] = {152, 51, 244, 60, 26, 255, 0, 127, 246, 127, 254, 247};
    int x, w, y;
    struct graph *g = on_integers(2, 4, 2, &x);
    w = bytes(g, 2, (int64_t[]){4, 3}, b);
    y = node(g, "QLinearMatMul",
             (int[]){x, scalar(g, TENSOR_F32, 0.0066), scalar(g, TENSOR_U8, 113), w,
                     scalar(g, TENSOR_F32, 0.00705), scalar(g, TENSOR_U8, 114), scalar(g, TENSOR_F32, 0.0107),
                     scalar(g, TENSOR_U8, 118)},
             8, GRAPH_NONE);
    assert_integers(g, y, a, want, 6);
}

static void a_product_that_adds_up_integers(void **state)
{
    static const float a[] = {11, 7, 3, 10, 6, 2, 9, 5, 1, 8, 4, 0},
                       want[] = {-38, -83, -44, -98, -50, -113, -56, -128};
    static const uint8_t b[] = {1, 4, 2, 5, 3, 6};
    int x, w, y;
    struct graph *g = on_integers(4, 3, 2, &x);
    w = bytes(g, 2, (int64_t[]){3, 2}, b);
    y = node(g, "MatMulInteger", (int[]){x, w, scalar(g, TENSOR_U8, 12), scalar(g, TENSOR_U8, 0)}, 4,
             GRAPH_NONE);
    assert_integers(g, y, a, want, 8);
}

static void a_convolution_that_adds_up_integers(void **state)
{
    static const float a[] = {2, 3, 4, 5, 6, 7, 8, 9, 10}, want[] = {12, 16, 24, 28};
    static const uint8_t b[] = {1, 1, 1, 1};
    int x, w, y;
    struct graph *g = on_integers(3, 3, 4, &x);
    w = bytes(g, 4, (int64_t[]){1, 1, 2, 2}, b);
    y = node(g, "ConvInteger", (int[]){x, w, scalar(g, TENSOR_U8, 1)}, 3, GRAPH_NONE);
    assert_integers(g, y, a, want, 4);
}

static void integers_that_are_made_at_run_time(void **state)
{
    static const float a[] = {0, 2, -3, -2.5f, 1.34f, 0.5f}, want[] = {153, 255, 0, 26, 221, 179};
    int x, at;
    struct graph *g = on_integers(1, 6, 2, &x);
    at = graph_add_node(g, "dynamic", op_find("DynamicQuantizeLinear", 13), 1, 3);
    g->nodes[at].in[0] = g->inputs[0];
    for (int k = 0; k < 3; k++)
        g->nodes[at].out[k] = graph_add_value(g, NULL);
    assert_integers(g, g->nodes[at].out[0], a, want, 6);
}

/* As ONNX Runtime's dynamic quantization writes a product. */
static void integers_of_a_products_own(void **state)
{
    struct exec_options plain = {.kernels = KERNELS_REFERENCE}, fast = {.kernels = KERNELS_AUTO};
    struct graph *g = calloc(1, sizeof *g), *written;
    int x, w, y, at, scale, bias;
    int64_t n, m;
    float *want, *got;
    assert_non_null(g);
    g->opset = 13;
    g->inputs = malloc(sizeof *g->inputs);
    g->outputs = malloc(sizeof *g->outputs);
    g->n_inputs = g->n_outputs = 1;
    x = g->inputs[0] = value(g, "x", 7, 64);
    at = graph_add_node(g, "dynamic", op_find("DynamicQuantizeLinear", 13), 1, 3);
    g->nodes[at].in[0] = x;
    for (int k = 0; k < 3; k++)
        g->nodes[at].out[k] = graph_add_value(g, NULL);
    seed = 9;
    w = integers(g, TENSOR_I8, 2, (int64_t[]){64, 64});
    scale = node(g, "Mul", (int[]){g->nodes[at].out[1], scalar(g, TENSOR_F32, 0.01)}, 2, GRAPH_NONE);
    y = node(g, "MatMulInteger",
             (int[]){g->nodes[at].out[0], w, g->nodes[at].out[2], scalar(g, TENSOR_I8, 0)}, 4, GRAPH_NONE);
    y = node(g, "Cast", &y, 1, GRAPH_NONE);
    node_attribute(&g->nodes[g->n_nodes - 1], "to", ATTR_INT)->i = TENSOR_F32;
    y = node(g, "Mul", (int[]){y, scale}, 2, GRAPH_NONE);
    bias = node(g, "Cast", (int[]){integers(g, TENSOR_I8, 1, (int64_t[]){64})}, 1, GRAPH_NONE);
    node_attribute(&g->nodes[g->n_nodes - 1], "to", ATTR_INT)->i = TENSOR_F32;
    y = node(g, "Add", (int[]){y, bias}, 2, GRAPH_NONE);
    g->outputs[0] = node(g, "Add", (int[]){y, x}, 2, value(g, "y", 7, 64));
    assert_int_equal(onnx_write(g, path, NULL), FL_OK);
    graph_free(g);
    written = load(path, &(struct graph_options){.keep_as_written = true});
    g = load(path, NULL);
    assert_int_equal(g->n_nodes, 1);
    assert_true(graph_is_quantized(g));
    /* Numbers are drawn anew for each batch: one request alone. */
    want = answers(written, plain, 1, &n);
    got = answers(g, fast, 1, &m);
    assert_int_equal(n, m);
    assert_near(got, want, n, (is_fast() ? 1e-4 : 0.02) * largest(want, n));
    free(got);
    fast.kernels = KERNELS_OPENBLAS;
    got = answers(g, fast, 1, &m);
    assert_near(got, want, n, 0.02 * largest(want, n));
    free(got);
    free(want);
    graph_free(g);
    graph_free(written);
}

static int make_file(void **state)
{
    return close(mkstemp(path));
}

static int remove_file(void **state)
{
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_answers_as_int8),
        cmocka_unit_test(foreign_models_run_in_integers),
        cmocka_unit_test(parts_answer_as_the_whole),
        cmocka_unit_test(what_is_no_pair_stays),
        cmocka_unit_test(a_product_of_integers),
        cmocka_unit_test(a_product_that_adds_up_integers),
        cmocka_unit_test(a_convolution_that_adds_up_integers),
        cmocka_unit_test(integers_that_are_made_at_run_time),
        cmocka_unit_test(integers_of_a_products_own),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
