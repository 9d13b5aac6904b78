/* test_low.c - lower precision: conversions, convolutions against the reference, executors, files of scales
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "stages/exec/exec.h"
#include "stages/kernels/kernels.h"
#include "stages/simd/low.h"
#include "stages/simd/simd.h"

#define MODEL  "tests/data/tiny.onnx"
#define PIXELS (3 * 16 * 16)

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

static bool computes_in(enum exec_precision p)
{
    return engine_precision_check(p, KERNELS_AUTO, NULL) == FL_OK;
}

/* --- conversions --- */

static void numbers_are_rounded_to_the_nearest(void **state)
{
    /* 1 + 2^-8 lies between two of bfloat16's numbers: the even one is 1. */
    const float x[] = {1, 1.00390625f, 1.01171875f, -0.0f, INFINITY, -INFINITY, NAN, 3e38f, 3.4e38f};
    const float want[] = {1, 1, 1.015625f, -0.0f, INFINITY, -INFINITY, NAN, 3.0040554e38f, INFINITY};
    const float many[] = {0.5f, 1.5f, 2.4f, -3, 254.6f, 300, -200, NAN, INFINITY};
    const uint8_t as_u8[] = {0, 2, 2, 0, 255, 255, 0, 0, 255};
    const int8_t as_i8[] = {0, 2, 2, -3, 127, 127, -128, 0, 127};
    for (int i = 0; simd_nth(i); i++) {
        uint16_t half[9];
        uint8_t u8[9];
        int8_t i8[9];
        float back[9];
        simd_force(simd_nth(i));
        low_narrow(x, TENSOR_BF16, SCALE_NONE, half, 9);
        low_widen(half, TENSOR_BF16, SCALE_NONE, back, 9);
        for (int k = 0; k < 9; k++)
            assert_true(isnan(want[k])
                            ? isnan(back[k])
                            : fabsf(back[k] - want[k]) <= 1e-4f * fabsf(want[k]) || back[k] == want[k]);
        low_narrow(many, TENSOR_U8, SCALE_NONE, u8, 9);
        low_narrow(many, TENSOR_I8, SCALE_NONE, i8, 9);
        assert_memory_equal(u8, as_u8, sizeof u8);
        assert_memory_equal(i8, as_i8, sizeof i8);
        low_widen(u8, TENSOR_U8, (struct scale){0.5f, 0}, back, 9);
        assert_float_equal(back[4], 127.5f, 0);
        low_widen(i8, TENSOR_I8, (struct scale){0.5f, 1}, back, 9);
        assert_float_equal(back[3], -2, 0);
    }
    simd_force(NULL);
}

/* --- convolutions --- */

/* One convolution whose numbers a lower type holds exactly, so that only results are rounded. */
struct conv {
    struct node node;
    struct attr attr[3];
    int64_t strides[2], pads[4];
    int slots[4];
    int64_t batch, ic, oc, size, kernel, out;
    struct view in[4], y; /* data: float32, as the reference reads and writes them */
    enum tensor_dtype type;
};

static enum tensor_dtype draw_type(const struct conv *c)
{
    return c->type == TENSOR_BF16 ? TENSOR_BF16 : draw(2) ? TENSOR_U8 : TENSOR_I8;
}

/* A value of that many images, some integers times its step. */
static struct view activation(const struct conv *c, int64_t channels, int64_t size, int reach)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {c->batch, channels, size, size}};
    struct view v;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    v = view_channels_last(&t);
    v.low = draw_type(c);
    v.scale = v.low == TENSOR_BF16 ? 1 : 0.25f;
    v.zero = v.low == TENSOR_BF16 || draw(2) ? 0 : v.low == TENSOR_U8 ? (int)draw(30) : (int)draw(21) - 10;
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] =
            v.scale * (float)((int)draw((uint32_t)reach) - (v.low == TENSOR_U8 ? v.zero : reach / 2));
    return v;
}

