/* test_kernels.c - every kernel against the reference, over random shapes and attributes
 *
 * A case is one node with made-up attributes and inputs. Its operator's reference runs first; then each
 * kernel that accepts the node runs, at the largest batch and at batch 1, on every instruction set that this
 * CPU has.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "stages/kernels/kernels.h"
#include "stages/ops/ops.h"
#include "stages/simd/simd.h"

#define MAX_IN 8
#define MARK   12345

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

struct test_case {
    struct node node;
    struct attr attr[12];
    int64_t ints[12][8];
    char name[12][32];
    struct tensor in[MAX_IN]; /* logical dims, row-major data */
    bool constant[MAX_IN];
    struct tensor out;
    int slots[MAX_IN];
    double scale;
    bool rows;        /* values of rank 4 are row-major */
    int64_t beside;   /* floats between the channels of a pixel and those of the next, of computed images */
    unsigned swapped; /* bit i: the last two dims of input i lie in memory the other way round */
};

static void add_ints(struct test_case *c, const char *name, int n, ...)
{
    struct attr *a = &c->attr[c->node.n_attr];
    va_list args;
    snprintf(c->name[c->node.n_attr], sizeof *c->name, "%s", name);
    *a = (struct attr){
        .name = c->name[c->node.n_attr], .kind = ATTR_INTS, .count = n, .ints = c->ints[c->node.n_attr]};
    va_start(args, n);
    for (int i = 0; i < n; i++)
        a->ints[i] = va_arg(args, int64_t);
    va_end(args);
    c->node.n_attr++;
}

static void add_int(struct test_case *c, const char *name, int64_t value)
{
    snprintf(c->name[c->node.n_attr], sizeof *c->name, "%s", name);
    c->attr[c->node.n_attr] = (struct attr){.name = c->name[c->node.n_attr], .kind = ATTR_INT, .i = value};
    c->node.n_attr++;
}

static void add_float(struct test_case *c, const char *name, float value)
{
    snprintf(c->name[c->node.n_attr], sizeof *c->name, "%s", name);
    c->attr[c->node.n_attr] = (struct attr){.name = c->name[c->node.n_attr], .kind = ATTR_FLOAT, .f = value};
    c->node.n_attr++;
}

static struct tensor *add_input(struct test_case *c, bool constant, int rank, ...)
{
    struct tensor *t = &c->in[c->node.n_in];
    va_list args;
    *t = (struct tensor){.dtype = TENSOR_F32, .rank = rank};
    va_start(args, rank);
    for (int i = 0; i < rank; i++)
        t->dim[i] = va_arg(args, int64_t);
    va_end(args);
    assert_int_equal(tensor_alloc(t), FL_OK);
    for (int64_t i = 0; i < tensor_count(t); i++)
        ((float *)t->data)[i] = draw_real();
    c->constant[c->node.n_in++] = constant;
    return t;
}

static void begin(struct test_case *c, const char *op)
{
    memset(c, 0, sizeof *c);
    c->node.name = (char *)(uintptr_t) "node";
    c->node.op = op_find(op, 13);
    if (!c->node.op)
        c->node.op = op_find(op, 20);
    assert_non_null(c->node.op);
    c->node.attr = c->attr;
    c->node.in = c->slots;
    c->node.out = c->slots;
    c->node.n_out = 1;
    c->node.post.residual = GRAPH_NONE;
}

static void release_case(struct test_case *c)
{
    for (int i = 0; i < c->node.n_in; i++)
        tensor_release(&c->in[i]);
}

/* Output dims by the operator's own inference. */
static bool infer(struct test_case *c, int n_in)
{
    struct error e = {FL_OK, ""};
    struct tensor in[MAX_IN];
    struct op_infer i = {&c->node, 13, n_in, 1, in, &c->out, &e};
    for (int k = 0; k < n_in; k++) {
        in[k] = c->in[k];
        if (!c->constant[k])
            in[k].data = NULL;
    }
    return c->node.op->infer(&i) == FL_OK && tensor_count(&c->out) > 0;
}

static void swap(int64_t *dims, int rank)
{
    int64_t last = dims[rank - 1];
    dims[rank - 1] = dims[rank - 2];
    dims[rank - 2] = last;
}

