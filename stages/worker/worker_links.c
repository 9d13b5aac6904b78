/* worker_links.c - the worker's sockets and its talk with the broker */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "worker_parts.h"

#define GOODBYE_MS        500
#define LOG_GARBAGE_EVERY 1000
#define LEAVE_NS          (4 * NS_PER_S)   /* less than a supervisor's patience */
#define LOOK_AT_LINKS_NS  (10 * NS_PER_MS) /* at those that are not there */

static int connect_to(struct stage_worker *w, void **socket, int type, const char *endpoint, int high_water,
                      bool immediate, struct error *e)
{
    struct socket_options o = {.high_water = high_water, .immediate = immediate};
    return frames_socket(socket, w->context, type, FRAMES_CONNECT, endpoint, &o, w->pipeline->security, e);
}

/* High-water marks: with at most max_requests admitted, that many activations exist; stage 0 is fed by the
 * broker, which keeps what does not fit. */
int worker_bind(struct stage_worker *w, struct error *e)
{
    struct socket_options jobs = {.high_water =
                                      w->stage ? w->pipeline->broker.max_requests + 16 : 2 * w->max_batch,
                                  .bind = w->pipeline->bind};
    return frames_socket(&w->jobs, w->context, ZMQ_PULL, FRAMES_BIND, w->config->endpoint, &jobs,
                         w->pipeline->security, e);
}

/* A pid may be used again; a descriptor means the process that had it now. One that is gone is not waited
 * for. */
static int open_predecessor(struct stage_worker *w, pid_t after, struct error *e)
{
    w->after_fd = after ? (int)syscall(SYS_pidfd_open, after, 0) : -1;
    w->ready = w->after_fd < 0;
    if (after && w->ready && errno != ESRCH)
        return error_set(e, FL_USAGE, "--after %d: %s", (int)after, strerror(errno));
    return w->ready ? worker_bind(w, e) : FL_OK;
}

int worker_open_links(struct stage_worker *w, pid_t after, struct error *e)
{
    const struct pipeline *p = w->pipeline;
    int many = p->broker.max_requests + 16, rc;
    size_t size = sizeof w->cache_fd;

    if (getrandom(&w->incarnation, sizeof w->incarnation, 0) != sizeof w->incarnation || !w->incarnation)
        w->incarnation = clock_ns();
    if (!(w->context = zmq_ctx_new()))
        return error_set(e, FL_NOMEM, "out of memory");
    if ((rc = open_predecessor(w, after, e)) ||
        (rc = connect_to(w, &w->control, ZMQ_DEALER, p->broker.control, 1000, true, e)) ||
        (rc = connect_to(w, &w->results, ZMQ_PUSH, p->broker.results, many, false, e)))
        return rc;
    for (int i = 0; !w->last_stage && i < p->stage[w->stage + 1].n_replicas; i++, w->n_next++)
        if ((rc = connect_to(w, &w->next[i], ZMQ_PUSH, p->stage[w->stage + 1].replica[i].endpoint, many, true,
                             e)))
            return rc;
    if (w->segment[0].exit < 0 || !p->cache.n_endpoints)
        return FL_OK;
    if ((rc = connect_to(w, &w->cache, ZMQ_DEALER, p->cache.endpoint[w->config->cache], 64, true, e)))
        return rc;
    if (zmq_getsockopt(w->cache, ZMQ_FD, &w->cache_fd, &size))
        return error_set(e, FL_INTERNAL, "the cache socket has no descriptor: %s", zmq_strerror(errno));
    return FL_OK;
}

static void close_socket(void *socket, int linger_ms)
{
    if (!socket)
        return;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(socket);
}

void worker_close_links(struct stage_worker *w)
{
    if (w->ready && (w->leaving || !w->sent_away))
        worker_say_hello(w, false);
    if (w->after_fd > 0)
        close(w->after_fd);
    close_socket(w->control, GOODBYE_MS);
    close_socket(w->results, GOODBYE_MS);
    for (int i = 0; i < w->n_next; i++)
        close_socket(w->next[i], GOODBYE_MS);
    close_socket(w->cache, 0);
    close_socket(w->jobs, 0);
    if (w->context)
        zmq_ctx_term(w->context);
}

uint64_t worker_broker_time(const struct stage_worker *w, uint64_t local_ns)
{
    return w->remote ? local_ns + (uint64_t)offset_ns(&w->offset) : local_ns;
}

