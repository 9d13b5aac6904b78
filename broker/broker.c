/* broker.c - tick, poll, handle: the broker's sockets around dispatch.c */
#include "broker.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arrival.h"
#include "base/clock.h"
#include "system/limits.h"
#include "system/notify.h"
#include "base/mishap.h"
#include "system/core_board.h"
#include "system/slice.h"
#include "keys/keys.h"
#include "wire/accept.h"
#include "link/link.h"
#include "wire/hello.h"
#include "dispatch.h"
#include "relay_links.h"
#include "broker_variants.h"
#include "wire/frame_limits.h"

#define BURST         256  /* messages taken from one socket before it is the next one's turn; .. */
#define BURST_CLIENTS 32   /* .. fewer from clients, so that a flood of requests keeps no results waiting */
#define LONGEST_MS    1000 /* of one sleep */
#define LOOK_MS       1    /* between two looks at the clients' door while a crowd waits there anyway */
#define CROWD         2    /* a crowd is so many requests in a millisecond, .. */
#define RATE_NS       (10 * NS_PER_MS) /* .. averaged over this time */
/* requests of one client that wait to be read; more would only cost memory: refusing is quick */
#define UNREAD           32
#define CLIENT_LANES     32             /* each takes memory: clients beyond go through their sockets */
#define GATHER           16             /* answers and jobs that one wake of their receiver may wait for */
#define GOODBYE_MS       500            /* how long closing waits for answers to leave */
#define KEEP_NS          (1 * NS_PER_S) /* between two looks at the doors' files */
#define THREADS          4              /* libzmq's two, and some to spare */
#define CLIENTS_LEAST    64             /* that must fit in beside the workers */
#define FILES_PER_WORKER 4

enum { CLIENTS, CONTROL, RESULTS, N_DOORS };
static const char *const door_names[N_DOORS] = {"requests socket", "control socket", "results socket"};

struct broker {
    const struct pipeline *pipeline;
    void *context;
    struct lanes *lanes; /* NULL: switched off */
    int cores;           /* the page of the board that workers of this host get; -1: none */
    struct core_board *board;
    struct link door[N_DOORS];
    struct pollfd fds[N_DOORS + 1 + MESSAGE_MAX_RELAYS];  /* of these, of the lanes, of the relays */
    struct link push[PIPELINE_MAX_REPLICAS];              /* jobs to each replica of stage 0 */
    char told[PIPELINE_MAX_REPLICAS][MESSAGE_NAME_BYTES]; /* endpoints of those that the file does not have */
    struct relay_links relays;
    struct dispatch *dispatch;
    uint64_t empty_ns[N_DOORS]; /* when the socket was last seen empty */
    uint64_t heard, since_ns;   /* messages of clients since since_ns */
    bool crowded;               /* there were many: see CROWD */
    int read_last;              /* requests that the last look at the clients' door found */
    struct broker_variants variants;
    uint64_t kept_ns; /* when the doors' files were last looked at */
    uint64_t refused; /* connections that were refused, when that was last logged */
    struct message in;
    zmq_msg_t payload;
    struct mishap garbage[N_DOORS];
};

/* ---- dispatch_io ---- */

static int send_job(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    struct broker *b = arg;
    core_board_lead(b->board, replica); /* of stage 0 */
    return b->push[replica].socket ? link_send(&b->push[replica], NULL, m, payload) : FL_UNAVAILABLE;
}

static int send_client(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    return link_send(&((struct broker *)arg)->door[CLIENTS], to, m, payload);
}

static int send_control(void *arg, const struct peer *to, const struct message *m)
{
    return link_send(&((struct broker *)arg)->door[CONTROL], to, m, NULL);
}

static int connect_push(struct broker *b, int replica, struct error *e)
{
    const struct stage_config *stage = &b->pipeline->stage[0];
    const char *endpoint = replica < stage->n_replicas ? stage->replica[replica].endpoint : b->told[replica];
    struct socket_options o = {.high_water = stage->max_batch * 2, .immediate = true, .to = PARTY_WORKER};
    b->push[replica] = (struct link){.lanes = b->lanes, .door = N_DOORS + replica};
    return link_open(&b->push[replica], b->context, ZMQ_PUSH, FRAMES_CONNECT, endpoint, &o, NULL,
                     &b->pipeline->security, e);
}

