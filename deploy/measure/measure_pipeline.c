/* measure_pipeline.c - from phases of requests to what each message costs
 *
 * Few requests at random times say what is on a request's way when processes were asleep before: computing
 * with cold caches, and the time that no CPU time explains, which is spent waking threads. Many at a time say
 * what messages cost when nobody sleeps in between; what the same cost more where they are few is waking.
 */
#include "measured.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "numbers/samples.h"
#include "deploy/build/built_exits.h"
#include "deploy/model/hop.h"
#include "deploy/model/message_cost.h"
#include "phases.h"
#include "own_times.h"
#include "turns.h"
#include "stages/place/placement.h"

#define QUANTILES   99
#define ASKED_LEAST 0.5 /* look-up messages per request that comes alone, where a service is asked */

struct measuring {
    const struct pipeline *pipeline;
    struct graph *graph;
    struct placement place;
    struct measured *m;
    bool caches, by_sockets; /* the pipeline has caches; its messages use no lanes */
    int woken;               /* threads that a message wakes: one through a lane, three through sockets */
    int exit_of[PIPELINE_MAX_EXITS]; /* of the pipeline, for each of m's exits: those that have a cache */
    struct phases ask;
};

/* ---- the model's times in terms of stages ---- */

/* The cut behind stage s; n_cuts: the model's end; -1, of no stage: its beginning. */
static int cut_behind(const struct measuring *g, int s)
{
    int cut = s < 0 ? -1 : measured_find_cut(g->m, g->graph->nodes[g->place.stage[s].last].name);
    return s >= 0 && cut < 0 ? g->m->n_cuts : cut;
}

static double bytes_behind(const struct measuring *g, int s)
{
    int cut = cut_behind(g, s);
    return cut < 0 ? g->m->input_bytes : cut < g->m->n_cuts ? g->m->cut[cut].bytes : g->m->answer_bytes;
}

/* What stage s takes in this process, us per request. */
static double stage_us(const struct measuring *g, int s, int rows)
{
    return measured_mean_us(g->m, rows, cut_behind(g, s - 1) + 1, cut_behind(g, s)) / rows;
}

/* CPU time of stage s for one request's messages, us. */
static double message_us(const struct measuring *g, int s)
{
    const struct measured_costs *c = &g->m->cost;
    double bytes = bytes_behind(g, s - 1) + bytes_behind(g, s);
    return c->stage_send + c->stage_receive + c->stage_kilobyte * bytes / 1000;
}

/* What a request's layers took in all stages, us. */
static double compute_us(const struct phase_request *r)
{
    double ns = 0;
    for (int s = 0; s < r->answer.trace.n; s++)
        ns += (double)r->answer.trace.stage[s].compute_ns;
    return r->scale * ns / 1e3;
}

/* ---- costs: medians, as a moment in which the machine was busy elsewhere is none ---- */

/* What computing took of CPU time in a phase beyond what it takes in this process, as a share of that; and
 * the mean of 1/rows of the batches, by their time. */
static double excess(const struct measuring *g, const struct phase *p, double *per_row)
{
    double alone[PIPELINE_MAX_STAGES][MESSAGE_MAX_BATCH + 1] = {0};
    double expected = 0, used = 0, by_row = 0;
    for (int s = 0; s < g->place.n_stages; s++) {
        for (int i = 0; i < p->n; i++) {
            const struct trace *t = &p->request[i].answer.trace;
            int rows = t->stage[s].batch > 0 ? (int)t->stage[s].batch : 1;
            if (s >= t->n || rows > MESSAGE_MAX_BATCH)
                continue;
            if (alone[s][rows] <= 0)
                alone[s][rows] = stage_us(g, s, rows);
            expected += alone[s][rows] / p->n;
            by_row += alone[s][rows] / p->n / rows;
        }
        used += p->main_us[USER_STAGES + s] - message_us(g, s);
    }
    *per_row = expected > 0 ? by_row / expected : 1;
    return expected > 0 ? fmax(0, used / expected - 1) : 0;
}

/* Of what grows with the size, us per 1000 bytes. */
static double per_kilobyte(double small, double large)
{
    return large > small ? (large - small) / (HOP_LARGE_BYTES - HOP_SMALL_BYTES) * 1000 : 0;
}