static bool is_image(const struct test_case *c, const struct tensor *t, int i)
{
    return t->rank == 4 && !c->rows && (i < 0 || !c->constant[i]);
}

/* What input i, or the output (-1), lies in. */
static struct tensor storage(const struct test_case *c, const struct tensor *t, int i)
{
    struct tensor s = *t;
    s.dim[1] += is_image(c, t, i) ? c->beside : 0;
    return s;
}

/* Input i, or the output: -1. */
static struct view physical(const struct test_case *c, const struct tensor *t, int i, float *data)
{
    struct tensor other = storage(c, t, i);
    struct view v = is_image(c, t, i) ? view_channels_last(&other) : view_plain(t);
    other = *t;
    memcpy(v.dim, t->dim, sizeof v.dim);
    if (i >= 0 && c->swapped >> i & 1) {
        swap(other.dim, other.rank);
        v = view_plain(&other);
        swap(v.dim, v.rank);
        swap(v.stride, v.rank);
    }
    v.data = data;
    return v;
}

/* The reference's result, row-major, for the first `batch` images of the inputs. */
static void reference(struct test_case *c, float *out)
{
    struct view in[MAX_IN], y = view_plain(&c->out);
    struct op_call call = {&c->node, 13, c->node.n_in, 1, in, &y};
    for (int i = 0; i < c->node.n_in; i++)
        in[i] = view_plain(&c->in[i]);
    y.data = out;
    assert_int_equal(kernel_find("reference")->run(NULL, &call, NULL), FL_OK);
}

/* The largest value before the activation, which errors are in proportion to. */
static double find_scale(struct test_case *c)
{
    enum activation activation = c->node.post.activation;
    float *out = malloc((size_t)tensor_bytes(&c->out));
    double largest = 1e-3;
    c->node.post.activation = ACT_NONE;
    reference(c, out);
    c->node.post.activation = activation;
    for (int64_t i = 0; i < tensor_count(&c->out); i++)
        largest = fabs((double)out[i]) > largest ? fabs((double)out[i]) : largest;
    free(out);
    return largest;
}

static void compare(const struct test_case *c, const struct kernel *k, const float *got, const float *want,
                    int64_t n)
{
    double worst = 0, largest = c->scale;
    char shape[64];
    for (int64_t i = 0; i < n; i++) {
        if (isnan(want[i]) && isnan(got[i]))
            continue;
        worst =
            fmax(worst, isnan(got[i]) || isnan(want[i]) ? INFINITY : fabs((double)got[i] - (double)want[i]));
    }
    if (worst > 3e-5 * largest)
        fail_msg(
            "%s by %s (%s, seed %u): differs by %g, largest value %g, output %s, activation %d, residual %d",
            c->node.op->name, k->name, simd_best()->name, seed, worst, largest,
            tensor_describe(&c->out, shape, sizeof shape), c->node.post.activation, c->node.post.residual);
}

static void allocate(const struct test_case *c, struct tensor *t, int i)
{
    struct tensor s = storage(c, t, i);
    assert_int_equal(tensor_alloc(&s), FL_OK);
    t->data = s.data;
}

/* What lies beside the output's pixels is another value's. */
static void left_alone(const struct test_case *c, const struct tensor *out)
{
    struct tensor s = storage(c, out, -1);
    for (int64_t i = 0; i < tensor_count(&s); i++)
        if (i % s.dim[1] >= out->dim[1] && ((float *)out->data)[i] != MARK)
            fail_msg("%s (seed %u) wrote beside its output", c->node.op->name, seed);
}

static void mark(const struct test_case *c, const struct tensor *out)
{
    struct tensor s = storage(c, out, -1);
    for (int64_t i = 0; i < tensor_count(&s); i++)
        ((float *)out->data)[i] = MARK;
}

