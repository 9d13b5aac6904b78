/* whole_model.h - the whole model of a pipeline file in this process, as one stage alone would run it */
#ifndef FREEZELINE_WHOLE_MODEL_H
#define FREEZELINE_WHOLE_MODEL_H

#include "config/pipeline.h"
#include "stages/exec/exec.h"

/* Executes all of g with the pipeline file's kernels and precision, rounded where its stages' messages are.
 * exec_free. Errors as exec_new; FL_USAGE
 * for kernels that do not exist. */
int whole_model_new(struct exec **out, const struct graph *g, const struct pipeline *p, int threads,
                    int max_batch, struct error *e);

#endif
