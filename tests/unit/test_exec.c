/* test_exec.c - an executor gives the reference's answers, whole, in pieces, in batches, on threads */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "stages/exec/exec.h"
#include "stages/exec/profile.h"

#define MODEL  "tests/data/tiny.onnx"
#define PIXELS (3 * 16 * 16)

static struct graph *g;

static int load_model(void **state)
{
    struct error e;
    return graph_load(&g, MODEL, NULL, &e);
}

static int free_model(void **state)
{
    graph_free(g);
    return 0;
}

static void fill(float *x, int n, uint32_t seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

static struct exec *make(enum exec_kernels kernels, int batch, int threads, int first, int last)
{
    struct exec *x;
    struct error e = {FL_OK, ""};
    struct exec_options o = {
        .kernels = kernels, .threads = threads, .max_batch = batch, .first = first, .last = last};
    if (exec_new(&x, g, &o, &e))
        fail_msg("%s", e.text);
    return x;
}

static void run(struct exec *x, int first, int last, int batch)
{
    struct error e = {FL_OK, ""};
    if (exec_run(x, first, last, batch, NULL, NULL, &e))
        fail_msg("%s", e.text);
}

static void close_to(const float *a, const float *b, int n)
{
    for (int i = 0; i < n; i++)
        if (!(fabsf(a[i] - b[i]) <= 1e-4f * (1 + fabsf(b[i]))))
            fail_msg("element %d: %g, expected %g", i, (double)a[i], (double)b[i]);
}

/* Logits of images seeded 1, 2, ... by reference kernels, one at a time. */
static void reference_logits(float (*out)[10], int n)
{
    struct exec *x = make(KERNELS_REFERENCE, 1, 1, 0, -1);
    for (int i = 0; i < n; i++) {
        fill(exec_input_buffer(x, 0), PIXELS, (uint32_t)i + 1);
        run(x, 0, g->n_nodes - 1, 1);
        memcpy(out[i], exec_output(x, 0, 1).data, sizeof out[i]);
    }
    exec_free(x);
}

static void fill_batch(struct exec *x, int n)
{
    for (int i = 0; i < n; i++)
        fill((float *)exec_input_buffer(x, 0) + i * PIXELS, PIXELS, (uint32_t)i + 1);
}

static void all_kernels_agree(void **state)
{
    static const enum exec_kernels modes[] = {KERNELS_AUTO, KERNELS_ONEDNN, KERNELS_OPENBLAS,
                                              KERNELS_REFERENCE};
    float want[7][10];
    reference_logits(want, 7);
    for (int m = 0; m < 4; m++)
        for (int threads = 1; threads <= 3; threads += 2) {
            struct exec *x = make(modes[m], 7, threads, 0, -1);
            for (int batch = 1; batch <= 7; batch += 2) {
                fill_batch(x, batch);
                run(x, 0, g->n_nodes - 1, batch);
                close_to(exec_output(x, 0, batch).data, want[0], 10 * batch);
            }
            exec_free(x);
        }
}

static void tells_what_crosses(void **state)
{
    struct exec *x = make(KERNELS_AUTO, 4, 1, 0, -1);
    struct tensor in = exec_input_shape(x, 0, 2), out = exec_output_shape(x, 0, 3);
    assert_int_equal(exec_n_inputs(x), 1);
    assert_string_equal(exec_input_name(x, 0), "input");
    assert_string_equal(exec_output_name(x, 0), "logits");
    assert_int_equal(in.rank, 4);
    assert_int_equal(in.dim[0], 2);
    assert_int_equal(in.dim[1], 3);
    assert_int_equal(out.dim[0], 3);
    assert_int_equal(out.dim[1], 10);
    assert_true(exec_weight_bytes(x) > 9000 * sizeof(float));
    assert_true(exec_arena_bytes(x) > 4 * PIXELS * sizeof(float));
    assert_string_equal(exec_kernel_name(x, -1), "none");
    exec_free(x);
}

static int find_cut(const char *name)
{
    struct cut *cuts;
    int n, node = -1;
    assert_int_equal(graph_cuts(g, &cuts, &n, NULL), FL_OK);
    for (int i = 0; i < n; i++)
        if (!strcmp(cuts[i].name, name))
            node = cuts[i].node;
    free(cuts);
    assert_true(node >= 0);
    return node;
}

/* Two executors, one for each side of the cut, joined by what crosses. */
static void a_divided_model_gives_the_same(void **state)
{
    int cut = find_cut("block2.out"), inner = find_cut("block1.out");
    struct exec *front = make(KERNELS_AUTO, 3, 1, 0, cut), *back = make(KERNELS_AUTO, 3, 1, cut + 1, -1);
    struct tensor crossing, in;
    struct error e;
    float want[3][10];
    reference_logits(want, 3);
    fill_batch(front, 3);
    run(front, 0, inner, 3);
    assert_int_equal(exec_cut(front, inner, 3, &crossing, &e), FL_OK);
    assert_int_equal(crossing.dim[1], 16); /* NHWC */
    assert_int_equal(crossing.dim[3], 8);
    run(front, inner + 1, cut, 3);
    assert_int_equal(exec_cut(front, cut, 3, &crossing, &e), FL_OK);
    assert_ptr_equal(crossing.data, exec_output(front, 0, 3).data);
    in = exec_input_shape(back, 0, 3);
    assert_true(tensor_same_shape(&in, &crossing));
    memcpy(exec_input_buffer(back, 0), crossing.data, (size_t)tensor_bytes(&crossing));
    run(back, cut + 1, g->n_nodes - 1, 3);
    close_to(exec_output(back, 0, 3).data, want[0], 30);
    exec_free(front);
    exec_free(back);
}

static void rows_leave_the_batch(void **state)
{
    int cut = find_cut("block1.out"), keep[] = {1, 4, 5};
    struct exec *x = make(KERNELS_AUTO, 6, 1, 0, -1);
    struct error e;
    float want[6][10];
    reference_logits(want, 6);
    fill_batch(x, 6);
    run(x, 0, cut, 6);
    assert_int_equal(exec_compact(x, cut, keep, 3, &e), FL_OK);
    run(x, cut + 1, g->n_nodes - 1, 3);
    for (int i = 0; i < 3; i++)
        close_to((float *)exec_output(x, 0, 3).data + 10 * i, want[keep[i]], 10);
    keep[0] = 5;
    assert_int_equal(exec_compact(x, cut, keep, 3, &e), FL_INTERNAL);
    exec_free(x);
}

static int stop_after(void *arg, int node)
{
    return node == *(int *)arg;
}

static void a_run_can_be_stopped(void **state)
{
    struct exec *x = make(KERNELS_AUTO, 1, 1, 0, -1);
    struct error e;
    int at = 3;
    float want[1][10];
    fill_batch(x, 1);
    assert_int_equal(exec_run(x, 0, g->n_nodes - 1, 1, stop_after, &at, &e), FL_CANCELLED);
    assert_int_equal(exec_run(x, 4, g->n_nodes - 1, 1, NULL, NULL, &e), FL_INTERNAL);
    reference_logits(want, 1);
    fill_batch(x, 1);
    run(x, 0, g->n_nodes - 1, 1);
    close_to(exec_output(x, 0, 1).data, want[0], 10);
    exec_free(x);
}

static void the_graph_may_go(void **state)
{
    struct graph *own;
    struct exec *x;
    struct error e;
    float want[1][10];
    int last;
    reference_logits(want, 1);
    for (enum exec_kernels k = KERNELS_AUTO; k <= KERNELS_REFERENCE; k++) {
        assert_int_equal(graph_load(&own, MODEL, NULL, &e), FL_OK);
        assert_int_equal(exec_new(&x, own, &(struct exec_options){.kernels = k, .last = -1}, &e), FL_OK);
        last = own->n_nodes - 1;
        graph_free(own);
        fill_batch(x, 1);
        run(x, 0, last, 1);
        close_to(exec_output(x, 0, 1).data, want[0], 10);
        exec_free(x);
    }
}

static void wrong_ranges_are_refused(void **state)
{
    struct exec *x;
    struct error e;
    int cut = find_cut("block2.out"), inside = cut - 1;
    assert_int_equal(exec_new(&x, g, &(struct exec_options){.first = 3, .last = 1}, &e), FL_CONFIG);
    assert_int_equal(exec_new(&x, g, &(struct exec_options){.last = 10000}, &e), FL_CONFIG);
    assert_int_equal(exec_new(&x, g, &(struct exec_options){.last = inside}, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "more than one value"));
    assert_int_equal(exec_new(&x, g, &(struct exec_options){.last = -1, .max_batch = -1}, &e), FL_CONFIG);
    x = make(KERNELS_OPENBLAS, 2, 1, 0, -1);
    assert_int_equal(exec_run(x, 0, 2, 3, NULL, NULL, &e), FL_SHAPE);
    assert_int_equal(exec_run(x, 0, 2, 0, NULL, NULL, &e), FL_SHAPE);
    assert_int_equal(exec_run(x, 2, 3, 1, NULL, NULL, &e), FL_INTERNAL);
    assert_int_equal(exec_run(x, 0, 1000, 1, NULL, NULL, &e), FL_INTERNAL);
    exec_free(x);
}

/* oneDNN's ReLU turns NaN into 0, so this holds for our own kernels only. */
static void nan_goes_through(void **state)
{
    struct exec *x = make(KERNELS_OPENBLAS, 1, 1, 0, -1);
    float *in = exec_input_buffer(x, 0);
    const float *out;
    for (int i = 0; i < PIXELS; i++)
        in[i] = NAN;
    run(x, 0, g->n_nodes - 1, 1);
    out = exec_output(x, 0, 1).data;
    for (int i = 0; i < 10; i++)
        assert_true(isnan(out[i]));
    exec_free(x);
}

static void layers_are_timed(void **state)
{
    struct exec *x = make(KERNELS_AUTO, 2, 1, 0, -1);
    struct profile p;
    struct error e;
    double sum = 0;
    assert_int_equal(profile_run(&p, x, g, 0, g->n_nodes - 1, 1, 2, 20, &e), FL_OK);
    assert_int_equal(p.n_layers, g->n_nodes);
    assert_true(p.min_ms > 0 && p.min_ms <= p.median_ms && p.median_ms <= p.p99_ms);
    for (int i = 0; i < p.n_layers; i++) {
        assert_true(p.layer[i].min_ms >= 0 && p.layer[i].min_ms <= p.layer[i].p99_ms);
        assert_true(p.layer[i].flops > 0);
        sum += p.layer[i].min_ms;
    }
    assert_true(sum > 0);
    profile_release(&p);
    assert_int_equal(profile_run(&p, x, g, 0, g->n_nodes - 1, 1, 2, 0, &e), FL_USAGE);
    exec_free(x);
}

static void kernels_have_names(void **state)
{
    enum exec_kernels k;
    for (enum exec_kernels i = KERNELS_AUTO; i <= KERNELS_REFERENCE; i++) {
        assert_int_equal(engine_parse_kernels(engine_kernels_name(i), &k, NULL), FL_OK);
        assert_int_equal(k, i);
    }
    assert_int_equal(engine_parse_kernels("cuda", &k, NULL), FL_CONFIG);
    assert_non_null(engine_blas_core());
    assert_non_null(engine_conv());
}

#define TOKENS (7 * 16) /* floats of one request */

/* Answers of the first n requests of those seeded 1, 2, ..., in one batch. */
static void attend(enum exec_kernels kernels, const struct graph *attention, int n, float *out)
{
    struct exec_options o = {.kernels = kernels, .max_batch = 5, .last = -1};
    struct error e = {FL_OK, ""};
    struct exec *x;
    if (exec_new(&x, attention, &o, &e))
        fail_msg("%s", e.text);
    for (int i = 0; i < n; i++)
        fill((float *)exec_input_buffer(x, 0) + i * TOKENS, TOKENS, (uint32_t)i + 1);
    if (exec_run(x, 0, attention->n_nodes - 1, n, NULL, NULL, &e))
        fail_msg("%s", e.text);
    memcpy(out, exec_output(x, 0, n).data, (size_t)n * TOKENS * sizeof *out);
    exec_free(x);
}

/* What only rearranges around the heads of attention costs nothing, and is right at every batch. */
static void heads_are_views(void **state)
{
    static const char *const models[] = {"one_product", "gathered"};
    /* In the second a value that is transposed crosses a cut alone, and so lies by itself. */
    static const char *const movers[2][3] = {{"Transpose", "Split", "Squeeze"},
                                             {"Gather", "Gather", "Gather"}};
    for (int m = 0; m < 2; m++) {
        struct graph *attention;
        struct exec *x;
        struct error e;
        struct exec_options o = {.max_batch = 5, .last = -1};
        float want[5 * TOKENS], got[5 * TOKENS];
        char path[128];
        snprintf(path, sizeof path, "tests/conformance/cases/graph_attention_%s/model.onnx", models[m]);
        assert_int_equal(graph_load(&attention, path, NULL, &e), FL_OK);
        assert_int_equal(exec_new(&x, attention, &o, &e), FL_OK);
        for (int i = 0; i < attention->n_nodes; i++)
            for (int k = 0; k < 3; k++)
                if (node_is(&attention->nodes[i], movers[m][k]))
                    assert_string_equal(exec_kernel_name(x, i), "view");
        exec_free(x);
        attend(KERNELS_REFERENCE, attention, 5, want);
        for (int n = 1; n <= 5; n++) {
            attend(KERNELS_AUTO, attention, n, got);
            close_to(got, want, n * TOKENS);
        }
        graph_free(attention);
    }
}

#define MANY 3000 /* so many that the first layers of even a small network take parts of the batch */

static void fill_many(struct exec *x, int n, int first)
{
    struct tensor shape = exec_input_shape(x, 0, 1);
    int each = (int)tensor_count(&shape);
    for (int i = 0; i < n; i++)
        fill((float *)exec_input_buffer(x, 0) + (int64_t)i * each, each, (uint32_t)(first + i) % 5 + 1);
}

/* The answers of a batch, whose requests are seeded in turn from `first` on, against those of one at a time.
 */
static void answers_as_alone(struct exec *x, const struct graph *net, int n, int first)
{
    struct exec_options o = {.kernels = KERNELS_REFERENCE, .last = -1};
    struct tensor answer = exec_output_shape(x, 0, 1);
    struct exec *alone;
    struct error e;
    assert_int_equal(exec_new(&alone, net, &o, &e), FL_OK);
    for (int k = 0; k < 5; k++) {
        fill_many(alone, 1, first + k);
        run(alone, 0, net->n_nodes - 1, 1);
        for (int i = k; i < n; i += 5)
            close_to((const float *)exec_output(x, 0, n).data + i * tensor_count(&answer),
                     exec_output(alone, 0, 1).data, (int)tensor_count(&answer));
    }
    exec_free(alone);
}

/* All of a batch, which leaves out of it from the first cut on the first 3; where runs may stop: there alone,
 * or anywhere, or nowhere. */
static void run_many(const struct graph *net, bool only_stops, bool stops)
{
    static const int stop = 0;
    static int keep[MANY];
    struct exec_options o = {
        .max_batch = MANY, .last = -1, .only_stops = only_stops, .stops = &stop, .n_stops = stops};
    int n = MANY - 1, last = net->n_nodes - 1;
    struct exec *x;
    struct error e;
    assert_int_equal(exec_new(&x, net, &o, &e), FL_OK);
    fill_many(x, n, 0);
    if (stops) {
        for (int i = 0; i < n - 3; i++)
            keep[i] = i + 3;
        run(x, 0, stop, n);
        n -= 3;
        assert_int_equal(exec_compact(x, stop, keep, n, &e), FL_OK);
        run(x, stop + 1, last, n);
    } else {
        run(x, 0, last, n);
    }
    answers_as_alone(x, net, n, stops ? 3 : 0);
    exec_free(x);
}

/* A large batch goes through in parts, and each request gets the answer that it gets alone. */
static void large_batches_go_in_parts(void **state)
{
    static const char *const models[] = {MODEL, "tests/conformance/cases/graph_dense_block/model.onnx"};
    for (int m = 0; m < 2; m++) {
        struct graph *net;
        struct error e;
        assert_int_equal(graph_load(&net, models[m], NULL, &e), FL_OK);
        run_many(net, true, true);
        run_many(net, false, true);
        run_many(net, true, false);
        graph_free(net);
    }
}

/* Each layer of a dense block reads all layers before it, joined: nothing is copied for that. */
static void joined_layers_are_views(void **state)
{
    struct graph *dense;
    struct exec *x;
    struct error e;
    struct exec_options o = {.max_batch = 3, .last = -1};
    int views = 0, apart = 0;
    assert_int_equal(graph_load(&dense, "tests/conformance/cases/graph_dense_block/model.onnx", NULL, &e),
                     FL_OK);
    assert_int_equal(exec_new(&x, dense, &o, &e), FL_OK);
    for (int i = 0; i < dense->n_nodes; i++)
        views += node_is(&dense->nodes[i], "Concat") && !strcmp(exec_kernel_name(x, i), "view");
    assert_int_equal(views, 3);
    exec_free(x);
    o.apart = true;
    assert_int_equal(exec_new(&x, dense, &o, &e), FL_OK);
    for (int i = 0; i < dense->n_nodes; i++)
        apart += node_is(&dense->nodes[i], "Concat") && !strcmp(exec_kernel_name(x, i), "copy");
    assert_int_equal(apart, 3);
    exec_free(x);
    graph_free(dense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_kernels_agree),
        cmocka_unit_test(tells_what_crosses),
        cmocka_unit_test(a_divided_model_gives_the_same),
        cmocka_unit_test(rows_leave_the_batch),
        cmocka_unit_test(a_run_can_be_stopped),
        cmocka_unit_test(the_graph_may_go),
        cmocka_unit_test(wrong_ranges_are_refused),
        cmocka_unit_test(nan_goes_through),
        cmocka_unit_test(layers_are_timed),
        cmocka_unit_test(kernels_have_names),
        cmocka_unit_test(heads_are_views),
        cmocka_unit_test(large_batches_go_in_parts),
        cmocka_unit_test(joined_layers_are_views),
    };
    return cmocka_run_group_tests(tests, load_model, free_model);
}