/* Runs k with its inputs in the physical order, for the first `batch` of max_batch. */
static void run_kernel(struct test_case *c, const struct kernel *k, void *state,
                       const struct kernel_task *task, struct team *team, int64_t batch, int64_t max_batch,
                       const float *want, bool in_place)
{
    struct tensor in[MAX_IN], out = c->out, whole;
    struct view vin[MAX_IN], vout, plain;
    struct op_call call = {&c->node, 13, c->node.n_in, 1, vin, &vout};
    struct kernel_run run = {aligned_alloc(64, (task->scratch_bytes + 127) / 64 * 64), team};
    float *got;
    out.dim[0] = out.dim[0] / max_batch * batch;
    allocate(c, &out, -1);
    whole = storage(c, &out, -1);
    if (c->beside)
        mark(c, &out);
    vout = physical(c, &out, -1, out.data);
    for (int i = 0; i < c->node.n_in; i++) {
        in[i] = c->in[i];
        if (!c->constant[i])
            in[i].dim[0] = in[i].dim[0] / max_batch * batch;
        allocate(c, &in[i], i);
        plain = view_plain(&in[i]);
        plain.data = c->in[i].data;
        vin[i] = physical(c, &in[i], i, in[i].data);
        view_copy(&plain, &vin[i]);
        if (c->constant[i] && (task->packed[0] >> i & 1))
            vin[i].data = NULL;
    }
    if (in_place && task->alias != GRAPH_NONE) {
        memcpy(out.data, in[task->alias].data, (size_t)tensor_bytes(&whole));
        vin[task->alias].data = out.data;
    }
    assert_int_equal(k->run(state, &call, &run), FL_OK);
    if (c->beside && !in_place)
        left_alone(c, &out);
    got = malloc((size_t)tensor_bytes(&out));
    plain = view_plain(&out);
    plain.data = got;
    view_copy(&vout, &plain);
    compare(c, k, got, want, tensor_count(&out));
    free(got);
    free(run.scratch);
    for (int i = 0; i < c->node.n_in; i++)
        tensor_release(&in[i]);
    tensor_release(&out);
}

static bool same_size(const struct test_case *c, const struct kernel_task *t)
{
    return t->alias != GRAPH_NONE && tensor_count(&c->in[t->alias]) == tensor_count(&c->out) &&
           !c->constant[t->alias];
}

/* Returns how many kernels beside the reference took the case. */
static int try_all(struct test_case *c, int64_t max_batch, struct team *team)
{
    const struct kernel *const *table = kernel_table();
    struct view in[MAX_IN], out;
    float *want = malloc((size_t)tensor_bytes(&c->out));
    int n = 0;
    reference(c, want);
    c->scale = find_scale(c);
    out = physical(c, &c->out, -1, NULL);
    for (int i = 0; table[i]; i++) {
        struct kernel_task t = {.call = {&c->node, 13, c->node.n_in, 1, in, &out},
                                .max_batch = (int)max_batch,
                                .threads = team_threads(team)};
        void *state = NULL;
        int rc;
        for (int k = 0; k < c->node.n_in; k++)
            in[k] = physical(c, &c->in[k], k, c->constant[k] ? c->in[k].data : NULL);
        t.alias = GRAPH_NONE;
        if (table[i]->family == KERNEL_REFERENCE || !table[i]->accepts(&t))
            continue;
        assert_int_equal(weights_new(&t.weights), FL_OK);
        rc = table[i]->prepare ? table[i]->prepare(&t, &state) : FL_OK;
        if (rc != FL_UNSUPPORTED) {
            assert_int_equal(rc, FL_OK);
            run_kernel(c, table[i], state, &t, team, max_batch, max_batch, want, false);
            run_kernel(c, table[i], state, &t, team, 1, max_batch, want, false);
            if (same_size(c, &t))
                run_kernel(c, table[i], state, &t, team, max_batch, max_batch, want, true);
            n++;
        }
        if (table[i]->release)
            table[i]->release(state);
        weights_free(t.weights);
    }
    free(want);
    return n;
}

static void draw_activation(struct post *p)
{
    p->activation = (enum activation)draw(ACT_LAST + 1);
    p->alpha = p->activation == ACT_CLIP ? -0.5f : 0.2f;
    p->beta = 0.5f;
}