/* What was queued for a dead worker is sent to others; a new socket begins with an empty queue. */
static void reset_push(void *arg, int replica)
{
    struct broker *b = arg;
    struct error e;
    link_close(&b->push[replica], 0);
    if (connect_push(b, replica, &e))
        log_error("%s", e.text);
}

static void meet(void *arg, int replica, const char *endpoint)
{
    struct broker *b = arg;
    if (replica < b->pipeline->stage[0].n_replicas ||
        (b->push[replica].socket && !strcmp(b->told[replica], endpoint)))
        return;
    snprintf(b->told[replica], sizeof b->told[replica], "%s", endpoint);
    reset_push(b, replica);
}

static int send_relay(void *arg, int place, const struct message *m, zmq_msg_t *payload)
{
    return relay_links_send(&((struct broker *)arg)->relays, place, m, payload);
}

static int aim(void *arg, int place, const char *endpoint)
{
    struct broker *b = arg;
    int rc = relay_links_aim(&b->relays, place, endpoint);
    relay_links_fds(&b->relays, b->fds + N_DOORS + 1);
    return rc;
}

/* ---- making and closing ---- */

/* libzmq aborts where it gets no descriptor, memory or thread: so look before anything is opened. */
static int check_limits(const struct pipeline *p, struct error *e)
{
    int workers = p->cache.n_endpoints, rc;

    for (int s = 0; s < p->n_stages; s++)
        workers += p->stage[s].n_replicas;
    if ((rc = accept_prepare(CLIENTS_LEAST + (int64_t)FILES_PER_WORKER * workers, p->broker.requests, THREADS,
                             e)))
        return rc;
    accept_front(pipeline_also(p, p->broker.requests));
    accept_each(p->broker.client_connections);
    return limits_check_memory((int64_t)(p->broker.max_memory_mb * 1024 * 1024), "broker.max_memory_mb", e);
}

static int open_door(struct broker *b, int door, int type, const char *endpoint, struct socket_options *o,
                     const struct lane_options *lane, struct error *e)
{
    static const enum gate gates[N_DOORS] = {GATE_REQUESTS, GATE_CONTROL, GATE_RESULTS};
    o->also = pipeline_also(b->pipeline, endpoint);
    b->door[door] = (struct link){.lanes = lane ? b->lanes : NULL, .door = door, .gate = gates[door]};
    int rc = link_open(&b->door[door], b->context, type, FRAMES_BIND, endpoint, o, lane,
                       &b->pipeline->security, e);
    if (rc)
        return rc;
    b->fds[door] = (struct pollfd){.fd = link_watch(&b->door[door]), .events = POLLIN};
    return b->fds[door].fd < 0 ? error_set(e, FL_IO, "cannot wait for messages: %s", zmq_strerror(errno))
                               : FL_OK;
}

/* Workers do without, if there is none. */
static void offer_cores(struct broker *b)
{
    struct error e;
    if (core_board_make(&b->cores, &e) || core_board_map(&b->board, b->cores, -1, &e))
        log_warn("workers may get into each other's way: %s", e.text);
    else
        lanes_offer(b->lanes, RESULTS, b->cores);
}

static int open_doors(struct broker *b, struct error *e)
{
    const struct broker_config *c = &b->pipeline->broker;
    struct socket_options door = {
        .high_water = c->max_requests + 1000, .mandatory = true, .bind = b->pipeline->bind};
    struct socket_options clients = door, control = door, results = door;
    /* An input is kept until its request is answered. */
    struct lane_options client_lane = {.in_bytes = 2 << 20,
                                       .out_bytes = 256 << 10,
                                       .copy = true,
                                       .most = CLIENT_LANES,
                                       .unsent = door.high_water};
    /* An answer waits as long as its client does not read: in the ring it would keep all other results out.
     */
    struct lane_options result_lane = {.in_bytes = 256 << 10, .copy = true};
    int rc;
    clients.unread = UNREAD;
    clients.max_bytes = (int64_t)(c->max_request_mb * (1 << 20));
    clients.max_bytes += MESSAGE_MAX_ENCODED; /* encrypted it is a little larger */
    control.max_bytes = FRAME_CONTROL_BYTES;
    results.max_bytes = frame_answer_bytes(b->pipeline) + MESSAGE_MAX_ENCODED;
    if ((b->pipeline->shared_memory && (rc = lanes_new(&b->lanes, e))) ||
        (rc = open_door(b, CLIENTS, ZMQ_ROUTER, c->requests, &clients, &client_lane, e)) ||
        (rc = open_door(b, CONTROL, ZMQ_ROUTER, c->control, &control, NULL, e)) ||
        (rc = open_door(b, RESULTS, ZMQ_PULL, c->results, &results, &result_lane, e)))
        return rc;
    b->fds[N_DOORS] = (struct pollfd){.fd = b->lanes ? lanes_fd(b->lanes) : -1, .events = POLLIN};
    if (b->lanes) {
        lanes_gather(b->lanes, GATHER);
        offer_cores(b);
    }
    for (int i = 0; i < b->pipeline->stage[0].n_replicas; i++)
        if ((rc = connect_push(b, i, e)))
            return rc;
    b->relays.pipeline = b->pipeline;
    b->relays.context = b->context;
    relay_links_fds(&b->relays, b->fds + N_DOORS + 1);
    return FL_OK;
}

