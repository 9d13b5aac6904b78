/* simulate_setup.c - stages from pieces, processes onto hosts */
#include "simulate_setup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "simulate_model.h"

#define HEADER_BYTES 200 /* of an envelope */

/* ---- the shape ---- */

static int find_exit(const struct measured *m, const char *name)
{
    for (int i = 0; i < m->n_exits; i++)
        if (!strcmp(m->exit[i].name, name))
            return i;
    return -1;
}

static int shape_from(struct setup_shape *out, const struct pipeline *p, const struct measured *m,
                      const struct graph *g, const struct placement *place, bool caches, struct error *e)
{
    out->n_stages = place->n_stages;
    for (int s = 0; s < place->n_stages; s++) {
        const char *name = g->nodes[place->stage[s].last].name;
        out->last[s] = s == place->n_stages - 1 ? m->n_cuts : measured_find_cut(m, name);
        if (out->last[s] < 0)
            return error_set(e, FL_STALE, "the measurements are of another model: they know no cut behind %s",
                             name);
        out->max_batch[s] = p->stage[s].max_batch;
        out->threads[s] = p->stage[s].threads;
        out->replicas[s] = p->stage[s].n_replicas;
    }
    if (caches && place->n_exits && !m->n_exits)
        return error_set(e, FL_STALE,
                         "the measurements know no caches: build them and measure again, or --no-cache");
    for (int i = 0; i < place->n_exits && caches; i++) {
        const struct placed_exit *x = &place->exit[i];
        int cut = measured_find_cut(m, x->cut.name), exit = find_exit(m, x->name);
        if (!placed_has_cache(x))
            continue;
        if (cut < 0 || exit < 0) { /* the build put no cache there, or has since: only people can tell */
            memcpy(out->unmeasured[out->n_unmeasured++], x->name, sizeof x->name);
            continue;
        }
        out->exit_cut[out->n_exits] = cut;
        out->exit[out->n_exits++] = exit;
    }
    return FL_OK;
}

int setup_shape_of(struct setup_shape *out, const struct pipeline *p, const struct measured *m, bool caches,
                   struct error *e)
{
    struct placement *place = calloc(1, sizeof *place);
    struct graph *g = NULL;
    int rc;

    memset(out, 0, sizeof *out);
    if (!place)
        return error_set(e, FL_NOMEM, "no memory");
    caches = caches && p->cache.n_endpoints > 0 && strcmp(p->cache.kind, "none") != 0;
    if (!(rc = placement_load(&g, p, e)) && !(rc = simulate_same_model(m, g, &out->sure_of_model, e)) &&
        !(rc = placement_resolve(place, g, p, e)))
        rc = shape_from(out, p, m, g, place, caches, e);
    graph_free(g);
    free(place);
    return rc;
}

/* ---- times ---- */

/* The time of pieces first..last in run i of a batch size, ns. */
static double pieces_ns(const struct measured *m, const struct measured_batch *b, int run, int first,
                        int last)
{
    const double *row = b->us + (size_t)(run % b->n_runs) * (size_t)(m->n_cuts + 1);
    double us = 0;
    for (int i = first; i <= last; i++)
        us += row[i];
    return us * 1e3;
}

/* At a batch size that was not measured: between the two nearest, or as the largest one per request. */
static double run_ns(const struct measured *m, int rows, int run, int first, int last)
{
    const struct measured_batch *low = &m->batch[0], *high;
    double from, to;
    for (int i = 1; i < m->n_batches && m->batch[i].batch <= rows; i++)
        low = &m->batch[i];
    from = pieces_ns(m, low, run, first, last);
    if (low->batch == rows)
        return from;
    if (low == &m->batch[m->n_batches - 1])
        return from * rows / low->batch;
    high = low + 1;
    to = pieces_ns(m, high, run, first, last);
    return from + (to - from) * (rows - low->batch) / (high->batch - low->batch);
}

static int most_runs(const struct measured *m)
{
    int n = 1;
    for (int i = 0; i < m->n_batches; i++)
        n = m->batch[i].n_runs > n ? m->batch[i].n_runs : n;
    return n;
}

struct filling {
    struct setup *to;
    const struct setup_shape *shape;
    const struct measured *m;
    int runs, n_times;
};

static void fill_segment(struct filling *f, struct simulation_segment *g, int max_batch, int exit, int first,
                         int last)
{
    struct simulation_times *t = f->to->times + f->n_times;
    g->exit = exit;
    g->compute = t;
    for (int rows = 1; rows <= max_batch; rows++) {
        double *ns = f->to->ns + (size_t)(f->n_times + rows) * (size_t)f->runs;
        for (int i = 0; i < f->runs; i++)
            ns[i] = run_ns(f->m, rows, i, first, last);
        t[rows] = (struct simulation_times){f->runs, ns};
    }
    f->n_times += max_batch + 1;
}

