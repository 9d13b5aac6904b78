/* plot_frame.h - what plot.c and plot_marks.c share: where values lie in the picture */
#ifndef FREEZELINE_PLOT_FRAME_H
#define FREEZELINE_PLOT_FRAME_H

#include "plot.h"

#define PLOT_WIDTH 440.0 /* units of the viewBox; a phone shows about 0.8 pixels for one */
#define PLOT_FONT  12.0

/* [from, to] of an axis is drawn over `length` units; on a log axis they are logarithms. */
struct plot_scale {
    bool log;
    double from, to, length;
};

struct plot_frame {
    double left, top; /* of the area inside the axes */
    struct plot_scale x, y;
};

/* A value that can be drawn on this scale. */
bool plot_drawable(const struct plot_scale *s, double v);
/* Units from the scale's start; x grows to the right, y upwards from the bottom. */
double plot_at(const struct plot_scale *s, double v);
/* Both coordinates of a point are drawable; for rules, x is. */
bool plot_has(const struct plot_frame *f, const struct plot_series *s, int i);
/* Width of one bar of a group, in the x scale's own measure (logarithms on a log axis), before it is drawn to
 * length. */
double plot_bar_spacing(const struct plot_series *s, const struct plot_scale *x);

/* Marks that stay inside the axes, in coordinates of the area; then points, whiskers and labels above them.
 * `colour` is the number of the series; `bar` of `bars` is its place in a group. */
void plot_draw_lines(const struct plot_frame *f, const struct plot_series *s, int colour, FILE *to);
void plot_draw_bars(const struct plot_frame *f, const struct plot_series *s, int colour, int bar, int bars,
                    double spacing, const struct plot *p, FILE *to);
void plot_draw_points(const struct plot_frame *f, const struct plot_series *s, int colour,
                      const struct plot *p, FILE *to);
/* Has a series marks at its points? A line of many has none. */
bool plot_has_marks(const struct plot_series *s);
/* "<g class=...>" with the colour of a series; rules are all of one quiet colour. */
void plot_open_group(const struct plot_series *s, int colour, FILE *to);
/* The mark of a series at a place, as in the legend. */
void plot_draw_marker(double x, double y, int colour, double size, FILE *to);

/* Labels of points and rules of all series, where there is room for them. */
void plot_draw_labels(const struct plot_frame *f, const struct plot *p, FILE *to);

#endif