int broker_new(struct broker **out, const struct pipeline *p, int index, struct settings *settings,
               struct error *e)
{
    struct broker *b = calloc(1, sizeof *b);
    struct dispatch_io io = {b, send_job, send_client, send_control, reset_push, meet, send_relay, aim};
    struct hello self;
    int rc;

    if (!b)
        return error_set(e, FL_NOMEM, "out of memory");
    b->pipeline = p;
    b->cores = -1;
    zmq_msg_init(&b->payload);
    if ((rc = check_limits(p, e)))
        goto fail;
    hello_init(&self, ROLE_BROKER, 0, index);
    slice_short(true);
    b->context = zmq_ctx_new();
    if (!b->context || dispatch_new(&b->dispatch, p, &io, &self, clock_ns())) {
        rc = error_set(e, FL_NOMEM, "out of memory for %d requests: lower broker.max_requests",
                       p->broker.max_requests);
        goto fail;
    }
    dispatch_heed(b->dispatch, settings);
    if ((rc = open_doors(b, e)) ||
        (p->n_variants > 1 &&
         (rc = broker_variants_meet(&b->variants, b->dispatch, p, (int)self.replica, self.incarnation, e))))
        goto fail;
    *out = b;
    return FL_OK;
fail:
    broker_free(b);
    return rc;
}

void broker_free(struct broker *b)
{
    if (!b)
        return;
    if (b->dispatch && b->door[CLIENTS].socket)
        dispatch_abandon(b->dispatch, clock_ns());
    broker_variants_keep(&b->variants, true, clock_ns());
    for (int i = 0; i < N_DOORS; i++)
        link_close(&b->door[i], i == CLIENTS ? GOODBYE_MS : 0);
    for (int i = 0; i < PIPELINE_MAX_REPLICAS; i++)
        link_close(&b->push[i], 0);
    relay_links_close(&b->relays);
    lanes_free(b->lanes);
    core_board_free(b->board);
    if (b->cores >= 0)
        close(b->cores);
    if (b->context)
        zmq_ctx_term(b->context);
    zmq_msg_close(&b->payload);
    dispatch_free(b->dispatch);
    free(b);
}

/* ---- the loop ---- */

/* Something came that is no message, or does not belong here. A request whose envelope could be read gets an
 * error answer. */
static void on_garbage(struct broker *b, int door, const struct peer *from, const struct error *e,
                       uint64_t now)
{
    mishap(&b->garbage[door], LOG_LEVEL_WARN, door_names[door], e->text, now);
    if (door == CLIENTS && b->in.type == MESSAGE_REQUEST && from->size)
        dispatch_malformed(b->dispatch, from, b->in.request.id, e);
}

/* When the result came that was read at `now`. taken_ns: the time just before the socket was read. */
static uint64_t came_at(const struct broker *b, uint64_t taken_ns, uint64_t now)
{
    struct arrival a = arrival_of(b->in.result.sent_ns, b->empty_ns[RESULTS], taken_ns, now);
    return now - a.decode_ns - a.queue_ns;
}

/* The door takes messages somewhat larger than an input may be; stage 0's does not. */
static int check_size(const struct broker *b, struct error *e)
{
    double mb = (double)zmq_msg_size(&b->payload) / (1 << 20), most = b->pipeline->broker.max_request_mb;
    if (b->in.type != MESSAGE_REQUEST || mb <= most)
        return FL_OK;
    return error_set(e, FL_TOO_LARGE, "the input has %.3g MB, broker.max_request_mb allows %.3g: raise it",
                     mb, most);
}

