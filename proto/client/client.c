/* client.c - requests out, answers in, over one DEALER socket
 *
 * Ids count up from a random start, so answers meant for an earlier process are not mistaken for this one's.
 * An answer is handed out once, while its id is among the last CLIENT_WINDOW that were submitted; anything
 * else is ignored. `status` and `drain` use a socket of their own for each call, so a late reply cannot reach
 * the next call.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "config/address.h"
#include "base/clock.h"
#include "keys/keys.h"
#include "wire/link.h"

#define CLIENT_WINDOW     65536
#define CLIENT_HIGH_WATER 4096
#define REACH_MS          300
/* so long after its deadline at the latest, an answer that says so should be here */
#define CLIENT_GRACE_MS 2000

struct client {
    void *context;
    struct link link;
    struct lanes *lanes;      /* NULL: switched off */
    char *endpoint, *control; /* of the broker */
    struct security security;
    struct keys *keys;    /* its own; NULL: the process's, or none are needed */
    uint32_t deadline_ms; /* the pipeline's */
    uint64_t next;        /* id */
    int64_t max_bytes;    /* of an input */
    uint64_t clock;       /* which one is this process's */
    uint8_t waiting[CLIENT_WINDOW / 8];
    struct message message;
};

static bool is_waiting(const struct client *c, uint64_t id)
{
    uint64_t bit = id % CLIENT_WINDOW;
    return c->next - id - 1 < CLIENT_WINDOW && (c->waiting[bit / 8] >> bit % 8 & 1);
}

static void set_waiting(struct client *c, uint64_t id, bool yes)
{
    uint64_t bit = id % CLIENT_WINDOW;
    uint8_t mask = (uint8_t)(1u << bit % 8);
    c->waiting[bit / 8] = (uint8_t)(yes ? c->waiting[bit / 8] | mask : c->waiting[bit / 8] & ~mask);
}

/* Sleeps until something may be there to read, for `ms` (-1: as long as it takes). As zmq_poll. */
static int sleep_on(struct client *c, void *socket, long ms)
{
    bool lanes = c->lanes && socket == c->link.socket;
    zmq_pollitem_t items[] = {{.socket = socket, .events = ZMQ_POLLIN},
                              {.fd = lanes ? lanes_fd(c->lanes) : -1, .events = ZMQ_POLLIN}};
    return zmq_poll(items, lanes ? 2 : 1, ms);
}

static int open_socket(struct client *c, void **out, const char *endpoint, struct error *e)
{
    struct socket_options o = {.high_water = CLIENT_HIGH_WATER};
    return frames_socket(out, c->context, ZMQ_DEALER, FRAMES_CONNECT, endpoint, &o, &c->security, e);
}

static int open_link(struct client *c, bool shared_memory, struct error *e)
{
    struct socket_options o = {.high_water = CLIENT_HIGH_WATER};
    size_t size = sizeof(int);
    int rc, fd;
    if (shared_memory && (rc = lanes_new(&c->lanes, e)))
        return rc;
    c->link.lanes = c->lanes;
    if ((rc = link_open(&c->link, c->context, ZMQ_DEALER, FRAMES_CONNECT, c->endpoint, &o, NULL, &c->security,
                        e)))
        return rc;
    if (c->lanes && !zmq_getsockopt(c->link.socket, ZMQ_FD, &fd, &size))
        lanes_watch(c->lanes, fd);
    return FL_OK;
}

static bool over_tcp(const struct pipeline *p)
{
    return !strncmp(p->broker.requests, "tcp://", 6) || !strncmp(p->broker.control, "tcp://", 6);
}

/* An operator's key allows all that a client's does. A service that is a client too has its own. */
static int take_keys(struct client *c, const struct pipeline *p, struct error *e)
{
    int rc;
    c->security = p->security;
    if (p->security.mode != SECURITY_CURVE || p->security.keys || !over_tcp(p))
        return FL_OK;
    if ((rc = keys_open(&c->keys, p->keys, PARTY_OPERATOR, NULL)) == FL_NOT_FOUND)
        rc = keys_open(&c->keys, p->keys, PARTY_CLIENT, e);
    else if (rc)
        rc = keys_open(&c->keys, p->keys, PARTY_OPERATOR, e);
    c->security.keys = c->keys;
    return rc;
}

