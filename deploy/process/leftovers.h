/* leftovers.h - what an earlier run left in run/ and of its sockets: ended and removed
 *
 * Only for who holds run/lock (claim.h). Only what pid files name is ended, and what has run/alive open as a
 * supervisor handed it on; a socket at which somebody listens is left, whoever that is.
 */
#ifndef FREEZELINE_LEFTOVERS_H
#define FREEZELINE_LEFTOVERS_H

#include "process.h"
#include "config/pipeline.h"

/* Ends what a supervisor that died left behind; *ended: how many processes. Removes their files and dead
 * sockets. FL_UNAVAILABLE when such a process lives where it can't be ended from here: then all files stay.
 */
int leftovers_end(const struct pipeline *p, int *ended, struct error *e);

/* Does it live, and was it started for this pipeline? By run/alive, where what it has open can be seen. */
bool leftovers_is_ours(const struct pipeline *p, const struct process *it);
/* Ends what some supervisor of this pipeline started, with a pid file or without, but for these n. */
int leftovers_end_others(const struct pipeline *p, const pid_t *keep, int n);

/* The same of one's own, when all children have ended. */
void leftovers_remove_own(const struct pipeline *p);

#endif
