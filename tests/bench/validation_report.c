/* validation_report.c - the table, the medians and the plots of a validation */
#include "validation.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "numbers/samples.h"
#include "deploy/plot/plot.h"
#include "deploy/tool/table.h"

static void stop_unless(int rc, const struct error *e)
{
    if (!rc)
        return;
    fprintf(stderr, "validate_simulation: %s\n", e->text);
    exit(1);
}

enum figure { P50, P99, THROUGHPUT };

static double figure_of(const struct point *p, enum figure figure, int predicted)
{
    return figure == P50 ? p->p50[predicted] : figure == P99 ? p->p99[predicted] : p->throughput[predicted];
}

/* Mean over the passes that were done; NaN without one. */
static double mean_of(const struct load *l, enum figure figure, int predicted)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < VALIDATION_PASSES; i++) {
        sum += l->pass[i].done ? figure_of(&l->pass[i], figure, predicted) : 0;
        n += l->pass[i].done;
    }
    return n ? sum / n : NAN;
}

static double error_of(const struct load *l, enum figure figure)
{
    return mean_of(l, figure, 1) / mean_of(l, figure, 0) - 1;
}

/* How far the last pass is from the first at the same speed of the machine; NaN with fewer than two. */
static double repeat_of(const struct load *l, enum figure figure)
{
    const struct point *a = &l->pass[0], *b = &l->pass[VALIDATION_PASSES - 1];
    double speed = a->reference_ms / b->reference_ms, ratio;
    if (!a->done || !b->done || a == b)
        return NAN;
    ratio = figure_of(b, figure, 0) / figure_of(a, figure, 0);
    return (figure == THROUGHPUT ? ratio / speed : ratio * speed) - 1;
}

static void print_figure(struct table *t, const struct load *l, enum figure figure, const char *format)
{
    bool shown = (figure == THROUGHPUT) == (l->pass[0].rate <= 0);
    for (int i = 0; i < 2; i++)
        table_cells(t, shown ? format : "", mean_of(l, figure, i));
    table_cells(t, shown ? "%+.0f%%" : "", 100 * error_of(l, figure));
}

static void print_row(struct table *t, const struct load *l)
{
    table_cells(t, "%s|%s", l->shape, l->caches ? "yes" : "no");
    table_cells(t, l->pass[0].rate > 0 ? "%.1f/s" : "saturated", l->pass[0].rate);
    print_figure(t, l, P50, "%.2f");
    print_figure(t, l, P99, "%.2f");
    print_figure(t, l, THROUGHPUT, "%.1f");
}

static void print_medians(const struct load load[VALIDATION_POINTS], enum figure figure, const char *name,
                          int aim)
{
    double errors[VALIDATION_POINTS], repeats[VALIDATION_POINTS];
    int n = 0, n_repeats = 0;
    for (int i = 0; i < VALIDATION_POINTS; i++) {
        const struct load *l = &load[i];
        if (!l->pass[0].done || (figure == THROUGHPUT) != (l->pass[0].rate <= 0))
            continue;
        errors[n++] = fabs(error_of(l, figure));
        if (!isnan(repeat_of(l, figure)))
            repeats[n_repeats++] = fabs(repeat_of(l, figure));
    }
    printf("%s: median error over %d loads %.1f%% (aim %d%%)", name, n, 100 * samples_median(errors, n), aim);
    if (n_repeats)
        printf("; the same load measured again was off by %.1f%%", 100 * samples_median(repeats, n_repeats));
    printf("\n");
}

void validation_print(const struct load load[VALIDATION_POINTS])
{
    struct table *t = table_new(
        "pipeline|caches|load|p50 ms|predicted|error|p99 ms|predicted|error|requests/s|predicted|error",
        "llrrrrrrrrrr");
    struct error e;

    for (int i = 0; i < VALIDATION_POINTS; i++)
        if (load[i].pass[0].done)
            print_row(t, &load[i]);
    printf("\n");
    stop_unless(table_end(t, &e), &e);
    printf("\n");
    print_medians(load, P50, "p50", 10);
    print_medians(load, P99, "p99", 20);
    print_medians(load, THROUGHPUT, "saturation throughput", 10);
}

enum { MOST = VALIDATION_POINTS * VALIDATION_PASSES };

/* Marks of one figure; widens `ends` to hold them. Returns their number. */
static int collect(const struct load load[VALIDATION_POINTS], enum figure figure, double *x, double *y,
                   double ends[2])
{
    int n = 0;
    for (int i = 0; i < MOST; i++) {
        const struct point *p = &load[i / VALIDATION_PASSES].pass[i % VALIDATION_PASSES];
        if (!p->done || (figure == THROUGHPUT) != (p->rate <= 0))
            continue;
        x[n] = figure_of(p, figure, 0);
        y[n] = figure_of(p, figure, 1);
        ends[0] = fmin(ends[0], fmin(x[n], y[n]));
        ends[1] = fmax(ends[1], fmax(x[n], y[n]));
        n++;
    }
    return n;
}

void validation_draw(const struct load load[VALIDATION_POINTS], bool latency, const char *path)
{
    double x[2][MOST], y[2][MOST], ends[2] = {INFINITY, 0};
    struct plot_series series[3] = {
        {.name = "as measured", .mark = PLOT_LINE, .dashed = true, .n = 2, .x = ends, .y = ends},
        {.name = latency ? "p50" : "saturation", .mark = PLOT_POINTS, .x = x[0], .y = y[0]},
        {.name = "p99", .mark = PLOT_POINTS, .x = x[1], .y = y[1]}};
    struct plot plot = {.title = latency ? "Latency, predicted over measured"
                                         : "Throughput, predicted over measured",
                        .x = {.title = latency ? "measured, ms" : "measured, requests/s", .log = true},
                        .y = {.title = latency ? "predicted, ms" : "predicted, requests/s", .log = true},
                        .n_series = latency ? 3 : 2,
                        .series = series};
    struct error e;
    FILE *to = fopen(path, "we");
    series[1].n = collect(load, latency ? P50 : THROUGHPUT, x[0], y[0], ends);
    if (latency)
        series[2].n = collect(load, P99, x[1], y[1], ends);
    stop_unless(!to, &(struct error){.text = "cannot write a plot into the work folder"});
    if (!plot_write(&plot, to, &e))
        printf("plot: %s\n", path);
    fclose(to);
}
