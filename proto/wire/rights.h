/* rights.h - who may send which message at which gate
 *
 * A gate is a socket that processes of other hosts may reach. What does not come by a key (ipc, lanes, a
 * network that is trusted) may do all. Pure.
 */
#ifndef FREEZELINE_RIGHTS_H
#define FREEZELINE_RIGHTS_H

#include "keys/security.h"
#include "message.h"

enum gate {
    GATE_NONE, /* nobody is kept out: this end connects, and knows the other by its key */
    GATE_REQUESTS,
    GATE_CONTROL,
    GATE_RESULTS,
    GATE_JOBS,
    GATE_LOOKUPS
};

bool rights_may(enum party who, enum gate at, const struct message *m);

#endif
