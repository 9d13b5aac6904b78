/* bench_update_rate.c - how many updates a second go through Redis, beside what Redis itself takes
 *
 * One core for all: this program, which is cache service and learner in turn, and a Redis of its own (AOF as
 * `freezeline up` has it). Ours is the way of the keeper: spool, outbox, append; then the learner's: read,
 * decode, acknowledge (their CPU time includes making the updates). The peer is redis-benchmark with XADD of
 * as many bytes and as many commands at once. Rounds are interleaved.
 *
 *   bench_update_rate [ROUNDS (5) [UPDATES (50000) [appendfsync (always)]]]
 */
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache_service/keep/outbox.h"

#define DIM        64
#define BATCH      4096 /* what the learner reads at once */
#define MAX_ROUNDS 64

extern char **environ;

static char folder[64], endpoint[96];
static pid_t server;

static void die(const char *what)
{
    fprintf(stderr, "bench_update_rate: %s\n", what);
    if (server > 0)
        kill(server, SIGKILL);
    exit(1);
}

static void stay_on_one_core(void)
{
    cpu_set_t all, one;
    int cpu = 0;
    if (sched_getaffinity(0, sizeof all, &all))
        return;
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

static void start_redis(const char *fsync, struct redis_link *link)
{
    char *argv[] = {"redis-server",
                    "--port",
                    "0",
                    "--unixsocket",
                    endpoint + 5,
                    "--dir",
                    folder,
                    "--appendonly",
                    "yes",
                    "--save",
                    "",
                    "--logfile",
                    "log",
                    "--appendfsync",
                    (char *)fsync,
                    NULL};
    struct error e;
    uint64_t until = clock_ns() + 10 * NS_PER_S;
    if (posix_spawnp(&server, argv[0], NULL, NULL, argv, environ))
        die("redis-server can't be started");
    while (redis_link_open(link, &e)) {
        if (clock_ns() > until)
            die(e.text);
        usleep(10000);
    }
}

static struct update *make(uint64_t request)
{
    struct update *u = update_new(1, &(uint32_t){DIM});
    float x[DIM];
    for (int i = 0; i < DIM; i++)
        x[i] = (float)((request * 31 + (unsigned)i) % 1000) / 100;
    if (!u || update_fill(u, 0, 7, x))
        die("out of memory");
    u->request = request;
    u->label = (int32_t)(request % 10);
    return u;
}

static struct spool *spool;
static struct outbox outbox;
static struct store *store;
static uint64_t requests, accepted, applied;

/* All that waits, to Redis. */
static void send_all(void)
{
    struct keeper_task t;
    int rc = outbox_send(&outbox, &t);
    while (rc == KEEPER_ASKS_ON) {
        t.rc = store_append(store, &t.parcel, 1 << 20, 1 << 30, &t.accepted, &t.error);
        if (t.rc)
            die(t.error.text);
        accepted += (unsigned)t.accepted;
        rc = outbox_done(&outbox, &t, clock_ns());
    }
}

static void learn_all(uint64_t fence)
{
    struct store_batch batch;
    struct error e;
    do {
        if (store_read(store, fence, BATCH, &batch, &e) || store_ack(store, fence, &batch, &e))
            die(e.text);
        for (int i = 0; i < batch.n; i++)
            applied += batch.update[i] && batch.update[i]->n == 1;
    } while (batch.n && (store_batch_free(&batch), true));
}

static double server_us(void)
{
    clockid_t clock;
    return clock_getcpuclockid(server, &clock) ? 0 : clock_cpu_us(clock);
}

struct rate {
    double accepted, applied, cpu; /* a second of wall time; us of CPU time each */
};

static struct rate ours(int n, uint64_t fence)
{
    uint64_t begun = clock_ns(), sent, before = applied;
    double cpu = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID) + server_us(), sending = 0;
    for (int i = 0; i < n; i++) {
        spool_push(spool, make(++requests));
        if (i % BATCH != BATCH - 1 && i != n - 1)
            continue;
        sent = clock_ns();
        send_all();
        sending += (double)(clock_ns() - sent);
        learn_all(fence);
    }
    if (applied - before != (unsigned)n)
        die("some were lost");
    cpu = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID) + server_us() - cpu;
    return (struct rate){n / sending * 1e9, n / (double)(clock_ns() - begun) * 1e9, cpu / n};
}

