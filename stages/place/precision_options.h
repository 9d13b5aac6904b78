/* precision_options.h - what a pipeline file says of kernels and precision, as an executor takes it */
#ifndef FREEZELINE_PRECISION_OPTIONS_H
#define FREEZELINE_PRECISION_OPTIONS_H

#include "config/pipeline.h"
#include "stages/exec/exec.h"

/* Sets kernels, precision and quantization of `o`, which borrows `q` (owned by the caller: release it, also
 * after an error). FL_CONFIG, FL_UNSUPPORTED, FL_NOT_FOUND where int8 has no scales yet, FL_CORRUPT. */
int precision_options(struct exec_options *o, struct quantization *q, const struct pipeline *p,
                      struct error *e);

#endif
