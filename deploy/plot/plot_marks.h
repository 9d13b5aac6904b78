/* plot_marks.h - drawing of marks, points and labels; private to deploy/plot */
#ifndef FREEZELINE_PLOT_MARKS_H
#define FREEZELINE_PLOT_MARKS_H

#include <stdio.h>

#include "plot_frame.h"

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
