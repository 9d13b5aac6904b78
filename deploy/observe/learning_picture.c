/* learning_picture.c - see learning_picture.h */
#include "learning_picture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/plot/plot.h"
#include "deploy/tool/output.h"
#include "epoch_report.h"

#define MOST      1024 /* points */
#define WINDOW_NS (3 * NS_PER_S)
#define FEWEST    30 /* audits before a loss is drawn */
#define COLUMNS   64
#define ROWS      8

struct point {
    uint64_t ns, answered, hits;
    double loss, upper, budget; /* of the epoch that serves; NAN: not known */
    uint64_t serial;
};

struct learning_picture {
    int n;
    struct point point[MOST];
};

int learning_picture_new(struct learning_picture **out)
{
    return (*out = calloc(1, sizeof **out)) ? FL_OK : FL_NOMEM;
}

void learning_picture_free(struct learning_picture *p)
{
    free(p);
}

void learning_picture_add(struct learning_picture *p, const struct status_reply *r)
{
    const struct process_status *l = epoch_learner(r);
    struct point x = {r->now_ns, r->answered, r->hits, NAN, NAN, NAN, 0};
    if (l && l->caches.promise.made)
        x.budget = l->caches.promise.max_loss;
    if (l && l->last.told.state != EPOCH_COLD && l->last.told.audits >= FEWEST) {
        const struct epoch_told *t = &l->last.told;
        x.loss = ((double)t->lost - (double)t->won) / (double)t->audits;
        x.upper = t->upper;
    }
    if (l)
        x.serial = l->last.told.serial;
    if (p->n && x.ns <= p->point[p->n - 1].ns)
        p->n = 0; /* another broker */
    if (p->n == MOST) {
        for (int i = 0; i < MOST / 2; i++)
            p->point[i] = p->point[2 * i + 1];
        p->n = MOST / 2;
    }
    p->point[p->n++] = x;
}

static double seconds(const struct learning_picture *p, int i)
{
    return (double)(p->point[i].ns - p->point[0].ns) / NS_PER_S;
}

/* Answered early, over the last few seconds before point i. NAN: nothing was answered. */
static double early(const struct learning_picture *p, int i)
{
    int from = i;
    uint64_t n;
    while (from > 0 && p->point[i].ns - p->point[from].ns < WINDOW_NS)
        from--;
    n = p->point[i].answered - p->point[from].answered;
    return p->point[i].answered > p->point[from].answered
               ? (double)(p->point[i].hits - p->point[from].hits) / (double)n
               : NAN;
}

/* --- in characters --- */

typedef double value_at(const struct learning_picture *p, int i);

static double loss(const struct learning_picture *p, int i)
{
    return p->point[i].loss;
}

static double upper(const struct learning_picture *p, int i)
{
    return p->point[i].upper;
}

static double budget(const struct learning_picture *p, int i)
{
    return p->point[i].budget;
}

struct chart {
    double top;
    char cell[ROWS][COLUMNS];
};

static void put(struct chart *c, int column, double y, char mark)
{
    int row;
    if (!isfinite(y) || y > c->top)
        return;
    row = y < 0 ? 0 : (int)(y / c->top * ROWS); /* below 0: better than the network */
    c->cell[row < ROWS ? row : ROWS - 1][column] = mark;
}

/* `filled`: everything below is marked too. */
static void draw(struct chart *c, const struct learning_picture *p, value_at *value, char mark, bool filled)
{
    double all = seconds(p, p->n - 1);
    for (int column = 0, i = 0; column < COLUMNS; column++) {
        double y;
        while (i + 1 < p->n && seconds(p, i + 1) <= all * (column + 1) / COLUMNS)
            i++;
        y = value(p, i);
        if (filled && !(y > 0))
            continue;
        put(c, column, y, mark);
        for (double below = 0; filled && isfinite(y) && below < y; below += c->top / ROWS)
            put(c, column, below, mark);
    }
}

static void print_chart(const struct chart *c, double end, FILE *to)
{
    for (int row = ROWS - 1; row >= 0; row--)
        fprintf(to, "  %6.1f%% |%.*s\n", 100 * c->top * row / ROWS, COLUMNS, c->cell[row]);
    fprintf(to, "          +");
    for (int i = 0; i < COLUMNS; i++)
        fputc('-', to);
    fprintf(to, " %.0f s\n", end);
}

