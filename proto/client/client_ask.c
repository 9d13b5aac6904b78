/* client_ask.c - what is asked of brokers beside requests: status, times, drains, spans, true labels
 *
 * Each call uses a socket of its own, so a late reply cannot reach the next call. Where there are several
 * brokers, all are asked, and their replies are put together.
 */
#include "client_inside.h"

#include <string.h>

#include "config/address.h"
#include "base/clock.h"
#include "status_sum.h"

#define REACH_MS 300
#define AWAIT_MS 2000 /* for a connection; a handshake takes five ways to and fro */

static int open_socket(struct client *c, void **out, const char *endpoint, struct error *e)
{
    struct socket_options o = {.high_water = CLIENT_HIGH_WATER};
    return frames_socket(out, c->context, ZMQ_DEALER, FRAMES_CONNECT, endpoint, &o, &c->security, e);
}

/* What becomes of the next handshake, as libzmq's event; 0: nothing, in this time. */
static int handshake(struct client *c, const char *endpoint, int timeout_ms)
{
    void *socket, *events = zmq_socket(c->context, ZMQ_PAIR);
    uint16_t event = 0;
    char name[48];

    snprintf(name, sizeof name, "inproc://handshake.%p", events);
    if (events && !open_socket(c, &socket, endpoint, NULL)) {
        zmq_setsockopt(events, ZMQ_RCVTIMEO, &timeout_ms, sizeof timeout_ms);
        if (!zmq_socket_monitor(socket, name,
                                ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                                    ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                                    ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) &&
            !zmq_connect(events, name))
            zmq_recv(events, &event, sizeof event, 0); /* the first frame begins with the event */
        zmq_socket_monitor(socket, NULL, 0);
        zmq_close(socket);
    }
    if (events)
        zmq_close(events);
    return event;
}

static const char *why_silent(int event)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
        return "does not let in this key: it is unknown there, has expired or was revoked; who runs it gives "
               "another by `freezeline keys add NAME`";
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        return "has another key than `broker:` in client.key says, or none: is it another pipeline's?";
    default:
        return "is there but does not reply: see `freezeline logs broker`";
    }
}

/* No reply came in time: connects once to find out why, for the message. */
int ask_silence_error(struct client *c, const char *endpoint, int timeout_ms, struct error *e)
{
    int wait_ms = timeout_ms < REACH_MS ? timeout_ms : REACH_MS;
    struct error why = {0};

    if (e && address_reach(endpoint, wait_ms, &why))
        return error_set(e, FL_UNAVAILABLE, "the broker does not reply: %.400s", why.text);
    return error_set(
        e, FL_UNAVAILABLE, "the broker at %.150s %s", endpoint,
        why_silent(e && c->security.mode == SECURITY_CURVE ? handshake(c, endpoint, AWAIT_MS) : 0));
}

/* While keys are rotated, nothing is queued for a broker that is not connected (socket.c): so it is waited
 * for. */
static void await_broker(const struct client *c, void *socket, uint64_t ms)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLOUT};
    if (c->security.mode == SECURITY_CURVE)
        zmq_poll(&item, 1, (long)ms);
}

int ask_send_error(const char *endpoint, int rc, struct error *e)
{
    if (rc == FL_AGAIN)
        return error_set(e, FL_UNAVAILABLE,
                         "no broker takes requests at %s (is the pipeline up? see `freezeline status`)",
                         endpoint);
    return error_set(e, (enum fl_code)rc, "cannot send a request to %s: %s", endpoint, error_sentence(rc));
}

/* The reply of `type` into c->message. FL_AGAIN: none by then (0: waits for ever). */
static int receive_reply(struct client *c, void *socket, enum message_type type, uint64_t until_ns,
                         struct error *e)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    zmq_msg_t payload;
    int rc;
    zmq_msg_init(&payload);
    while ((rc = frames_recv(socket, NULL, &c->message, &payload, e)) || c->message.type != type) {
        uint64_t now = clock_ns();
        if (rc && rc != FL_AGAIN)
            break;
        if (rc && until_ns && now >= until_ns)
            break;
        if (rc)
            zmq_poll(&item, 1, until_ns ? (long)((until_ns - now + NS_PER_MS - 1) / NS_PER_MS) : -1);
    }
    zmq_msg_close(&payload);
    return rc;
}

