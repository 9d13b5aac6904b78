/* learner_process.h - the process freezeline-learner: its talk with the broker beside the keeper's thread
 *
 * Threads: the caller's has the broker's control socket alone; the keeper's (keeper.h) has Redis, files and
 * the brain; one that teaches comes and goes (classroom.h). Nothing waits for this process: without it, what
 * is certified serves on.
 */
#ifndef FREEZELINE_LEARNER_PROCESS_H
#define FREEZELINE_LEARNER_PROCESS_H

#include "base/error.h"
#include "config/pipeline.h"

struct learner_process;

/* Borrows p. `index`: which of several learners. FL_CONFIG, FL_IO, FL_NOMEM. */
int learner_process_new(struct learner_process **out, const struct pipeline *p, int index, struct error *e);
/* Until *stop becomes non-zero, or the broker sends it away. */
int learner_process_run(struct learner_process *l, const volatile int *stop, struct error *e);
void learner_process_free(struct learner_process *l); /* NULL is fine */

#endif
