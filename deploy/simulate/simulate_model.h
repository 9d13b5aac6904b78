/* simulate_model.h - whether measurements are of the model that they are used for */
#ifndef FREEZELINE_SIMULATE_MODEL_H
#define FREEZELINE_SIMULATE_MODEL_H

#include "simulate_measured.h"
#include "stages/graph/graph.h"

/* FL_STALE when they are not. A file without a digest may be of any model that looks like g: it passes when
 * it knows all of g's cuts, with the same sizes, and no others; *sure is false then. */
int simulate_same_model(const struct measured *m, const struct graph *g, bool *sure, struct error *e);
/* Says on stderr that a model only looks the same. */
void simulate_warn_of_likeness(const struct measured *m, const char *command);

#endif
