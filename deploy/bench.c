/* bench.c - `freezeline bench`: load a running pipeline, report latency */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "base/clock.h"
#include "command.h"
#include "interrupt.h"
#include "load.h"
#include "model_shape.h"
#include "progress.h"
#include "report.h"
#include "table.h"

#define LAG_MS_FINE      1.0  /* requests sent up to this late do not spoil a measurement */
#define LAG_SHARE_FINE   0.05 /* nor up to this share of the median latency */
#define RESIDUAL_FINE    0.10
#define DEFAULT_DURATION 10

static const struct usage usage = {
    "bench",
    "",
    "Sends requests from a data set to the running pipeline and reports latency, exits and accuracy.",
    "With --rate, requests are due at random (Poisson) times whether or not earlier ones are answered, and "
    "latency counts from when\n"
    "one was due. With --closed N, N are always in flight. 'valid' says whether the figures can be trusted: "
    "the sender kept up, nothing\n"
    "was lost, and the parts explain the whole.\n\n"
    "examples:\n"
    "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --rate 100 --duration 30\n"
    "  freezeline bench -c P.yaml --data cifar10:test_batch.bin --closed 1 --requests 1000 --no-cache\n",
    0,
    0};

struct bench {
    struct pipeline_arguments where;
    const char *data_spec;
    double rate, duration;
    int closed, requests, deadline_ms, seed;
    bool no_cache, json;
    struct pipeline *pipeline;
    struct model_shape *model;
    struct dataset *data;
    struct load_result *result;
    struct progress progress;
};

static double quantile_ms(const struct histogram *h, double q)
{
    return (double)histogram_quantile(h, q) / NS_PER_MS;
}

static double residual_share(const struct bench *b)
{
    double part_ns[PARTS];

    attribution_mean(b->result->attribution, part_ns);
    return attribution_residual_share(part_ns);
}

/* Why the figures are not to be trusted; NULL when they are. */
static const char *doubt(const struct bench *b)
{
    const struct load_result *r = b->result;
    double lag = quantile_ms(&r->send_lag, 0.99);

    if (!r->answered)
        return "no request was answered";
    if (r->lost)
        return "requests were lost";
    if (b->rate > 0 && lag > LAG_MS_FINE && lag > LAG_SHARE_FINE * quantile_ms(&r->latency, 0.5))
        return "the sender did not keep up with the rate";
    if (residual_share(b) > RESIDUAL_FINE)
        return "the parts do not add up to the whole";
    return NULL;
}

static json_t *latency_json(const struct histogram *h)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "mean", report_rounded(histogram_mean(h) / NS_PER_MS, 6),
        "p50", report_rounded(quantile_ms(h, 0.5), 6), "p90", report_rounded(quantile_ms(h, 0.9), 6), "p99",
        report_rounded(quantile_ms(h, 0.99), 6), "p999", report_rounded(quantile_ms(h, 0.999), 6), "max",
        report_rounded((double)h->max_ns / NS_PER_MS, 6), "min",
        report_rounded(h->count ? (double)h->min_ns / NS_PER_MS : 0, 6));
}

static json_t *exits_json(const struct bench *b)
{
    json_t *a = json_array();
    double n = b->result->answered > 0 ? (double)b->result->answered : 1;

    for (int i = 0; i < b->model->n_exits; i++)
        json_array_append_new(a, json_pack("{s:s, s:I, s:o}", "name", b->model->exit[i].name, "answered",
                                           (json_int_t)b->result->by_exit[i], "share",
                                           report_rounded((double)b->result->by_exit[i] / n, 6)));
    json_array_append_new(a, json_pack("{s:s, s:I, s:o}", "name", "network", "answered",
                                       (json_int_t)b->result->by_network, "share",
                                       report_rounded((double)b->result->by_network / n, 6)));
    return a;
}

static json_t *errors_json(const struct load_result *r)
{
    json_t *o = json_object();

    for (int i = 1; i < FL_CODES; i++)
        if (r->error[i])
            json_object_set_new(o, error_name(i), json_integer(r->error[i]));
    if (r->lost)
        json_object_set_new(o, "lost", json_integer(r->lost));
    return o;
}

