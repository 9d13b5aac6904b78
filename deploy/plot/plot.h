/* plot.h - a picture of some series as a self-contained SVG
 *
 * The <svg> has a viewBox and no size, so it scales to a phone; it follows the reader's light or dark
 * preference, tells series apart by colour (Okabe-Ito), mark and dash, and says its title to a screen reader.
 * Tick labels never overlap. Text is escaped. Points that are not finite, beyond 1e300, or below 1e-300 on a
 * log axis are left out, and a line has a gap there. Series of any length may be drawn: what is finer than
 * the picture is thinned, and extremes are kept.
 */
#ifndef FREEZELINE_PLOT_H
#define FREEZELINE_PLOT_H

#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

#define PLOT_MAX_SERIES 64
#define PLOT_MAX_TICKS  64

enum plot_mark {
    PLOT_LINE,
    PLOT_STEP, /* holds each value until the next x */
    PLOT_POINTS,
    PLOT_BARS, /* bars of several series stand side by side */
    PLOT_RULES /* vertical lines at x, over the whole height; y is not read */
};

struct plot_series {
    const char *name; /* in the legend; NULL: not there */
    enum plot_mark mark;
    bool dashed;
    int n;
    const double *x, *y, *low, *high; /* low, high: ends of whiskers, or NULL */
    const char *const *label;         /* of the points, or NULL; entries may be NULL */
};

struct plot_tick {
    double at;
    const char *label;
};

struct plot_axis {
    const char *title;
    bool log;
    double from, to;  /* equal: from the data */
    const char *unit; /* of the ticks: "s", "B", "%", "/s" (see ticks.h); NULL: plain numbers */
    int n_ticks;      /* names of places ("exit 1", "p99") instead of round numbers */
    const struct plot_tick *ticks;
};

struct plot {
    const char *title;
    bool bare; /* the title is for screen readers alone: a heading stands above the picture */
    struct plot_axis x, y;
    int n_series;
    const struct plot_series *series;
};

/* Writes the <svg>. FL_VALUE when there is nothing to draw (nothing was written then), FL_IO. */
int plot_write(const struct plot *p, FILE *to, struct error *e);

#endif
