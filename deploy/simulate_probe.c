/* simulate_probe.c - a closed loop that reads the clocks of all processes before and after */
#include "simulate_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/client.h"
#include "interrupt.h"
#include "process.h"
#include "state.h"

#define WARM_UP      30
#define ANSWER_MS    30000
#define HEARTBEAT_MS 500 /* until the counters of all workers have reached the broker */

struct probe {
    const struct pipeline *pipeline;
    const struct dataset *data;
    struct client *client;
    struct tensor input; /* owned */
    int n_roles;
    struct role role[ROLES_MAX];
    struct process process[ROLES_MAX];
    int64_t next; /* record of the data set */
};

/* CPU time of one process so far, in us. */
struct reading {
    double total, main;
};

static int find_processes(struct probe *b, struct error *e)
{
    char path[STATE_PATH_BYTES];
    int rc = roles_list(b->pipeline, b->role, &b->n_roles, e);

    for (int i = 0; i < b->n_roles && !rc; i++) {
        if ((rc = state_path(path, b->pipeline, e, "run/%s.pid", b->role[i].name)))
            break;
        if (process_load(&b->process[i], path) || !process_alive(&b->process[i]))
            rc = error_set(e, FL_UNAVAILABLE, "%s does not run here: start the pipeline with `freezeline up`",
                           b->role[i].name);
    }
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
    b->input = dataset_shape(data);
    if (!(rc = find_processes(b, e)) && tensor_alloc(&b->input))
        rc = error_set(e, FL_NOMEM, "no memory for a request");
    if (!rc)
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
    tensor_release(&b->input);
    free(b);
}

/* ---- clocks ---- */

static double clock_us(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) ? 0 : (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* The main thread's time comes in ticks of 10 ms, the process's is exact: phases must be long. */
static double main_thread_us(pid_t pid)
{
    char path[64], line[1024], *after;
    unsigned long long user = 0, kernel = 0;
    FILE *f;

    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid, (int)pid);
    if (!(f = fopen(path, "re")))
        return 0;
    if (fgets(line, sizeof line, f) && (after = strrchr(line, ')')))
        sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &kernel);
    fclose(f);
    return (double)(user + kernel) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static struct reading read_process(pid_t pid)
{
    clockid_t id;
    struct reading r = {0, main_thread_us(pid)};
    if (!clock_getcpuclockid(pid, &id))
        r.total = clock_us(id);
    return r;
}

static void read_all(const struct probe *b, struct reading *r)
{
    for (int i = 0; i < b->n_roles; i++)
        r[i] = read_process(b->process[i].pid);
    r[b->n_roles] = (struct reading){clock_us(CLOCK_PROCESS_CPUTIME_ID), clock_us(CLOCK_THREAD_CPUTIME_ID)};
}

static struct probe_cpu used(const struct reading *from, const struct reading *to, int n)
{
    double all = to->total - from->total, own = to->main - from->main;
    if (own > all)
        own = all;
    return (struct probe_cpu){own / n, (all - own) / n};
}

static void add_cpu(struct probe_cpu *to, struct probe_cpu c)
{
    to->main_us += c.main_us;
    to->io_us += c.io_us;
}

/* Of a stage's replicas the sum: together they had each request once. */
static void share_out(struct probe_phase *out, const struct probe *b, const struct reading *from,
                      const struct reading *to)
{
    for (int i = 0; i <= b->n_roles; i++) {
        struct probe_cpu c = used(&from[i], &to[i], out->n);
        const struct role *r = &b->role[i];
        if (i == b->n_roles)
            out->client = c;
        else if (r->kind == ROLE_KIND_BROKER)
            out->broker = c;
        else if (r->kind == ROLE_KIND_CACHE)
            add_cpu(&out->cache[r->replica], c);
        else if (r->kind == ROLE_KIND_STAGE)
            add_cpu(&out->stage[r->stage], c);
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

static int submit(struct probe *b, uint64_t *sent, int slots, uint32_t flags, struct error *e)
{
    uint64_t id;
    int rc;
    dataset_image(b->data, b->next++ % dataset_count(b->data), b->pipeline, b->input.data);
    rc = client_submit(b->client, &b->input, flags, 0, &id, e);
    if (!rc)
        sent[id % (uint64_t)slots] = clock_ns();
    return rc;
}

static void note(struct probe_request *r, const struct answer *a, double total_us)
{
    *r = (struct probe_request){.total_us = total_us,
                                .exit = a->exit,
                                .lookup_us = (double)a->lookup_ns / 1e3,
                                .n_stages = a->trace.n};
    for (int i = 0; i < a->trace.n; i++) {
        r->wire_us[i] = (double)a->trace.stage[i].wire_ns / 1e3;
        r->compute_us[i] = (double)a->trace.stage[i].compute_ns / 1e3;
        r->batch[i] = a->trace.stage[i].batch > 0 ? a->trace.stage[i].batch : 1;
    }
}

/* Answers n requests, `closed` in flight; to: NULL, or where each is noted. */
static int loop(struct probe *b, int closed, int n, uint32_t flags, struct probe_request *to, struct error *e)
{
    int slots = 4 * closed, sent = 0, done = 0, scores, rc = FL_OK;
    uint64_t *at = calloc((size_t)slots, sizeof *at);
    struct answer a;

    if (!at)
        return error_set(e, FL_NOMEM, "no memory");
    while (done < n && !rc) {
        while (sent < n && sent - done < closed && !rc) {
            rc = submit(b, at, slots, flags, e);
            sent++;
        }
        if (rc || (rc = client_receive(b->client, ANSWER_MS, &a, NULL, 0, &scores, e)))
            break;
        if (a.error)
            rc = error_set(e, (enum fl_code)a.error, "a request failed while measuring: %s", a.text);
        else if (to)
            note(&to[done], &a, (double)(clock_ns() - at[a.id % (uint64_t)slots]) / 1e3);
        done++;
        if (interrupt_seen())
            rc = error_set(e, FL_CANCELLED, "interrupted");
    }
    free(at);
    return rc == FL_AGAIN ? error_set(e, FL_DEADLINE, "no answer within %d s", ANSWER_MS / 1000) : rc;
}

int probe_run(struct probe_phase *out, struct probe *b, int closed, int requests, bool caches,
              struct error *e)
{
    struct reading from[ROLES_MAX + 1], to[ROLES_MAX + 1];
    uint32_t flags = caches ? 0 : JOB_NO_CACHE;
    double messages, rows;
    uint64_t start;
    int rc;

    memset(out, 0, sizeof *out);
    out->n = requests;
    if (!(out->request = calloc((size_t)requests, sizeof *out->request)))
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = loop(b, closed, WARM_UP, flags, NULL, e)) || (rc = count_lookups(b, &messages, &rows, e)))
        return rc;
    read_all(b, from);
    start = clock_ns();
    rc = loop(b, closed, requests, flags, out->request, e);
    out->seconds = (double)(clock_ns() - start) / NS_PER_S;
    read_all(b, to);
    share_out(out, b, from, to);
    if (!rc && !(rc = count_lookups(b, &out->lookup_messages, &out->lookup_rows, e))) {
        out->lookup_messages = (out->lookup_messages - messages) / requests;
        out->lookup_rows = (out->lookup_rows - rows) / requests;
    }
    return rc;
}

void probe_release(struct probe_phase *phase)
{
    free(phase->request);
    phase->request = NULL;
}
