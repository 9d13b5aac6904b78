/* plot.c - a picture as a whole: axes, grid, legend, and the marks of all series */
#include "plot.h"

#include <math.h>
#include <string.h>

#include "markup.h"
#include "plot_marks.h"
#include "ticks.h"

#define AREA_HEIGHT  210.0
#define RIGHT_MARGIN 14.0
#define ROW          18.0  /* height of one line of text */
#define LEGEND_NAME  190.0 /* widest name */
#define TICK_NAME    110.0
#define TICK_GAP     9.0

static void make_ticks(struct ticks *t, const struct plot_scale *s, int most, const char *unit)
{
    ticks_make(t, s->log, s->log ? pow(10, s->from) : s->from, s->log ? pow(10, s->to) : s->to, most, unit);
}

/* As many ticks as fit side by side. */
static void ticks_across(struct ticks *t, const struct plot_frame *f, const char *unit)
{
    for (int most = 9; most >= 2; most--) {
        double end = -INFINITY;
        bool fits = true;
        make_ticks(t, &f->x, most, unit);
        for (int i = 0; fits && i < t->n; i++) {
            double half = markup_width(t->label[i], PLOT_FONT) / 2, at = plot_at(&f->x, t->at[i]);
            fits = at - half >= end;
            end = at + half + TICK_GAP;
        }
        if (fits)
            return;
    }
    t->n = 1;
}

static void vertical(const struct plot_frame *f, double at, const char *class, FILE *to)
{
    fprintf(to, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", class, f->left + at,
            f->top, f->left + at, f->top + f->y.length);
}

/* A label centred under a place, moved inwards where it would leave the picture. */
static void label_below(const struct plot_frame *f, double at, double width, int row, const char *text,
                        FILE *to)
{
    double middle = fmax(f->left + at, width / 2 + 1);

    fprintf(to, "<text text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">",
            fmin(middle, PLOT_WIDTH - width / 2 - 1), f->top + f->y.length + 16 + row * 14);
    markup_fit(to, text, TICK_NAME, PLOT_FONT);
    fputs("</text>", to);
}

/* Names of places in up to two rows; one that fits in neither is left out. Draws when `to` is not NULL;
 * returns the number of rows. */
static int names_across(const struct plot_frame *f, const struct plot_axis *a, FILE *to)
{
    double end[2] = {-INFINITY, -INFINITY};
    int rows = 1;

    for (int i = 0; i < a->n_ticks; i++) {
        double at = plot_drawable(&f->x, a->ticks[i].at) ? plot_at(&f->x, a->ticks[i].at) : -1;
        double width = fmin(markup_width(a->ticks[i].label, PLOT_FONT), TICK_NAME);
        if (at < -0.5 || at > f->x.length + 0.5)
            continue;
        if (to)
            vertical(f, at, "grid", to);
        for (int row = 0; row < 2; row++)
            if (at - width / 2 >= end[row]) {
                if (to)
                    label_below(f, at, width, row, a->ticks[i].label, to);
                end[row] = at + width / 2 + TICK_GAP;
                rows = row + 1 > rows ? row + 1 : rows;
                break;
            }
    }
    return rows;
}

static void draw_x(const struct plot_frame *f, const struct plot_axis *a, double bottom, FILE *to)
{
    struct ticks t;

    if (a->n_ticks)
        names_across(f, a, to);
    else {
        ticks_across(&t, f, a->unit);
        for (int i = 0; i < t.n; i++) {
            vertical(f, plot_at(&f->x, t.at[i]), "grid", to);
            label_below(f, plot_at(&f->x, t.at[i]), markup_width(t.label[i], PLOT_FONT), 0, t.label[i], to);
        }
    }
    if (a->title) {
        fprintf(to, "<text text-anchor=\"middle\" x=\"%.1f\" y=\"%.1f\">", f->left + f->x.length / 2,
                bottom - 6);
        markup_fit(to, a->title, f->x.length, PLOT_FONT);
        fputs("</text>", to);
    }
}

