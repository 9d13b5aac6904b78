/* frontier_report.c - the frontier as a table, as JSON and as a picture, beside what was published */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "frontier.h"
#include "deploy/plot/plot.h"
#include "deploy/tool/output.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

#define JSON_POINTS 50 /* of a series, about */
#define PANELS      2
#define SERIES      (KINDS + 4)
#define WIDEST_LOSS 0.03 /* of the picture */

/* ResNet-18, half of the layers: arXiv 2002.02645, and GATI (arXiv 2101.07344), whose predictor was judged on
 * all requests. Accuracy is not told; a request that gets another answer than the full one loses at most
 * itself, so the loss is at most (1 - agreement) * share. On CIFAR-100 agreement is not told either (NAN). */
struct published {
    int classes; /* 10: CIFAR-10, 100: CIFAR-100 */
    const char *name;
    double share, agreement;
};
static const struct published published[] = {
    {10, "oracle (paper)", 0.9158, 1},    {10, "k-NN (paper)", 0.20, 0.975},
    {10, "k-means (paper)", 0.33, 0.929}, {10, "GATI's predictor", 1, 0.853},
    {100, "oracle (paper)", 0.55, 1},     {100, "k-NN (paper)", 0.15, NAN},
    {100, "k-means (paper)", 0.19, NAN},
};
enum { PUBLISHED = sizeof published / sizeof published[0] };

static double loss_at_most(const struct published *p)
{
    return (1 - p->agreement) * p->share;
}

/* Those of as many classes as the network has. */
static const struct published *next_published(const struct frontier *f, const struct published *before)
{
    const struct published *p = before ? before + 1 : published;
    while (p < published + PUBLISHED && p->classes != f->classes)
        p++;
    return p < published + PUBLISHED ? p : NULL;
}

/* --- table --- */

/* `half` is a point of the other curve. */
static void table_point(struct table *t, const struct frontier *f, const char *name, double most,
                        const struct frontier_point *p, const struct frontier_point *half)
{
    if (isnan(most))
        table_cells(t, "as built");
    else
        table_cells(t, "%.2f", 100 * most);
    table_cells(t, "%s|%.2f|%.2f%%|%.1f%%|%.1f%%|%.3f ms|%.1f%%", name, 100 * p->loss, 100 * p->agreement,
                100 * p->early, 100 * p->time, p->time * f->network_ms, 100 * half->by_half);
}

static void table_loss(struct table *t, const struct frontier *f, double most)
{
    for (int i = 0; i < f->n; i++) {
        const struct frontier_series *s = &f->series[i];
        if (!*s->skip)
            table_point(t, f, s->name, most, frontier_at(&s->fast, most, false),
                        frontier_at(&s->half, most, true));
    }
}

static void print_notes(const struct frontier *f)
{
    printf("\noracle     by half of the depth");
    for (int i = 0; i < f->n; i++)
        if (!*f->series[i].skip)
            printf("; %s: %.2f%%", f->series[i].name, 100 * f->series[i].oracle);
    printf("\n");
    if (f->classes == 10)
        printf("published  ResNet-18, CIFAR-10, half of the layers: oracle 91.58%%; k-NN about 20%% of the "
               "requests, 97.5%% of them as the\n           full network; k-means about 33%%, 92.9%%; GATI's "
               "predictor, if it answered all, 85.3%%\n");
    if (f->classes == 100)
        printf("published  ResNet-18, CIFAR-100, half of the layers: oracle 55%%; k-NN 15%% of the requests; "
               "k-means 19%%\n");
    for (int i = 0; i < f->n; i++)
        if (*f->series[i].skip)
            printf("left out   %s: %s\n", f->series[i].name, f->series[i].skip);
}

int frontier_print(const struct frontier *f, struct error *e)
{
    struct table *t;
    int rc;

    printf("\nfrontier   %lld requests; thresholds in the order that calibration data gave, as far along it "
           "as these "
           "requests allow: points\n           of %s lost at most; 'by half': by the exits within half of "
           "the depth "
           "alone\n\n",
           (long long)f->requests, f->labelled ? "accuracy" : "agreement");
    t = table_new("at most|caches|lost|agreement|early|time|latency|by half", "rlrrrrrr");
    for (int j = 0; j < FRONTIER_LOSSES; j++)
        table_loss(t, f, frontier_loss[j]);
    table_point(t, f, "", NAN, &f->served, &f->served);
    rc = table_end(t, e);
    print_notes(f);
    return rc;
}

