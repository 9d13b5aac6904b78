/* agreement.h - whether a pipeline file's lists have as many entries as its model needs
 *
 * A list that is too short would be filled up with something, and all answers be wrong without a word.
 */
#ifndef FREEZELINE_AGREEMENT_H
#define FREEZELINE_AGREEMENT_H

#include "config/pipeline.h"
#include "stages/graph/graph.h"

/* input.mean and input.std against the channels of the model's input, labels against its classes. FL_CONFIG,
 * with the place in the file. */
int agreement_check(const struct pipeline *p, const struct graph *g, struct error *e);

#endif
