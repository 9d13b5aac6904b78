/* simulate_probe.c - a load as bench makes it, and the clocks of all processes before and after */
#include "simulate_probe.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"
#include "deploy/tool/interrupt.h"
#include "deploy/load/load.h"
#include "deploy/launch/word.h"
#include "deploy/tool/state.h"

#define WARM_UP      20
#define ANSWER_MS    30000
#define HEARTBEAT_MS 500 /* until the counters of all workers have reached the broker */
#define IDLE_MS      2500

struct probe {
    const struct pipeline *pipeline;
    const struct dataset *data;
    struct client *client;
    struct traffic *traffic;
    int n_roles;
    struct role role[ROLES_MAX];
    struct process process[ROLES_MAX];
    struct probe_phase *phase; /* where answers are noted; NULL: nowhere */
    int noted;
};

/* CPU time so far, us. */
struct reading {
    double total[PROBE_ALL], main[PROBE_ALL];
};

static int find_processes(struct probe *b, struct error *e)
{
    int rc = roles_list(b->pipeline, b->role, &b->n_roles, e);

    for (int i = 0; i < b->n_roles && !rc; i++)
        if (pid_file_load(b->pipeline, b->role[i].name, &b->process[i]) || !process_alive(&b->process[i]))
            rc = error_set(e, FL_UNAVAILABLE, "%s does not run here: start the pipeline with `freezeline up`",
                           b->role[i].name);
    return rc;
}

int probe_new(struct probe **out, const struct pipeline *p, const struct dataset *data, struct error *e)
{
    struct probe *b = calloc(1, sizeof *b);
    int rc;

    *out = NULL;
    if (!b)
        return error_set(e, FL_NOMEM, "no memory");
    b->pipeline = p;
    b->data = data;
    if (!(rc = find_processes(b, e)) &&
        !(rc = traffic_new(&b->traffic, "shuffled", dataset_count(data), 1, e)))
        rc = client_new(&b->client, p, e);
    if (rc)
        probe_free(b);
    else
        *out = b;
    return rc;
}

void probe_free(struct probe *b)
{
    if (!b)
        return;
    client_free(b->client);
    traffic_free(b->traffic);
    free(b);
}

/* ---- clocks ---- */

