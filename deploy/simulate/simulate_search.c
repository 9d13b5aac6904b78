/* simulate_search.c - many simulations: loads up to saturation, the fewest replicas for a target */
#include "simulate_search.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "deploy/tool/interrupt.h"

#define SWEEP_LOADS   14
#define SWEEP_LOWEST  0.05 /* of the saturation throughput */
#define SWEEP_HIGHEST 1.1
#define WARM_UP_SHARE 10 /* one in so many requests is not counted */
#define MOST_TRIES    400
#define SEARCH_DROPS  0.001 /* requests that may go without an answer */

/* That processes are given. */
static int cores_of(const struct pipeline *p)
{
    int n = 1 + p->cache.n_endpoints; /* with the broker's */
    for (int i = 0; i < p->n_stages; i++)
        n += p->stage[i].n_replicas * p->stage[i].threads;
    return n;
}

/* One simulation of the shape at a load; *out is owned by the caller. */
static int try_load(struct search *s, double rate, int closed, struct simulation_result **out,
                    struct error *e)
{
    struct simulation *one;
    clock_t start = clock();
    int rc = setup_make(&one, &s->shape, s->measured, s->cluster, e);

    if (rc)
        return rc;
    one->rate = rate;
    one->closed = closed;
    one->requests = s->load.requests;
    one->warm_up = s->load.requests / WARM_UP_SHARE;
    one->world.seed = s->load.seed;
    s->cores = cores_of(&one->pipeline);
    rc = simulation_run(out, one, e);
    free(one);
    if (!rc) {
        s->tried++;
        s->events += (*out)->events;
        s->cpu_s += (double)(clock() - start) / CLOCKS_PER_SEC;
    }
    return rc;
}

static int add_load(struct search *s, double rate, int closed, struct error *e)
{
    int rc = try_load(s, rate, closed, &s->result[s->n_results], e);
    s->offered[s->n_results] = rate;
    s->n_results += !rc;
    return rc;
}

int search_once(struct search *s, struct error *e)
{
    return add_load(s, s->load.rate, s->load.closed, e);
}

/* As many in flight as keep every worker's batches full, and no more than are admitted: they would wait. */
static int full_house(const struct search *s)
{
    int n = 0, most = s->shape.pipeline.broker.max_requests;
    for (int i = 0; i < s->shape.pipeline.n_stages && n < most; i++)
        n += 4 * s->shape.pipeline.stage[i].n_replicas * s->shape.pipeline.stage[i].max_batch;
    return n < most ? n : most;
}

int search_sweep(struct search *s, struct error *e)
{
    struct simulation_result *full;
    int rc = try_load(s, 0, full_house(s), &full, e);
    if (rc)
        return rc;
    s->saturation = full->throughput;
    free(full);
    for (int i = 0; i < SWEEP_LOADS && !rc; i++) {
        double share = SWEEP_LOWEST + (SWEEP_HIGHEST - SWEEP_LOWEST) * i / (SWEEP_LOADS - 1);
        rc = add_load(s, share * s->saturation, 0, e);
    }
    return rc;
}

void search_release(struct search *s)
{
    for (int i = 0; i < s->n_results; i++)
        free(s->result[i]);
    s->n_results = 0;
}

/* ---- the fewest replicas ---- */

int search_p99(struct search *s, double *ms, struct error *e)
{
    struct simulation_result *r;
    int rc = try_load(s, s->load.rate, 0, &r, e);
    if (rc)
        return rc;
    *ms = (double)histogram_quantile(&r->latency, 0.99) / NS_PER_MS;
    if ((double)(r->arrived - r->answered) > SEARCH_DROPS * (double)r->arrived)
        *ms = 1e6 * (2 - (double)r->answered / (double)r->arrived); /* the fewer drops the better */
    free(r);
    if (interrupt_seen())
        return error_set(e, FL_CANCELLED, "interrupted");
    return FL_OK;
}

/* Enough that each stage computes, at full batches and without what exits answer, less than all the time. */
static int least_replicas(struct search *s, struct error *e)
{
    struct simulation *one = NULL;
    const struct measured *m = s->measured;
    double left = 1;
    int rc = setup_make(&one, &s->shape, m, s->cluster, e);

    for (int k = 0; k < s->shape.pipeline.n_stages && !rc; k++) {
        const struct simulation_stage *stage = &one->stage[k];
        int batch = s->shape.pipeline.stage[k].max_batch, *n = &s->shape.pipeline.stage[k].n_replicas;
        double us = 0;
        for (int g = 0; g < stage->n_segments; g++) {
            us += left * measured_mean_us(m, batch, stage->segment[g].first, stage->segment[g].last) / batch;
            if (stage->segment[g].exit >= 0)
                left -= one->exit[stage->segment[g].exit].share;
        }
        *n = 1 + (int)(s->load.rate * us / 1e6);
        if (*n > PIPELINE_MAX_REPLICAS)
            rc = error_set(
                e, FL_VALUE,
                "stage %d needs %d replicas for computing alone, and a pipeline has at most %d of a stage: "
                "split the load over more `cells`",
                k, *n, PIPELINE_MAX_REPLICAS);
    }
    free(one);
    return rc;
}

/* A twentieth more replicas, at least one, for the stage where that helps most. */
static int add_best(struct search *s, double *p99, struct error *e)
{
    int which = 0, rc = FL_OK;
    *p99 = INFINITY;
    for (int k = 0; k < s->shape.pipeline.n_stages && !rc; k++) {
        int *n = &s->shape.pipeline.stage[k].n_replicas, was = *n;
        double ms = INFINITY;
        *n += 1 + was / 20;
        rc = *n > PIPELINE_MAX_REPLICAS ? FL_OK : search_p99(s, &ms, e);
        *n = was;
        if (ms < *p99) {
            *p99 = ms;
            which = k;
        }
    }
    s->shape.pipeline.stage[which].n_replicas += 1 + s->shape.pipeline.stage[which].n_replicas / 20;
    return rc;
}

static int take_away(struct search *s, double target_ms, struct error *e)
{
    for (int k = s->shape.pipeline.n_stages - 1; k >= 0; k--) {
        int *n = &s->shape.pipeline.stage[k].n_replicas, rc;
        double ms = 0;
        while (ms <= target_ms && *n > 1 && s->tried < MOST_TRIES) {
            --*n;
            if ((rc = search_p99(s, &ms, e)))
                return rc;
        }
        *n += ms > target_ms;
    }
    return FL_OK;
}

int search_cheapest(struct search *s, double target_ms, struct error *e)
{
    double p99, before = INFINITY;
    int useless = 0, rc = least_replicas(s, e);

    if (rc || (rc = search_p99(s, &p99, e)))
        return rc;
    while (p99 > target_ms && useless < 4 && s->tried < MOST_TRIES) {
        if ((rc = add_best(s, &p99, e)))
            return rc;
        useless = p99 < before * 0.995 ? 0 : useless + 1;
        before = fmin(before, p99);
    }
    s->target_ms = target_ms;
    if (p99 <= target_ms)
        return take_away(s, target_ms, e);
    return error_set(
        e, FL_VALUE,
        p99 >= 1e6 ? "more replicas do not help: requests are dropped (look at the utilisation of the broker "
                     "and of the links with --rate alone)"
                   : "more replicas do not help: p99 stays at %.3f ms, more than %.3f ms",
        p99, target_ms);
}
