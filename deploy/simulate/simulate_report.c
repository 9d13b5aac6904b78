/* simulate_report.c - what `freezeline simulate` says: tables, JSON, a plot */
#include "simulate_report.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "deploy/plot/plot.h"
#include "deploy/tool/output.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

#define GBPS      8e-9 /* of bytes per second */
#define MOST_ROWS 12   /* of processes and hosts in the tables; --json has all */

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

/* At the last load. */
static const struct simulation_result *last_result(const struct search *s)
{
    return s->result[s->n_results - 1];
}

struct name {
    char text[64];
};

/* "stage 1.0", "cache 0", "broker"; of all replicas of a stage: "stage 1". */
static struct name process_name(const struct world_process *p, bool all)
{
    struct name n = {"client"};
    if (p->role == ROLE_STAGE)
        snprintf(n.text, sizeof n.text, all ? "stage %d" : "stage %d.%d", p->stage, p->replica);
    else if (p->role == ROLE_CACHE)
        snprintf(n.text, sizeof n.text, "cache %d", p->replica);
    else if (p->role == ROLE_BROKER)
        snprintf(n.text, sizeof n.text, "broker");
    return n;
}

static struct name host_name(const struct cluster *c, int host)
{
    const struct cluster_kind *k = cluster_kind_of(c, host);
    struct name n = {"outside"};
    if (host < c->n_hosts)
        snprintf(n.text, sizeof n.text, k->count > 1 ? "%.50s.%d" : "%.50s", k->name, host - k->first);
    return n;
}

static const char *exit_name(const struct search *s, int i)
{
    return i < s->shape.pipeline.n_exits ? s->shape.exit[i].name : "network";
}

/* CPU seconds of all processes but the client per answered request, in ms. */
static double cpu_ms(const struct simulation_result *r)
{
    double busy = 0;
    for (int i = 0; i < r->n_processes; i++)
        if (r->process[i].who.role != ROLE_CLIENT)
            busy += r->process[i].busy + r->process[i].io_busy;
    return r->throughput > 0 ? busy / r->throughput * 1e3 : 0;
}

/* Hosts that some process stands on, and their cores, over all cells. */
static void count_hosts(const struct search *s, long long *hosts, long long *cores)
{
    const struct simulation_result *x = last_result(s);
    bool used[WORLD_MAX_HOSTS + 1] = {false};
    *hosts = *cores = 0;
    for (int i = 0; i < x->n_processes; i++)
        used[x->process[i].who.host] = true;
    for (int h = 0; h < s->cluster->n_hosts; h++) {
        *hosts += used[h] * s->cluster->cells;
        *cores += (long long)used[h] * s->cluster->cells * cluster_kind_of(s->cluster, h)->host.cores;
    }
}

/* Per second, of all cells. */
static json_t *of_all(const struct search *s, double rate)
{
    return report_rounded(rate * s->cluster->cells, 3);
}

static double answered_share(const struct simulation_result *x, int exit)
{
    return (double)x->by_exit[exit] / fmax(1, (double)x->latency.count);
}

static double mean_batch(const struct simulation_stage_result *s)
{
    return s->batches ? (double)s->entered / (double)s->batches : 0;
}

/* ---- JSON ---- */

/* A list of n, each of which `item` makes. */
static json_t *list_json(const struct search *s, int n, json_t *(*item)(const struct search *s, int i))
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, item(s, i));
    return a;
}

static json_t *latency_json(const struct simulation_result *x)
{
    json_t *o = json_object();
    for (size_t i = 0; i < N_LATENCIES; i++)
        json_object_set_new(o, latencies[i].name, report_rounded(ms(x, latencies[i].share), 6));
    return o;
}

static json_t *exit_json(const struct search *s, int i)
{
    const struct simulation_result *x = last_result(s);
    return json_pack("{s:s, s:I, s:o}", "name", exit_name(s, i), "answered", (json_int_t)x->by_exit[i],
                     "share", report_rounded(answered_share(x, i), 6));
}

static json_t *unmeasured_json(const struct search *s, int i)
{
    return json_string(s->shape.unmeasured[i]);
}

static json_t *stage_json(const struct search *s, int i)
{
    const struct simulation_stage_result *t = &last_result(s)->stage[i];
    return json_pack("{s:i, s:i, s:I, s:I, s:o, s:o, s:o}", "stage", i, "replicas",
                     s->shape.pipeline.stage[i].n_replicas, "entered", (json_int_t)t->entered, "exited",
                     (json_int_t)t->hits, "batch_mean", report_rounded(mean_batch(t), 3), "queue_ms",
                     report_rounded(t->queue_ns / NS_PER_MS, 6), "service_ms",
                     report_rounded(t->service_ns / NS_PER_MS, 6));
}