/* --- JSON --- */

static json_t *point_json(const struct frontier *f, const struct frontier_point *p)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "loss", report_rounded(p->loss, 6), "agreement",
                     report_rounded(p->agreement, 6), "early_share", report_rounded(p->early, 6),
                     "by_half_share", report_rounded(p->by_half, 6), "mean_time_share",
                     report_rounded(p->time, 6), "mean_ms", report_rounded(p->time * f->network_ms, 6));
}

static json_t *curve_json(const struct frontier *f, const struct frontier_curve *c)
{
    json_t *points = json_array();
    int64_t step = c->n / JSON_POINTS + 1;

    for (int64_t i = 0; i < c->n; i += step)
        json_array_append_new(points, point_json(f, &c->point[i]));
    return points;
}

static json_t *series_json(const struct frontier *f, const struct frontier_series *s)
{
    json_t *at = json_array();

    for (int j = 0; !*s->skip && j < FRONTIER_LOSSES; j++)
        json_array_append_new(at, json_pack("{s:f, s:o, s:o}", "max_loss", frontier_loss[j], "fastest",
                                            point_json(f, frontier_at(&s->fast, frontier_loss[j], false)),
                                            "by_half",
                                            point_json(f, frontier_at(&s->half, frontier_loss[j], true))));
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "caches", s->name, "left_out",
                     *s->skip ? json_string(s->skip) : json_null(), "oracle_by_half_share",
                     report_rounded(*s->skip ? NAN : s->oracle, 6), "at", at, "fast", curve_json(f, &s->fast),
                     "half", curve_json(f, &s->half));
}

json_t *frontier_json(const struct frontier *f)
{
    json_t *series = json_array(), *known = json_array();

    for (int i = 0; i < f->n; i++)
        json_array_append_new(series, series_json(f, &f->series[i]));
    for (const struct published *p = next_published(f, NULL); p; p = next_published(f, p))
        json_array_append_new(known, json_pack("{s:s, s:f, s:o, s:o}", "name", p->name, "by_half_share",
                                               p->share, "agreement", report_rounded(p->agreement, 6),
                                               "loss_at_most", report_rounded(loss_at_most(p), 6)));
    return json_pack("{s:I, s:s, s:o, s:o, s:o}", "requests", (json_int_t)f->requests, "of",
                     f->labelled ? "accuracy" : "agreement", "series", series, "as_built",
                     point_json(f, &f->served), "published", known);
}

/* --- picture --- */

/* Coordinates of all series of one panel. */
struct panel {
    struct plot plot;
    struct plot_series series[SERIES];
    double *x[SERIES], *y[SERIES];
    const char *label[SERIES][PUBLISHED];
};

static void panel_release(struct panel *p)
{
    for (int i = 0; i < SERIES; i++) {
        free(p->x[i]);
        free(p->y[i]);
    }
}

/* A series with room for n points; NULL when there is no memory. */
static struct plot_series *panel_add(struct panel *p, const char *name, enum plot_mark mark, int64_t n)
{
    int i = p->plot.n_series;
    struct plot_series *s = &p->series[i];

    p->x[i] = malloc(sizeof *p->x[i] * ((size_t)n + 1));
    p->y[i] = malloc(sizeof *p->y[i] * ((size_t)n + 1));
    if (!p->x[i] || !p->y[i])
        return NULL;
    *s = (struct plot_series){.name = name, .mark = mark, .x = p->x[i], .y = p->y[i]};
    p->plot.n_series++;
    return s;
}

static void panel_point(struct panel *p, struct plot_series *s, double loss, double y, const char *label)
{
    int i = (int)(s - p->series);

    if (!(loss <= WIDEST_LOSS) || isnan(y))
        return;
    p->x[i][s->n] = 100 * loss;
    p->y[i][s->n] = y;
    if (s->mark == PLOT_POINTS) {
        p->label[i][s->n] = label;
        s->label = p->label[i];
    }
    s->n++;
}

enum { LATENCY, BY_HALF };

