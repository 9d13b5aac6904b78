/* evaluate.c - `freezeline eval`: the report on what the caches do */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "cache_service/promise/gap_bound.h"
#include "deploy/tool/command.h"
#include "evaluation.h"
#include "frontier.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/progress.h"
#include "deploy/tool/report.h"
#include "stages/exec/exec.h"
#include "deploy/tool/table.h"

static const struct usage usage = {
    .command = "eval",
    .summary =
        "Answers a data set with and without the caches, in this process, and reports accuracy and latency.",
    .notes = "Requests run one by one. 'full' is the network alone; 'served' is the first hit, or the\n"
             "network, and its time counts descriptors and look-ups one after the other. 'oracle' counts\n"
             "look-ups whose label is the full answer's, hit or not. The gap's upper bound is one-sided,\n"
             "95%, and exact. Before caches are built, and with --set cache.kind=none, the network alone\n"
             "is asked. --frontier adds what each kind of cache that was built could trade, accuracy\n"
             "against latency and against answers by half of the depth: build with --kinds all first to\n"
             "compare kinds.\n\n" DATASET_LAYOUTS "\n"
             "examples:\n"
             "  freezeline eval -c P.yaml --data cifar10:test_batch.bin --limit 1000\n"
             "  freezeline eval -c P.yaml --data cifar10:test_batch.bin --frontier frontier.svg\n",
};

struct eval {
    struct pipeline_arguments where;
    const char *data_spec, *frontier_path;
    int limit, threads;
    bool json, skip_broken;
    struct pipeline *pipeline;
    struct graph *graph;
    struct placement place;
    struct dataset *data;
    struct progress progress;
    struct evaluation result;
    struct frontier frontier;
};

static int on_progress(void *arg, int64_t done, int64_t total)
{
    struct eval *v = arg;
    progress_update(&v->progress, "answer", done, total, NAN);
    return interrupt_seen();
}

static int on_phase(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    struct eval *v = arg;
    progress_update(&v->progress, phase, done, total, number);
    return interrupt_seen();
}

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

static json_t *exit_json(const struct eval *v, int i)
{
    const struct evaluated_exit *x = &v->result.exit[i];
    const struct placed_exit *at = &v->place.exit[i];
    int64_t n = v->result.requests;
    json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "name", at->name, "after",
                          at->cut.name, "kind", x->cached ? x->info.kind : "none", "depth", at->cut.depth,
                          "flops_share", report_rounded(at->cut.flops_share, 6), "share",
                          report_rounded(share(x->answered, n), 6), "hit_share",
                          report_rounded(share(x->hits, x->lookups), 6), "accuracy",
                          report_rounded(v->result.labelled ? share(x->right, x->answered) : NAN, 6),
                          "agreement", report_rounded(share(x->agreed, x->answered), 6), "oracle_share",
                          report_rounded(share(x->oracle, x->lookups), 6));

    if (!o || !x->cached)
        return o;
    json_object_set_new(o, "lookup_us",
                        report_rounded((x->lookup_ns + x->descriptor_ns) / (double)n / 1e3, 3));
    json_object_set_new(o, "descriptor_us", report_rounded(x->descriptor_ns / (double)n / 1e3, 3));
    json_object_set_new(o, "entries", json_integer(x->info.entries));
    json_object_set_new(o, "projection_bytes", json_integer((json_int_t)x->info.projection_bytes));
    json_object_set_new(o, "index_bytes", json_integer((json_int_t)x->info.index_bytes));
    json_object_set_new(o, "threshold", report_rounded(x->info.threshold, 7));
    return o;
}

static json_t *summary_json(const struct summary *s)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o}", "mean", report_rounded(s->mean, 6), "p50",
                     report_rounded(s->p50, 6), "p99", report_rounded(s->p99, 6), "min",
                     report_rounded(s->min, 6), "max", report_rounded(s->max, 6));
}

