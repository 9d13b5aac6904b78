/* simulate_setup.c - stages from pieces, processes onto hosts */
#include "simulate_setup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "config/precision.h"

/* ---- the shape ---- */

int setup_same_model(const struct measured *m, const struct graph *g, struct error *e)
{
    char digest[DIGEST_TEXT_BYTES];
    if (!strcmp(m->digest, digest_text(g->digest, digest)))
        return FL_OK;
    return error_set(e, FL_STALE,
                     "the measurements are of another model (%s) than %s: measure this one, with --measure",
                     m->model, g->path);
}

struct stage_config setup_stage(const struct stage_config *like, int replicas)
{
    return (struct stage_config){.threads = like->threads,
                                 .max_batch = like->max_batch,
                                 .fixed_batch = like->fixed_batch,
                                 .n_replicas = replicas};
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
        out->stage[s] = setup_stage(&p->stage[s], p->stage[s].n_replicas);
    }
    if (caches && place->n_exits && !m->n_exits)
        return error_set(e, FL_STALE,
                         "the measurements know no caches: build them and measure again, or --no-cache");
    for (int i = 0; i < place->n_exits && caches; i++) {
        const struct placed_exit *x = &place->exit[i];
        int cut = measured_find_cut(m, x->cut.name), exit = measured_find_exit(m, x->name);
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
    if (!(rc = placement_load(&g, p, e)) && !(rc = setup_same_model(m, g, e)) &&
        !(rc = placement_resolve(place, g, p, e)))
        rc = shape_from(out, p, m, g, place, caches, e);
    graph_free(g);
    free(place);
    return rc;
}

/* ---- stages ---- */

static void add_segment(struct simulation_stage *stage, int exit, int first, int last)
{
    int i = stage->n_segments++;
    stage->segment[i].exit = exit;
    stage->segment[i].first = first;
    stage->segment[i].last = last;
}

static void fill_stage(struct setup *out, const struct setup_shape *shape, const struct measured *m, int s)
{
    struct simulation_stage *stage = &out->simulation.stage[s];
    int first = s ? shape->last[s - 1] + 1 : 0, last = shape->last[s];
    stage->bytes =
        s ? precision_wire_bytes(&out->pipeline, m->cut[shape->last[s - 1]].bytes) : m->input_bytes;
    for (int i = 0; i < shape->n_exits; i++)
        if (shape->exit_cut[i] >= first && shape->exit_cut[i] <= last) {
            add_segment(stage, i, first, shape->exit_cut[i]);
            first = shape->exit_cut[i] + 1;
        }
    if (first <= last)
        add_segment(stage, -1, first, last);
}

/* ---- hosts ---- */

/* Where the next worker of a stage goes. spread: the host with the largest free share of its cores; pack: the
 * first with room, the freest when none has. */
static int choose_host(const struct cluster *c, int stage, const struct world_host *host, const int *used,
                       int threads)
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
static void place_workers(struct setup *out, const struct setup_shape *shape, const struct cluster *c)
{
    int used[WORLD_MAX_HOSTS] = {0};
    used[c->broker]++;
    for (int i = 0; shape->n_exits && !c->caches && i < c->n_hosts; i++)
        used[i]++;
    for (int s = 0; s < shape->n_stages; s++) {
        const struct stage_config *stage = &shape->stage[s];
        out->pipeline.stage[s] = *stage;
        for (int i = 0; i < stage->n_replicas; i++) {
            int host = choose_host(c, s, out->host, used, stage->threads);
            out->simulation.world.stage_host[s][i] = host;
            used[host] += stage->threads;
        }
        out->cores += stage->n_replicas * stage->threads;
    }
}

static int cache_on(const struct setup *s, int host)
{
    for (int i = 0; i < s->pipeline.cache.n_endpoints; i++)
        if (s->simulation.world.cache_host[i] == host)
            return i;
    return -1;
}

static void add_cache(struct setup *s, int host)
{
    if (s->pipeline.cache.n_endpoints < PIPELINE_MAX_CACHES && cache_on(s, host) < 0)
        s->simulation.world.cache_host[s->pipeline.cache.n_endpoints++] = host;
}

