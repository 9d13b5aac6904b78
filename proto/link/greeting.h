/* greeting.h - how two processes of one host come to a lane: over a unix socket, with descriptors
 *
 * The one that connects asks, with a descriptor to wake it by. The one that listens answers with the lane's
 * memory and a descriptor to wake itself by. Later it may hand over more, one descriptor at a time (shared
 * caches). Nothing else is ever said there; its end tells that the other process is gone.
 */
#ifndef FREEZELINE_GREETING_H
#define FREEZELINE_GREETING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#define GREETING_MAGIC 0x464c4e31u /* "FLN1" */

struct greeting {
    uint32_t magic, unused;
    uint64_t in_bytes, out_bytes; /* as the listener sees them; 0 when asking */
};

/* Where one listens for greetings beside an ipc endpoint: PATH.lane. False: it is no such endpoint, or too
 * long. */
bool greeting_address(const char *endpoint, struct sockaddr_un *out);

/* A socket that listens there, for this user alone; in the place of one that was left behind, of no other
 * file. -1, and errno. */
int greeting_listen(const struct sockaddr_un *at);
/* A socket that has asked who listens there, a process of our user or root's, with a descriptor to wake us
 * by. -1: nobody does. */
int greeting_ask(const struct sockaddr_un *at, int wake);

/* Sends *g with n descriptors (one or two, still the caller's). Never blocks; 0, or -1. */
int greeting_send(int fd, const struct greeting *g, const int *fds, int n);
/* How many descriptors came with a whole greeting (they are the caller's); 0: nothing is there yet; -1: the
 * other one is gone, or that was no greeting. */
int greeting_receive(int fd, struct greeting *g, int fds[2]);

/* Is the process at the other end of this socket of our user, or root's? */
bool greeting_same_user(int fd);
/* An eventfd, whose writers do not wait from now on, whatever its owner has written into it. (Who undoes that
 * is of our user, and could stop us by a signal as well.) */
bool greeting_take_eventfd(int fd);

#endif
