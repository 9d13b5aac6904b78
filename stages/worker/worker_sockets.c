/* worker_sockets.c - opening, waiting, sending */
#include "worker_sockets.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "wire/frame_limits.h"

#define ENVELOPE   (64 << 10) /* a job's is never larger */
#define GOODBYE_MS 500
#define ROUTE      4096 /* bytes of a job beside its activation, at most nearly always */

_Static_assert(PIPELINE_MAX_STAGES *PIPELINE_MAX_REPLICAS <= CORE_BOARD_PLACES, "a place for each worker");

enum { DOOR_JOBS, DOOR_CACHE, DOOR_RESULTS, DOOR_NEXT = DOOR_RESULTS + PIPELINE_MAX_BROKERS };

/* Only who meets its cache service in shared memory can look up there. */
static void check_placement(const struct pipeline *p, const char *endpoint)
{
    if (!strcmp(p->cache.placement, "near") && (!p->shared_memory || strncmp(endpoint, "ipc://", 6)))
        log_warn("cache.placement: near needs shared_memory and a cache service with an ipc endpoint (%s): "
                 "look-ups "
                 "go to the service",
                 endpoint);
}

static int connect_to(struct worker_sockets *s, struct link *l, int door, int type, const char *endpoint,
                      enum party to, int high_water, bool immediate, struct error *e)
{
    struct socket_options o = {
        .high_water = high_water, .max_bytes = FRAME_CONTROL_BYTES, .immediate = immediate, .to = to};
    *l = (struct link){.lanes = s->lanes, .door = door};
    return link_open(l, s->context, type, FRAMES_CONNECT, endpoint, &o, NULL, &s->pipeline->security, e);
}

/* Has the lanes tell when something has come through this socket, so that nobody asks libzmq in vain, which
 * takes several system calls each time. */
static int watch(struct worker_sockets *s, struct link *l, struct error *e)
{
    int fd;
    if (!s->lanes)
        return FL_OK;
    if ((fd = link_watch(l)) < 0 || !lanes_watch(s->lanes, fd))
        return error_set(e, FL_INTERNAL, "a socket cannot be watched: %s", zmq_strerror(errno));
    return FL_OK;
}

/* What clients ask of stage 0 may be of a wrong shape, which is answered. */
static int64_t largest_frame(const struct worker_sockets *s, size_t input_bytes)
{
    if (!s->stage)
        return (int64_t)(s->pipeline->broker.max_request_mb * (1 << 20)) + ENVELOPE;
    return (int64_t)input_bytes + ENVELOPE; /* encrypted it is a little larger */
}

/* High-water marks: with at most max_requests admitted, that many activations exist; stage 0 is fed by the
 * broker, which keeps what does not fit. */
int worker_sockets_bind(struct worker_sockets *s, int max_batch, size_t input_bytes, struct error *e)
{
    const struct pipeline *p = s->pipeline;
    const char *endpoint = p->stage[s->stage].replica[s->replica].endpoint;
    struct socket_options jobs = {.high_water = s->stage ? p->broker.max_requests + 16 : 2 * max_batch,
                                  .max_bytes = largest_frame(s, input_bytes),
                                  .bind = p->bind,
                                  .also = pipeline_also(p, endpoint)};
    struct lane_options lane = {.in_bytes = (size_t)(max_batch + 2) * (input_bytes + ROUTE)};
    int rc;
    s->jobs = (struct link){.lanes = s->lanes, .door = DOOR_JOBS, .gate = GATE_JOBS};
    rc = link_open(&s->jobs, s->context, ZMQ_PULL, FRAMES_BIND, endpoint, &jobs, &lane, &p->security, e);
    return rc ? rc : watch(s, &s->jobs, e);
}

