/* accept.h - a connection that would leave too few descriptors free is refused
 *
 * libzmq has no bound on connections. When accept4 fails for lack of descriptors, its ipc listener aborts the
 * process and its tcp listener spins (4.3.4, 4.3.5). Measured with 256 files and 400 connections from a
 * program that sends nothing, without this file and with it, in one run:
 *
 *   broker.requests   without                                                with
 *   ipc               aborts: "Too many open files (src/ipc_listener.cpp)"   serves on, 192 files open
 *   tcp               uses 100% of a core for as long as they stay           serves on, 0%, 192 files open
 *
 * What libzmq offers acts too late: a socket monitor, zmq_unbind and ZAP hear of a connection when it has its
 * descriptor. So this file defines accept4, which the linker finds before that of libc, for libzmq too. It
 * closes a connection beyond the bound at once and says ECONNABORTED, as if the other side had gone; who made
 * it tries again. Clients may fill all but a quarter of the files, the pipeline's own processes all but a few
 * of the rest. tests/integration/test_operations.c opens more connections than there are files. Any thread.
 */
#ifndef FREEZELINE_ACCEPT_H
#define FREEZELINE_ACCEPT_H

#include <stdint.h>

#include "base/error.h"

#define ACCEPT_SPARE 32 /* files that no connection takes */

/* Call before there is a socket: from here on connections are bounded. `front` (NULL: none) is the endpoint
 * where clients connect. FL_CONFIG, FL_UNAVAILABLE when the host has not what libraries would abort without:
 * files for `least` connections, address space, so many threads. */
int accept_prepare(int64_t least, const char *front, int threads, struct error *e);

/* Clients connect here, too; NULL: nothing. */
void accept_front(const char *endpoint);

/* No address has more connections to the front than so many; 0: none of another machine has more than half of
 * what clients may have. */
void accept_each(int most);

/* How many connections were refused so far. */
uint64_t accept_refused(void);

#endif