void worker_garbage(struct stage_worker *w, const char *socket, const struct error *e)
{
    if (w->counts.garbage++ % LOG_GARBAGE_EVERY == 0)
        log_warn("%s socket: %s (%llu malformed messages so far)", socket, e->text,
                 (unsigned long long)w->counts.garbage);
}

/* The replicas of the next stage that a job could be sent to now. */
static uint32_t look_at_links(struct stage_worker *w)
{
    uint32_t reaches = REACHES_TOLD;
    w->reached_ns = clock_ns();
    for (int i = 0; i < w->n_next; i++) {
        int events = 0;
        size_t size = sizeof events;
        if (!zmq_getsockopt(w->next[i], ZMQ_EVENTS, &events, &size) && (events & ZMQ_POLLOUT))
            reaches |= 1u << i;
    }
    return w->last_stage ? 0 : reaches;
}

void worker_say_hello(struct stage_worker *w, bool ready)
{
    struct hello *h = &w->out.hello;
    memset(h, 0, sizeof *h);
    w->out.type = MESSAGE_HELLO;
    h->role = ROLE_STAGE;
    h->stage = (uint32_t)w->stage;
    h->replica = (uint32_t)w->replica;
    h->incarnation = w->incarnation;
    h->pid = (uint64_t)getpid();
    gethostname(h->host, sizeof h->host - 1);
    clock_boot_id(h->boot_id, sizeof h->boot_id);
    memcpy(h->model, w->model, sizeof h->model);
    memcpy(h->identity, w->identity, sizeof h->identity);
    memcpy(h->plan, w->plan, sizeof h->plan);
    memcpy(h->engine, w->engine, sizeof h->engine);
    h->ready = ready;
    h->leaving = w->leaving;
    h->reaches = w->reaches = look_at_links(w);
    if (frames_send(w->control, NULL, &w->out, NULL) == FL_OK)
        w->hello_ns = clock_ns();
}

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0;
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (sscanf(text, "%*u %lu", &pages) != 1)
        pages = 0;
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* `worker_ns`: this host's clock, for the echo; 0: no echo is wanted. */
static void send_heartbeat(struct stage_worker *w, uint64_t worker_ns)
{
    struct heartbeat *h = &w->out.heartbeat;
    memset(h, 0, sizeof *h);
    w->out.type = MESSAGE_HEARTBEAT;
    h->incarnation = w->incarnation;
    h->worker_ns = worker_ns;
    h->jobs = w->counts.jobs;
    h->lookups = w->counts.lookups;
    h->hits = w->counts.hits;
    h->batches = w->counts.batches;
    h->dropped = w->counts.dropped;
    h->resident_bytes = w->resident_bytes;
    h->queued = (uint32_t)w->n_waiting;
    h->cache_open = w->cache && !breaker_is_open(&w->breaker);
    h->clock_error_ns = offset_error_ns(&w->offset);
    h->taken = w->taken;
    h->batch = (uint32_t)w->max_batch;
    h->reaches = w->reaches;
    frames_send(w->control, NULL, &w->out, NULL);
}

void worker_tell_taken(struct stage_worker *w)
{
    send_heartbeat(w, 0);
}

/* A remote worker needs its clock's offset before its first job: ask a few times in a row. */
uint64_t worker_next_heartbeat(const struct stage_worker *w)
{
    uint64_t every = (uint64_t)w->pipeline->broker.heartbeat_ms * NS_PER_MS;
    if (w->remote && w->offset.n < OFFSET_SAMPLES && every > 10 * NS_PER_MS)
        every = 10 * NS_PER_MS;
    return w->hello_ns ? w->heartbeat_ns + every : UINT64_MAX;
}

/* A link that came or broke is told at once, so that nothing is sent over one that is not there. */
static bool links_changed(struct stage_worker *w, uint64_t now)
{
    uint32_t before = w->reaches, all = REACHES_TOLD | ((1u << w->n_next) - 1);
    if (w->last_stage || (w->reached_ns && (before == all || now - w->reached_ns < LOOK_AT_LINKS_NS)))
        return false;
    return (w->reaches = look_at_links(w)) != before;
}

static void on_echo(struct stage_worker *w, const struct heartbeat *h)
{
    if (h->worker_ns)
        offset_add(&w->offset, h->worker_ns, h->broker_ns, clock_ns());
    else
        w->heartbeat_ns = 0; /* no echo: the broker asks for one */
    w->exits_told = h->exits_told;
    w->exits = h->exits;
}

