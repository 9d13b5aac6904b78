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

static int shape_from(struct setup_shape *out, const struct measured *m, const struct graph *g,
                      const struct placement *place, bool caches, struct error *e)
{
    out->pipeline.n_stages = place->n_stages;
    for (int s = 0; s < place->n_stages; s++) {
        const char *name = g->nodes[place->stage[s].last].name;
        out->last[s] = s == place->n_stages - 1 ? m->n_cuts : measured_find_cut(m, name);
        if (out->last[s] < 0)
            return error_set(e, FL_STALE, "the measurements are of another model: they know no cut behind %s",
                             name);
    }
    if (caches && place->n_exits && !m->n_exits)
        return error_set(e, FL_STALE,
                         "the measurements know no caches: build them and measure again, or --no-cache");
    for (int i = 0; i < place->n_exits && caches; i++) {
        const struct placed_exit *x = &place->exit[i];
        int cut = measured_find_cut(m, x->cut.name), exit = m->n_exits - 1;
        if (!placed_has_cache(x))
            continue;
        while (exit >= 0 && strcmp(m->exit[exit].name, x->name) != 0)
            exit--;
        if (cut < 0 || exit < 0) { /* the build put no cache there, or has since: only people can tell */
            memcpy(out->unmeasured[out->n_unmeasured++], x->name, sizeof x->name);
            continue;
        }
        out->exit_cut[out->pipeline.n_exits] = cut;
        out->exit[out->pipeline.n_exits++] = m->exit[exit];
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
    out->pipeline = *p;
    out->pipeline.n_exits = 0;
    if (!place)
        return error_set(e, FL_NOMEM, "no memory");
    caches = caches && p->cache.n_endpoints > 0 && strcmp(p->cache.kind, "none") != 0;
    if (!(rc = placement_load(&g, p, e)) && !(rc = setup_same_model(m, g, e)) &&
        !(rc = placement_resolve(place, g, p, e)))
        rc = shape_from(out, m, g, place, caches, e);
    graph_free(g);
    free(place);
    return rc;
}

/* ---- stages ---- */

static void fill_stage(struct simulation *out, const struct setup_shape *shape, int s)
{
    const struct measured *m = out->measured;
    struct simulation_stage *stage = &out->stage[s];
    int first = s ? shape->last[s - 1] + 1 : 0, last = shape->last[s];
    stage->bytes = s ? precision_wire_bytes(&out->pipeline, m->cut[first - 1].bytes) : m->input_bytes;
    for (int i = 0; i <= shape->pipeline.n_exits; i++) {
        bool exit = i < shape->pipeline.n_exits;
        int end = exit ? shape->exit_cut[i] : last;
        if (end < first || end > last)
            continue;
        stage->segment[stage->n_segments++] = (struct simulation_segment){exit ? i : -1, first, end};
        first = end + 1;
    }
}

/* ---- hosts ---- */

/* For the next worker of a stage. spread: the largest free share of its cores; pack: the first with room. */
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
static void place_workers(struct simulation *s, const struct cluster *c)
{
    int used[WORLD_MAX_HOSTS] = {0};
    used[c->broker]++;
    for (int i = 0; s->pipeline.n_exits && !c->caches && i < c->n_hosts; i++)
        used[i]++;
    for (int k = 0; k < s->pipeline.n_stages; k++) {
        const struct stage_config *stage = &s->pipeline.stage[k];
        for (int i = 0; i < stage->n_replicas; i++) {
            int host = choose_host(c, k, s->host, used, stage->threads);
            s->world.stage_host[k][i] = host;
            used[host] += stage->threads;
        }
    }
}

/* The cache service of a host; `add`: there is to be one. -1: none. */
static int cache_on(struct simulation *s, int host, bool add)
{
    int i = 0, *n = &s->pipeline.cache.n_endpoints;
    while (i < *n && s->world.cache_host[i] != host)
        i++;
    if (i == *n && add && *n < PIPELINE_MAX_CACHES)
        s->world.cache_host[(*n)++] = host;
    return i < *n ? i : -1;
}

/* Each worker asks a cache service of its own host where there is one. */
static void place_caches(struct simulation *s, const struct cluster *c)
{
    struct pipeline *p = &s->pipeline;
    int n = 0;
    p->cache.n_endpoints = 0;
    for (int i = 0; i < c->caches && p->n_exits && i < c->n_hosts; i++)
        cache_on(s, c->n_hosts - 1 - i, true); /* the broker is on the first by default */
    for (int k = 0; k < p->n_stages; k++)
        for (int i = 0; i < p->stage[k].n_replicas && p->n_exits; i++, n++) {
            int own = cache_on(s, s->world.stage_host[k][i], !c->caches);
            p->stage[k].replica[i].cache = own >= 0 ? own : n % p->cache.n_endpoints;
        }
}

/* The client outside is on a host of its own that is never the limit. */
static void fill_hosts(struct simulation *s, const struct cluster *c)
{
    double background = s->measured->cost.background_cores;
    for (int i = 0; i < c->n_hosts; i++) {
        s->host[i] = cluster_kind_of(c, i)->host;
        s->host_failing[i] = cluster_kind_of(c, i)->failing;
    }
    s->host[c->n_hosts] =
        (struct world_host){.cores = 1024, .speed = 1, .all_busy = 1, .latency_ns = c->client_latency_ns};
    if (c->client >= 0) /* a generator of load is there, and what processes do by themselves */
        s->host[c->client].speed *= 1 - fmin(0.5, background / s->host[c->client].cores);
    s->client_is_outside = c->client < 0;
    s->world.n_clients = 1;
    s->world.client_host[0] = c->client < 0 ? c->n_hosts : c->client;
    s->world.n_hosts = c->n_hosts + (c->client < 0);
    s->world.broker_host[0] = c->broker;
}

static int check_size(const struct pipeline *p, struct error *e)
{
    int workers = 0;
    for (int i = 0; i < p->n_stages; i++) {
        int n = p->stage[i].n_replicas;
        workers += n;
        if (n > PIPELINE_MAX_REPLICAS)
            return error_set(
                e, FL_VALUE,
                "stage %d with %d replicas: a pipeline has at most %d of a stage; let `cells` of the "
                "cluster's description stand for many pipelines",
                i, n, PIPELINE_MAX_REPLICAS);
    }
    if (workers + (p->n_exits > 0) > PIPELINE_MAX_WORKERS)
        return error_set(
            e, FL_VALUE,
            "%d stage workers%s: a pipeline has at most %d workers, cache services included; let "
            "`cells` of the cluster's description stand for many pipelines",
            workers, p->n_exits ? " and a cache service" : "", PIPELINE_MAX_WORKERS);
    return FL_OK;
}

int setup_make(struct simulation **out, const struct setup_shape *shape, const struct measured *m,
               const struct cluster *c, struct error *e)
{
    const char *placement = shape->pipeline.cache.placement;
    struct simulation *s;
    int rc = check_size(&shape->pipeline, e);

    if (rc)
        return rc;
    if (!(s = *out = calloc(1, sizeof *s)))
        return error_set(e, FL_NOMEM, "no memory for %d hosts", c->n_hosts);
    s->pipeline = shape->pipeline;
    s->pipeline.updates.sample = s->pipeline.updates.audit = 0; /* shares are those in the end */
    s->world.near = !placement || strcmp(placement, "service");
    s->pipeline.cache.placement = s->world.near ? "near" : "service";
    s->measured = m;
    s->failing = c->failing;
    memcpy(s->exit, shape->exit, sizeof s->exit);
    for (int i = 0; i < s->pipeline.n_stages; i++)
        fill_stage(s, shape, i);
    fill_hosts(s, c);
    place_workers(s, c);
    place_caches(s, c);
    return FL_OK;
}
