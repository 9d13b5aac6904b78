/* endpoint.h - addresses of sockets: what is understood, what is loopback */
#ifndef FREEZELINE_ENDPOINT_H
#define FREEZELINE_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "keys/security.h"

#define ENDPOINT_MAX_IPC_PATH 107 /* what a unix socket's address holds */

/* FL_CONFIG when the endpoint is none of tcp://HOST:PORT, ipc://PATH, inproc://NAME, when the path is too
 * long, or when it is not loopback and `s` does not let it be. */
int endpoint_check(const char *endpoint, const struct security *s, struct error *e);

/* ipc://, inproc://, and tcp:// to what each machine has for itself. */
bool endpoint_is_loopback(const char *endpoint);

/* FL_CONFIG when it is one to listen at but not one to connect to: tcp with a host of * (0.0.0.0, [::]) or
 * without a port of its own. */
int endpoint_connectable(const char *endpoint, struct error *e);

/* The parts of tcp://HOST:PORT, brackets of an IPv6 address taken off. False: it is no such thing, or too
 * long. */
bool endpoint_split(const char *endpoint, char *host, size_t host_size, char *port, size_t port_size);

/* All addresses of a machine: "*", "0.0.0.0", "::". */
bool endpoint_is_wildcard(const char *host);

#endif