int client_new(struct client **out, const struct pipeline *p, struct error *e)
{
    struct client *c = calloc(1, sizeof *c);
    char boot_id[MESSAGE_NAME_BYTES];
    int rc;
    *out = NULL;
    if (!c || !(c->context = zmq_ctx_new()) || !(c->endpoint = strdup(p->broker.requests)) ||
        !(c->control = strdup(p->broker.control))) {
        client_free(c);
        return error_set(e, FL_NOMEM, "out of memory while connecting to %s", p->broker.requests);
    }
    c->deadline_ms = (uint32_t)p->broker.deadline_ms;
    c->max_bytes = (int64_t)(p->broker.max_request_mb * (1 << 20));
    clock_boot_id(boot_id, sizeof boot_id);
    c->clock = clock_id(boot_id);
    if (getrandom(&c->next, sizeof c->next, 0) != (ssize_t)sizeof c->next)
        c->next = clock_ns();
    if ((rc = take_keys(c, p, e)) || (rc = open_link(c, p->shared_memory, e))) {
        client_free(c);
        return rc;
    }
    *out = c;
    return FL_OK;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    link_close(&c->link, 0);
    lanes_free(c->lanes);
    if (c->context)
        zmq_ctx_term(c->context);
    keys_close(c->keys);
    free(c->endpoint);
    free(c->control);
    free(c);
}

/* No reply came in time: connects once to find out why, for the message. */
static int say_silence(const struct client *c, const char *endpoint, int timeout_ms, struct error *e)
{
    struct error why = {0};

    if (e && address_reach(endpoint, timeout_ms < REACH_MS ? timeout_ms : REACH_MS, &why))
        return error_set(e, FL_UNAVAILABLE, "the broker does not reply: %.400s", why.text);
    return error_set(e, FL_UNAVAILABLE,
                     "the broker at %s is there but does not reply%s: see `freezeline logs broker`", endpoint,
                     c->keys ? ", maybe it does not let in this key, or is none of this pipeline" : "");
}

/* While keys are rotated, nothing is queued for a broker that is not connected (socket.c): so it is waited
 * for. */
static void await_broker(const struct client *c, void *socket, uint64_t ms)
{
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLOUT};
    if (c->security.mode == SECURITY_CURVE)
        zmq_poll(&item, 1, (long)ms);
}

static int submit_error(const char *endpoint, int rc, struct error *e)
{
    if (rc == FL_AGAIN)
        return error_set(e, FL_UNAVAILABLE,
                         "no broker takes requests at %s (is the pipeline up? see `freezeline status`)",
                         endpoint);
    return error_set(e, (enum fl_code)rc, "cannot send a request to %s: %s", endpoint, error_sentence(rc));
}

int client_submit(struct client *c, const struct tensor *input, uint32_t flags, uint32_t deadline_ms,
                  uint64_t *id, struct error *e)
{
    int64_t bytes = tensor_bytes(input);
    zmq_msg_t payload;
    int rc;

    if (bytes <= 0 || !input->data)
        return error_set(e, FL_SHAPE, "the input has no numbers");
    if (bytes > c->max_bytes) /* libzmq at the broker would close the connection without a word */
        return error_set(e, FL_TOO_LARGE,
                         "the input has %.3g MB, broker.max_request_mb allows %.3g: raise it",
                         (double)bytes / (1 << 20), (double)c->max_bytes / (1 << 20));
    if (zmq_msg_init_size(&payload, (size_t)bytes))
        return error_set(e, FL_NOMEM, "out of memory for an input of %lld bytes", (long long)bytes);
    memcpy(zmq_msg_data(&payload), input->data, (size_t)bytes);
    c->message.type = MESSAGE_REQUEST;
    c->message.request = (struct request){.id = c->next,
                                          .deadline_ms = deadline_ms,
                                          .flags = flags,
                                          .input = *input,
                                          .sent_ns = clock_ns(),
                                          .clock = c->clock};
    if (c->lanes && !lanes_reach(c->lanes, 0))
        lanes_turn(c->lanes, clock_ns());
    rc = link_send(&c->link, NULL, &c->message, &payload);
    if (rc == FL_AGAIN) {
        await_broker(c, c->link.socket, deadline_ms ? deadline_ms : c->deadline_ms);
        rc = link_send(&c->link, NULL, &c->message, &payload);
    }
    zmq_msg_close(&payload);
    if (rc)
        return submit_error(c->endpoint, rc, e);
    *id = c->next++;
    set_waiting(c, *id, true);
    return FL_OK;
}

