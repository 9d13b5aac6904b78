/* crew.h - the processes that a supervisor has started: start, watch, start again, end
 *
 * One that dies is started again after a pause that doubles from 0.1 s up to 5 s with each death in a row.
 * A stage worker may have an heir: a second process that loads beside it and waits for its end
 * (freezeline-stage --after); when it ends, however it does, the heir is the child.
 */
#ifndef FREEZELINE_CREW_H
#define FREEZELINE_CREW_H

#include "hang.h"
#include "operation.h"
#include "deploy/process/process.h"
#include "deploy/process/roles.h"
#include "deploy/process/serving.h"
#include "wire/message.h"

struct child {
    struct role role;
    struct process process;
    bool running;
    int watch; /* pidfd of one that another supervisor started (adoption.h), so nobody's child here; 0: it is
                */
    bool unnamed; /* its pid file could not be written: tried again when it is due */
    bool held;    /* asked to end: it is started again when it is due, not because it has ended */
    int backoff_ms;
    uint64_t started_ns, next_ns; /* next_ns: when to start it again, or to name it */
    struct hang hang;
    struct process heir; /* pid 0: none */
    char heir_lost[128]; /* how it ended before it could take over; "": it did not */
};

struct crew {
    const struct serving *serving; /* what processes start from */
    struct child child[ROLES_MAX];
    int n, alive; /* alive: what children inherit (claim.h) */
    bool ready;   /* the pipeline has been, once: before that a death is the end of the start */
};

/* A new child that does not run. FL_CONFIG: there are too many. */
int crew_add(struct crew *c, const struct role *r, struct error *e);
void crew_forget(struct crew *c, int i);
int crew_start(struct crew *c, int i, struct error *e);
int crew_start_heir(struct crew *c, int i, struct error *e);
/* A process that runs already becomes this child. False: it has ended meanwhile. */
bool crew_adopt(struct crew *c, int i, const struct process *it);
/* SIGTERM; one that is stopped goes on, to end. It is held from then on. */
void crew_ask(struct crew *c, int i);
/* And forgets how others have ended. */
void crew_end_heirs(struct crew *c, int wait_ms);
/* Those that were held are started again like what died. */
void crew_release(struct crew *c);

/* Reaps what ended. FL_UNAVAILABLE: the pipeline was not ready yet, and one that serving needs has died. */
int crew_reap(struct crew *c, struct error *e);
void crew_start_due(struct crew *c);
/* Kills what lives and says nothing, by what the broker said at `now`: it starts again like what died. */
void crew_end_hung(struct crew *c, const struct status_reply *said, uint64_t now);
/* False: a broker that somebody else started has the sockets, and `said` this. Then the crew's own one fails
 * yet. */
bool crew_is_asked(const struct crew *c, const struct status_reply *said);
void crew_signal(struct crew *c, int number); /* to all */
/* Redis, whose socket somebody removed, is started again; its log is bounded. The others do both themselves.
 */
void crew_look_after_redis(struct crew *c);
/* Ends all, Redis last: cache services write to it until their end. `keep`: pid files are not ours to
 * remove. */
void crew_stop(struct crew *c, bool keep);

/* What is seen of each child, by what the broker said. */
void crew_look(const struct crew *c, const struct status_reply *said, struct sight out[ROLES_MAX]);

#endif