static struct view weights_of(const struct conv *c)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {c->oc, c->ic, c->kernel, c->kernel}};
    int64_t each = c->ic * c->kernel * c->kernel;
    struct view v;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] = (float)((int)draw(127) - 63) / 128 * (float)(1 << i / each % 3);
    for (int64_t i = 0; i < c->oc; i++) /* the largest decides the step */
        ((float *)t.data)[i * each] = 127.0f / 128 * (float)(1 << i % 3);
    v = view_plain(&t);
    v.low = c->type == TENSOR_BF16 ? TENSOR_BF16 : TENSOR_I8;
    return v;
}

static void conv_new(struct conv *c, enum tensor_dtype type)
{
    static const int64_t channels[] = {3, 8, 16, 32, 64};
    struct tensor bias = {.dtype = TENSOR_F32, .rank = 1};
    int64_t stride = 1 + draw(2);
    memset(c, 0, sizeof *c);
    c->type = type;
    c->batch = 1 + draw(3);
    c->ic = channels[draw(5)], c->oc = channels[1 + draw(4)];
    c->kernel = draw(2) ? 3 : 1, c->size = 4 + draw(8);
    c->strides[0] = c->strides[1] = stride;
    for (int i = 0; i < 4; i++)
        c->pads[i] = c->kernel / 2;
    c->out = (c->size + 2 * (c->kernel / 2) - c->kernel) / stride + 1;
    c->attr[0] = (struct attr){
        .name = (char *)(uintptr_t) "strides", .kind = ATTR_INTS, .count = 2, .ints = c->strides};
    c->attr[1] =
        (struct attr){.name = (char *)(uintptr_t) "pads", .kind = ATTR_INTS, .count = 4, .ints = c->pads};
    c->node =
        (struct node){.name = (char *)(uintptr_t) "conv", .op = op_find("Conv", 13), .n_in = 3, .n_out = 1};
    c->node.in = c->node.out = c->slots;
    c->node.attr = c->attr;
    c->node.n_attr = 2;
    c->node.post = (struct post){GRAPH_NONE, draw(2) ? ACT_RELU : draw(2) ? ACT_CLIP : ACT_NONE, 0, 6};
    c->in[0] = activation(c, c->ic, c->size, 32);
    c->in[1] = weights_of(c);
    bias.dim[0] = c->oc;
    assert_int_equal(tensor_alloc(&bias), FL_OK);
    for (int64_t i = 0; i < c->oc; i++)
        ((float *)bias.data)[i] = draw_real();
    c->in[2] = view_plain(&bias);
    if (draw(2)) {
        c->node.post.residual = c->node.n_in++;
        c->in[3] = activation(c, c->oc, c->out, 32);
    }
    c->y = activation(c, c->oc, c->out, 1);
}

static void conv_free(struct conv *c)
{
    for (int i = 0; i < 4; i++)
        free(c->in[i].data);
    free(c->y.data);
}

static double largest(const struct view *v)
{
    double most = 0;
    for (int64_t i = 0; i < view_count(v); i++)
        most = fmax(most, fabs((double)((float *)v->data)[i]));
    return most;
}

/* The same value, lying in its lower type or not. */
static struct view lying(const struct view *v, bool low)
{
    struct view l = *v;
    int64_t n = view_count(v);
    l.dtype = low ? v->low : TENSOR_F32;
    l.data = malloc((size_t)n * 4 + 64);
    low_move(v, l.dtype, view_scale(v), l.data);
    return l;
}

