/* accept.h - a connection that would leave too few descriptors free is refused
 *
 * libzmq ends its process when accept finds no descriptor (an assertion in ipc_listener.cpp), or spins (tcp),
 * and has no bound on connections. So accept4 is defined here, which libzmq then finds before that of libc: a
 * connection beyond the bound is closed at once, who made it tries again. Clients may fill all but a quarter
 * of the files; what listens for the pipeline's own processes may use all but a few of those. Any thread.
 */
#ifndef FREEZELINE_ACCEPT_H
#define FREEZELINE_ACCEPT_H

#include <stdint.h>

#include "base/error.h"

#define ACCEPT_SPARE 32 /* files that no connection takes */

/* From here on connections are bounded where `files` files may be open. `front` (NULL: none) is the endpoint
 * where clients connect. FL_CONFIG when fewer than `least` connections would fit. */
int accept_bound(int64_t files, int64_t least, const char *front, struct error *e);

/* How many connections were refused so far. */
uint64_t accept_refused(void);

#endif
