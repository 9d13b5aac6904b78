/* simulate_measure.c - from phases of requests to what each message costs
 *
 * Few requests at random times say what is on a request's way when processes were asleep before: computing
 * with cold caches, and the time that no CPU time explains, which is spent waking threads. Many at a time say
 * what messages cost when nobody sleeps in between. What the same messages cost more of CPU time when there
 * are few of them is the cost of waking threads. Costs of messages are fitted over processes, whose messages
 * differ in size, as fixed + per byte.
 */
#include "simulate_measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/samples.h"
#include "cache_service/store/manifest.h"
#include "simulate_hop.h"
#include "simulate_phases.h"
#include "simulate_time.h"
#include "stages/exec/exec.h"
#include "deploy/tool/state.h"

#define HEADER_BYTES 200
#define QUANTILES    99

struct measuring {
    const struct pipeline *pipeline;
    const struct measure_options *options;
    struct graph *graph;
    struct placement *place;
    struct measured *m;
    bool caches;
    int exit_of[PIPELINE_MAX_EXITS]; /* of the pipeline, for each of m's exits: those that have a cache */
    struct phases ask;
};

/* Least squares y = a + b x with neither below 0. */
static void fit_line(const double *x, const double *y, int n, double *a, double *b)
{
    double sx = 0, sy = 0, sxx = 0, sxy = 0, d;
    for (int i = 0; i < n; i++) {
        sx += x[i];
        sy += y[i];
        sxx += x[i] * x[i];
        sxy += x[i] * y[i];
    }
    d = n * sxx - sx * sx;
    *b = d > 0 ? fmax(0, (n * sxy - sx * sy) / d) : 0;
    *a = n ? (sy - *b * sx) / n : 0;
    if (*a < 0) {
        *a = 0;
        *b = sxx > 0 ? fmax(0, sxy / sxx) : 0;
    }
}

/* ---- the model's times in terms of stages ---- */

static double bytes_behind(const struct measuring *g, int node)
{
    for (int i = 0; i < g->m->n_cuts; i++)
        if (!strcmp(g->m->cut[i].name, g->graph->nodes[node].name))
            return g->m->cut[i].bytes;
    return g->m->answer_bytes;
}

static double stage_in(const struct measuring *g, int stage)
{
    return stage ? bytes_behind(g, g->place->stage[stage - 1].last) : g->m->input_bytes;
}

static double stage_out(const struct measuring *g, int stage)
{
    return bytes_behind(g, g->place->stage[stage].last);
}

/* ---- costs ---- */

static double compute_of(const struct probe_request *r)
{
    double us = 0;
    for (int s = 0; s < r->n_stages; s++)
        us += r->compute_us[s];
    return us;
}

/* 0 without any. Medians, as a moment in which the machine was busy elsewhere is no cost. */
static double median(double *v, int n)
{
    return n ? samples_median(v, n) : 0;
}

/* The broker moves four messages per request, a worker and the client two. */
static void fit_io(struct measuring *g)
{
    struct measured_costs *c = &g->m->cost;
    const struct probe_phase *p = &g->ask.busy;
    double x[PIPELINE_MAX_STAGES + 2], y[PIPELINE_MAX_STAGES + 2], in = g->m->input_bytes,
                                                                   out = g->m->answer_bytes;
    int n = 0;

    x[n] = (in + out) / 2 + HEADER_BYTES;
    y[n++] = p->broker.io_us / 4;
    x[n] = (in + out) / 2 + HEADER_BYTES;
    y[n++] = p->client.io_us / 2;
    for (int s = 0; s < g->place->n_stages; s++) {
        x[n] = (stage_in(g, s) + stage_out(g, s)) / 2 + HEADER_BYTES;
        y[n++] = p->stage[s].io_us / 2;
    }
    fit_line(x, y, n, &c->io, &c->io_kilobyte);
    c->io_kilobyte *= 1000;
}

/* CPU time of stage s for one request's messages, us. */
static double message_us(const struct measuring *g, int s)
{
    const struct measured_costs *c = &g->m->cost;
    return c->stage_send + c->stage_receive + c->stage_kilobyte * (stage_in(g, s) + stage_out(g, s)) / 1000;
}

