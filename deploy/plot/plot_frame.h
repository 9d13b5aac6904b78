/* plot_frame.h - where values lie in the picture; private to deploy/plot */
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

/* Fills the ranges of both axes, whose `log` and lengths are set: as the plot asks, or so that all points
 * fit. False when there is nothing to draw. */
bool plot_find_ranges(struct plot_frame *f, const struct plot *p);

#endif
