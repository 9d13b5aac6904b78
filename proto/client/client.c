/* client.c - requests out, answers in, over a DEALER socket to each broker
 *
 * Ids count up from a random start, so answers meant for an earlier process are not mistaken for this one's.
 * failover.h says which broker is asked, what is sent again, and which answers are handed out: each once.
 */
#include "client_inside.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "config/keyring.h"
#include "wire/frame_limits.h"

#define REACH_MS   300
#define CONNECT_MS 50 /* the first request waits for so long to be sent at once */
/* so long after its deadline at the latest, an answer that says so should be here */
#define CLIENT_GRACE_MS 2000

/* --- brokers --- */

static int send_to(void *arg, int broker, const struct message *m, zmq_msg_t *payload)
{
    struct client *c = arg;
    if (c->lanes && !lanes_reach(c->lanes, broker))
        lanes_turn(c->lanes, clock_ns());
    return link_send(&c->link[broker], NULL, m, payload);
}

static bool connected(void *arg, int broker)
{
    return link_takes(&((struct client *)arg)->link[broker]);
}

/* A descriptor that tells of all links and of time that has passed. */
static int open_watch(struct client *c, struct error *e)
{
    struct epoll_event event = {.events = EPOLLIN};
    int fd;
    size_t size = sizeof fd;
    bool ok = (c->watch = epoll_create1(EPOLL_CLOEXEC)) >= 0 &&
              (c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)) >= 0 &&
              !epoll_ctl(c->watch, EPOLL_CTL_ADD, c->timer, &event) &&
              (!c->lanes || !epoll_ctl(c->watch, EPOLL_CTL_ADD, lanes_fd(c->lanes), &event));
    for (int i = 0; ok && !c->lanes && i < c->n_links; i++)
        ok = !zmq_getsockopt(c->link[i].socket, ZMQ_FD, &fd, &size) &&
             !epoll_ctl(c->watch, EPOLL_CTL_ADD, fd, &event);
    return ok ? FL_OK : error_set(e, FL_IO, "cannot watch %d brokers: %s", c->n_links, strerror(errno));
}

static int open_failover(struct client *c, struct error *e)
{
    const struct failover_io io = {c, send_to, connected};
    uint64_t seed;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return error_set(e, FL_IO, "no random numbers: %s", strerror(errno));
    if (failover_new(&c->failover, c->n_links, seed, &io))
        return error_set(e, FL_NOMEM, "out of memory");
    c->due_ns = UINT64_MAX;
    return open_watch(c, e);
}

/* When it wants to be called next (UINT64_MAX: nothing is unanswered): client_fd becomes readable then, and
 * is so no longer once this was called again. */
static void set_due(struct client *c, uint64_t ns)
{
    struct itimerspec at = {.it_value.tv_nsec = 0};
    c->due_ns = ns;
    if (ns != UINT64_MAX) {
        at.it_value.tv_sec = (time_t)(ns / NS_PER_S);
        at.it_value.tv_nsec = (long)(ns % NS_PER_S);
    }
    timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &at, NULL);
}

/* --- making --- */

static int open_links(struct client *c, const struct pipeline *p, struct error *e)
{
    struct socket_options o = {.high_water = CLIENT_HIGH_WATER,
                               .max_bytes = frame_answer_bytes(p) + MESSAGE_MAX_ENCODED,
                               .immediate = true};
    int rc, fd;
    if (p->shared_memory && (rc = lanes_new(&c->lanes, e)))
        return rc;
    for (int i = 0; i < c->n_brokers; i++, c->n_links = i) {
        c->link[i] = (struct link){.lanes = c->lanes, .door = i, .replies = true};
        if ((rc = link_open(&c->link[i], c->context, ZMQ_DEALER, FRAMES_CONNECT, c->broker[i].requests, &o,
                            NULL, &c->security, e)))
            return rc;
        if (c->lanes && ((fd = link_watch(&c->link[i])) < 0 || !lanes_watch(c->lanes, fd)))
            return error_set(e, FL_IO, "cannot watch a broker: %s", zmq_strerror(errno));
    }
    return open_failover(c, e);
}

static bool over_tcp(const struct client *c)
{
    for (int i = 0; i < c->n_brokers; i++)
        if (!strncmp(c->broker[i].requests, "tcp://", 6) || !strncmp(c->broker[i].control, "tcp://", 6))
            return true;
    return false;
}

