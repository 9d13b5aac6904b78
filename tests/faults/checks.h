/* checks.h - what must hold of the brains at any time, and at the end
 *
 * - The broker's `outstanding` is what is on its way; no more is admitted than the file allows.
 * - A replica of stage 0 has at most two batches of living requests before it.
 * - Where another way is open, nothing waits long for a worker.
 * - At the end nothing is left in the broker, and cache services count no more than they gave away.
 */
#ifndef FREEZELINE_FAULTS_CHECKS_H
#define FREEZELINE_FAULTS_CHECKS_H

#include "ledger.h"

/* All are borrowed. */
struct checks {
    struct ledger *ledger; /* where it is told */
    struct world *world;
    const struct pipeline *pipeline;
    const struct story *story;
    bool honest; /* no stranger has a say */
    bool found;  /* workers have found every broker since it was started, or was stopped */
};

void checks_broker(const struct checks *c, int broker); /* which lives */
void checks_end(const struct checks *c, int broker);

#endif