static void conv_case(struct test_case *c, int64_t batch)
{
    static const int64_t channels[] = {1, 3, 4, 8, 13, 16, 32, 48, 64, 70};
    int64_t ic = channels[draw(10)], oc = channels[draw(10)], kh = 1 + draw(3),
            kw = draw(3) ? kh : 1 + draw(5), groups = 1;
    int64_t d = draw(4) ? 1 : 2, s = draw(2) ? 1 : 2, h = kh * d + draw(18), w = kw * d + draw(18);
    if (!draw(4))
        groups = oc = ic;
    else if (ic % 4 == 0 && oc % 4 == 0 && !draw(3))
        groups = draw(2) ? 2 : 4;
    begin(c, "Conv");
    add_input(c, false, 4, batch, ic, h, w);
    add_input(c, true, 4, oc, ic / groups, kh, kw);
    if (draw(2))
        add_input(c, true, 1, oc);
    add_int(c, "group", groups);
    add_ints(c, "strides", 2, s, s);
    add_ints(c, "dilations", 2, d, d);
    add_ints(c, "pads", 4, (int64_t)draw(2), (int64_t)draw(2), (int64_t)draw(2), (int64_t)draw(2));
    draw_activation(&c->node.post);
}

/* An input that is absent, then the residual, as the graph's passes put it. */
static void add_residual(struct test_case *c)
{
    struct tensor *o = &c->out;
    if (c->node.n_in == 2)
        add_input(c, true, 1, o->dim[1]);
    c->node.post.residual = c->node.n_in;
    add_input(c, false, o->rank, o->dim[0], o->dim[1], o->dim[2], o->dim[3], o->dim[4]);
}

static void convolve(uint32_t first, int cases, int64_t most, struct team *team)
{
    int taken = 0;
    for (int i = 0; i < cases; i++) {
        struct test_case c;
        int64_t batch;
        seed = first + (uint32_t)i * 7919;
        batch = 1 + draw((uint32_t)most);
        conv_case(&c, batch);
        if (infer(&c, c.node.n_in)) {
            if (draw(2))
                add_residual(&c);
            taken += try_all(&c, batch, team);
        }
        release_case(&c);
    }
    assert_true(taken > cases);
}

static void convolutions(void **state)
{
    for (int i = 0; simd_nth(i); i++) {
        simd_force(simd_nth(i));
        convolve(1, 150, 5, NULL);
    }
    simd_force(NULL);
}

static void convolutions_on_threads(void **state)
{
    struct team *team;
    assert_int_equal(team_new(&team, 3), FL_OK);
    convolve(99, 80, 5, team);
    team_free(team);
}

/* Shapes that Winograd takes, with images whose sides are no multiple of the patch. */
static void winograd(void **state)
{
    for (int i = 0; i < 12; i++) {
        struct test_case c;
        int64_t batch;
        seed = 5000 + (uint32_t)i;
        batch = 1 + draw(3);
        begin(&c, "Conv");
        add_input(&c, false, 4, batch, (int64_t)16 * (1 + draw(4)), (int64_t)16 + draw(9),
                  (int64_t)18 + draw(9));
        add_input(&c, true, 4, (int64_t)16 * (1 + draw(6)), c.in[0].dim[1], (int64_t)3, (int64_t)3);
        add_input(&c, true, 1, c.in[1].dim[0]);
        add_ints(&c, "pads", 4, (int64_t)1, (int64_t)1, (int64_t)draw(2), (int64_t)1);
        draw_activation(&c.node.post);
        assert_true(infer(&c, 3));
        if (i % 2)
            add_residual(&c);
        assert_true(try_all(&c, batch, NULL) >= 3);
        release_case(&c);
    }
}

/* Pixels that lie apart, as parts of a Concat's result do. */
static void parts_of_wider_images(void **state)
{
    int taken = 0;
    for (int i = 0; i < 150; i++) {
        struct test_case c;
        seed = 12000 + (uint32_t)i;
        if (i % 3) {
            conv_case(&c, 3);
        } else if (i % 2) {
            begin(&c, "Concat");
            for (int k = 0; k < 3; k++)
                add_input(&c, false, 4, (int64_t)3, (int64_t)1 + draw(20), (int64_t)3, (int64_t)4);
            add_int(&c, "axis", 1);
        } else {
            begin(&c, draw(2) ? "MaxPool" : "AveragePool");
            add_input(&c, false, 4, (int64_t)3, (int64_t)1 + draw(40), (int64_t)5, (int64_t)6);
            add_ints(&c, "kernel_shape", 2, (int64_t)2, (int64_t)3);
        }
        if (infer(&c, c.node.n_in)) {
            if (i % 3 == 2)
                add_residual(&c);
            c.beside = 1 + draw(20);
            taken += try_all(&c, 3, NULL);
        }
        release_case(&c);
    }
    assert_true(taken > 120);
}