static double height(const struct frontier *f, const struct frontier_point *p, int panel)
{
    return panel == LATENCY ? p->time * f->network_ms : 100 * p->by_half;
}

static int add_series(struct panel *p, const struct frontier *f, int panel)
{
    struct plot_series *s;

    for (int i = 0; i < f->n; i++) {
        const struct frontier_curve *c = panel == LATENCY ? &f->series[i].fast : &f->series[i].half;
        if (!(s = panel_add(p, f->series[i].name, PLOT_LINE, c->n)))
            return FL_NOMEM;
        for (int64_t k = 0; k < c->n; k++)
            panel_point(p, s, c->point[k].loss, height(f, &c->point[k], panel), NULL);
    }
    if (!(s = panel_add(p, "as built", PLOT_POINTS, 1)))
        return FL_NOMEM;
    panel_point(p, s, f->served.loss, height(f, &f->served, panel), NULL);
    return FL_OK;
}

/* What the caches within half of the depth know, and what was published about that depth. */
static int add_known(struct panel *p, const struct frontier *f)
{
    const char *title = f->classes == 100 ? "published (loss not told)" : "published (loss: at most)";
    struct plot_series *s = panel_add(p, "oracle", PLOT_POINTS, KINDS + 1);
    const struct published *first = next_published(f, NULL);

    if (!s)
        return FL_NOMEM;
    for (int i = 0; i < f->n; i++)
        if (!*f->series[i].skip)
            panel_point(p, s, 0, 100 * f->series[i].oracle, NULL);
    if (first && !(s = panel_add(p, title, PLOT_POINTS, PUBLISHED)))
        return FL_NOMEM;
    for (const struct published *o = first; o; o = next_published(f, o))
        panel_point(p, s, isnan(o->agreement) ? 0 : loss_at_most(o), 100 * o->share, o->name);
    return FL_OK;
}

/* One panel as text, malloc'ed. */
static int draw(char **text, const struct frontier *f, int panel, struct error *e)
{
    struct panel p = {
        .plot = {.title =
                     panel == LATENCY ? "Mean latency" : "Answered by the exits within half of the depth",
                 .x = {.title = f->labelled ? "points of accuracy lost" : "points of agreement lost"},
                 .y = {.title = panel == LATENCY ? "ms, look-ups included" : "% of the requests"}}};
    size_t size;
    FILE *to = open_memstream(text, &size);
    int rc = to ? add_series(&p, f, panel) : FL_NOMEM;

    p.plot.series = p.series;
    if (!rc && panel == BY_HALF)
        rc = add_known(&p, f);
    if (rc)
        error_set(e, (enum fl_code)rc, "no memory for a picture");
    else
        rc = plot_write(&p.plot, to, e);
    if (to && fclose(to) && !rc)
        rc = error_set(e, FL_NOMEM, "no memory for a picture");
    panel_release(&p);
    return rc;
}

/* Panels under one another; each brings its size along. */
static int stack(FILE *to, const void *arg, struct error *e)
{
    char *const *text = arg;
    double wide[PANELS], high[PANELS], sum = 0;

    for (int i = 0; i < PANELS; i++) {
        const char *box = strstr(text[i], "viewBox=\"");
        if (!box || sscanf(box, "viewBox=\"0 0 %lf %lf", &wide[i], &high[i]) != 2)
            wide[i] = high[i] = 0;
        sum += high[i];
    }
    fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\">\n", wide[0], sum);
    sum = 0;
    for (int i = 0; i < PANELS; i++) {
        fprintf(to, "<svg y=\"%.0f\" width=\"%.0f\" height=\"%.0f\">%s</svg>\n", sum, wide[i], high[i],
                text[i]);
        sum += high[i];
    }
    fprintf(to, "</svg>\n");
    (void)e;
    return FL_OK;
}

int frontier_plot(const struct frontier *f, const char *path, struct error *e)
{
    char *text[PANELS] = {NULL, NULL};
    int rc = FL_OK;

    for (int i = 0; i < PANELS && !rc; i++)
        rc = draw(&text[i], f, i, e);
    if (!rc)
        rc = output_write(path, stack, text, e);
    for (int i = 0; i < PANELS; i++)
        free(text[i]);
    return rc;
}
