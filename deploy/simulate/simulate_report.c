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

static double ms(const struct simulation_result *r, double q)
{
    return (double)histogram_quantile(&r->latency, q) / NS_PER_MS;
}

static const struct simulation_result *result(const struct simulate_report *r)
{
    return r->search->result[r->search->n_results - 1];
}

static char *process_name(const struct simulation_process *p, char *buf, size_t size)
{
    if (p->role == ROLE_STAGE)
        snprintf(buf, size, "stage %d.%d", p->stage, p->replica);
    else if (p->role == ROLE_CACHE)
        snprintf(buf, size, "cache %d", p->replica);
    else
        snprintf(buf, size, "%s", p->role == ROLE_BROKER ? "broker" : "client");
    return buf;
}

static char *host_name(const struct cluster *c, int host, char *buf, size_t size)
{
    const struct cluster_kind *k;
    if (host >= c->n_hosts) {
        snprintf(buf, size, "outside");
        return buf;
    }
    k = cluster_kind_of(c, host);
    if (k->count > 1)
        snprintf(buf, size, "%.50s.%d", k->name, host - k->first);
    else
        snprintf(buf, size, "%.50s", k->name);
    return buf;
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

static bool is_used(const struct simulation_result *x, int host)
{
    for (int i = 0; i < x->n_processes; i++)
        if (x->process[i].host == host)
            return true;
    return false;
}

/* Over all cells. */
static long long hosts_used(const struct simulate_report *r)
{
    const struct cluster *c = r->search->cluster;
    long long n = 0;
    for (int h = 0; h < c->n_hosts; h++)
        n += is_used(result(r), h);
    return n * c->cells;
}

static long long cores_there(const struct simulate_report *r)
{
    const struct cluster *c = r->search->cluster;
    long long n = 0;
    for (int h = 0; h < c->n_hosts; h++)
        n += is_used(result(r), h) ? cluster_kind_of(c, h)->host.cores : 0;
    return n * c->cells;
}

/* ---- JSON ---- */

static json_t *latency_json(const struct simulation_result *r)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "mean",
                     report_rounded(histogram_mean(&r->latency) / NS_PER_MS, 6), "p50",
                     report_rounded(ms(r, 0.5), 6), "p90", report_rounded(ms(r, 0.9), 6), "p99",
                     report_rounded(ms(r, 0.99), 6), "p999", report_rounded(ms(r, 0.999), 6), "max",
                     report_rounded((double)r->latency.max_ns / NS_PER_MS, 6));
}

static json_t *stages_json(const struct simulate_report *r)
{
    const struct search *s = r->search;
    json_t *a = json_array();
    for (int i = 0; i < s->shape.n_stages; i++) {
        const struct simulation_stage_result *x = &result(r)->stage[i];
        json_array_append_new(
            a, json_pack("{s:i, s:i, s:I, s:I, s:o, s:o, s:o}", "stage", i, "replicas", s->shape.replicas[i],
                         "entered", (json_int_t)x->entered, "exited", (json_int_t)x->hits, "batch_mean",
                         report_rounded(x->batches ? (double)x->entered / (double)x->batches : 0, 3),
                         "queue_ms", report_rounded(x->queue_ns / NS_PER_MS, 6), "service_ms",
                         report_rounded(x->service_ns / NS_PER_MS, 6)));
    }
    return a;
}

static json_t *processes_json(const struct simulate_report *r)
{
    json_t *a = json_array();
    char name[64], host[64];
    for (int i = 0; i < result(r)->n_processes; i++) {
        const struct simulation_process *p = &result(r)->process[i];
        json_array_append_new(a, json_pack("{s:s, s:s, s:o, s:o}", "name", process_name(p, name, sizeof name),
                                           "host", host_name(r->search->cluster, p->host, host, sizeof host),
                                           "busy", report_rounded(p->busy, 4), "io_busy",
                                           report_rounded(p->io_busy, 4)));
    }
    return a;
}

static json_t *hosts_json(const struct simulate_report *r)
{
    json_t *a = json_array();
    char name[64];
    for (int i = 0; i < r->search->cluster->n_hosts; i++) {
        const struct simulation_link *l = &result(r)->link[i];
        json_array_append_new(a, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "name",
                                           host_name(r->search->cluster, i, name, sizeof name), "cores_busy",
                                           report_rounded(l->cores, 4), "link_out", report_rounded(l->out, 4),
                                           "link_in", report_rounded(l->in, 4), "out_gbps",
                                           report_rounded(l->out_bytes * 8e-9, 4), "in_gbps",
                                           report_rounded(l->in_bytes * 8e-9, 4)));
    }
    return a;
}

