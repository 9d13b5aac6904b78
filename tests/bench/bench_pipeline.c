/* bench_pipeline.c - what serving in stages costs: a 3-stage pipeline without caches against the whole model
 * in this process
 *
 * usage: bench_pipeline [MODEL.onnx [RUNS]]
 *
 * Starts a broker and three stage workers (the model cut as `freezeline plan` cuts it: equal time, with the
 * cost of sending) and asks one request at a time; between two requests it runs the whole model here, so both
 * see the same machine. One thread each, batch 1. Also measures one ZeroMQ round trip over ipc between two
 * processes. Prints medians and the ratio of medians with its spread over blocks of runs.
 */
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <zmq.h>

#include "base/clock.h"
#include "base/samples.h"
#include "client/client.h"
#include "stages/exec/exec.h"
#include "stages/place/planner.h"
#include "stages/exec/profile.h"

#define BLOCKS        10
#define STAGES        3
#define HOP_MS        0.04 /* of a small message; larger ones pay by the byte */
#define SEND_BYTES_MS 4e6
extern char **environ;

struct bench {
    char dir[64], config[128];
    struct pipeline *pipeline;
    struct graph *graph;
    struct exec *exec;
    struct client *client;
    struct tensor input;
    pid_t pid[4];
    int n_pids;
};

static void check(int rc, const struct error *e)
{
    if (!rc)
        return;
    fprintf(stderr, "bench_pipeline: %s\n", e->text);
    exit(1);
}

/* ---- processes ---- */

static void start(struct bench *b, const char *program, const char *stage)
{
    const char *build = getenv("FREEZELINE_BUILD");
    char path[256];
    char *argv[] = {path, "-c", b->config, stage ? "--stage" : NULL, (char *)(uintptr_t)stage, NULL};
    snprintf(path, sizeof path, "%s/%s", build ? build : "build/release", program);
    if (posix_spawn(&b->pid[b->n_pids++], path, NULL, NULL, argv, environ)) {
        perror(path);
        exit(1);
    }
}

static void stop(struct bench *b)
{
    char command[128];
    for (int i = b->n_pids - 1; i >= 0; i--)
        kill(b->pid[i], SIGTERM);
    for (int i = 0; i < b->n_pids; i++)
        waitpid(b->pid[i], NULL, 0);
    snprintf(command, sizeof command, "rm -r '%s'", b->dir);
    if (system(command))
        fprintf(stderr, "could not remove %s\n", b->dir);
}

static void wait_until_ready(struct bench *b)
{
    static struct status_reply s;
    struct error e = {FL_OK, "not ready within 60 s"};
    uint64_t end = clock_ns() + 60 * NS_PER_S;
    while (clock_ns() < end)
        if (!client_status(b->client, 1000, &s, &e) && s.ready)
            return;
    stop(b);
    check(FL_UNAVAILABLE, &e);
}

/* Writes the stages' last layers into the pipeline file. */
static void write_stages(struct bench *b, FILE *f)
{
    struct error e = {FL_OK, ""};
    struct profile p;
    struct cut *cuts;
    double *cost, *transfer;
    int n, chosen[STAGES - 1];

    check(profile_run(&p, b->exec, b->graph, 0, b->graph->n_nodes - 1, 1, 1, 40, &e), &e);
    check(graph_cuts(b->graph, &cuts, &n, &e), &e);
    cost = malloc((size_t)p.n_layers * sizeof *cost);
    transfer = malloc((size_t)n * sizeof *transfer);
    for (int i = 0; i < p.n_layers; i++)
        cost[i] = p.layer[i].median_ms;
    for (int i = 0; i < n; i++) {
        struct tensor t = value_shape(&b->graph->values[cuts[i].value], 1);
        transfer[i] = HOP_MS + (double)tensor_bytes(&t) / SEND_BYTES_MS;
    }
    check(planner_cut(cost, p.n_layers, cuts, n, transfer, STAGES, chosen, &e), &e);
    fprintf(f, "stages:\n");
    for (int s = 0; s < STAGES - 1; s++)
        fprintf(f, "  - {last: \"%s\"}\n", cuts[chosen[s]].name);
    fprintf(f, "  - {threads: 1}\n");
    profile_release(&p);
    free(cost);
    free(transfer);
    free(cuts);
}

static void set_up(struct bench *b, const char *model)
{
    struct exec_options o = {.threads = 1, .max_batch = 1, .last = -1};
    struct error e = {FL_OK, ""};
    char path[512];
    FILE *f;

    snprintf(b->dir, sizeof b->dir, "/tmp/freezeline-bench.XXXXXX");
    if (!mkdtemp(b->dir) || !realpath(model, path)) {
        perror(model);
        exit(1);
    }
    snprintf(b->config, sizeof b->config, "%s/pipeline.yaml", b->dir);
    check(graph_load(&b->graph, path, NULL, &e), &e);
    check(exec_new(&b->exec, b->graph, &o, &e), &e);
    f = fopen(b->config, "we");
    if (!f) {
        perror(b->config);
        exit(1);
    }
    fprintf(f, "model: %s\nexits: none\nlog_level: warn\n", path);
    write_stages(b, f);
    fclose(f);
    check(pipeline_load(&b->pipeline, b->config, NULL, 0, &e), &e);
    start(b, "freezeline-broker", NULL);
    start(b, "freezeline-stage", "0");
    start(b, "freezeline-stage", "1");
    start(b, "freezeline-stage", "2");
    check(client_new(&b->client, b->pipeline, &e), &e);
    wait_until_ready(b);
    b->input = exec_input_shape(b->exec, 0, 1);
    check(tensor_alloc(&b->input), &e);
}

