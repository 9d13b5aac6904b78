/* heirs.h - the supervisor's part of `freezeline reload`: for each stage worker a second process that takes
 * its place
 *
 * Heirs are started from the pipeline file as it is now. Each loads beside its predecessor and waits for its
 * end (freezeline-stage --after); when all have come, the broker moves the pipeline on. A child that ends has
 * its heir for a successor. An heir that ends before that, or heirs that wait for too long, end the reload:
 * what served goes on. SIGUSR1 asks the supervisor for it, SIGUSR2 calls it off; run/reload has the word on
 * how it goes.
 */
#ifndef FREEZELINE_HEIRS_H
#define FREEZELINE_HEIRS_H

#include "process.h"
#include "roles.h"

#define HEIRS_WORD "reload" /* "starting", "failed WHO TEXT", "done TEXT" */

struct heir {
    struct process process; /* pid 0: none */
    const struct role *role;
};

struct heirs {
    struct pipeline *pipeline; /* what they were started from, owned; NULL: no reload is on */
    uint64_t until_ns;
    int n;                     /* how many wait */
    struct heir of[ROLES_MAX]; /* by the number of the child */
};

/* A child of the supervisor. */
struct heirs_place {
    const struct role *role;       /* borrowed while a reload is on */
    const struct process *process; /* NULL: it does not run */
};

/* Starts an heir for each stage worker that runs, from the file that `now` was loaded from; or leaves the
 * word why not. Nothing while a reload is on. `alive`: what children inherit. */
void heirs_begin(struct heirs *h, const struct pipeline *now, const struct pipeline_arguments *a,
                 const struct heirs_place *place, int n, int alive);
/* Ends those that wait, and the reload, with a word. */
void heirs_fail(struct heirs *h, const struct pipeline *now, const char *who, const char *text);
/* A process that is no child has ended: if it was an heir, the reload has failed. */
void heirs_lost(struct heirs *h, const struct pipeline *now, pid_t pid, const char *how);
/* Child i has ended: its heir, if there is one, is *out from now on. */
bool heirs_take(struct heirs *h, int i, struct process *out);
/* The pipeline from which all have taken over, the caller's from now on; NULL: not (yet). Fails what takes
 * too long. */
struct pipeline *heirs_done(struct heirs *h, const struct pipeline *now, uint64_t now_ns);
/* The supervisor ends: so do those that wait. */
void heirs_end(struct heirs *h, int wait_ms);

#endif
