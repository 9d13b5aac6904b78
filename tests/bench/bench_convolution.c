/* bench_convolution.c - which ways of convolution are worth keeping: all of them on the layers of real
 * networks
 *
 * All kernels that accept a layer run in turn, one thread, batch 1, weights cold as in a whole run; the CPU
 * time of the thread counts, so that other processes disturb little. Printed are medians per layer, and per
 * network how much longer its convolutions take when one kernel is missing and each layer takes the fastest
 * that is left. FREEZELINE_BLAS_CORE, ONEDNN_MAX_CPU_ISA and the first argument (a name of simd.h, "AVX2" or
 * "portable") make this CPU a lesser one.
 */
#include <cblas.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "stages/kernels/engine.h"
#include "stages/kernels/kernels.h"
#include "stages/simd/simd.h"

#define ROUNDS      21
#define WARM_UP     2
#define MOST        8
#define CHILL_BYTES (3 << 20)

struct layer {
    int times; /* that the network has it */
    int64_t ic, side, oc, kernel, stride, groups;
};

static const struct layer resnet18[] = {
    {1, 3, 32, 64, 3, 1, 1},    {4, 64, 32, 64, 3, 1, 1},   {1, 64, 32, 128, 3, 2, 1},
    {3, 128, 16, 128, 3, 1, 1}, {1, 64, 32, 128, 1, 2, 1},  {1, 128, 16, 256, 3, 2, 1},
    {3, 256, 8, 256, 3, 1, 1},  {1, 128, 16, 256, 1, 2, 1}, {1, 256, 8, 512, 3, 2, 1},
    {3, 512, 4, 512, 3, 1, 1},  {1, 256, 8, 512, 1, 2, 1},
};
static const struct layer resnet50[] = {
    {1, 3, 224, 64, 7, 2, 1},   {1, 64, 56, 64, 1, 1, 1},    {3, 64, 56, 64, 3, 1, 1},
    {4, 64, 56, 256, 1, 1, 1},  {2, 256, 56, 64, 1, 1, 1},   {1, 256, 56, 128, 1, 1, 1},
    {1, 128, 56, 128, 3, 2, 1}, {4, 128, 28, 512, 1, 1, 1},  {1, 256, 56, 512, 1, 2, 1},
    {3, 512, 28, 128, 1, 1, 1}, {3, 128, 28, 128, 3, 1, 1},  {1, 512, 28, 256, 1, 1, 1},
    {1, 256, 28, 256, 3, 2, 1}, {6, 256, 14, 1024, 1, 1, 1}, {5, 1024, 14, 256, 1, 1, 1},
    {5, 256, 14, 256, 3, 1, 1}, {1, 512, 28, 1024, 1, 2, 1}, {1, 1024, 14, 512, 1, 1, 1},
    {1, 512, 14, 512, 3, 2, 1}, {3, 512, 7, 2048, 1, 1, 1},  {1, 1024, 14, 2048, 1, 2, 1},
    {2, 2048, 7, 512, 1, 1, 1}, {2, 512, 7, 512, 3, 1, 1},
};
/* Some layers of MobileNetV2, and the grouped ones of ResNeXt-50. */
static const struct layer grouped[] = {
    {1, 3, 224, 32, 3, 2, 1},    {1, 32, 112, 32, 3, 1, 32},   {1, 32, 112, 16, 1, 1, 1},
    {1, 16, 112, 96, 1, 1, 1},   {1, 96, 112, 96, 3, 2, 96},   {2, 144, 56, 144, 3, 1, 144},
    {3, 32, 28, 192, 1, 1, 1},   {3, 384, 14, 384, 3, 1, 384}, {3, 96, 14, 576, 1, 1, 1},
    {3, 960, 7, 160, 1, 1, 1},   {1, 320, 7, 1280, 1, 1, 1},   {1, 128, 56, 128, 3, 1, 32},
    {1, 512, 14, 512, 3, 1, 32},
};

static const struct {
    const char *name;
    const struct layer *layer;
    size_t n;
} networks[] = {
    {"ResNet-18, 32x32", resnet18, sizeof resnet18 / sizeof *resnet18},
    {"ResNet-50, 224x224", resnet50, sizeof resnet50 / sizeof *resnet50},
    {"MobileNetV2, ResNeXt", grouped, sizeof grouped / sizeof *grouped},
};

struct candidate {
    const struct kernel *kernel;
    struct kernel_task task;
    void *state, *scratch;
    double ms[ROUNDS];
};

static char chill[CHILL_BYTES];

static void fill(struct tensor *t)
{
    uint32_t seed = 1;
    if (tensor_alloc(t))
        abort();
    for (int64_t i = 0; i < tensor_count(t); i++) {
        seed = seed * 1664525u + 1013904223u;
        ((float *)t->data)[i] = (float)(seed >> 8) / (1 << 23) - 1;
    }
}

static void run_in_turn(struct candidate *c, int n, const struct op_call *call)
{
    for (int r = -WARM_UP; r < ROUNDS; r++)
        for (int i = 0; i < n; i++) {
            struct candidate *k = &c[(i + r + WARM_UP) % n];
            struct kernel_run run = {k->scratch, NULL};
            double from;
            for (size_t b = 0; b < sizeof chill; b += 64)
                chill[b]++;
            from = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID) / 1e3;
            if (k->kernel->run(k->state, call, &run))
                abort();
            if (r >= 0)
                k->ms[r] = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID) / 1e3 - from;
        }
}

