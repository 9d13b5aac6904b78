/* bench_update_live.c - from an answer to the caches that know it, and memory over many updates
 *
 * A real freezeline-cache and a real Redis (AOF, fsync always); this program plays the broker and the stage.
 * It sends look-ups of sampled requests that miss, tells their outcomes, and sees in the service's heartbeats
 * how many updates the caches that serve have taken in, and how much memory that process has.
 *
 *   bench_update_live PROGRAMS rate [PER_SECOND (500) [SECONDS (30)]]   the lag of each update, p50, p99,
 * most bench_update_live PROGRAMS memory [UPDATES (1000000)]               memory at each tenth of them
 *
 * PROGRAMS is the folder of freezeline-cache. An update counts from the moment its outcome was sent;
 * heartbeats come every 50 ms, so a lag is told up to 50 ms too long. updates.interval_ms is 50.
 */
#include "system/limits.h"
#include "tests/integration/cache_world.h"

#define BATCH 64 /* look-ups in one message, where only memory counts */

static uint64_t *told_ns,
    *lag_ns; /* of each update: when its outcome was sent, and what it took from there */
static uint64_t told, seen;

static void see(struct world *w)
{
    uint64_t now = clock_ns();
    while (seen < told && seen < w->service[0].beat.jobs) {
        lag_ns[seen] = now - told_ns[seen];
        seen++;
    }
}

static void tell(struct world *w, uint64_t request)
{
    told_ns[told++] = clock_ns();
    tell_outcome(w, request, MISSING, -1);
}

static int upwards(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void rate(struct world *w, uint64_t per_second, uint64_t n)
{
    uint64_t begun = clock_ns();
    for (uint64_t i = 0; i < n; i++) {
        uint64_t due = begun + i * NS_PER_S / per_second, now;
        while ((now = clock_ns()) < due) {
            pump(w, (int)((due - now) / NS_PER_MS), NULL);
            see(w);
        }
        look_up_one(w, 0, 1, MISSING, JOB_SAMPLED | JOB_AUDIT);
        tell(w, w->request);
        see(w);
    }
    for (uint64_t until = clock_ns() + PATIENCE_NS; seen < told && clock_ns() < until; see(w))
        pump(w, 10, NULL);
    if (seen < told)
        fail_msg("%llu of %llu updates were taken in", (unsigned long long)seen, (unsigned long long)told);
    qsort(lag_ns, n, sizeof *lag_ns, upwards);
    printf("{\"updates\": %llu, \"offered_per_s\": %llu, \"kept_up\": %s, \"lag_ms\": {\"p50\": %.0f, "
           "\"p99\": %.0f, "
           "\"max\": %.0f}}\n",
           (unsigned long long)n, (unsigned long long)per_second,
           clock_ns() - begun < (n / per_second + 3) * NS_PER_S ? "true" : "false",
           (double)lag_ns[n / 2] / NS_PER_MS, (double)lag_ns[n - 1 - n / 100] / NS_PER_MS,
           (double)lag_ns[n - 1] / NS_PER_MS);
}

static void memory(struct world *w, uint64_t n)
{
    static float x[BATCH * DIM];
    for (int tenth = 1; tenth <= 10; tenth++) {
        while (told < n / 10 * (uint64_t)tenth) {
            uint64_t first;
            for (int i = 0; i < BATCH; i++)
                draw(w, MISSING, x + (size_t)i * DIM);
            look_up(w, 0, 1, x, BATCH, DIM, JOB_SAMPLED | JOB_AUDIT, clock_ns() + 60 * NS_PER_S);
            first = w->request + 1 - BATCH;
            for (int i = 0; i < BATCH; i++)
                tell(w, first + (unsigned)i);
            while (told - seen > 8192) { /* what waits is bounded by the sender: it is not what is measured */
                pump(w, 10, NULL);
                see(w);
            }
        }
        printf("after %7llu updates: service %5.1f MB, Redis %5.1f MB\n", (unsigned long long)told,
               (double)w->service[0].beat.resident_bytes / 1e6,
               (double)limits_resident_bytes((uint64_t)w->redis) / 1e6);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    bool rates = argc > 2 && !strcmp(argv[2], "rate");
    uint64_t first = argc > 3 ? strtoull(argv[3], NULL, 10) : rates ? 500 : 1000000;
    uint64_t n = rates ? first * (argc > 4 ? strtoull(argv[4], NULL, 10) : 30) : first;
    struct world *w;
    if (argc < 3 || (!rates && strcmp(argv[2], "memory")) || n < 100) {
        fprintf(stderr, "usage: bench_update_live PROGRAMS rate|memory [NUMBER [SECONDS]]\n");
        return 2;
    }
    snprintf(bin_dir, sizeof bin_dir, "%s", argv[1]);
    told_ns = calloc(n + BATCH, sizeof *told_ns);
    lag_ns = calloc(n + BATCH, sizeof *lag_ns);
    if (!told_ns || !lag_ns)
        return 1;
    w = world_new(true);
    start_service(w, 0);
    wait_for(w, w->service[0].beat.learning.state == LEARNING_SHARED);
    if (rates)
        rate(w, first, n);
    else
        memory(w, n);
    world_free(w);
    return 0;
}
