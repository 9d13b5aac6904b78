/* recollection.h - what variants said of requests that were served, until their true labels come
 *
 * Bounded: a newer request may take the place of an older one, whose label then comes too late. Pure.
 */
#ifndef FREEZELINE_RECOLLECTION_H
#define FREEZELINE_RECOLLECTION_H

#include "choice.h"

#define RECOLLECTION_MOST 8192

struct recollection {
    uint64_t id, context; /* id 0: free */
    uint32_t came;        /* mask of variants that answered */
    int served;           /* whose answer it was */
    float chance;
    int32_t label[CHOICE_MAX];
};

/* table: RECOLLECTION_MOST of them. */
void recollection_keep(struct recollection *table, const struct choice_course *x, int served);
/* NULL: it is not remembered. */
struct recollection *recollection_find(struct recollection *table, uint64_t id);

#endif