static double gap_upper(const struct evaluation *r)
{
    struct gap_counts counts = {r->requests, r->lost, r->won, true};
    return gap_upper_bound(&counts, 0.05);
}

static void accuracy_json(json_t *root, const struct evaluation *r)
{
    double n = (double)r->requests;
    bool known = r->labelled;

    json_object_set_new(root, "full_accuracy", report_rounded(known ? (double)r->full_right / n : NAN, 6));
    json_object_set_new(root, "served_accuracy",
                        report_rounded(known ? (double)r->served_right / n : NAN, 6));
    json_object_set_new(root, "accuracy_gap",
                        report_rounded(known ? (double)(r->lost - r->won) / n : NAN, 6));
    json_object_set_new(root, "accuracy_gap_upper", report_rounded(known ? gap_upper(r) : NAN, 6));
    json_object_set_new(root, "agreement", report_rounded((double)r->agreed / n, 6));
    json_object_set_new(root, "network_accuracy", report_rounded(known ? (double)r->last_right / n : NAN, 6));
    json_object_set_new(root, "network_agreement", report_rounded((double)r->last_agreed / n, 6));
}

static int print_json(const struct eval *v, struct error *e)
{
    const struct evaluation *r = &v->result;
    double n = (double)r->requests;
    json_t *root = json_object(), *exits = json_array();

    for (int i = 0; i < v->place.n_exits; i++)
        json_array_append_new(exits, exit_json(v, i));
    json_object_set_new(root, "requests", json_integer(r->requests));
    json_object_set_new(root, "precision", json_string(v->pipeline->computes));
    json_object_set_new(root, "wire_dtype", json_string(v->pipeline->wire_dtype));
    accuracy_json(root, r);
    json_object_set_new(root, "alone", r->alone ? json_string(r->alone) : json_null());
    json_object_set_new(root, "early_share", report_rounded((double)r->early / n, 6));
    json_object_set_new(root, "by_half_share", report_rounded((double)r->by_half / n, 6));
    json_object_set_new(root, "oracle_share", report_rounded((double)r->oracle / n, 6));
    json_object_set_new(root, "oracle_by_half_share", report_rounded((double)r->oracle_by_half / n, 6));
    json_object_set_new(root, "depth", json_integer(v->place.depth));
    json_object_set_new(root, "mean_depth", report_rounded(r->depth / n, 4));
    json_object_set_new(root, "mean_flops_share", report_rounded(r->flops_share / n, 6));
    json_object_set_new(root, "exits", exits);
    json_object_set_new(
        root, "latency_ms",
        json_pack("{s:o, s:o}", "full", summary_json(&r->full_ms), "served", summary_json(&r->served_ms)));
    json_object_set_new(root, "cache_bytes", json_integer((json_int_t)r->cache_bytes));
    json_object_set_new(root, "projection_bytes", json_integer((json_int_t)r->projection_bytes));
    json_object_set_new(root, "index_bytes", json_integer((json_int_t)r->index_bytes));
    promise_record_report(&r->promise, root);
    if (v->frontier_path)
        json_object_set_new(root, "frontier", frontier_json(&v->frontier));
    report_engine(root, v->threads);
    return report_print(root, e);
}

static void table_exit(struct table *t, const struct eval *v, int i)
{
    const struct evaluated_exit *x = &v->result.exit[i];
    const struct placed_exit *at = &v->place.exit[i];
    char text[32];

    table_cells(t, "%s|%s|%d of %d|%.0f%%", at->name, x->cached ? x->info.kind : "none", at->cut.depth,
                v->place.depth, 100 * at->cut.flops_share);
    table_number(t, "%.1f%%", 100 * share(x->answered, v->result.requests));
    table_number(t, "%.1f%%", v->result.labelled ? 100 * share(x->right, x->answered) : NAN);
    table_number(t, "%.1f%%", 100 * share(x->agreed, x->answered));
    table_number(t, "%.1f%%", 100 * share(x->oracle, x->lookups));
    table_cells(t, "%.0f|%s", (x->lookup_ns + x->descriptor_ns) / (double)v->result.requests / 1e3,
                table_bytes((double)x->info.total_bytes, text, sizeof text));
}

