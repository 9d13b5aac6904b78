/* service.c - sockets of the cache service and the loop over them */
#include "service.h"

#include <cblas.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "system/blas.h"
#include "base/clock.h"
#include "system/limits.h"
#include "base/log.h"
#include "system/notify.h"
#include "system/slice.h"
#include "cache_brain.h"
#include "cache_service/keep/keeper.h"
#include "wire/hello.h"
#include "wire/frame_limits.h"
#include "link/link.h"

enum { DOOR_LOOKUPS, DOOR_RESULTS }; /* and the results of the other brokers */

#define LOOKUP_BURST 64 /* look-ups between two looks at the other sockets */

struct service {
    const struct pipeline *p; /* borrowed */
    int index;
    void *context;
    int n_brokers;
    void *control[PIPELINE_MAX_BROKERS];
    struct mend mend[PIPELINE_MAX_BROKERS]; /* of `control` */
    struct link results[PIPELINE_MAX_BROKERS];
    struct lanes *lanes; /* NULL: switched off */
    struct link lookup;
    struct keeper *keeper;
    struct cache_brain *brain;
    struct cache_scratch *scratch;
    int no_block;      /* what workers are handed in place of caches that can't be shared; -1: nothing */
    uint64_t kept_ns;  /* when the file of `lookup` was looked at */
    uint64_t empty_ns; /* when no look-up waited in the socket */
    zmq_msg_t payload;
    struct message in, told; /* large: not on the stack */
};

/* --- what the brain sends and asks --- */

static int send_verdict(void *arg, const struct peer *to, const struct message *m)
{
    return link_send(&((struct service *)arg)->lookup, to, m, NULL);
}

static int send_result(void *arg, const struct message *m)
{
    struct service *s = arg;
    int broker = request_broker(m->result.request);
    return broker < s->n_brokers ? link_send(&s->results[broker], NULL, m, NULL) : FL_PROTOCOL;
}

static int send_control(void *arg, int broker, const struct message *m)
{
    return frames_send(((struct service *)arg)->control[broker], NULL, m, NULL);
}

static int look(void *arg, const struct snapshot *s, const struct lookup *in, const float *descriptors,
                struct cache_verdict *found)
{
    return cache_lookup(s->cache[in->exit], ((struct service *)arg)->scratch, descriptors, in->n, found);
}

static void push_update(void *arg, struct update *u)
{
    u->moment_ms = clock_wall_ms();
    keeper_push(((struct service *)arg)->keeper, u);
}

static void reload(void *arg)
{
    keeper_reload(((struct service *)arg)->keeper);
}

static void fill_heartbeat(void *arg, struct heartbeat *h)
{
    struct keeper_counters k = keeper_counters(((struct service *)arg)->keeper);
    h->jobs = k.applied;
    h->dropped = k.dropped;
    h->epoch = k.epoch;
    h->queued = k.queued;
    h->redis_up = k.redis_up;
    h->learning.state = k.state;
    h->learning.accepted = k.accepted;
    h->learning.rejected = k.rejected;
    memcpy(h->learning.redis_build, k.redis_build, sizeof k.redis_build);
    limits_use(&h->resident_bytes, &h->shared_bytes, &h->cpu_ms);
}

static uint64_t moment(void *arg)
{
    (void)arg;
    return clock_ns();
}

/* --- the sockets --- */

static void take_snapshot(struct service *s)
{
    struct snapshot *fresh = keeper_take(s->keeper);
    if (!fresh)
        return;
    if (s->lanes) /* before the one that was offered is let go of; without one, they would go on using that */
        lanes_offer(s->lanes, DOOR_LOOKUPS, fresh->block >= 0 ? fresh->block : s->no_block);
    keeper_give_back(s->keeper, cache_brain_swap(s->brain, fresh));
}

/* False when there may be more. */
static bool receive_lookups(struct service *s)
{
    for (int i = 0; i < LOOKUP_BURST; i++) {
        struct cache_arrival came = {.empty_ns = s->empty_ns, .taken_ns = clock_ns()};
        struct error e = {0};
        struct peer from;
        int rc = link_receive(&s->lookup, &from, &s->in, &s->payload, &e);
        if (rc == FL_AGAIN) {
            s->empty_ns = came.taken_ns;
            return true;
        }
        if (rc)
            cache_brain_garbage(s->brain, false, e.text, clock_ns());
        else
            cache_brain_lookup(s->brain, &from, &s->in, zmq_msg_data(&s->payload), &came, clock_ns());
    }
    return false;
}

/* What a broker tells of a request comes after the look-ups of that request, which may have come since they
 * were looked for: without them an outcome would find no descriptors. */