static json_t *process_json(const struct search *s, int i)
{
    const struct simulation_process *p = &last_result(s)->process[i];
    return json_pack("{s:s, s:s, s:o, s:o}", "name", process_name(&p->who, false).text, "host",
                     host_name(s->cluster, p->who.host).text, "busy", report_rounded(p->busy, 4), "io_busy",
                     report_rounded(p->io_busy, 4));
}

static json_t *host_json(const struct search *s, int i)
{
    const struct simulation_link *l = &last_result(s)->link[i];
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "name", host_name(s->cluster, i).text, "cores_busy",
                     report_rounded(l->cores, 4), "link_out", report_rounded(l->out, 4), "link_in",
                     report_rounded(l->in, 4), "out_gbps", report_rounded(l->out_bytes * GBPS, 4), "in_gbps",
                     report_rounded(l->in_bytes * GBPS, 4));
}

static json_t *load_json(const struct search *s, int i)
{
    const struct simulation_result *x = s->result[i];
    return json_pack("{s:o, s:o, s:o, s:o, s:I}", "rate", of_all(s, s->offered[i]), "achieved_rps",
                     of_all(s, x->throughput), "p50_ms", report_rounded(ms(x, 0.5), 6), "p99_ms",
                     report_rounded(ms(x, 0.99), 6), "dropped", (json_int_t)(x->arrived - x->answered));
}

/* Nothing that was not computed: the same seed gives the same bytes. */
static int print_json(const struct search *s, struct error *e)
{
    const struct simulation_result *x = last_result(s);
    long long hosts, cores;
    json_t *root;
    count_hosts(s, &hosts, &cores);
    root = json_pack(
        "{s:s, s:i, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, "
        "s:I, s:I, s:I, s:o, s:I}",
        "format", "freezeline-simulation", "version", 1, "offered_rps",
        of_all(s, s->offered[s->n_results - 1]), "achieved_rps", of_all(s, x->throughput), "simulated",
        (json_int_t)x->arrived, "answered", (json_int_t)x->answered, "overloaded", (json_int_t)x->refused,
        "expired", (json_int_t)x->expired, "failed", (json_int_t)(x->failed + x->lost), "retried",
        (json_int_t)x->retried, "in_system", report_rounded(x->in_system, 4), "latency_ms", latency_json(x),
        "exits", list_json(s, s->shape.pipeline.n_exits + 1, exit_json), "exits_not_measured",
        list_json(s, s->shape.n_unmeasured, unmeasured_json), "stages",
        list_json(s, s->shape.pipeline.n_stages, stage_json), "processes",
        list_json(s, x->n_processes, process_json), "hosts", list_json(s, s->cluster->n_hosts, host_json),
        "cells", s->cluster->cells, "hosts_used", (json_int_t)hosts, "cores_there", (json_int_t)cores,
        "cores_used", (json_int_t)s->cores * s->cluster->cells, "cpu_ms_per_request",
        report_rounded(cpu_ms(x), 6), "events", (json_int_t)s->events);
    if (root && s->n_results > 1) {
        json_object_set_new(root, "sweep", list_json(s, s->n_results, load_json));
        json_object_set_new(root, "saturation_rps", of_all(s, s->saturation));
    }
    return report_print(root, e);
}

/* ---- tables ---- */

static int print_loads(const struct search *s, struct error *e)
{
    double cells = s->cluster->cells;
    struct table *t = table_new("offered/s|answered/s|mean ms|p50|p90|p99|p99.9|max|dropped", "rrrrrrrrr");
    int rc;
    for (int i = 0; i < s->n_results; i++) {
        const struct simulation_result *x = s->result[i];
        table_cells(t, s->offered[i] > 0 ? "%.1f" : "closed", s->offered[i] * cells);
        table_cells(t, "%.1f", x->throughput * cells);
        for (size_t k = 0; k < N_LATENCIES; k++)
            table_cells(t, "%.3f", ms(x, latencies[k].share));
        table_cells(t, "%.2f%%", 100 * (double)(x->arrived - x->answered) / (double)x->arrived);
    }
    rc = table_end(t, e);
    if (s->saturation > 0)
        printf("\nsaturation: %.1f requests/s\n", s->saturation * cells);
    return rc;
}