static void fill_stage(struct filling *f, int s)
{
    const struct setup_shape *shape = f->shape;
    struct simulation_stage *stage = &f->to->simulation.stage[s];
    int first = s ? shape->last[s - 1] + 1 : 0, last = shape->last[s];

    stage->max_batch =
        shape->max_batch[s] < SIMULATION_MAX_BATCH ? shape->max_batch[s] : SIMULATION_MAX_BATCH;
    stage->threads = shape->threads[s];
    stage->n_replicas = shape->replicas[s];
    stage->bytes = s ? f->m->cut[shape->last[s - 1]].bytes : f->m->input_bytes;
    for (int i = 0; i < shape->n_exits; i++)
        if (shape->exit_cut[i] >= first && shape->exit_cut[i] <= last) {
            fill_segment(f, &stage->segment[stage->n_segments++], stage->max_batch, i, first,
                         shape->exit_cut[i]);
            first = shape->exit_cut[i] + 1;
        }
    if (first <= last)
        fill_segment(f, &stage->segment[stage->n_segments++], stage->max_batch, -1, first, last);
}

static int fill_times(struct setup *out, const struct setup_shape *shape, const struct measured *m,
                      struct error *e)
{
    struct filling f = {out, shape, m, most_runs(m), 0};
    int most = 0;
    for (int s = 0; s < shape->n_stages; s++)
        most += shape->max_batch[s] + 1;
    most += shape->n_exits * (SIMULATION_MAX_BATCH + 1);
    out->times = calloc((size_t)most, sizeof *out->times);
    out->ns = calloc((size_t)most * (size_t)f.runs, sizeof *out->ns);
    if (!out->times || !out->ns)
        return error_set(e, FL_NOMEM, "no memory for times");
    for (int s = 0; s < shape->n_stages; s++)
        fill_stage(&f, s);
    return FL_OK;
}

static void fill_costs(struct setup *out, const struct measured *m, const struct cluster *c,
                       const struct pipeline *p)
{
    const struct measured_costs *from = &m->cost;
    for (int i = 0; i < m->n_wakes; i++)
        out->wake_ns[i] = m->wake_us[i] * 1e3;
    out->simulation.costs =
        (struct simulation_costs){.client_send_ns = c->client < 0 ? 0 : from->client_send * 1e3,
                                  .client_receive_ns = c->client < 0 ? 0 : from->client_receive * 1e3,
                                  .client_watch_ns = c->client < 0 ? 0 : from->client_watch * 1e3,
                                  .broker_request_ns = from->broker_request * 1e3,
                                  .broker_result_ns = from->broker_result * 1e3,
                                  .stage_receive_ns = from->stage_receive * 1e3,
                                  .stage_send_ns = from->stage_send * 1e3,
                                  .stage_byte_ns = from->stage_kilobyte,
                                  .stage_lookup_ns = from->stage_lookup * 1e3,
                                  .stage_verdict_ns = from->stage_verdict * 1e3,
                                  .cold_share = from->stage_cold_share,
                                  .crowd_share = from->stage_crowd_share,
                                  .cache_ns = from->cache * 1e3,
                                  .io_ns = from->io * 1e3,
                                  .io_byte_ns = from->io_kilobyte,
                                  .switch_ns = from->thread_switch * 1e3,
                                  .wake = {m->n_wakes, out->wake_ns},
                                  .mtbf_ns = c->mtbf_ns,
                                  .restart_ns = c->restart_ns,
                                  .detect_ns = p->broker.dead_after_ms * 1e6};
}

static void fill_exits(struct setup *out, const struct setup_shape *shape, const struct measured *m)
{
    out->simulation.n_exits = shape->n_exits;
    for (int i = 0; i < shape->n_exits; i++) {
        const struct measured_exit *x = &m->exit[shape->exit[i]];
        out->simulation.exit[i] = (struct simulation_exit){.share = x->share,
                                                           .bytes = x->bytes,
                                                           .descriptor_ns = x->descriptor_us * 1e3,
                                                           .lookup_ns = x->lookup_us * 1e3,
                                                           .lookup_row_ns = x->lookup_row_us * 1e3};
    }
}

/* ---- hosts ---- */

/* Where the next worker of a stage goes. spread: the host with the largest free share of its cores; pack: the
 * first with room, the freest when none has. */
static int choose_host(const struct cluster *c, int stage, const struct simulation_host *host,
                       const int *used, int threads)
{
    int best = -1, n = c->n_stage_hosts[stage] ? c->n_stage_hosts[stage] : c->n_hosts;
    double most = -INFINITY;
    for (int k = 0; k < n; k++) {
        int i = c->n_stage_hosts[stage] ? c->stage_host[stage][k] : k;
        double free_share = (double)(host[i].cores - used[i]) / host[i].cores;
        if (c->pack && host[i].cores - used[i] >= threads)
            return i;
        if (free_share > most) {
            most = free_share;
            best = i;
        }
    }
    return best;
}