/* Waits for something to read until `until_ns` (0 = for ever). FL_AGAIN when time is up or a signal came. */
static int wait_readable(struct client *c, void *socket, uint64_t until_ns, struct error *e)
{
    uint64_t now = clock_ns();
    long ms = -1;
    int n;
    if (until_ns)
        ms = until_ns > now ? (long)((until_ns - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
    n = sleep_on(c, socket, ms);
    if (n > 0)
        return FL_OK;
    if (n == 0 || errno == EINTR)
        return FL_AGAIN;
    return error_set(e, FL_IO, "waiting for an answer failed: %s", zmq_strerror(errno));
}

/* Nothing was there: what comes from now on makes descriptors readable. False: something has come meanwhile.
 */
static bool may_sleep(struct client *c, void *socket)
{
    if (!c->lanes || socket != c->link.socket)
        return true;
    lanes_turn(c->lanes, clock_ns());
    return lanes_sleep(c->lanes, 0);
}

/* The next message of `type` into c->message. */
static int receive_type(struct client *c, void *socket, enum message_type type, uint64_t until_ns,
                        zmq_msg_t *payload, struct error *e)
{
    for (;;) {
        int rc = socket == c->link.socket ? link_receive(&c->link, NULL, &c->message, payload, e)
                                          : frames_recv(socket, NULL, &c->message, payload, e);
        if (!rc && c->message.type == type)
            return FL_OK;
        if (rc == FL_AGAIN && !may_sleep(c, socket))
            continue;
        if (rc == FL_AGAIN && until_ns && clock_ns() >= until_ns)
            return rc; /* without a timeout there is no need to poll first */
        if (rc == FL_AGAIN && (rc = wait_readable(c, socket, until_ns, e)))
            return rc;
        if (rc)
            return rc;
    }
}

static uint64_t until(int timeout_ms)
{
    return timeout_ms < 0 ? 0 : clock_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1;
}

static void copy_scores(const struct answer *a, zmq_msg_t *payload, float *scores, int capacity, int *n)
{
    int64_t count = a->scores.dtype == TENSOR_F32 ? tensor_count(&a->scores) : 0;
    if (count > capacity)
        count = capacity;
    if (scores && count > 0)
        memcpy(scores, zmq_msg_data(payload), (size_t)count * sizeof *scores);
    if (n)
        *n = scores ? (int)count : 0;
}

static int receive_until(struct client *c, uint64_t until_ns, struct answer *answer, float *scores,
                         int capacity, int *n, struct error *e)
{
    zmq_msg_t payload;
    int rc;
    zmq_msg_init(&payload);
    do
        rc = receive_type(c, c->link.socket, MESSAGE_ANSWER, until_ns, &payload, e);
    while (!rc && !is_waiting(c, c->message.answer.id));
    if (!rc) {
        *answer = c->message.answer;
        set_waiting(c, answer->id, false);
        copy_scores(answer, &payload, scores, capacity, n);
    }
    zmq_msg_close(&payload);
    return rc;
}

int client_receive(struct client *c, int timeout_ms, struct answer *answer, float *scores, int capacity,
                   int *n, struct error *e)
{
    return receive_until(c, until(timeout_ms), answer, scores, capacity, n, e);
}

int client_infer(struct client *c, const struct tensor *input, uint32_t flags, uint32_t deadline_ms,
                 struct answer *answer, float *scores, int capacity, int *n, struct error *e)
{
    uint64_t wait_ms = (uint64_t)(deadline_ms ? deadline_ms : c->deadline_ms) + CLIENT_GRACE_MS;
    uint64_t until_ns = clock_ns() + wait_ms * NS_PER_MS;
    struct error why = {0};
    uint64_t id;
    int rc = client_submit(c, input, flags, deadline_ms, &id, e);
    if (rc)
        return rc;
    do
        rc = receive_until(c, until_ns, answer, scores, capacity, n, e);
    while ((!rc && answer->id != id) ||
           (rc == FL_AGAIN && clock_ns() < until_ns)); /* a signal does not end the wait */
    if (rc)
        set_waiting(c, id, false);
    if (rc == FL_AGAIN) {
        say_silence(c, c->endpoint, REACH_MS, &why);
        return error_set(e, FL_DEADLINE, "no answer from %s within %llu ms: %.300s", c->endpoint,
                         (unsigned long long)wait_ms, why.text);
    }
    return rc;
}

/* Sends c->message to the broker's `endpoint` and waits for the one that answers it, in c->message. */
static int ask(struct client *c, const char *endpoint, enum message_type reply, int timeout_ms,
               struct error *e)
{
    uint64_t until_ns = until(timeout_ms);
    zmq_msg_t payload;
    void *socket;
    int rc = open_socket(c, &socket, endpoint, e);
    if (rc)
        return rc;
    zmq_msg_init(&payload);
    await_broker(c, socket, timeout_ms < 0 ? CLIENT_GRACE_MS : (uint64_t)timeout_ms);
    if ((rc = frames_send(socket, NULL, &c->message, NULL)))
        rc = submit_error(endpoint, rc, e);
    while (!rc) {
        rc = receive_type(c, socket, reply, until_ns, &payload, e);
        if (rc != FL_AGAIN)
            break;
        rc = until_ns && clock_ns() >= until_ns ? FL_AGAIN : FL_OK;
    }
    if (rc == FL_AGAIN)
        rc = say_silence(c, endpoint, timeout_ms, e);
    zmq_msg_close(&payload);
    zmq_close(socket);
    return rc;
}

int client_status(struct client *c, int timeout_ms, struct status_reply *out, struct error *e)
{
    int rc;
    c->message.type = MESSAGE_STATUS;
    rc = ask(c, c->endpoint, MESSAGE_STATUS_REPLY, timeout_ms, e);
    if (!rc && out)
        *out = c->message.status_reply;
    return rc;
}

int client_times(struct client *c, int timeout_ms, struct times *out, struct error *e)
{
    int rc;
    c->message.type = MESSAGE_TIMES;
    c->message.times.n = 0;
    rc = ask(c, c->endpoint, MESSAGE_TIMES, timeout_ms, e);
    if (!rc)
        *out = c->message.times;
    return rc;
}

static int ask_to_drain(struct client *c, struct drain drain, int timeout_ms, struct status_reply *out,
                        struct error *e)
{
    int rc;
    c->message.type = MESSAGE_DRAIN;
    c->message.drain = drain;
    rc = ask(c, c->control, MESSAGE_STATUS_REPLY, timeout_ms, e);
    if (!rc && out)
        *out = c->message.status_reply;
    return rc;
}

int client_drain(struct client *c, uint32_t lease_ms, int timeout_ms, struct status_reply *out,
                 struct error *e)
{
    return ask_to_drain(c, (struct drain){.lease_ms = lease_ms}, timeout_ms, out, e);
}

int client_undrain(struct client *c, int timeout_ms, struct error *e)
{
    return ask_to_drain(c, (struct drain){.undo = true}, timeout_ms, NULL, e);
}

int client_take_spans(struct client *c, int timeout_ms, struct spans *out, struct error *e)
{
    int rc;
    memset(&c->message.spans, 0, sizeof c->message.spans);
    c->message.type = MESSAGE_SPANS;
    rc = ask(c, c->endpoint, MESSAGE_SPANS, timeout_ms, e);
    if (!rc)
        *out = c->message.spans;
    return rc;
}

static int feedback_error(const struct client *c, uint32_t code, struct error *e)
{
    if (code == FL_UNSUPPORTED)
        return error_set(
            e, FL_UNSUPPORTED,
            "labels teach this pipeline nothing: that takes cache.threshold: risk, updates.learn "
            "and Redis");
    if (code == FL_UNAVAILABLE)
        return error_set(e, FL_UNAVAILABLE,
                         "no cache service that learns from labels is connected to the broker at %s: see "
                         "`freezeline status`",
                         c->endpoint);
    return error_set(e, (enum fl_code)(code < FL_CODES ? code : FL_PROTOCOL),
                     "the broker takes no labels: %s", error_sentence((int)code));
}

int client_feedback(struct client *c, const struct feedback_item *item, int n, int timeout_ms,
                    struct feedback *reply, struct error *e)
{
    struct feedback *f = &c->message.feedback;
    int rc;
    if (n < 0 || n > MESSAGE_MAX_FEEDBACK)
        return error_set(e, FL_TOO_LARGE, "%d labels at once, at most %d are allowed", n,
                         MESSAGE_MAX_FEEDBACK);
    memset(f, 0, sizeof *f);
    c->message.type = MESSAGE_FEEDBACK;
    f->sequence = c->next++;
    f->n = n;
    if (n)
        memcpy(f->item, item, (size_t)n * sizeof *item);
    if ((rc = ask(c, c->endpoint, MESSAGE_FEEDBACK, timeout_ms, e)))
        return rc;
    *reply = *f;
    return f->error ? feedback_error(c, f->error, e) : FL_OK;
}

int client_fd(struct client *c)
{
    int fd = -1;
    size_t size = sizeof fd;
    if (c->lanes)
        return lanes_fd(c->lanes); /* the socket's is in it */
    return zmq_getsockopt(c->link.socket, ZMQ_FD, &fd, &size) ? -1 : fd;
}
