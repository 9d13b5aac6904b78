/* plot_marks.c - the marks of a plot: lines, bars, points, whiskers and the labels beside them */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "markup.h"
#include "plot_marks.h"
#include "ticks.h"

#define COLUMNS      440  /* one per unit of the picture */
#define FINE         1000 /* points up to here are drawn one by one */
#define MAX_RUNS     5000 /* of a line that is thinned */
#define MAX_HOVER    200  /* points with a mark and a text of their own */
#define MAX_MARKED   40   /* points of a line with marks */
#define MAX_BOXES    256
#define MARK_SIZE    3.2
#define CELL         2 /* units: points nearer than this to another are one dot */
#define CELLS_ACROSS (COLUMNS / CELL)

bool plot_has_marks(const struct plot_series *s)
{
    return s->mark == PLOT_POINTS || (s->mark == PLOT_LINE && s->n <= MAX_MARKED);
}

void plot_open_group(const struct plot_series *s, int colour, FILE *to)
{
    if (s->mark == PLOT_RULES)
        fputs("<g class=\"rest\">", to);
    else
        fprintf(to, "<g class=\"c%d\">", colour % MARKUP_COLOURS);
}

/* A line as it is written: up to four points per column of the picture (first, lowest, highest, last). */
struct pen {
    FILE *to;
    bool step, down;
    int64_t run, stride; /* only every stride-th column is drawn, of lines that go to and fro */
    int column, n;
    double x[4], y[4]; /* first, lowest, highest, last */
    int at[4];
};

static double up(const struct plot_frame *f, double v)
{
    return f->y.length - plot_at(&f->y, v);
}

static void pen_to(struct pen *p, double x, double y)
{
    if (!p->down)
        fprintf(p->to, "M%.1f %.1fh0", x, y);
    else if (p->step)
        fprintf(p->to, "H%.1fV%.1f", x, y);
    else
        fprintf(p->to, "L%.1f %.1f", x, y);
    p->down = true;
}

static void pen_flush(struct pen *p)
{
    int order[4] = {0, 1, 2, 3}, last = -1;

    if (p->n && p->run++ % p->stride == 0) {
        if (p->at[1] > p->at[2]) {
            order[1] = 2;
            order[2] = 1;
        }
        for (int i = 0; i < 4; i++)
            if (p->at[order[i]] != last) {
                last = p->at[order[i]];
                pen_to(p, p->x[order[i]], p->y[order[i]]);
            }
    }
    p->n = 0;
}

static void pen_add(struct pen *p, double x, double y, int i)
{
    int column = (int)floor(x);

    if (p->n && column != p->column)
        pen_flush(p);
    p->column = column;
    for (int k = 0; k < 4; k++)
        if (!p->n || k == 3 || (k == 1 && y < p->y[1]) || (k == 2 && y > p->y[2])) {
            p->x[k] = x;
            p->y[k] = y;
            p->at[k] = i;
        }
    p->n++;
}

/* How often a line changes from one column to another. */
static int64_t count_runs(const struct plot_frame *f, const struct plot_series *s)
{
    int64_t runs = 0;
    int column = INT32_MIN;

    for (int i = 0; i < s->n; i++)
        if (plot_has(f, s, i)) {
            int c = (int)floor(plot_at(&f->x, s->x[i]));
            runs += c != column;
            column = c;
        }
    return runs;
}

static void draw_path(const struct plot_frame *f, const struct plot_series *s, FILE *to)
{
    struct pen p = {.to = to, .step = s->mark == PLOT_STEP, .stride = 1};

    if (s->n > FINE)
        p.stride = 1 + count_runs(f, s) / MAX_RUNS;
    fprintf(to, "<path class=\"%s\" d=\"", s->dashed ? "dashed" : "solid");
    for (int i = 0; i < s->n; i++) {
        if (!plot_has(f, s, i)) {
            pen_flush(&p);
            p.down = false;
        } else if (s->n > FINE)
            pen_add(&p, plot_at(&f->x, s->x[i]), up(f, s->y[i]), i);
        else
            pen_to(&p, plot_at(&f->x, s->x[i]), up(f, s->y[i]));
    }
    pen_flush(&p);
    fputs("\"/>", to);
}

static void draw_rules(const struct plot_frame *f, const struct plot_series *s, FILE *to)
{
    bool drawn[COLUMNS] = {false};

    for (int i = 0; i < s->n; i++) {
        double x = plot_drawable(&f->x, s->x[i]) ? plot_at(&f->x, s->x[i]) : -1;
        if (x < 0 || x > f->x.length || drawn[(int)x])
            continue;
        drawn[(int)x] = true;
        fprintf(to, "<line class=\"%s\" x1=\"%.1f\" y1=\"0\" x2=\"%.1f\" y2=\"%.1f\">",
                s->dashed ? "dashed" : "thin", x, x, f->y.length);
        if (s->label && s->label[i]) {
            fputs("<title>", to);
            markup_text(to, s->label[i]);
            fputs("</title>", to);
        }
        fputs("</line>", to);
    }
}

