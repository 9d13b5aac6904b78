/* link.h - a ZeroMQ socket and the lanes beside it (lanes.h), as one way for messages
 *
 * A message goes through a lane where there is one with room, else through the socket. Order holds within
 * each way alone: senders may not rely on it.
 */
#ifndef FREEZELINE_LINK_H
#define FREEZELINE_LINK_H

#include "lanes.h"
#include "wire/mend.h"
#include "wire/rights.h"

struct link {
    void *socket;
    struct lanes *lanes; /* borrowed; NULL: the socket alone */
    int door;
    enum gate gate;                  /* the caller's: what may come here, by whose key */
    const struct security *security; /* borrowed */
    enum party to;                   /* connecting: who binds there */
    struct mend mend;
    bool replies;     /* the caller's: who binds there says something soon after each message but a Cancel */
    uint64_t owed_ns; /* .. and has not since then; 0: it has */
    bool watched, quiet; /* link_watch: the socket is not looked at before its descriptor is readable */
    unsigned turn;       /* now and then the socket comes first, so that no lane keeps it waiting for ever */
};

/* Opens the socket, as frames_socket, and the lane beside it; where that can't be had, the log says why and
 * the socket does. A PUSH does not receive, nor does its lane. `lane`: for those that bind; NULL: none, or
 * connecting. */
int link_open(struct link *l, void *context, int type, enum frames_mode mode, const char *endpoint,
              const struct socket_options *o, const struct lane_options *lane,
              const struct security *security, struct error *e);
void link_close(struct link *l, int linger_ms);
/* Of one that connects: connects again if its socket has taken nothing for a while, or nothing came where
 * something is owed (mend.h). */
void link_mend(struct link *l, uint64_t now);
/* The same where the caller says since when nothing came (mend.heard_ns) and how long that may last. */
void link_mend_silent(struct link *l, uint64_t silent_ns, uint64_t now);

/* The descriptor of its socket; -1: an error. From here on link_receive does not look at a socket that it has
 * found empty, which takes libzmq three system calls, before link_look says that its descriptor was readable,
 * or that something else than link_send or link_receive has been done with it. */
int link_watch(struct link *l);
static inline void link_look(struct link *l)
{
    l->quiet = false;
}

/* Its socket is connected and its queue has room (frames_takes). */
bool link_takes(struct link *l);

/* As frames_send and frames_recv. FL_DENIED: it came, but its sender's key does not allow it. */
int link_send(struct link *l, const struct peer *to, const struct message *m, zmq_msg_t *payload);
int link_receive(struct link *l, struct peer *from, struct message *m, zmq_msg_t *payload, struct error *e);

#endif
