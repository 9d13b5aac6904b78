/* worker.c - the body of a stage worker: its start, its loop and its end
 *
 * Two threads take turns at the brain and the sockets, under one lock. The first one reads messages, does
 * what the brain wishes, and gives the lock up while it is inside a node or sleeps; between nodes it takes it
 * to look at verdicts and, now and then, at all other sockets. While a node takes long, the pulse talks with
 * the broker.
 */
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/limits.h"
#include "base/log.h"
#include "system/notify.h"
#include "system/slice.h"
#include "pulse.h"
#include "stage_layers.h"
#include "wire/accept.h"
#include "wire/frames.h"
#include "wire/hello.h"
#include "worker_sockets.h"

#define CONNECTIONS   64                /* of brokers and workers, at most */
#define THREADS       6                 /* libzmq's two, the pulse, caches' checking, some to spare */
#define LOOK_EVERY_NS (200 * NS_PER_US) /* while computing: at jobs, cancellations, heartbeats */
#define HOLD_LOOK_NS  (10 * NS_PER_MS)  /* the same while a batch is held back */

struct stage_worker {
    const struct pipeline *pipeline; /* borrowed */
    const struct stage_config *config;
    struct stage_setup setup;
    struct stage_layers *layers;
    int after_fd; /* pidfd of the process whose place is waited for; -1 = none */
    pthread_mutex_t lock;
    struct pulse *pulse;

    /* under the lock */
    struct stage_brain *brain;
    struct worker_sockets sockets;
    bool computing;
    uint64_t node_ns;       /* when the node that is being computed began */
    uint64_t looked_ns;     /* when all sockets were last looked at */
    uint64_t kept_ns;       /* when the file of the endpoint was last looked at */
    uint64_t due_ns;        /* when the brain wants to be told of the time again */
    uint64_t jobs_empty_ns; /* when no job waited in the socket */
    struct message in;      /* scratch: what came */
    struct message verdict;
    zmq_msg_t payload; /* scratch: what came with `in` */
};

/* --- messages in, with the lock --- */

static void receive_jobs(struct stage_worker *w)
{
    struct error e;
    while (w->sockets.jobs.socket && stage_brain_room(w->brain) > 0) {
        uint64_t taken_ns = clock_ns();
        int rc = link_receive(&w->sockets.jobs, NULL, &w->in, &w->payload, &e);
        if (rc == FL_AGAIN)
            w->jobs_empty_ns = taken_ns;
        if (rc == FL_AGAIN || rc == FL_IO)
            return;
        if (rc)
            stage_brain_garbage(w->brain, "jobs socket", &e, taken_ns);
        else
            stage_brain_job(w->brain, &w->in, &w->payload, w->jobs_empty_ns, taken_ns, clock_ns());
    }
}

/* Returns how many came. */
static int receive_verdicts(struct stage_worker *w)
{
    struct error e;
    int n = 0, rc;
    worker_sockets_await_verdicts(&w->sockets);
    for (; w->sockets.cache.socket; n++) {
        rc = link_receive(&w->sockets.cache, NULL, &w->verdict, &w->payload, &e);
        if (rc == FL_AGAIN || rc == FL_IO)
            break;
        if (rc)
            stage_brain_garbage(w->brain, "cache socket", &e, clock_ns());
        else
            stage_brain_verdict(w->brain, &w->verdict, clock_ns());
    }
    return n;
}

static void hear(struct stage_worker *w, int broker, uint64_t now)
{
    struct error e;
    int rc;
    while ((rc = link_receive(&w->sockets.control[broker], NULL, &w->in, &w->payload, &e)) != FL_AGAIN &&
           rc != FL_IO) {
        if (!rc && w->in.type == MESSAGE_CANCEL && w->in.cancel.n_ask) {
            link_look(&w->sockets.cache); /* a hit that is asked for may lie in the socket */
            receive_verdicts(w);
        }
        if (rc)
            stage_brain_garbage(w->brain, "control socket", &e, now);
        else {
            worker_sockets_heard(&w->sockets, broker, now);
            stage_brain_control(w->brain, broker, &w->in, clock_ns());
        }
    }
}

