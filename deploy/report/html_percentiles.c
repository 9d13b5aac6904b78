/* html_percentiles.c - how latency is distributed: by percentile in nines, and by exit */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench_document.h"
#include "html.h"
#include "html_sections.h"
#include "deploy/plot/plot.h"

#define MAX_EXITS 5 /* drawn, those that answer most; all stand in the table */

static const struct percentile {
    const char *key, *name;
    double odds; /* 1 / (1 - share): its place on the axis of nines */
} percentiles[] = {{"p50", "50%", 2},   {"p90", "90%", 10},      {"p95", "95%", 20},
                   {"p99", "99%", 100}, {"p999", "99.9%", 1000}, {"p9999", "99.99%", 10000}};
#define N_PERCENTILES ((int)(sizeof percentiles / sizeof percentiles[0]))

static const struct plot_tick nines[] = {{1, "0%"},        {2, "50%"},        {10, "90%"},
                                         {100, "99%"},     {1e3, "99.9%"},    {1e4, "99.99%"},
                                         {1e5, "99.999%"}, {1e6, "99.9999%"}, {1e7, "99.99999%"}};

/* A distribution as a line. */
struct curve {
    int n;
    double *x, *y;
};

static int curve_new(struct curve *c, const struct spread *s, struct error *e)
{
    *c = (struct curve){0};
    c->x = malloc(((size_t)s->n + 1) * sizeof *c->x); /* one more than there are buckets, for the other end */
    c->y = malloc(((size_t)s->n + 1) * sizeof *c->y);
    return c->x && c->y ? FL_OK : error_set(e, FL_NOMEM, "no memory for a curve");
}

static void curve_free(struct curve *c)
{
    free(c->x);
    free(c->y);
}

/* Steps of seconds over 1 / (1 - share): each bucket's time from the share of the requests before it on. The
 * slowest of N has no share beyond it; it stands at N. */
static void by_odds(struct curve *c, const struct spread *s)
{
    double seen = 0, last = NAN;

    for (int i = 0; i < s->n; i++)
        if (s->count[i] > 0) {
            last = s->upper_us[i] * 1e-6;
            c->x[c->n] = fmin(s->total / fmax(s->total - seen, 1), s->total);
            c->y[c->n++] = last;
            seen += s->count[i];
        }
    if (c->n) {
        c->x[c->n] = s->total;
        c->y[c->n++] = last;
    }
}

/* Percent of the requests over seconds. */
static void by_time(struct curve *c, const struct spread *s)
{
    double seen = 0;

    for (int i = 0; i < s->n; i++)
        if (s->count[i] > 0) {
            if (!c->n) {
                c->x[0] =
                    (i ? fmax(s->upper_us[i - 1], 0.99 * s->upper_us[i]) : 0.99 * s->upper_us[i]) * 1e-6;
                c->y[c->n++] = 0;
            }
            seen += s->count[i];
            c->x[c->n] = s->upper_us[i] * 1e-6;
            c->y[c->n++] = 100 * seen / s->total;
        }
}

/* The named percentiles with their 95% intervals. */
static int named_points(const json_t *latency, double total, double x[], double y[], double low[],
                        double high[])
{
    int n = 0;

    for (int i = 0; i < N_PERCENTILES; i++) {
        char path[32];
        const json_t *interval;
        double ms = document_number(latency, percentiles[i].key);
        if (!isfinite(ms) || percentiles[i].odds > total)
            continue;
        snprintf(path, sizeof path, "interval.%s", percentiles[i].key);
        interval = document_list(latency, path);
        x[n] = percentiles[i].odds;
        y[n] = ms / 1000;
        low[n] = json_is_number(json_array_get(interval, 0))
                     ? json_number_value(json_array_get(interval, 0)) / 1000
                     : NAN;
        high[n] = json_is_number(json_array_get(interval, 1))
                      ? json_number_value(json_array_get(interval, 1)) / 1000
                      : NAN;
        n++;
    }
    return n;
}

static void percentile_table(FILE *to, const json_t *latency)
{
    struct html_table t;

    html_table_open(&t, to, "Percentiles as a table", "share of the requests|latency|95% interval", "lrr");
    html_cell(&t, "fastest");
    html_number(&t, document_number(latency, "min") / 1000, "s");
    html_cell(&t, " ");
    for (int i = 0; i < N_PERCENTILES; i++) {
        char path[32];
        const json_t *interval;
        snprintf(path, sizeof path, "interval.%s", percentiles[i].key);
        interval = document_list(latency, path);
        html_cell(&t, "%s", percentiles[i].name);
        html_number(&t, document_number(latency, percentiles[i].key) / 1000, "s");
        if (json_is_number(json_array_get(interval, 0)) && json_is_number(json_array_get(interval, 1)))
            html_cell(&t, "%.3g to %.3g ms", json_number_value(json_array_get(interval, 0)),
                      json_number_value(json_array_get(interval, 1)));
        else
            html_cell(&t, "\xe2\x80\x93");
    }
    html_cell(&t, "slowest");
    html_number(&t, document_number(latency, "max") / 1000, "s");
    html_cell(&t, " ");
    html_cell(&t, "mean");
    html_number(&t, document_number(latency, "mean") / 1000, "s");
    html_cell(&t, " ");
    html_table_close(&t, "");
}