/* Sends c->message to a broker's endpoint and waits for the one that answers it, in c->message. Where there
 * are several brokers, one that is not there is not waited for. */
static int ask(struct client *c, const char *endpoint, enum message_type reply, int timeout_ms,
               struct error *e)
{
    uint64_t until_ns = timeout_ms < 0 ? 0 : clock_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1;
    void *socket;
    int rc = c->n_brokers > 1 ? address_reach(endpoint, REACH_MS, e) : FL_OK;
    if (rc || (rc = open_socket(c, &socket, endpoint, e)))
        return rc;
    await_broker(c, socket, timeout_ms < 0 ? AWAIT_MS : (uint64_t)timeout_ms);
    if ((rc = frames_send(socket, NULL, &c->message, NULL)))
        rc = ask_send_error(endpoint, rc, e);
    else if ((rc = receive_reply(c, socket, reply, until_ns, e)) == FL_AGAIN)
        rc = ask_silence_error(c, endpoint, timeout_ms, e);
    zmq_close(socket);
    return rc;
}

/* Asks each broker in turn for its status, with a question of this type. FL_OK: some replied. */
static int ask_status(struct client *c, enum message_type type, const struct drain *drain,
                      const struct relays *relays, int timeout_ms, struct status_reply *out, struct error *e)
{
    int heard = 0, rc = FL_OK;
    for (int i = 0; i < c->n_brokers; i++) {
        c->message.type = type;
        if (drain)
            c->message.drain = *drain;
        else if (relays)
            c->message.relays = *relays;
        rc = ask(c, drain || relays ? c->broker[i].control : c->broker[i].requests, MESSAGE_STATUS_REPLY,
                 timeout_ms, e);
        if (!rc && out && c->n_brokers == 1)
            *out = c->message.status_reply;
        else if (!rc && out && !heard)
            memset(out, 0, sizeof *out);
        if (!rc && out && c->n_brokers > 1)
            status_sum_add(out, &c->message.status_reply);
        heard += !rc;
    }
    return heard ? FL_OK : rc;
}

int client_status(struct client *c, int timeout_ms, struct status_reply *out, struct error *e)
{
    return ask_status(c, MESSAGE_STATUS, NULL, NULL, timeout_ms, out, e);
}

int client_drain(struct client *c, uint32_t lease_ms, int timeout_ms, struct status_reply *out,
                 struct error *e)
{
    return ask_status(c, MESSAGE_DRAIN, &(struct drain){.lease_ms = lease_ms}, NULL, timeout_ms, out, e);
}

int client_undrain(struct client *c, int timeout_ms, struct error *e)
{
    return ask_status(c, MESSAGE_DRAIN, &(struct drain){.undo = true}, NULL, timeout_ms, NULL, e);
}

int client_relays(struct client *c, const struct relays *relays, int timeout_ms, struct status_reply *out,
                  struct error *e)
{
    return ask_status(c, MESSAGE_RELAYS, NULL, relays, timeout_ms, out, e);
}

/* Both count the same parts in the same order, but for stages that one has not heard of. */
static void add_times(struct times *sum, const struct times *t)
{
    for (int i = 0; i < t->n; i++) {
        struct times_of *at = sum->of;
        while (at < sum->of + sum->n && (at->part != t->of[i].part || at->stage != t->of[i].stage))
            at++;
        if (at == sum->of + TIMES_MAX)
            continue;
        if (at == sum->of + sum->n) {
            *at = (struct times_of){.part = t->of[i].part, .stage = t->of[i].stage};
            sum->n++;
        }
        at->sum_ns += t->of[i].sum_ns;
        for (int k = 0; k < TIME_BUCKETS; k++)
            at->count[k] += t->of[i].count[k];
    }
}