static void handle(struct broker *b, int door, const struct peer *from, uint64_t taken_ns)
{
    struct error e = {FL_PROTOCOL, "a message that does not belong on this socket"};
    uint64_t now = clock_ns();
    enum message_type t = b->in.type;

    if (check_size(b, &e))
        on_garbage(b, door, from, &e, now);
    else if (door == CLIENTS && (t == MESSAGE_REQUEST || t == MESSAGE_CANCEL || t == MESSAGE_STATUS ||
                                 t == MESSAGE_SPANS || t == MESSAGE_FEEDBACK || t == MESSAGE_TIMES))
        dispatch_client(b->dispatch, from, &b->in, &b->payload, now);
    else if (door == RESULTS && t == MESSAGE_RESULT) {
        if (dispatch_result(b->dispatch, &b->in.result, &b->payload, came_at(b, taken_ns, now), now, &e))
            on_garbage(b, door, from, &e, now);
    } else if (door == CONTROL && (t == MESSAGE_HELLO || t == MESSAGE_HEARTBEAT || t == MESSAGE_SPANS ||
                                   t == MESSAGE_DRAIN || t == MESSAGE_RELAYS))
        dispatch_control(b->dispatch, from, &b->in, now);
    else
        on_garbage(b, door, from, &e, now);
}

/* True when the socket may hold more. */
static bool receive(struct broker *b, int door)
{
    int most = door == CLIENTS ? BURST_CLIENTS : BURST;
    if (door == CLIENTS)
        b->read_last = 0;
    for (int i = 0; i < most; i++) {
        struct error e = {FL_OK, ""};
        struct peer from = {0};
        int rc;
        uint64_t taken_ns = clock_ns();
        b->in.type = (enum message_type)0;
        rc = link_receive(&b->door[door], &from, &b->in, &b->payload, &e);
        if (rc == FL_AGAIN) {
            b->empty_ns[door] = taken_ns;
            return false;
        }
        b->heard += door == CLIENTS;
        b->read_last += door == CLIENTS;
        if (from.guest && keys_party(b->pipeline->security.keys, from.guest) != PARTY_CLIENT)
            from.guest = 0; /* a rate is a client's */
        if (rc == FL_OK)
            handle(b, door, &from, taken_ns);
        else
            on_garbage(b, door, &from, &e, clock_ns());
        if (rc == FL_IO)
            return false;
    }
    return true;
}

/* While requests wait for room, nothing that comes to the clients' door is urgent. When much comes, it is
 * looked at once a millisecond, which wakes each thread on the way once for several refusals instead of for
 * each. A look that found about as many as the socket holds has left a backlog: that one does not wait. */
static bool door_can_wait(struct broker *b, uint64_t now)
{
    uint64_t ns = now - b->since_ns;
    if (ns >= RATE_NS) {
        b->crowded = b->heard * NS_PER_MS >= CROWD * ns;
        b->heard = 0;
        b->since_ns = now;
    }
    return b->crowded && dispatch_full(b->dispatch) && b->read_last < UNREAD / 2;
}

/* Doors from `first` on. */
static void poll_doors(struct broker *b, int first, int ms)
{
    int n = poll(b->fds + first, (nfds_t)(N_DOORS + 1 + MESSAGE_MAX_RELAYS - first), ms);
    for (int i = 0; i < N_DOORS; i++)
        if (i < first || n < 0 || b->fds[i].revents)
            link_look(&b->door[i]);
    relay_links_woke(&b->relays, n < 0 ? NULL : b->fds + N_DOORS + 1);
}

/* A replica of stage 0 took no more: its socket has no descriptor of its own that tells when it does again.
 */
static void poll_sockets(struct broker *b, int first, int ms)
{
    zmq_pollitem_t items[N_DOORS + PIPELINE_MAX_REPLICAS + MESSAGE_MAX_RELAYS + 1];
    int n = 0;
    for (int i = first; i < N_DOORS; i++)
        items[n++] = (zmq_pollitem_t){.socket = b->door[i].socket, .events = ZMQ_POLLIN};
    if (b->lanes)
        items[n++] = (zmq_pollitem_t){.fd = lanes_fd(b->lanes), .events = ZMQ_POLLIN};
    for (int i = 0; i < PIPELINE_MAX_REPLICAS; i++)
        if (b->push[i].socket && dispatch_feeds(b->dispatch, i))
            items[n++] = (zmq_pollitem_t){.socket = b->push[i].socket, .events = ZMQ_POLLOUT};
    for (int i = N_DOORS + 1; i < N_DOORS + 1 + MESSAGE_MAX_RELAYS; i++)
        if (b->fds[i].fd >= 0)
            items[n++] = (zmq_pollitem_t){.fd = b->fds[i].fd, .events = ZMQ_POLLIN};
    zmq_poll(items, n, ms);
    for (int i = 0; i < N_DOORS; i++)
        link_look(&b->door[i]);
    relay_links_woke(&b->relays, NULL);
}