/* Ticks of the y axis as names, whichever way they came; the names live in *t or in the axis. */
static int ticks_up(struct plot_tick out[PLOT_MAX_TICKS], struct ticks *t, const struct plot_frame *f,
                    const struct plot_axis *a)
{
    int n = 0;

    if (!a->n_ticks) {
        make_ticks(t, &f->y, 7, a->unit);
        for (; n < t->n; n++)
            out[n] = (struct plot_tick){t->at[n], t->label[n]};
        return n;
    }
    for (int i = 0; i < a->n_ticks; i++) {
        double at = plot_drawable(&f->y, a->ticks[i].at) ? plot_at(&f->y, a->ticks[i].at) : -1;
        bool apart = true;
        for (int j = 0; j < n; j++)
            apart = apart && fabs(plot_at(&f->y, out[j].at) - at) >= PLOT_FONT + 2;
        if (apart && at >= -0.5 && at <= f->y.length + 0.5)
            out[n++] = a->ticks[i];
    }
    return n;
}

static void draw_y(const struct plot_frame *f, const struct plot_tick *tick, int n, FILE *to)
{
    for (int i = 0; i < n; i++) {
        double y = f->top + f->y.length - plot_at(&f->y, tick[i].at);
        fprintf(to, "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", f->left, y,
                f->left + f->x.length, y);
        fprintf(to, "<text text-anchor=\"end\" dominant-baseline=\"central\" x=\"%.1f\" y=\"%.1f\">",
                f->left - 6, y);
        markup_fit(to, tick[i].label, TICK_NAME, PLOT_FONT);
        fputs("</text>", to);
    }
}

static bool in_legend(const struct plot_series *s)
{
    return s->name && s->n > 0;
}

/* One entry: what the series looks like, and its name. */
static void legend_entry(const struct plot_series *s, int colour, double x, double y, FILE *to)
{
    plot_open_group(s, colour, to);
    if (s->mark == PLOT_BARS)
        fprintf(to, "<rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"12\" height=\"10\"/>", x + 4, y - 9);
    else if (s->mark != PLOT_POINTS)
        fprintf(to, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                s->dashed ? "dashed" : "solid", x, y - 4, x + 20, y - 4);
    if (plot_has_marks(s))
        plot_draw_marker(x + 10, y - 4, colour, 3, to);
    fprintf(to, "</g><text x=\"%.1f\" y=\"%.1f\">", x + 25, y);
    markup_fit(to, s->name, LEGEND_NAME, PLOT_FONT);
    fputs("</text>", to);
}

/* Entries in rows from `y` down; draws when `to` is not NULL. Returns the height. */
static double legend(const struct plot *p, double y, FILE *to)
{
    double x = 8;
    int entries = 0, rows = 1;

    for (int i = 0; i < p->n_series; i++) {
        double width;
        if (!in_legend(&p->series[i]))
            continue;
        width = 41 + fmin(markup_width(p->series[i].name, PLOT_FONT), LEGEND_NAME);
        if (x + width > PLOT_WIDTH && x > 8) {
            x = 8;
            rows++;
        }
        if (to)
            legend_entry(&p->series[i], i, x, y + rows * ROW - 4, to);
        x += width;
        entries++;
    }
    return entries ? rows * ROW : 0;
}

static void draw_head(const struct plot *p, FILE *to)
{
    double y = 4;

    if (!p->bare && p->title) {
        fprintf(to, "<text class=\"title\" x=\"8\" y=\"%.1f\" font-size=\"1.15em\">", y + 14);
        markup_fit(to, p->title, PLOT_WIDTH - 16, PLOT_FONT * 1.25);
        fputs("</text>", to);
        y += ROW + 4;
    }
    y += legend(p, y, to);
    if (p->y.title) {
        fprintf(to, "<text x=\"8\" y=\"%.1f\">", y + 13);
        markup_fit(to, p->y.title, PLOT_WIDTH - 16, PLOT_FONT);
        fputs("</text>", to);
    }
}

