/* test_compress.c - networks made smaller: exact where nothing has to be lost, least squares where something
 * has */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/compress/answers.h"
#include "deploy/linear/elimination.h"
#include "deploy/linear/linear.h"
#include "deploy/linear/moments.h"
#include "deploy/compress/split.h"
#include "deploy/compress/surgery.h"
#include "stages/graph/graph_build.h"
#include "stages/onnx/onnx_write.h"

static char path[] = "/tmp/test_compress.XXXXXX";
static uint32_t seed = 1;

static double draw(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (double)(seed >> 8) / (1 << 23) - 1;
}

static void fill(double *x, int n)
{
    for (int i = 0; i < n; i++)
        x[i] = draw();
}

/* ---- linear algebra ---- */

/* Positive definite, from `rows` rows of numbers. */
static void square(const double *x, int rows, int n, double *a)
{
    memset(a, 0, (size_t)(n * n) * sizeof *a);
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < n; i++)
            for (int k = 0; k < n; k++)
                a[i * n + k] += x[r * n + i] * x[r * n + k];
}

static void eigenvectors_make_the_matrix(void **state)
{
    double x[7 * 5], a[25], v[25], value[5];
    fill(x, 35);
    square(x, 7, 5, a);
    memcpy(v, a, sizeof v);
    assert_int_equal(linear_eigen(v, 5, value), FL_OK);
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 5; k++) {
            double sum = 0;
            for (int j = 0; j < 5; j++)
                sum += v[j * 5 + i] * value[j] * v[j * 5 + k];
            assert_float_equal(sum, a[i * 5 + k], 1e-9);
        }
    for (int i = 1; i < 5; i++)
        assert_true(value[i] <= value[i - 1]);
}

static void inverses_and_solutions(void **state)
{
    double x[7 * 5], a[25], inverse[25], factor[25], b[10], rhs[10];
    fill(x, 35);
    fill(rhs, 10);
    square(x, 7, 5, a);
    memcpy(inverse, a, sizeof a);
    memcpy(factor, a, sizeof a);
    memcpy(b, rhs, sizeof b);
    assert_int_equal(linear_invert(inverse, 5), FL_OK);
    assert_int_equal(linear_factor(factor, 5), FL_OK);
    linear_solve(factor, 5, b, 2);
    for (int r = 0; r < 2; r++)
        for (int i = 0; i < 5; i++) {
            double by_inverse = 0, back = 0;
            for (int k = 0; k < 5; k++) {
                by_inverse += inverse[i * 5 + k] * rhs[r * 5 + k];
                back += a[i * 5 + k] * b[r * 5 + k];
            }
            assert_float_equal(by_inverse, b[r * 5 + i], 1e-8);
            assert_float_equal(back, rhs[r * 5 + i], 1e-8);
        }
    memset(a, 0, sizeof a);
    assert_int_equal(linear_factor(a, 5), FL_VALUE);
}

/* y = W x + b is found again from what W = 0, b = 0 lacks; nothing is changed where nothing lacks. */
static void a_fit_finds_what_lacks(void **state)
{
    enum { ROWS = 200, N = 6, M = 3 };
    float x[ROWS * N], r[ROWS * M];
    double w[M * N], b[M], got[M * N], bias[M];
    struct moments s;
    fill(w, M * N);
    fill(b, M);
    for (int i = 0; i < ROWS * N; i++)
        x[i] = (float)(draw() + 2); /* far from 0 on average */
    for (int i = 0; i < ROWS; i++)
        for (int o = 0; o < M; o++) {
            double y = b[o];
            for (int k = 0; k < N; k++)
                y += w[o * N + k] * (double)x[i * N + k];
            r[i * M + o] = (float)y;
        }
    assert_int_equal(moments_new(&s, N, M), FL_OK);
    moments_add(&s, x, r, ROWS / 2);
    moments_add(&s, x + ROWS / 2 * N, r + ROWS / 2 * M, ROWS / 2);
    assert_int_equal(s.count, ROWS);
    assert_int_equal(moments_fit(&s, 1e-9, got, bias), FL_OK);
    for (int i = 0; i < M * N; i++)
        assert_float_equal(got[i], w[i], 1e-3);
    for (int i = 0; i < M; i++)
        assert_float_equal(bias[i], b[i], 1e-3);
    moments_release(&s);
    memset(r, 0, sizeof r);
    assert_int_equal(moments_new(&s, N, M), FL_OK);
    moments_add(&s, x, r, ROWS);
    assert_int_equal(moments_fit(&s, 1e-3, got, bias), FL_OK);
    for (int i = 0; i < M * N; i++)
        assert_true(got[i] == 0);
    moments_release(&s);
}