/* Hears the brokers and tells them what is due. */
static void talk(struct stage_worker *w, uint64_t now)
{
    w->looked_ns = now;
    worker_sockets_turn(&w->sockets, w->brain, now);
    if (w->sockets.jobs.socket)
        frames_keep_bound_now(w->sockets.jobs.socket, w->config->replica[w->sockets.replica].endpoint,
                              &w->kept_ns, now);
    if (w->kept_ns == now)
        link_look(&w->sockets.jobs);
    for (int i = 0; i < w->sockets.n_brokers; i++)
        hear(w, i, now);
    worker_sockets_mend(&w->sockets, now);
    w->due_ns = stage_brain_tick(w->brain, now);
}

static void talk_and_listen(struct stage_worker *w)
{
    talk(w, clock_ns());
    receive_verdicts(w);
}

/* --- computing --- */

/* Between nodes. Stops a run that nobody needs. */
static int after_node(void *arg, int node)
{
    struct stage_worker *w = arg;
    int stop;
    (void)node;
    pthread_mutex_lock(&w->lock);
    if (stage_brain_asking(w->brain))
        receive_verdicts(w);
    w->node_ns = clock_ns();
    if (stage_brain_gives_way(w->brain))
        receive_jobs(w);
    if (w->node_ns - w->looked_ns >= LOOK_EVERY_NS) {
        receive_jobs(w);
        talk(w, w->node_ns);
    }
    stop = !stage_brain_needs(w->brain);
    pthread_mutex_unlock(&w->lock);
    return stop;
}

static uint64_t milliseconds(int ms)
{
    return (uint64_t)ms * NS_PER_MS;
}

/* When the pulse looks whether a heartbeat is due: a little later, so that between short nodes the computing
 * thread sends it. */
static uint64_t next_beat(const struct stage_worker *w, uint64_t now)
{
    uint64_t every = milliseconds(w->pipeline->broker.heartbeat_ms);
    return (w->due_ns < now + every ? w->due_ns : now + every) + every / 4;
}

/* In the pulse's thread. Nobody vouches for a node that seems to hang: the broker must find out. */
static uint64_t beat(void *arg)
{
    struct stage_worker *w = arg;
    uint64_t now = clock_ns(), hung = milliseconds(w->pipeline->broker.hung_after_ms);
    if (!w->computing)
        return PULSE_REST;
    if (now >= w->due_ns && (!hung || now < w->node_ns + hung))
        talk(w, now);
    return next_beat(w, now);
}

/* After the last segment a batch is handed on. Whoever is woken by that may have this core, if nothing is
 * left to do.
 */
static void let_core_go(struct stage_worker *w, int segment)
{
    struct core_board *board = worker_sockets_board(&w->sockets);
    if (!board || segment + 1 < w->setup.n_segments)
        return;
    receive_jobs(w);
    if (!stage_brain_waiting(w->brain))
        core_board_rest(board);
}

static void compute(struct stage_worker *w, const struct stage_wish *wish)
{
    struct error e;
    int rc;
    w->computing = true;
    w->node_ns = clock_ns();
    pulse_begin(w->pulse, next_beat(w, w->node_ns));
    core_board_compute(worker_sockets_board(&w->sockets));
    pthread_mutex_unlock(&w->lock);
    rc = stage_layers_run(w->layers, wish->segment, wish->n, after_node, w, &e);
    pthread_mutex_lock(&w->lock);
    w->computing = false;
    let_core_go(w, wish->segment);
    stage_brain_computed(w->brain, rc, e.text, clock_ns());
}

/* --- waiting, without the lock --- */

static void wait_for_messages(struct stage_worker *w, uint64_t until_ns, bool *place_is_free)
{
    uint64_t now = clock_ns();
    uint32_t greets = stage_brain_must_greet(w->brain);
    bool link;
    if (until_ns <= now)
        return;
    core_board_rest(worker_sockets_board(&w->sockets));
    pthread_mutex_unlock(&w->lock);
    link = worker_sockets_wait(&w->sockets, w->after_fd, place_is_free, greets, until_ns - now);
    pthread_mutex_lock(&w->lock);
    w->jobs_empty_ns = clock_ns(); /* until now: the poll returns when one comes */
    if (link)
        stage_brain_look(w->brain);
}

