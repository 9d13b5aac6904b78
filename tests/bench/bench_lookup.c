/* bench_lookup.c - what a look-up costs a stage worker, beside the time of the layers that a hit saves
 *
 * usage: bench_lookup -c PIPELINE.yaml [--set KEY=VALUE ...] [--runs N]
 *
 * Needs caches (`freezeline build`). Starts a cache service of its own on a socket in a temporary folder and
 * asks as a stage worker does: activation -> descriptor -> Lookup -> Verdict, for every exit. Between two
 * look-ups the layers from that exit to the end run in this process, so both see the same machine; after as
 * long a pause an empty service, one that only echoes, is asked with the same bytes: what ZeroMQ itself
 * takes. One thread each, batch 1. Prints medians.
 */
#include <poll.h>
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
#include "stages/place/descriptor.h"
#include "stages/exec/exec.h"
#include "stages/place/placement.h"
#include "wire/frames.h"

#define MAX_SETS    32
#define PATIENCE_MS 20000

extern char **environ;

struct bench {
    char dir[64], endpoint[128];
    const char *config, *set[MAX_SETS];
    int n_sets, runs, message_bytes; /* of the last look-up's payload */
    struct pipeline *pipeline;
    struct graph *graph;
    struct placement placement;
    struct exec *exec;
    void *context, *cache, *echo;
    struct message message;
    pid_t pid, echo_pid;
    char bytes[1 << 20]; /* what the echo is sent; descriptors are smaller */
};

static void check(int rc, const struct error *e)
{
    if (!rc)
        return;
    fprintf(stderr, "bench_lookup: %s\n", e->text);
    exit(1);
}

static void start_cache(struct bench *b)
{
    const char *build = getenv("FREEZELINE_BUILD");
    char path[256], endpoint[192], results[192], control[192];
    char *argv[2 * MAX_SETS + 16];
    int n = 0;
    snprintf(path, sizeof path, "%s/freezeline-cache", build ? build : "build/release");
    snprintf(endpoint, sizeof endpoint, "cache.endpoints.0=%s", b->endpoint);
    snprintf(results, sizeof results, "broker.results=ipc://%s/results", b->dir);
    snprintf(control, sizeof control, "broker.control=ipc://%s/control", b->dir);
    argv[n++] = path;
    argv[n++] = (char *)(uintptr_t) "-c";
    argv[n++] = (char *)(uintptr_t)b->config;
    for (int i = 0; i < b->n_sets; i++) {
        argv[n++] = (char *)(uintptr_t) "--set";
        argv[n++] = (char *)(uintptr_t)b->set[i];
    }
    for (int i = 0; i < 3; i++) {
        argv[n++] = (char *)(uintptr_t) "--set";
        argv[n++] = i == 0 ? endpoint : i == 1 ? results : control;
    }
    argv[n] = NULL;
    if (posix_spawn(&b->pid, path, NULL, NULL, argv, environ)) {
        perror(path);
        exit(1);
    }
}

/* A process that answers whatever comes with 64 bytes. */
static void start_echo(struct bench *b)
{
    char endpoint[128], id[64], answer[64] = {0};
    void *socket;
    snprintf(endpoint, sizeof endpoint, "ipc://%s/echo", b->dir);
    b->echo_pid = fork();
    if (b->echo_pid) {
        b->echo = zmq_socket(b->context = zmq_ctx_new(), ZMQ_DEALER);
        zmq_connect(b->echo, endpoint);
        return;
    }
    socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    zmq_bind(socket, endpoint);
    for (;;) {
        zmq_msg_t payload;
        int n = zmq_recv(socket, id, sizeof id, 0);
        zmq_msg_init(&payload);
        zmq_msg_recv(&payload, socket, 0);
        zmq_msg_close(&payload);
        zmq_send(socket, id, (size_t)n, ZMQ_SNDMORE);
        zmq_send(socket, answer, sizeof answer, 0);
    }
}