static double clock_us(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) ? 0 : (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* What the scheduler counted of a process's main thread; kernels that do not count give 0. */
static double main_thread_us(pid_t pid)
{
    char path[64];
    unsigned long long ns = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/task/%d/schedstat", (int)pid, (int)pid);
    if (!(f = fopen(path, "re")))
        return 0;
    if (fscanf(f, "%llu", &ns) != 1)
        ns = 0;
    fclose(f);
    return (double)ns / 1e3;
}

static double process_us(pid_t pid)
{
    clockid_t id;
    return clock_getcpuclockid(pid, &id) ? 0 : clock_us(id);
}

static int place_of(const struct role *r)
{
    return r->kind == ROLE_KIND_BROKER  ? PROBE_BROKER
           : r->kind == ROLE_KIND_CACHE ? PROBE_CACHES + r->replica
           : r->kind == ROLE_KIND_STAGE ? PROBE_STAGES + r->stage
                                        : -1;
}

static void read_all(const struct probe *b, struct reading *r)
{
    memset(r, 0, sizeof *r);
    r->total[PROBE_CLIENT] = clock_us(CLOCK_PROCESS_CPUTIME_ID);
    r->main[PROBE_CLIENT] = clock_us(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < b->n_roles; i++) {
        int k = place_of(&b->role[i]);
        if (k < 0)
            continue;
        r->total[k] += process_us(b->process[i].pid);
        r->main[k] += main_thread_us(b->process[i].pid);
    }
}

/* What was used since `from`, by `n`. */
static void share_out(struct probe_phase *out, const struct probe *b, const struct reading *from, double n)
{
    struct reading to;
    read_all(b, &to);
    for (int i = 0; i < PROBE_ALL; i++) {
        double all = to.total[i] - from->total[i], own = fmin(to.main[i] - from->main[i], all);
        out->main_us[i] = own / n;
        out->io_us[i] = (all - own) / n;
    }
}

/* ---- requests ---- */

static int count_lookups(struct probe *b, double *messages, double *rows, struct error *e)
{
    struct status_reply *s = malloc(sizeof *s);
    int rc;

    if (!s)
        return error_set(e, FL_NOMEM, "no memory");
    usleep(HEARTBEAT_MS * 1000);
    rc = client_status(b->client, ANSWER_MS, s, e);
    *messages = *rows = 0;
    for (int i = 0; !rc && i < s->n_processes; i++)
        if (s->process[i].role == ROLE_CACHE) {
            *messages += (double)s->process[i].last.batches;
            *rows += (double)s->process[i].last.lookups;
        }
    free(s);
    return rc;
}

static void note(void *arg, const struct answer *a, uint64_t latency_ns, bool alone)
{
    struct probe *b = arg;
    struct probe_request *r;

    if (!b->phase || b->noted >= b->phase->n)
        return;
    r = &b->phase->request[b->noted++];
    *r = (struct probe_request){.alone = alone,
                                .total_us = (double)latency_ns / 1e3,
                                .exit = a->exit,
                                .lookup_us = (double)a->lookup_ns / 1e3,
                                .n_stages = a->trace.n};
    for (int i = 0; i < a->trace.n; i++) {
        r->wire_us[i] = (double)a->trace.stage[i].wire_ns / 1e3;
        r->compute_us[i] = (double)a->trace.stage[i].compute_ns / 1e3;
        r->batch[i] = a->trace.stage[i].batch > 0 ? (int)a->trace.stage[i].batch : 1;
    }
}

static int stop_early(void *arg, const struct tally *so_far, double seconds)
{
    (void)arg;
    (void)so_far;
    (void)seconds;
    return interrupt_seen();
}

static int judge(const struct tally *t, const struct load_outcome *out, int requests, struct error *e)
{
    if (interrupt_seen())
        return error_set(e, FL_CANCELLED, "interrupted");
    if (*out->cut_short)
        return error_set(e, FL_UNAVAILABLE, "while measuring: %s", out->cut_short);
    if (t->answered < requests)
        return error_set(e, FL_UNAVAILABLE,
                         "%lld of %d requests failed while measuring: see `freezeline logs`",
                         (long long)(requests - t->answered), requests);
    return FL_OK;
}

/* Sends so many requests; those that are answered are noted in b->phase. */
static int drive(struct probe *b, struct target *target, const struct probe_load *load, int requests,
                 struct error *e)
{
    struct load_options o = {.target = target,
                             .data = b->data,
                             .traffic = b->traffic,
                             .closed = load->closed,
                             .requests = requests,
                             .answered = note,
                             .tick = stop_early,
                             .arg = b};
    struct load_outcome out;
    struct tally *tally;
    int rc = FL_OK;

    if (tally_new(&tally))
        return error_set(e, FL_NOMEM, "no memory to count in");
    if (load->rate > 0)
        rc = arrivals_new(&o.arrivals, "poisson", load->rate, 1, e);
    if (!rc && !(rc = load_run(tally, &out, &o, e)))
        rc = judge(tally, &out, requests, e);
    arrivals_free(o.arrivals);
    tally_free(tally);
    return rc;
}

static int run_phase(struct probe_phase *out, struct probe *b, struct target *target,
                     const struct probe_load *load, struct error *e)
{
    struct reading from;
    double messages = 0, rows = 0;
    uint64_t start;
    int rc;

    b->phase = NULL;
    if ((rc = drive(b, target, load, WARM_UP, e)) ||
        (load->caches && (rc = count_lookups(b, &messages, &rows, e))))
        return rc;
    b->phase = out;
    b->noted = 0;
    read_all(b, &from);
    start = clock_ns();
    rc = drive(b, target, load, load->requests, e);
    out->seconds = (double)(clock_ns() - start) / NS_PER_S;
    share_out(out, b, &from, out->n);
    if (!rc && load->caches && !(rc = count_lookups(b, &out->lookup_messages, &out->lookup_rows, e))) {
        out->lookup_messages = (out->lookup_messages - messages) / out->n;
        out->lookup_rows = (out->lookup_rows - rows) / out->n;
    }
    return rc;
}

int probe_run(struct probe_phase *out, struct probe *b, const struct probe_load *load, struct error *e)
{
    struct target *target;
    int rc;

    memset(out, 0, sizeof *out);
    out->n = load->requests;
    if (!(out->request = calloc((size_t)out->n, sizeof *out->request)))
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = target_pipeline(&target, b->pipeline, load->caches ? 0 : JOB_NO_CACHE, 1, e)))
        return rc;
    rc = run_phase(out, b, target, load, e);
    target_free(target);
    return rc;
}

void probe_idle(struct probe_phase *out, struct probe *b)
{
    struct reading from;
    memset(out, 0, sizeof *out);
    usleep(HEARTBEAT_MS * 1000);
    read_all(b, &from);
    usleep(IDLE_MS * 1000);
    share_out(out, b, &from, IDLE_MS / 1e3);
}

void probe_release(struct probe_phase *phase)
{
    free(phase->request);
    phase->request = NULL;
}