static void hold(struct stage_worker *w, uint64_t until_ns)
{
    uint64_t now = clock_ns();
    if (now - w->looked_ns >= HOLD_LOOK_NS)
        talk(w, now); /* a long wait is no death */
    if (receive_verdicts(w) || now >= until_ns)
        return;
    until_ns = until_ns < now + HOLD_LOOK_NS ? until_ns : now + HOLD_LOOK_NS;
    core_board_rest(worker_sockets_board(&w->sockets));
    pthread_mutex_unlock(&w->lock);
    worker_sockets_wait_cache(&w->sockets, until_ns - now);
    pthread_mutex_lock(&w->lock);
}

/* --- start and end --- */

/* What the process needs of its host, before anything is opened that would abort, or quietly be another
 * thing, without.
 */
static int check_limits(const struct stage_worker *w, struct error *e)
{
    const struct replica_config *c = &w->config->replica[w->sockets.replica];
    int threads = w->config->threads, rc = c->n_cpus ? limits_pin(c->cpu, c->n_cpus, e) : FL_OK;
    struct stat model;

    if (rc || (rc = accept_prepare(CONNECTIONS, NULL, threads + THREADS, e)))
        return rc;
    if (threads > limits_cpus())
        log_warn("%d threads are asked for and may run on %d cpus: they take turns (stages.%d.threads)",
                 threads, limits_cpus(), w->sockets.stage);
    return stat(w->pipeline->model, &model) ? FL_OK
                                            : limits_check_memory(model.st_size, w->pipeline->model, e);
}

static void log_ready(const struct stage_worker *w)
{
    log_info("ready: stage %d replica %d on %s, batches up to %d, %s, weights %.1f MB, arena %.1f MB",
             w->sockets.stage, w->sockets.replica, w->config->replica[w->sockets.replica].endpoint,
             w->setup.max_batch, w->setup.self.engine, (double)stage_layers_weight_bytes(w->layers) / 1e6,
             (double)stage_layers_arena_bytes(w->layers) / 1e6);
    notify_ready();
}

/* A pid may be used again; a descriptor means the process that had it now. One that is gone is not waited
 * for. */
static int open_predecessor(struct stage_worker *w, pid_t after, struct error *e)
{
    w->after_fd = after ? (int)syscall(SYS_pidfd_open, after, 0) : -1;
    w->setup.self.ready = w->after_fd < 0;
    if (after && w->after_fd < 0 && errno != ESRCH)
        return error_set(e, FL_USAGE, "--after %d: %s", (int)after, strerror(errno));
    return w->setup.self.ready ? worker_sockets_bind(&w->sockets, w->setup.max_batch,
                                                     (size_t)tensor_bytes(&w->setup.expects), e)
                               : FL_OK;
}

static uint64_t moment(void *arg)
{
    (void)arg;
    return clock_ns();
}

static void use(void *arg, struct heartbeat *beat)
{
    (void)arg;
    limits_use(&beat->resident_bytes, &beat->shared_bytes, &beat->cpu_ms);
}

static uint64_t idle_ns(void *arg)
{
    (void)arg;
    return limits_idle_ns();
}

/* The threads that move messages start here and take short turns; the one that computes has the usual ones.
 */
static int open_links(struct stage_worker *w, pid_t after, struct error *e)
{
    struct stage_io io = {.moment = moment, .use = use, .idle_ns = idle_ns};
    struct stage_engine engine = stage_layers_engine(w->layers);
    bool asks = w->setup.segment[0].exit >= 0 && w->pipeline->cache.n_endpoints > 0;
    int rc;
    slice_short(true);
    if (!(rc = worker_sockets_open(&w->sockets, asks ? &w->setup : NULL, e)))
        rc = open_predecessor(w, after, e);
    if (!rc)
        rc = pulse_new(&w->pulse, &w->lock, beat, w, e);
    slice_short(false);
    worker_sockets_io(&w->sockets, &io);
    stage_layers_place(w->layers, worker_sockets_place, &w->sockets);
    if (!rc && (rc = stage_brain_new(&w->brain, &w->setup, &io, &engine)))
        rc = error_set(e, rc, "out of memory");
    return rc;
}

