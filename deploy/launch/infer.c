/* infer.c - `freezeline infer`: one request, and where its time went */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "base/clock.h"
#include "client/client.h"
#include "deploy/tool/command.h"
#include "deploy/data/preprocess.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/report.h"
#include "running.h"

#define BAR_CELLS 40
#define TOP_SHOWN 5

static const struct usage usage = {
    "infer",
    "",
    "Sends one request to the running pipeline and shows the answer and where its time went.",
    "X is a PNG or JPEG picture (resized to the model's input, normalised as the pipeline file says) or an "
    ".npy file with the\n"
    "model's own input (float32 as it is, bytes as pixels).\n\n"
    "example:\n  freezeline infer -c P.yaml --input cat.png\n",
    0,
    0};

struct infer {
    struct pipeline_arguments where;
    const char *input;
    bool no_cache, json;
    int deadline_ms;
    struct pipeline *pipeline;
    struct model_shape model;
    struct answer answer;
    float *scores;
    int n_scores;
    double total_ms; /* as the client saw it */
};

static double ms(uint64_t ns)
{
    return (double)ns / NS_PER_MS;
}

/* Where the time went, in the order in which it passed. */
struct bar {
    char what[32];
    char kind; /* 'w' wire, 'q' queue, 's' serialise, 'c' compute, 'l' look-up, 'b' broker, 'r' the rest */
    double ms;
};

static void add(struct bar *bar, int *n, char kind, const char *text, unsigned stage, double time)
{
    if (kind == 'b' || kind == 'r')
        snprintf(bar[*n].what, sizeof bar[*n].what, "%s", text);
    else
        snprintf(bar[*n].what, sizeof bar[*n].what, "stage %u %s", stage, text);
    bar[*n].kind = kind;
    bar[(*n)++].ms = time;
}

static int bars_of(const struct infer *f, struct bar *bar)
{
    const struct answer *a = &f->answer;
    double known = ms(a->broker_ns);
    int n = 0;
    unsigned last = 0;

    add(bar, &n, 'b', "broker", 0, ms(a->broker_ns));
    for (int i = 0; i < a->trace.n; i++) {
        const struct stage_time *t = &a->trace.stage[i];
        last = t->stage;
        add(bar, &n, 'w', "wire", last, ms(t->wire_ns));
        add(bar, &n, 'q', "queue", last, ms(t->queue_ns));
        add(bar, &n, 's', "serialise", last, ms(t->serialise_ns));
        add(bar, &n, 'c', "compute", last, ms(t->compute_ns));
        add(bar, &n, 'l', "look-up", last, ms(t->lookup_ns));
    }
    if (a->exit >= 0) {
        add(bar, &n, 'w', "to the cache", last, ms(a->lookup_wire_ns));
        add(bar, &n, 'q', "cache's turn", last, ms(a->lookup_queue_ns));
        add(bar, &n, 'l', "cache", last, ms(a->lookup_ns));
    }
    add(bar, &n, 'r', "answer's way back", 0, ms(a->return_ns));
    for (int i = 1; i < n; i++)
        known += bar[i].ms;
    add(bar, &n, 'r', "client", 0, fmax(0, f->total_ms - known));
    return n;
}

static void print_waterfall(const struct infer *f)
{
    struct bar bar[5 * PIPELINE_MAX_STAGES + 6];
    int n = bars_of(f, bar);
    double at = 0, total = fmax(f->total_ms, 1e-6);

    printf("\n%-20s %8.3f ms\n", "total", f->total_ms);
    for (int i = 0; i < n; i++) {
        int from = (int)(BAR_CELLS * fmin(1, at / total)),
            to = (int)ceil(BAR_CELLS * fmin(1, (at + bar[i].ms) / total));
        at += bar[i].ms;
        if (bar[i].ms < 0.0005)
            continue;
        printf("%-20s %8.3f ms  %*s", bar[i].what, bar[i].ms, from, "");
        for (int k = from; k < to || k == from; k++)
            putchar(bar[i].kind == 'c' ? '#' : bar[i].kind == 'l' ? '?' : bar[i].kind == 'q' ? '.' : '-');
        putchar('\n');
    }
}

/* Indices of the largest scores, largest first; returns how many. */
static int top_scores(const struct infer *f, int top[TOP_SHOWN])
{
    int n = 0;

    for (int i = 0; i < f->n_scores; i++) {
        int at = n < TOP_SHOWN ? n++ : TOP_SHOWN;
        while (at > 0 && f->scores[i] > f->scores[top[at - 1]]) {
            if (at < TOP_SHOWN)
                top[at] = top[at - 1];
            at--;
        }
        if (at < TOP_SHOWN)
            top[at] = i;
    }
    return n;
}

static void print_answer(const struct infer *f)
{
    const struct answer *a = &f->answer;
    int top[TOP_SHOWN], n = top_scores(f, top);
    char name[256];

    printf("%s\n", model_shape_label(f->pipeline, a->label, name, sizeof name));
    if (a->exit >= 0)
        printf("answered by %s (layer %d of %d) with confidence %.4g, cache epoch %llu\n",
               model_shape_exit(&f->model, a->exit),
               a->exit < f->model.n_exits ? f->model.exit[a->exit].depth : 0, f->model.depth, a->confidence,
               (unsigned long long)a->epoch);
    else
        printf("answered by the whole network (%d layers)\n", f->model.depth);
    if (a->attempts > 1)
        printf("in %u attempts\n", a->attempts);
    for (int i = 0; i < n; i++)
        printf("  %-16s %9.4f\n", model_shape_label(f->pipeline, top[i], name, sizeof name),
               f->scores[top[i]]);
    print_waterfall(f);
}

