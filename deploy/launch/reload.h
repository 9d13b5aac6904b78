/* reload.h - a running pipeline takes its files as they are now */
#ifndef FREEZELINE_RELOAD_H
#define FREEZELINE_RELOAD_H

#include "deploy/tool/arguments.h"

/* What `freezeline reload` does, in at most two minutes. *moved: the stages serve something else than before.
 * Whatever fails leaves a pipeline that serves. */
int reload_pipeline(const struct pipeline_arguments *where, bool *moved, struct error *e);

#endif
