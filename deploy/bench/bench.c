/* bench.c - `freezeline bench`: load a running pipeline, report latency */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "against.h"
#include "deploy/tool/arguments.h"
#include "deploy/report/bench_csv.h"
#include "deploy/tool/output.h"
#include "bench_progress.h"
#include "bench_table.h"
#include "deploy/tool/command.h"
#include "deploy/report/html_report.h"
#include "deploy/tool/interrupt.h"
#include "deploy/process/running.h"
#include "measurement.h"
#include "deploy/tool/report.h"
#include "scenario.h"
#include "sweep.h"
#include "chrome_trace.h"

#define DEFAULT_DURATION 10

static const struct usage usage = {
    .command = "bench",
    .summary = "Sends requests from a data set to the running pipeline and reports latency, exits, accuracy "
               "and where the time goes.",
    .notes = "With --rate, requests are due at times fixed beforehand, whether or not earlier ones are\n"
             "answered, and latency counts from when one was due, so a server that stalls cannot hide it.\n"
             "With --closed N, N are always in flight. Before anything is counted the server warms up,\n"
             "until its latency no longer changes. 'valid' says whether the figures can be trusted: the\n"
             "sender kept up, nothing was lost, and the parts explain the whole.\n\n"
             "Exit status: 0 measured, valid or not (scripts ask the document for \"valid\"), 1 nothing was\n"
             "answered or the report is partial: interrupted, or the server did not answer any "
             "more.\n\n" DATASET_LAYOUTS "\n"
             "examples:\n"
             "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --rate 100 --duration 30\n"
             "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --rate 100 --arrivals mmpp "
             "--traffic zipf:1.1\n"
             "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --closed 1 --against no-cache "
             "--against whole\n"
             "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --scenario server --target-ms 20\n"
             "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --sweep --duration 5 --output "
             "sweep.json\n",
};

struct bench {
    struct pipeline_arguments where;
    const char *data_spec, *arrivals, *traffic, *output, *csv, *page, *scenario_name, *trace, *labels;
    double rate, duration, target_ms, trace_share;
    int closed, clients, requests, deadline_ms, seed, rounds;
    bool no_cache, no_warm_up, json, to_saturation, skip_broken;
    struct argument_list against_list;
    enum scenario scenario;
    struct pipeline *pipeline;
    struct configuration configuration[AGAINST_MAX]; /* the first is what the report is about */
    struct measurement measurement;                  /* of it, but with --against */
    struct sweep sweep;
    struct against against;
    double found_rate; /* by the server scenario */
    struct bench_progress progress;
    FILE *labels_file;
};

static int tick(void *arg, const struct measurement *m, double seconds)
{
    struct bench *b = arg;

    bench_progress_show(&b->progress, m, seconds);
    return interrupt_seen();
}

/* The scenario, the sweep and the comparison each bring a load of their own. */
static int check_modes(const struct bench *b, struct error *e)
{
    bool own_load = b->rate > 0 || b->closed > 0 || b->arrivals;

    if ((b->scenario != SCENARIO_NONE) + b->to_saturation + (b->against_list.n > 0) > 1)
        return error_set(e, FL_USAGE, "--scenario, --sweep and --against exclude one another");
    if (b->scenario != SCENARIO_NONE && own_load)
        return error_set(e, FL_USAGE,
                         "--scenario %s has a load of its own; leave --rate, --closed and --arrivals out",
                         b->scenario_name);
    if (b->scenario == SCENARIO_SERVER && b->target_ms <= 0)
        return error_set(e, FL_USAGE, "--scenario server needs --target-ms: what is p99 to hold?");
    if (b->scenario != SCENARIO_SERVER && b->target_ms > 0)
        return error_set(e, FL_USAGE, "--target-ms belongs to --scenario server");
    if (b->to_saturation && (b->closed > 0 || (b->arrivals && !strncmp(b->arrivals, "trace:", 6))))
        return error_set(e, FL_USAGE, "--sweep goes through rates; leave %s out",
                         b->closed > 0 ? "--closed" : "the trace");
    if (b->requests > 0 && (b->to_saturation || b->scenario == SCENARIO_SERVER))
        return error_set(e, FL_USAGE, "each rate is held for --duration; leave --requests out");
    if (b->against_list.n >= AGAINST_MAX)
        return error_set(e, FL_USAGE, "--against can be given %d times at most", AGAINST_MAX - 1);
    for (int i = 0; b->trace && i < b->against_list.n; i++)
        if (configuration_traces(b->against_list.item[i]))
            return error_set(
                e, FL_USAGE,
                "--trace and --against %s exclude one another: all configurations would be traced",
                b->against_list.item[i]);
    if (b->rounds && !b->against_list.n)
        return error_set(e, FL_USAGE, "--rounds belongs to --against");
    return FL_OK;
}

