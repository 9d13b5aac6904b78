/* holding.h - the caches that this service answers from; pure */
#ifndef FREEZELINE_HOLDING_H
#define FREEZELINE_HOLDING_H

#include "cache_service/store/snapshot.h"

struct holding {
    struct snapshot *current; /* NULL: no caches known */
    struct snapshot *fresh;   /* not taken yet by who answers look-ups */
    bool own;                 /* of the build, or the cold start, on this host's disk */
    bool dirty;               /* newer than what is saved */
    uint64_t taken;           /* states that were taken into use, ever */
};

/* Takes s (one reference) into use. `own`: it is of the build on this host's disk. */
void holding_adopt(struct holding *h, struct snapshot *s, bool own);
/* Of the build on this host's disk and what was learned from it (both taken; NULL: none), uses what is
 * further on, where that is no worse than what is in use. `from`: where they were read, for the log. */
void holding_read(struct holding *h, struct snapshot *built, struct snapshot *learned, const char *from);
bool holding_to_save(const struct holding *h);

#endif