static void pools(void **state)
{
    int taken = 0;
    for (int i = 0; i < 120; i++) {
        struct test_case c;
        int64_t batch, k, d;
        seed = 300 + (uint32_t)i;
        batch = 1 + draw(4);
        k = 1 + draw(3);
        begin(&c, draw(2) ? "MaxPool" : "AveragePool");
        d = strcmp(c.node.op->name, "MaxPool") || draw(3) ? 1 : 2;
        add_input(&c, false, 4, batch, (int64_t)1 + draw(40), (int64_t)5 + draw(12), (int64_t)5 + draw(12));
        add_ints(&c, "kernel_shape", 2, k, k);
        add_ints(&c, "strides", 2, (int64_t)1 + draw(3), (int64_t)1 + draw(3));
        if (d > 1)
            add_ints(&c, "dilations", 2, d, d);
        add_ints(&c, "pads", 4, (int64_t)draw((uint32_t)k), (int64_t)draw((uint32_t)k),
                 (int64_t)draw((uint32_t)k), (int64_t)draw((uint32_t)k));
        add_int(&c, "ceil_mode", draw(2));
        if (strcmp(c.node.op->name, "MaxPool"))
            add_int(&c, "count_include_pad", draw(2));
        if (infer(&c, 1))
            taken += try_all(&c, batch, NULL);
        release_case(&c);
    }
    assert_true(taken > 100);
}

static void products(void **state)
{
    for (int i = 0; i < 80; i++) {
        struct test_case c;
        int64_t batch, k, n;
        bool gemm = i % 2, transposed;
        seed = 700 + (uint32_t)i;
        batch = 1 + draw(40);
        k = 1 + draw(300);
        n = 1 + draw(150);
        transposed = gemm && draw(2);
        begin(&c, gemm ? "Gemm" : "MatMul");
        add_input(&c, false, 2, batch, k);
        add_input(&c, draw(4) != 0, 2, transposed ? n : k, transposed ? k : n);
        if (gemm) {
            add_int(&c, "transB", transposed);
            add_float(&c, "alpha", 0.5f);
            add_float(&c, "beta", 2);
            if (draw(2))
                add_input(&c, true, 1, draw(2) ? n : (int64_t)1);
        }
        draw_activation(&c.node.post);
        assert_true(infer(&c, c.node.n_in));
        /* An operand that is computed has no batch of its own to shorten. */
        assert_true(try_all(&c, c.constant[1] ? batch : 1, NULL) >= 1);
        release_case(&c);
    }
}

static void many_rows_by_deep_products(void **state)
{
    struct test_case c;
    seed = 1;
    begin(&c, "MatMul");
    add_input(&c, false, 2, (int64_t)20, (int64_t)3000);
    add_input(&c, true, 2, (int64_t)3000, (int64_t)130);
    assert_true(infer(&c, 2));
    assert_true(try_all(&c, 20, NULL) >= 2);
    release_case(&c);
}

static void activations(void **state)
{
    static const char *const ops[] = {"Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish",
                                      "Clip", "Tanh",      "Erf",     "Gelu"};
    for (int i = 0; i < 54; i++) {
        struct test_case c;
        seed = 40 + (uint32_t)i;
        begin(&c, ops[i % 9]);
        if (i % 4)
            add_input(&c, false, 4, (int64_t)2, (int64_t)1 + draw(40), (int64_t)3, (int64_t)5);
        else
            add_input(&c, false, 2, (int64_t)2, (int64_t)1 + draw(70));
        for (int64_t k = 0; k < tensor_count(&c.in[0]); k++)
            ((float *)c.in[0].data)[k] *= 12;
        ((float *)c.in[0].data)[0] = NAN;
        if (!strcmp(ops[i % 9], "Clip")) {
            *(float *)add_input(&c, true, 0)->data = -2;
            *(float *)add_input(&c, true, 0)->data = 3;
        }
        assert_true(infer(&c, c.node.n_in));
        assert_true(try_all(&c, 2, NULL) == 1);
        release_case(&c);
    }
}