void learning_picture_print(const struct learning_picture *p, FILE *to)
{
    struct chart c = {.top = 1};
    const struct point *last = p->n ? &p->point[p->n - 1] : NULL;
    double now;
    if (p->n < 2)
        return;
    now = early(p, p->n - 1);
    memset(c.cell, ' ', sizeof c.cell);
    draw(&c, p, early, '#', true);
    fprintf(to, "\nanswered early: %.1f%% of the last seconds\n", isfinite(now) ? 100 * now : 0);
    print_chart(&c, seconds(p, p->n - 1), to);
    if (!isfinite(last->budget) || last->budget <= 0)
        return;
    memset(c.cell, ' ', sizeof c.cell);
    c.top = 2 * last->budget;
    draw(&c, p, budget, '-', false);
    draw(&c, p, upper, '^', false);
    draw(&c, p, loss, '*', false);
    fprintf(to, "audited loss * since this epoch began, at most ^ by these audits alone, budget -");
    if (isfinite(last->loss))
        fprintf(to, ": %.2f%%, at most %.2f%%, of %.2f%%", 100 * last->loss, 100 * last->upper,
                100 * last->budget);
    fprintf(to, "\n");
    print_chart(&c, seconds(p, p->n - 1), to);
}

/* --- as a file --- */

struct lines {
    double x[MOST], early[MOST], loss[MOST], upper[MOST], budget[MOST], epoch[MOST];
    int n_epochs;
    const struct learning_picture *of;
};

static void fill(struct lines *l, const struct learning_picture *p)
{
    l->of = p;
    l->n_epochs = 0;
    for (int i = 0; i < p->n; i++) {
        l->x[i] = seconds(p, i);
        l->early[i] = 100 * early(p, i);
        l->loss[i] = 100 * p->point[i].loss;
        l->upper[i] = 100 * p->point[i].upper;
        l->budget[i] = 100 * p->point[i].budget;
        if (i && p->point[i].serial != p->point[i - 1].serial)
            l->epoch[l->n_epochs++] = l->x[i];
    }
}

/* Two pictures, one above the other: their scales differ by a hundred. */
static int write_plots(FILE *to, const void *arg, struct error *e)
{
    const struct lines *l = arg;
    const struct plot_series rules = {.name = "new epoch",
                                      .mark = PLOT_RULES,
                                      .dashed = true,
                                      .n = l->n_epochs,
                                      .x = l->epoch,
                                      .y = l->epoch};
    const struct plot_series share[] = {
        {.name = "answered early", .mark = PLOT_LINE, .n = l->of->n, .x = l->x, .y = l->early}, rules};
    const struct plot_series losses[] = {
        {.name = "audited loss of what serves", .mark = PLOT_LINE, .n = l->of->n, .x = l->x, .y = l->loss},
        {.name = "at most, by its epoch's audits",
         .mark = PLOT_LINE,
         .n = l->of->n,
         .x = l->x,
         .y = l->upper},
        {.name = "budget", .mark = PLOT_LINE, .dashed = true, .n = l->of->n, .x = l->x, .y = l->budget},
        rules};
    double most = l->budget[l->of->n - 1];
    const struct plot top = {.title = "Caches that learn: requests answered early",
                             .x = {.title = "seconds of traffic"},
                             .y = {.title = "answered early, %", .from = 0, .to = 100},
                             .n_series = l->n_epochs ? 2 : 1,
                             .series = share};
    const struct plot below = {.title = "What that loses, by audits",
                               .x = {.title = "seconds of traffic"},
                               .y = {.title = "loss, points", .from = 0, .to = most > 0 ? 2 * most : 0},
                               .n_series = l->n_epochs ? 4 : 3,
                               .series = losses};
    int rc;
    fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 720 860\">\n"
                "<svg x=\"0\" y=\"0\" width=\"720\" height=\"430\">\n");
    if ((rc = plot_write(&top, to, e)))
        return rc;
    fprintf(to, "</svg>\n<svg x=\"0\" y=\"430\" width=\"720\" height=\"430\">\n");
    if (isfinite(most) && (rc = plot_write(&below, to, e)))
        return rc;
    fprintf(to, "</svg>\n</svg>\n");
    return FL_OK;
}

int learning_picture_save(const struct learning_picture *p, const char *path, struct error *e)
{
    struct lines *l = calloc(1, sizeof *l);
    int rc;
    if (!l)
        return error_set(e, FL_NOMEM, "no memory for a plot");
    fill(l, p);
    rc = p->n >= 2 ? output_write(path, write_plots, l, e)
                   : error_set(e, FL_VALUE, "%s: nothing was seen that could be drawn", path);
    free(l);
    return rc;
}