/* Where sockets carry messages, ZeroMQ's threads work at both ends. */
static int fit_messages(struct measured_costs *c, const struct pipeline *p, struct error *e)
{
    struct message_cpu socket[2], lane[2], *own = p->shared_memory ? lane : socket;
    int rc = message_cost_cpu(socket, p, false, e);

    if (rc || (p->shared_memory && (rc = message_cost_cpu(lane, p, true, e))))
        return rc;
    c->stage_send = c->stage_lookup = own[0].send;
    c->stage_receive = c->stage_verdict = own[0].receive;
    c->stage_kilobyte = per_kilobyte(own[0].send + own[0].receive, own[1].send + own[1].receive) / 2;
    c->io = socket[0].io / 2;
    c->io_kilobyte = per_kilobyte(socket[0].io, socket[1].io) / 2;
    return FL_OK;
}

/* With all processes computing, the cores slow one another and find their memory cold; CPU time shows how
 * much, whoever else uses the machine. A batch reads all weights once: what is lost there is shared by its
 * rows. So the excess is a + b/rows, found from small batches and from full ones. */
static void fit_contention(struct measuring *g)
{
    double x0, x1, y0 = excess(g, &g->ask.busy, &x0), y1 = excess(g, &g->ask.crowded, &x1);
    double b = x1 != x0 ? fmax(0, (y1 - y0) / (x1 - x0)) : 0, a = (y0 + y1 - b * (x0 + x1)) / 2;
    if (a < 0) {
        a = 0;
        b = (x0 * y0 + x1 * y1) / (x0 * x0 + x1 * x1);
    }
    g->m->all_busy = fmax(0.01, 1 / (1 + a));
    g->m->cost.stage_crowd_share = b / (1 + a);
}

/* What stage s takes run after run, us. */
static double again_us(const struct measuring *g, int s, double *room)
{
    int runs = measured_runs(g->m);
    for (int i = 0; i < runs; i++)
        room[i] = measured_run_us(g->m, 1, i, cut_behind(g, s - 1) + 1, cut_behind(g, s));
    return samples_median(room, runs);
}

/* Computing in a process that was waiting takes longer than run after run: mostly a little, at times much. */
static int fit_cold(struct measuring *g, struct error *e)
{
    const struct phase *p = &g->ask.sparse;
    int n = 0, runs = measured_runs(g->m), most = p->n * g->place.n_stages;
    double again[PIPELINE_MAX_STAGES], *more = calloc((size_t)(most > runs ? most : runs) + 1, sizeof *more);

    if (!more)
        return error_set(e, FL_NOMEM, "no memory");
    for (int s = 0; s < g->place.n_stages; s++)
        again[s] = again_us(g, s, more);
    for (int i = 0; i < p->n; i++)
        for (int s = 0; p->request[i].alone && s < p->request[i].answer.trace.n && s < g->place.n_stages; s++)
            more[n++] = p->request[i].scale * (double)p->request[i].answer.trace.stage[s].compute_ns / 1e3 /
                            again[s] -
                        1;
    samples_sort(more, n);
    g->m->n_colds = n ? QUANTILES : 0;
    for (int i = 0; i < g->m->n_colds; i++)
        g->m->cold_share[i] = fmax(0, more[(size_t)((i + 0.5) / QUANTILES * n)]);
    free(more);
    return FL_OK;
}

/* What a thread uses more per request where these are few, but for what it does by itself, us. */
static double few_cost_more(const struct measuring *g, double few, double many, double idle)
{
    const struct phase *a = &g->ask.sparse, *b = &g->ask.busy;
    return few - many - idle * (a->seconds / a->n - b->seconds / b->n);
}

/* CPU time that a woken thread takes beyond its message, us: what broker and stages' second threads use more
 * where requests are few. The broker wakes for the two messages that come; through sockets its second thread
 * does for all four, too, and each stage's for two. */
static void fit_switch(struct measuring *g)
{
    const struct phase *few = &g->ask.sparse, *many = &g->ask.busy, *idle = &g->ask.idle;
    int b = USER_BROKER, wakes = g->by_sockets ? 6 + 2 * g->place.n_stages : 2;
    double more = few_cost_more(g, few->main_us[b], many->main_us[b], idle->main_us[b]);

    for (int i = b; i < USERS && g->by_sockets; i++)
        if (i == b || i >= USER_STAGES)
            more += few_cost_more(g, few->io_us[i], many->io_us[i], idle->io_us[i]);
    g->m->cost.thread_switch = fmax(0, more / wakes);
}