/* libzmq tells of a message once: to send through a socket may have taken that, so it is looked at before a
 * sleep. */
static bool looks_again(const struct broker *b, int first)
{
    for (int i = first; i < N_DOORS; i++)
        if (!b->door[i].quiet)
            return true;
    return !relay_links_quiet(&b->relays);
}

/* until <= now: does not wait, and looks what is there. */
static void wait_for_messages(struct broker *b, uint64_t until, uint64_t now)
{
    int first = door_can_wait(b, now) ? CLIENTS + 1 : CLIENTS;
    uint64_t ms = until > now ? (until - now + NS_PER_MS - 1) / NS_PER_MS : 0;

    if (ms > LONGEST_MS)
        ms = LONGEST_MS;
    if (first != CLIENTS && ms > LOOK_MS)
        ms = LOOK_MS;
    if (looks_again(b, first))
        ms = 0;
    if (ms && b->lanes && !lanes_sleep(b->lanes, first == CLIENTS ? 0 : 1u << CLIENTS))
        ms = 0;
    if (ms && dispatch_blocked(b->dispatch))
        poll_sockets(b, first, (int)ms);
    else
        poll_doors(b, first, (int)ms);
    if (b->lanes)
        lanes_wake(b->lanes);
    if (!ms)
        return;
    now = clock_ns(); /* no message came before: the poll returns at the first */
    for (int i = first; i < N_DOORS; i++)
        b->empty_ns[i] = now;
}

/* When someone removes a unix socket's file, connections live on but nobody new can connect: so the file is
 * made again. */
static void keep_doors(struct broker *b, uint64_t now)
{
    const struct broker_config *c = &b->pipeline->broker;
    const char *endpoint[N_DOORS] = {c->requests, c->control, c->results};
    struct error e;

    if (now < b->kept_ns + KEEP_NS)
        return;
    b->kept_ns = now;
    broker_variants_keep(&b->variants, false, now);
    if (accept_refused() != b->refused) {
        log_warn("%llu connections were refused: of %lld files that may be open too few are left (raise the "
                 "hard limit, `ulimit -Hn`), or one address has too many (broker.client_connections)",
                 (unsigned long long)(accept_refused() - b->refused), (long long)limits_files());
        b->refused = accept_refused();
    }
    for (int i = 0; i < N_DOORS; i++) {
        if (frames_keep_bound(b->door[i].socket, endpoint[i], &e))
            log_warn("%s", e.text);
        link_look(&b->door[i]);
    }
    for (int i = 0; i < PIPELINE_MAX_REPLICAS; i++)
        if (b->push[i].socket && !dispatch_owed(b->dispatch, i))
            link_mend(&b->push[i], now);
}

void broker_run(struct broker *b, const volatile int *stop)
{
    const struct pipeline *p = b->pipeline;

    log_info(
        "ready: %d stages, requests on %s, control on %s, results on %s, at most %d requests in flight, 1 "
        "thread, no numeric kernels",
        p->n_stages, p->broker.requests, p->broker.control, p->broker.results, p->broker.max_requests);
    notify_ready();
    while (!*stop) {
        static const int order[N_DOORS] = {RESULTS, CONTROL, CLIENTS};
        uint64_t now, until;
        bool more = false;
        for (int i = 0; i < N_DOORS; i++)
            more |= receive(b, order[i]);
        more |= relay_links_receive(&b->relays, b->dispatch, &b->in, &b->payload);
        if (b->lanes)
            lanes_rouse(b->lanes); /* before all that can wait */
        now = clock_ns();
        relay_links_look(&b->relays, b->dispatch, now);
        until = dispatch_tick(b->dispatch, now);
        keep_doors(b, now);
        if (b->lanes)
            lanes_turn(b->lanes, now);
        wait_for_messages(b, more ? 0 : until, now);
    }
}