static void assert_near(const struct conv *c, const struct view *got, double allowed)
{
    int64_t n = view_count(got);
    float *x = malloc((size_t)n * sizeof *x + 4);
    const float *want = c->y.data;
    low_move(got, TENSOR_F32, SCALE_NONE, x);
    for (int64_t i = 0; i < n; i++) {
        double w = want[i];
        if (got->dtype == TENSOR_U8 || got->dtype == TENSOR_I8) { /* what does not fit saturates */
            int least = got->dtype == TENSOR_U8 ? 0 : -128;
            w = fmin(fmax(w, (least - got->zero) * (double)got->scale),
                     (least + 255 - got->zero) * (double)got->scale);
        }
        if (fabs((double)x[i] - w) > allowed)
            fail_msg("seed %u: element %d is %g, expected %g within %g (%s)", seed, (int)i, (double)x[i], w,
                     allowed, tensor_dtype_name(got->dtype));
    }
    free(x);
}

/* Runs it by the kernel of lower precision, all combinations of how values lie. */
static int try_lying(struct conv *c, unsigned how)
{
    struct view in[4], y = lying(&c->y, how & 1);
    struct kernel_task t = {
        .call = {&c->node, 13, c->node.n_in, 1, in, &y}, .max_batch = (int)c->batch, .threads = 1};
    const struct kernel *k = kernel_find("onednn low");
    void *place = y.data, *state = NULL, *data[4];
    double allowed = 1e-5 * (1 + largest(&c->y));
    int rc;
    for (int i = 0; i < c->node.n_in; i++) {
        in[i] = i == 1 || i == 2 ? c->in[i] : lying(&c->in[i], how & (i ? 4 : 2));
        data[i] = in[i].data;
        if (i == 0 || i == 3)
            in[i].data = NULL;
    }
    y.data = NULL;
    t.alias = GRAPH_NONE;
    assert_int_equal(weights_new(&t.weights), FL_OK);
    assert_true(k->accepts(&t));
    rc = k->prepare(&t, &state);
    if (rc == FL_OK) {
        struct kernel_run run = {aligned_alloc(64, (t.scratch_bytes + 127) / 64 * 64), NULL};
        for (int i = 0; i < c->node.n_in; i++)
            in[i].data = data[i];
        y.data = place;
        assert_int_equal(k->run(state, &t.call, &run), FL_OK);
        if (y.dtype == TENSOR_BF16)
            allowed = largest(&c->y) / 128;
        else if (y.dtype != TENSOR_F32)
            allowed += 0.5 * (double)y.scale;
        assert_near(c, &y, allowed);
        free(run.scratch);
    } else {
        assert_int_equal(rc, FL_UNSUPPORTED);
    }
    k->release(state);
    weights_free(t.weights);
    for (int i = 0; i < c->node.n_in; i++)
        if (i == 0 || i == 3)
            free(data[i]);
    free(place);
    return rc == FL_OK;
}

static void convolve(enum tensor_dtype type, enum exec_precision p)
{
    int taken = 0, tried = 0;
    /* Without instructions for it weights have coarser steps than these here. */
    if (!computes_in(p) || !engine_precision_fast(p))
        return;
    for (int i = 0; i < 60; i++) {
        struct conv c;
        struct op_call call;
        seed = 77 + (uint32_t)i * 7919;
        conv_new(&c, type);
        call = (struct op_call){&c.node, 13, c.node.n_in, 1, c.in, &c.y};
        assert_int_equal(kernel_find("reference")->run(NULL, &call, NULL), FL_OK);
        for (unsigned how = 0; how < (c.node.n_in == 4 ? 8u : 4u); how++, tried++)
            taken += try_lying(&c, how);
        conv_free(&c);
    }
    assert_true(taken > tried * 9 / 10);
}

static void convolutions_in_bfloat16(void **state)
{
    convolve(TENSOR_BF16, PRECISION_BFLOAT16);
}

static void convolutions_in_int8(void **state)
{
    convolve(TENSOR_U8, PRECISION_INT8);
}

/* --- products --- */

/* Whole multiples of 1/16, which `low` holds. */
static struct view matrix(enum tensor_dtype low, int rank, int64_t a, int64_t b, int64_t c)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = rank, .dim = {a, b, c}};
    struct view v;
    if (rank < 3)
        t.dim[0] = rank == 1 ? c : b, t.dim[1] = c;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] = (float)((int)draw(31) - 15) / 16;
    v = view_plain(&t);
    v.low = low;
    v.scale = low == TENSOR_BF16 ? 1 : 1.0f / 16;
    v.zero = low == TENSOR_U8 ? 15 : low == TENSOR_I8 ? (int)draw(5) : 0;
    return v;
}