static int check_load(struct bench *b, struct error *e)
{
    bool trace = b->arrivals && !strncmp(b->arrivals, "trace:", 6);

    if (b->closed > 0 && (b->rate > 0 || b->arrivals))
        return error_set(e, FL_USAGE, "--%s and --closed exclude one another",
                         b->rate > 0 ? "rate" : "arrivals");
    if (trace && b->rate > 0)
        return error_set(e, FL_USAGE, "a trace has its own times; leave --rate out");
    if (b->arrivals && !trace && b->rate <= 0 && !b->to_saturation)
        return error_set(e, FL_USAGE, "--arrivals %s needs --rate", b->arrivals);
    if (b->rate > 0 && !b->arrivals)
        b->arrivals = "poisson";
    if (!b->arrivals && b->closed <= 0)
        b->closed = 1;
    if (b->duration <= 0 && b->requests <= 0 && !trace)
        b->duration = DEFAULT_DURATION;
    if (!b->traffic) /* in order, the records of a round may be all of a kind */
        b->traffic = b->against_list.n ? "shuffled" : "order";
    return FL_OK;
}

static int check(struct bench *b, struct error *e)
{
    int rc;

    if (!b->data_spec)
        return error_set(e, FL_USAGE, "--data is missing: which requests?");
    if (b->scenario_name && (rc = scenario_parse(&b->scenario, b->scenario_name, e)))
        return rc;
    return (rc = check_modes(b, e)) ? rc : check_load(b, e);
}

static int open_configurations(struct bench *b, struct error *e)
{
    int rc =
        configuration_open(&b->configuration[0], b->no_cache ? "no-cache" : "", b->pipeline, b->clients, e);

    for (int i = 0; !rc && i < b->against_list.n; i++)
        rc =
            configuration_open(&b->configuration[i + 1], b->against_list.item[i], b->pipeline, b->clients, e);
    return rc;
}

/* Once for each pipeline file: their models may take pictures in different ways. */
static int open_data(struct bench *b, struct error *e)
{
    struct progress progress;
    int rc = FL_OK;

    progress_open(&progress, stderr);
    for (int i = 0; !rc && i <= b->against_list.n; i++) {
        struct configuration *c = &b->configuration[i];
        const struct dataset_options o = {.pipeline = c->pipeline,
                                          .input = &c->model->input,
                                          .classes = c->model->classes,
                                          .skip_broken = b->skip_broken,
                                          .progress = &progress,
                                          .notes = i ? NULL : stderr};
        if (!i || c->owned)
            rc = dataset_open(&c->data, b->data_spec, &o, e);
    }
    progress_close(&progress);
    return rc;
}

/* The measurement that the report is about. */
static const struct measurement *subject(const struct bench *b)
{
    return b->against_list.n ? &b->against.sum[0] : &b->measurement;
}

static int print_tables(const struct bench *b, json_t *document, struct error *e)
{
    int rc = bench_table_print(subject(b), e);

    if (!rc && json_array_size(b->sweep.points))
        rc = sweep_print(&b->sweep, e);
    if (!rc && b->against.n)
        rc = against_print(&b->against, e);
    if (json_object_get(document, "scenario"))
        scenario_print(json_object_get(document, "scenario"));
    return rc;
}

static json_t *make_document(const struct bench *b)
{
    json_t *document = measurement_document(subject(b));

    if (document && b->scenario)
        json_object_set_new(document, "scenario",
                            scenario_json(b->scenario, subject(b), b->target_ms, b->found_rate));
    if (document && json_array_size(b->sweep.points))
        json_object_set(document, "sweep", b->sweep.points);
    if (document && b->against.n)
        json_object_set_new(document, "against", against_json(&b->against));
    return document;
}

/* Returns the first failure; prints further ones at once, since the command reports only one. */
static int also(int rc, struct error *e, int next, const struct error *why)
{
    if (!next)
        return rc;
    if (rc)
        fprintf(stderr, "freezeline bench: %s\n", why->text[0] ? why->text : error_sentence(next));
    else
        *e = *why;
    return rc ? rc : next;
}

