/* state.h - paths below a pipeline's state directory
 *
 *   caches/   what `build` made        build/    its intermediate work     run/    pid files, locks, words to
 * `up` logs/     one file per process     redis/    data of a managed Redis   sock/   unix sockets
 *   rollout/  the state directory of a pipeline that is tried beside
 */
#ifndef FREEZELINE_STATE_H
#define FREEZELINE_STATE_H

#include <stddef.h>

#include "base/error.h"
#include "config/pipeline.h"

#define STATE_PATH_BYTES 1024

/* Writes STATE/FORMAT into buf. FL_CONFIG when it does not fit. */
int state_path(char buf[STATE_PATH_BYTES], const struct pipeline *p, struct error *e, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Makes the directory and those above it. */
int state_make(const char *path, struct error *e);
/* The same, directories that have to be made are for this user alone. */
int state_make_private(const char *path, struct error *e);
/* Takes an exclusive lock on a file (made when absent), held until *fd is closed. FL_UNAVAILABLE when another
 * process has it; `what` names the work that it protects. */
int state_lock(int *fd, const char *path, const char *what, struct error *e);

#endif