static int connect_brokers(struct worker_sockets *s, int many, struct error *e)
{
    const struct pipeline *p = s->pipeline;
    struct socket_options control = {
        .high_water = 1000, .max_bytes = FRAME_CONTROL_BYTES, .immediate = true, .to = PARTY_BROKER};
    int rc = FL_OK;
    for (int i = 0; !rc && i < pipeline_brokers(p); i++, s->n_brokers = i) {
        struct broker_replica b = pipeline_broker(p, i);
        if (!(rc = link_open(&s->control[i], s->context, ZMQ_DEALER, FRAMES_CONNECT, b.control, &control,
                             NULL, &p->security, e)) &&
            !(rc = watch(s, &s->control[i], e)))
            rc = connect_to(s, &s->results[i], DOOR_RESULTS + i, ZMQ_PUSH, b.results, PARTY_BROKER, many,
                            false, e);
    }
    return rc;
}

int worker_sockets_open(struct worker_sockets *s, const struct stage_setup *asks, struct error *e)
{
    const struct pipeline *p = s->pipeline;
    const struct stage_config *next = &p->stage[s->stage + 1];
    int many = p->broker.max_requests + 16, rc;
    size_t size = sizeof s->cache_fd;
    const char *cache;

    if (!(s->context = zmq_ctx_new()))
        return error_set(e, FL_NOMEM, "out of memory");
    if ((p->shared_memory && (rc = lanes_new(&s->lanes, e))) || (rc = connect_brokers(s, many, e)))
        return rc;
    for (int i = 0; s->stage + 1 < p->n_stages && i < next->n_replicas; i++, s->n_next++)
        if ((rc = connect_to(s, &s->next[i], DOOR_NEXT + i, ZMQ_PUSH, next->replica[i].endpoint, PARTY_WORKER,
                             many, true, e)))
            return rc;
    if (!asks)
        return FL_OK;
    cache = p->cache.endpoint[p->stage[s->stage].replica[s->replica].cache];
    check_placement(p, cache);
    if ((rc = connect_to(s, &s->cache, DOOR_CACHE, ZMQ_DEALER, cache, PARTY_CACHE, 64, true, e)) ||
        (rc = watch(s, &s->cache, e)))
        return rc;
    if (s->lanes && strcmp(p->cache.placement, "service") && near_cache_new(&s->near, asks))
        return error_set(e, FL_NOMEM, "out of memory");
    if (zmq_getsockopt(s->cache.socket, ZMQ_FD, &s->cache_fd, &size))
        return error_set(e, FL_INTERNAL, "the cache socket has no descriptor: %s", zmq_strerror(errno));
    return FL_OK;
}

void worker_sockets_close(struct worker_sockets *s)
{
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++) {
        link_close(&s->control[i], GOODBYE_MS);
        link_close(&s->results[i], GOODBYE_MS);
    }
    for (int i = 0; i < s->n_next; i++)
        link_close(&s->next[i], GOODBYE_MS);
    link_close(&s->cache, 0);
    link_close(&s->jobs, 0);
    lanes_free(s->lanes);
    near_cache_free(s->near);
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++)
        core_board_free(s->board[i]);
    if (s->context)
        zmq_ctx_term(s->context);
}

/* --- for the brain --- */

static int send_control(void *arg, int broker, const struct message *m)
{
    return link_send(&((struct worker_sockets *)arg)->control[broker], NULL, m, NULL);
}

static int send_result(void *arg, const struct message *m, zmq_msg_t *payload)
{
    struct worker_sockets *s = arg;
    int broker = request_broker(m->result.request);
    return broker < s->n_brokers ? link_send(&s->results[broker], NULL, m, payload) : FL_PROTOCOL;
}

static int place(int stage, int replica)
{
    return stage * PIPELINE_MAX_REPLICAS + replica;
}

static int send_next(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    struct link *to = &((struct worker_sockets *)arg)->next[replica];
    return to->socket ? link_send(to, NULL, m, payload) : FL_UNAVAILABLE;
}

static int send_lookup(void *arg, const struct message *m, zmq_msg_t *payload)
{
    return link_send(&((struct worker_sockets *)arg)->cache, NULL, m, payload);
}

static int look(void *arg, const struct lookup *in, const float *descriptors, uint64_t broker_now,
                struct verdict *out)
{
    return near_cache_look(((struct worker_sockets *)arg)->near, in, descriptors, broker_now, out);
}

