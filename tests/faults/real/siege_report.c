/* siege_report.c - trials as lines, as a table, as JSON, as a time line */
#include "siege.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/plot/plot.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

static double seconds(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) / (double)NS_PER_S : 0;
}

/* Until the last request that the fault disturbed was over. */
static double serving_s(const struct trial *t)
{
    return seconds(t->begun_ns, t->sum.last_met_ns);
}

static const char *verdict(const struct trial *t)
{
    return t->failed ? "FAILED" : t->missed ? "missed a bound" : "ok";
}

static int64_t errors(const struct account_sum *s)
{
    int64_t n = 0;

    for (int i = 0; i < FL_CODES; i++)
        n += s->error[i];
    return n;
}

/* "3 unavailable, 1 deadline". */
static char *kinds(const struct account_sum *s, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = 0;
    for (int i = 0; i < FL_CODES && n < size; i++)
        if (s->error[i])
            n += (size_t)snprintf(buf + n, size - n, "%s%lld %s", n ? ", " : "", (long long)s->error[i],
                                  error_name(i));
    return buf;
}

void siege_print(const struct siege *s, const struct trial *t)
{
    char buf[256];

    fprintf(stderr, "%7.1f s  %-16s %-34.34s %s", siege_seconds(s, t->begun_ns), t->fault->name, t->victim,
            verdict(t));
    if (errors(&t->sum))
        fprintf(stderr, " (%s)", kinds(&t->sum, buf, sizeof buf));
    fprintf(stderr, "%s%s%s%s\n", t->note[0] ? "; " : "", t->note, t->failed ? ": " : "",
            t->failed ? t->why : "");
}

int siege_table(const struct siege *s, struct error *e)
{
    struct table *t = table_new(
        "fault|to|sent|right|early|errors|lost|twice|met|added p50|p99|serving|whole|", "llrrrrrrrrrrrl");

    for (int i = 0; i < s->n; i++) {
        const struct trial *r = &s->trial[i];
        table_cells(t, "%s|%.40s|%lld|%lld|%lld|%lld|%lld|%lld|%lld|%.0f ms|%.0f ms|%.2f s|%.2f s|%s",
                    r->fault->name, r->victim, (long long)r->sum.sent, (long long)r->sum.right,
                    (long long)r->sum.early, (long long)errors(&r->sum), (long long)r->sum.lost,
                    (long long)r->sum.doubled, (long long)r->sum.met, r->sum.added_p50_ms,
                    r->sum.added_p99_ms, serving_s(r), seconds(r->begun_ns, r->whole_ns), verdict(r));
    }
    return table_end(t, e);
}

static json_t *trial_json(const struct siege *s, const struct trial *t)
{
    json_t *by_kind = json_object(), *out;

    for (int i = 0; i < FL_CODES; i++)
        if (t->sum.error[i])
            json_object_set_new(by_kind, error_name(i), json_integer(t->sum.error[i]));
    out = json_pack(
        "{s:s, s:s, s:s, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
        "fault", t->fault->name, "what", t->fault->what, "to", t->victim, "ok", !t->failed, "within_bounds",
        !t->missed, "why", t->why, "note", t->note, "sent", (json_int_t)t->sum.sent, "right",
        (json_int_t)t->sum.right, "early", (json_int_t)t->sum.early, "early_differ",
        (json_int_t)t->sum.differ, "wrong", (json_int_t)t->sum.wrong, "lost", (json_int_t)t->sum.lost,
        "doubled", (json_int_t)t->sum.doubled, "contradicted", (json_int_t)t->sum.contradicted, "late",
        (json_int_t)t->sum.late, "retried", (json_int_t)t->sum.retried, "met", (json_int_t)t->sum.met,
        "errors", by_kind);
    json_object_set_new(out, "at_s", report_rounded(siege_seconds(s, t->begun_ns), 3));
    json_object_set_new(out, "calm_p50_ms", report_rounded(t->calm_p50_ms, 3));
    json_object_set_new(out, "calm_p99_ms", report_rounded(t->calm_p99_ms, 3));
    json_object_set_new(out, "added_p50_ms", report_rounded(t->sum.added_p50_ms, 3));
    json_object_set_new(out, "added_p99_ms", report_rounded(t->sum.added_p99_ms, 3));
    json_object_set_new(out, "refusal_p99_ms", report_rounded(t->sum.refusal_p99_ms, 3));
    json_object_set_new(out, "serving_s", report_rounded(serving_s(t), 3));
    json_object_set_new(out, "whole_s", report_rounded(seconds(t->begun_ns, t->whole_ns), 3));
    return out;
}