/* ---- which channels go ---- */

enum { CHANNELS = 4, GROUP = 2, OUT = 3, COLUMNS = CHANNELS * GROUP };

/* The least of |W x - W' x|^2 over W' that does not read channel c, from the normal equations. */
static double least_without(const double *g, const double *w, int c)
{
    double a[COLUMNS * COLUMNS], b[OUT * COLUMNS], error = 0;
    int kept[COLUMNS], n = 0;
    for (int k = 0; k < COLUMNS; k++)
        if (k / GROUP != c)
            kept[n++] = k;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++)
            a[i * n + k] = g[kept[i] * COLUMNS + kept[k]];
    for (int o = 0; o < OUT; o++)
        for (int i = 0; i < n; i++) {
            b[o * n + i] = 0;
            for (int k = 0; k < COLUMNS; k++)
                b[o * n + i] += w[o * COLUMNS + k] * g[k * COLUMNS + kept[i]];
        }
    assert_int_equal(linear_factor(a, n), FL_OK);
    linear_solve(a, n, b, OUT);
    for (int o = 0; o < OUT; o++) {
        double d[COLUMNS];
        memcpy(d, w + o * COLUMNS, sizeof d);
        for (int i = 0; i < n; i++)
            d[kept[i]] -= b[o * n + i];
        for (int i = 0; i < COLUMNS; i++)
            for (int k = 0; k < COLUMNS; k++)
                error += d[i] * g[i * COLUMNS + k] * d[k];
    }
    return error;
}

struct went {
    int times;
    double error;
};

static int note(void *arg, int left, double error)
{
    struct went *w = arg;
    w->times++;
    w->error = error;
    return left == CHANNELS - 1 ? FL_AGAIN : FL_OK;
}

static void the_cheapest_channel_goes_first(void **state)
{
    double x[30 * COLUMNS], g[COLUMNS * COLUMNS], inverse[COLUMNS * COLUMNS], w[OUT * COLUMNS],
        was[OUT * COLUMNS], least = INFINITY;
    bool gone[CHANNELS] = {false};
    struct went went = {0, 0};
    struct elimination e = {OUT, CHANNELS, GROUP, w, inverse, 1, note, &went, gone};
    int cheapest = -1;
    fill(x, 30 * COLUMNS);
    fill(w, OUT * COLUMNS);
    square(x, 30, COLUMNS, g);
    memcpy(was, w, sizeof w);
    memcpy(inverse, g, sizeof g);
    assert_int_equal(linear_invert(inverse, COLUMNS), FL_OK);
    for (int c = 0; c < CHANNELS; c++) {
        double error = least_without(g, was, c);
        cheapest = error < least ? c : cheapest;
        least = fmin(error, least);
    }
    assert_int_equal(eliminate(&e), FL_AGAIN);
    assert_int_equal(went.times, 1);
    assert_float_equal(went.error, least, 1e-8);
    for (int c = 0; c < CHANNELS; c++)
        assert_true(gone[c] == (c == cheapest));
    assert_true(w[cheapest * GROUP] == 0 && w[cheapest * GROUP + 1] == 0);
}

/* ---- two layers for one ---- */