static void second_operand(struct test_case *c, uint32_t how)
{
    const struct tensor *a = &c->in[0];
    switch (how) {
    case 0:
        add_input(c, false, 4, a->dim[0], a->dim[1], a->dim[2], a->dim[3]);
        break;
    case 1:
        add_input(c, true, 1, (int64_t)1);
        break;
    case 2:
        add_input(c, true, 4, (int64_t)1, a->dim[1], (int64_t)1, (int64_t)1);
        break;
    case 3:
        add_input(c, true, 3, a->dim[1], (int64_t)1, (int64_t)1);
        break;
    default:
        add_input(c, false, 4, a->dim[0], a->dim[1], (int64_t)1, (int64_t)1);
    }
    for (int64_t k = 0; k < tensor_count(&c->in[1]); k++)
        ((float *)c->in[1].data)[k] += 2;
}

static void two_operands(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div"};
    for (int i = 0; i < 60; i++) {
        struct test_case c;
        seed = 900 + (uint32_t)i;
        begin(&c, ops[i % 4]);
        add_input(&c, false, 4, (int64_t)3, (int64_t)2 + draw(40), (int64_t)2 + draw(5),
                  (int64_t)2 + draw(5));
        second_operand(&c, (uint32_t)i % 5);
        if (i % 3 == 0 && (i % 4 == 0 || i % 4 == 2 || i % 5 == 1)) {
            struct tensor t = c.in[0];
            bool constant = c.constant[0];
            c.in[0] = c.in[1], c.in[1] = t;
            c.constant[0] = c.constant[1], c.constant[1] = constant;
        }
        draw_activation(&c.node.post);
        assert_true(infer(&c, 2));
        assert_true(try_all(&c, 3, NULL) == 1);
        release_case(&c);
    }
}

static void norms_and_spatial_means(void **state)
{
    static const char *const ops[] = {"BatchNormalization", "GlobalAveragePool", "GlobalMaxPool",
                                      "ReduceMean"};
    for (int i = 0; i < 40; i++) {
        struct test_case c;
        int64_t channels;
        seed = 60 + (uint32_t)i;
        channels = 1 + draw(70);
        begin(&c, ops[i % 4]);
        add_input(&c, false, 4, (int64_t)2, channels, (int64_t)1 + draw(9), (int64_t)1 + draw(9));
        for (int k = 0; i % 4 == 0 && k < 4; k++) {
            float *p = add_input(&c, true, 1, channels)->data;
            for (int64_t j = 0; k == 3 && j < channels; j++)
                p[j] = fabsf(p[j]) + 0.1f;
        }
        if (i % 4 == 3) {
            add_ints(&c, "axes", 2, (int64_t)2, (int64_t)(draw(2) ? 3 : -1));
            add_int(&c, "keepdims", draw(2));
        }
        assert_true(infer(&c, c.node.n_in));
        assert_true(try_all(&c, 2, NULL) == 1);
        release_case(&c);
    }
}

/* One and three spatial dims. */
static void volume_case(struct test_case *c, int64_t batch)
{
    static const int64_t channels[] = {1, 3, 4, 8, 13, 16, 32, 70};
    int64_t ic = channels[draw(8)], oc = channels[draw(8)], k = 1 + draw(3), groups = 1;
    int64_t d = draw(4) ? 1 : 2, s = draw(2) ? 1 : 2;
    bool one = draw(2);
    if (!draw(4))
        groups = oc = ic;
    else if (ic % 4 == 0 && oc % 4 == 0 && !draw(3))
        groups = draw(2) ? 2 : 4;
    begin(c, "Conv");
    if (one) {
        add_input(c, false, 3, batch, ic, k * d + draw(60));
        add_input(c, true, 3, oc, ic / groups, k);
        add_ints(c, "strides", 1, s);
        add_ints(c, "dilations", 1, d);
        add_ints(c, "pads", 2, (int64_t)draw(3), (int64_t)draw(2));
    } else {
        add_input(c, false, 5, batch, ic, k * d + draw(5), k * d + draw(6), k * d + draw(9));
        add_input(c, true, 5, oc, ic / groups, k, k, k);
        add_ints(c, "strides", 3, s, (int64_t)1, s);
        add_ints(c, "dilations", 3, d, d, d);
        add_ints(c, "pads", 6, (int64_t)draw(2), (int64_t)draw(2), (int64_t)draw(2), (int64_t)draw(2),
                 (int64_t)draw(2), (int64_t)draw(2));
    }
    if (draw(2))
        add_input(c, true, 1, oc);
    add_int(c, "group", groups);
    draw_activation(&c->node.post);
}