/* ---- measuring ---- */

static double whole_ms(struct bench *b)
{
    struct error e = {FL_OK, ""};
    uint64_t start_ns = clock_ns();
    memcpy(exec_input_buffer(b->exec, 0), b->input.data, (size_t)tensor_bytes(&b->input));
    check(exec_run(b->exec, 0, b->graph->n_nodes - 1, 1, NULL, NULL, &e), &e);
    return (double)(clock_ns() - start_ns) / 1e6;
}

static double pipeline_ms(struct bench *b, struct answer *a)
{
    struct error e = {FL_OK, ""};
    uint64_t start_ns = clock_ns();
    int n;
    check(client_infer(b->client, &b->input, 0, 0, a, NULL, 0, &n, &e), &e);
    if (a->error)
        fprintf(stderr, "bench_pipeline: %s\n", a->text);
    return (double)(clock_ns() - start_ns) / 1e6;
}

static void echo(const char *endpoint)
{
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_REP);
    char buf[1 << 20];
    zmq_bind(socket, endpoint);
    for (;;) {
        int n = zmq_recv(socket, buf, sizeof buf, 0);
        if (n >= 0)
            zmq_send(socket, buf, (size_t)n, 0);
    }
}

static double hop_us(const char *endpoint, size_t bytes)
{
    enum { RUNS = 500 };
    static char buf[1 << 20];
    static double us[RUNS];
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_REQ);
    zmq_connect(socket, endpoint);
    for (int i = 0; i < RUNS; i++) {
        uint64_t start_ns = clock_ns();
        zmq_send(socket, buf, bytes, 0);
        zmq_recv(socket, buf, sizeof buf, 0);
        us[i] = (double)(clock_ns() - start_ns) / 1e3 / 2;
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    return samples_median(us, RUNS);
}

static void measure_hops(void)
{
    static const size_t sizes[] = {64, 12 * 1024, 64 * 1024, 256 * 1024};
    char endpoint[64];
    pid_t child;
    snprintf(endpoint, sizeof endpoint, "ipc:///tmp/freezeline-hop.%d", (int)getpid());
    if ((child = fork()) == 0)
        echo(endpoint);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        printf("one ZeroMQ hop over ipc, %6zu bytes: %7.1f us (half of a round trip's median)\n", sizes[i],
               hop_us(endpoint, sizes[i]));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    unlink(endpoint + 6);
}

static void report_parts(const struct answer *a)
{
    printf("the last request, in us: broker %.0f", (double)a->broker_ns / 1e3);
    for (int i = 0; i < a->trace.n; i++)
        printf(" | stage %u wire %.0f queue %.0f compute %.0f", a->trace.stage[i].stage,
               (double)a->trace.stage[i].wire_ns / 1e3, (double)a->trace.stage[i].queue_ns / 1e3,
               (double)a->trace.stage[i].compute_ns / 1e3);
    printf(" | all %.0f\n", (double)a->total_ns / 1e3);
}

int main(int argc, char **argv)
{
    struct bench b = {0};
    int per_block = (argc > 2 ? atoi(argv[2]) : 200) / BLOCKS;
    double *whole, *staged, ratio[BLOCKS];
    struct answer a = {0};

    engine_start(argv);
    per_block = per_block < 3 ? 3 : per_block;
    whole = calloc((size_t)(per_block * BLOCKS), sizeof *whole);
    staged = calloc((size_t)(per_block * BLOCKS), sizeof *staged);
    if (!whole || !staged)
        return 1;
    measure_hops();
    set_up(&b, argc > 1 ? argv[1] : "tests/data/tiny.onnx");
    for (int i = 0; i < 10; i++) {
        whole_ms(&b);
        pipeline_ms(&b, &a);
    }
    for (int k = 0; k < BLOCKS; k++) {
        double *w = whole + k * per_block, *s = staged + k * per_block;
        for (int i = 0; i < per_block; i++) {
            w[i] = whole_ms(&b);
            s[i] = pipeline_ms(&b, &a);
        }
        ratio[k] = samples_median(s, per_block) / samples_median(w, per_block);
    }
    report_parts(&a);
    samples_sort(ratio, BLOCKS);
    printf("whole model in one process: median %.3f ms\n", samples_median(whole, per_block * BLOCKS));
    printf("3-stage pipeline:           median %.3f ms\n", samples_median(staged, per_block * BLOCKS));
    printf("ratio of medians, by block: median %.3f, from %.3f to %.3f (at most 1.15 wanted)\n",
           (ratio[BLOCKS / 2 - 1] + ratio[BLOCKS / 2]) / 2, ratio[0], ratio[BLOCKS - 1]);
    client_free(b.client);
    stop(&b);
    tensor_release(&b.input);
    exec_free(b.exec);
    graph_free(b.graph);
    pipeline_free(b.pipeline);
    free(whole);
    free(staged);
    return 0;
}
