/* phases.c - loads as bench makes them, and the clocks of all processes before and after */
#include "phases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "deploy/process/roles.h"
#include "deploy/process/running.h"
#include "deploy/process/word.h"
#include "deploy/load/load.h"
#include "deploy/model/whole_model.h"
#include "deploy/tool/interrupt.h"
#include "stages/exec/profile.h"

#define ALONE        60  /* requests that tell how long one takes */
#define SPARSE       0.3 /* of a request's time until the next comes, on average, when there are few */
#define STEADY       0.9 /* likewise, when there are more of them */
#define BUSY         32  /* requests in flight when there are many */
#define PARTS        3
#define REFERENCE    80 /* runs of the model, half of them timed as a whole, that tell the speed */
#define FIRST        5  /* times that so many runs tell it before the first phase */
#define WARM_UP      20
#define ANSWER_MS    30000
#define HEARTBEAT_MS 500 /* until the counters of all workers have reached the broker */
#define IDLE_MS      2500

struct asking {
    struct phases *out;
    const struct dataset *data;
    struct traffic *traffic;
    struct target *target; /* of the load in hand */
    int n_processes;
    struct {
        int user;
        pid_t pid;
    } process[ROLES_MAX];
    struct status_reply reply;
    struct phase *phase; /* where answers are noted; NULL: nowhere */
    int noted;
};

struct asked {
    double rate; /* open loop, Poisson; 0: closed */
    int closed;  /* requests in flight */
    int requests;
    bool caches;
};

/* All must run; those of whom CPU time is counted are noted. */
static int find_processes(struct asking *a, struct error *e)
{
    struct role role[ROLES_MAX];
    struct process found;
    int n, rc = roles_list(a->out->pipeline, role, &n, e);
    for (int i = 0; i < n && !rc; i++) {
        const struct role *r = &role[i];
        int user = r->kind == ROLE_KIND_BROKER  ? USER_BROKER
                   : r->kind == ROLE_KIND_CACHE ? USER_CACHES + r->replica
                   : r->kind == ROLE_KIND_STAGE ? USER_STAGES + r->stage
                                                : -1;
        if (pid_file_load(a->out->pipeline, r->name, &found) || !process_alive(&found))
            rc = error_set(e, FL_UNAVAILABLE, "%s does not run here: start the pipeline with `freezeline up`",
                           r->name);
        a->process[a->n_processes].user = user;
        a->process[a->n_processes].pid = found.pid;
        a->n_processes += user >= 0;
    }
    return rc;
}

/* ---- clocks ---- */

/* CPU time so far, us. */
struct reading {
    double total[USERS], main[USERS];
};

static void read_all(const struct asking *a, struct reading *r)
{
    clockid_t id;
    memset(r, 0, sizeof *r);
    r->total[USER_CLIENT] = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID);
    r->main[USER_CLIENT] = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < a->n_processes; i++)
        if (!clock_getcpuclockid(a->process[i].pid, &id)) {
            r->total[a->process[i].user] += clock_cpu_us(id);
            r->main[a->process[i].user] += process_main_us(a->process[i].pid);
        }
}

/* Adds what was used between the two, times `by`. */
static void add_use(struct phase *to, const struct reading *from, const struct reading *until, double by)
{
    for (int i = 0; i < USERS; i++) {
        double all = until->total[i] - from->total[i], own = fmin(until->main[i] - from->main[i], all);
        to->main_us[i] += own * by;
        to->io_us[i] += (all - own) * by;
    }
}

static void ask_nothing(struct phase *out, const struct asking *a)
{
    struct reading from, until;
    usleep(HEARTBEAT_MS * 1000);
    read_all(a, &from);
    usleep(IDLE_MS * 1000);
    read_all(a, &until);
    add_use(out, &from, &until, 1e3 / IDLE_MS);
}

/* Adds what the cache services have counted so far, times `by`. */
static int add_lookups(struct phase *to, struct asking *a, double by, struct error *e)
{
    struct status_reply *s = &a->reply;
    int rc;

    usleep(HEARTBEAT_MS * 1000);
    rc = running_ask(a->out->pipeline, ANSWER_MS, s, e);
    for (int i = 0; !rc && i < s->n_processes; i++)
        if (s->process[i].role == ROLE_CACHE) {
            to->lookup_messages += by * (double)s->process[i].last.batches;
            to->lookup_rows += by * (double)s->process[i].last.lookups;
        }
    return rc;
}

/* ---- requests ---- */