static void receive_control(struct service *s, int broker)
{
    for (int i = 0; i < LOOKUP_BURST; i++) {
        struct error e = {0};
        int rc = frames_recv(s->control[broker], NULL, &s->told, &s->payload, &e);
        if (rc == FL_AGAIN)
            return;
        if (rc) {
            cache_brain_garbage(s->brain, true, e.text, clock_ns());
            continue;
        }
        receive_lookups(s);
        s->mend[broker].heard_ns = clock_ns();
        cache_brain_control(s->brain, broker, &s->told, clock_ns());
    }
}

/* Connects again where libzmq does not. A broker replies to each heartbeat. */
static void mend(struct service *s)
{
    uint64_t now = clock_ns(), silent = (uint64_t)s->p->broker.dead_after_ms * NS_PER_MS;
    for (int i = 0; i < s->n_brokers; i++) {
        mend_socket(&s->mend[i], s->control[i], PARTY_BROKER, &s->p->security, silent, now);
        link_mend(&s->results[i], now);
    }
}

/* --- life --- */

static int connect_brokers(struct service *s, struct error *e)
{
    const struct pipeline *p = s->p;
    const struct socket_options results = {.high_water = p->broker.max_requests, .immediate = true};
    const struct socket_options control = {.max_bytes = FRAME_CONTROL_BYTES, .immediate = true};
    int rc = FL_OK;
    for (int i = 0; !rc && i < pipeline_brokers(p); i++, s->n_brokers = i) {
        struct broker_replica b = pipeline_broker(p, i);
        s->results[i] = (struct link){.lanes = s->lanes, .door = DOOR_RESULTS + i};
        if (!(rc = link_open(&s->results[i], s->context, ZMQ_PUSH, FRAMES_CONNECT, b.results, &results, NULL,
                             &p->security, e)))
            rc = frames_socket(&s->control[i], s->context, ZMQ_DEALER, FRAMES_CONNECT, b.control, &control,
                               &p->security, e);
    }
    return rc;
}

