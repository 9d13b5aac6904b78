/* supervisor_lease.h - a supervisor that ends by itself when nobody says any more that it is wanted
 *
 * STATE/run/lease has a number of seconds. Where it is there, the supervisor stops its processes and itself
 * once the file has not been written or touched for so long. Measured by this machine's uptime: a clock that
 * is set does not end it.
 */
#ifndef FREEZELINE_SUPERVISOR_LEASE_H
#define FREEZELINE_SUPERVISOR_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "config/pipeline.h"

#define LEASE_WORD "lease"

struct supervisor_lease {
    struct timespec written;
    uint64_t since_ns, looked_ns;
};

/* Makes STATE/run where it is not there. FL_IO. */
int supervisor_lease_grant(const struct pipeline *p, int seconds, struct error *e);
/* Is it over? Looks at the file twice a second at most. Zeroed memory is one to begin with. */
bool supervisor_lease_over(struct supervisor_lease *l, const struct pipeline *p, uint64_t now);

#endif