/* Each worker asks a cache service of its own host where there is one. */
static void place_caches(struct setup *s, const struct cluster *c)
{
    struct pipeline *p = &s->pipeline;
    int n = 0;
    p->cache.n_endpoints = 0;
    for (int i = 0; i < c->caches && p->n_exits && i < c->n_hosts; i++)
        add_cache(s, c->n_hosts - 1 - i); /* the broker is on the first by default */
    for (int k = 0; k < p->n_stages; k++)
        for (int i = 0; i < p->stage[k].n_replicas && p->n_exits && !c->caches; i++)
            add_cache(s, s->simulation.world.stage_host[k][i]);
    for (int k = 0; k < p->n_stages; k++)
        for (int i = 0; i < p->stage[k].n_replicas && p->n_exits; i++, n++) {
            int own = cache_on(s, s->simulation.world.stage_host[k][i]);
            p->stage[k].replica[i].cache = own >= 0 ? own : n % p->cache.n_endpoints;
        }
}

/* The client outside is on a host of its own that is never the limit. */
static void fill_hosts(struct setup *out, const struct measured *m, const struct cluster *c)
{
    struct simulation *s = &out->simulation;
    for (int k = 0; k < c->n_kinds; k++)
        for (int i = 0; i < c->kind[k].count; i++) {
            out->host[c->kind[k].first + i] = c->kind[k].host;
            out->failing[c->kind[k].first + i] = c->kind[k].failing;
        }
    out->host[c->n_hosts] =
        (struct world_host){.cores = 1024, .speed = 1, .all_busy = 1, .latency_ns = c->client_latency_ns};
    if (c->client >= 0) /* a generator of load is there, and what processes do by themselves */
        out->host[c->client].speed *= 1 - fmin(0.5, m->cost.background_cores / out->host[c->client].cores);
    s->world.host = out->host;
    s->host_failing = out->failing;
    s->world.n_hosts = c->n_hosts + (c->client < 0);
    s->world.broker_host[0] = c->broker;
    s->client_host = c->client < 0 ? c->n_hosts : c->client;
}

static int check_size(const struct setup_shape *shape, struct error *e)
{
    int workers = 0;
    for (int i = 0; i < shape->n_stages; i++) {
        int n = shape->stage[i].n_replicas;
        workers += n;
        if (n > PIPELINE_MAX_REPLICAS)
            return error_set(
                e, FL_VALUE,
                "stage %d with %d replicas: a pipeline has at most %d of a stage; let `cells` of the "
                "cluster's description stand for many pipelines",
                i, n, PIPELINE_MAX_REPLICAS);
    }
    if (workers + (shape->n_exits > 0) > PIPELINE_MAX_WORKERS)
        return error_set(
            e, FL_VALUE,
            "%d stage workers%s: a pipeline has at most %d workers, cache services included; let "
            "`cells` of the cluster's description stand for many pipelines",
            workers, shape->n_exits ? " and a cache service" : "", PIPELINE_MAX_WORKERS);
    return FL_OK;
}

int setup_make(struct setup **out, const struct setup_shape *shape, const struct measured *m,
               const struct cluster *c, const struct pipeline *p, struct error *e)
{
    struct setup *made;
    struct simulation *s;
    int rc = check_size(shape, e);

    if (rc)
        return rc;
    if (!(made = calloc(1, sizeof *made)))
        return error_set(e, FL_NOMEM, "no memory for %d hosts", c->n_hosts);
    s = &made->simulation;
    made->pipeline = *p;
    made->pipeline.n_stages = shape->n_stages;
    made->pipeline.n_exits = shape->n_exits;
    made->pipeline.updates.sample = made->pipeline.updates.audit = 0; /* shares are those in the end */
    s->world.near = !p->cache.placement || strcmp(p->cache.placement, "service");
    made->pipeline.cache.placement = s->world.near ? "near" : "service";
    s->world.pipeline = &made->pipeline;
    s->measured = m;
    s->client_is_outside = c->client < 0;
    s->failing = c->failing;
    memcpy(s->exit, shape->exit, sizeof s->exit);
    for (int i = 0; i < shape->n_stages; i++)
        fill_stage(made, shape, m, i);
    fill_hosts(made, m, c);
    place_workers(made, shape, c);
    place_caches(made, c);
    made->cores += 1 + made->pipeline.cache.n_endpoints;
    *out = made;
    return FL_OK;
}
