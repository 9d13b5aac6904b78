/* supervisor.h - the one process that starts, tends and stops a pipeline's processes on this host
 *
 * It holds STATE/run/lock while it lives; pid files STATE/run/ROLE.pid name what it started. A child that
 * dies before the pipeline was ready is a failed start, and everything stops; not so a learner, which nothing
 * waits for. Later a dead child is started again, after a pause that doubles from 0.1 s up to 5 s with each
 * death in a row. STATE/run/ready is there while the pipeline has been ready.
 */
#ifndef FREEZELINE_SUPERVISOR_H
#define FREEZELINE_SUPERVISOR_H

#include "deploy/tool/arguments.h"
#include "config/pipeline.h"

/* Runs until SIGTERM or SIGINT, then stops all children and cleans up; SIGHUP opens its log again and is
 * passed on. Logs to stderr. `lock`: a descriptor of run/lock, locked, that becomes its own; -1: it takes the
 * lock itself. `drain_s`: asked to end, it waits for so long until the pipeline has answered what it took:
 * where all of a pipeline's supervisors are asked at once. */
int supervisor_run(const struct pipeline *p, const struct pipeline_arguments *a, int lock, int drain_s,
                   struct error *e);

#endif