static int open_sockets(struct service *s, struct error *e)
{
    const struct pipeline *p = s->p;
    const struct socket_options lookup = {.high_water = 4096,
                                          .max_bytes = frame_lookup_bytes(p),
                                          .mandatory = true,
                                          .bind = p->bind,
                                          .also = pipeline_also(p, p->cache.endpoint[s->index])};
    const struct lane_options lane = {.in_bytes = 1 << 20};
    int rc;
    slice_short(true); /* this thread too: what it answers is waited for */
    s->context = zmq_ctx_new();
    if (!s->context)
        return error_set(e, FL_NOMEM, "no ZeroMQ context: %s", zmq_strerror(errno));
    if (p->shared_memory && (rc = lanes_new(&s->lanes, e)))
        return rc;
    if (p->shared_memory && strcmp(p->cache.placement, "service") &&
        (s->no_block = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        return error_set(e, FL_IO, "/dev/null cannot be opened: %s", strerror(errno));
    s->lookup = (struct link){.lanes = s->lanes, .door = DOOR_LOOKUPS, .gate = GATE_LOOKUPS};
    if ((rc = link_open(&s->lookup, s->context, ZMQ_ROUTER, FRAMES_BIND, p->cache.endpoint[s->index], &lookup,
                        &lane, &p->security, e)))
        return rc;
    return connect_brokers(s, e);
}

static int start(struct service *s, struct error *e)
{
    const struct cache_io io = {s,           send_verdict, send_result,    send_control, look,
                                push_update, reload,       fill_heartbeat, moment};
    struct cache_setup setup = {.pipeline = s->p};
    char id[17];
    int rc;
    hello_init(&setup.hello, ROLE_CACHE, 0, s->index);
    snprintf(setup.hello.engine, sizeof setup.hello.engine, "OpenBLAS %s, 1 thread", blas_core());
    setup.hello.ready = true;
    snprintf(id, sizeof id, "%016" PRIx64, setup.hello.incarnation);
    if (cache_scratch_new(&s->scratch, MESSAGE_MAX_BATCH))
        return error_set(e, FL_NOMEM, "out of memory");
    /* The endpoint first: a second process with the same index must not get at the files of the first. */
    if ((rc = open_sockets(s, e)) || (rc = cache_brain_new(&s->brain, &setup, &io, e)) ||
        (rc = keeper_new(&s->keeper, s->p, s->index, id, e)) || (rc = keeper_start(s->keeper, e)))
        return rc;
    take_snapshot(s);
    return FL_OK;
}

int service_new(struct service **out, const struct pipeline *p, int index, struct error *e)
{
    struct service *s;
    int rc;
    if (index < 0 || index >= p->cache.n_endpoints)
        return error_set(e, FL_USAGE, "--index %d: the pipeline has %d cache services (cache.endpoints)",
                         index, p->cache.n_endpoints);
    if (!(s = calloc(1, sizeof *s)))
        return error_set(e, FL_NOMEM, "out of memory");
    s->p = p;
    s->index = index;
    s->no_block = -1;
    zmq_msg_init(&s->payload);
    openblas_set_num_threads(1);
    if ((rc = start(s, e))) {
        service_free(s);
        return rc;
    }
    *out = s;
    return FL_OK;
}

static void say_goodbye(struct service *s)
{
    struct cache_counters c = cache_brain_counters(s->brain);
    struct keeper_counters k = keeper_counters(s->keeper);
    const struct lookups_counters *l = &c.lookups;
    cache_brain_goodbye(s->brain);
    log_info("ends: %" PRIu64 " look-ups in %" PRIu64 " batches (%.1f us each), %" PRIu64 " hits; %" PRIu64
             " updates accepted, %" PRIu64 " dropped, %" PRIu64 " applied here; audits %" PRIu64 ": %" PRIu64
             " would have hit, %" PRIu64 " of them right",
             l->items, l->batches, l->batches ? (double)c.busy_ns / 1e3 / (double)l->batches : 0.0, l->hits,
             k.accepted, k.dropped, k.applied, l->audits, l->audit_hits, l->audit_right);
}

/* Until a message or a signal comes, at most `ns`. A bit for each broker that has said something. */
static int wait_for_messages(struct service *s, int64_t ns, uint32_t *said, struct error *e)
{
    zmq_pollitem_t items[PIPELINE_MAX_BROKERS + 2];
    long ms = ns <= 0 ? 0 : (long)(ns / (int64_t)NS_PER_MS) + 1;
    int n = 0;
    for (; n < s->n_brokers; n++)
        items[n] = (zmq_pollitem_t){.socket = s->control[n], .events = ZMQ_POLLIN};
    items[n++] = (zmq_pollitem_t){.socket = s->lookup.socket, .events = ZMQ_POLLIN};
    if (s->lanes)
        items[n++] = (zmq_pollitem_t){.fd = lanes_fd(s->lanes), .events = ZMQ_POLLIN};
    if (s->lanes && !lanes_sleep(s->lanes, 0))
        ms = 0;
    if (zmq_poll(items, n, ms) < 0 && errno != EINTR)
        return error_set(e, FL_IO, "polling failed: %s", zmq_strerror(errno));
    if (s->lanes) {
        lanes_wake(s->lanes);
        lanes_turn(s->lanes, clock_ns());
    }
    *said = 0;
    for (int i = 0; i < s->n_brokers; i++)
        *said |= (uint32_t)(items[i].revents != 0) << i;
    return FL_OK;
}

int service_run(struct service *s, const volatile int *stop, const volatile int *hang_ups, struct error *e)
{
    const struct snapshot *loaded = cache_brain_snapshot(s->brain);
    int reloaded = *hang_ups, rc;
    bool drained = true;
    uint32_t said = 0;
    log_info("ready: cache %d on %s, %d caches, epoch %" PRIu64 ", OpenBLAS %s, 1 thread", s->index,
             s->p->cache.endpoint[s->index], loaded ? snapshot_caches(loaded) : 0,
             loaded ? snapshot_epoch(loaded) : 0, blas_core());
    notify_ready();
    while (!cache_brain_sent_away(s->brain) && !*stop) {
        uint64_t now = clock_ns();
        int64_t wait_ns = (int64_t)(cache_brain_tick(s->brain, now) - now);
        frames_keep_bound_now(s->lookup.socket, s->p->cache.endpoint[s->index], &s->kept_ns, now);
        if ((rc = wait_for_messages(s, wait_ns, &said, e)))
            return rc;
        if (drained)
            s->empty_ns = clock_ns(); /* until now: the poll returns when one comes */
        take_snapshot(s);
        drained = receive_lookups(s);
        for (int i = 0; i < s->n_brokers; i++)
            if (said >> i & 1)
                receive_control(s, i);
        mend(s);
        if (*hang_ups != reloaded) {
            reloaded = *hang_ups;
            log_info("reading the caches again");
            keeper_reload(s->keeper);
        }
    }
    say_goodbye(s);
    if (!cache_brain_sent_away(s->brain))
        return FL_OK;
    keeper_leave_files(s->keeper);
    return error_set(
        e, FL_STALE,
        "the broker sent this process away: another serves as cache %d, or the pipeline file has "
        "no such cache; it ends",
        s->index);
}

void service_free(struct service *s)
{
    if (!s)
        return;
    link_close(&s->lookup, 0);
    for (int i = 0; i < PIPELINE_MAX_BROKERS; i++) {
        link_close(&s->results[i], 200); /* hits that were said to be hits */
        frames_close(s->control[i], 200);
    }
    lanes_free(s->lanes);
    if (s->no_block >= 0)
        close(s->no_block);
    if (s->context)
        zmq_ctx_term(s->context);
    zmq_msg_close(&s->payload);
    keeper_free(s->keeper);
    cache_brain_free(s->brain);
    cache_scratch_free(s->scratch);
    free(s);
}