static void volumes(void **state)
{
    int taken = 0, cases = 60;
    struct team *team;
    assert_int_equal(team_new(&team, 3), FL_OK);
    for (int i = 0; simd_nth(i / cases); i++) {
        struct test_case c;
        int64_t batch;
        seed = 8000 + (uint32_t)i;
        batch = 1 + draw(3);
        simd_force(simd_nth(i / cases));
        volume_case(&c, batch);
        if (infer(&c, c.node.n_in)) {
            if (draw(2))
                add_residual(&c);
            taken += try_all(&c, batch, i % 2 ? team : NULL);
        }
        release_case(&c);
    }
    assert_true(taken > cases);
    simd_force(NULL);
    team_free(team);
}

static void volume_pool_case(struct test_case *c, int64_t batch)
{
    static const char *const ops[] = {"MaxPool", "AveragePool", "GlobalAveragePool"};
    int64_t k = 1 + draw(3), p = draw((uint32_t)k);
    bool line = draw(2), global;
    begin(c, ops[draw(3)]);
    global = !strcmp(c->node.op->name, "GlobalAveragePool");
    if (line)
        add_input(c, false, 3, batch, (int64_t)1 + draw(4), 5 + (int64_t)draw(200));
    else
        add_input(c, false, 5, batch, (int64_t)1 + draw(4), 3 + (int64_t)draw(3), 3 + (int64_t)draw(6),
                  3 + (int64_t)draw(40));
    ((float *)c->in[0].data)[7] = draw(3) ? 0 : NAN;
    if (global)
        return;
    add_ints(c, "kernel_shape", line ? 1 : 3, k, k, k);
    add_ints(c, "strides", line ? 1 : 3, (int64_t)1 + draw(3), (int64_t)1 + draw(3), (int64_t)1 + draw(3));
    if (line)
        add_ints(c, "pads", 2, p, (int64_t)draw((uint32_t)k));
    else
        add_ints(c, "pads", 6, p, p, (int64_t)0, p, (int64_t)0, (int64_t)draw((uint32_t)k));
    add_int(c, "ceil_mode", draw(2));
    if (strcmp(c->node.op->name, "MaxPool"))
        add_int(c, "count_include_pad", draw(2));
}

static void volume_pools(void **state)
{
    int taken = 0;
    for (int i = 0; simd_nth(i / 60); i++) {
        struct test_case c;
        int64_t batch;
        seed = 9000 + (uint32_t)i;
        batch = 1 + draw(3);
        simd_force(simd_nth(i / 60));
        volume_pool_case(&c, batch);
        if (infer(&c, 1))
            taken += try_all(&c, batch, NULL);
        release_case(&c);
    }
    assert_true(taken > 40);
    simd_force(NULL);
}

/* Rows of all lengths beside those of a vector, with what a mask leaves, and none at all. */
static void rows(void **state)
{
    static const char *const ops[] = {"Softmax", "LayerNormalization"};
    for (int i = 0; simd_nth(i / 40); i++) {
        struct test_case c;
        int64_t n;
        seed = 2000 + (uint32_t)i;
        n = 1 + draw(90);
        simd_force(simd_nth(i / 40));
        begin(&c, ops[i % 2]);
        c.rows = true;
        add_input(&c, false, i % 3 ? 4 : 3, (int64_t)3, (int64_t)1 + draw(3),
                  i % 3 ? (int64_t)1 + draw(4) : n, n);
        for (int64_t k = 0; k < tensor_count(&c.in[0]); k++)
            ((float *)c.in[0].data)[k] *= i % 2 ? 3 : 20;
        for (int64_t k = 0; i % 4 == 2 && k < n; k += 3)
            ((float *)c.in[0].data)[k] = k || n < 2 ? -INFINITY : 1;
        if (i % 8 == 4)
            ((float *)c.in[0].data)[draw((uint32_t)n)] = NAN;
        add_int(&c, "axis", -1);
        for (int k = 0; i % 2 && k < 1 + (i % 4 == 1); k++)
            add_input(&c, true, 1, n);
        assert_true(infer(&c, c.node.n_in));
        assert_true(try_all(&c, 3, NULL) == 1);
        release_case(&c);
    }
    simd_force(NULL);
}

