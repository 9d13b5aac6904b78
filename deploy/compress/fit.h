/* fit.h - the chosen cuts made in a network's weights, layer by layer, each fitted to what it is to make up
 * for */
#ifndef FREEZELINE_FIT_H
#define FREEZELINE_FIT_H

#include "ways.h"

struct fit {
    int n;
    double **direction; /* of each layer that is split: [rank][out] (split.h); NULL: it is not */
    double **thin;      /* of each convolution that is narrowed: [rank][channels], 0 for those that went */
};

/* Goes through n->now from front to back. A layer reads only channels that stay, and its weights and bias are
 * fitted so that the sum its output goes into is, in the sense of least squares, what it was in the original,
 * with all that was lost before it. Then it is split where that was chosen: along the directions of the
 * outputs as they are now. FL_CANCELLED, errors as stretch_run. Release in any case. */
int fit_network(struct fit *f, struct network *n, const struct ways *p, struct progress *progress,
                struct error *e);
void fit_release(struct fit *f);

#endif