static void all_directions_lose_nothing(void **state)
{
    struct layer l = {.out = 4, .features = 6};
    double x[20 * 6], m[36], w[24], direction[16], value[4], low[24], back[24], lost = 0;
    fill(x, 120);
    fill(w, 24);
    square(x, 20, 6, m);
    assert_int_equal(split_directions(&l, w, m, NULL, direction, value), FL_OK);
    assert_int_equal(split_weights(&l, w, direction, 4, low, back), FL_OK);
    for (int i = 0; i < 24; i++)
        assert_float_equal(back[i], w[i], 1e-9);
    /* What three directions lose is what varies along the fourth. */
    assert_int_equal(split_weights(&l, w, direction, 3, NULL, back), FL_OK);
    for (int r = 0; r < 20; r++)
        for (int o = 0; o < 4; o++) {
            double off = 0;
            for (int k = 0; k < 6; k++)
                off += (w[o * 6 + k] - back[o * 6 + k]) * x[r * 6 + k];
            lost += off * off;
        }
    assert_float_equal(lost, value[3], 1e-8);
    /* Without data: the truncated singular value decomposition, exact for a matrix of that rank. */
    for (int o = 0; o < 4; o++)
        for (int k = 0; k < 6; k++)
            w[o * 6 + k] = (o + 1) * (k - 2.5);
    assert_int_equal(split_directions(&l, w, NULL, NULL, direction, value), FL_OK);
    assert_int_equal(split_weights(&l, w, direction, 1, NULL, back), FL_OK);
    for (int i = 0; i < 24; i++)
        assert_float_equal(back[i], w[i], 1e-9);
}

static void losses_between_sizes(void **state)
{
    struct way w = {.levels = 5, .error = {0, 1, 2, 4, 8}, .loss = {0, NAN, 0.02, NAN, 0.08}};
    ways_fill(&w);
    assert_float_equal(w.loss[1], 0.01, 1e-9);
    assert_float_equal(w.loss[3], 0.04, 1e-9);
    assert_float_equal(w.loss[4], 0.08, 1e-9);
}

/* ---- networks ---- */

static int value(struct graph *g, const char *name, int rank, const int64_t *dim)
{
    int v = graph_add_value(g, name);
    assert_true(v >= 0);
    g->values[v].dtype = TENSOR_F32;
    g->values[v].rank = rank;
    for (int i = 0; i < rank; i++)
        g->values[v].dim[i] = i ? (struct extent){dim[i], 0} : (struct extent){0, 1};
    return v;
}

static struct graph *begin(int rank, const int64_t *dim)
{
    struct graph *g = calloc(1, sizeof *g);
    assert_non_null(g);
    g->opset = 13;
    g->inputs = malloc(sizeof *g->inputs);
    g->outputs = malloc(sizeof *g->outputs);
    g->n_inputs = g->n_outputs = 1;
    g->inputs[0] = value(g, "x", rank, dim);
    return g;
}

/* Drawn weights. Of every two outputs the second is the first again where `twins`: half of them are enough.
 */
static int weights(struct graph *g, int rank, const int64_t *dim, bool twins)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = rank};
    int64_t each;
    float *x;
    memcpy(t.dim, dim, (size_t)rank * sizeof *dim);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    each = tensor_count(&t) / dim[0];
    x = t.data;
    for (int64_t i = 0; i < tensor_count(&t); i++)
        x[i] = (float)(draw() * (rank > 1 ? sqrt(3.0 / (double)each) : 0.3));
    for (int64_t o = 1; twins && o < dim[0]; o += 2)
        memcpy(x + o * each, x + (o - 1) * each, (size_t)each * sizeof *x);
    return graph_add_constant(g, NULL, &t);
}

static int node(struct graph *g, const char *op, int n_in, const int *in)
{
    char name[32];
    int at, out = graph_add_value(g, NULL);
    snprintf(name, sizeof name, "%s%d", op, g->n_nodes);
    at = graph_add_node(g, name, op_find(op, g->opset), n_in, 1);
    assert_true(at >= 0 && out >= 0);
    memcpy(g->nodes[at].in, in, (size_t)n_in * sizeof *in);
    return g->nodes[at].out[0] = out;
}

static void set(struct graph *g, const char *name, int n, const int64_t *x)
{
    struct attr *a = node_attribute(&g->nodes[g->n_nodes - 1], name, n ? ATTR_INTS : ATTR_INT);
    assert_non_null(a);
    a->i = *x;
    if (!n)
        return;
    a->count = n;
    a->ints = malloc((size_t)n * sizeof *x);
    memcpy(a->ints, x, (size_t)n * sizeof *x);
}

static int one(struct graph *g, const char *op, int x)
{
    return node(g, op, 1, &x);
}