/* The client sends on time because it watches the clock before, and wakes up for answers every millisecond:
 * CPU time per request and per second, told apart by two rates. */
static void fit_client(struct measuring *g)
{
    const struct phase *a = &g->ask.sparse, *b = &g->ask.steady, *busy = &g->ask.busy;
    struct measured_costs *c = &g->m->cost;
    double second_a = a->seconds / a->n, second_b = b->seconds / b->n; /* per request */
    double us_a = a->main_us[USER_CLIENT] + a->io_us[USER_CLIENT];
    double us_b = b->main_us[USER_CLIENT] + b->io_us[USER_CLIENT];
    double always = second_a > second_b ? fmax(0, (us_a - us_b) / (second_a - second_b)) : 0;

    always = fmin(always, us_b / second_b);
    c->client_send = fmax(0, busy->main_us[USER_CLIENT] - always * busy->seconds / busy->n) / 2;
    c->client_receive = c->client_send;
    c->client_watch = fmax(0, us_b - always * second_b - 2 * c->client_send - busy->io_us[USER_CLIENT]);
    c->background_cores = always / 1e6;
    for (int i = USER_BROKER; i < USERS; i++)
        c->background_cores += (g->ask.idle.main_us[i] + g->ask.idle.io_us[i]) / 1e6;
}

/* ---- waking up ---- */

/* CPU time on the way of a request that is alone, us. */
static double path_cpu(const struct measuring *g)
{
    const struct measured_costs *c = &g->m->cost;
    int stages = g->place.n_stages;
    double us = c->client_send + c->client_receive + c->broker_request + c->broker_result;
    double bytes = g->m->input_bytes + g->m->answer_bytes; /* client to broker and back */
    for (int s = 0; s < stages; s++) {
        us += message_us(g, s);
        bytes += bytes_behind(g, s - 1);
    }
    bytes += g->m->answer_bytes + (stages + 3) * MEASURED_ENVELOPE_BYTES;
    us += g->woken * c->thread_switch * (stages + 3);
    return g->by_sockets ? us + 2 * c->io * (stages + 3) + 2 * c->io_kilobyte * bytes / 1000 : us;
}

/* What is left of the latency goes to the threads that messages wake; wires show how it varies. */
static int fit_wakes(struct measuring *g, struct error *e)
{
    const struct phase *p = &g->ask.sparse;
    const struct measured_costs *c = &g->m->cost;
    int stages = g->place.n_stages, n = 0, n_left = 0;
    double typical, sum = 0, *left = malloc(sizeof *left * (size_t)(p->n * (stages + 1)) + 1),
                    *wire = left ? left + p->n : NULL;

    if (!left)
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < p->n; i++) {
        const struct phase_request *r = &p->request[i];
        if (!r->alone)
            continue;
        left[n_left++] = r->scale * r->total_ns / 1e3 - compute_us(r) - path_cpu(g);
        for (int s = 0; s < r->answer.trace.n && s < stages; s++)
            wire[n++] = r->scale * (double)r->answer.trace.stage[s].wire_ns / 1e3;
    }
    samples_sort(wire, n);
    g->m->n_wakes = n ? QUANTILES : 0;
    for (int i = 0; i < g->m->n_wakes; i++) {
        double us = wire[(size_t)((i + 0.5) / QUANTILES * n)] - g->woken * c->thread_switch;
        sum += g->m->wake_us[i] = fmax(0, g->by_sockets ? us - 2 * c->io : us);
    }
    typical = fmax(0, samples_median(left, n_left)) / (g->woken * (stages + 3));
    for (int i = 0; i < g->m->n_wakes && sum > 0; i++)
        g->m->wake_us[i] *= typical * g->m->n_wakes / sum;
    free(left);
    return FL_OK;
}

/* ---- caches ---- */

static double median_lookup(const struct phase *p, int exit, int *answered)
{
    double *us = malloc(sizeof *us * (size_t)p->n + 1), typical;
    *answered = 0;
    for (int i = 0; us && i < p->n; i++) {
        const struct phase_request *r = &p->request[i];
        if (exit < 0 ? r->answer.exit >= 0 : r->answer.exit == exit)
            us[(*answered)++] = r->scale * (double)r->answer.lookup_ns / 1e3;
    }
    typical = fmax(0, samples_median(us, *answered)); /* 0 without any */
    free(us);
    return typical;
}