/* The network by itself, where it is not the float32 one that the accuracy is compared with. */
static void print_precision(const struct eval *v)
{
    const struct evaluation *r = &v->result;
    double n = (double)r->requests;

    if (!strcmp(v->pipeline->computes, engine_precision_name(PRECISION_FLOAT32)))
        return;
    printf("precision       %s: the network alone gives the float32 network's answer for %.2f%%",
           v->pipeline->computes, 100 * (double)r->last_agreed / n);
    if (r->labelled)
        printf(", and is right for %.2f%% (float32: %.2f%%)", 100 * (double)r->last_right / n,
               100 * (double)r->full_right / n);
    printf("\n");
}

static void print_summary(const struct eval *v)
{
    const struct evaluation *r = &v->result;
    double n = (double)r->requests;
    char projections[32], indexes[32], promise[PROMISE_TEXT_BYTES];

    printf("%lld requests\n", (long long)r->requests);
    if (r->labelled)
        printf("accuracy        full %.2f%%, served %.2f%%: gap %.2f points (95%% upper bound %.2f)\n",
               100 * (double)r->full_right / n, 100 * (double)r->served_right / n,
               100 * (double)(r->lost - r->won) / n, 100 * gap_upper(r));
    print_precision(v);
    if (r->promise.promised)
        printf("promised        %s\n", promise_text(&r->promise.promise.terms, promise));
    printf("same answer     %.2f%% of all requests\n", 100 * (double)r->agreed / n);
    printf("answered early  %.1f%%, by half of the depth %.1f%% (oracle: %.1f%%, by half %.1f%%)\n",
           100 * (double)r->early / n, 100 * (double)r->by_half / n, 100 * (double)r->oracle / n,
           100 * (double)r->oracle_by_half / n);
    printf("mean depth      %.2f of %d layers, %.1f%% of the FLOPs\n", r->depth / n, v->place.depth,
           100 * r->flops_share / n);
    printf("latency         full: mean %.3f ms, median %.3f, p99 %.3f; served: mean %.3f ms, median %.3f, "
           "p99 %.3f\n",
           r->full_ms.mean, r->full_ms.p50, r->full_ms.p99, r->served_ms.mean, r->served_ms.p50,
           r->served_ms.p99);
    printf("cache memory    %s of projections, %s of points or centroids\n\n",
           table_bytes((double)r->projection_bytes, projections, sizeof projections),
           table_bytes((double)r->index_bytes, indexes, sizeof indexes));
}

static void print_alone(const struct eval *v)
{
    const struct evaluation *r = &v->result;

    printf("%lld requests, to the network alone: %s\n", (long long)r->requests, r->alone);
    if (r->labelled)
        printf("accuracy        %.2f%%\n", 100 * (double)r->served_right / (double)r->requests);
    print_precision(v);
    printf("latency         mean %.3f ms, median %.3f, p99 %.3f\n", r->full_ms.mean, r->full_ms.p50,
           r->full_ms.p99);
}

static int print_table(const struct eval *v, struct error *e)
{
    struct table *t;
    int rc;

    if (v->result.alone) {
        print_alone(v);
        return FL_OK;
    }

    print_summary(v);
    t = table_new("exit|kind|layer|FLOPs|answers|accuracy|agreement|oracle|look-up us|memory", "lllrrrrrrr");
    for (int i = 0; i < v->place.n_exits; i++)
        table_exit(t, v, i);
    rc = table_end(t, e);
    return rc || !v->frontier_path ? rc : frontier_print(&v->frontier, e);
}

