/* conduct.h - the supervisor carries out orders, one at a time
 *
 * It turns an order into an operation's steps, does what the operation says, and answers. What fails or is
 * called off in its first step leaves everything as it was; later, what is done stays, and the answer names
 * the step.
 */
#ifndef FREEZELINE_CONDUCT_H
#define FREEZELINE_CONDUCT_H

#include "crew.h"
#include "orders.h"

struct conduct {
    struct crew *crew;       /* borrowed */
    struct serving *serving; /* borrowed: the crew's own */
    struct orders *orders;   /* borrowed */
    struct operation operation;
    struct serving next; /* pipeline NULL: the operation changes nothing of what processes start from */
    int by;              /* which connection ordered it */
    int told;            /* the step that was told last */
    struct deed failure; /* its act is ACT_FAIL: what was begun is taken back, then this is answered */
    enum order_kind kind;
    bool reads_caches; /* at its end the cache services read another build */
    bool unloaded;     /* the stage workers have ended, until they are loaded again */
    bool changed;      /* the pipeline is another one: readiness has to be made anew */
};

void conduct_order(struct conduct *c, const struct order *o, int from, const struct status_reply *said);
/* Is something under way? */
bool conduct_busy(const struct conduct *c);
/* Goes on, by what the broker said last. */
void conduct_turn(struct conduct *c, const struct status_reply *said, uint64_t now);
/* The supervisor ends: so does what is under way. */
void conduct_end(struct conduct *c);

#endif
