/* claim.h - who may touch what a running pipeline has in its state directory: run/lock and run/alive
 *
 * run/lock is locked by whoever starts, tends or stops the pipeline: `up` takes it and hands it to its
 * supervisor, which keeps it for its life. Who does not hold it changes nothing in run/, and ends nothing.
 * run/alive is locked, shared, by each process that a supervisor started, until it ends. Both are flock
 * locks: the kernel drops them with their holder, and they are seen from other containers and other hosts
 * that share the folder, where pids are not.
 */
#ifndef FREEZELINE_CLAIM_H
#define FREEZELINE_CLAIM_H

#include "config/pipeline.h"
#include "process.h"

/* Takes run/lock, held until *fd is closed; tries for up to wait_ms. FL_UNAVAILABLE: another process has it.
 * FL_NOT_FOUND: there is no run directory. */
int claim_take(int *fd, const struct pipeline *p, int wait_ms, struct error *e);
/* Is `fd` run/lock, locked? A supervisor checks the descriptor that it was given. */
bool claim_holds(int fd, const struct pipeline *p);

/* Who tends the pipeline. */
enum claim_holder {
    CLAIM_NOBODY,    /* and nobody left a word: it was never up, or was stopped as it should be */
    CLAIM_GONE,      /* the supervisor of *who died */
    CLAIM_HERE,      /* a supervisor that can be signalled */
    CLAIM_ELSEWHERE, /* of another container or host */
    CLAIM_STARTING,  /* `up` or `down` is at it this moment: *who is not known yet */
};
enum claim_holder claim_look(const struct pipeline *p, struct process *who);

/* Opens run/alive with a shared lock: for children to inherit. */
int claim_open_alive(int *fd, const struct pipeline *p, struct error *e);
/* Does a process that some supervisor started live, seen from here or not? Only for who has run/lock. */
bool claim_anyone_alive(const struct pipeline *p);

#endif
