/* outbox.h - updates that Redis has not acknowledged yet, in their order, each with its number; pure
 *
 * They come from the spool, a few at a time, and stay with their numbers until they are acknowledged: sent
 * twice, the second time adds nothing. One thread, but for the spool's lock.
 */
#ifndef FREEZELINE_OUTBOX_H
#define FREEZELINE_OUTBOX_H

#include "spool.h"

#define OUTBOX_UPDATES 64

struct outbox {
    struct spool *spool; /* borrowed */
    struct update *update[OUTBOX_UPDATES];
    int n;
    uint64_t acknowledged; /* ever: update[0] has the number after */
};

/* Takes from the spool what fits in; how many there are now. */
int outbox_fill(struct outbox *o);
/* The first n were acknowledged, or are given up. */
void outbox_remove(struct outbox *o, int n);
/* Those in the spool included. */
int outbox_waiting(const struct outbox *o);

#endif