int client_times(struct client *c, int timeout_ms, struct times *out, struct error *e)
{
    int heard = 0, rc = FL_OK;
    out->n = 0;
    for (int i = 0; i < c->n_brokers; i++) {
        c->message.type = MESSAGE_TIMES;
        c->message.times.n = 0;
        if ((rc = ask(c, c->broker[i].requests, MESSAGE_TIMES, timeout_ms, e)))
            continue;
        add_times(out, &c->message.times);
        heard++;
    }
    return heard ? FL_OK : rc;
}

/* From one broker after the other; `left` is not 0 while there is another one to ask. */
int client_take_spans(struct client *c, int timeout_ms, struct spans *out, struct error *e)
{
    int rc = FL_OK, first = c->taken;
    for (int left = c->n_brokers - c->taken; left > 0; left--) {
        memset(&c->message.spans, 0, sizeof c->message.spans);
        c->message.type = MESSAGE_SPANS;
        rc = ask(c, c->broker[c->taken].requests, MESSAGE_SPANS, timeout_ms, e);
        if (!rc)
            *out = c->message.spans;
        if (rc || !out->left)
            c->taken++;
        if (!rc)
            break;
    }
    if (c->taken < c->n_brokers && !rc)
        out->left += !out->left;
    if (c->taken >= c->n_brokers)
        c->taken = 0;
    if (rc && first) { /* those before have told */
        memset(out, 0, sizeof *out);
        rc = FL_OK;
    }
    return rc;
}

static int feedback_error(uint32_t code, struct error *e)
{
    if (code == FL_UNSUPPORTED)
        return error_set(
            e, FL_UNSUPPORTED,
            "labels teach this pipeline nothing: that takes cache.threshold: risk, updates.learn "
            "and Redis");
    if (code == FL_UNAVAILABLE)
        return error_set(e, FL_UNAVAILABLE,
                         "no cache service that learns from labels is connected to the broker: see "
                         "`freezeline status`");
    return error_set(e, (enum fl_code)(code < FL_CODES ? code : FL_PROTOCOL),
                     "the broker takes no labels: %s", error_sentence((int)code));
}

/* Of n items from `first` on, those before the first one of another broker go to the broker that answered
 * them. *told: how many that were. */
static int tell_some(struct client *c, const struct feedback_item *item, int n, int *told, int timeout_ms,
                     struct error *e)
{
    struct feedback *f = &c->message.feedback;
    int broker = n && request_broker(item[0].request) < c->n_brokers ? request_broker(item[0].request) : 0;
    for (*told = 0; *told < n && (c->n_brokers == 1 ||
                                  request_broker(item[*told].request) == request_broker(item[0].request));)
        ++*told;
    memset(f, 0, sizeof *f);
    c->message.type = MESSAGE_FEEDBACK;
    f->sequence = c->next++;
    f->n = *told;
    if (*told)
        memcpy(f->item, item, (size_t)*told * sizeof *item);
    return ask(c, c->broker[broker].requests, MESSAGE_FEEDBACK, timeout_ms, e);
}

int client_feedback(struct client *c, const struct feedback_item *item, int n, int timeout_ms,
                    struct feedback *reply, struct error *e)
{
    const struct feedback *f = &c->message.feedback;
    int rc, told, done = 0;
    if (n < 0 || n > MESSAGE_MAX_FEEDBACK)
        return error_set(e, FL_TOO_LARGE, "%d labels at once, at most %d are allowed", n,
                         MESSAGE_MAX_FEEDBACK);
    memset(reply, 0, sizeof *reply);
    do {
        if ((rc = tell_some(c, item + done, n - done, &told, timeout_ms, e)))
            return rc;
        reply->taken += f->taken;
        reply->early += f->early;
        reply->foreign += f->foreign;
        reply->wrong += f->wrong;
        reply->later = f->later;
        reply->error = f->error;
        done += told - (int)f->later;
    } while (done < n && !f->error && !f->later);
    if (!reply->error)
        reply->later = (uint32_t)(n - done);
    return reply->error ? feedback_error(reply->error, e) : FL_OK;
}