static json_t *exits_json(const struct simulate_report *r)
{
    const struct search *s = r->search;
    const struct simulation_result *x = result(r);
    double n = x->latency.count ? (double)x->latency.count : 1;
    json_t *a = json_array();
    for (int i = 0; i <= s->shape.n_exits; i++)
        json_array_append_new(
            a,
            json_pack("{s:s, s:I, s:o}", "name",
                      i < s->shape.n_exits ? s->measured->exit[s->shape.exit[i]].name : "network", "answered",
                      (json_int_t)x->by_exit[i], "share", report_rounded((double)x->by_exit[i] / n, 6)));
    return a;
}

static json_t *unmeasured_json(const struct setup_shape *s)
{
    json_t *a = json_array();
    for (int i = 0; i < s->n_unmeasured; i++)
        json_array_append_new(a, json_string(s->unmeasured[i]));
    return a;
}

static json_t *load_json(const struct simulate_report *r, int i)
{
    const struct simulation_result *x = r->search->result[i];
    double cells = r->search->cluster->cells;
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "rate", report_rounded(r->search->offered[i] * cells, 3),
                     "achieved_rps", report_rounded(x->throughput * cells, 3), "p50_ms",
                     report_rounded(ms(x, 0.5), 6), "p99_ms", report_rounded(ms(x, 0.99), 6), "dropped",
                     json_integer((json_int_t)(x->arrived - x->answered)));
}

static int print_json(const struct simulate_report *r, struct error *e)
{
    const struct search *s = r->search;
    const struct simulation_result *x = result(r);
    json_t *sweep = json_array(), *root;
    for (int i = 0; i < s->n_results && s->n_results > 1; i++)
        json_array_append_new(sweep, load_json(r, i));
    root = json_pack(
        "{s:s, s:i, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:I, "
        "s:I, s:I, s:o, s:I}",
        "format", "freezeline-simulation", "version", 1, "offered_rps",
        report_rounded(s->offered[s->n_results - 1] * s->cluster->cells, 3), "achieved_rps",
        report_rounded(x->throughput * s->cluster->cells, 3), "simulated", (json_int_t)x->arrived, "answered",
        (json_int_t)x->answered, "overloaded", (json_int_t)x->refused, "expired", (json_int_t)x->expired,
        "failed", (json_int_t)(x->failed + x->lost), "retried", (json_int_t)x->retried, "in_system",
        report_rounded(x->in_system, 4), "latency_ms", latency_json(x), "exits", exits_json(r),
        "exits_not_measured", unmeasured_json(&s->shape), "stages", stages_json(r), "processes",
        processes_json(r), "hosts", hosts_json(r), "cells", s->cluster->cells, "hosts_used",
        (json_int_t)hosts_used(r), "cores_there", (json_int_t)cores_there(r), "cores_used",
        (json_int_t)s->cores * s->cluster->cells, "cpu_ms_per_request", report_rounded(cpu_ms(x), 6),
        "events",
        (json_int_t)s->events); /* nothing that was not computed: the same seed gives the same bytes */
    if (root && s->n_results > 1) {
        json_object_set(root, "sweep", sweep);
        json_object_set_new(root, "saturation_rps", report_rounded(s->saturation * s->cluster->cells, 3));
    }
    json_decref(sweep);
    return report_print(root, e);
}

/* ---- tables ---- */

static int print_loads(const struct simulate_report *r, struct error *e)
{
    const struct search *s = r->search;
    double cells = s->cluster->cells;
    struct table *t;
    int rc;
    t = table_new("offered/s|answered/s|mean ms|p50|p90|p99|p99.9|max|dropped", "rrrrrrrrr");
    for (int i = 0; i < s->n_results; i++) {
        const struct simulation_result *x = s->result[i];
        table_cell(t, s->offered[i] > 0 ? "%.1f" : "closed", s->offered[i] * cells);
        table_cell(t, "%.1f", x->throughput * cells);
        table_cell(t, "%.3f", histogram_mean(&x->latency) / NS_PER_MS);
        table_cell(t, "%.3f", ms(x, 0.5));
        table_cell(t, "%.3f", ms(x, 0.9));
        table_cell(t, "%.3f", ms(x, 0.99));
        table_cell(t, "%.3f", ms(x, 0.999));
        table_cell(t, "%.3f", (double)x->latency.max_ns / NS_PER_MS);
        table_cell(t, "%.2f%%", 100 * (double)(x->arrived - x->answered) / (double)x->arrived);
    }
    rc = table_end(t, e);
    if (s->saturation > 0)
        printf("\nsaturation: %.1f requests/s\n", s->saturation * cells);
    return rc;
}

