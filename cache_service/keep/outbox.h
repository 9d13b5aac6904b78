/* outbox.h - updates that Redis has not acknowledged yet, in their order, each with its number; pure
 *
 * They come from the spool and are sent a few at a time, with the same numbers until they are acknowledged:
 * sent twice, the second time adds nothing. While Redis does not take them they go to the disk (backlog.h),
 * and what is there is sent first. One thread, but for the spool's lock.
 */
#ifndef FREEZELINE_OUTBOX_H
#define FREEZELINE_OUTBOX_H

#include "keeper_task.h"
#include "spool.h"

#define OUTBOX_BYTES (4u << 20) /* of one parcel, about */

struct outbox {
    struct spool *spool;                 /* borrowed */
    char producer[STORE_PRODUCER_BYTES]; /* this process */
    struct update_record record[KEEPER_RECORDS];
    struct store_parcel parcel; /* in hand: what `record` holds; n 0: nothing */
    bool from_disk;             /* it is there until it is acknowledged */
    char done_by[STORE_PRODUCER_BYTES];
    uint64_t done;     /* of what came from the disk: acknowledged up to there, and the disk does not know */
    uint64_t given;    /* numbers, ever */
    uint64_t on_disk;  /* updates */
    uint64_t lost;     /* there, ever */
    uint64_t dropped;  /* here, ever: the disk was full */
    uint64_t full_ns;  /* the stream was full: not before then */
    uint64_t spill_ns; /* nothing goes to the disk before then */
    bool disk_fails;
};

/* In hand and on the disk; those in the spool too. */
uint64_t outbox_held(const struct outbox *o);
uint64_t outbox_waiting(const struct outbox *o);
/* The step, as in follow.h: from when on it is due, its task (FL_OK: there is nothing), what comes after it.
 */
uint64_t outbox_due(const struct outbox *o);
int outbox_send(struct outbox *o, struct keeper_task *t);
int outbox_done(struct outbox *o, struct keeper_task *t, uint64_t now);

/* To the disk: from when on it is due, where `stuck`, Redis takes none; its task; what came of it. */
uint64_t outbox_spill_due(const struct outbox *o, bool stuck);
int outbox_spill(struct outbox *o, struct keeper_task *t);
void outbox_spilled(struct outbox *o, const struct keeper_task *t, uint64_t now);
/* What a task told of the disk. */
void outbox_told(struct outbox *o, const struct keeper_task *t);
void outbox_drop(struct outbox *o); /* frees what is in it */

#endif
