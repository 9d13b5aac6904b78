/* standing.h - where this host stands beside Redis's head, as far as it knows; pure
 *
 * What to do there is decided by lineage.h. This remembers what was seen: the head, who holds its build, for
 * how long nobody did, and whether its caches could be taken; and says once what an operator should know.
 */
#ifndef FREEZELINE_STANDING_H
#define FREEZELINE_STANDING_H

#include "cache_service/store/store.h"

struct standing {
    struct head head;        /* as Redis had it at the last look */
    bool there, readable;    /* there is one; it is one that this program knows */
    enum lineage_move place; /* of our state beside it */
    bool looked;             /* place and head are known */
    struct lineage_watch watch;
    char holder[STORE_WHO_BYTES]; /* who has the build that Redis holds, where that is not ours */
    char said_aside[HEAD_BYTES];  /* the build beside which we stand, when it was said last */
    char damaged[HEAD_BYTES];     /* the head whose caches could not be taken */
};

/* The connection was lost: what Redis holds may be another. */
void standing_forget(struct standing *s);
/* A look at the head ended with `rc`. FL_OK: seen, even if there is none or none that can be read; whether it
 * is another than before is in *news. Else: why not. */
int standing_saw(struct standing *s, const struct head *head, int rc, bool *news);
/* The head is of another build than m (NULL: none): who holds that has to be known. */
bool standing_beside(const struct standing *s, const struct manifest *m);
/* Where we stand from now on. `said`: our own hold was taken by Redis; pipeline: its name. */
void standing_decide(struct standing *s, const struct lineage_here *here, bool said, const char *pipeline,
                     uint64_t now);
/* We put the state in use there, or took it from there. */
void standing_reach(struct standing *s);
/* `now_there` was put in the place of the head by a snapshot of ours, which says so in the log. */
void standing_published(struct standing *s, const struct head *now_there, const struct snapshot *ours);
/* Redis holds what is in use here. */
bool standing_at_head(const struct standing *s);
/* The caches of this head could not be taken before. */
bool standing_damaged(const struct standing *s);
void standing_mark_damaged(struct standing *s);

#endif
