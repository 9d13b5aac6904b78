/* plot_frame.c - the ranges of the axes, and from values to places */
#include "plot_frame.h"

#include <math.h>

#define LARGEST 1e300

bool plot_drawable(const struct plot_scale *s, double v)
{
    return isfinite(v) && fabs(v) <= LARGEST && (!s->log || v >= 1 / LARGEST);
}

static double measure(const struct plot_scale *s, double v)
{
    return s->log ? log10(v) : v;
}

/* Far outside is brought nearer, since not every reader draws numbers of any size. */
double plot_at(const struct plot_scale *s, double v)
{
    double at = (measure(s, v) - s->from) / (s->to - s->from) * s->length;
    return fmin(fmax(at, -20 * PLOT_WIDTH), 20 * PLOT_WIDTH);
}

bool plot_has(const struct plot_frame *f, const struct plot_series *s, int i)
{
    return plot_drawable(&f->x, s->x[i]) && (s->mark == PLOT_RULES || plot_drawable(&f->y, s->y[i]));
}

double plot_bar_spacing(const struct plot_series *s, const struct plot_scale *x)
{
    double least = INFINITY;

    for (int i = 1; i < s->n; i++)
        if (plot_drawable(x, s->x[i]) && plot_drawable(x, s->x[i - 1])) {
            double d = fabs(measure(x, s->x[i]) - measure(x, s->x[i - 1]));
            least = d > 0 && d < least ? d : least;
        }
    return least;
}

static void widen(double *low, double *high, const struct plot_scale *s, double v)
{
    if (plot_drawable(s, v)) {
        *low = fmin(*low, measure(s, v));
        *high = fmax(*high, measure(s, v));
    }
}

/* A range that can be divided, between numbers that a double can hold; one value gets room around it. */
static void open_up(struct plot_scale *s)
{
    double size = fmax(fabs(s->from), fabs(s->to));

    if (s->to - s->from <= 1e-12 * size || s->to - s->from <= 1e-290) {
        size = s->log ? 0.3 : size > 1e-290 ? 0.1 * size : 1;
        s->from -= size;
        s->to += size;
    }
    if (s->log) {
        s->from = fmax(s->from, -307);
        s->to = fmin(s->to, 307);
    }
}

/* The range that the caller gave, if it makes sense. */
static bool given(struct plot_scale *s, const struct plot_axis *a)
{
    if (a->from == a->to || !plot_drawable(s, a->from) || !plot_drawable(s, a->to))
        return false;
    s->from = measure(s, fmin(a->from, a->to));
    s->to = measure(s, fmax(a->from, a->to));
    open_up(s);
    return true;
}

static bool range_x(struct plot_frame *f, const struct plot *p)
{
    double low = INFINITY, high = -INFINITY, pad = 0;

    for (int k = 0; k < p->n_series; k++) {
        const struct plot_series *s = &p->series[k];
        for (int i = 0; i < s->n; i++)
            if (plot_has(f, s, i))
                widen(&low, &high, &f->x, s->x[i]);
        if (s->mark == PLOT_BARS && isfinite(plot_bar_spacing(s, &f->x)))
            pad = fmax(pad, 0.6 * plot_bar_spacing(s, &f->x));
    }
    if (low > high)
        return false;
    if (given(&f->x, &p->x))
        return true;
    for (int k = 0; k < p->n_series; k++)
        if (p->series[k].mark == PLOT_POINTS)
            pad = fmax(pad, 0.03 * (high - low));
    f->x.from = low - pad;
    f->x.to = high + pad;
    open_up(&f->x);
    return true;
}

/* Heights start at 0 unless the values are all far from it. */
static void range_y(struct plot_frame *f, const struct plot *p)
{
    double low = INFINITY, high = -INFINITY, pad, words = 0;
    bool bars = false;

    for (int k = 0; k < p->n_series; k++) {
        const struct plot_series *s = &p->series[k];
        for (int i = 0; s->mark != PLOT_RULES && i < s->n; i++)
            if (plot_has(f, s, i)) {
                widen(&low, &high, &f->y, s->y[i]);
                widen(&low, &high, &f->y, s->low ? s->low[i] : s->y[i]);
                widen(&low, &high, &f->y, s->high ? s->high[i] : s->y[i]);
            }
        bars = bars || s->mark == PLOT_BARS;
        words =
            s->mark == PLOT_RULES && s->n > 0 && s->label ? 0.2 : words; /* room for them above the rest */
    }
    if (given(&f->y, &p->y))
        return;
    if (low > high) /* rules alone */
        low = high = 0;
    if (!f->y.log && low > 0 && (bars || low < 0.7 * high))
        low = 0;
    if (!f->y.log && bars && high < 0)
        high = 0;
    pad = 0.06 * (high - low);
    f->y.from = !f->y.log && low == 0 ? 0 : low - pad;
    f->y.to = high + pad + words * (high - low);
    open_up(&f->y);
}

bool plot_find_ranges(struct plot_frame *f, const struct plot *p)
{
    if (!range_x(f, p))
        return false;
    range_y(f, p);
    return true;
}