/* A convolution that keeps the size, of as many spatial dims as x has; in groups. */
static int conv(struct graph *g, int x, int spatial, int64_t in, int64_t out, int64_t side, int64_t group,
                bool twins)
{
    int64_t dim[] = {out, in / group, side, side}, pads[] = {side / 2, side / 2, side / 2, side / 2};
    int y = node(g, "Conv", 3, (int[]){x, weights(g, 2 + spatial, dim, twins), weights(g, 1, dim, twins)});
    set(g, "pads", 2 * spatial, pads);
    if (group > 1)
        set(g, "group", 0, &group);
    return y;
}

static int gemm(struct graph *g, int x, int64_t in, int64_t out, bool twins)
{
    int y =
        node(g, "Gemm", 3,
             (int[]){x, weights(g, 2, (int64_t[]){out, in}, twins), weights(g, 1, (int64_t[]){out}, twins)});
    set(g, "transB", 0, (int64_t[]){1});
    return y;
}

/* The output's name and dims; the file. */
static void end(struct graph *g, int y, int64_t classes)
{
    struct value *v = &g->values[y];
    v->dtype = TENSOR_F32;
    v->rank = 2;
    v->dim[0] = (struct extent){0, 1};
    v->dim[1] = (struct extent){classes, 0};
    g->outputs[0] = y;
    assert_int_equal(onnx_write(g, path, NULL), FL_OK);
    graph_free(g);
}

static struct graph *load(bool for_writing)
{
    struct graph_options o = {.for_writing = for_writing};
    struct error e = {FL_OK, ""};
    struct graph *g;
    if (graph_load(&g, path, &o, &e))
        fail_msg("%s", e.text);
    return g;
}

enum { RECORDS = 48 };

struct small {
    struct network network;
    struct ways ways;
    struct fit fit;
    struct samples samples;
    struct progress progress;
    float *input, *was, *is;
    int64_t numbers;
    double flops, planned;
};

static float *answers_of(struct small *s, const struct graph *g)
{
    struct error e = {FL_OK, ""};
    struct stretch all = {
        .graph = g, .last = g->n_nodes - 1, .threads = 1, .count = RECORDS, .samples = &s->samples};
    all.out = calloc((size_t)(RECORDS * s->numbers), sizeof *all.out);
    if (stretch_run(&all, &e))
        fail_msg("%s", e.text);
    return all.out;
}

/* What the file at `path` becomes where each way is at the size that `level` says; written to `path` again.
 */