static json_t *stages_json(const struct trace *t)
{
    json_t *a = json_array();

    for (int i = 0; i < t->n; i++) {
        const struct stage_time *s = &t->stage[i];
        json_array_append_new(a, json_pack("{s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "stage",
                                           (int)s->stage, "replica", (int)s->replica, "batch", (int)s->batch,
                                           "wire_ms", report_rounded(ms(s->wire_ns), 6), "queue_ms",
                                           report_rounded(ms(s->queue_ns), 6), "compute_ms",
                                           report_rounded(ms(s->compute_ns), 6), "lookup_ms",
                                           report_rounded(ms(s->lookup_ns), 6), "serialise_ms",
                                           report_rounded(ms(s->serialise_ns), 6), "lookup_hidden_ms",
                                           report_rounded(ms(s->hidden_ns), 6)));
    }
    return a;
}

static int print_json(const struct infer *f, struct error *e)
{
    const struct answer *a = &f->answer;
    json_t *scores = json_array();
    char name[256];

    for (int i = 0; i < f->n_scores; i++)
        json_array_append_new(scores, report_rounded(f->scores[i], 6));
    return report_print(
        json_pack("{s:i, s:s, s:o, s:s, s:i, s:o, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "label",
                  a->label, "name", model_shape_label(f->pipeline, a->label, name, sizeof name), "scores",
                  scores, "exit", model_shape_exit(&f->model, a->exit), "exit_index", a->exit, "confidence",
                  report_number(a->confidence), "epoch", (json_int_t)a->epoch, "attempts", (int)a->attempts,
                  "total_ms", report_rounded(f->total_ms, 6), "broker_ms",
                  report_rounded(ms(a->broker_ns), 6), "lookup_wire_ms",
                  report_rounded(ms(a->lookup_wire_ns), 6), "lookup_queue_ms",
                  report_rounded(ms(a->lookup_queue_ns), 6), "lookup_ms", report_rounded(ms(a->lookup_ns), 6),
                  "return_ms", report_rounded(ms(a->return_ns), 6), "clock_error_ms",
                  a->clock_error_ns == UINT64_MAX ? json_null() : report_rounded(ms(a->clock_error_ns), 6),
                  "stages", stages_json(&a->trace)),
        e);
}

static int ask(struct infer *f, const struct tensor *input, struct error *e)
{
    struct client *c;
    uint64_t start;
    int rc = client_new(&c, f->pipeline, e);

    if (rc)
        return rc;
    start = clock_ns();
    rc = client_infer(c, input, f->no_cache ? JOB_NO_CACHE : 0, (uint32_t)f->deadline_ms, &f->answer,
                      f->scores, f->model.classes, &f->n_scores, e);
    f->total_ms = ms(clock_ns() - start);
    client_free(c);
    if (!rc && f->answer.error)
        rc = error_set(e, (enum fl_code)f->answer.error, "%s",
                       f->answer.text[0] ? f->answer.text : error_sentence((int)f->answer.error));
    if (rc && f->answer.retry_after_ms)
        rc = error_set(e, (enum fl_code)rc, "%s (try again in %u ms)", f->answer.text,
                       f->answer.retry_after_ms);
    return rc;
}

static int infer(struct infer *f, struct error *e)
{
    struct tensor input = {0};
    int rc;

    if (!f->input)
        return error_set(e, FL_USAGE, "--input is missing: a PNG, JPEG or .npy file");
    if ((rc = running_load(&f->pipeline, &f->where, e)) ||
        (rc = model_shape_load(&f->model, f->pipeline, e)) ||
        (rc = preprocess_file(&input, f->input, &f->model.input, f->pipeline, e)))
        return rc;
    arguments_warn_of_units(f->pipeline);
    f->scores = calloc((size_t)f->model.classes, sizeof *f->scores);
    rc = f->scores ? ask(f, &input, e) : error_set(e, FL_NOMEM, "no memory");
    tensor_release(&input);
    if (rc)
        return rc;
    if (f->json)
        return print_json(f, e);
    print_answer(f);
    return FL_OK;
}

int command_infer(int argc, char **argv, struct error *e)
{
    struct infer *f = calloc(1, sizeof *f);
    struct argument_list operands;
    bool helped;
    int rc;

    if (!f)
        return error_set(e, FL_NOMEM, "no memory");
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(f->where),
        {ARGUMENT_TEXT, "input", 0, &f->input, "X", "PNG, JPEG or .npy file", 0, 0},
        {ARGUMENT_FLAG, "no-cache", 0, &f->no_cache, NULL, "no look-ups: the whole network's answer", 0, 0},
        {ARGUMENT_INT, "deadline", 0, &f->deadline_ms, "MS",
         "give up after MS milliseconds (the pipeline's default)", 1, 3600000},
        {ARGUMENT_FLAG, "json", 0, &f->json, NULL, "machine-readable output", 0, 0},
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, &operands, &helped, e);
    if (!rc && !helped)
        rc = infer(f, e);
    free(f->scores);
    pipeline_free(f->pipeline);
    free(f);
    return rc;
}
