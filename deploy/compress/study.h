/* study.h - what goes into a layer and what its output lacks, at some places of each record, as moments
 *
 * Of two networks of the same wiring: the original says what the sum that the layer's output goes into should
 * be, the changed one what goes into the layer now and what the sum is now. So a fit also makes up for what
 * layers before have lost, and for what another branch lacks.
 */
#ifndef FREEZELINE_STUDY_H
#define FREEZELINE_STUDY_H

#include "layers.h"
#include "deploy/linear/moments.h"
#include "stretch.h"

struct study {
    const struct layer *layer;
    const int *column; /* features that are looked at, ascending */
    int n_columns;
    int64_t rows; /* wanted, in all */
};

/* Fills `out` from a stretch that holds the layer, whose in, count and samples say what goes in: with what
 * the layer's sum lacks against `as_is`, the same stretch of the original network, or with what goes in alone
 * (NULL: m = 0). FL_NOMEM, errors as stretch_run. Release `out` in any case. */
int study_moments(struct moments *out, const struct study *s, const struct stretch *as_is,
                  const struct stretch *now, struct error *e);

#endif
