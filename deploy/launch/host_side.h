/* host_side.h - what `up` on another machine asks of a host of the pipeline, by `freezeline supervise
 * --check` and
 * `--watch`
 */
#ifndef FREEZELINE_HOST_SIDE_H
#define FREEZELINE_HOST_SIDE_H

#include "config/pipeline.h"

#define HOST_SIDE_GONE   "gone" /* how the line of a watch begins that finds a dead supervisor's pid file */
#define HOST_SIDE_SERVES "what it started serves on" /* is in that line where its processes live */

/* Could the pipeline start here? What an earlier run left is ended and removed. FL_UNAVAILABLE: it is up, or
 * its ports are taken; FL_CONFIG: cpus, addresses or programs that this host has not. */
int host_side_check(const struct pipeline *p, struct error *e);
/* The cpus of workers that run here. */
int host_side_check_cpus(const struct pipeline *p, struct error *e);

/* Waits up to wait_s for the supervisor that is starting here, and prints "ready", or "waiting: WHO is
 * STATE". FL_UNAVAILABLE: it ended; why, and the end of the log, as failure_explain. */
int host_side_watch(const struct pipeline *p, int wait_s, struct error *e);

#endif
