/* keeper_task.h - what the keeper's brain wants done, and how that ended */
#ifndef FREEZELINE_KEEPER_TASK_H
#define FREEZELINE_KEEPER_TASK_H

#include "learner.h"

#define KEEPER_LEASE_MS 3000
#define KEEPER_RECORDS  1024 /* of one parcel, at most */

enum keeper_act {
    KEEPER_WAIT,       /* until until_ns (may be past) or until a hint, the first update, a reload comes */
    KEEPER_END,        /* after keeper_brain_stop: all is done */
    KEEPER_READ_FILES, /* -> built, learned: the build on this host's disk, and what was learned from it; both
                          may be NULL. What was learned from another build than `built` is not to be read.
                          -> on_disk, lost */
    KEEPER_SAVE,       /* mine */
    KEEPER_SPILL,      /* parcel, to the disk: all or none; ok: nothing comes after it -> on_disk, lost */
    KEEPER_UNSPILL,    /* of parcel.producer Redis has all up to parcel.first (0: nothing is told); then the
                          oldest on the disk, n at most -> records (taken), parcel; on_disk, lost */
    KEEPER_LEARN,      /* learner_apply to mine of batch's updates -> got, tally */
    KEEPER_STUDY,      /* the student takes batch's updates */
    /* Each one question to Redis. FL_UNAVAILABLE: the connection is lost, and whether it was done unknown. */
    KEEPER_CONNECT,
    KEEPER_LISTEN,       /* to hints, over a connection of its own */
    KEEPER_HEAD,         /* -> head */
    KEEPER_HOLD,         /* build, who */
    KEEPER_HOLDER,       /* build -> holder */
    KEEPER_LOAD,         /* head, mine, quiet -> got, load */
    KEEPER_PUBLISH,      /* mine; head -> head */
    KEEPER_TELL_DAMAGED, /* head */
    KEEPER_ACQUIRE,      /* -> fence */
    KEEPER_RENEW,        /* fence -> ok */
    KEEPER_RELEASE,      /* fence */
    KEEPER_APPEND,       /* parcel -> accepted */
    KEEPER_READ,         /* fence, head, n at most -> batch */
    KEEPER_COMMIT,       /* fence, mine, next, batch; head -> head */
    KEEPER_ACK,          /* fence, batch: the student has it */
    KEEPER_ERRAND,       /* what else the student wants of Redis; mine */
};

/* What is borrowed lives until keeper_brain_done; got, built and learned are taken there, as is the batch
 * that READ fills. */
struct keeper_task {
    enum keeper_act act;
    uint64_t until_ns;
    const struct snapshot *mine, *next; /* borrowed; mine: in use, NULL: none */
    const uint8_t *build;
    const char *who;
    struct store_parcel parcel;
    struct update_record *records; /* [KEEPER_RECORDS] */
    int n;
    bool quiet; /* what is refused was said before */

    struct head head; /* known before, and that which is there then */
    uint64_t fence;
    struct store_batch batch;

    int rc; /* how it ended, and why */
    struct error error;
    struct snapshot *got, *built, *learned;
    struct learner_tally tally;
    struct store_load load;
    char holder[STORE_WHO_BYTES];
    int accepted;
    uint64_t on_disk, lost; /* updates that wait there; that were lost there, ever */
    bool ok;
};

/* Makes *t that task, with nothing else in it. */
struct keeper_task *keeper_ask(struct keeper_task *t, enum keeper_act act);
/* A step of the brain is told how its task ended, and says how the step ended (an enum fl_code; the text is
 * in the task), or that it asks for another task first. */
#define KEEPER_ASKS_ON (-1)

#endif
