/* outbox.h - updates that Redis has not acknowledged yet, in their order, each with its number; pure
 *
 * They come from the spool, a few at a time, and stay with their numbers until they are acknowledged: sent
 * twice, the second time adds nothing. One thread, but for the spool's lock.
 */
#ifndef FREEZELINE_OUTBOX_H
#define FREEZELINE_OUTBOX_H

#include "keeper_task.h"
#include "spool.h"

#define OUTBOX_UPDATES 64

struct outbox {
    struct spool *spool; /* borrowed */
    struct update *update[OUTBOX_UPDATES];
    int n;
    uint64_t acknowledged; /* ever: update[0] has the number after */
    uint64_t full_ns;      /* the stream was full: not before then */
};

/* Those in the spool included. */
int outbox_waiting(const struct outbox *o);
/* The step, as in follow.h: from when on it is due, its task (FL_OK: there is nothing), what comes after it.
 */
uint64_t outbox_due(const struct outbox *o);
int outbox_send(struct outbox *o, struct keeper_task *t);
int outbox_done(struct outbox *o, struct keeper_task *t, uint64_t now);
void outbox_drop(struct outbox *o); /* frees what is in it */

#endif