static int meet(void *arg, int replica, const char *endpoint)
{
    struct worker_sockets *s = arg;
    struct error e;
    int rc;
    if (s->next[replica].socket)
        return FL_OK;
    if ((rc = connect_to(s, &s->next[replica], DOOR_NEXT + replica, ZMQ_PUSH, endpoint, PARTY_WORKER,
                         s->pipeline->broker.max_requests + 16, true, &e))) {
        log_warn("stage %d replica %d: %s", s->stage + 1, replica, e.text);
        return rc;
    }
    s->n_next = replica >= s->n_next ? replica + 1 : s->n_next;
    return FL_OK;
}

static uint32_t reaches(void *arg)
{
    struct worker_sockets *s = arg;
    s->reaches = 0;
    for (int i = 0; i < s->n_next; i++)
        s->reaches |= (uint32_t)frames_takes(s->next[i].socket) << i;
    return s->reaches;
}

static bool connected(void *arg, int broker)
{
    return link_takes(&((struct worker_sockets *)arg)->control[broker]);
}

void worker_sockets_io(struct worker_sockets *s, struct stage_io *io)
{
    io->arg = s;
    io->control = send_control;
    io->result = send_result;
    io->next = send_next;
    io->ask = send_lookup;
    io->look = look;
    io->reaches = reaches;
    io->connected = connected;
    io->meet = meet;
}

int worker_sockets_place(void *arg, int to, size_t bytes, zmq_msg_t *out)
{
    struct worker_sockets *s = arg;
    core_board_lead(worker_sockets_board(s), place(s->stage + 1, to)); /* it may be woken now */
    return s->lanes ? lanes_payload(s->lanes, DOOR_NEXT + to, bytes, out) : zmq_msg_init_size(out, bytes);
}

/* --- waiting --- */

static void look_at_all(struct worker_sockets *s)
{
    for (int i = 0; i < s->n_brokers; i++)
        link_look(&s->control[i]);
    link_look(&s->jobs);
    link_look(&s->cache);
}

/* Something else has been done with a socket since it was found empty. */
static bool looks_again(const struct worker_sockets *s)
{
    bool again = (s->jobs.socket && !s->jobs.quiet) || (s->cache.socket && !s->cache.quiet);
    for (int i = 0; i < s->n_brokers; i++)
        again |= !s->control[i].quiet;
    return again;
}

/* Only libzmq can tell when a socket takes messages. */
static bool waits_to_send(const struct worker_sockets *s, uint32_t greets)
{
    bool waits = greets != 0;
    for (int i = 0; i < s->n_next; i++)
        waits |= s->next[i].socket && !(s->reaches >> i & 1);
    return waits;
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
}