/* An operator's key allows all that a client's does. A service that is a client too has its own. */
static int take_keys(struct client *c, const struct pipeline *p, struct error *e)
{
    int rc;
    c->security = p->security;
    if (p->security.mode != SECURITY_CURVE || p->security.keys || !over_tcp(c))
        return FL_OK;
    if ((rc = keyring_open(&c->keys, p, PARTY_OPERATOR, NULL)) == FL_NOT_FOUND)
        rc = keyring_open(&c->keys, p, PARTY_CLIENT, e);
    else if (rc)
        rc = keyring_open(&c->keys, p, PARTY_OPERATOR, e);
    c->security.keys = c->keys;
    return rc;
}

static bool copy_ends(struct client *c, const struct pipeline *p, int first)
{
    for (int i = 0; i < c->n_brokers; i++) {
        struct broker_replica b = pipeline_broker(p, first + i);
        if (!(c->broker[i].requests = strdup(b.requests)) || !(c->broker[i].control = strdup(b.control)))
            return false;
    }
    return true;
}

/* To n brokers of the pipeline. */
static int make(struct client **out, const struct pipeline *p, int first, int n, struct error *e)
{
    struct client *c = calloc(1, sizeof *c);
    char boot_id[MESSAGE_NAME_BYTES];
    int rc;
    *out = NULL;
    if (c) {
        c->watch = c->timer = -1;
        c->n_brokers = n;
        zmq_msg_init(&c->payload);
    }
    if (!c || !(c->context = zmq_ctx_new()) || !copy_ends(c, p, first)) {
        client_free(c);
        return error_set(e, FL_NOMEM, "out of memory while connecting to %s", p->broker.requests);
    }
    c->deadline_ms = (uint32_t)p->broker.deadline_ms;
    c->max_bytes = (int64_t)(p->broker.max_request_mb * (1 << 20));
    clock_boot_id(boot_id, sizeof boot_id);
    c->clock = clock_id(boot_id);
    if (getrandom(&c->next, sizeof c->next, 0) != (ssize_t)sizeof c->next)
        c->next = clock_ns();
    if ((rc = take_keys(c, p, e)) || (rc = open_links(c, p, e))) {
        client_free(c);
        return rc;
    }
    *out = c;
    return FL_OK;
}

int client_new(struct client **out, const struct pipeline *p, struct error *e)
{
    return make(out, p, 0, pipeline_brokers(p), e);
}

int client_new_of(struct client **out, const struct pipeline *p, int broker, struct error *e)
{
    return make(out, p, broker, 1, e);
}

void client_free(struct client *c)
{
    if (!c)
        return;
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++) {
        link_close(&c->link[i], 0);
        free(c->broker[i].requests);
        free(c->broker[i].control);
    }
    failover_free(c->failover);
    zmq_msg_close(&c->payload);
    lanes_free(c->lanes);
    if (c->watch >= 0)
        close(c->watch);
    if (c->timer >= 0)
        close(c->timer);
    if (c->context)
        zmq_ctx_term(c->context);
    keys_close(c->keys);
    free(c);
}

/* --- requests --- */

static int submit(struct client *c, zmq_msg_t *payload)
{
    const struct request *r = &c->message.request;
    uint64_t time_ms = r->deadline_ms ? r->deadline_ms : c->deadline_ms;
    int rc = failover_submit(c->failover, r, payload, time_ms * NS_PER_MS, r->sent_ns);
    if (rc)
        return rc;
    if (c->due_ns == UINT64_MAX)
        set_due(c, r->sent_ns);
    return FL_OK;
}

static int check_input(const struct client *c, const struct tensor *input, int64_t bytes, struct error *e)
{
    if (bytes <= 0 || !input->data)
        return error_set(e, FL_SHAPE, "the input has no numbers");
    if (bytes > c->max_bytes) /* libzmq at the broker would close the connection without a word */
        return error_set(e, FL_TOO_LARGE,
                         "the input has %.3g MB, broker.max_request_mb allows %.3g: raise it",
                         (double)bytes / (1 << 20), (double)c->max_bytes / (1 << 20));
    return FL_OK;
}

/* The input as a message: lent, or a copy. On an error what was lent is released. */
static int make_payload(const struct client *c, const struct client_request *r, zmq_msg_t *out,
                        struct error *e)
{
    int64_t bytes = tensor_bytes(&r->input);
    int rc = check_input(c, &r->input, bytes, e);
    if (!rc && (r->release ? zmq_msg_init_data(out, r->input.data, (size_t)bytes, r->release, r->arg)
                           : zmq_msg_init_size(out, (size_t)bytes)))
        rc = error_set(e, FL_NOMEM, "out of memory for an input of %lld bytes", (long long)bytes);
    if (rc && r->release)
        r->release(r->input.data, r->arg);
    else if (!rc && !r->release)
        memcpy(zmq_msg_data(out), r->input.data, (size_t)bytes);
    return rc;
}