/* Of each stage the mean and the busiest worker, and of the cache services. */
static int print_processes(const struct search *s, struct error *e)
{
    const struct simulation_result *x = last_result(s);
    struct table *t = table_new("process|number|busy|busiest|moving bytes|batch|queue ms", "lrrrrrr");
    for (int first = 0, next; first < x->n_processes; first = next) {
        const struct world_process *p = &x->process[first].who;
        double sum = 0, io = 0, most = 0;
        for (next = first; next < x->n_processes; next++) {
            const struct simulation_process *q = &x->process[next];
            if (q->who.role != p->role || q->who.stage != p->stage)
                break;
            sum += q->busy;
            io += q->io_busy;
            most = fmax(most, q->busy);
        }
        table_cells(t, "%s|%d|%.1f%%|%.1f%%|%.1f%%", process_name(p, true).text, next - first,
                    100 * sum / (next - first), 100 * most, 100 * io / (next - first));
        if (p->role == ROLE_STAGE)
            table_cells(t, "%.2f|%.3f", mean_batch(&x->stage[p->stage]),
                        x->stage[p->stage].queue_ns / NS_PER_MS);
        else
            table_cells(t, "|"); /* it has no queue */
    }
    return table_end(t, e);
}

static double load_of(const struct simulation_link *l)
{
    return fmax(l->cores, 1e3 * fmax(l->out, l->in));
}

/* The busiest first; equal ones as they stand in the description. */
static int print_hosts(const struct search *s, struct error *e)
{
    const struct cluster *c = s->cluster;
    const struct simulation_link *link = last_result(s)->link, *l;
    bool printed[WORLD_MAX_HOSTS] = {false};
    struct table *t = table_new("host|cores busy|of|out Gbit/s|in Gbit/s|link", "lrrrrr");
    int rc, next;
    for (int row = 0; row < c->n_hosts && row < MOST_ROWS; row++, printed[next] = true) {
        next = -1;
        for (int i = 0; i < c->n_hosts; i++)
            if (!printed[i] && (next < 0 || load_of(&link[i]) > load_of(&link[next])))
                next = i;
        l = &link[next];
        table_cells(t, "%s|%.2f|%d|%.3f|%.3f|%.1f%%", host_name(c, next).text, l->cores,
                    cluster_kind_of(c, next)->host.cores, l->out_bytes * GBPS, l->in_bytes * GBPS,
                    100 * fmax(l->out, l->in));
    }
    rc = table_end(t, e);
    if (c->n_hosts > MOST_ROWS)
        printf("(%d more hosts, less busy)\n", c->n_hosts - MOST_ROWS);
    return rc;
}

/* Processes may want more cores than their hosts have: then they share them. */
static void print_cores(const struct search *s)
{
    long long want = (long long)s->cores * s->cluster->cells, there, hosts;
    count_hosts(s, &hosts, &there);
    if (want > there)
        printf(": processes for %lld cores share the %lld of", want, there);
    else
        printf(": %lld cores on", want);
    printf(" %lld host%s", hosts, hosts > 1 ? "s" : "");
}

static void print_summary(const struct search *s)
{
    const struct simulation_result *x = last_result(s);
    printf("\nanswered by:");
    for (int i = 0; i <= s->shape.pipeline.n_exits; i++)
        printf(" %s %.1f%%%s", exit_name(s, i), 100 * answered_share(x, i),
               i < s->shape.pipeline.n_exits ? "," : "\nreplicas ");
    for (int i = 0; i < s->shape.pipeline.n_stages; i++)
        printf("%d%s", s->shape.pipeline.stage[i].n_replicas, i + 1 < s->shape.pipeline.n_stages ? "," : "");
    if (s->target_ms > 0)
        printf(" are the fewest found for p99 <= %.3f ms", s->target_ms);
    print_cores(s);
    if (s->cluster->cells > 1)
        printf(" in %d cells (tables above: of one)", s->cluster->cells);
    printf("; %.3f ms of CPU per request\n", cpu_ms(x));
    if (x->retried || x->failed || x->lost)
        printf("failures: %lld attempts repeated, %lld requests failed, %lld lost with the broker\n",
               (long long)x->retried, (long long)x->failed, (long long)x->lost);
    printf("%d simulation%s, %.1f million events, %.1f million per second of CPU time\n", s->tried,
           s->tried > 1 ? "s" : "", (double)s->events / 1e6, (double)s->events / 1e6 / fmax(s->cpu_s, 1e-9));
}

static int print_tables(const struct search *s, struct error *e)
{
    int rc = print_loads(s, e);
    printf(s->n_results > 1 ? "\nat the last of these loads:\n\n" : "\n");
    if (rc || (rc = print_processes(s, e)))
        return rc;
    printf("\n");
    if (!(rc = print_hosts(s, e)))
        print_summary(s);
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
    const struct search *s = arg;
    return s->n_results > 1 ? plot_sweep(s, to, e) : plot_percentiles(last_result(s), to, e);
}

int simulate_print(const struct search *s, const char *plot, bool json, struct error *e)
{
    int rc = plot ? output_write(plot, draw, s, e) : FL_OK;
    return rc ? rc : (json ? print_json : print_tables)(s, e);
}