static int draw_percentiles(FILE *to, const json_t *latency, const struct spread *s, struct error *e)
{
    double x[N_PERCENTILES], y[N_PERCENTILES], low[N_PERCENTILES], high[N_PERCENTILES];
    double total = s->n ? s->total : 1e5;
    int n = named_points(latency, total, x, y, low, high), rc;
    struct curve c;

    if ((rc = curve_new(&c, s, e)) == FL_OK) {
        by_odds(&c, s);
        const struct plot_series series[] = {
            {.name = "all requests", .mark = PLOT_STEP, .n = c.n, .x = c.x, .y = c.y},
            {.name = "with 95% intervals",
             .mark = PLOT_POINTS,
             .n = n,
             .x = x,
             .y = y,
             .low = low,
             .high = high}};
        const struct plot p = {.title = "Latency by percentile",
                               .bare = true,
                               .x = {"share of the requests that are answered within this time", true, 1,
                                     s->n ? fmax(s->total, 2) : 1e4, NULL,
                                     (int)(sizeof nines / sizeof nines[0]), nines},
                               .y = {.title = "latency", .log = true, .unit = "s"},
                               .n_series = 2,
                               .series = series};
        rc = plot_write(&p, to, e);
    }
    curve_free(&c);
    return rc;
}

int html_percentiles(FILE *to, const json_t *doc, struct error *e)
{
    const json_t *latency = document_object(doc, "latency_ms");
    struct spread s;
    int rc = spread_read(&s, document_object(doc, "histogram"), e);

    if (rc)
        return rc;
    html_section(
        to, "percentiles", "Latency by percentile",
        "Each step to the right is ten times rarer: 99% means that one request in a hundred took longer.");
    rc = draw_percentiles(to, latency, &s, e);
    if (rc == FL_VALUE) {
        html_absent(to, "Not shown: no request was answered, so the document has no latencies.");
        rc = FL_OK;
    } else if (!rc)
        percentile_table(to, latency);
    html_section_end(to);
    spread_release(&s);
    return rc;
}

static int by_index(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Indices of the exits that answered most, in the network's order. */
static int largest(const json_t *exits, int out[MAX_EXITS])
{
    int n = 0;

    for (size_t i = 0; i < json_array_size(exits); i++) {
        double answered = document_number(json_array_get(exits, i), "answered");
        int at = n;
        if (!(answered > 0))
            continue;
        while (at > 0 && document_number(json_array_get(exits, (size_t)out[at - 1]), "answered") < answered)
            at--;
        if (at == MAX_EXITS)
            continue;
        n += n < MAX_EXITS;
        memmove(out + at + 1, out + at, (size_t)(n - at - 1) * sizeof *out);
        out[at] = (int)i;
    }
    qsort(out, (size_t)n, sizeof *out, by_index);
    return n;
}

static void exit_table(FILE *to, const json_t *exits)
{
    struct html_table t;
    const json_t *exit;
    size_t i;

    html_table_open(&t, to, "Exits as a table", "answered by|requests|share|accuracy|mean|p50|p99",
                    "lrrrrrr");
    json_array_foreach(exits, i, exit)
    {
        const char *name = document_text(exit, "name");
        html_cell(&t, "%s", name ? name : "?");
        html_cell(&t, "%.0f", fmax(document_number(exit, "answered"), 0));
        html_number(&t, 100 * document_number(exit, "share"), "%");
        html_number(&t, 100 * document_number(exit, "accuracy"), "%");
        html_number(&t, document_number(exit, "latency_ms.mean") / 1000, "s");
        html_number(&t, document_number(exit, "latency_ms.p50") / 1000, "s");
        html_number(&t, document_number(exit, "latency_ms.p99") / 1000, "s");
    }
    html_table_close(&t, "");
}

static int add_curve(struct curve *c, struct plot_series *out, const json_t *of, const char *name,
                     struct error *e)
{
    struct spread s;
    int rc = spread_read(&s, document_object(of, "histogram"), e);

    if (!rc && (rc = curve_new(c, &s, e)) == FL_OK) {
        by_time(c, &s);
        *out = (struct plot_series){
            .name = name ? name : "?", .mark = PLOT_STEP, .n = c->n, .x = c->x, .y = c->y};
    }
    spread_release(&s);
    return rc;
}

int html_exits(FILE *to, const json_t *doc, struct error *e)
{
    const json_t *exits = document_list(doc, "exits");
    struct curve curve[MAX_EXITS + 1] = {{0}};
    struct plot_series series[MAX_EXITS + 1];
    struct plot p = {.title = "Distribution of latency by exit",
                     .bare = true,
                     .x = {.title = "latency", .log = true, .unit = "s"},
                     .y = {.title = "answered within this time", .to = 100, .unit = "%"},
                     .series = series};
    int index[MAX_EXITS] = {0}, n = largest(exits, index), rc;

    html_section(to, "exits", "Latency by exit",
                 "Of the requests that each exit answers: the share that is answered within a time.");
    rc = add_curve(&curve[0], &series[0], doc, "all requests", e);
    series[0].dashed = true;
    for (int i = 0; i < n && !rc; i++) {
        const json_t *exit = json_array_get(exits, (size_t)index[i]);
        rc = add_curve(&curve[i + 1], &series[i + 1], exit, document_text(exit, "name"), e);
    }
    p.n_series = n + 1;
    if (!rc)
        rc = plot_write(&p, to, e);
    if (rc == FL_VALUE) {
        html_absent(to, "Not shown: the document has no histograms.");
        rc = FL_OK;
    }
    if (!rc && exits)
        exit_table(to, exits);
    html_section_end(to);
    for (int i = 0; i <= MAX_EXITS; i++)
        curve_free(&curve[i]);
    return rc;
}
