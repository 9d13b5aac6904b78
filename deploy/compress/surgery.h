/* surgery.h - what a fit has set to 0 taken out of the graph, and layers put in the place of those that are
 * split */
#ifndef FREEZELINE_SURGERY_H
#define FREEZELINE_SURGERY_H

#include "fit.h"

/* Changes n->now for good: its nodes are no longer those of n->layers. FL_NOMEM. */
int surgery(struct network *n, const struct ways *p, const struct fit *f, struct error *e);

#endif
