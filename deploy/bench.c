/* bench.c - `freezeline bench`: load a running pipeline, report latency */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "base/clock.h"
#include "bench_file.h"
#include "bench_table.h"
#include "command.h"
#include "interrupt.h"
#include "measurement.h"
#include "progress.h"
#include "report.h"

#define DEFAULT_DURATION 10

static const struct usage usage = {
    "bench",
    "",
    "Sends requests from a data set to the running pipeline and reports latency, exits, accuracy and where "
    "the time goes.",
    "With --rate, requests are due at times fixed beforehand, whether or not earlier ones are answered, and "
    "latency counts from\n"
    "when one was due, so a server that stalls cannot hide it. With --closed N, N are always in flight. "
    "Before "
    "anything is counted\n"
    "the server warms up, until its latency no longer changes. 'valid' says whether the figures can be "
    "trusted: the sender kept up,\n"
    "nothing was lost, and the parts explain the whole.\n\n"
    "examples:\n"
    "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --rate 100 --duration 30\n"
    "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --rate 100 --arrivals mmpp --traffic "
    "zipf:1.1\n"
    "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --closed 1 --requests 1000 --no-cache\n",
    0,
    0};

struct bench {
    struct pipeline_arguments where;
    const char *data_spec, *arrivals, *traffic, *output, *csv;
    double rate, duration;
    int closed, requests, deadline_ms, seed;
    bool no_cache, no_warm_up, json;
    struct pipeline *pipeline;
    struct dataset *data;
    struct configuration configuration;
    struct measurement measurement;
    struct progress progress;
    int64_t last_answered; /* when `tick` was last called, for the rate since then */
    double last_s, rate_now;
};

/* A few times a second: requests per second since the last call, and p99 so far. */
static int tick(void *arg, const struct tally *t, double seconds)
{
    struct bench *b = arg;
    const struct measurement_options *o = &b->measurement.options;
    bool by_number = o->requests > 0;
    int64_t done = by_number ? t->sent : (int64_t)(10 * t->sending_seconds);

    if (seconds >= b->last_s + 1) {
        b->rate_now = (double)(t->answered - b->last_answered) / (seconds - b->last_s);
        b->last_answered = t->answered;
        b->last_s = seconds;
    }
    if (!t->sent) {
        b->last_answered = 0;
        progress_update(&b->progress, "warm-up", (int64_t)(10 * seconds), (int64_t)(10 * MEASUREMENT_WARM_UP),
                        0);
        return interrupt_seen();
    }
    snprintf(b->progress.note, sizeof b->progress.note, "%.1f/s, p99 %.3g ms", b->rate_now,
             (double)histogram_quantile(&t->latency, 0.99) / NS_PER_MS);
    progress_update(&b->progress, "load", done, by_number ? o->requests : (int64_t)(10 * o->duration_s), 0);
    return interrupt_seen();
}

static int check(struct bench *b, struct error *e)
{
    bool trace = b->arrivals && !strncmp(b->arrivals, "trace:", 6);

    if (!b->data_spec)
        return error_set(e, FL_USAGE, "--data is missing: which requests?");
    if (b->closed > 0 && (b->rate > 0 || b->arrivals))
        return error_set(e, FL_USAGE, "--%s and --closed exclude one another",
                         b->rate > 0 ? "rate" : "arrivals");
    if (trace && b->rate > 0)
        return error_set(e, FL_USAGE, "a trace has its own times; leave --rate out");
    if (b->arrivals && !trace && b->rate <= 0)
        return error_set(e, FL_USAGE, "--arrivals %s needs --rate", b->arrivals);
    if (b->rate > 0 && !b->arrivals)
        b->arrivals = "poisson";
    if (!b->arrivals && b->closed <= 0)
        b->closed = 1;
    if (b->duration <= 0 && b->requests <= 0 && !trace)
        b->duration = DEFAULT_DURATION;
    if (!b->traffic)
        b->traffic = "order";
    return FL_OK;
}

