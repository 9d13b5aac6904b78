/* address.h - what stands behind an endpoint: does somebody listen there, and where does one listen oneself
 *
 * endpoint.h reads the text of an endpoint; here the network and the name service are asked, so calls may
 * take a while. Any thread.
 */
#ifndef FREEZELINE_ADDRESS_H
#define FREEZELINE_ADDRESS_H

#include <stdbool.h>

#include "error.h"

/* Does a process listen at the unix socket `path`? */
bool address_listens(const char *path);

/* FL_IO: this user may not connect to that unix socket; the text says whose it is. FL_OK: it may, or there is
 * none. */
int address_allowed(const char *endpoint, struct error *e);

/* Why nobody answers at an endpoint: connects to it for a moment. FL_OK: somebody listens, or it can't be
 * told. FL_IO: permission denied, or no way there; FL_UNAVAILABLE: nobody listens; FL_NOT_FOUND: no such
 * socket, or a host name that nobody knows. */
int address_reach(const char *endpoint, int timeout_ms, struct error *e);

#endif