static void make_small(struct small *s, int (*level)(struct way *))
{
    struct graph *g = load(false);
    struct tensor t = value_shape(&g->values[g->inputs[0]], 1);
    struct error e = {FL_OK, ""};
    int64_t each = tensor_count(&t);
    *s = (struct small){.samples.count = RECORDS, .samples.bytes = each * (int64_t)sizeof(float)};
    s->input = s->samples.array.tensor.data = malloc((size_t)(RECORDS * each) * sizeof(float));
    for (int64_t i = 0; i < RECORDS * each; i++)
        s->input[i] = (float)draw();
    t = value_shape(&g->values[g->outputs[0]], 1);
    s->numbers = tensor_count(&t);
    s->was = answers_of(s, g);
    progress_open(&s->progress, fopen("/dev/null", "w"));
    if (network_new(&s->network, load(true), load(true), &s->samples, RECORDS, 1, &e) ||
        ways_new(&s->ways, &s->network, &e) ||
        ways_measure(&s->ways, &s->network, g, RECORDS, &s->progress, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < s->ways.n; i++)
        s->ways.way[i].level = level(&s->ways.way[i]);
    graph_free(g);
    s->planned = ways_flops(&s->ways, &s->network);
    if (fit_network(&s->fit, &s->network, &s->ways, &s->progress, &e) ||
        surgery(&s->network, &s->ways, &s->fit, &e) || onnx_write(s->network.now, path, &e))
        fail_msg("%s", e.text);
    g = load(true);
    for (int i = 0; i < g->n_nodes; i++)
        s->flops += graph_node_flops(g, i, 1);
    graph_free(g);
    g = load(false);
    s->is = answers_of(s, g);
    graph_free(g);
}

static void release(struct small *s)
{
    fclose(s->progress.to);
    fit_release(&s->fit);
    ways_release(&s->ways);
    network_release(&s->network);
    free(s->input);
    free(s->was);
    free(s->is);
}

static double farthest(const struct small *s)
{
    double off = 0, most = 0;
    for (int64_t i = 0; i < RECORDS * s->numbers; i++) {
        off = fmax(off, fabs((double)s->was[i] - (double)s->is[i]));
        most = fmax(most, fabs((double)s->was[i]));
    }
    return off / most;
}

static int half(struct way *w)
{
    for (int i = 1; i < w->levels; i++)
        if (w->keep[i] <= w->all / 2)
            return i;
    return 0;
}

static int half_of_the_channels(struct way *w)
{
    return w->kind == WAY_PRUNE ? half(w) : 0;
}

static int half_in_front(struct way *w)
{
    return w->kind == WAY_NARROW ? half(w) : 0;
}

/* Half of the channels are twins of others: without them the network says the same, with the FLOPs that were
 * planned. */
static void assert_exact(int (*level)(struct way *), int cuts)
{
    struct small s;
    int cut = 0;
    make_small(&s, level);
    for (int i = 0; i < s.ways.n; i++)
        cut += s.ways.way[i].level > 0;
    assert_int_equal(cut, cuts);
    if (farthest(&s) > 2e-3)
        fail_msg("off by %g", farthest(&s));
    assert_float_equal(s.flops, s.planned, 0.5);
    release(&s);
}

static void write_twins(void)
{
    struct graph *g = begin(4, (int64_t[]){1, 3, 8, 8});
    int y = conv(g, g->inputs[0], 2, 3, 16, 3, 1, true), z;
    y = conv(g, one(g, "Relu", y), 2, 16, 16, 3, 1, true);
    y = conv(g, one(g, "Relu", y), 2, 16, 16, 1, 16, true); /* depthwise */
    z = node(g, "Mul", 2, (int[]){y, one(g, "Sigmoid", y)});
    y = conv(g, z, 2, 16, 8, 3, 1, false);
    y = conv(g, y, 2, 8, 8, 3, 4, false); /* groups stay */
    y = one(g, "Flatten", one(g, "GlobalAveragePool", y));
    end(g, gemm(g, y, 8, 5, false), 5);
}

static void twins_of_convolutions(void **state)
{
    write_twins();
    assert_exact(half_of_the_channels, 2);
}

/* What a convolution reads is a mix of half as many numbers: a layer in front makes these. */
static void twins_in_front(void **state)
{
    write_twins();
    assert_exact(half_in_front, 2);
}

/* Channels out, layers in front and behind, all at once. */
static void twins_in_every_way(void **state)
{
    write_twins();
    assert_exact(half, 6);
}

static void twins_of_one_dimension(void **state)
{
    struct graph *g = begin(3, (int64_t[]){1, 4, 20});
    int y = conv(g, g->inputs[0], 1, 4, 16, 3, 1, true);
    y = conv(g, one(g, "Relu", y), 1, 16, 16, 5, 1, true);
    y = one(g, "Flatten", one(g, "Relu", y));
    end(g, gemm(g, y, 16 * 20, 5, false), 5);
    assert_exact(half_of_the_channels, 2);
}

static void twins_of_products(void **state)
{
    struct graph *g = begin(2, (int64_t[]){1, 12});
    int y = gemm(g, g->inputs[0], 12, 32, true);
    y = gemm(g, one(g, "Relu", y), 32, 16, true);
    y = gemm(g, one(g, "Tanh", y), 16, 6, false);
    end(g, one(g, "Softmax", y), 6);
    assert_exact(half_of_the_channels, 2);
}

static int smallest_split(struct way *w)
{
    return w->kind == WAY_SPLIT ? w->levels - 1 : 0;
}

/* Rows of tokens, products without a bias of their own: the weights have few directions, so two thin ones do
 * as well.
 */
static void products_of_low_rank(void **state)
{
    struct graph *g = begin(3, (int64_t[]){1, 6, 24});
    struct tensor t = {.dtype = TENSOR_F32, .rank = 2, .dim = {24, 32}};
    struct small s;
    int y;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int i = 0; i < 24 * 32; i++)
        ((float *)t.data)[i] = (float)(sin(i / 32) * cos(i % 32) / 3 + cos(i / 32) * sin(2 * (i % 32)) / 5);
    y = node(g, "MatMul", 2, (int[]){g->inputs[0], graph_add_constant(g, NULL, &t)});
    y = node(g, "Add", 2, (int[]){y, weights(g, 1, (int64_t[]){32}, false)});
    y = one(g, "Flatten", one(g, "Relu", y));
    end(g, gemm(g, y, 192, 4, false), 4);
    make_small(&s, smallest_split);
    assert_int_equal(s.ways.n, 1);
    assert_true(s.ways.way[0].level > 0 && s.ways.way[0].keep[s.ways.way[0].level] <= 4);
    assert_true(farthest(&s) < 1e-3);
    assert_float_equal(s.flops, s.planned, 0.5);
    assert_true(s.flops < 0.8 * s.ways.node_flops[0]);
    release(&s);
}

