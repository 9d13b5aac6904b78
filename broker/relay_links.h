/* relay_links.h - the broker's connections to the brokers of other pipelines, for broker.c
 *
 * Each is a client's DEALER. They queue for nobody who is not connected, so whether a socket takes messages
 * tells whether someone is there.
 */
#ifndef FREEZELINE_RELAY_LINKS_H
#define FREEZELINE_RELAY_LINKS_H

#include <poll.h>

#include "dispatch.h"
#include "link/link.h"

struct relay_links {
    const struct pipeline *pipeline; /* these two are the caller's */
    void *context;
    struct link link[MESSAGE_MAX_RELAYS];
    uint64_t looked_ns;
};

/* As dispatch_io.aim and .relay. */
int relay_links_aim(struct relay_links *l, int place, const char *endpoint);
int relay_links_send(struct relay_links *l, int place, const struct message *m, zmq_msg_t *payload);
void relay_links_close(struct relay_links *l);

/* Hands what has come to the brain; `in` and `payload` are scratch. True: there may be more. */
bool relay_links_receive(struct relay_links *l, struct dispatch *d, struct message *in, zmq_msg_t *payload);
/* Tells the brain who is there and who is not, a few times a second. */
void relay_links_look(struct relay_links *l, struct dispatch *d, uint64_t now);
/* All were found empty, and nothing has been done with them since: their descriptors tell what comes. */
bool relay_links_quiet(const struct relay_links *l);
/* Fills MESSAGE_MAX_RELAYS descriptors that are readable when something has come; -1 where nobody is. */
void relay_links_fds(struct relay_links *l, struct pollfd *fds);
/* These were polled; NULL: any may have something. */
void relay_links_woke(struct relay_links *l, const struct pollfd *fds);

#endif