/* Runs the first `batch` of `most`; returns whether the kernel took it. */
static bool multiply(struct node *node, struct view *in, struct view *y, int most, int batch, unsigned how)
{
    struct view vin[4], vy = *y;
    struct kernel_task t = {
        .call = {node, 13, node->n_in, 1, vin, &vy}, .max_batch = most, .threads = 1, .alias = GRAPH_NONE};
    struct op_call plain = {node, 13, node->n_in, 1, in, y};
    const struct kernel *const *k = kernel_table();
    struct kernel_run run = {0};
    void *state = NULL, *data[4];
    bool took;
    memcpy(vin, in, sizeof vin);
    vy.dtype = how & 1 ? y->low : TENSOR_F32;
    vin[0].dtype = how & 2 ? in[0].low : TENSOR_F32;
    vin[0].data = vy.data = NULL;
    if (node->post.residual != GRAPH_NONE)
        vin[node->post.residual].data = NULL;
    while (*k && ((*k)->family != KERNEL_LOW || !(*k)->accepts(&t)))
        k++;
    took = *k && !strcmp((*k)->name, "onednn low");
    if (!took)
        return false;
    assert_int_equal(weights_new(&t.weights), FL_OK);
    assert_int_equal((*k)->prepare(&t, &state), FL_OK);
    assert_int_equal(kernel_find("reference")->run(NULL, &plain, NULL), FL_OK);
    run.scratch = aligned_alloc(64, (t.scratch_bytes + 127) / 64 * 64);
    for (int i = 0; i < node->n_in; i++) {
        struct view l = lying(&in[i], i == 0 && (how & 2));
        data[i] = vin[i].data = l.data;
    }
    vin[0].dim[0] = vy.dim[0] = batch;
    vy.data = malloc((size_t)view_count(y) * 4 + 64);
    assert_int_equal((*k)->run(state, &t.call, &run), FL_OK);
    {
        struct conv c = {.y = *y};
        assert_near(&c, &vy,
                    vy.dtype == TENSOR_F32    ? 1e-4
                    : vy.dtype == TENSOR_BF16 ? largest(y) / 128
                                              : 1e-4 + 0.5 * (double)vy.scale);
    }
    (*k)->release(state);
    weights_free(t.weights);
    for (int i = 0; i < node->n_in; i++)
        free(data[i]);
    free(vy.data);
    free(run.scratch);
    return true;
}

static void multiply_all(enum tensor_dtype source, enum tensor_dtype weights)
{
    for (int i = 0; i < 40; i++) {
        struct attr trans = {.name = (char *)(uintptr_t) "transB", .kind = ATTR_INT, .i = 1};
        int slots[4], most = 1 + i % 5;
        bool gemm = i % 2;
        int64_t rows = 1 + i % 7, k = 8 + i, n = 5 + 3 * i;
        struct node node = {.name = (char *)(uintptr_t) "product",
                            .op = op_find(gemm ? "Gemm" : "MatMul", 13),
                            .n_in = 2,
                            .n_out = 1,
                            .in = slots,
                            .out = slots,
                            .attr = &trans,
                            .n_attr = gemm && i % 4 == 1};
        struct view in[4] = {{0}}, y;
        seed = 900 + (uint32_t)i;
        node.post = (struct post){GRAPH_NONE, i % 3 ? ACT_RELU : ACT_NONE, 0, 0};
        in[0] = matrix(source, gemm ? 2 : 3, most, gemm ? most : rows, k);
        in[1] = node.n_attr ? matrix(weights, 2, 0, n, k) : matrix(weights, 2, 0, k, n);
        if (gemm)
            in[node.n_in++] = matrix(TENSOR_NONE, 1, 0, 0, n);
        y = matrix(source, gemm ? 2 : 3, most, gemm ? most : rows, n);
        y.scale = source == TENSOR_BF16 ? 1 : 0.25f;
        for (unsigned how = 0; how < 4; how++)
            for (int batch = most; batch >= 1; batch /= 2)
                assert_true(multiply(&node, in, &y, most, batch, how));
        y.low = TENSOR_NONE; /* scores */
        assert_true(multiply(&node, in, &y, most, most, 0) == (source != TENSOR_BF16));
        for (int j = 0; j < node.n_in; j++)
            free(in[j].data);
        free(y.data);
    }
}

