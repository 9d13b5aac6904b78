/* test_allocations.c - a run allocates nothing once every batch size ran, nor does a look-up
 *
 * On one thread and on three. What libraries allocate counts too, but for oneDNN, whose primitives take a few
 * small blocks per run. Under a sanitizer, which brings its own malloc, there is nothing to count.
 */
#include <string.h>

#include "tests/testing.h"
#include "cache_samples.h"
#include "cache_service/service/cache_brain.h"
#include "stages/place/descriptor.h"
#include "stages/exec/exec.h"
#include "tests/counted_malloc.h"

static struct graph *g;

static int load_model(void **state)
{
    struct error e;
    return graph_load(&g, "tests/data/tiny.onnx", NULL, &e);
}

static int free_model(void **state)
{
    graph_free(g);
    return 0;
}

/* What a stage worker does with a batch: run to an exit, describe, let rows go, run on. */
static void serve(struct exec *x, const struct cut *cut, int batch, float *descriptor)
{
    static const struct descriptor_config grids = {false, 3, {1, 2, 4}};
    struct tensor t;
    int keep[8], n = batch > 1 ? batch - 1 : 1;
    for (int i = 0; i < n; i++)
        keep[i] = batch > 1 ? i + 1 : 0;
    memset(exec_input_buffer(x, 0), 0, (size_t)batch * 3 * 16 * 16 * sizeof(float));
    assert_int_equal(exec_run(x, 0, cut->node, batch, NULL, NULL, NULL), FL_OK);
    assert_int_equal(exec_cut(x, cut->node, batch, &t, NULL), FL_OK);
    descriptor_compute(&t, &grids, descriptor);
    assert_int_equal(exec_compact(x, cut->node, keep, n, NULL), FL_OK);
    assert_int_equal(exec_run(x, cut->node + 1, g->n_nodes - 1, n, NULL, NULL, NULL), FL_OK);
    assert_non_null(exec_output(x, 0, n).data);
}

static int counted(bool libraries)
{
    return libraries ? allocations() : allocations_ours();
}

static void count_on(int threads, enum exec_kernels kernels, enum exec_precision precision, bool libraries)
{
    struct exec *x;
    struct error e = {FL_OK, ""};
    struct exec_options o = {
        .kernels = kernels, .threads = threads, .max_batch = 6, .last = -1, .precision = precision};
    struct cut *cuts;
    float *descriptor = malloc(6 * 21 * 64 * sizeof *descriptor);
    int n, before;
    assert_int_equal(graph_cuts(g, &cuts, &n, &e), FL_OK);
    assert_int_equal(exec_new(&x, g, &o, &e), FL_OK);
    for (int batch = 1; batch <= 6; batch++)
        serve(x, &cuts[1], batch, descriptor);
    before = counted(libraries);
    for (int i = 0; i < 60; i++)
        serve(x, &cuts[1], 1 + i % 6, descriptor);
    n = counted(libraries) - before;
    if (n)
        fail_msg("%s kernels, %d threads: %d allocations in 60 runs", engine_kernels_name(kernels), threads,
                 n);
    exec_free(x);
    free(cuts);
    free(descriptor);
}

static void count(enum exec_kernels kernels, enum exec_precision precision, bool libraries)
{
    count_on(1, kernels, precision, libraries);
    count_on(3, kernels, precision, libraries);
}

/* Softmax, LayerNormalization, products per head. */
static void attend(int threads)
{
    struct graph *tokens;
    struct exec *x;
    struct error e;
    struct exec_options o = {.threads = threads, .max_batch = 6, .last = -1};
    int before = 0;
    assert_int_equal(
        graph_load(&tokens, "tests/conformance/cases/graph_attention_one_product/model.onnx", NULL, &e),
        FL_OK);
    assert_int_equal(exec_new(&x, tokens, &o, &e), FL_OK);
    memset(exec_input_buffer(x, 0), 0, 6 * 7 * 16 * sizeof(float));
    for (int i = 0; i < 60; i++) {
        before = i == 6 ? allocations() : before;
        assert_int_equal(exec_run(x, 0, tokens->n_nodes - 1, 1 + i % 6, NULL, NULL, NULL), FL_OK);
    }
    assert_int_equal(allocations(), before);
    exec_free(x);
    graph_free(tokens);
}