/* Medians of all kernels, by their place in the table; 0 for those that do not take the layer. */
static void measure(const struct layer *l, double *ms)
{
    int64_t pad = l->kernel / 2, out_side = (l->side + 2 * pad - l->kernel) / l->stride + 1;
    int64_t strides[] = {l->stride, l->stride}, pads[] = {pad, pad, pad, pad};
    struct tensor x = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, l->ic, l->side, l->side}};
    struct tensor w = {
        .dtype = TENSOR_F32, .rank = 4, .dim = {l->oc, l->ic / l->groups, l->kernel, l->kernel}};
    struct tensor b = {.dtype = TENSOR_F32, .rank = 1, .dim = {l->oc}};
    struct tensor y = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, l->oc, out_side, out_side}};
    struct attr attr[] = {{.name = "strides", .kind = ATTR_INTS, .count = 2, .ints = strides},
                          {.name = "pads", .kind = ATTR_INTS, .count = 4, .ints = pads},
                          {.name = "group", .kind = ATTR_INT, .i = l->groups}};
    struct node node = {
        .op = op_find("Conv", 13), .opset = 13, .n_in = 3, .n_out = 1, .n_attr = 3, .attr = attr};
    const struct kernel *const *table = kernel_table();
    struct candidate c[MOST] = {{0}};
    struct view in[3], out;
    struct op_call call = {&node, 13, 3, 1, in, &out};
    struct weights *weights;
    int n = 0;
    node.post = (struct post){GRAPH_NONE, ACT_RELU, 0, 0};
    fill(&x), fill(&w), fill(&b), fill(&y);
    in[0] = view_channels_last(&x), in[1] = view_plain(&w), in[2] = view_plain(&b),
    out = view_channels_last(&y);
    in[0].data = out.data = NULL;
    if (weights_new(&weights))
        abort();
    for (int k = 0; table[k]; k++) {
        struct kernel_task t = {
            .call = call, .max_batch = 1, .threads = 1, .weights = weights, .alias = GRAPH_NONE};
        if (table[k]->family == KERNEL_REFERENCE || n == MOST || !table[k]->accepts(&t))
            continue;
        c[n] = (struct candidate){.kernel = table[k], .task = t};
        if (table[k]->prepare(&c[n].task, &c[n].state))
            abort();
        c[n].scratch = aligned_alloc(64, (c[n].task.scratch_bytes + 127) / 64 * 64);
        n++;
    }
    in[0].data = x.data, out.data = y.data;
    run_in_turn(c, n, &call);
    for (int i = 0, k = 0; i < n; i++) {
        while (table[k] != c[i].kernel)
            ms[k++] = 0;
        ms[k++] = samples_median(c[i].ms, ROUNDS);
        c[i].kernel->release(c[i].state);
        free(c[i].scratch);
    }
    weights_free(weights);
    tensor_release(&x), tensor_release(&w), tensor_release(&b), tensor_release(&y);
}

/* The fastest but kernel `without`; among those that compute by themselves when `alone`. */
static double fastest(const double *ms, int n, int without, bool alone)
{
    double best = 0;
    for (int k = 0; k < n; k++)
        if (ms[k] > 0 && k != without && !(alone && kernel_table()[k]->family == KERNEL_ONEDNN) &&
            (best <= 0 || ms[k] < best))
            best = ms[k];
    return best;
}

int main(int argc, char **argv)
{
    const struct kernel *const *table = kernel_table();
    int n = 0;
    engine_start(argv);
    openblas_set_num_threads(1);
    for (int i = 0; argc > 1 && simd_nth(i); i++)
        if (!strcmp(simd_nth(i)->name, argv[1]))
            simd_force(simd_nth(i));
    while (table[n])
        n++;
    printf("%s, OpenBLAS for %s, vectors for %s\n", engine_conv(), engine_blas_core(), simd_best()->name);
    for (size_t net = 0; net < sizeof networks / sizeof *networks; net++) {
        double sum[2][64] = {{0}}, all[2] = {0}, any[64] = {0};
        printf("%s\n", networks[net].name);
        for (size_t i = 0; i < networks[net].n; i++) {
            const struct layer *l = &networks[net].layer[i];
            double ms[64] = {0};
            measure(l, ms);
            printf("  %d x %lldx%lld^2 -> %lld, %lldx%lld / %lld, %lld groups:", l->times, (long long)l->ic,
                   (long long)l->side, (long long)l->oc, (long long)l->kernel, (long long)l->kernel,
                   (long long)l->stride, (long long)l->groups);
            for (int k = 0; k < n; k++) {
                any[k] += ms[k];
                if (ms[k] > 0)
                    printf("  %s %.3f ms", table[k]->name, ms[k]);
                for (int alone = 0; alone < 2; alone++)
                    sum[alone][k] += l->times * fastest(ms, n, k, alone);
            }
            for (int alone = 0; alone < 2; alone++)
                all[alone] += l->times * fastest(ms, n, -1, alone);
            printf("\n");
        }
        for (int k = 0; k < n; k++)
            if (any[k] > 0)
                printf("  without %s: x %.3f; without oneDNN too: x %.3f\n", table[k]->name,
                       sum[0][k] / all[0], sum[1][k] / all[1]);
        printf("  all: %.2f ms; without oneDNN: %.2f ms\n", all[0], all[1]);
    }
    return 0;
}