/* Mean of the pieces of stage s at the batch size next to `rows`, in this process, us per request. */
static double stage_us(const struct measuring *g, int s, double rows)
{
    const struct measured *m = g->m;
    const struct measured_batch *b = &m->batch[0];
    double sum = 0;
    int first = 0, last = m->n_cuts;
    for (int i = 0; i < m->n_batches; i++)
        if (fabs(log(m->batch[i].batch / rows)) < fabs(log(b->batch / rows)))
            b = &m->batch[i];
    for (int i = 0; i < m->n_cuts; i++) {
        if (s > 0 && !strcmp(m->cut[i].name, g->graph->nodes[g->place->stage[s - 1].last].name))
            first = i + 1;
        if (!strcmp(m->cut[i].name, g->graph->nodes[g->place->stage[s].last].name))
            last = i;
    }
    for (int i = 0; i < b->n_runs; i++)
        for (int k = first; k <= last; k++)
            sum += b->us[(size_t)i * (size_t)(m->n_cuts + 1) + (size_t)k];
    return sum / b->n_runs / b->batch;
}

/* What computing took of CPU time in a phase beyond what it takes in this process, as a share of that; and
 * the mean of 1/rows of the batches, by their time. */
static double excess(const struct measuring *g, const struct probe_phase *p, double *per_row)
{
    double expected = 0, used = 0, by_row = 0;
    for (int s = 0; s < g->place->n_stages; s++) {
        for (int i = 0; i < p->n; i++)
            if (s < p->request[i].n_stages) {
                double us = stage_us(g, s, p->request[i].batch[s]) / p->n;
                expected += us;
                by_row += us / p->request[i].batch[s];
            }
        used += p->stage[s].main_us - message_us(g, s);
    }
    *per_row = expected > 0 ? by_row / expected : 1;
    return expected > 0 ? fmax(0, used / expected - 1) : 0;
}

/* With all processes computing, the cores slow one another and find their memory cold; CPU time shows how
 * much, whoever else uses the machine. A batch reads all weights once: what is lost there is shared by its
 * rows. So the excess is a + b/rows, found from small batches and from full ones. */
static void fit_contention(struct measuring *g)
{
    double x[2], y[2], a, b;
    y[0] = excess(g, &g->ask.busy, &x[0]);
    y[1] = excess(g, &g->ask.crowded, &x[1]);
    fit_line(x, y, 2, &a, &b);
    g->m->all_busy = fmax(0.01, 1 / (1 + a));
    g->m->cost.stage_crowd_share = b / (1 + a);
}

/* Computing in a process that was waiting takes longer than run after run. */
static int fit_cold(struct measuring *g, struct error *e)
{
    const struct measured_batch *b = &g->m->batch[0];
    const struct probe_phase *p = &g->ask.sparse;
    int n = 0, most = p->n > b->n_runs ? p->n : b->n_runs;
    double alone, runs, *us = calloc((size_t)most + 1, sizeof *us);

    if (!us)
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < p->n; i++)
        if (p->request[i].alone)
            us[n++] = compute_of(&p->request[i]);
    alone = median(us, n);
    memset(us, 0, sizeof *us * (size_t)most);
    for (int i = 0; i < b->n_runs * (g->m->n_cuts + 1); i++)
        us[i / (g->m->n_cuts + 1)] += b->us[i];
    runs = median(us, b->n_runs);
    free(us);
    g->m->cost.stage_cold_share = runs > 0 ? fmax(0, alone / runs - 1) : 0;
    return FL_OK;
}

/* What the threads of a process wake up for in a request: the broker for what comes in and goes out on both
 * sides, in two threads; a worker's second thread for what comes and goes. */
#define BROKER_WAKES 6
#define STAGE_WAKES  2

/* CPU time that a woken thread takes beyond its message, us. What processes do by
 * themselves is no message's. */
static void fit_switch(struct measuring *g)
{
    const struct probe_phase *few = &g->ask.sparse, *many = &g->ask.busy;
    double more = few->broker.main_us + few->broker.io_us - many->broker.main_us - many->broker.io_us;
    int wakes = BROKER_WAKES + STAGE_WAKES * g->place->n_stages;
    double always = g->ask.idle.broker.main_us + g->ask.idle.broker.io_us;

    for (int s = 0; s < g->place->n_stages; s++) {
        more += few->stage[s].io_us - many->stage[s].io_us;
        always += g->ask.idle.stage[s].io_us;
    }
    more -= always / g->ask.idle.seconds * (few->seconds / few->n - many->seconds / many->n);
    g->m->cost.thread_switch = fmax(0, more / wakes);
}

/* That all processes use together with nothing to do. */
static double idle_cores(const struct probe_phase *idle)
{
    double us = idle->broker.main_us + idle->broker.io_us;
    for (int i = 0; i < PIPELINE_MAX_CACHES; i++)
        us += idle->cache[i].main_us + idle->cache[i].io_us;
    for (int i = 0; i < PIPELINE_MAX_STAGES; i++)
        us += idle->stage[i].main_us + idle->stage[i].io_us;
    return us / idle->seconds / 1e6;
}

/* The client sends on time because it watches the clock before, and wakes up for answers every millisecond:
 * CPU time per request and per second, told apart by two rates. */