static void attention(void **state)
{
    attend(1);
    attend(3);
}

static void auto_kernels(void **state)
{
    count(KERNELS_AUTO, PRECISION_FLOAT32, false);
}

static void openblas_kernels(void **state)
{
    count(KERNELS_OPENBLAS, PRECISION_FLOAT32, true);
}

static void onednn_kernels(void **state)
{
    count(KERNELS_ONEDNN, PRECISION_FLOAT32, false);
}

static void bfloat16(void **state)
{
    if (!engine_precision_check(PRECISION_BFLOAT16, KERNELS_AUTO, NULL))
        count(KERNELS_AUTO, PRECISION_BFLOAT16, false);
}

static void reference_kernels(void **state)
{
    count(KERNELS_REFERENCE, PRECISION_FLOAT32, true);
}

/* --- look-ups --- */

static int sent(void *arg, const struct message *m)
{
    (void)m;
    ++*(int *)arg;
    return FL_OK;
}

static int told(void *arg, int broker, const struct message *m)
{
    (void)broker;
    return sent(arg, m);
}

static int sent_to(void *arg, const struct peer *to, const struct message *m)
{
    (void)to;
    return sent(arg, m);
}

static int look(void *arg, const struct snapshot *s, const struct lookup *in, const float *descriptors,
                struct cache_verdict *found)
{
    static struct cache_scratch *scratch; /* grows with the first one; lives as long as this program */
    (void)arg;
    if (!scratch && cache_scratch_new(&scratch, MESSAGE_MAX_BATCH))
        return FL_NOMEM;
    return cache_lookup(s->cache[in->exit], scratch, descriptors, in->n, found);
}

static uint64_t moment(void *arg)
{
    (void)arg;
    return 2;
}

/* Hits, misses and traced requests; but for descriptors that are kept. */
static void look_ups(void **state)
{
    static const struct pipeline p = {.broker = {.heartbeat_ms = 100, .dead_after_ms = 1000}};
    static const float centroids[] = {0, 0, 4, 0}, near[] = {4, 0.1f, 100, 100};
    static const uint32_t counts[] = {6, 0, 0, 5};
    static struct message m = {.type = MESSAGE_LOOKUP, .lookup = {.dim = 2, .n = 2}};
    const struct manifest one = {.n_exits = 1};
    const struct cache_arrival came = {1, 1};
    const struct peer from = {.size = 1};
    struct cache_setup setup = {.pipeline = &p};
    struct snapshot *s = snapshot_new(&one);
    struct cache_brain *b;
    int messages = 0, before = 0;
    struct cache_io io = {.arg = &messages,
                          .verdict = sent_to,
                          .result = sent,
                          .control = told,
                          .look = look,
                          .moment = moment};
    assert_non_null(s);
    s->cache[0] = sample_kmeans(2, 2, centroids, counts, 2);
    assert_int_equal(cache_brain_new(&b, &setup, &io, NULL), FL_OK);
    cache_brain_swap(b, s);
    for (int i = 0; i < 2; i++)
        m.lookup.item[i] =
            (struct lookup_item){.request = 1, .attempt = 1, .flags = JOB_TRACE, .deadline_ns = UINT64_MAX};
    for (int i = 0; i < 60; i++) {
        before = i == 1 ? allocations() : before;
        cache_brain_lookup(b, &from, &m, near, &came, 2);
    }
    assert_int_equal(allocations(), before);
    assert_int_equal(messages, 60 * 2); /* a verdict, and a hit */
    cache_brain_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention),         cmocka_unit_test(auto_kernels),
        cmocka_unit_test(openblas_kernels),  cmocka_unit_test(onednn_kernels),
        cmocka_unit_test(reference_kernels), cmocka_unit_test(bfloat16),
        cmocka_unit_test(look_ups),
    };
    return cmocka_run_group_tests(tests, load_model, free_model);
}