static void note(void *arg, const struct answer *from, uint64_t latency_ns, bool alone)
{
    struct asking *a = arg;
    if (a->phase && a->noted < a->phase->n)
        a->phase->request[a->noted++] = (struct phase_request){alone, 1, (double)latency_ns, *from};
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

/* Sends so many requests; those that are answered are noted in a->phase. */
static int drive(struct asking *a, const struct asked *load, int requests, struct error *e)
{
    struct load_options o = {.target = a->target,
                             .data = a->data,
                             .traffic = a->traffic,
                             .closed = load->closed,
                             .requests = requests,
                             .answered = note,
                             .arg = a};
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

/* Time of the model alone now, us. */
static int refer(double *us, const struct phases *p, struct error *e)
{
    struct profile t;
    int rc = profile_run(&t, p->model, p->graph, 0, p->graph->n_nodes - 1, p->pipeline->stage[0].threads, 1,
                         REFERENCE, e);
    if (rc)
        return rc;
    *us = t.median_ms * 1e3;
    profile_release(&t);
    return FL_OK;
}

/* All other times are in terms of this one, so one slow moment must not decide. */
static int refer_first(struct phases *p, struct error *e)
{
    double us[FIRST];
    int rc = FL_OK;
    usleep(HEARTBEAT_MS * 1000);
    for (int i = 0; i < FIRST && !rc; i++)
        rc = refer(&us[i], p, e);
    if (!rc)
        p->speed_us = samples_median(us, FIRST);
    return rc;
}

/* A part of a phase: load->requests of its n. */
static int ask_part(struct phase *out, struct asking *a, const struct asked *load, struct error *e)
{
    struct reading from, until;
    int first = a->noted, rc;
    double before, after, by;
    uint64_t start;

    a->phase = NULL;
    if ((rc = refer(&before, a->out, e)) || (rc = drive(a, load, WARM_UP, e)) ||
        (load->caches && (rc = add_lookups(out, a, -1.0 / out->n, e))))
        return rc;
    a->phase = out;
    read_all(a, &from);
    start = clock_ns();
    rc = drive(a, load, load->requests, e);
    out->seconds += (double)(clock_ns() - start) / NS_PER_S;
    read_all(a, &until);
    if (rc || (load->caches && (rc = add_lookups(out, a, 1.0 / out->n, e))) ||
        (rc = refer(&after, a->out, e)))
        return rc;
    by = 2 * a->out->speed_us / (before + after);
    add_use(out, &from, &until, by / out->n);
    for (int i = first; i < a->noted; i++)
        out->request[i].scale = by;
    return FL_OK;
}

static int ask(struct phase *out, struct asking *a, struct asked load, int parts, struct error *e)
{
    int rc;
    load.requests = (load.requests + parts - 1) / parts;
    *out = (struct phase){.n = parts * load.requests};
    a->noted = 0;
    if (!(out->request = calloc((size_t)out->n, sizeof *out->request)))
        return error_set(e, FL_NOMEM, "no memory");
    rc = target_pipeline(&a->target, a->out->pipeline, load.caches ? 0 : JOB_NO_CACHE, 1, e);
    for (int i = 0; i < parts && !rc; i++)
        rc = ask_part(out, a, &load, e);
    target_free(a->target);
    a->target = NULL;
    return rc;
}

/* Mean time of a request that comes when the last one is answered, s. */
static int ask_alone(double *seconds, struct asking *a, bool caches, struct error *e)
{
    struct phase p;
    int rc = ask(&p, a, (struct asked){.closed = 1, .requests = ALONE, .caches = caches}, 1, e);
    *seconds = p.seconds / ALONE;
    free(p.request);
    return rc;
}

/* Where few are under way at a time there are fewer requests: they take long to come. */
static int ask_all(struct asking *a, int requests, bool caches, struct error *e)
{
    struct phases *p = a->out;
    int few = requests / 4 > 10 ? requests / 4 : 10, rc;
    double alone;
    ask_nothing(&p->idle, a);
    if ((rc = ask_alone(&alone, a, false, e)) ||
        (rc = ask(&p->sparse, a, (struct asked){SPARSE / alone, 0, few, false}, PARTS, e)) ||
        (rc = ask(&p->steady, a, (struct asked){STEADY / alone, 0, 2 * few, false}, PARTS, e)) ||
        (rc = ask(&p->crowded, a, (struct asked){0, p->pipeline->n_stages + 1, 2 * few, false}, PARTS, e)) ||
        (rc = ask(&p->busy, a, (struct asked){0, BUSY, requests, false}, PARTS, e)) || !caches ||
        (rc = ask_alone(&alone, a, true, e)) ||
        (rc = ask(&p->sparse_cached, a, (struct asked){SPARSE / alone, 0, few, true}, PARTS, e)))
        return rc;
    return ask(&p->busy_cached, a, (struct asked){0, BUSY, requests, true}, PARTS, e);
}

int phases_ask(struct phases *out, const struct pipeline *p, const struct graph *g,
               const struct dataset *data, int max_batch, int requests, bool caches, struct error *e)
{
    struct asking *a = calloc(1, sizeof *a);
    int rc;

    *out = (struct phases){.pipeline = p, .graph = g};
    if (!a)
        return error_set(e, FL_NOMEM, "no memory");
    a->out = out;
    a->data = data;
    if (!(rc = find_processes(a, e)) &&
        !(rc = traffic_new(&a->traffic, "shuffled", dataset_count(data), 1, e)) &&
        !(rc = whole_model_new(&out->model, g, p, p->stage[0].threads, max_batch, e)) &&
        !(rc = refer_first(out, e)))
        rc = ask_all(a, requests, caches, e);
    traffic_free(a->traffic);
    free(a);
    return rc;
}

void phases_release(struct phases *p)
{
    free(p->sparse.request);
    free(p->steady.request);
    free(p->crowded.request);
    free(p->busy.request);
    free(p->sparse_cached.request);
    free(p->busy_cached.request);
    exec_free(p->model);
    p->model = NULL;
}
