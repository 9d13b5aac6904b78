/* link.c - lane or socket */
#include "link.h"

#include "base/clock.h"
#include "base/log.h"
#include "keys/keys.h"

#define SILENT_NS    (3 * NS_PER_S)
#define SOCKET_FIRST 16 /* of so many messages, one is looked for in the socket first */

int link_open(struct link *l, void *context, int type, enum frames_mode mode, const char *endpoint,
              const struct socket_options *o, const struct lane_options *lane,
              const struct security *security, struct error *e)
{
    struct error why;
    int rc;
    l->security = security;
    l->to = o ? o->to : PARTY_NOBODY;
    l->mend = (struct mend){0};
    rc = frames_socket(&l->socket, context, type, mode, endpoint, o, security, e);
    if (rc || !l->lanes)
        return rc;
    if (mode == FRAMES_CONNECT)
        lanes_connect(l->lanes, l->door, endpoint, type != ZMQ_PUSH);
    else if (lane && lanes_listen(l->lanes, l->door, endpoint, lane, &why))
        log_warn("%s", why.text);
    return FL_OK;
}

void link_close(struct link *l, int linger_ms)
{
    frames_close(l->socket, linger_ms);
    l->socket = NULL;
}

void link_mend_silent(struct link *l, uint64_t silent_ns, uint64_t now)
{
    mend_socket(&l->mend, l->socket, l->to, l->security, silent_ns, now);
    if (l->mend.looked_ns == now)
        link_look(l);
}

void link_mend(struct link *l, uint64_t now)
{
    if (l->owed_ns)
        l->mend.heard_ns = l->owed_ns;
    link_mend_silent(l, l->owed_ns ? SILENT_NS : 0, now);
}

int link_watch(struct link *l)
{
    int fd;
    size_t size = sizeof fd;
    if (zmq_getsockopt(l->socket, ZMQ_FD, &fd, &size))
        return -1;
    l->watched = true;
    return fd;
}

bool link_takes(struct link *l)
{
    int events = frames_events(l->socket);
    l->quiet = l->quiet && !(events & ZMQ_POLLIN);
    return events & ZMQ_POLLOUT;
}

int link_send(struct link *l, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    int rc = FL_AGAIN;
    if (to && peer_has_lane(to))
        return l->lanes ? lanes_send(l->lanes, l->door, to, m, payload) : FL_UNAVAILABLE;
    if (l->lanes && !to)
        rc = lanes_send(l->lanes, l->door, NULL, m, payload);
    if (rc != FL_AGAIN)
        return rc;
    link_look(l);
    rc = frames_send(l->socket, to, m, payload);
    if (!rc && l->replies && !l->owed_ns && m->type != MESSAGE_CANCEL)
        l->owed_ns = clock_ns();
    return rc;
}

/* What came through the socket, if its sender may send it here. */
static int receive_allowed(struct link *l, struct peer *from, struct message *m, zmq_msg_t *payload,
                           struct error *e)
{
    struct keys *keys = l->security ? l->security->keys : NULL;
    enum party who;
    char name[128];
    int rc;

    if (l->watched && l->quiet)
        return FL_AGAIN;
    rc = frames_recv(l->socket, from, m, payload, e);
    l->quiet = rc == FL_AGAIN || rc == FL_IO;
    l->owed_ns = rc == FL_AGAIN ? l->owed_ns : 0;
    if (rc || l->gate == GATE_NONE || !from->guest)
        return rc;
    if (rights_may(who = keys_party(keys, from->guest), l->gate, m))
        return FL_OK;
    zmq_msg_close(payload);
    zmq_msg_init(payload);
    return error_set(e, FL_DENIED, "the key of %s %s", keys_name(keys, from->guest, name, sizeof name),
                     who == PARTY_NOBODY ? "is no longer allowed" : "does not allow this message here");
}

int link_receive(struct link *l, struct peer *from, struct message *m, zmq_msg_t *payload, struct error *e)
{
    bool first = ++l->turn % SOCKET_FIRST == 0;
    struct peer unused = {.guest = 0};
    int rc;
    from = from ? from : &unused;
    from->guest = 0;
    if (!l->lanes)
        return receive_allowed(l, from, m, payload, e);
    if (first && (rc = receive_allowed(l, from, m, payload, e)) != FL_AGAIN)
        return rc;
    if ((rc = lanes_receive(l->lanes, l->door, from, m, payload, e)) != FL_AGAIN || first)
        return rc;
    return receive_allowed(l, from, m, payload, e);
}