/* The document to where it was asked for. What cannot be written does not keep the rest from being. */
static int report(const struct bench *b, struct error *e)
{
    json_t *document = make_document(b);
    struct error why = {0};
    int rc = FL_OK;

    if (!document)
        return error_set(e, FL_NOMEM, "no memory for the report");
    if (!b->json)
        rc = also(rc, e, print_tables(b, document, &why), &why);
    if (b->output)
        rc = also(rc, e, output_json(document, 12, b->output, &why), &why);
    if (b->page)
        rc = also(rc, e, html_report_write(document, b->page, &why), &why);
    if (b->csv)
        rc = also(rc, e, bench_csv_write(document, b->csv, &why), &why);
    if (b->json)
        rc = also(rc, e, report_print(json_incref(document), &why), &why);
    json_decref(document);
    return rc;
}

static int measure_sweep(struct bench *b, const struct measurement_options *o, struct error *e)
{
    int rc = sweep_open(&b->sweep, &b->configuration[0], o, e);

    if (rc)
        return rc;
    return b->to_saturation ? sweep_to_saturation(&b->sweep, &b->measurement, b->rate, e)
                            : sweep_highest(&b->sweep, &b->measurement, b->target_ms, &b->found_rate, e);
}

static int measure(struct bench *b, struct error *e)
{
    struct measurement_options o = {.data = b->configuration[0].data,
                                    .data_spec = b->data_spec,
                                    .traffic = b->traffic,
                                    .arrivals = b->arrivals,
                                    .rate = b->rate,
                                    .closed = b->closed,
                                    .duration_s = b->duration,
                                    .requests = b->requests,
                                    .warmup_s = b->no_warm_up ? 0 : MEASUREMENT_WARM_UP,
                                    .deadline_ms = b->deadline_ms,
                                    .seed = (uint64_t)b->seed,
                                    .scenario = scenario_name(b->scenario),
                                    .watch = true,
                                    .labels = b->labels_file,
                                    .trace_share = b->trace ? b->trace_share : 0,
                                    .tick = tick,
                                    .arg = b};

    if (b->scenario)
        scenario_shape(b->scenario, b->pipeline, &o);
    if (b->to_saturation || b->scenario == SCENARIO_SERVER)
        return measure_sweep(b, &o, e);
    if (b->against_list.n)
        return against_run(&b->against, b->configuration, b->against_list.n + 1, &o,
                           b->rounds ? b->rounds : AGAINST_ROUNDS, e);
    return measurement_run(&b->measurement, &b->configuration[0], &o, e);
}

/* What the traced requests met, as a file. */
static int save_trace(const struct bench *b, struct error *e)
{
    struct chrome_trace t = {0};
    struct error why = {0};
    int rc;

    if (!b->trace)
        return FL_OK;
    if ((rc = chrome_trace_collect(&t, b->pipeline, &why)))
        error_set(e, rc, "no trace in %s, since the broker keeps it: %s", b->trace, why.text);
    else
        rc = chrome_trace_save(&t, b->configuration[0].model, b->trace, e);
    if (!rc && t.lost)
        fprintf(stderr, "freezeline bench: %s lacks %llu spans: trace a smaller share (--trace-share)\n",
                b->trace, (unsigned long long)t.lost);
    chrome_trace_release(&t);
    return rc;
}

/* Fails where the report is partial, or nothing was answered. */
static int judge(const struct bench *b, struct error *e)
{
    const char *cut_short = b->against_list.n     ? against_cut_short(&b->against)
                            : *b->sweep.cut_short ? b->sweep.cut_short
                                                  : b->measurement.outcome.cut_short;

    if (*cut_short || interrupt_seen())
        return error_set(e, FL_UNAVAILABLE, "%s; the report is partial",
                         *cut_short ? cut_short : "interrupted");
    if (!subject(b)->tally->answered)
        return error_set(e, FL_UNAVAILABLE,
                         "no request was answered (is the pipeline up? see `freezeline status`)");
    return FL_OK;
}

static int check_files(const struct bench *b, struct error *e)
{
    const char *const file[] = {b->output, b->page, b->csv, b->trace, b->labels};

    return output_check(file, sizeof file / sizeof *file, e);
}