static int full_split(struct way *w)
{
    w->keep[1] = w->all;
    return w->kind != WAY_PRUNE;
}

/* Split in all its directions, a convolution is what it was: strides, dilations and padding stay the first
 * one's. */
static void split_in_full(void **state)
{
    struct graph *g = begin(4, (int64_t[]){1, 3, 11, 9});
    int y = conv(g, g->inputs[0], 2, 3, 20, 3, 1, false);
    struct small s;
    set(g, "strides", 2, (int64_t[]){2, 1});
    y = conv(g, one(g, "Relu", y), 2, 20, 18, 3, 1, false);
    set(g, "dilations", 2, (int64_t[]){2, 2});
    y = one(g, "Flatten", one(g, "GlobalAveragePool", one(g, "Relu", y)));
    end(g, gemm(g, y, 18, 7, false), 7);
    make_small(&s, full_split);
    assert_true(s.network.now->n_nodes >= s.network.as_is->n_nodes + 3); /* one is narrowed too */
    if (farthest(&s) > 1e-4)
        fail_msg("off by %g", farthest(&s));
    assert_float_equal(s.flops, s.planned, 0.5);
    release(&s);
}

/* A budget is met by the cheapest cuts. */
static void a_budget_is_met(void **state)
{
    struct graph *g = begin(4, (int64_t[]){1, 3, 8, 8});
    int y = conv(g, g->inputs[0], 2, 3, 32, 3, 1, true);
    struct small s;
    double all = 0;
    y = conv(g, one(g, "Relu", y), 2, 32, 32, 3, 1, false);
    y = conv(g, one(g, "Relu", y), 2, 32, 16, 3, 1, false);
    y = one(g, "Flatten", one(g, "GlobalAveragePool", one(g, "Relu", y)));
    end(g, gemm(g, y, 16, 7, false), 7);
    make_small(&s, half_of_the_channels);
    for (int i = 0; i < s.ways.n_nodes; i++)
        all += s.ways.node_flops[i];
    for (double share = 1; share > 0.3; share -= 0.1) {
        ways_choose(&s.ways, &s.network, share * all);
        assert_true(ways_flops(&s.ways, &s.network) <= share * all);
    }
    ways_choose(&s.ways, &s.network, all);
    for (int i = 0; i < s.ways.n; i++)
        assert_int_equal(s.ways.way[i].level, 0);
    /* The twins are the first to go. */
    ways_choose(&s.ways, &s.network, 0.9 * all);
    assert_true(s.ways.way[0].kind == WAY_SPLIT || s.ways.way[0].level > 0);
    release(&s);
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
        cmocka_unit_test(eigenvectors_make_the_matrix),
        cmocka_unit_test(inverses_and_solutions),
        cmocka_unit_test(a_fit_finds_what_lacks),
        cmocka_unit_test(the_cheapest_channel_goes_first),
        cmocka_unit_test(all_directions_lose_nothing),
        cmocka_unit_test(losses_between_sizes),
        cmocka_unit_test(twins_of_convolutions),
        cmocka_unit_test(twins_in_front),
        cmocka_unit_test(twins_in_every_way),
        cmocka_unit_test(twins_of_one_dimension),
        cmocka_unit_test(twins_of_products),
        cmocka_unit_test(products_of_low_rank),
        cmocka_unit_test(split_in_full),
        cmocka_unit_test(a_budget_is_met),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