static double echo_us(struct bench *b, const void *bytes, size_t size)
{
    char answer[64];
    uint64_t start = clock_ns();
    zmq_send(b->echo, bytes, size, 0);
    zmq_recv(b->echo, answer, sizeof answer, 0);
    return (double)(clock_ns() - start) / 1e3;
}

static void stop(struct bench *b)
{
    char command[128];
    kill(b->echo_pid, SIGTERM);
    waitpid(b->echo_pid, NULL, 0);
    kill(b->pid, SIGTERM);
    waitpid(b->pid, NULL, 0);
    snprintf(command, sizeof command, "rm -r '%s'", b->dir);
    if (system(command))
        fprintf(stderr, "could not remove %s\n", b->dir);
}

static void set_up(struct bench *b, int argc, char **argv)
{
    struct exec_options o = {.threads = 1, .max_batch = 1, .last = -1};
    struct error e = {FL_OK, ""};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "-c"))
            b->config = argv[i + 1];
        else if (!strcmp(argv[i], "--set") && b->n_sets < MAX_SETS)
            b->set[b->n_sets++] = argv[i + 1];
        else if (!strcmp(argv[i], "--runs"))
            b->runs = atoi(argv[i + 1]);
    }
    if (!b->config || b->runs < 10) {
        fprintf(stderr, "usage: bench_lookup -c PIPELINE.yaml [--set KEY=VALUE ...] [--runs N >= 10]\n");
        exit(2);
    }
    check(pipeline_load(&b->pipeline, b->config, b->set, b->n_sets, &e), &e);
    check(graph_load(&b->graph, b->pipeline->model, NULL, &e), &e);
    check(placement_resolve(&b->placement, b->graph, b->pipeline, &e), &e);
    check(exec_new(&b->exec, b->graph, &o, &e), &e);
    snprintf(b->dir, sizeof b->dir, "/tmp/freezeline-bench.XXXXXX");
    if (!mkdtemp(b->dir)) {
        perror(b->dir);
        exit(1);
    }
    snprintf(b->endpoint, sizeof b->endpoint, "ipc://%s/cache", b->dir);
    start_cache(b);
    start_echo(b);
    check(frames_socket(&b->cache, b->context, ZMQ_DEALER, FRAMES_CONNECT, b->endpoint,
                        &(struct socket_options){0}, "loopback", &e),
          &e);
}

/* Waits for the verdict on `sequence`; exits when there is none. */
static const struct verdict *await_verdict(struct bench *b, uint64_t sequence)
{
    struct error e = {FL_OK, ""};
    uint64_t end = clock_ns() + PATIENCE_MS * NS_PER_MS;
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    while (clock_ns() < end) {
        zmq_pollitem_t item = {b->cache, 0, ZMQ_POLLIN, 0};
        zmq_poll(&item, 1, 100);
        if (!frames_recv(b->cache, NULL, &b->message, &payload, &e) && b->message.type == MESSAGE_VERDICT &&
            b->message.verdict.sequence == sequence) {
            zmq_msg_close(&payload);
            return &b->message.verdict;
        }
    }
    stop(b);
    check(error_set(&e, FL_UNAVAILABLE, "the cache service gave no verdict"), &e);
    return NULL;
}

/* Descriptor, look-up and verdict for the activation at an exit; microseconds, and those of the descriptor
 * alone. */