static bool too_many_bars(const struct plot_series *s)
{
    return s->mark == PLOT_BARS && s->n > COLUMNS / 2;
}

void plot_draw_lines(const struct plot_frame *f, const struct plot_series *s, int colour, FILE *to)
{
    plot_open_group(s, colour, to);
    if (s->mark == PLOT_RULES)
        draw_rules(f, s, to);
    else if (s->mark == PLOT_LINE || s->mark == PLOT_STEP)
        draw_path(f, s, to);
    else if (too_many_bars(s)) {
        struct plot_series line = *s;
        line.mark = PLOT_STEP;
        draw_path(f, &line, to);
    }
    fputs("</g>", to);
}

static void whisker(const struct plot_frame *f, const struct plot_series *s, int i, double x, FILE *to)
{
    double low, high;

    if (!s->low || !s->high || !plot_drawable(&f->y, s->low[i]) || !plot_drawable(&f->y, s->high[i]))
        return;
    low = up(f, s->low[i]);
    high = up(f, s->high[i]);
    fprintf(to, "<path class=\"thin\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh6M%.1f %.1fh6\"/>", x, low, high, x - 3,
            low, x - 3, high);
}

/* What a reader sees on resting at a mark. */
static void hover(const struct plot *p, const struct plot_series *s, int i, FILE *to)
{
    char x[64], y[64];

    fputs("<title>", to);
    if (s->name) {
        markup_text(to, s->name);
        fputs(": ", to);
    }
    if (s->label && s->label[i]) {
        markup_text(to, s->label[i]);
        fputs(": ", to);
    }
    markup_text(to, ticks_format(x, sizeof x, s->x[i], p->x.unit));
    fputs(", ", to);
    markup_text(to, ticks_format(y, sizeof y, s->y[i], p->y.unit));
    fputs("</title>", to);
}

void plot_draw_bars(const struct plot_frame *f, const struct plot_series *s, int colour, int bar, int bars,
                    double spacing, const struct plot *p, FILE *to)
{
    double group = fmin(0.8 * spacing / (f->x.to - f->x.from) * f->x.length, 60.0 * bars),
           width = group / bars;
    double base = f->y.log || f->y.from > 0 ? f->y.length : fmin(up(f, 0), f->y.length);

    if (too_many_bars(s))
        return;
    plot_open_group(s, colour, to);
    for (int i = 0; i < s->n; i++) {
        if (!plot_has(f, s, i))
            continue;
        double x = plot_at(&f->x, s->x[i]) - group / 2 + bar * width, y = up(f, s->y[i]);
        fprintf(to, "<rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">",
                x + width * 0.04, fmin(y, base), fmax(width * 0.92, 0.6), fabs(base - y));
        hover(p, s, i, to);
        fputs("</rect><g class=\"c6\">", to);
        whisker(f, s, i, x + width / 2, to);
        fputs("</g>", to);
    }
    fputs("</g>", to);
}

