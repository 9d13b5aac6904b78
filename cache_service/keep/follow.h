/* follow.h - Redis's head and this host beside it: looking at it, loading what is there, publishing; pure
 *
 * What to do is decided by lineage.h. This remembers what was seen: the head, who holds its build and for how
 * long nobody did, and whether its caches could be taken; asks for what is to be done; and says once what an
 * operator should know.
 */
#ifndef FREEZELINE_FOLLOW_H
#define FREEZELINE_FOLLOW_H

#include "holding.h"
#include "keeper_task.h"

struct follow {
    const char *pipeline, *who; /* borrowed; for Redis and the log */
    struct head head;           /* as Redis had it at the last look */
    bool there, readable;       /* there is one; it is one that this program knows */
    enum lineage_move place;    /* of our state beside it */
    uint64_t placed;            /* of the state of this number: holding.taken + 1; 0: not known */
    bool news;                  /* the last look showed another head; the brain clears it */
    uint64_t look_ns, mend_ns;  /* not before then */
    bool said;                  /* Redis took it that this host has this build on its disk */
    struct lineage_watch watch;
    char holder[STORE_WHO_BYTES]; /* who has the build that Redis holds, where that is not ours */
    char said_aside[HEAD_BYTES];  /* the build beside which we stand, when it was said last */
    char damaged[HEAD_BYTES];     /* the head whose caches could not be taken */
    int asked;                    /* how often the others were asked for these */
    uint64_t mends;               /* the head of this number was asked for: it is published again; 0: none */
    struct error later;           /* how the step ends when the others have been asked */
};

/* The connection was lost: what Redis holds may be another. */
void follow_forget(struct follow *f);
/* Look again, soon. */
void follow_doubt(struct follow *f);
bool follow_placed(const struct follow *f, const struct holding *h);
/* Redis holds what is in use here. */
bool follow_at_head(const struct follow *f, const struct holding *h);
/* What was committed is the head, and in use. */
void follow_committed(struct follow *f, const struct holding *h, const struct head *head, uint64_t now);

/* The two steps: from when on they are due (UINT64_MAX: nothing to do), their first tasks, and what comes
 * after each task: KEEPER_ASKS_ON or how the step ended. */
uint64_t follow_look_due(const struct follow *f, const struct holding *h);
uint64_t follow_due(const struct follow *f, const struct holding *h);
int follow_look(struct keeper_task *t);
int follow_begin(struct follow *f, struct holding *h, struct keeper_task *t);
int follow_done(struct follow *f, struct holding *h, struct keeper_task *t, uint64_t now);

/* Somebody could not use the caches of the head of this number: puts them there again, if they are ours
 * whole. */
void follow_mend(struct follow *f, const struct holding *h, uint64_t sequence, uint64_t now);

#endif