static void fit_client(struct measuring *g)
{
    const struct probe_phase *a = &g->ask.sparse, *b = &g->ask.steady;
    struct measured_costs *c = &g->m->cost;
    double second_a = a->seconds / a->n, second_b = b->seconds / b->n; /* per request */
    double us_a = a->client.main_us + a->client.io_us, us_b = b->client.main_us + b->client.io_us;
    double always = second_a > second_b ? fmax(0, (us_a - us_b) / (second_a - second_b)) : 0;

    always = fmin(always, us_b / second_b);
    c->client_send = fmax(0, g->ask.busy.client.main_us - always * g->ask.busy.seconds / g->ask.busy.n) / 2;
    c->client_receive = c->client_send;
    c->client_watch = fmax(0, us_b - always * second_b - 2 * c->client_send - g->ask.busy.client.io_us);
    c->background_cores = idle_cores(&g->ask.idle) + always / 1e6;
}

static int fit_costs(struct measuring *g, struct error *e)
{
    struct measured_costs *c = &g->m->cost;
    c->broker_request = c->broker_result = g->ask.busy.broker.main_us / 2;
    fit_switch(g);
    fit_client(g);
    fit_io(g);
    fit_contention(g);
    return fit_cold(g, e);
}

/* ---- waking up ---- */

/* CPU time on the way of a request that is alone, us. */
static double path_cpu(const struct measuring *g)
{
    const struct measured_costs *c = &g->m->cost;
    double us = c->client_send + c->client_receive + c->broker_request + c->broker_result;
    double bytes = g->m->input_bytes + g->m->answer_bytes + 2 * HEADER_BYTES; /* client to broker and back */
    for (int s = 0; s < g->place->n_stages; s++) {
        us +=
            c->stage_send + c->stage_receive + c->stage_kilobyte * (stage_in(g, s) + stage_out(g, s)) / 1000;
        bytes += stage_in(g, s) + HEADER_BYTES;
    }
    bytes += g->m->answer_bytes + HEADER_BYTES;
    return us + (2 * c->io + 3 * c->thread_switch) * (g->place->n_stages + 3) +
           2 * c->io_kilobyte * bytes / 1000;
}

/* What is left of the latency goes to three threads per message; how it varies is seen on the wires between
 * processes. */
static int fit_wakes(struct measuring *g, struct error *e)
{
    const struct probe_phase *p = &g->ask.sparse;
    int stages = g->place->n_stages, n = 0, n_left = 0;
    double typical, sum = 0, *wire = malloc(sizeof *wire * (size_t)(p->n * stages) + 1);
    double *left = malloc(sizeof *left * (size_t)p->n + 1);

    if (!wire || !left) {
        free(wire);
        free(left);
        return error_set(e, FL_NOMEM, "no memory");
    }
    for (int i = 0; i < p->n; i++) {
        if (!p->request[i].alone)
            continue;
        left[n_left++] = p->request[i].total_us - compute_of(&p->request[i]) - path_cpu(g);
        for (int s = 0; s < p->request[i].n_stages; s++)
            wire[n++] = p->request[i].wire_us[s];
    }
    samples_sort(wire, n);
    g->m->n_wakes = n ? QUANTILES : 0;
    for (int i = 0; i < g->m->n_wakes; i++) {
        const struct measured_costs *c = &g->m->cost;
        double us = wire[(size_t)((i + 0.5) / QUANTILES * n)] - 2 * c->io - 3 * c->thread_switch;
        sum += g->m->wake_us[i] = fmax(0, us);
    }
    typical = fmax(0, median(left, n_left)) / (3 * (stages + 3));
    for (int i = 0; i < g->m->n_wakes && sum > 0; i++)
        g->m->wake_us[i] *= typical * g->m->n_wakes / sum;
    free(wire);
    free(left);
    return FL_OK;
}

/* ---- caches ---- */

static double median_lookup(const struct probe_phase *p, int exit, int *answered)
{
    double *us = malloc(sizeof *us * (size_t)p->n + 1), typical;
    int n = 0;
    for (int i = 0; us && i < p->n; i++)
        if (exit < 0 ? p->request[i].exit >= 0 : p->request[i].exit == exit)
            us[n++] = p->request[i].lookup_us;
    typical = median(us, n);
    *answered = n;
    free(us);
    return typical;
}

static double cache_cpu(const struct probe_phase *p)
{
    double sum = 0;
    for (int i = 0; i < PIPELINE_MAX_CACHES; i++)
        sum += p->cache[i].main_us;
    return p->lookup_messages > 0 ? sum / p->lookup_messages : 0;
}