static double children_us(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* *cpu: us of CPU time each, of Redis and of redis-benchmark. */
static double peer(int n, size_t size, double *cpu)
{
    char command[2048], line[512];
    double rate = 0, before = server_us() + children_us();
    FILE *f;
    snprintf(command, sizeof command,
             "redis-benchmark -s %s -n %d -c 1 -P %d --csv XADD peer '*' u %0*d 2>&1 | tail -1", endpoint + 5,
             n, KEEPER_RECORDS, (int)size, 0);
    if (!(f = popen(command, "r")))
        die("redis-benchmark can't be started");
    while (fgets(line, sizeof line, f))
        if (strstr(line, "\",\""))
            rate = atof(strstr(line, "\",\"") + 3);
    pclose(f);
    *cpu = (server_us() + children_us() - before) / n;
    return rate;
}

static int upwards(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *x, int n)
{
    qsort(x, (size_t)n, sizeof *x, upwards);
    return x[n / 2];
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 5, n = argc > 2 ? atoi(argv[2]) : 50000;
    double accept[MAX_ROUNDS], both[MAX_ROUNDS], cpu[MAX_ROUNDS], bare[MAX_ROUNDS], bare_cpu[MAX_ROUNDS],
        ratio[MAX_ROUNDS];
    struct redis_config config = {.endpoint = endpoint};
    struct redis_link *link;
    struct update_record record;
    struct update *u = make(1);
    struct error e;
    uint64_t fence;
    char command[128];
    if (rounds < 1 || rounds > MAX_ROUNDS || n < 1)
        die("1 to 64 rounds");
    strcpy(folder, "/tmp/freezeline-rate-XXXXXX");
    if (!mkdtemp(folder))
        die("no folder");
    snprintf(endpoint, sizeof endpoint, "unix:%s/redis", folder);
    stay_on_one_core();
    if (redis_link_new(&link, &config, NULL, &e))
        die(e.text);
    start_redis(argc > 3 ? argv[3] : "always", link);
    if (spool_new(&spool, 2 * BATCH, 64 << 20) || update_encode(u, &record) ||
        store_new(&store, link, "bench", "learner", &e))
        die("out of memory");
    outbox.spool = spool;
    strcpy(outbox.producer, "bench");
    for (int i = 0; i < rounds; i++) {
        struct rate r;
        if (store_acquire(store, 600000, &fence, &e))
            die(e.text);
        r = ours(n, fence);
        store_release(store, fence, &e);
        accept[i] = r.accepted, both[i] = r.applied, cpu[i] = r.cpu;
        bare[i] = peer(n, record.size, &bare_cpu[i]);
        ratio[i] = accept[i] / bare[i];
        fprintf(
            stderr,
            "round %d: accepted %.0f/s, accepted and applied %.0f/s (%.1f us of CPU each), redis-benchmark "
            "%.0f/s\n",
            i + 1, accept[i], both[i], cpu[i], bare[i]);
    }
    printf("{\"record_bytes\": %zu, \"pipelined\": %d, \"accepted_per_s\": %.0f, \"applied_per_s\": %.0f, "
           "\"cpu_us\": %.2f, "
           "\"redis_benchmark_per_s\": %.0f, \"redis_benchmark_cpu_us\": %.2f, \"ratio\": %.3f}\n",
           record.size, KEEPER_RECORDS, median(accept, rounds), median(both, rounds), median(cpu, rounds),
           median(bare, rounds), median(bare_cpu, rounds), median(ratio, rounds));
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0;
}
