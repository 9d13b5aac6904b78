/* endpoint.h - addresses of sockets: what is understood, what is loopback */
#ifndef FREEZELINE_ENDPOINT_H
#define FREEZELINE_ENDPOINT_H

#include <stdbool.h>

#include "error.h"

#define ENDPOINT_MAX_IPC_PATH 107 /* what a unix socket's address holds */

/* True for ipc://, inproc:// and tcp:// to this host itself. */
bool endpoint_loopback(const char *endpoint);

/* FL_CONFIG when the endpoint is none of tcp://HOST:PORT, ipc://PATH, inproc://NAME, when the path is too
 * long, or when it is not loopback and security is not "none" (NULL = "loopback"). */
int endpoint_check(const char *endpoint, const char *security, struct error *e);

#endif
