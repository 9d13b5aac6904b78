/* lessons.h - updates out of the stream (alone: out of the spool) into caches, while this process is the
 * learner; pure
 *
 * A cache service applies a batch to its caches and commits them. A learner's process gives it to its student
 * (keeper.h), acknowledges it, and commits what the student says is an epoch, whenever that is.
 */
#ifndef FREEZELINE_LESSONS_H
#define FREEZELINE_LESSONS_H

#include "cache_service/store/lease.h"
#include "follow.h"
#include "spool.h"

struct lessons {
    const struct pipeline *p; /* borrowed */
    struct lease lease;
    bool held; /* the lease, when its step began */
    bool more; /* there may be updates in the stream */
    bool student;
    struct snapshot *offer; /* of the student: to be committed */
    uint64_t offered;       /* holding.taken then: it is made of what was in use */
    bool errand;            /* the student wants something of Redis */
    struct lesson lesson;
    uint64_t accepted, applied, rejected; /* accepted: alone */
};

/* The two steps with Redis, as in follow.h. FL_OK: there is nothing to do after all. FL_STALE: lease or head
 * are not what they were believed to be. */
uint64_t lessons_due(const struct lessons *l, bool at_head);
int lessons_begin_lease(struct lessons *l, bool at_head, struct keeper_task *t, uint64_t now);
int lessons_begin(struct lessons *l, const struct holding *h, const struct head *head, struct keeper_task *t,
                  uint64_t now);
/* `asked_ns`: when the task was given. */
int lessons_done(struct lessons *l, struct holding *h, struct follow *f, struct keeper_task *t,
                 uint64_t asked_ns, uint64_t now);

/* Takes an epoch to be committed, in the place of one that was not yet. */
void lessons_offer(struct lessons *l, struct snapshot *s, const struct holding *h);
/* There is one, and it is made of what serves. */
bool lessons_offers(const struct lessons *l, const struct holding *h);

/* Without Redis: the same learning, straight from the spool. */
uint64_t lessons_alone_due(const struct lessons *l, const struct holding *h, struct spool *spool);
int lessons_begin_alone(struct lessons *l, const struct holding *h, struct spool *spool,
                        struct keeper_task *t, uint64_t now);
void lessons_done_alone(struct lessons *l, struct holding *h, struct keeper_task *t, uint64_t now);

#endif
