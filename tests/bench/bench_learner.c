/* bench_learner.c - what requests wait for a learner that teaches on their host
 *
 * usage: bench_learner -c P.yaml --data D [options]
 *
 * The pipeline is up, and its learner has something to teach. Requests are due at fixed times, one after the
 * other; latency counts from when one was due. The learner stands still (SIGSTOP) in every second slice of
 * time, so that what else the machine does meets both alike. Prints p50 and p99 of all slices of a kind,
 * their ratios with a 95% interval (pairs of slices drawn again and again), and how much of a core the
 * learner had.
 */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/load/precedence.h"
#include "deploy/process/process.h"
#include "deploy/tool/state.h"
#include "deploy/tool/statistics.h"
#include "asking.h"

#define SETTLES_NS (100 * NS_PER_MS) /* after the learner was stopped or let go, not counted */
#define DRAWS      1000

struct slice {
    double *ms;
    int n;
};

struct bench {
    struct asking ask;
    double rate, slice_s;
    int pairs;
    struct process learner;
    struct slice *slice[2]; /* beside the learner, alone */
    double cpu_s, *scratch;
    int64_t answered, early, failed;
};

static const struct usage usage = {.command = "bench_learner",
                                   .summary = "Measures what requests wait for a learner."};

static void sleep_until(uint64_t ns)
{
    struct timespec t = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL)) {
    }
}

static int run_slice(struct bench *b, struct slice *s, bool beside, struct error *e)
{
    uint64_t began = clock_ns(), gap = (uint64_t)(NS_PER_S / b->rate);
    int most = (int)(b->rate * b->slice_s);
    double before = 0, after = 0;
    if (!process_signal(&b->learner, beside ? SIGCONT : SIGSTOP))
        return error_set(e, FL_UNAVAILABLE, "the learner is gone");
    process_cpu_s(b->learner.pid, &before);
    if (!(s->ms = calloc((size_t)most, sizeof *s->ms)))
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < most; i++) {
        uint64_t due = began + SETTLES_NS + (uint64_t)i * gap;
        struct client_request r = {0};
        struct answer a;
        int n, rc;
        r.input = *asking_next(&b->ask);
        r.flags = i % 2 ? JOB_NO_CACHE : 0; /* no sample */
        sleep_until(due);
        if ((rc = client_ask(b->ask.client, &r, &a, NULL, 0, &n, e)))
            return rc;
        b->answered += !a.error;
        b->failed += a.error != 0;
        b->early += !a.error && a.exit >= 0;
        if (!a.error && i % 2)
            s->ms[s->n++] = (double)(clock_ns() - due) / NS_PER_MS;
    }
    process_cpu_s(b->learner.pid, &after);
    b->cpu_s += beside ? after - before : 0;
    return FL_OK;
}

/* p50 and p99 of these slices together. */
static void quantiles(const struct bench *b, const struct slice *s, const int *which, double q[2])
{
    int64_t n = 0;
    struct summary all;
    for (int i = 0; i < b->pairs; i++) {
        const struct slice *x = &s[which ? which[i] : i];
        memcpy(b->scratch + n, x->ms, sizeof *x->ms * (size_t)x->n);
        n += x->n;
    }
    all = statistics_summary(b->scratch, n);
    q[0] = all.p50;
    q[1] = all.p99;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void tell(const struct bench *b)
{
    static double ratio[2][DRAWS];
    static const char *const name[] = {"p50", "p99"};
    int *which = calloc((size_t)b->pairs, sizeof *which);
    double beside[2], alone[2];
    unsigned seed = 1;
    if (!which)
        return;
    for (int d = 0; d < DRAWS; d++) {
        for (int i = 0; i < b->pairs; i++)
            which[i] = rand_r(&seed) % b->pairs;
        quantiles(b, b->slice[0], which, beside);
        quantiles(b, b->slice[1], which, alone);
        for (int k = 0; k < 2; k++)
            ratio[k][d] = beside[k] / alone[k];
    }
    quantiles(b, b->slice[0], NULL, beside);
    quantiles(b, b->slice[1], NULL, alone);
    printf(
        "%lld requests, %.0f a second, %.1f%% of them early, %lld failed; the learner had %.2f of a core\n",
        (long long)b->answered, b->rate, 100.0 * (double)b->early / (double)b->answered, (long long)b->failed,
        b->cpu_s / (b->pairs * b->slice_s));
    for (int k = 0; k < 2; k++) {
        qsort(ratio[k], DRAWS, sizeof **ratio, by_size);
        printf("%s: %.3f ms beside the learner, %.3f ms alone, ratio %.3f [%.3f .. %.3f]\n", name[k],
               beside[k], alone[k], beside[k] / alone[k], ratio[k][DRAWS * 25 / 1000],
               ratio[k][DRAWS * 975 / 1000]);
    }
    free(which);
}

static int measure(struct bench *b, struct error *e)
{
    char path[STATE_PATH_BYTES];
    struct slice warm = {0};
    int rc;
    prctl(PR_SET_TIMERSLACK, 1); /* what this process waits for a core is not the pipeline's time */
    precedence_raise();
    if ((rc = asking_open(&b->ask, e)) || (rc = state_path(path, b->ask.pipeline, e, "run/learner0.pid")) ||
        (rc = process_load(&b->learner, path)))
        return rc == FL_NOT_FOUND ? error_set(e, rc, "no learner runs here: %s", path) : rc;
    b->scratch = calloc((size_t)(b->rate * b->slice_s) * (size_t)b->pairs, sizeof *b->scratch);
    for (int k = 0; k < 2; k++)
        b->slice[k] = calloc((size_t)b->pairs, sizeof **b->slice);
    if (!b->scratch || !b->slice[0] || !b->slice[1])
        return error_set(e, FL_NOMEM, "no memory");
    rc = run_slice(b, &warm, true, e);
    b->cpu_s = 0;
    for (int i = 0; !rc && i < 2 * b->pairs; i++) { /* one, other, other, one: what drifts meets both alike */
        int k = (i + 1) / 2 % 2;
        rc = run_slice(b, &b->slice[k][i / 2], k == 0, e);
    }
    process_signal(&b->learner, SIGCONT);
    if (!rc)
        tell(b);
    return rc;
}

int main(int argc, char **argv)
{
    static struct bench b = {.rate = 200, .slice_s = 1, .pairs = 40};
    struct error e = {0};
    const struct argument table[] = {
        ASKING_OPTIONS(b.ask),
        OPTION_NUMBER("rate", b.rate, "R", "requests a second (200)", 1, 10000),
        OPTION_NUMBER("slice", b.slice_s, "S", "seconds of a slice (1)", 0.1, 60),
        OPTION_INT("pairs", b.pairs, "N", "pairs of slices (40)", 2, 10000),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, &e);
    if (rc == ARGUMENTS_HELPED)
        return 0;
    if (rc || (rc = measure(&b, &e)))
        fprintf(stderr, "bench_learner: %s\n", e.text);
    return rc ? 1 : 0;
}