int client_send(struct client *c, const struct client_request *r, uint64_t *id, struct error *e)
{
    zmq_msg_t payload;
    int rc = make_payload(c, r, &payload, e);
    if (rc)
        return rc;
    c->message.type = MESSAGE_REQUEST;
    c->message.request = (struct request){.id = c->next,
                                          .deadline_ms = r->deadline_ms,
                                          .flags = r->flags,
                                          .input = r->input,
                                          .sent_ns = clock_ns(),
                                          .clock = c->clock,
                                          .priority = r->priority,
                                          .loss_allowed = r->loss_allowed,
                                          .trace_high = r->trace_high,
                                          .trace_low = r->trace_low,
                                          .parent = r->parent,
                                          .span = r->span,
                                          .context = r->context,
                                          .stream = r->stream};
    if (!c->met && !connected(c, 0)) /* or it would go out with the next call alone */
        zmq_poll(&(zmq_pollitem_t){.socket = c->link[0].socket, .events = ZMQ_POLLOUT}, 1, CONNECT_MS);
    c->met = true;
    rc = submit(c, &payload);
    zmq_msg_close(&payload);
    if (rc)
        return ask_send_error(c->broker[0].requests, rc, e);
    *id = c->next++;
    return FL_OK;
}

int client_submit(struct client *c, const struct tensor *input, uint32_t flags, uint32_t deadline_ms,
                  uint64_t *id, struct error *e)
{
    return client_send(
        c, &(struct client_request){.input = *input, .flags = flags, .deadline_ms = deadline_ms}, id, e);
}

bool client_cancel(struct client *c, uint64_t id)
{
    uint64_t now = clock_ns();
    if (!failover_cancel(c->failover, id, now))
        return false;
    set_due(c, now); /* one that was not sent yet ends at once */
    return true;
}

/* Nothing was there: what comes from now on makes descriptors readable. False: something has come meanwhile.
 */
static bool may_sleep(struct client *c)
{
    if (!c->lanes)
        return true;
    lanes_turn(c->lanes, clock_ns());
    if (!lanes_heard(c->lanes))
        return lanes_sleep(c->lanes, 0);
    for (int i = 0; i < c->n_links; i++)
        link_look(&c->link[i]);
    return false;
}

/* Sleeps until something may be there to read, at most until `until_ns` (0 = for ever). FL_AGAIN: time is up,
 * or a signal came. */