static void products_in_bfloat16(void **state)
{
    if (computes_in(PRECISION_BFLOAT16))
        multiply_all(TENSOR_BF16, TENSOR_BF16);
}

static void products_in_int8(void **state)
{
    if (!computes_in(PRECISION_INT8))
        return;
    multiply_all(TENSOR_U8, TENSOR_I8);
    multiply_all(TENSOR_I8, TENSOR_I8);
}

/* --- executors --- */

static struct graph *g;

static int load_model(void **state)
{
    return graph_load(&g, MODEL, NULL, NULL);
}

static int free_model(void **state)
{
    graph_free(g);
    return 0;
}

static struct exec *make(const struct exec_options *o)
{
    struct exec *x;
    struct error e = {FL_OK, ""};
    if (exec_new(&x, g, o, &e))
        fail_msg("%s", e.text);
    return x;
}

static void fill(struct exec *x, int n)
{
    float *to = exec_input_buffer(x, 0);
    seed = 5;
    for (int i = 0; i < n * PIXELS; i++)
        to[i] = draw_real();
}

static void run(struct exec *x, int first, int last, int batch)
{
    struct error e = {FL_OK, ""};
    if (exec_run(x, first, last, batch, NULL, NULL, &e))
        fail_msg("%s", e.text);
}

/* Steps for all values of the network, from the values themselves. */
static void measure_steps(struct quantization *q, int batch)
{
    struct exec_options o = {.max_batch = batch, .last = -1};
    struct exec *x = make(&o);
    struct cut *cut;
    int n, from = 0;
    *q = (struct quantization){0};
    memcpy(q->model, g->digest, sizeof q->model);
    assert_int_equal(graph_cuts(g, &cut, &n, NULL), FL_OK);
    fill(x, batch);
    for (int i = 0; i < n; i++) {
        struct tensor t;
        float low = 0, high = 0;
        run(x, from, cut[i].node, batch);
        from = cut[i].node + 1;
        assert_int_equal(exec_cut(x, cut[i].node, batch, &t, NULL), FL_OK);
        for (int64_t k = 0; k < tensor_count(&t); k++) {
            low = fminf(low, ((float *)t.data)[k]);
            high = fmaxf(high, ((float *)t.data)[k]);
        }
        assert_int_equal(quantization_add(q, g->values[cut[i].value].name,
                                          low < 0 ? fmaxf(-low, high) / 127 : high / 255, low < 0),
                         FL_OK);
    }
    free(cut);
    exec_free(x);
}

static void answers_are_near(enum exec_precision p, double tolerance)
{
    struct quantization q;
    struct exec_options o = {.max_batch = 5, .last = -1};
    struct exec *full, *low;
    double most = 0;
    if (!computes_in(p))
        return;
    measure_steps(&q, 5);
    full = make(&o);
    o.precision = p;
    o.quantization = &q;
    low = make(&o);
    for (int batch = 1; batch <= 5; batch += 2) {
        const float *a, *b;
        fill(full, batch);
        fill(low, batch);
        run(full, 0, g->n_nodes - 1, batch);
        run(low, 0, g->n_nodes - 1, batch);
        a = exec_output(full, 0, batch).data;
        b = exec_output(low, 0, batch).data;
        for (int i = 0; i < 10 * batch; i++)
            most = fmax(most, fabs((double)a[i]));
        for (int i = 0; i < 10 * batch; i++)
            if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * most))
                fail_msg("%s: score %d is %g, not %g", engine_precision_name(p), i, (double)b[i],
                         (double)a[i]);
    }
    exec_free(full);
    exec_free(low);
    quantization_release(&q);
}

