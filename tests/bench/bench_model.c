/* bench_model.c - a model whole, in this process: its time, its percentiles, what it allocates
 *
 * usage: bench_model MODEL.onnx [--precision P] [--scales FILE] [--kernels K] [--batch B] [--threads N]
 *                    [--milliseconds M] [--output FILE]
 *
 * A part of table.py (rounds.h); bench_ort.js does the same with ONNX Runtime, on the same pseudo-random
 * inputs. A round lasts about M milliseconds (300), at least two runs. --output gets the raw outputs of the
 * first run.
 */
#include <string.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "deploy/model/precision_arguments.h"
#include "rounds.h"
#include "stages/exec/profile.h"
#include "tests/counted_malloc.h"

#define WARM_UP   3
#define MOST_RUNS 5000

struct bench {
    const char *model, *kernels, *output;
    struct precision_arguments precision;
    int threads, batch, milliseconds;
    struct graph *graph;
    struct exec *exec;
    double flops;
};

static const struct usage usage = {
    .command = "bench_model",
    .operands = "MODEL.onnx",
    .summary = "Times a model: a round for each line of the input.",
    .notes = "",
    .min_operands = 1,
    .max_operands = 1,
};

static void check(int rc, const struct error *e)
{
    if (!rc)
        return;
    fprintf(stderr, "bench_model: %s\n", e->text);
    exit(1);
}

/* How long it took; adds what the processors computed to *cpu_us. */
static double run_ms(struct bench *b, double *cpu_us)
{
    struct error e = {FL_OK, ""};
    uint64_t from;
    profile_fill(b->exec, b->batch);
    *cpu_us -= clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID);
    from = clock_ns();
    check(exec_run(b->exec, 0, b->graph->n_nodes - 1, b->batch, NULL, NULL, &e), &e);
    from = clock_ns() - from;
    *cpu_us += clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID);
    return (double)from / NS_PER_MS;
}

static void write_outputs(struct bench *b)
{
    FILE *f = fopen(b->output, "we");
    rounds_need(f != NULL, b->output);
    for (int i = 0; i < b->graph->n_outputs; i++) {
        struct tensor t = exec_output(b->exec, i, b->batch);
        fwrite(t.data, 1, (size_t)tensor_bytes(&t), f);
    }
    rounds_need(!fclose(f), b->output);
}

static void load(struct bench *b)
{
    struct exec_options o = {.threads = b->threads, .max_batch = b->batch, .last = -1, .only_stops = true};
    struct error e = {FL_OK, ""};
    double cpu_us = 0;
    check(engine_parse_kernels(b->kernels, &o.kernels, &e), &e);
    check(precision_arguments_read(&b->precision, &o, &e), &e);
    check(graph_load(&b->graph, b->model, NULL, &e), &e);
    if (b->batch > 1 && !b->graph->free_batch)
        check(error_set(&e, FL_SHAPE, "%s has a fixed batch size", b->model), &e);
    check(exec_new(&b->exec, b->graph, &o, &e), &e);
    for (int i = 0; i < b->graph->n_nodes; i++)
        b->flops += graph_node_flops(b->graph, i, b->batch);
    for (int i = 0; i < WARM_UP; i++)
        run_ms(b, &cpu_us);
    if (b->output)
        write_outputs(b);
    printf("{\"flops\": %.0f, \"bytes\": %zu, \"engine\": \"%s, %s\"}\n", b->flops,
           exec_weight_bytes(b->exec), engine_blas_core(), engine_conv());
}

static void round_of(struct bench *b)
{
    static double ms[MOST_RUNS];
    double cpu_us = 0, sum = 0;
    int ours = allocations_ours(), all = allocations(), n = 0;
    while (n < 2 || (n < MOST_RUNS && sum < b->milliseconds))
        sum += ms[n++] = run_ms(b, &cpu_us);
    ours = allocations_ours() - ours;
    all = allocations() - all;
    samples_sort(ms, n);
    printf(
        "{\"ms\": %.6f, \"mean\": %.6f, \"p99\": %.6f, \"cpu\": %.6f, \"runs\": %d, \"allocations\": %.2f, "
        "\"of_libraries\": %.2f}\n",
        samples_quantile(ms, n, 0.5), sum / n, samples_quantile(ms, n, 0.99), cpu_us / 1e3 / n, n,
        (double)all / n, (double)(all - ours) / n);
}

int main(int argc, char **argv)
{
    struct bench b = {.kernels = "auto", .threads = 1, .batch = 1, .milliseconds = 300};
    struct argument_list operands;
    struct error e = {FL_OK, ""};
    const struct argument table[] = {
        OPTION_INT("threads", b.threads, "N", "threads for kernels (1)", 1, 256),
        OPTION_INT("batch", b.batch, "B", "requests per run (1)", 1, 1024),
        OPTION_INT("milliseconds", b.milliseconds, "M", "about how long a round is (300)", 1, 100000),
        OPTION_TEXT("kernels", b.kernels, "NAME", "auto, onednn, openblas or reference"),
        OPTION_TEXT("output", b.output, "FILE", "gets the raw outputs"),
        ARGUMENTS_PRECISION(b.precision),
        {0},
    };
    int rc;
    engine_start(argv);
    rc = arguments_parse(&usage, table, argc, argv, &operands, &e);
    if (rc == ARGUMENTS_HELPED)
        return 0;
    check(rc, &e);
    b.model = operands.item[0];
    load(&b);
    while (rounds_next())
        round_of(&b);
    exec_free(b.exec);
    graph_free(b.graph);
    precision_arguments_release(&b.precision);
    return 0;
}