/* The broker's hello, again for each of ours. Its clock is learned anew only from another broker. */
static void on_hello(struct stage_worker *w, const struct hello *h)
{
    bool other = h->incarnation != w->broker, waits = !h->ready;
    char mine[MESSAGE_NAME_BYTES];
    if (!other && waits == w->waits)
        return;
    w->waits = waits;
    if (waits)
        log_info("the pipeline serves another plan than this worker has");
    else
        log_info("the broker (pid %llu on %s) has accepted this worker", (unsigned long long)h->pid, h->host);
    if (!other)
        return;
    clock_boot_id(mine, sizeof mine);
    w->broker = h->incarnation;
    w->remote = !clock_is_shared(mine, h->boot_id);
    memset(&w->offset, 0, sizeof w->offset);
    if (w->remote)
        log_info("the broker has another clock: it is learned");
}

/* Some are answered: they need no more work. Of others the broker has heard nothing and asks whether they
 * were hits. */
static void on_cancel(struct stage_worker *w)
{
    const struct cancel c = w->in.cancel;
    const struct told_hit *h;
    for (int i = 0; i < c.n; i++)
        cancel_set_add(&w->cancelled, c.request[i]);
    if (c.n_ask && w->cache)
        worker_receive_verdicts(w); /* it may lie in the socket */
    for (int i = 0; i < c.n_ask; i++)
        if ((h = hit_log_find(&w->hits, c.ask[i])))
            worker_send_hit(w, h);
}

static void on_control(struct stage_worker *w)
{
    w->heard_ns = clock_ns();
    switch (w->in.type) {
    case MESSAGE_CANCEL:
        on_cancel(w);
        break;
    case MESSAGE_HEARTBEAT:
        if (w->in.heartbeat.incarnation != w->incarnation)
            worker_say_hello(w, w->ready); /* the broker is another one now */
        else
            on_echo(w, &w->in.heartbeat);
        break;
    case MESSAGE_HELLO:
        on_hello(w, &w->in.hello);
        break;
    case MESSAGE_DRAIN:
        w->sent_away = true;
        break;
    default:
        worker_garbage(w, "control", &(struct error){FL_PROTOCOL, "a message that does not belong here"});
    }
}

bool worker_hears_broker(const struct stage_worker *w, uint64_t now)
{
    uint64_t patience = (uint64_t)w->pipeline->broker.dead_after_ms * NS_PER_MS;
    int events = 0;
    size_t size = sizeof events;
    return w->broker && now - w->heard_ns <= patience &&
           !zmq_getsockopt(w->control, ZMQ_EVENTS, &events, &size) && (events & ZMQ_POLLOUT);
}

/* The broker gives it no more requests and tells it to end once nothing is left that is to pass through it.
 */
void worker_leave(struct stage_worker *w)
{
    w->leaving = true;
    w->leave_by_ns = clock_ns() + LEAVE_NS;
    worker_say_hello(w, true);
    log_info("leaving: takes no more requests, finishes what it has");
}

/* Who is connected stays so, but nobody new could send jobs to a socket whose file someone removed. */
static void keep_bound(struct stage_worker *w, uint64_t now)
{
    struct error e;

    if (now < w->kept_ns + NS_PER_S)
        return;
    w->kept_ns = now;
    if (frames_keep_bound(w->jobs, w->config->endpoint, &e))
        log_warn("%s", e.text);
}

void worker_poll_control(struct stage_worker *w, uint64_t now)
{
    struct error e;
    int rc;
    if (w->jobs)
        keep_bound(w, now);
    if (!w->hello_ns)
        worker_say_hello(w, w->ready);
    while ((rc = frames_recv(w->control, NULL, &w->in, &w->payload, &e)) != FL_AGAIN && rc != FL_IO) {
        if (rc == FL_OK)
            on_control(w);
        else
            worker_garbage(w, "control", &e);
    }
    if (!w->hello_ns)
        return;
    if (now >= worker_next_heartbeat(w)) {
        worker_send_spans(w); /* first: who has the heartbeat has them */
        w->resident_bytes = resident_bytes();
        w->reaches = look_at_links(w);
        send_heartbeat(w, now);
        w->heartbeat_ns = now;
    } else if (links_changed(w, now)) {
        send_heartbeat(w, 0);
    }
}
