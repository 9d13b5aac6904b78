/* operation.h - what follows from an order to the supervisor, step by step
 *
 * An order becomes steps: one process ends, starts, or ends and starts again; or all stage workers are
 * replaced together. A stage worker that serves is replaced by an heir: it loads beside it, and when the
 * broker says that it waits, the one before is asked to end, which it does when nothing is left for it. All
 * other processes end before they start again. Only one step is under way at a time, and the next one begins
 * when what was started is ready; so what fails leaves a pipeline that serves.
 *
 * Pure: what is seen of the processes and the time come in, what is to be done comes out. One thread.
 */
#ifndef FREEZELINE_OPERATION_H
#define FREEZELINE_OPERATION_H

#include "deploy/process/roles.h"

#define OPERATION_STEPS (3 * ROLES_MAX)

enum step_kind {
    STEP_END,      /* for good */
    STEP_TOGETHER, /* all stage workers: heirs of another plan, to whom the broker moves on */
    STEP_START,
    STEP_RESTART,
};

struct step {
    enum step_kind kind;
    char role[32]; /* "" for STEP_TOGETHER */
};

/* What the supervisor sees of one of its processes. */
struct sight {
    const struct role *role;
    bool running, ready;   /* ready: by the broker's word on this very process; Redis: it listens */
    bool held;             /* it is not started unasked */
    int64_t pid, heir;     /* heir 0: none */
    bool heir_waits;       /* it is loaded, by the broker's word */
    const char *heir_lost; /* how the heir ended before it could take over; NULL: it did not */
};

enum act {
    ACT_WAIT,
    ACT_START,
    ACT_HEIR, /* start one */
    ACT_ASK,  /* ask it to end; it is not started again unasked */
    ACT_KILL,
    ACT_FORGET, /* it has ended for good */
    ACT_DONE,
    ACT_FAIL,
};

struct deed {
    enum act act;
    int child;               /* index into the sights */
    char who[32], text[256]; /* of ACT_FAIL: whose log says more (or ""), and why */
};

enum phase { PHASE_BEGIN, PHASE_HEIR, PHASE_END, PHASE_READY };

struct operation {
    int n, at; /* steps; n 0: nothing is under way */
    struct step step[OPERATION_STEPS];
    enum phase phase;
    uint64_t since_ns; /* when the phase began; 0: at the next turn */
    bool called_off, asked;
    uint8_t heirs[ROLES_MAX]; /* STEP_TOGETHER: bit 0: has or had one; bit 1: was asked to make way for it */
};

/* Nothing is added when there is no room: FL_TOO_LARGE. */
int operation_add(struct operation *o, enum step_kind kind, const char *role);
/* What to do now; call again at once until it is ACT_WAIT, ACT_DONE or ACT_FAIL. */
struct deed operation_turn(struct operation *o, const struct sight *s, int n, uint64_t now);
/* It fails at the next point from which everything goes on as it was. */
void operation_call_off(struct operation *o);

#endif
