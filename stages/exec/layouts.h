/* layouts.h - which values of a model lie channels-last */
#ifndef FREEZELINE_LAYOUTS_H
#define FREEZELINE_LAYOUTS_H

#include "stages/graph/graph.h"

/* One flag per value of the graph: computed, of rank 4, and channels-last. All others are row-major. It is
 * decided for the whole model, so that executors of its parts agree; what crosses a cut is channels-last.
 * malloc'ed. FL_NOMEM. */
int layouts_of(const struct graph *g, bool **channels_last, struct error *e);

#endif
