/* hello.h - what every process says of itself in its Hello */
#ifndef FREEZELINE_HELLO_H
#define FREEZELINE_HELLO_H

#include "message.h"

/* Role, place, a new random incarnation (never 0), pid, host and boot id of this process. The rest is zero.
 */
void hello_init(struct hello *out, enum message_role role, int stage, int replica);

#endif
