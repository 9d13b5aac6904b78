/* simulate_report.c - what `freezeline simulate` says: tables, JSON, a plot */
#include "simulate_report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/plot/plot.h"
#include "deploy/tool/output.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

#define MOST_ROWS 12 /* of processes and hosts in the tables; --json has all */

/* In the order of the table's columns. */
static const struct {
    const char *name;
    double share; /* 0: the mean, 1: the largest */
} latencies[] = {{"mean", 0}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}, {"max", 1}};
#define N_LATENCIES (sizeof latencies / sizeof *latencies)

static double ms(const struct simulation_result *r, double share)
{
    if (share <= 0)
        return histogram_mean(&r->latency) / NS_PER_MS;
    return (double)(share < 1 ? histogram_quantile(&r->latency, share) : r->latency.max_ns) / NS_PER_MS;
}

static const struct simulation_result *result(const struct simulate_report *r)
{
    return r->search->result[r->search->n_results - 1];
}

/* "stage 1.0", "cache 0", "broker"; of all replicas of a stage: "stage 1". */
static char *process_name(const struct simulation_process *p, bool all, char *buf, size_t size)
{
    if (p->role == ROLE_STAGE)
        snprintf(buf, size, all ? "stage %d" : "stage %d.%d", p->stage, p->replica);
    else if (p->role == ROLE_CACHE)
        snprintf(buf, size, "cache %d", p->replica);
    else
        snprintf(buf, size, "%s", p->role == ROLE_BROKER ? "broker" : "client");
    return buf;
}

static char *host_name(const struct cluster *c, int host, char *buf, size_t size)
{
    const struct cluster_kind *k = cluster_kind_of(c, host);
    if (host >= c->n_hosts)
        snprintf(buf, size, "outside");
    else
        snprintf(buf, size, k->count > 1 ? "%.50s.%d" : "%.50s", k->name, host - k->first);
    return buf;
}

static const char *exit_name(const struct search *s, int i)
{
    return i < s->shape.n_exits ? s->measured->exit[s->shape.exit[i]].name : "network";
}

/* CPU seconds of all processes but the client per answered request, in ms. */
static double cpu_ms(const struct simulation_result *r)
{
    double busy = 0;
    for (int i = 0; i < r->n_processes; i++)
        if (r->process[i].role != ROLE_CLIENT)
            busy += r->process[i].busy + r->process[i].io_busy;
    return r->throughput > 0 ? busy / r->throughput * 1e3 : 0;
}

/* Hosts that some process stands on, and their cores, over all cells. */
static void count_hosts(const struct simulate_report *r, long long *hosts, long long *cores)
{
    const struct cluster *c = r->search->cluster;
    *hosts = *cores = 0;
    for (int h = 0; h < c->n_hosts; h++) {
        int i = 0;
        while (i < result(r)->n_processes && result(r)->process[i].host != h)
            i++;
        if (i == result(r)->n_processes)
            continue;
        *hosts += c->cells;
        *cores += (long long)c->cells * cluster_kind_of(c, h)->host.cores;
    }
}

static double mean_batch(const struct simulation_stage_result *s)
{
    return s->batches ? (double)s->entered / (double)s->batches : 0;
}

/* ---- JSON ---- */

static void put(json_t *o, const char *key, double x, int digits)
{
    json_object_set_new(o, key, report_rounded(x, digits));
}

