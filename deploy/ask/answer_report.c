/* answer_report.c - see answer_report.h */
#include "answer_report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/tool/report.h"

#define BAR_CELLS 40
#define TOP_SHOWN 5

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

static int bars_of(const struct asked *f, struct bar *bar)
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

static void print_waterfall(const struct asked *f)
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
static int top_scores(const struct asked *f, int top[TOP_SHOWN])
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

/* The kind of the exit that answered: as built, or as the pipeline file says where no build is on this
 * machine. */
static const char *kind_of(const struct asked *f)
{
    const struct model_exit *x = &f->model->exit[f->answer.exit];

    if (f->answer.exit < 0 || f->answer.exit >= f->model->n_exits)
        return "";
    for (int i = 0; f->built && i < f->built->n_exits; i++)
        if (!strcmp(f->built->exit[i].name, x->name))
            return f->built->exit[i].kind;
    return x->kind;
}

/* Confidences of different kinds are different things. */
static const char *in_words(const struct asked *f)
{
    const char *kind = kind_of(f);

    return !strcmp(kind, "learned")  ? " (log odds against the runner-up: 0 is even, 2.2 is nine to one)"
           : !strcmp(kind, "kmeans") ? " (the majority's share / distance)"
           : !strcmp(kind, "knn")    ? " (the neighbours' share x the sum of 1 / distance)"
                                     : "";
}

void answer_print(const struct asked *f)
{
    const struct answer *a = &f->answer;
    int top[TOP_SHOWN], n = top_scores(f, top);
    char name[256];

    printf("%s\n", model_shape_label(f->pipeline, a->label, name, sizeof name));
    if (a->exit >= 0)
        printf("answered by %s (layer %d of %d) with confidence %.4g%s, cache epoch %llu\n",
               model_shape_exit(f->model, a->exit),
               a->exit < f->model->n_exits ? f->model->exit[a->exit].depth : 0, f->model->depth,
               a->confidence, in_words(f), (unsigned long long)a->epoch);
    else
        printf("answered by the whole network (%d layers)\n", f->model->depth);
    if (a->variant[0])
        printf("answered by variant %s\n", a->variant);
    if (a->loss_promised)
        printf("certified for a loss of %g points at most\n", (a->loss_promised - 1) * 100.0 / SHARE_PPM);
    if (a->known)
        printf("known before: the answer of an earlier request with the same input\n");
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

json_t *answer_json(const struct asked *f)
{
    const struct answer *a = &f->answer;
    json_t *scores = json_array(), *o;
    char name[256];

    for (int i = 0; i < f->n_scores; i++)
        json_array_append_new(scores, report_rounded(f->scores[i], 6));
    o = json_pack(
        "{s:s, s:i, s:s, s:o, s:s, s:i, s:o, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "input",
        f->input, "label", a->label, "name", model_shape_label(f->pipeline, a->label, name, sizeof name),
        "scores", scores, "exit", model_shape_exit(f->model, a->exit), "exit_index", a->exit, "confidence",
        report_number(a->confidence), "epoch", (json_int_t)a->epoch, "attempts", (int)a->attempts, "total_ms",
        report_rounded(f->total_ms, 6), "broker_ms", report_rounded(ms(a->broker_ns), 6), "lookup_wire_ms",
        report_rounded(ms(a->lookup_wire_ns), 6), "lookup_queue_ms",
        report_rounded(ms(a->lookup_queue_ns), 6), "lookup_ms", report_rounded(ms(a->lookup_ns), 6),
        "return_ms", report_rounded(ms(a->return_ns), 6), "clock_error_ms",
        a->clock_error_ns == UINT64_MAX ? json_null() : report_rounded(ms(a->clock_error_ns), 6), "stages",
        stages_json(&a->trace));
    json_object_set_new(o, "request", json_integer((json_int_t)a->request));
    json_object_set_new(o, "known", json_boolean(a->known));
    if (a->loss_promised)
        json_object_set_new(o, "loss_promised", json_real((a->loss_promised - 1) / (double)SHARE_PPM));
    if (a->variant[0])
        json_object_set_new(o, "variant", json_string(a->variant));
    if (o && a->exit >= 0 && *kind_of(f))
        json_object_set_new(o, "kind", json_string(kind_of(f)));
    return o;
}

void answer_print_head(int width)
{
    printf("%-*s  %-16s %9s  %-12s %10s %8s\n", width, "input", "answer", "score", "answered by",
           "confidence", "ms");
}

void answer_print_row(const struct asked *f, int width)
{
    const struct answer *a = &f->answer;
    char name[256], score[32] = "-", confidence[32] = "-";

    if (a->label >= 0 && a->label < f->n_scores)
        snprintf(score, sizeof score, "%.4f", (double)f->scores[a->label]);
    if (a->exit >= 0)
        snprintf(confidence, sizeof confidence, "%.4g", (double)a->confidence);
    printf("%-*s  %-16s %9s  %-12s %10s %8.3f\n", width, f->input,
           model_shape_label(f->pipeline, a->label, name, sizeof name), score,
           model_shape_exit(f->model, a->exit), confidence, f->total_ms);
}