int siege_json(const struct siege *s, struct error *e)
{
    json_t *trials = json_array(), *root;
    int failed = 0, missed = 0;
    int64_t lost = 0, doubled = 0;

    for (int i = 0; i < s->n; i++) {
        json_array_append_new(trials, trial_json(s, &s->trial[i]));
        failed += s->trial[i].failed;
        missed += s->trial[i].missed;
        lost += s->trial[i].sum.lost;
        doubled += s->trial[i].sum.doubled;
    }
    root = json_pack("{s:i, s:i, s:I, s:I, s:o}", "failed", failed, "missed_bounds", missed, "lost",
                     (json_int_t)lost, "doubled", (json_int_t)doubled, "trials", trials);
    return report_print(root, e);
}

/* ---- the time line ---- */

enum { FULL, EARLY, FAILED, FAULT, LINES };

struct time_line {
    size_t size;
    struct plot_series series[LINES];
    double *at[2 * LINES];
    const char **label;
};

static void put(struct time_line *l, int which, double x, double y)
{
    int n = l->series[which].n++;

    l->at[which][n] = x;
    l->at[LINES + which][n] = y;
}

static int make(struct time_line *l, size_t size)
{
    static const char *const names[LINES] = {"answered by the network", "answered by a cache",
                                             "refused or failed", "faults"};

    if (!(l->label = calloc(size, sizeof *l->label)))
        return FL_NOMEM;
    for (int i = 0; i < 2 * LINES; i++)
        if (!(l->at[i] = calloc(size, sizeof **l->at)))
            return FL_NOMEM;
    for (int i = 0; i < LINES; i++)
        l->series[i] = (struct plot_series){.name = names[i],
                                            .mark = i == FAULT ? PLOT_RULES : PLOT_POINTS,
                                            .x = l->at[i],
                                            .y = l->at[LINES + i]};
    l->series[FAULT].label = l->label;
    return FL_OK;
}

static void fill(struct time_line *l, const struct siege *s)
{
    for (int k = 0; k < s->n_loads; k++) {
        const struct account *a = steady_load_lock(s->load[k]);
        for (int64_t i = 0; i < a->n; i++) {
            const struct account_entry *r = &a->entry[i];
            uint64_t end = r->ended_ns ? r->ended_ns : r->sent_ns + a->deadline_ns;
            put(l,
                !r->ended_ns || r->error ? FAILED
                : r->exit >= 0           ? EARLY
                                         : FULL,
                siege_seconds(s, r->due_ns), (double)(end - r->due_ns) / (double)NS_PER_S);
        }
        steady_load_unlock(s->load[k]);
    }
    for (int i = 0; i < s->n; i++) {
        l->label[i] = s->trial[i].fault->name;
        put(l, FAULT, siege_seconds(s, s->trial[i].begun_ns), 0);
    }
}

int siege_plot(const struct siege *s, const char *path, struct error *e)
{
    struct time_line l = {0};
    struct plot p = {.title = "Each request, and the faults that were made",
                     .x = {.title = "time", .unit = "s"},
                     .y = {.title = "latency", .unit = "s", .log = true},
                     .n_series = LINES,
                     .series = l.series};
    size_t size = (size_t)s->n + 1;
    FILE *f = fopen(path, "we");
    int rc;

    for (int k = 0; k < s->n_loads; k++) {
        size += (size_t)steady_load_lock(s->load[k])->n;
        steady_load_unlock(s->load[k]);
    }
    rc = make(&l, size) ? error_set(e, FL_NOMEM, "no memory for the time line")
         : !f           ? error_set(e, FL_IO, "cannot write %s", path)
                        : FL_OK;
    if (!rc) {
        fill(&l, s);
        rc = plot_write(&p, f, e);
    }
    if (f && fclose(f) && !rc)
        rc = error_set(e, FL_IO, "cannot write %s", path);
    for (int i = 0; i < 2 * LINES; i++)
        free(l.at[i]);
    free(l.label);
    return rc;
}