/* Lanes tell of all that comes. */
static void wait_for_lanes(struct worker_sockets *s, int fd, bool *fd_came, uint64_t ns)
{
    struct pollfd items[] = {{.fd = lanes_fd(s->lanes), .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    struct timespec t = timespec_of(looks_again(s) || !lanes_sleep(s->lanes, 0) ? 0 : ns);
    ppoll(items, 2, &t, NULL);
    lanes_wake(s->lanes);
    *fd_came = items[1].revents != 0;
}

bool worker_sockets_wait(struct worker_sockets *s, int fd, bool *fd_came, uint32_t greets, uint64_t ns)
{
    zmq_pollitem_t items[4 + PIPELINE_MAX_BROKERS + PIPELINE_MAX_REPLICAS];
    bool came = false;
    int n = 0, links;
    if (s->lanes && !waits_to_send(s, greets)) {
        wait_for_lanes(s, fd, fd_came, ns);
        return false;
    }
    if (fd >= 0)
        items[n++] = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    for (int i = 0; i < s->n_brokers; i++)
        items[n++] =
            (zmq_pollitem_t){.socket = s->control[i].socket,
                             .events = (short)(greets >> i & 1 ? ZMQ_POLLIN | ZMQ_POLLOUT : ZMQ_POLLIN)};
    if (s->jobs.socket)
        items[n++] = (zmq_pollitem_t){.socket = s->jobs.socket, .events = ZMQ_POLLIN};
    if (s->cache.socket)
        items[n++] = (zmq_pollitem_t){.socket = s->cache.socket, .events = ZMQ_POLLIN};
    if (s->lanes)
        items[n++] = (zmq_pollitem_t){.fd = lanes_fd(s->lanes), .events = ZMQ_POLLIN};
    links = n;
    for (int i = 0; i < s->n_next; i++)
        if (s->next[i].socket && !(s->reaches >> i & 1))
            items[n++] = (zmq_pollitem_t){.socket = s->next[i].socket, .events = ZMQ_POLLOUT};
    if (!s->lanes || lanes_sleep(s->lanes, 0))
        zmq_poll(items, n, (long)(((ns < NS_PER_S ? ns : NS_PER_S) + NS_PER_MS - 1) / NS_PER_MS));
    if (s->lanes)
        lanes_wake(s->lanes);
    look_at_all(s);
    *fd_came = fd >= 0 && items[0].revents;
    for (int i = links; i < n; i++)
        came = came || items[i].revents;
    return came;
}

static void turn_lanes(struct worker_sockets *s, uint64_t now)
{
    lanes_turn(s->lanes, now);
    if (lanes_heard(s->lanes))
        look_at_all(s);
}

void worker_sockets_await_verdicts(struct worker_sockets *s)
{
    if (s->lanes && !lanes_reach(s->lanes, DOOR_CACHE))
        link_look(&s->cache);
}

void worker_sockets_wait_cache(struct worker_sockets *s, uint64_t ns)
{
    struct pollfd fd[] = {{.fd = s->cache_fd, .events = POLLIN},
                          {.fd = s->lanes ? lanes_wake_fd(s->lanes) : -1, .events = POLLIN}};
    struct timespec t = timespec_of(ns);
    if (!s->lanes || lanes_sleep(s->lanes, ~(1u << DOOR_CACHE)))
        ppoll(fd, 2, &t, NULL);
    if (!s->lanes)
        return;
    lanes_wake(s->lanes);
    if (fd[0].revents)
        link_look(&s->cache);
    if (fd[1].revents)
        turn_lanes(s, clock_ns()); /* or it would not sleep next time */
}

void worker_sockets_heard(struct worker_sockets *s, int broker, uint64_t now)
{
    s->control[broker].mend.heard_ns = now;
}

void worker_sockets_mend(struct worker_sockets *s, uint64_t now)
{
    const struct pipeline *p = s->pipeline;
    for (int i = 0; i < s->n_brokers; i++) {
        link_mend_silent(&s->control[i], (uint64_t)p->broker.dead_after_ms * NS_PER_MS, now);
        link_mend(&s->results[i], now);
    }
    for (int i = 0; i < s->n_next; i++)
        link_mend(&s->next[i], now);
    link_mend(&s->cache, now);
}

/* All workers take the first broker's, so that they mean the same one. */
struct core_board *worker_sockets_board(const struct worker_sockets *s)
{
    for (int i = 0; i < s->n_brokers; i++)
        if (s->board[i])
            return s->board[i];
    return NULL;
}

static void take_boards(struct worker_sockets *s)
{
    struct error e;
    for (int i = 0; i < s->n_brokers; i++) {
        int fd = lanes_offered(s->lanes, DOOR_RESULTS + i);
        if (fd < 0)
            continue;
        core_board_free(s->board[i]);
        s->board[i] = NULL;
        if (s->pipeline->stage[s->stage].threads == 1 &&
            core_board_map(&s->board[i], fd, place(s->stage, s->replica), &e))
            log_warn("%s", e.text);
        close(fd);
    }
}

void worker_sockets_turn(struct worker_sockets *s, struct stage_brain *brain, uint64_t now)
{
    uint64_t epoch;
    uint32_t exits;
    int block;
    if (!s->lanes)
        return;
    turn_lanes(s, now);
    take_boards(s);
    if (!s->near)
        return;
    if ((block = lanes_offered(s->lanes, DOOR_CACHE)) >= 0) {
        near_cache_take(s->near, block);
        s->near_lane = lanes_reach(s->lanes, DOOR_CACHE);
    }
    if (near_cache_turn(s->near, &epoch, &exits))
        stage_brain_holds(brain, epoch, exits, now);
    if (s->near_lane && lanes_reach(s->lanes, DOOR_CACHE) == s->near_lane) /* not another service's */
        stage_brain_cache_lives(brain, now);
}