static double cache_cpu(const struct phase *p)
{
    double sum = 0;
    for (int i = 0; i < PIPELINE_MAX_CACHES; i++)
        sum += p->main_us[USER_CACHES + i];
    return p->lookup_messages > 0 ? sum / p->lookup_messages : 0;
}

/* Where stage workers look up themselves a service hears of few look-ups: what it takes is its upkeep. */
static void fit_caches(struct measuring *g)
{
    const struct phase *a = &g->ask.sparse_cached, *b = &g->ask.busy_cached;
    bool asked = a->lookup_messages > ASKED_LEAST;
    double one = asked ? cache_cpu(a) : 0, many = asked ? cache_cpu(b) : 0, mean = 0;
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
    /* Of a service that was not seen at it: its messages cost what the workers' do. */
    g->m->cost.cache = one > 0 ? fmax(0, one - mean) : g->m->cost.stage_receive + g->m->cost.stage_send;
}

/* Workers do not ask where the build put no cache. Without a manifest there are none at all. */
static int describe_exits(struct measuring *g, struct error *e)
{
    struct manifest *has = malloc(sizeof *has);
    int rc = has ? built_manifest(has, g->pipeline, e) : error_set(e, FL_NOMEM, "no memory");

    g->caches = !rc;
    for (int i = 0; i < g->place.n_exits && !rc; i++) {
        const struct placed_exit *from = &g->place.exit[i];
        struct measured_exit *x = &g->m->exit[g->m->n_exits];
        if (i >= has->n_exits || !has->exit[i].file[0])
            continue;
        memcpy(x->name, from->name, sizeof x->name);
        if (snprintf(x->after, sizeof x->after, "%s", from->cut.name) >= (int)sizeof x->after)
            rc = error_set(e, FL_UNSUPPORTED, "the name of layer %.60s.. is too long", from->cut.name);
        g->exit_of[g->m->n_exits++] = i;
    }
    free(has);
    return rc == FL_NOT_FOUND ? FL_OK : rc;
}

/* Of any stage. */
static int max_batch(const struct measuring *g)
{
    const struct pipeline *p = g->pipeline;
    int most = 1;
    for (int s = 0; s < p->n_stages && g->graph->free_batch; s++)
        most = p->stage[s].max_batch > most ? p->stage[s].max_batch : most;
    return most;
}

static int measure(struct measuring *g, const struct dataset *data, int requests, int runs, struct error *e)
{
    const struct pipeline *p = g->pipeline;
    int most, rc;

    if ((rc = placement_load(&g->graph, p, e)) || (rc = placement_resolve(&g->place, g->graph, p, e)) ||
        (rc = describe_exits(g, e)))
        return rc;
    most = max_batch(g);
    if ((rc = phases_ask(&g->ask, p, g->graph, data, most, requests, g->caches, e)))
        return rc;
    g->m->reference_us = g->ask.speed_us;
    if ((rc = own_times_model(g->m, g->ask.model, g->graph, p, data, most, runs, e)) ||
        (rc = turns_measure(g->m, g->m->reference_us / p->n_stages, e)) ||
        (rc = fit_messages(&g->m->cost, p, e)))
        return rc;
    snprintf(g->m->model, sizeof g->m->model, "%.127s", p->name);
    digest_text(g->graph->digest, g->m->digest);
    snprintf(g->m->machine, sizeof g->m->machine, "%d cores, BLAS core %s, %s", g->m->cores,
             engine_blas_core(), engine_conv());
    g->m->cost.broker_request = g->m->cost.broker_result = g->ask.busy.main_us[USER_BROKER] / 2;
    fit_switch(g);
    fit_client(g);
    fit_contention(g);
    if ((rc = fit_cold(g, e)))
        return rc;
    if (g->caches)
        fit_caches(g);
    return fit_wakes(g, e);
}

int measured_make(struct measured **out, const struct pipeline *p, const struct dataset *data, int requests,
                  int runs, struct error *e)
{
    struct measuring g = {.pipeline = p, .by_sockets = !p->shared_memory, .woken = p->shared_memory ? 1 : 3};
    int rc;

    *out = NULL;
    g.m = calloc(1, sizeof *g.m);
    rc = g.m ? measure(&g, data, requests, runs, e) : error_set(e, FL_NOMEM, "no memory");
    phases_release(&g.ask);
    graph_free(g.graph);
    if (rc)
        measured_free(g.m);
    else
        *out = g.m;
    return rc;
}
