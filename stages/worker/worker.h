/* worker.h - a stage worker: one replica of one stage of a pipeline
 *
 * One thread owns its sockets and computes (kernels may use more threads). What waits when it becomes free
 * forms the next batch. After each exit it asks the cache service and goes on computing; rows that are hits
 * leave the batch at the next exit, the rest goes to the next stage or, at the end, to the broker.
 */
#ifndef FREEZELINE_WORKER_H
#define FREEZELINE_WORKER_H

#include <sys/types.h>

#include "config/pipeline.h"

struct stage_worker;

/* Binds, loads its part of the model, runs it once. Borrows `p` for its life. Logs the ready line. `after`:
 * the process of this host whose place it is to take (0: none); it binds when that one has ended, while it
 * runs. */
int stage_worker_new(struct stage_worker **out, const struct pipeline *p, int stage, int replica, pid_t after,
                     struct error *e);
/* Says goodbye to the broker, lets what was sent leave, closes. */
void stage_worker_free(struct stage_worker *w);

/* Serves until *stop becomes non-zero: finishes the batch in hand, then returns FL_OK. FL_STALE when the
 * broker sends this worker away (another process holds its place, or the pipeline has moved on). */
int stage_worker_run(struct stage_worker *w, const volatile int *stop, struct error *e);

#endif