/* Products of two computed values: leading dims that repeat, operands that lie transposed, a factor. */
static void heads(void **state)
{
    struct team *team;
    assert_int_equal(team_new(&team, 3), FL_OK);
    for (int i = 0; simd_nth(i / 60); i++) {
        struct test_case c;
        int64_t m, k, n, h;
        seed = 4000 + (uint32_t)i;
        m = 1 + draw(70), k = 1 + draw(80), n = 1 + draw(150), h = 1 + draw(3);
        simd_force(simd_nth(i / 60));
        begin(&c, "MatMul");
        c.rows = true;
        c.swapped = draw(4);
        add_input(&c, false, 4, (int64_t)2, h, m, k);
        if (draw(3))
            add_input(&c, false, 4, (int64_t)2, draw(2) ? h : (int64_t)1, k, n);
        else
            add_input(&c, true, 3, h, k, n);
        if (draw(2))
            add_float(&c, "alpha", 0.125f);
        assert_true(infer(&c, 2));
        assert_true(try_all(&c, 2, i % 2 ? team : NULL) >= (c.swapped & 1 && m > 1 ? 0 : 1));
        release_case(&c);
    }
    simd_force(NULL);
    team_free(team);
}

/* Row-major sums and products with what is repeated along some of the dims. */
static void repeated_operands(void **state)
{
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div"};
    for (int i = 0; i < 60; i++) {
        struct test_case c;
        int64_t a, b, n;
        seed = 7000 + (uint32_t)i;
        a = 1 + draw(4), b = 2 + draw(6), n = 2 + draw(40);
        begin(&c, ops[i % 4]);
        c.rows = true;
        add_input(&c, false, 4, (int64_t)3, a, b, n);
        if (i % 3)
            add_input(&c, draw(2), 3, draw(2) ? a : (int64_t)1, draw(2) ? b : (int64_t)1, n);
        else
            add_input(&c, false, 4, (int64_t)3, (int64_t)1, b, draw(2) ? n : (int64_t)1);
        for (int64_t k = 0; k < tensor_count(&c.in[1]); k++)
            ((float *)c.in[1].data)[k] += 2;
        if (i % 3)
            c.constant[1] = true;
        assert_true(infer(&c, 2));
        assert_true(try_all(&c, 3, NULL) == 1);
        release_case(&c);
    }
}

static void moves(void **state)
{
    for (int i = 0; i < 20; i++) {
        struct test_case c;
        int64_t h, w;
        seed = 80 + (uint32_t)i;
        h = 1 + draw(5);
        w = 1 + draw(5);
        begin(&c, i % 2 ? "Concat" : "Flatten");
        add_input(&c, false, 4, (int64_t)3, (int64_t)1 + draw(20), h, w);
        add_int(&c, "axis", 1);
        for (int k = 0; i % 2 && k < 3; k++)
            add_input(&c, false, 4, (int64_t)3, (int64_t)1 + draw(20), h, w);
        assert_true(infer(&c, c.node.n_in));
        assert_true(try_all(&c, 3, NULL) == 1);
        release_case(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions),
        cmocka_unit_test(convolutions_on_threads),
        cmocka_unit_test(winograd),
        cmocka_unit_test(parts_of_wider_images),
        cmocka_unit_test(pools),
        cmocka_unit_test(products),
        cmocka_unit_test(many_rows_by_deep_products),
        cmocka_unit_test(activations),
        cmocka_unit_test(two_operands),
        cmocka_unit_test(volumes),
        cmocka_unit_test(volume_pools),
        cmocka_unit_test(rows),
        cmocka_unit_test(heads),
        cmocka_unit_test(repeated_operands),
        cmocka_unit_test(moves),
        cmocka_unit_test(norms_and_spatial_means),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