static double lookup_us(struct bench *b, int exit_index, uint64_t sequence, double *descriptor_us)
{
    const struct descriptor_config *config = &b->pipeline->cache.descriptor;
    struct error e = {FL_OK, ""};
    struct lookup *l = &b->message.lookup;
    struct tensor cut;
    zmq_msg_t payload;
    uint64_t start;
    int dim;

    check(exec_cut(b->exec, b->placement.exit[exit_index].cut.node, 1, &cut, &e), &e);
    start = clock_ns();
    dim = descriptor_dim(&cut, config);
    b->message_bytes = dim * (int)sizeof(float);
    zmq_msg_init_size(&payload, (size_t)b->message_bytes);
    descriptor_compute(&cut, config, zmq_msg_data(&payload));
    *descriptor_us = (double)(clock_ns() - start) / 1e3;
    memset(l, 0, sizeof *l);
    b->message.type = MESSAGE_LOOKUP;
    l->exit = (uint32_t)exit_index;
    l->sequence = sequence;
    l->sent_ns = start;
    l->dim = (uint32_t)dim;
    l->n = 1;
    l->item[0].request = sequence;
    l->item[0].attempt = 1;
    l->item[0].flags = JOB_AUDIT; /* noted, and no hit is sent to a broker that is not there */
    l->item[0].deadline_ns = start + 3600 * NS_PER_S;
    for (int rc = FL_AGAIN, tries = 0; rc; tries++) {
        rc = frames_send(b->cache, NULL, &b->message, &payload);
        if (rc && tries > 2000) {
            stop(b);
            check(error_set(&e, (enum fl_code)rc, "the cache service takes no look-ups"), &e);
        }
        if (rc)
            poll(NULL, 0, 10);
    }
    await_verdict(b, sequence);
    return (double)(clock_ns() - start) / 1e3;
}

static double layers_ms(struct bench *b, int first)
{
    struct error e = {FL_OK, ""};
    uint64_t start = clock_ns();
    check(exec_run(b->exec, first, b->graph->n_nodes - 1, 1, NULL, NULL, &e), &e);
    return (double)(clock_ns() - start) / 1e6;
}

static void measure(struct bench *b, int i, double *trip, double *pool, double *saved, double *raw)
{
    static uint64_t sequence;
    const struct placed_exit *x = &b->placement.exit[i];
    struct error e = {FL_OK, ""};
    double m;
    for (int r = -3; r < b->runs; r++) {
        struct tensor shape = exec_input_shape(b->exec, 0, 1);
        float *input = exec_input_buffer(b->exec, 0);
        double descriptor, us;
        for (int64_t k = 0; k < tensor_count(&shape); k++)
            input[k] = (float)((k * 2654435761u + (uint64_t)(r + 3) * 40503u) % 2000) / 1000.0f - 1.0f;
        check(exec_run(b->exec, 0, x->cut.node, 1, NULL, NULL, &e), &e);
        us = lookup_us(b, i, ++sequence, &descriptor);
        m = layers_ms(b, x->cut.node + 1);
        if (r < 0)
            continue;
        trip[r] = us;
        pool[r] = descriptor;
        saved[r] = m;
        check(exec_run(b->exec, 0, x->cut.node, 1, NULL, NULL, &e), &e); /* as long a pause */
        raw[r] =
            echo_us(b, b->bytes,
                    (size_t)b->message_bytes < sizeof b->bytes ? (size_t)b->message_bytes : sizeof b->bytes);
    }
    m = samples_median(saved, b->runs);
    printf("%-8s %-8s %10.1f %14.1f %14.1f %12.3f %9.2f%%\n", x->name, x->kind, samples_median(pool, b->runs),
           samples_median(trip, b->runs), samples_median(raw, b->runs), m,
           samples_median(trip, b->runs) / m / 10);
}

int main(int argc, char **argv)
{
    static struct bench b = {.runs = 200};
    double *samples;
    engine_start(argv);
    set_up(&b, argc, argv);
    samples = malloc(4 * (size_t)b.runs * sizeof *samples);
    if (!samples)
        return 1;
    printf("%-8s %-8s %10s %14s %14s %12s %10s\n", "exit", "kind", "descr. us", "round trip us",
           "raw ZeroMQ us", "saves ms", "share");
    for (int i = 0; i < b.placement.n_exits; i++)
        measure(&b, i, samples, samples + b.runs, samples + 2 * b.runs, samples + 3 * b.runs);
    free(samples);
    zmq_close(b.cache);
    zmq_close(b.echo);
    zmq_ctx_term(b.context);
    stop(&b);
    exec_free(b.exec);
    graph_free(b.graph);
    pipeline_free(b.pipeline);
    return 0;
}