void plot_draw_marker(double x, double y, int colour, double size, FILE *to)
{
    double r = size, t = size * 1.2;

    switch (colour % 5) {
    case 0:
        fprintf(to, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", x, y, r);
        break;
    case 1:
        fprintf(to, "<rect class=\"mark\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>",
                x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
        break;
    case 2:
        fprintf(to, "<path class=\"mark\" d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"/>", x, y - t, t, 1.8 * t, -2 * t);
        break;
    case 3:
        fprintf(to, "<path class=\"mark\" d=\"M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz\"/>", x, y - t, t, t,
                -t, t, -t, -t);
        break;
    default:
        fprintf(to, "<path class=\"mark\" d=\"M%.1f %.1fl%.1f %.1fh%.1fz\"/>", x, y + t, t, -1.8 * t, -2 * t);
    }
}

static bool inside(const struct plot_frame *f, double x, double y)
{
    return x >= -0.5 && x <= f->x.length + 0.5 && y >= -0.5 && y <= f->y.length + 0.5;
}

/* Many points: one path of dots, one dot per cell of the picture. */
static void draw_dots(const struct plot_frame *f, const struct plot_series *s, FILE *to)
{
    unsigned char seen[CELLS_ACROSS * CELLS_ACROSS / 8 + 1] = {0};

    fputs("<path class=\"dots\" d=\"", to);
    for (int i = 0; i < s->n; i++) {
        if (!plot_has(f, s, i))
            continue;
        double x = plot_at(&f->x, s->x[i]), y = up(f, s->y[i]);
        if (!inside(f, x, y))
            continue;
        unsigned cell = (unsigned)(fabs(y) / CELL) * CELLS_ACROSS + (unsigned)(fabs(x) / CELL);
        if (seen[cell / 8] & (1u << cell % 8))
            continue;
        seen[cell / 8] |= (unsigned char)(1u << cell % 8);
        fprintf(to, "M%.1f %.1fh0", x, y);
    }
    fputs("\"/>", to);
}

static void draw_whiskers(const struct plot_frame *f, const struct plot_series *s, FILE *to)
{
    bool drawn[COLUMNS] = {false};

    for (int i = 0; s->low && s->high && i < s->n; i++) {
        double x = plot_has(f, s, i) ? plot_at(&f->x, s->x[i]) : -1;
        if (x < 0 || x >= COLUMNS || !inside(f, x, up(f, s->y[i])) || (s->n > MAX_HOVER && drawn[(int)x]))
            continue;
        drawn[(int)x] = true;
        whisker(f, s, i, x, to);
    }
}

void plot_draw_points(const struct plot_frame *f, const struct plot_series *s, int colour,
                      const struct plot *p, FILE *to)
{
    if (s->mark != PLOT_POINTS && s->mark != PLOT_LINE)
        return;
    plot_open_group(s, colour, to);
    draw_whiskers(f, s, to);
    if (s->mark == PLOT_POINTS && s->n > MAX_HOVER)
        draw_dots(f, s, to);
    else if (plot_has_marks(s))
        for (int i = 0; i < s->n; i++) {
            if (!plot_has(f, s, i) || !inside(f, plot_at(&f->x, s->x[i]), up(f, s->y[i])))
                continue;
            fputs("<g>", to);
            hover(p, s, i, to);
            plot_draw_marker(plot_at(&f->x, s->x[i]), up(f, s->y[i]), colour, MARK_SIZE, to);
            fputs("</g>", to);
        }
    fputs("</g>", to);
}

struct box {
    double left, top, right, bottom;
};

struct boxes {
    int n;
    struct box box[MAX_BOXES];
};

static bool is_free(const struct boxes *b, const struct box *x, const struct plot_frame *f)
{
    if (x->left < 0 || x->top < -2 || x->right > f->x.length + 10 || x->bottom > f->y.length)
        return false;
    for (int i = 0; i < b->n; i++)
        if (x->left < b->box[i].right && b->box[i].left < x->right && x->top < b->box[i].bottom &&
            b->box[i].top < x->bottom)
            return false;
    return true;
}

static void keep_clear(struct boxes *b, double x, double y)
{
    if (b->n < MAX_BOXES / 2)
        b->box[b->n++] = (struct box){x - 4, y - 4, x + 4, y + 4};
}

/* Beside the point, or the rule's upper end: right, left, above, below; rules try lower rows. */
static bool find_place(struct box *out, double *anchor_x, const char **anchor, const struct boxes *b,
                       const struct plot_frame *f, double x, double y, double width, bool rule)
{
    for (int place = 0; place < (rule ? 12 : 4); place++) {
        double row = rule ? 2 + place / 2 * 14 : place < 2 ? y - 7 : place == 2 ? y - 20 : y + 5;
        int side = rule ? place % 2 : place;
        double left = side == 0 ? x + 6 : side == 1 ? x - 6 - width : x - width / 2;
        *out = (struct box){left, row, left + width, row + 14};
        *anchor = side == 0 ? "start" : side == 1 ? "end" : "middle";
        *anchor_x = side == 0 ? left : side == 1 ? left + width : x;
        if (is_free(b, out, f))
            return true;
    }
    return false;
}

static void draw_label(struct boxes *b, const struct plot_frame *f, const struct plot_series *s, int i,
                       FILE *to)
{
    double x = plot_at(&f->x, s->x[i]), y = s->mark == PLOT_RULES ? 0 : up(f, s->y[i]), anchor_x;
    double width = fmin(markup_width(s->label[i], PLOT_FONT), PLOT_WIDTH / 3);
    const char *anchor;
    struct box box;

    if (b->n == MAX_BOXES || !inside(f, x, y) ||
        !find_place(&box, &anchor_x, &anchor, b, f, x, y, width, s->mark == PLOT_RULES))
        return;
    b->box[b->n++] = box;
    fprintf(to, "<text class=\"label\" text-anchor=\"%s\" x=\"%.1f\" y=\"%.1f\">", anchor, anchor_x,
            box.top + 11);
    markup_fit(to, s->label[i], PLOT_WIDTH / 3, PLOT_FONT);
    fputs("</text>", to);
}

void plot_draw_labels(const struct plot_frame *f, const struct plot *p, FILE *to)
{
    struct boxes b = {.n = 0};

    for (int k = 0; k < p->n_series; k++)
        for (int i = 0; p->series[k].label && p->series[k].mark != PLOT_RULES && i < p->series[k].n; i++)
            if (plot_has(f, &p->series[k], i))
                keep_clear(&b, plot_at(&f->x, p->series[k].x[i]), up(f, p->series[k].y[i]));
    for (int k = 0; k < p->n_series; k++)
        for (int i = 0; p->series[k].label && p->series[k].n <= MAX_HOVER && i < p->series[k].n; i++)
            if (p->series[k].label[i] && plot_has(f, &p->series[k], i))
                draw_label(&b, f, &p->series[k], i, to);
}
