/* hello.h - what every process says of itself in its Hello */
#ifndef FREEZELINE_HELLO_H
#define FREEZELINE_HELLO_H

#include "message.h"

/* Role and place, and of this process: a new random incarnation (never 0), pid, host, boot id. The rest is 0.
 */
void hello_init(struct hello *out, enum message_role role, int stage, int replica);

#endif
