/* simulate.c - `freezeline simulate`: what a pipeline would do on hosts that need not exist */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/output.h"
#include "deploy/tool/command.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/interrupt.h"
#include "deploy/process/running.h"
#include "simulate_report.h"
#include "simulate_search.h"

static const struct usage usage = {
    .command = "simulate",
    .summary = "Predicts latency, throughput and utilisation of a pipeline at a load, from measurements of "
               "this machine.",
    .notes =
        "First measure, with the pipeline up and the machine idle: --measure writes a JSON file that\n"
        "serves any cut of the model, any number of replicas and any cluster of such machines, and\n"
        "that may be edited. Without --cluster the pipeline stands on one such machine together with\n"
        "its client. The description of a cluster is explained in deploy/simulate/simulate_cluster.h.\n"
        "A pipeline has at most 16 stages, 16 workers of each, and 63 workers with cache services: what\n"
        "needs more takes several pipelines, `cells` of the description.\n\n"
        "examples:\n"
        "  freezeline simulate -c P.yaml --measure --data cifar10:test_batch.bin --measured here.json\n"
        "  freezeline simulate -c P.yaml --measured here.json --rate 100\n"
        "  freezeline simulate -c P.yaml --measured here.json --sweep --plot load.svg\n"
        "  freezeline simulate -c P.yaml --measured here.json --cluster C.yaml --rate 10000 --search "
        "--target-p99-ms 20\n",
};

struct simulate {
    struct pipeline_arguments where;
    const char *measured, *shares, *cluster, *data, *replicas, *plot;
    double rate, target_ms;
    int closed, requests, runs, seed;
    bool measure, no_cache, sweep, search, skip_broken, json;
    struct pipeline *pipeline;
    struct measured *m;
    struct cluster hosts;
    struct search found;
};

static int measure(struct simulate *a, struct error *e)
{
    struct model_shape model;
    struct dataset *data = NULL;
    struct progress progress;
    struct dataset_options o = {.pipeline = a->pipeline,
                                .input = &model.input,
                                .skip_broken = a->skip_broken,
                                .progress = &progress,
                                .notes = stderr};
    int rc = output_check(&a->measured, 1, e);

    interrupt_catch();
    progress_open(&progress, stderr);
    if (!rc && !(rc = model_shape_load(&model, a->pipeline, e))) {
        o.classes = model.classes;
        rc = dataset_open(&data, a->data, &o, e);
    }
    progress_close(&progress);
    if (!rc &&
        !(rc = measured_make(&a->m, a->pipeline, data, a->requests ? a->requests : 1000, a->runs, e)) &&
        !(rc = measured_save(a->m, a->measured, e)))
        printf("measured %s on %s; written to %s\n", a->m->model, a->m->machine, a->measured);
    dataset_close(data);
    return rc;
}

/* "2,1,1" */
static int set_replicas(struct setup_shape *shape, const char *text, struct error *e)
{
    const char *c = text;
    char *end;
    for (int s = 0; c; s++, c = *end == ',' ? end + 1 : NULL) {
        long n = strtol(c, &end, 10);
        if (end == c || (*end && *end != ',') || n < 1 || n > PIPELINE_MAX_REPLICAS ||
            s >= shape->pipeline.n_stages || (!*end && s + 1 != shape->pipeline.n_stages))
            return error_set(e, FL_USAGE, "--replicas takes %d numbers from 1 to %d, such as 2,1: \"%s\"",
                             shape->pipeline.n_stages, PIPELINE_MAX_REPLICAS, text);
        shape->pipeline.stage[s].n_replicas = (int)n;
    }
    return FL_OK;
}

static int load(struct simulate *a, struct error *e)
{
    struct setup_shape *shape = &a->found.shape;
    struct cluster *c = &a->hosts;
    int rc;
    if ((rc = measured_load(&a->m, a->measured, e)) ||
        (a->shares && (rc = measured_take_shares(a->m, a->shares, e))))
        return rc;
    cluster_one_host(c, a->m->cores, a->m->all_busy);
    c->caches = a->pipeline->cache.n_endpoints;
    if ((a->cluster && (rc = cluster_load(c, a->cluster, e))) ||
        (rc = setup_shape_of(shape, a->pipeline, a->m, !a->no_cache, e)))
        return rc;
    for (int i = 0; i < shape->n_unmeasured; i++)
        fprintf(stderr, "freezeline simulate: exit %s was not measured: here it has no cache\n",
                shape->unmeasured[i]);
    if (c->n_replicas && c->n_replicas != shape->pipeline.n_stages)
        return error_set(e, FL_CONFIG, "%s: replicas names %d stages, the pipeline has %d", a->cluster,
                         c->n_replicas, shape->pipeline.n_stages);
    for (int s = 0; s < c->n_replicas; s++)
        shape->pipeline.stage[s].n_replicas = c->replicas[s];
    return set_replicas(shape, a->replicas, e);
}