static void a_network_answers_nearly_the_same(void **state)
{
    answers_are_near(PRECISION_BFLOAT16, 0.02);
    answers_are_near(PRECISION_INT8, 0.1);
}

static struct exec *make_part(enum exec_precision p, const struct quantization *q, int first, int last,
                              int rounded)
{
    struct exec_options o = {.kernels = KERNELS_ONEDNN,
                             .max_batch = 3,
                             .first = first,
                             .last = last,
                             .precision = p,
                             .quantization = q,
                             .n_rounded = rounded > 0,
                             .rounded = {rounded}};
    return make(&o);
}

/* From one executor to the next, as a message brings it. */
static void hand_on(const struct tensor *t, bool rounds, void *to)
{
    int64_t n = tensor_count(t);
    uint16_t *half = malloc((size_t)n * sizeof *half);
    if (rounds) {
        low_narrow(t->data, TENSOR_BF16, SCALE_NONE, half, n);
        low_widen(half, TENSOR_BF16, SCALE_NONE, to, n);
    } else {
        memcpy(to, t->data, (size_t)tensor_bytes(t));
    }
    free(half);
}

/* What one executor hands to the next in float32 loses nothing, and in bfloat16 what the whole is told to
 * lose there: two of them answer as one does. */
static void pieces_answer_as_the_whole(enum exec_precision p, bool rounds)
{
    struct quantization q;
    struct cut *cut;
    struct tensor t, at;
    int n;
    float want[30];
    if (!computes_in(p))
        return;
    measure_steps(&q, 3);
    assert_int_equal(graph_cuts(g, &cut, &n, NULL), FL_OK);
    for (int i = 0; i < n; i++) {
        int next = cut[i].node + 1;
        struct exec *whole = make_part(p, &q, 0, -1, rounds ? next : 0);
        struct exec *head = make_part(p, &q, 0, cut[i].node, 0), *tail = make_part(p, &q, next, -1, next);
        fill(whole, 3);
        run(whole, 0, cut[i].node, 3);
        assert_int_equal(exec_cut(whole, cut[i].node, 3, &at, NULL), FL_OK);
        fill(head, 3);
        run(head, 0, cut[i].node, 3);
        t = exec_output(head, 0, 3);
        assert_int_equal(t.dtype, TENSOR_F32);
        assert_int_equal(at.dtype, TENSOR_F32);
        assert_true(tensor_same_shape(&t, &at));
        assert_memory_equal(t.data, at.data, (size_t)tensor_bytes(&t));
        hand_on(&t, rounds, exec_input_buffer(tail, 0));
        run(whole, next, g->n_nodes - 1, 3);
        run(tail, next, g->n_nodes - 1, 3);
        memcpy(want, exec_output(whole, 0, 3).data, sizeof want);
        assert_memory_equal(exec_output(tail, 0, 3).data, want, sizeof want);
        exec_free(whole);
        exec_free(head);
        exec_free(tail);
    }
    free(cut);
    quantization_release(&q);
}

static void what_crosses_a_cut_loses_nothing(void **state)
{
    pieces_answer_as_the_whole(PRECISION_BFLOAT16, false);
    pieces_answer_as_the_whole(PRECISION_INT8, false);
}

static void what_the_wire_rounds_is_the_same_in_one_piece(void **state)
{
    pieces_answer_as_the_whole(PRECISION_FLOAT32, true);
    pieces_answer_as_the_whole(PRECISION_BFLOAT16, true);
    pieces_answer_as_the_whole(PRECISION_INT8, true);
}