/* Of each stage the mean and the busiest worker; everyone else by name. */
static int print_processes(const struct simulate_report *r, struct error *e)
{
    const struct search *s = r->search;
    const struct simulation_result *x = result(r);
    struct table *t;
    char name[64];
    int rc;
    t = table_new("process|number|busy|busiest|moving bytes|batch|queue ms", "lrrrrrr");
    for (int first = 0, next; first < x->n_processes; first = next) {
        const struct simulation_process *p = &x->process[first];
        const struct simulation_stage_result *q = &x->stage[p->stage];
        double sum = 0, io = 0, most = 0;
        for (next = first;
             next < x->n_processes && x->process[next].role == p->role && x->process[next].stage == p->stage;
             next++) {
            sum += x->process[next].busy;
            io += x->process[next].io_busy;
            most = fmax(most, x->process[next].busy);
        }
        process_name(p, name, sizeof name);
        table_cell(t, "%.*s", (int)strcspn(name, "."), name);
        table_cell(t, "%d", next - first);
        table_cell(t, "%.1f%%", 100 * sum / (next - first));
        table_cell(t, "%.1f%%", 100 * most);
        table_cell(t, "%.1f%%", 100 * io / (next - first));
        if (p->role != ROLE_STAGE) { /* has no queue */
            table_cell(t, "%s", "");
            table_cell(t, "%s", "");
            continue;
        }
        table_cell(t, "%.2f", q->batches ? (double)q->entered / (double)q->batches : 0);
        table_cell(t, "%.3f", q->queue_ns / NS_PER_MS);
    }
    rc = table_end(t, e);
    (void)s;
    return rc;
}

static double load_of(const struct simulation_link *l)
{
    return fmax(l->cores, 1e3 * fmax(l->out, l->in));
}

/* The busiest hosts. */
static int print_hosts(const struct simulate_report *r, struct error *e)
{
    const struct cluster *c = r->search->cluster;
    const struct simulation_result *x = result(r);
    bool *shown = calloc((size_t)c->n_hosts, sizeof *shown);
    struct table *t;
    char name[64];
    int rc;
    if (!shown)
        return error_set(e, FL_NOMEM, "no memory for a table");
    t = table_new("host|cores busy|of|out Gbit/s|in Gbit/s|link", "lrrrrr");
    for (int k = 0; k < c->n_hosts && k < MOST_ROWS; k++) {
        int best = -1;
        for (int i = 0; i < c->n_hosts; i++)
            if (!shown[i] && (best < 0 || load_of(&x->link[i]) > load_of(&x->link[best])))
                best = i;
        shown[best] = true;
        table_cell(t, "%s", host_name(c, best, name, sizeof name));
        table_cell(t, "%.2f", x->link[best].cores);
        table_cell(t, "%d", cluster_kind_of(c, best)->host.cores);
        table_cell(t, "%.3f", x->link[best].out_bytes * 8e-9);
        table_cell(t, "%.3f", x->link[best].in_bytes * 8e-9);
        table_cell(t, "%.1f%%", 100 * fmax(x->link[best].out, x->link[best].in));
    }
    rc = table_end(t, e);
    if (c->n_hosts > MOST_ROWS)
        printf("(%d more hosts, less busy)\n", c->n_hosts - MOST_ROWS);
    free(shown);
    return rc;
}

/* Processes may want more cores than their hosts have: then they share them. */
static void print_cores(const struct simulate_report *r)
{
    long long want = (long long)r->search->cores * r->search->cluster->cells, there = cores_there(r),
              hosts = hosts_used(r);
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
        printf(" %s %.1f%%%s", i < s->shape.n_exits ? s->measured->exit[s->shape.exit[i]].name : "network",
               100 * (double)x->by_exit[i] / fmax(1, (double)x->latency.count),
               i < s->shape.n_exits ? "," : "\n");
    printf("replicas ");
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
    printf("\n");
    if (r->search->n_results > 1)
        printf("at the last of these loads:\n\n");
    if (rc || (rc = print_processes(r, e)))
        return rc;
    printf("\n");
    if ((rc = print_hosts(r, e)))
        return rc;
    print_summary(r);
    return FL_OK;
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