static void put_count(json_t *o, const char *key, int64_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *add(json_t *list, const char *key, const char *name)
{
    json_t *o = json_object();
    json_array_append_new(list, o);
    if (key)
        json_object_set_new(o, key, json_string(name));
    return o;
}

static json_t *list(json_t *o, const char *key)
{
    json_t *a = json_array();
    json_object_set_new(o, key, a);
    return a;
}

static void put_latency(json_t *root, const struct simulation_result *r)
{
    json_t *o = json_object();
    json_object_set_new(root, "latency_ms", o);
    for (size_t i = 0; i < N_LATENCIES; i++)
        put(o, latencies[i].name, ms(r, latencies[i].share), 6);
}

static void put_exits(json_t *root, const struct search *s, const struct simulation_result *x)
{
    json_t *a = list(root, "exits"), *o;
    for (int i = 0; i <= s->shape.n_exits; i++) {
        o = add(a, "name", exit_name(s, i));
        put_count(o, "answered", x->by_exit[i]);
        put(o, "share", (double)x->by_exit[i] / fmax(1, (double)x->latency.count), 6);
    }
    a = list(root, "exits_not_measured");
    for (int i = 0; i < s->shape.n_unmeasured; i++)
        json_array_append_new(a, json_string(s->shape.unmeasured[i]));
}

static void put_stages(json_t *root, const struct search *s, const struct simulation_result *x)
{
    json_t *a = list(root, "stages");
    for (int i = 0; i < s->shape.n_stages; i++) {
        json_t *o = add(a, NULL, NULL);
        put_count(o, "stage", i);
        put_count(o, "replicas", s->shape.replicas[i]);
        put_count(o, "entered", x->stage[i].entered);
        put_count(o, "exited", x->stage[i].hits);
        put(o, "batch_mean", mean_batch(&x->stage[i]), 3);
        put(o, "queue_ms", x->stage[i].queue_ns / NS_PER_MS, 6);
        put(o, "service_ms", x->stage[i].service_ns / NS_PER_MS, 6);
    }
}

static void put_machines(json_t *root, const struct search *s, const struct simulation_result *x)
{
    json_t *a = list(root, "processes"), *o;
    char name[64], host[64];
    for (int i = 0; i < x->n_processes; i++) {
        o = add(a, "name", process_name(&x->process[i], false, name, sizeof name));
        host_name(s->cluster, x->process[i].host, host, sizeof host);
        json_object_set_new(o, "host", json_string(host));
        put(o, "busy", x->process[i].busy, 4);
        put(o, "io_busy", x->process[i].io_busy, 4);
    }
    a = list(root, "hosts");
    for (int i = 0; i < s->cluster->n_hosts; i++) {
        o = add(a, "name", host_name(s->cluster, i, name, sizeof name));
        put(o, "cores_busy", x->link[i].cores, 4);
        put(o, "link_out", x->link[i].out, 4);
        put(o, "link_in", x->link[i].in, 4);
        put(o, "out_gbps", x->link[i].out_bytes * 8e-9, 4);
        put(o, "in_gbps", x->link[i].in_bytes * 8e-9, 4);
    }
}

static void put_sweep(json_t *root, const struct search *s)
{
    json_t *a = list(root, "sweep");
    for (int i = 0; i < s->n_results; i++) {
        json_t *o = add(a, NULL, NULL);
        put(o, "rate", s->offered[i] * s->cluster->cells, 3);
        put(o, "achieved_rps", s->result[i]->throughput * s->cluster->cells, 3);
        put(o, "p50_ms", ms(s->result[i], 0.5), 6);
        put(o, "p99_ms", ms(s->result[i], 0.99), 6);
        put_count(o, "dropped", s->result[i]->arrived - s->result[i]->answered);
    }
    put(root, "saturation_rps", s->saturation * s->cluster->cells, 3);
}

/* Nothing that was not computed: the same seed gives the same bytes. */
static int print_json(const struct simulate_report *r, struct error *e)
{
    const struct search *s = r->search;
    const struct simulation_result *x = result(r);
    json_t *root = json_pack("{s:s, s:i}", "format", "freezeline-simulation", "version", 1);
    long long hosts, cores;
    count_hosts(r, &hosts, &cores);
    put(root, "offered_rps", s->offered[s->n_results - 1] * s->cluster->cells, 3);
    put(root, "achieved_rps", x->throughput * s->cluster->cells, 3);
    put_count(root, "simulated", x->arrived);
    put_count(root, "answered", x->answered);
    put_count(root, "overloaded", x->refused);
    put_count(root, "expired", x->expired);
    put_count(root, "failed", x->failed + x->lost);
    put_count(root, "retried", x->retried);
    put(root, "in_system", x->in_system, 4);
    put_latency(root, x);
    put_exits(root, s, x);
    put_stages(root, s, x);
    put_machines(root, s, x);
    put_count(root, "cells", s->cluster->cells);
    put_count(root, "hosts_used", hosts);
    put_count(root, "cores_there", cores);
    put_count(root, "cores_used", (int64_t)s->cores * s->cluster->cells);
    put(root, "cpu_ms_per_request", cpu_ms(x), 6);
    put_count(root, "events", s->events);
    if (s->n_results > 1)
        put_sweep(root, s);
    return report_print(root, e);
}

/* ---- tables ---- */

static int print_loads(const struct simulate_report *r, struct error *e)
{
    const struct search *s = r->search;
    double cells = s->cluster->cells;
    struct table *t = table_new("offered/s|answered/s|mean ms|p50|p90|p99|p99.9|max|dropped", "rrrrrrrrr");
    int rc;
    for (int i = 0; i < s->n_results; i++) {
        const struct simulation_result *x = s->result[i];
        table_cell(t, s->offered[i] > 0 ? "%.1f" : "closed", s->offered[i] * cells);
        table_cell(t, "%.1f", x->throughput * cells);
        for (size_t k = 0; k < N_LATENCIES; k++)
            table_cell(t, "%.3f", ms(x, latencies[k].share));
        table_cell(t, "%.2f%%", 100 * (double)(x->arrived - x->answered) / (double)x->arrived);
    }
    rc = table_end(t, e);
    if (s->saturation > 0)
        printf("\nsaturation: %.1f requests/s\n", s->saturation * cells);
    return rc;
}

/* Of each stage the mean and the busiest worker, and of the cache services. */
static int print_processes(const struct simulate_report *r, struct error *e)
{
    const struct simulation_result *x = result(r);
    struct table *t = table_new("process|number|busy|busiest|moving bytes|batch|queue ms", "lrrrrrr");
    char name[64];
    for (int first = 0, next; first < x->n_processes; first = next) {
        const struct simulation_process *p = &x->process[first], *q = p;
        double sum = 0, io = 0, most = 0;
        for (next = first; next < x->n_processes && q->role == p->role && q->stage == p->stage; q++, next++) {
            sum += q->busy;
            io += q->io_busy;
            most = fmax(most, q->busy);
        }
        table_cell(t, "%s", process_name(p, true, name, sizeof name));
        table_cell(t, "%d", next - first);
        table_cell(t, "%.1f%%", 100 * sum / (next - first));
        table_cell(t, "%.1f%%", 100 * most);
        table_cell(t, "%.1f%%", 100 * io / (next - first));
        if (p->role == ROLE_STAGE) {
            table_cell(t, "%.2f", mean_batch(&x->stage[p->stage]));
            table_cell(t, "%.3f", x->stage[p->stage].queue_ns / NS_PER_MS);
        } else { /* has no queue */
            table_cell(t, "%s", "");
            table_cell(t, "%s", "");
        }
    }
    return table_end(t, e);
}

static double load_of(const struct simulation_link *l)
{
    return fmax(l->cores, 1e3 * fmax(l->out, l->in));
}

/* The busiest hosts. */
static int print_hosts(const struct simulate_report *r, struct error *e)
{
    const struct cluster *c = r->search->cluster;
    const struct simulation_link *x = result(r)->link;
    struct table *t = table_new("host|cores busy|of|out Gbit/s|in Gbit/s|link", "lrrrrr");
    int last = -1, rc;
    char name[64];
    for (int k = 0; k < c->n_hosts && k < MOST_ROWS; k++) {
        int best = -1;
        for (int i = 0; i < c->n_hosts; i++) { /* the busiest of those that come behind the last one */
            bool left = last < 0 || load_of(&x[i]) < load_of(&x[last]) ||
                        (load_of(&x[i]) <= load_of(&x[last]) && i > last);
            if (left && (best < 0 || load_of(&x[i]) > load_of(&x[best])))
                best = i;
        }
        last = best;
        table_cell(t, "%s", host_name(c, best, name, sizeof name));
        table_cell(t, "%.2f", x[best].cores);
        table_cell(t, "%d", cluster_kind_of(c, best)->host.cores);
        table_cell(t, "%.3f", x[best].out_bytes * 8e-9);
        table_cell(t, "%.3f", x[best].in_bytes * 8e-9);
        table_cell(t, "%.1f%%", 100 * fmax(x[best].out, x[best].in));
    }
    rc = table_end(t, e);
    if (c->n_hosts > MOST_ROWS)
        printf("(%d more hosts, less busy)\n", c->n_hosts - MOST_ROWS);
    return rc;
}

/* Processes may want more cores than their hosts have: then they share them. */
static void print_cores(const struct simulate_report *r)
{
    long long want = (long long)r->search->cores * r->search->cluster->cells, there, hosts;
    count_hosts(r, &hosts, &there);
    if (want > there)
        printf(": processes for %lld cores share the %lld of %lld host%s", want, there, hosts,
               hosts > 1 ? "s" : "");
    else
        printf(": %lld cores on %lld host%s", want, hosts, hosts > 1 ? "s" : "");
}

static void print_summary(const struct simulate_report *r)
{
    const struct search *s = r->search;
    const struct simulation_result *x = result(r);
    printf("\nanswered by:");
    for (int i = 0; i <= s->shape.n_exits; i++)
        printf(" %s %.1f%%%s", exit_name(s, i),
               100 * (double)x->by_exit[i] / fmax(1, (double)x->latency.count),
               i < s->shape.n_exits ? "," : "\nreplicas ");
    for (int i = 0; i < s->shape.n_stages; i++)
        printf("%d%s", s->shape.replicas[i], i + 1 < s->shape.n_stages ? "," : "");
    if (r->target_ms > 0)
        printf(" are the fewest found for p99 <= %.3f ms", r->target_ms);
    print_cores(r);
    if (s->cluster->cells > 1)
        printf(" in %d cells (tables above: of one)", s->cluster->cells);
    printf("; %.3f ms of CPU per request\n", cpu_ms(x));
    if (x->retried || x->failed || x->lost)
        printf("failures: %lld attempts repeated, %lld requests failed, %lld lost with the broker\n",
               (long long)x->retried, (long long)x->failed, (long long)x->lost);
    printf("%d simulation%s, %.1f million events, %.1f million per second of CPU time\n", s->tried,
           s->tried > 1 ? "s" : "", (double)s->events / 1e6, (double)s->events / 1e6 / fmax(s->cpu_s, 1e-9));
}

static int print_tables(const struct simulate_report *r, struct error *e)
{
    int rc = print_loads(r, e);
    printf(r->search->n_results > 1 ? "\nat the last of these loads:\n\n" : "\n");
    if (rc || (rc = print_processes(r, e)))
        return rc;
    printf("\n");
    if (!(rc = print_hosts(r, e)))
        print_summary(r);
    return rc;
}

/* ---- the plot ---- */

static int plot_sweep(const struct search *s, FILE *to, struct error *e)
{
    double x[SEARCH_MAX_LOADS], p50[SEARCH_MAX_LOADS], p99[SEARCH_MAX_LOADS];
    struct plot_series series[2] = {{.name = "p50", .mark = PLOT_LINE, .n = s->n_results, .x = x, .y = p50},
                                    {.name = "p99", .mark = PLOT_LINE, .n = s->n_results, .x = x, .y = p99}};
    struct plot p = {.title = "Simulated latency by load",
                     .x = {.title = "requests per second"},
                     .y = {.title = "latency, ms", .log = true},
                     .n_series = 2,
                     .series = series};
    for (int i = 0; i < s->n_results; i++) {
        x[i] = s->offered[i] * s->cluster->cells;
        p50[i] = ms(s->result[i], 0.5);
        p99[i] = ms(s->result[i], 0.99);
    }
    return plot_write(&p, to, e);
}

static int plot_percentiles(const struct simulation_result *r, FILE *to, struct error *e)
{
    static const double q[] = {0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999};
    enum { N = sizeof q / sizeof *q };
    static const struct plot_tick ticks[] = {{1, "0"},     {2, "p50"},      {10, "p90"},
                                             {100, "p99"}, {1000, "p99.9"}, {10000, "p99.99"}};
    double x[N], y[N];
    struct plot_series series = {.mark = PLOT_LINE, .n = N, .x = x, .y = y};
    struct plot p = {.title = "Simulated latency by percentile",
                     .x = {.title = "percentile", .log = true, .n_ticks = 6, .ticks = ticks},
                     .y = {.title = "latency, ms"},
                     .n_series = 1,
                     .series = &series};
    for (int i = 0; i < N; i++) {
        x[i] = 1 / (1 - q[i]);
        y[i] = ms(r, q[i]);
    }
    return plot_write(&p, to, e);
}

static int draw(FILE *to, const void *arg, struct error *e)
{
    const struct simulate_report *r = arg;

    return r->search->n_results > 1 ? plot_sweep(r->search, to, e) : plot_percentiles(result(r), to, e);
}

int simulate_print(const struct simulate_report *r, struct error *e)
{
    int rc = r->plot ? output_write(r->plot, draw, r, e) : FL_OK;
    if (rc)
        return rc;
    return r->json ? print_json(r, e) : print_tables(r, e);
}