static void fit_caches(struct measuring *g)
{
    const struct probe_phase *a = &g->ask.sparse_cached, *b = &g->ask.busy_cached;
    double one = cache_cpu(a), many = cache_cpu(b), mean = 0;
    double rows = b->lookup_messages > 0 ? b->lookup_rows / b->lookup_messages : 1;
    double row = rows > 1.2 ? fmax(0, (many - one) / (rows - 1)) : 0;
    int n;

    for (int i = 0; i < g->m->n_exits; i++) {
        struct measured_exit *x = &g->m->exit[i];
        double us = median_lookup(a, g->exit_of[i], &n);
        x->share = (double)n / a->n;
        x->lookup_us = n > 10 ? us : median_lookup(a, -1, &n);
        mean += x->lookup_us / g->m->n_exits;
        x->lookup_row_us = fmin(row, x->lookup_us);
        x->lookup_us -= x->lookup_row_us;
    }
    g->m->cost.cache = fmax(0, one - mean);
}

/* ---- */

/* Workers do not ask where the build put no cache. Without a manifest there are none at all. */
static int describe_exits(struct measuring *g, struct error *e)
{
    char path[STATE_PATH_BYTES];
    struct manifest *has = malloc(sizeof *has);
    int rc =
        has ? state_path(path, g->pipeline, e, "caches/manifest.json") : error_set(e, FL_NOMEM, "no memory");

    if (!rc)
        rc = manifest_load(has, path, e);
    g->caches = !rc;
    for (int i = 0; i < g->place->n_exits && !rc; i++) {
        const struct placed_exit *from = &g->place->exit[i];
        struct measured_exit *x = &g->m->exit[g->m->n_exits];
        if (i >= has->n_exits || !has->exit[i].file[0])
            continue;
        if (strlen(from->cut.name) >= sizeof x->after)
            rc = error_set(e, FL_UNSUPPORTED, "the name of layer %.60s.. is too long", from->cut.name);
        memcpy(x->name, from->name, sizeof x->name);
        snprintf(x->after, sizeof x->after, "%.127s", from->cut.name);
        g->exit_of[g->m->n_exits++] = i;
    }
    free(has);
    return rc == FL_NOT_FOUND ? FL_OK : rc;
}

/* The pieces' times at the speed of the phases: they were taken after them. */
static void to_first_speed(struct measuring *g, double now_us)
{
    double by = g->ask.speed_us / now_us;
    for (int b = 0; b < g->m->n_batches; b++)
        for (int i = 0; i < g->m->batch[b].n_runs * (g->m->n_cuts + 1); i++)
            g->m->batch[b].us[i] *= by;
}

static int measure(struct measuring *g, struct error *e)
{
    const struct pipeline *p = g->pipeline;
    double before, after;
    int most = 1, rc;

    for (int s = 0; s < p->n_stages; s++)
        most = p->stage[s].max_batch > most ? p->stage[s].max_batch : most;
    if ((rc = placement_load(&g->graph, p, e)) || (rc = placement_resolve(g->place, g->graph, p, e)) ||
        (rc = describe_exits(g, e)) ||
        (rc = phases_ask(&g->ask, p, g->graph, g->options->data, g->options->requests, g->caches, e)) ||
        (rc = phases_refer(&before, &g->ask, e)) ||
        (rc = simulate_time_model(g->m, g->graph, p, g->options->data, most, g->options->runs, e)) ||
        (rc = phases_refer(&after, &g->ask, e)) || (rc = simulate_time_exits(g->m, g->graph, p, e)) ||
        (rc = simulate_time_messages(g->m, p, e)))
        return rc;
    snprintf(g->m->model, sizeof g->m->model, "%.127s", p->name);
    digest_text(g->graph->digest, g->m->digest);
    snprintf(g->m->machine, sizeof g->m->machine, "%d cores, BLAS core %s, %s", g->m->cores,
             engine_blas_core(), engine_conv());
    to_first_speed(g, (before + after) / 2);
    if ((rc = fit_costs(g, e)))
        return rc;
    if (g->caches)
        fit_caches(g);
    return fit_wakes(g, e);
}

int simulate_measure(struct measured **out, const struct pipeline *p, const struct measure_options *o,
                     struct error *e)
{
    struct measuring g = {.pipeline = p, .options = o};
    int rc;

    *out = NULL;
    g.m = calloc(1, sizeof *g.m);
    g.place = calloc(1, sizeof *g.place);
    rc = g.m && g.place ? measure(&g, e) : error_set(e, FL_NOMEM, "no memory");
    phases_release(&g.ask);
    graph_free(g.graph);
    free(g.place);
    if (rc)
        measured_free(g.m);
    else
        *out = g.m;
    return rc;
}
