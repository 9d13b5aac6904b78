/* test_allocations.c - a run allocates nothing once every batch size ran
 *
 * This program brings its own malloc and kin, which count. They count what libraries allocate too, oneDNN's
 * C++ included. One thread, as a stage worker has by default: with more, OpenBLAS takes a table of jobs from
 * malloc for each product. Under a sanitizer, which brings its own malloc, there is nothing to count.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "stages/place/descriptor.h"
#include "stages/exec/exec.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

static atomic_int counted;

#if !defined(SANITIZED)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    atomic_fetch_add(&counted, 1);
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
    atomic_fetch_add(&counted, 1);
    *p = __libc_memalign(alignment, size);
    return *p ? 0 : ENOMEM;
}
#endif

static struct graph *g;

static int load_model(void **state)
{
    struct error e;
    (void)state;
    return graph_load(&g, "tests/data/tiny.onnx", NULL, &e);
}

static int free_model(void **state)
{
    (void)state;
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

static void count(enum exec_kernels kernels, int threads)
{
    struct exec *x;
    struct error e = {FL_OK, ""};
    struct exec_options o = {kernels, threads, 6, 0, -1};
    struct cut *cuts;
    float *descriptor = malloc(6 * 21 * 64 * sizeof *descriptor);
    int n, before;
    assert_int_equal(graph_cuts(g, &cuts, &n, &e), FL_OK);
    assert_int_equal(exec_new(&x, g, &o, &e), FL_OK);
    for (int batch = 1; batch <= 6; batch++)
        serve(x, &cuts[1], batch, descriptor);
    before = atomic_load(&counted);
    for (int i = 0; i < 60; i++)
        serve(x, &cuts[1], 1 + i % 6, descriptor);
    n = atomic_load(&counted) - before;
    if (n)
        fail_msg("%s kernels, %d threads: %d allocations in 60 runs", engine_kernels_name(kernels), threads,
                 n);
    exec_free(x);
    free(cuts);
    free(descriptor);
}

static void auto_kernels(void **state)
{
    (void)state;
    count(KERNELS_AUTO, 1);
}

static void openblas_kernels(void **state)
{
    (void)state;
    count(KERNELS_OPENBLAS, 1);
}

static void onednn_kernels(void **state)
{
    (void)state;
    count(KERNELS_ONEDNN, 1);
}

static void reference_kernels(void **state)
{
    (void)state;
    count(KERNELS_REFERENCE, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_kernels),
        cmocka_unit_test(openblas_kernels),
        cmocka_unit_test(onednn_kernels),
        cmocka_unit_test(reference_kernels),
    };
    return cmocka_run_group_tests(tests, load_model, free_model);
}