static int print_json(const struct bench *b, struct error *e)
{
    const struct load_result *r = b->result;
    const char *why = doubt(b);
    json_t *root = json_pack(
        "{s:b, s:o, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:I, s:o, s:o}", "valid", why == NULL,
        "offered_rps", report_rounded(r->offered_rps, 3), "achieved_rps",
        report_rounded((double)r->answered / fmax(r->seconds, 1e-9), 3), "sent", (json_int_t)r->sent,
        "answered", (json_int_t)r->answered, "errors", (json_int_t)r->errors, "errors_by_kind",
        errors_json(r), "latency_ms", latency_json(&r->latency), "latency_network_ms",
        latency_json(&r->exit_latency[0]), "latency_exits_ms", latency_json(&r->exit_latency[1]), "retried",
        (json_int_t)r->retried, "send_lag_p99_ms", report_rounded(quantile_ms(&r->send_lag, 0.99), 6),
        "seconds", report_rounded(r->seconds, 3));

    if (root) {
        attribution_json(r->attribution, root);
        json_object_set_new(root, "exits", exits_json(b));
        json_object_set_new(root, "accuracy",
                            r->labelled ? report_rounded((double)r->right / (double)r->labelled, 6)
                                        : json_null());
        json_object_set_new(root, "doubt", why ? json_string(why) : json_null());
    }
    return report_print(root, e);
}

static void latency_row(struct table *t, const char *who, const struct histogram *h)
{
    static const double q[] = {0.5, 0.9, 0.99, 0.999};

    if (!h->count)
        return;
    table_cell(t, "%s", who);
    table_cell(t, "%llu", (unsigned long long)h->count);
    table_cell(t, "%.3f", histogram_mean(h) / NS_PER_MS);
    for (int i = 0; i < 4; i++)
        table_cell(t, "%.3f", quantile_ms(h, q[i]));
    table_cell(t, "%.3f", (double)h->max_ns / NS_PER_MS);
}

static void print_exits(const struct bench *b)
{
    const struct load_result *r = b->result;

    printf("\nanswered by:");
    for (int i = 0; i < b->model->n_exits; i++)
        if (r->by_exit[i])
            printf(" %s %.1f%%,", b->model->exit[i].name, 100 * (double)r->by_exit[i] / (double)r->answered);
    printf(" network %.1f%%\n", 100 * (double)r->by_network / (double)r->answered);
    if (r->labelled)
        printf("accuracy: %.2f%% of %lld\n", 100 * (double)r->right / (double)r->labelled,
               (long long)r->labelled);
}

static void print_parts(const struct bench *b)
{
    double mean[PARTS], middle[PARTS];

    attribution_mean(b->result->attribution, mean);
    attribution_middle(b->result->attribution, middle);
    printf("where the time goes, ms (mean / at the median):");
    for (int i = 0; i < PARTS; i++)
        printf("%s %s %.3f / %.3f", i ? "," : "", part_names[i], mean[i] / NS_PER_MS, middle[i] / NS_PER_MS);
    printf(" (%.1f%% / %.1f%% unexplained)\n", 100 * attribution_residual_share(mean),
           100 * attribution_residual_share(middle));
}

static int print_table(const struct bench *b, struct error *e)
{
    const struct load_result *r = b->result;
    struct table *t;
    int rc;

    printf("%lld requests in %.1f s: offered %.1f/s, answered %.1f/s, %lld errors\n\n", (long long)r->sent,
           r->seconds, r->offered_rps, (double)r->answered / fmax(r->seconds, 1e-9), (long long)r->errors);
    for (int i = 1; i < FL_CODES; i++)
        if (r->error[i])
            printf("  %s: %lld\n", error_name(i), (long long)r->error[i]);
    if (table_new(&t, "latency, ms|requests|mean|p50|p90|p99|p99.9|max", "lrrrrrrr"))
        return error_set(e, FL_NOMEM, "no memory for a table");
    latency_row(t, "all", &r->latency);
    latency_row(t, "by an exit", &r->exit_latency[1]);
    latency_row(t, "by the network", &r->exit_latency[0]);
    rc = table_print(t, stdout, 0, e);
    table_free(t);
    if (r->answered) {
        print_exits(b);
        print_parts(b);
    }
    printf("%s%s\n", doubt(b) ? "NOT VALID: " : "valid", doubt(b) ? doubt(b) : "");
    return rc;
}

