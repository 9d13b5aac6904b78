/* pager.h - other variants are brought up and put away, as the broker says (budget.memory_mb)
 *
 * Which ones should be in memory is decided by the first variant's broker (broker/choice/paging.h). Here it
 * is done: `freezeline up` and `down` with --variant, one at a time, what goes before what comes, so that the
 * bound holds. What fails is tried again after a while. Its output is in STATE/logs/variants.log.
 */
#ifndef FREEZELINE_PAGER_H
#define FREEZELINE_PAGER_H

#include "deploy/process/process.h"
#include "deploy/process/serving.h"
#include "wire/message.h"

struct pager {
    struct process command; /* pid 0: none runs */
    uint64_t next_ns;
};

/* Looks at what the broker said last. */
void pager_turn(struct pager *p, const struct serving *serving, const struct status_reply *said,
                uint64_t now);
/* Ends what runs. */
void pager_end(struct pager *p);

#endif