/* The document to where it was asked for. What cannot be written does not keep the rest from being. */
static int report(struct bench *b, struct error *e)
{
    json_t *document = measurement_document(&b->measurement);
    int rc = document ? FL_OK : error_set(e, FL_NOMEM, "no memory for the report"), other;

    if (!rc && !b->json)
        rc = bench_table_print(&b->measurement, e);
    if (document && b->output && (other = bench_file_write(document, b->output, e)))
        rc = other;
    if (document && b->csv && (other = bench_file_csv(document, b->csv, e)))
        rc = other;
    if (document && b->json && (other = report_print(json_incref(document), rc ? NULL : e)))
        rc = rc ? rc : other;
    json_decref(document);
    return rc;
}

static int measure(struct bench *b, struct error *e)
{
    struct measurement_options o = {.data = b->data,
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
                                    .watch = true,
                                    .tick = tick,
                                    .arg = b};
    int rc;

    interrupt_catch();
    progress_open(&b->progress, stderr);
    rc = measurement_run(&b->measurement, &b->configuration, &o, e);
    progress_close(&b->progress);
    return rc;
}

static int bench(struct bench *b, struct error *e)
{
    int rc;

    if ((rc = check(b, e)) || (rc = arguments_load(&b->pipeline, &b->where, e)) ||
        (rc = dataset_open(&b->data, b->data_spec, e)) ||
        (rc = configuration_open(&b->configuration, b->no_cache ? "no-cache" : "", b->pipeline, e)) ||
        (rc = measure(b, e)) || (rc = report(b, e)))
        return rc;
    if (*b->measurement.outcome.cut_short)
        return error_set(e, FL_UNAVAILABLE, "%s; the report is partial", b->measurement.outcome.cut_short);
    if (!b->measurement.tally->answered)
        return error_set(e, FL_UNAVAILABLE,
                         "no request was answered (is the pipeline up? see `freezeline status`)");
    return FL_OK;
}

int command_bench(int argc, char **argv, struct error *e)
{
    struct bench b = {.seed = 1};
    struct argument_list operands;
    bool helped;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(b.where),
        {ARGUMENT_TEXT, "data", 0, &b.data_spec, "D",
         "requests: cifar10:FILE[,FILE...] or npy:IMAGES.npy,LABELS.npy", 0, 0},
        {ARGUMENT_NUMBER, "rate", 0, &b.rate, "R", "open loop: R requests per second", 1e-3,
         ARRIVALS_MAX_RATE},
        {ARGUMENT_TEXT, "arrivals", 0, &b.arrivals, "A",
         "open loop: poisson, uniform, mmpp or trace:FILE (poisson)", 0, 0},
        {ARGUMENT_INT, "closed", 0, &b.closed, "N", "closed loop: N requests in flight (1)", 1, 4096},
        {ARGUMENT_TEXT, "traffic", 0, &b.traffic, "T",
         "which records: order, shuffled, uniform, zipf:S or stream (order)", 0, 0},
        {ARGUMENT_NUMBER, "duration", 0, &b.duration, "S", "stop sending after S seconds (10)", 1e-3, 1e7},
        {ARGUMENT_INT, "requests", 0, &b.requests, "N", "stop sending after N requests", 1, 1e9},
        {ARGUMENT_INT, "deadline", 0, &b.deadline_ms, "MS", "of each request (the pipeline's default)", 1,
         3600000},
        {ARGUMENT_INT, "seed", 0, &b.seed, "N", "of the random times and records (1)", 0, 1e9},
        {ARGUMENT_FLAG, "no-cache", 0, &b.no_cache, NULL, "no look-ups", 0, 0},
        {ARGUMENT_FLAG, "no-warm-up", 0, &b.no_warm_up, NULL, "count from the first request on", 0, 0},
        {ARGUMENT_TEXT, "output", 0, &b.output, "FILE", "write the report as JSON", 0, 0},
        {ARGUMENT_TEXT, "csv", 0, &b.csv, "FILE", "write perf_analyzer's columns", 0, 0},
        {ARGUMENT_FLAG, "json", 0, &b.json, NULL, "machine-readable output", 0, 0},
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, &helped, e);

    if (!rc && !helped)
        rc = bench(&b, e);
    measurement_close(&b.measurement);
    configuration_close(&b.configuration);
    dataset_close(b.data);
    pipeline_free(b.pipeline);
    return rc;
}
