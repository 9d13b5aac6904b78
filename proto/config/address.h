/* address.h - what is behind an endpoint: whether somebody listens there, and which addresses to bind for it
 *
 * endpoint.h reads the text of an endpoint; here the network and the name service are asked, so calls may
 * take a while. Any thread.
 */
#ifndef FREEZELINE_ADDRESS_H
#define FREEZELINE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Does a process listen at the unix socket `path`? */
bool address_listens(const char *path);

/* FL_IO: this user may not connect to that unix socket; the text says whose it is. FL_OK: it may, or there is
 * none. */
int address_allowed(const char *endpoint, struct error *e);

/* Why nobody answers at an endpoint: connects to it for a moment. FL_OK: somebody listens, or it can't be
 * told. FL_IO: permission denied, or no way there; FL_UNAVAILABLE: nobody listens; FL_NOT_FOUND: no such
 * socket, or a host name that nobody knows. */
int address_reach(const char *endpoint, int timeout_ms, struct error *e);

#define ADDRESS_MAX   16
#define ADDRESS_BYTES 384

struct address_list {
    int n;
    char endpoint[ADDRESS_MAX][ADDRESS_BYTES];
};

/* What a process that is to listen at `endpoint` has to bind. A host name becomes all of its addresses that
 * this machine has (of loopback alone unless `anywhere`); `bind_host` (NULL: none) stands for the endpoint's
 * host: "*", an address, a name, an interface. FL_NOT_FOUND, FL_CONFIG: no such name, or it is another
 * machine's. */
int address_to_bind(struct address_list *out, const char *endpoint, const char *bind_host, bool anywhere,
                    struct error *e);

/* Could a process listen now at a tcp endpoint, as address_to_bind has it? FL_UNAVAILABLE: somebody does.
 * `for_others`: FL_CONFIG where a host name is only this machine's loopback to itself, as /etc/hosts may say.
 */
int address_free(const char *endpoint, const char *bind_host, bool for_others, struct error *e);

/* Has a name both addresses of this machine and others? One of each, of `size` bytes at most. */
bool address_mixed(const char *host, char *own, char *foreign, size_t size);

/* Is it an address of this machine? `ask`: a host name is one when the name service gives it such an address
 * that is not loopback; else only what is an address already counts. */
bool address_is_own(const char *host, bool ask);

/* Does a socket that connects to it need ZMQ_IPV6? True for IPv6 addresses and for names that have no other.
 */
bool address_is_ipv6(const char *endpoint);

#endif
