/* views.h - steps that only rearrange: what they make is seen in what they read, and nothing is copied */
#ifndef FREEZELINE_VIEWS_H
#define FREEZELINE_VIEWS_H

#include "exec_internal.h"

/* Finds the steps that need not run, gives them a kernel that does nothing, and what they make a `base` in
 * which it lies; also Concats of channels, when `join` says so. After find_lives, before kernels are chosen.
 * FL_NOMEM. */
int views_find(struct exec *x, enum exec_kernels mode, bool join, struct error *e);

#endif
