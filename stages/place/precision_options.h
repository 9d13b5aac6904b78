/* precision_options.h - what a pipeline file says of kernels and precision, as an executor takes it */
#ifndef FREEZELINE_PRECISION_OPTIONS_H
#define FREEZELINE_PRECISION_OPTIONS_H

#include "placement.h"
#include "stages/exec/exec.h"

/* Sets kernels, precision, quantization and what is rounded of `o`, which borrows `q` (owned by the caller:
 * release it, also after an error). FL_CONFIG, FL_UNSUPPORTED, FL_NOT_FOUND where int8 has no scales yet,
 * FL_CORRUPT. */
int precision_options(struct exec_options *o, struct quantization *q, const struct graph *g,
                      const struct pipeline *p, struct error *e);
/* Sets alone what is rounded between stages. */
int precision_rounding(struct exec_options *o, const struct graph *g, const struct pipeline *p,
                       struct error *e);
/* What an operator should know: this CPU is slow at the precision, or `auto` has nothing to choose by yet. ""
 * where there is nothing. Returns buf. */
char *precision_doubt(const struct pipeline *p, char *buf, size_t size);
/* Of a model that itself takes values as integers: in what it is computed here, and why not in integers where
 * that is so. "" for others. Returns buf. */
char *precision_of_model(const struct graph *g, enum exec_kernels k, char *buf, size_t size);

#endif
