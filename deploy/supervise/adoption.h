/* adoption.h - a supervisor takes over what one that died left serving
 *
 * Services outlive a supervisor that is killed. A new one takes them over where the pipeline had been ready,
 * no other file was just being taken, and what is wanted now is the same file with no --set but those that
 * serve. A process is known by its pid file (pid, start time, boot, pid namespace) and by run/alive, which it
 * has open; that cannot be seen of another who holds secrets, unless by root. Only for who holds run/lock
 * (claim.h).
 */
#ifndef FREEZELINE_ADOPTION_H
#define FREEZELINE_ADOPTION_H

#include "crew.h"

/* Is there something to take over? *out is then what it serves from, the caller's to free. */
bool adoption_possible(struct serving *out, const struct pipeline *p, const struct argument_list *sets);
/* What lives becomes the crew's; what else an earlier supervisor started is ended. Returns how many. */
int adoption_take(struct crew *c);

#endif