static void refused(const struct exec_options *o, enum fl_code code, const char *says)
{
    struct error e = {FL_OK, ""};
    struct exec *x;
    assert_int_equal(exec_new(&x, g, o, &e), code);
    if (!strstr(e.text, says))
        fail_msg("'%s' says nothing of '%s'", e.text, says);
}

static void what_cannot_compute_is_refused(void **state)
{
    struct quantization q = {0};
    struct exec_options o = {.last = -1, .precision = PRECISION_BFLOAT16, .kernels = KERNELS_OPENBLAS};
    refused(&o, FL_UNSUPPORTED, "oneDNN");
    if (!computes_in(PRECISION_INT8))
        return;
    o = (struct exec_options){.last = -1, .precision = PRECISION_INT8};
    refused(&o, FL_CONFIG, "freezeline quantize");
    o.quantization = &q;
    refused(&o, FL_STALE, "another network");
}

/* --- files of scales --- */

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void scales_survive_a_file(void **state)
{
    char path[] = "/tmp/test_low.XXXXXX";
    struct quantization q = {.model = {1, 2, 255}}, back;
    assert_true(close(mkstemp(path)) == 0);
    assert_int_equal(quantization_add(&q, "b c", 0.1f, true), FL_OK);
    assert_int_equal(quantization_add(&q, "a", 3e-5f, false), FL_OK);
    assert_int_equal(quantization_add(&q, "z", 0, false), FL_VALUE);
    assert_int_equal(quantization_save(&q, "int8", path, NULL), FL_OK);
    assert_int_equal(quantization_load(&back, path, NULL), FL_OK);
    assert_memory_equal(back.model, q.model, sizeof q.model);
    assert_int_equal(back.n, 2);
    assert_true(quantization_find(&back, "a")->step == 3e-5f && !quantization_find(&back, "a")->is_signed);
    assert_true(quantization_find(&back, "b c")->step == 0.1f && quantization_find(&back, "b c")->is_signed);
    assert_null(quantization_find(&back, "b"));
    quantization_release(&back);
    quantization_release(&q);
    unlink(path);
}

static void nonsense_in_a_file_is_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "\n",
                                        "freezeline-scales 2\nvalue u8 1 a\n",
                                        "freezeline-scales 1\nnetwork 00\nvalue u8 1 a\n",
                                        "freezeline-scales 1\nvalue u9 1 a\n",
                                        "freezeline-scales 1\nvalue u8 nan a\n",
                                        "freezeline-scales 1\nvalue u8 -1 a\n",
                                        "freezeline-scales 1\nvalue u8 inf a\n",
                                        "freezeline-scales 1\nvalue u8 1\n",
                                        "freezeline-scales 1\nvalues\n",
                                        "freezeline-scales 1\nvalue u8 1e-60 a\n"};
    char path[] = "/tmp/test_low.XXXXXX";
    struct quantization q;
    assert_true(close(mkstemp(path)) == 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(path, texts[i]);
        if (quantization_load(&q, path, NULL) != FL_CORRUPT)
            fail_msg("'%s' is taken", texts[i]);
    }
    unlink(path);
    assert_int_equal(quantization_load(&q, path, NULL), FL_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_rounded_to_the_nearest),
        cmocka_unit_test(convolutions_in_bfloat16),
        cmocka_unit_test(convolutions_in_int8),
        cmocka_unit_test(products_in_bfloat16),
        cmocka_unit_test(products_in_int8),
        cmocka_unit_test(a_network_answers_nearly_the_same),
        cmocka_unit_test(what_crosses_a_cut_loses_nothing),
        cmocka_unit_test(what_the_wire_rounds_is_the_same_in_one_piece),
        cmocka_unit_test(what_cannot_compute_is_refused),
        cmocka_unit_test(scales_survive_a_file),
        cmocka_unit_test(nonsense_in_a_file_is_refused),
    };
    return cmocka_run_group_tests(tests, load_model, free_model);
}