static int run(struct simulate *a, struct error *e)
{
    struct search *s = &a->found;
    int rc = load(a, e);

    s->measured = a->m;
    s->cluster = &a->hosts;
    s->load = (struct search_load){.rate = a->rate / a->hosts.cells,
                                   .closed = a->closed,
                                   .requests = a->requests ? a->requests : 200000,
                                   .seed = (uint64_t)a->seed};
    if (!rc && a->search)
        rc = search_cheapest(s, a->target_ms, e);
    if (!rc && !(rc = (a->sweep ? search_sweep : search_once)(s, e)))
        rc = simulate_print(s, a->plot, a->json, e);
    search_release(s);
    return rc;
}

static int simulate(struct simulate *a, struct error *e)
{
    int rc;
    if (!a->measured)
        return error_set(e, FL_USAGE,
                         "--measured FILE is missing; `freezeline simulate -c P.yaml --measure --data D "
                         "--measured FILE` writes it while the pipeline is up");
    if (a->measure && !a->data)
        return error_set(e, FL_USAGE, "--measure needs --data: which requests?");
    if (!a->measure && !a->sweep && a->rate <= 0 && a->closed <= 0)
        return error_set(e, FL_USAGE, "what load? --rate R, --closed N or --sweep");
    if (a->rate > 0 && a->closed > 0)
        return error_set(e, FL_USAGE, "--rate and --closed exclude one another");
    if (a->search && (a->rate <= 0 || a->target_ms <= 0))
        return error_set(e, FL_USAGE, "--search needs --rate and --target-p99-ms");
    if (a->target_ms > 0 && !a->search)
        return error_set(e, FL_USAGE, "--target-p99-ms belongs to --search");
    rc = (a->measure ? running_load : arguments_load)(&a->pipeline, &a->where, e);
    return rc ? rc : (a->measure ? measure : run)(a, e);
}

int command_simulate(int argc, char **argv, struct error *e)
{
    struct simulate a = {.seed = 1, .runs = 200, .hosts.cells = 1};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(a.where),
        OPTION_TEXT("measured", a.measured, "FILE", "the measurements"),
        OPTION_FLAG("measure", a.measure, "make them: the pipeline must be up"),
        OPTION_TEXT("data", a.data, "D", "requests to measure with, as `freezeline bench` takes them"),
        ARGUMENTS_SKIP_BAD(a.skip_broken),
        OPTION_INT("runs", a.runs, "N", "runs of the model at each batch size when measuring (200)", 1,
                   MEASURED_MAX_RUNS),
        OPTION_TEXT("shares", a.shares, "FILE",
                    "who is answered where: a report of bench --output or eval --json (as measured)"),
        OPTION_TEXT("cluster", a.cluster, "FILE", "hosts and places (one machine like the measured one)"),
        OPTION_NUMBER("rate", a.rate, "R", "open loop: R requests per second", 1e-3, 1e9),
        OPTION_INT("closed", a.closed, "N", "closed loop: N requests in flight", 1, 65536),
        OPTION_TEXT("replicas", a.replicas, "N,N,..", "workers of each stage, at most 16 (the file's)"),
        OPTION_FLAG("no-cache", a.no_cache, "no look-ups"),
        OPTION_FLAG("sweep", a.sweep, "load after load, up to saturation"),
        OPTION_FLAG("search", a.search, "the fewest workers that hold --target-p99-ms at --rate"),
        OPTION_NUMBER("target-p99-ms", a.target_ms, "MS", "for --search", 1e-3, 1e6),
        OPTION_INT("requests", a.requests, "N",
                   "simulated per load (200000); when measuring: sent per phase (1000)", 10, 100000000),
        OPTION_INT("seed", a.seed, "N", "of all random numbers (1)", 0, 1e9),
        OPTION_TEXT("plot", a.plot, "FILE.svg", "latency by percentile, or by load with --sweep"),
        ARGUMENTS_JSON(a.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc)
        rc = simulate(&a, e);
    measured_free(a.m);
    pipeline_free(a.pipeline);
    return rc;
}
