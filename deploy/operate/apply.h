/* apply.h - a running pipeline takes its files as they are now */
#ifndef FREEZELINE_APPLY_H
#define FREEZELINE_APPLY_H

#include "deploy/tool/arguments.h"

/* What `freezeline apply` does, in at most two minutes. *moved: the stages serve something else than before.
 * Whatever fails leaves a pipeline that serves. */
int apply_file(const struct pipeline_arguments *where, bool *moved, struct error *e);
/* Finds what can be wrong with the new files, and whether there is anything to do; does nothing. */
int apply_look(const struct pipeline_arguments *where, bool *differs, struct error *e);

#endif
