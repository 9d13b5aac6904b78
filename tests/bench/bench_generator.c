/* bench_generator.c - how late the load generator sends, against a server that answers at once
 *
 * usage: bench_generator [RATE [SECONDS]]
 *
 * The generator (its ZeroMQ thread too) runs on one core, the server, a process of its own, on another where
 * there is one. 32x32 pictures, RATE (5000) requests a second, Poisson and equal gaps. Prints how late
 * requests left, how long answers took and how much of its core the generator used.
 */
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "deploy/load/load.h"
#include "deploy/data/npy.h"
#include "tests/unit/fake_server.h"

#define RECORDS 256
#define SIDE    32

static struct fake_server server;

static void check(int rc, const struct error *e)
{
    if (!rc)
        return;
    fprintf(stderr, "bench_generator: %s\n", e->text);
    exit(1);
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
    if (sched_setaffinity(0, sizeof set, &set))
        perror("sched_setaffinity");
}

/* A child that answers whatever comes until it is ended; it tells its endpoint through a pipe. */
static pid_t start_server(char endpoint[128])
{
    int ends[2];
    pid_t pid;

    if (pipe(ends)) {
        perror("pipe");
        exit(1);
    }
    pid = fork();
    if (!pid) {
        struct fake_behaviour at_once = {0};
        sigset_t end;
        int number;
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        pin(1);
        sigemptyset(&end);
        sigaddset(&end, SIGTERM);
        sigprocmask(SIG_BLOCK, &end, NULL);
        if (fake_start(&server, &at_once) ||
            write(ends[1], server.endpoint, sizeof server.endpoint) != (ssize_t)sizeof server.endpoint)
            _exit(1);
        sigwait(&end, &number);
        fake_stop(&server);
        _exit(0);
    }
    if (pid < 0 || read(ends[0], endpoint, 128) != 128) {
        fprintf(stderr, "bench_generator: the server did not start\n");
        exit(1);
    }
    return pid;
}

static struct dataset *make_data(void)
{
    static const struct pipeline plain;
    struct tensor x = {.dtype = TENSOR_F32, .rank = 4, .dim = {RECORDS, 3, SIDE, SIDE}};
    char path[64], spec[80];
    struct dataset *d = NULL;
    struct error e = {0};

    snprintf(path, sizeof path, "/tmp/freezeline-generator-%d.npy", (int)getpid());
    snprintf(spec, sizeof spec, "npy:%s", path);
    if (tensor_alloc(&x))
        exit(1);
    for (int64_t i = 0; i < tensor_count(&x); i++)
        ((float *)x.data)[i] = (float)(i % 255);
    check(npy_write(&x, path, &e), &e);
    check(dataset_open(&d, spec, &(struct dataset_options){.pipeline = &plain}, &e), &e);
    unlink(path);
    tensor_release(&x);
    return d;
}

static double us(const struct histogram *h, double share)
{
    return (double)histogram_quantile(h, share) / 1e3;
}

static void measure(const struct pipeline *p, const struct dataset *d, const char *kind, double rate,
                    double seconds)
{
    struct load_options o = {.data = d, .duration_s = seconds, .warmup_s = 2};
    struct load_outcome outcome;
    struct tally *t;
    struct error e = {0};

    check(tally_new(&t), &e);
    check(target_pipeline(&o.target, p, 0, 1, &e), &e);
    check(traffic_new(&o.traffic, "shuffled", RECORDS, 1, &e), &e);
    check(arrivals_new(&o.arrivals, kind, rate, 1, &e), &e);
    check(load_run(t, &outcome, &o, &e), &e);
    printf("%-8s %6.0f/s, %lld requests, %lld errors: late p50 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f "
           "us; "
           "answered after p50 %.1f us, p99 %.1f us; %.0f%% of a core\n",
           kind, rate, (long long)t->sent, (long long)t->errors, us(&t->lateness, 0.5),
           us(&t->lateness, 0.99), us(&t->lateness, 0.999), (double)t->lateness.max_ns / 1e3,
           us(&t->latency, 0.5), us(&t->latency, 0.99), 100 * outcome.cpu_s / outcome.end_s);
    target_free(o.target);
    traffic_free(o.traffic);
    arrivals_free(o.arrivals);
    tally_free(t);
}

int main(int argc, char **argv)
{
    double rate = argc > 1 ? atof(argv[1]) : 5000, seconds = argc > 2 ? atof(argv[2]) : 10;
    char endpoint[128], text[256];
    pid_t pid = start_server(endpoint);
    struct dataset *d = make_data();
    struct pipeline *p;
    struct error e = {0};

    pin(0);
    snprintf(text, sizeof text, "model: m.onnx\nbroker: {requests: '%s'}\n", endpoint);
    check(pipeline_parse(&p, text, strlen(text), "bench.yaml", NULL, 0, &e), &e);
    measure(p, d, "poisson", rate, seconds);
    measure(p, d, "uniform", rate, seconds);
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    dataset_close(d);
    pipeline_free(p);
    return 0;
}
