/* hello.h - what every process says of itself in its Hello */
#ifndef FREEZELINE_HELLO_H
#define FREEZELINE_HELLO_H

#include "config/pipeline.h"
#include "message.h"

/* Role and place, and of this process: a new random incarnation (never 0), pid, host, boot id. The rest is 0.
 */
void hello_init(struct hello *out, enum message_role role, int stage, int replica);
/* Where a stage worker takes jobs, and which cache service it asks, as the pipeline file has it. */
void hello_tell_place(struct hello *out, const struct pipeline *p);
/* By which endpoint a process on `host` meets the stage worker that says so; "": it does not tell. */
const char *hello_way(const struct hello *h, const char *host);

#endif