static int sleep_until(struct client *c, uint64_t until_ns, struct error *e)
{
    zmq_pollitem_t items[PIPELINE_MAX_BROKERS + 1];
    uint64_t now = clock_ns();
    long ms = -1;
    int n = 0;
    if (until_ns)
        ms = until_ns > now ? (long)((until_ns - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
    for (; !c->lanes && n < c->n_links; n++)
        items[n] = (zmq_pollitem_t){.socket = c->link[n].socket, .events = ZMQ_POLLIN};
    if (c->lanes) /* it tells of the links, too: open_links */
        items[n++] = (zmq_pollitem_t){.fd = lanes_fd(c->lanes), .events = ZMQ_POLLIN};
    n = zmq_poll(items, n, ms);
    if (n > 0)
        return FL_OK;
    if (n == 0 || errno == EINTR)
        return FL_AGAIN;
    return error_set(e, FL_IO, "waiting for an answer failed: %s", zmq_strerror(errno));
}

/* An answer that is to be handed out came from this broker, into c->message. FL_AGAIN: none. */
static int receive_from(struct client *c, int broker, struct error *e)
{
    const struct message *m = &c->message;
    int rc;
    while (!(rc = link_receive(&c->link[broker], NULL, &c->message, &c->payload, e))) {
        uint64_t now = clock_ns();
        failover_heard(c->failover, broker, now);
        if (m->type == MESSAGE_STATUS_REPLY)
            failover_started(c->failover, broker, m->status_reply.started_ns, now);
        if (m->type == MESSAGE_ANSWER && failover_answer(c->failover, broker, &m->answer, now))
            return FL_OK;
    }
    return rc;
}

/* Has a request ended without an answer, in c->message? Of an only broker that is told by its silence. */
static bool expired(struct client *c, uint64_t now)
{
    const struct answer *a = &c->message.answer;
    bool some;
    do
        some = failover_expired(c->failover, now, &c->message.answer);
    while (some && c->n_links == 1 && !c->tells_all && a->error != FL_CANCELLED);
    return some;
}

/* Sends again what has to be. True: a request has ended without an answer; c->message says so. */
static bool look_after(struct client *c)
{
    uint64_t now;
    if ((now = clock_ns()) < c->due_ns)
        return false;
    if (c->lanes)
        lanes_turn(c->lanes, now);
    for (int i = 0; i < c->n_links; i++) {
        link_mend(&c->link[i], now);
        link_look(&c->link[i]);
    }
    set_due(c, failover_tick(c->failover, now));
    if (!expired(c, now))
        return false;
    c->message.type = MESSAGE_ANSWER;
    zmq_msg_close(&c->payload);
    zmq_msg_init(&c->payload);
    set_due(c, now); /* there may be more of them */
    return true;
}

/* The next answer that is to be handed out, into c->message. */
static int receive_answer(struct client *c, uint64_t until_ns, struct error *e)
{
    for (;;) {
        uint64_t wake_ns = until_ns;
        int rc = FL_AGAIN;
        if (look_after(c))
            return FL_OK;
        for (int i = 0; rc == FL_AGAIN && i < c->n_links; i++)
            rc = receive_from(c, i, e);
        if (rc != FL_AGAIN)
            return rc;
        if (!may_sleep(c))
            continue;
        if (until_ns && clock_ns() >= until_ns)
            return rc; /* without a timeout there is no need to poll first */
        if (!until_ns || c->due_ns < until_ns)
            wake_ns = c->due_ns == UINT64_MAX ? until_ns : c->due_ns;
        rc = sleep_until(c, wake_ns, e);
        if (rc == FL_AGAIN && wake_ns != until_ns && clock_ns() >= wake_ns)
            continue;
        if (rc)
            return rc;
    }
}

static int receive_until(struct client *c, uint64_t until_ns, struct answer *answer, const float **scores,
                         int *n, struct error *e)
{
    int64_t count;
    int rc = receive_answer(c, until_ns, e);
    if (rc)
        return rc;
    *answer = c->message.answer;
    count = answer->scores.dtype == TENSOR_F32 ? tensor_count(&answer->scores) : 0;
    *n = count > 0 && count <= INT_MAX ? (int)count : 0;
    *scores = *n ? zmq_msg_data(&c->payload) : NULL;
    return FL_OK;
}

static int receive_copy(struct client *c, uint64_t until_ns, struct answer *answer, float *scores,
                        int capacity, int *n, struct error *e)
{
    const float *from;
    int count, rc = receive_until(c, until_ns, answer, &from, &count, e);
    if (rc)
        return rc;
    count = !scores || count < 0 ? 0 : count < capacity ? count : capacity;
    if (count)
        memcpy(scores, from, (size_t)count * sizeof *scores);
    if (n)
        *n = count;
    return FL_OK;
}

static uint64_t until(int timeout_ms)
{
    return timeout_ms < 0 ? 0 : clock_ns() + (uint64_t)timeout_ms * NS_PER_MS + 1;
}

int client_receive_lent(struct client *c, int timeout_ms, struct answer *answer, const float **scores, int *n,
                        struct error *e)
{
    return receive_until(c, until(timeout_ms), answer, scores, n, e);
}

int client_receive(struct client *c, int timeout_ms, struct answer *answer, float *scores, int capacity,
                   int *n, struct error *e)
{
    return receive_copy(c, until(timeout_ms), answer, scores, capacity, n, e);
}

int client_ask(struct client *c, const struct client_request *r, struct answer *answer, float *scores,
               int capacity, int *n, struct error *e)
{
    uint64_t wait_ms = (uint64_t)(r->deadline_ms ? r->deadline_ms : c->deadline_ms) + CLIENT_GRACE_MS;
    uint64_t until_ns = clock_ns() + wait_ms * NS_PER_MS;
    struct error why = {0};
    uint64_t id;
    int rc = client_send(c, r, &id, e);
    if (rc)
        return rc;
    do
        rc = receive_copy(c, until_ns, answer, scores, capacity, n, e);
    while ((!rc && answer->id != id) ||
           (rc == FL_AGAIN && clock_ns() < until_ns)); /* a signal does not end the wait */
    if (rc == FL_AGAIN) {
        ask_silence_error(c, c->broker[0].requests, REACH_MS, &why);
        return error_set(e, FL_DEADLINE, "no answer from %s within %llu ms: %.300s", c->broker[0].requests,
                         (unsigned long long)wait_ms, why.text);
    }
    return rc;
}

int client_infer(struct client *c, const struct tensor *input, uint32_t flags, uint32_t deadline_ms,
                 struct answer *answer, float *scores, int capacity, int *n, struct error *e)
{
    struct client_request r = {.input = *input, .flags = flags, .deadline_ms = deadline_ms};
    return client_ask(c, &r, answer, scores, capacity, n, e);
}

void client_gather(struct client *c, int requests)
{
    if (c->lanes)
        lanes_gather(c->lanes, requests);
}

int client_fd(const struct client *c)
{
    return c->watch;
}
