/* relay_links.c - see relay_links.h */
#include "relay_links.h"

#include "base/clock.h"
#include "base/log.h"
#include "wire/frame_limits.h"

#define BURST   64 /* answers taken from one before it is the next one's turn */
#define LOOK_NS (10 * NS_PER_MS)

int relay_links_aim(struct relay_links *l, int place, const char *endpoint)
{
    const struct broker_config *c = &l->pipeline->broker;
    struct socket_options o = {.high_water = c->max_requests + 1000,
                               .max_bytes = frame_answer_bytes(l->pipeline) + MESSAGE_MAX_ENCODED,
                               .immediate = true};
    struct link *k = &l->link[place];
    struct error e;
    int rc;

    if (k->socket)
        link_close(k, 0);
    if (!endpoint)
        return FL_OK;
    *k = (struct link){0};
    rc = link_open(k, l->context, ZMQ_DEALER, FRAMES_CONNECT, endpoint, &o, NULL, &l->pipeline->security, &e);
    if (rc)
        log_error("requests cannot be handed on: %s", e.text);
    return rc;
}

int relay_links_send(struct relay_links *l, int place, const struct message *m, zmq_msg_t *payload)
{
    return l->link[place].socket ? link_send(&l->link[place], NULL, m, payload) : FL_UNAVAILABLE;
}

void relay_links_close(struct relay_links *l)
{
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if (l->link[i].socket)
            link_close(&l->link[i], 0);
}

static bool receive_from(struct relay_links *l, int place, struct dispatch *d, struct message *in,
                         zmq_msg_t *payload)
{
    for (int i = 0; i < BURST; i++) {
        struct error e;
        int rc;
        in->type = (enum message_type)0;
        rc = link_receive(&l->link[place], NULL, in, payload, &e);
        if (rc == FL_AGAIN || rc == FL_IO)
            return false;
        if (!rc && in->type == MESSAGE_ANSWER)
            dispatch_answered(d, place, &in->answer, payload, clock_ns());
        else
            log_debug("another pipeline's broker sent what is no answer: %s", rc ? e.text : "");
    }
    return true;
}

bool relay_links_receive(struct relay_links *l, struct dispatch *d, struct message *in, zmq_msg_t *payload)
{
    bool more = false;
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if (l->link[i].socket)
            more |= receive_from(l, i, d, in, payload);
    return more;
}

void relay_links_look(struct relay_links *l, struct dispatch *d, uint64_t now)
{
    if (now < l->looked_ns + LOOK_NS)
        return;
    l->looked_ns = now;
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++) {
        if (!l->link[i].socket)
            continue;
        dispatch_away(d, i, !frames_takes(l->link[i].socket), now);
        link_mend(&l->link[i], now);
        link_look(&l->link[i]);
    }
}

bool relay_links_quiet(const struct relay_links *l)
{
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if (l->link[i].socket && !l->link[i].quiet)
            return false;
    return true;
}

void relay_links_fds(struct relay_links *l, struct pollfd *fds)
{
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        fds[i] = (struct pollfd){.fd = l->link[i].socket ? link_watch(&l->link[i]) : -1, .events = POLLIN};
}

void relay_links_woke(struct relay_links *l, const struct pollfd *fds)
{
    for (int i = 0; i < MESSAGE_MAX_RELAYS; i++)
        if (!fds || fds[i].revents)
            link_look(&l->link[i]);
}