static int on_tick(void *arg, const struct load_result *r)
{
    struct bench *b = arg;
    int64_t done = b->requests ? r->sent : (int64_t)(10 * r->seconds),
            total = b->requests ? b->requests : (int64_t)(10 * b->duration);

    progress_update(&b->progress, "load", done, total, (double)r->answered / fmax(r->seconds, 1e-9));
    return interrupt_seen();
}

static int check(struct bench *b, struct error *e)
{
    if (!b->data_spec)
        return error_set(e, FL_USAGE, "--data is missing: which requests?");
    if (b->rate > 0 && b->closed > 0)
        return error_set(e, FL_USAGE, "--rate and --closed exclude one another");
    if (b->rate <= 0 && b->closed <= 0)
        b->closed = 1;
    if (b->duration <= 0 && b->requests <= 0)
        b->duration = DEFAULT_DURATION;
    return FL_OK;
}

static int bench(struct bench *b, struct error *e)
{
    struct load_options o = {.rate = b->rate,
                             .closed = b->closed,
                             .duration_s = b->duration,
                             .requests = b->requests,
                             .flags = b->no_cache ? JOB_NO_CACHE : 0,
                             .deadline_ms = (uint32_t)b->deadline_ms,
                             .seed = (uint64_t)b->seed,
                             .tick = on_tick,
                             .tick_arg = b};
    int rc;

    b->model = malloc(sizeof *b->model);
    b->result = calloc(1, sizeof *b->result);
    if (!b->model || !b->result)
        return error_set(e, FL_NOMEM, "no memory");
    if ((rc = check(b, e)) || (rc = arguments_load(&b->pipeline, &b->where, e)) ||
        (rc = dataset_open(&b->data, b->data_spec, e)) || (rc = model_shape_load(b->model, b->pipeline, e)) ||
        (rc = dataset_fits(b->data, &b->model->input, e)))
        return rc;
    o.pipeline = b->pipeline;
    o.data = b->data;
    interrupt_catch();
    progress_open(&b->progress, stderr);
    rc = load_run(b->result, &o, e);
    progress_close(&b->progress);
    if (!rc)
        rc = b->json ? print_json(b, e) : print_table(b, e);
    if (!rc && !b->result->answered)
        rc = error_set(e, FL_UNAVAILABLE,
                       "no request was answered (is the pipeline up? see `freezeline status`)");
    return rc;
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
        {ARGUMENT_NUMBER, "rate", 0, &b.rate, "R", "open loop: R requests per second", 1e-3, 1e6},
        {ARGUMENT_INT, "closed", 0, &b.closed, "N", "closed loop: N requests in flight (1)", 1, 4096},
        {ARGUMENT_NUMBER, "duration", 0, &b.duration, "S", "stop sending after S seconds (10)", 1e-3, 1e7},
        {ARGUMENT_INT, "requests", 0, &b.requests, "N", "stop sending after N requests", 1, 1e9},
        {ARGUMENT_INT, "deadline", 0, &b.deadline_ms, "MS", "of each request (the pipeline's default)", 1,
         3600000},
        {ARGUMENT_INT, "seed", 0, &b.seed, "N", "of the random times (1)", 0, 1e9},
        {ARGUMENT_FLAG, "no-cache", 0, &b.no_cache, NULL, "no look-ups", 0, 0},
        {ARGUMENT_FLAG, "json", 0, &b.json, NULL, "machine-readable output", 0, 0},
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, &helped, e);

    if (!rc && !helped)
        rc = bench(&b, e);
    dataset_close(b.data);
    free(b.model);
    if (b.result)
        load_result_close(b.result);
    free(b.result);
    pipeline_free(b.pipeline);
    return rc;
}