static int bench(struct bench *b, struct error *e)
{
    struct error why = {0};
    int rc;

    interrupt_catch(); /* opening the data stops for it, too */
    if ((rc = check(b, e)) || (rc = check_files(b, e)) || (rc = running_load(&b->pipeline, &b->where, e)) ||
        (rc = open_configurations(b, e)) || (rc = open_data(b, e)) ||
        (b->trace && (rc = chrome_trace_collect(NULL, b->pipeline, e)))) /* what others left */
        return rc;
    if (b->labels && !(b->labels_file = fopen(b->labels, "we")))
        return error_set(e, FL_IO, "cannot write %s", b->labels);
    bench_progress_open(&b->progress, stderr);
    rc = measure(b, e);
    bench_progress_close(&b->progress);
    if (b->labels_file && fclose(b->labels_file) && !rc)
        rc = error_set(e, FL_IO, "cannot write %s", b->labels);
    if (!rc) {
        rc = report(b, e);
        rc = also(rc, e, judge(b, &why), &why);
    }
    return also(rc, e, save_trace(b, &why), &why);
}

int command_bench(int argc, char **argv, struct error *e)
{
    struct bench b = {.seed = 1, .clients = 1, .trace_share = 0.01};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(b.where),
        OPTION_TEXT("data", b.data_spec, "D", "what to ask"),
        ARGUMENTS_SKIP_BAD(b.skip_broken),
        OPTION_NUMBER("rate", b.rate, "R", "open loop: R requests per second", 1e-3, ARRIVALS_MAX_RATE),
        OPTION_TEXT("arrivals", b.arrivals, "A", "open loop: poisson, uniform, mmpp or trace:FILE (poisson)"),
        OPTION_INT("closed", b.closed, "N", "closed loop: N requests in flight (1)", 1, 4096),
        OPTION_INT("clients", b.clients, "N", "connections that ask in turn (1)", 1, TARGET_MOST_CLIENTS),
        OPTION_TEXT(
            "traffic", b.traffic, "T",
            "which records: order, shuffled, uniform, zipf:S or stream:N (order; shuffled with --against)"),
        OPTION_NUMBER("duration", b.duration, "S", "stop sending after S seconds (10)", 1e-3, 1e7),
        OPTION_INT("requests", b.requests, "N", "stop sending after N requests", 1, 1e9),
        OPTION_INT("deadline", b.deadline_ms, "MS", "of each request (the pipeline's default)", 1, 3600000),
        OPTION_INT("seed", b.seed, "N", "of the random times and records (1)", 0, 1e9),
        OPTION_TEXT("scenario", b.scenario_name, "NAME",
                    "MLPerf's single-stream, multi-stream, server or offline, unofficial"),
        OPTION_NUMBER("target-ms", b.target_ms, "MS", "of --scenario server: p99 is to hold it", 1e-3, 1e6),
        OPTION_FLAG("sweep", b.to_saturation,
                    "latency against load up to saturation, --duration at each rate"),
        OPTION_LIST("against", b.against_list, "OTHER",
                    "compare in interleaved rounds: whole, no-cache, traced or another pipeline's file (may "
                    "be repeated)"),
        OPTION_INT("rounds", b.rounds, "N", "of --against (10; at least 5)", AGAINST_MIN_ROUNDS, 1000),
        OPTION_FLAG("no-cache", b.no_cache, "no look-ups"),
        OPTION_FLAG("no-warm-up", b.no_warm_up, "count from the first request on"),
        OPTION_TEXT("output", b.output, "FILE", "write the report as JSON"),
        OPTION_TEXT("report", b.page, "FILE.html", "write a page with plots, for a browser"),
        OPTION_TEXT("csv", b.csv, "FILE", "write perf_analyzer's columns"),
        OPTION_TEXT("labels", b.labels, "FILE.csv",
                    "write what the data say of each answer, for `freezeline feedback --input`"),
        OPTION_TEXT("trace", b.trace, "FILE",
                    "write a Chrome trace of some requests, for Perfetto; not with --against traced"),
        OPTION_NUMBER("trace-share", b.trace_share, "X", "which share of the requests (0.01)", 1e-6, 1),
        ARGUMENTS_JSON(b.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    if (!rc)
        rc = bench(&b, e);
    measurement_close(&b.measurement);
    sweep_close(&b.sweep);
    against_close(&b.against);
    for (int i = 0; i < AGAINST_MAX; i++)
        configuration_close(&b.configuration[i]);
    pipeline_free(b.pipeline);
    return rc;
}