/* What was served, in the frontier's words. */
static struct frontier_point served(const struct evaluation *r)
{
    double n = (double)r->requests, agreed = (double)r->agreed / n;

    return (struct frontier_point){r->labelled ? (double)(r->lost - r->won) / n : 1 - agreed, agreed,
                                   (double)r->early / n, (double)r->by_half / n,
                                   r->served_ms.mean / r->full_ms.mean};
}

static int make_frontier(struct eval *v, struct error *e)
{
    struct frontier_input in = {.pipeline = v->pipeline,
                                .graph = v->graph,
                                .placement = &v->place,
                                .data = v->data,
                                .threads = v->threads,
                                .progress = on_phase,
                                .progress_arg = v};
    int rc = frontier_make(&v->frontier, &in, e);

    if (rc)
        return rc;
    v->frontier.network_ms = v->result.full_ms.mean;
    v->frontier.served = served(&v->result);
    return frontier_plot(&v->frontier, v->frontier_path, e);
}

static int open_data(struct eval *v, struct error *e)
{
    struct tensor input = value_shape(&v->graph->values[v->graph->inputs[0]], 1);
    struct dataset_options o = {.pipeline = v->pipeline,
                                .input = &input,
                                .most = v->limit,
                                .skip_broken = v->skip_broken,
                                .progress = &v->progress,
                                .notes = stderr};
    int rc = model_classes(v->graph, &o.classes, e);

    return rc ? rc : dataset_open(&v->data, v->data_spec, &o, e);
}

static int eval(struct eval *v, struct error *e)
{
    struct evaluation_input in = {
        .limit = v->limit, .threads = v->threads, .progress = on_progress, .progress_arg = v};
    int rc;

    if (!v->data_spec)
        return error_set(e, FL_USAGE, "--data is missing: which requests?");
    if (v->frontier_path && v->limit)
        return error_set(e, FL_USAGE,
                         "--frontier takes all of --data: name a range (#0-999) instead of "
                         "--limit");
    interrupt_catch();
    progress_open(&v->progress, stderr);
    if ((rc = arguments_load(&v->pipeline, &v->where, e)) ||
        (rc = placement_load(&v->graph, v->pipeline, e)) ||
        (rc = placement_resolve(&v->place, v->graph, v->pipeline, e)) || (rc = open_data(v, e)))
        return rc;
    arguments_warn_of_units(v->pipeline);
    arguments_warn_of_precision(v->pipeline);
    in.pipeline = v->pipeline;
    in.graph = v->graph;
    in.placement = &v->place;
    in.data = v->data;
    rc = evaluation_run(&v->result, &in, e);
    if (!rc && v->frontier_path)
        rc = make_frontier(v, e);
    progress_close(&v->progress);
    if (rc)
        return rc;
    plausibility_warn(&v->result.plausible, v->pipeline, v->data, stderr);
    promise_record_warn(&v->result.promise, usage.command);
    return v->json ? print_json(v, e) : print_table(v, e);
}

int command_eval(int argc, char **argv, struct error *e)
{
    struct eval *v = calloc(1, sizeof *v);
    int rc;

    if (!v)
        return error_set(e, FL_NOMEM, "no memory");
    v->threads = 1;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(v->where),
        OPTION_TEXT("data", v->data_spec, "D", "the requests"),
        ARGUMENTS_SKIP_BAD(v->skip_broken),
        OPTION_INT("limit", v->limit, "N", "only the first N", 1, 1e9),
        OPTION_TEXT("frontier", v->frontier_path, "OUT.svg", "also what each kind could trade"),
        OPTION_INT("threads", v->threads, "N", "threads for kernels (1)", 1, 256),
        ARGUMENTS_JSON(v->json),
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, NULL, e);
    if (!rc)
        rc = eval(v, e);
    frontier_release(&v->frontier);
    dataset_close(v->data);
    graph_free(v->graph);
    pipeline_free(v->pipeline);
    free(v);
    return rc;
}