/* One core each for the broker and for every cache service; `threads` for every worker. */
static int place_workers(struct setup *out, const struct setup_shape *shape, const struct cluster *c,
                         struct error *e)
{
    int n = 0, *used = calloc((size_t)c->n_hosts, sizeof *used);
    for (int s = 0; s < shape->n_stages; s++)
        n += shape->replicas[s];
    out->place = calloc((size_t)n, sizeof *out->place);
    if (!used || !out->place) {
        free(used);
        return error_set(e, FL_NOMEM, "no memory for %d workers", n);
    }
    used[c->broker]++;
    for (int i = 0; shape->n_exits && !c->caches && i < c->n_hosts; i++)
        used[i]++;
    n = 0;
    for (int s = 0; s < shape->n_stages; s++) {
        out->simulation.stage[s].place = out->place + n;
        for (int i = 0; i < shape->replicas[s]; i++, n++) {
            int host = choose_host(c, s, out->host, used, shape->threads[s]);
            out->place[n] = (struct simulation_place){host, -1};
            used[host] += shape->threads[s];
        }
    }
    free(used);
    return FL_OK;
}

/* Each worker asks a cache service of its own host where there is one. */
static int place_caches(struct setup *out, const struct setup_shape *shape, const struct cluster *c,
                        int n_workers, struct error *e)
{
    struct simulation *s = &out->simulation;
    int *of_host = malloc(sizeof *of_host * (size_t)c->n_hosts);
    out->cache_host = malloc(sizeof *out->cache_host * (size_t)c->n_hosts);
    if (!of_host || !out->cache_host) {
        free(of_host);
        return error_set(e, FL_NOMEM, "no memory");
    }
    for (int i = 0; i < c->n_hosts; i++)
        of_host[i] = -1;
    for (int i = 0; i < n_workers && shape->n_exits && !c->caches; i++) {
        int host = out->place[i].host;
        if (of_host[host] < 0) {
            out->cache_host[s->n_caches] = host;
            of_host[host] = s->n_caches++;
        }
    }
    for (int i = 0; i < c->caches && shape->n_exits && i < c->n_hosts; i++) {
        int host = c->n_hosts - 1 - i; /* the broker is on the first by default */
        out->cache_host[s->n_caches] = host;
        of_host[host] = s->n_caches++;
    }
    for (int i = 0; i < n_workers && s->n_caches; i++) {
        int own = of_host[out->place[i].host];
        out->place[i].cache = own >= 0 ? own : i % s->n_caches;
    }
    s->cache_host = out->cache_host;
    free(of_host);
    return FL_OK;
}

/* The client outside is on a host of its own that is never the limit. */
static int fill_hosts(struct setup *out, const struct measured *m, const struct cluster *c, struct error *e)
{
    struct simulation *s = &out->simulation;
    out->host = calloc((size_t)c->n_hosts + 1, sizeof *out->host);
    if (!out->host)
        return error_set(e, FL_NOMEM, "no memory for %d hosts", c->n_hosts);
    for (int k = 0; k < c->n_kinds; k++)
        for (int i = 0; i < c->kind[k].count; i++)
            out->host[c->kind[k].first + i] = c->kind[k].host;
    out->host[c->n_hosts] = (struct simulation_host){
        .cores = 1024, .speed = 1, .all_busy = 1, .latency_ns = c->client_latency_ns};
    if (c->client >= 0) /* a generator of load is there, and what processes do by themselves */
        out->host[c->client].speed *= 1 - fmin(0.5, m->cost.background_cores / out->host[c->client].cores);
    s->host = out->host;
    s->n_hosts = c->n_hosts + (c->client < 0);
    s->broker_host = c->broker;
    s->client_host = c->client < 0 ? c->n_hosts : c->client;
    return FL_OK;
}

int setup_make(struct setup *out, const struct setup_shape *shape, const struct measured *m,
               const struct cluster *c, const struct pipeline *p, struct error *e)
{
    struct simulation *s = &out->simulation;
    int rc, workers = 0;

    memset(out, 0, sizeof *out);
    s->n_stages = shape->n_stages;
    s->answer_bytes = m->answer_bytes;
    s->header_bytes = HEADER_BYTES;
    s->max_requests = p->broker.max_requests;
    s->batches = 2;
    s->target_ns = p->broker.latency_target_ms * 1e6;
    s->retries = p->broker.retries;
    s->deadline_ns = p->broker.deadline_ms * 1e6;
    s->wait_ns = p->cache.wait_us * 1e3;
    fill_exits(out, shape, m);
    fill_costs(out, m, c, p);
    out->cores = 1;
    for (int i = 0; i < shape->n_stages; i++) {
        workers += shape->replicas[i];
        out->cores += shape->replicas[i] * shape->threads[i];
    }
    if ((rc = fill_times(out, shape, m, e)) || (rc = fill_hosts(out, m, c, e)) ||
        (rc = place_workers(out, shape, c, e)) || (rc = place_caches(out, shape, c, workers, e)))
        setup_release(out);
    else
        out->cores += s->n_caches;
    return rc;
}

void setup_release(struct setup *s)
{
    free(s->host);
    free(s->place);
    free(s->times);
    free(s->ns);
    free(s->cache_host);
    s->host = NULL;
    s->place = NULL;
    s->times = NULL;
    s->ns = NULL;
    s->cache_host = NULL;
}