static void draw_series(const struct plot_frame *f, const struct plot *p, FILE *to)
{
    int bars = 0, bar = 0;
    double spacing = INFINITY;

    for (int i = 0; i < p->n_series; i++)
        if (p->series[i].mark == PLOT_BARS) {
            bars++;
            spacing = fmin(spacing, plot_bar_spacing(&p->series[i], &f->x));
        }
    spacing = isfinite(spacing) ? spacing : (f->x.to - f->x.from) / 3;
    /* An inner <svg> cuts off what leaves the area, and needs no names that another picture on the page may
     * have. */
    fprintf(to, "<svg x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" overflow=\"hidden\">", f->left,
            f->top, f->x.length, f->y.length);
    for (int i = 0; i < p->n_series; i++)
        if (p->series[i].mark == PLOT_BARS)
            plot_draw_bars(f, &p->series[i], i, bar++, bars, spacing, p, to);
    for (int i = 0; i < p->n_series; i++)
        plot_draw_lines(f, &p->series[i], i, to);
    fprintf(to, "</svg><g transform=\"translate(%.1f %.1f)\">", f->left, f->top);
    for (int i = 0; i < p->n_series; i++)
        plot_draw_points(f, &p->series[i], i, p, to);
    plot_draw_labels(f, p, to);
    fputs("</g>", to);
}

static int check(const struct plot *p, struct error *e)
{
    if (p->n_series < 0 || p->n_series > PLOT_MAX_SERIES)
        return error_set(e, FL_VALUE, "a plot of %d series: at most %d can be told apart", p->n_series,
                         PLOT_MAX_SERIES);
    if (p->x.n_ticks > PLOT_MAX_TICKS || p->y.n_ticks > PLOT_MAX_TICKS)
        return error_set(e, FL_VALUE, "a plot with more than %d named ticks", PLOT_MAX_TICKS);
    return FL_OK;
}

int plot_write(const struct plot *p, FILE *to, struct error *e)
{
    struct plot_frame f = {.x = {.log = p->x.log}, .y = {.log = p->y.log, .length = AREA_HEIGHT}};
    struct plot_tick tick[PLOT_MAX_TICKS];
    struct ticks t;
    double bottom, widest = 14;
    int n, rc = check(p, e);

    if (rc)
        return rc;
    if (!plot_find_ranges(&f, p))
        return error_set(e, FL_VALUE, "nothing to draw in '%s'", p->title ? p->title : "plot");
    n = ticks_up(tick, &t, &f, &p->y);
    for (int i = 0; i < n; i++)
        widest = fmax(widest, fmin(markup_width(tick[i].label, PLOT_FONT), TICK_NAME));
    f.left = widest + 12;
    f.x.length = PLOT_WIDTH - RIGHT_MARGIN - f.left;
    f.top = 10 + (!p->bare && p->title ? ROW + 4 : 0) + legend(p, 0, NULL) + (p->y.title ? ROW : 0);
    bottom = f.top + AREA_HEIGHT + 22 + (p->x.n_ticks ? 14 * (names_across(&f, &p->x, NULL) - 1) : 0) +
             (p->x.title ? ROW : 0);

    markup_svg_open(to, p->title ? p->title : "plot", PLOT_WIDTH, bottom);
    draw_head(p, to);
    draw_y(&f, tick, n, to);
    draw_x(&f, &p->x, bottom, to);
    fprintf(to, "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", f.left,
            f.top + AREA_HEIGHT, f.left + f.x.length, f.top + AREA_HEIGHT);
    draw_series(&f, p, to);
    fputs("</svg>\n", to);
    return ferror(to) ? error_set(e, FL_IO, "cannot write the plot") : FL_OK;
}
