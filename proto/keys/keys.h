/* keys.h - by what a process proves itself over tcp, and whom it lets in
 *
 * libzmq's CURVE encrypts a connection and proves to each end that the other has the secret of its public
 * key. Which public keys are let in, and as whom, the allow-list says (allow_list.h): libzmq asks by ZAP, and
 * a thread of each context that binds answers, the doorman. It reads the list again within a second of a
 * change, and refuses whom the list does not name, or no longer (expired). Refusals are counted, and one is
 * named in 5 s.
 *
 * A connection that is there stays when its entry goes, but nothing that comes over it counts any more: each
 * message carries the number of its guest, and keys_party says at that moment what its key makes of it.
 *
 * A role has one pair, or, where hosts are named, one on each host: then whoever connects knows by the
 * endpoint on which host the other end is (keys_place). While keys are rotated, there are two in the
 * allow-list: those who connect try each of them (keys_servers), so it does not matter which one the other
 * end already has.
 */
#ifndef FREEZELINE_KEYS_H
#define FREEZELINE_KEYS_H

#include <stdint.h>

#include "key_file.h"

#define KEYS_SERVERS 2 /* keys of one role that are tried */

/* Reads DIRECTORY/ROLE-HOST.key, or DIRECTORY/ROLE.key where that is not there or `host` is NULL, and
 * DIRECTORY/allowed. Clients and operators need no allow-list where their key
 * names brokers. FL_CONFIG, FL_NOT_FOUND with what to do: no keys, wrong modes, a key that is not allowed or
 * has expired. */
int keys_open(struct keys **out, const char *directory, enum party self, const char *host, struct error *e);
/* Who listens at `text`, an endpoint or the address in some, is on that host. Before anything connects.
 * FL_NOMEM. */
int keys_place(struct keys *k, const char *text, const char *host, struct error *e);
/* After the contexts that it guards were terminated. Wipes what it held. NULL is fine. */
void keys_close(struct keys *k);

/* Has a doorman at this context from here on; call it before anything is bound to tcp there. */
int keys_guard(struct keys *k, void *context, struct error *e);

/* The next zmq_bind of this socket is CURVE's server. FL_OK or FL_INTERNAL. */
int keys_for_bind(const struct keys *k, void *socket, struct error *e);
/* How many keys a process of that party at `endpoint` may have now: 0 to KEYS_SERVERS. */
int keys_servers(struct keys *k, enum party at, const char *endpoint);
/* The next zmq_connect of this socket takes the other end for that party, with the i-th of its keys. */
int keys_for_connect(struct keys *k, void *socket, enum party at, const char *endpoint, int i,
                     struct error *e);
/* The next zmq_bind or zmq_connect has no encryption again. */
int keys_for_none(void *socket, struct error *e);

/* The number of the guest who sent this frame; 0: it came over no encrypted connection. */
uint32_t keys_guest(void *frame);
/* What its key makes of it now: PARTY_LOCAL for guest 0. Any thread, no lock. */
enum party keys_party(const struct keys *k, uint32_t guest);
/* "client `alice`", for a log. Returns buf. */
const char *keys_name(struct keys *k, uint32_t guest, char *buf, size_t size);

#endif