int stage_worker_new(struct stage_worker **out, const struct pipeline *p, int stage, int replica, pid_t after,
                     struct error *e)
{
    struct stage_worker *w;
    int rc;

    if (stage < 0 || stage >= p->n_stages)
        return error_set(e, FL_USAGE, "--stage %d: %s has stages 0 to %d", stage, p->path, p->n_stages - 1);
    if (replica < 0 || replica >= p->stage[stage].n_replicas)
        return error_set(e, FL_USAGE, "--replica %d: stage %d has replicas 0 to %d", replica, stage,
                         p->stage[stage].n_replicas - 1);
    if (!(w = calloc(1, sizeof *w)))
        return error_set(e, FL_NOMEM, "out of memory");
    w->pipeline = w->setup.pipeline = p;
    w->config = &p->stage[stage];
    w->sockets = (struct worker_sockets){.pipeline = p, .stage = stage, .replica = replica};
    w->after_fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    zmq_msg_init(&w->payload);
    hello_init(&w->setup.self, ROLE_STAGE, stage, replica);
    hello_tell_place(&w->setup.self, p);
    if ((rc = check_limits(w, e)) || (rc = stage_layers_new(&w->layers, p, stage, &w->setup, e)) ||
        (rc = open_links(w, after, e))) {
        stage_worker_free(w);
        return rc;
    }
    w->due_ns = stage_brain_tick(w->brain, clock_ns()); /* says hello */
    if (w->setup.self.ready)
        log_ready(w);
    else
        log_info("loaded: waits for pid %d to end, then takes its place", (int)after);
    *out = w;
    return FL_OK;
}

void stage_worker_free(struct stage_worker *w)
{
    if (!w)
        return;
    pulse_free(w->pulse);
    if (w->brain)
        stage_brain_goodbye(w->brain);
    stage_brain_free(w->brain);
    if (w->after_fd >= 0)
        close(w->after_fd);
    worker_sockets_close(&w->sockets);
    stage_layers_free(w->layers);
    zmq_msg_close(&w->payload);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

static int take_place(struct stage_worker *w, struct error *e)
{
    int rc = worker_sockets_bind(&w->sockets, w->setup.max_batch, (size_t)tensor_bytes(&w->setup.expects), e);
    if (rc)
        return rc;
    close(w->after_fd);
    w->after_fd = -1;
    stage_brain_ready(w->brain);
    log_ready(w);
    return FL_OK;
}

int stage_worker_run(struct stage_worker *w, const volatile int *stop, struct error *e)
{
    struct stage_wish wish = {.what = STAGE_WAIT};
    bool place_is_free = false, talked = false; /* since it last slept or computed */
    int rc = FL_OK;

    pthread_mutex_lock(&w->lock);
    while (!rc && wish.what != STAGE_END) {
        if (!stage_brain_busy(w->brain)) {
            receive_jobs(w);
            stage_brain_stop(w->brain, *stop);
        }
        wish = stage_brain_next(w->brain, clock_ns());
        if (wish.what == STAGE_COMPUTE)
            compute(w, &wish); /* a failure is told to the broker, request by request */
        else if (wish.what == STAGE_HOLD)
            hold(w, wish.until_ns);
        else if (wish.what == STAGE_WAIT && !talked)
            talk_and_listen(w); /* jobs come first */
        else if (wish.what == STAGE_WAIT)
            wait_for_messages(w, wish.until_ns, &place_is_free);
        talked = wish.what == STAGE_WAIT && !talked;
        if (place_is_free)
            rc = take_place(w, e);
        place_is_free = false;
    }
    pthread_mutex_unlock(&w->lock);
    return rc ? rc : stage_brain_reason(w->brain, e);
}
