/* service.c - sockets of the cache service and the loop over them */
#include "service.h"

#include <cblas.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/arrival.h"
#include "base/blas.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"
#include "control.h"
#include "keeper.h"
#include "lookups.h"
#include "wire/frames.h"
#include "wire/span_log.h"

#define LOOKUP_BURST 64 /* look-ups between two looks at the other sockets */
#define SAY_NS       (5 * NS_PER_S)
#define SPANS        4096 /* of traced requests, until the next heartbeat */

/* At most one line per SAY_NS about a thing that others can make happen at will. */
struct mishap {
    uint64_t count, said, next_ns;
};

struct service {
    const struct pipeline *p; /* borrowed */
    int index;
    void *context, *lookup, *results, *control;
    struct keeper *keeper;
    struct lookups *lookups;
    struct control broker;
    struct hello hello;           /* what this process says of itself */
    uint8_t stages[DIGEST_BYTES]; /* identity of the stage workers, as the broker told last */
    struct mishap garbage, control_garbage, refused, undelivered;
    bool sent_away;           /* by the broker */
    uint64_t kept_ns;         /* when the file of `lookup` was looked at */
    uint64_t lookup_empty_ns; /* when no look-up waited in the socket */
    struct span_log spans;
    zmq_msg_t payload;
    struct message in, out; /* large: not on the stack */
};

static void say(enum log_level level, struct mishap *m, const char *what, const char *text, uint64_t now)
{
    m->count++;
    if (now < m->next_ns)
        return;
    m->next_ns = now + SAY_NS;
    log_at(level, 0, "%s: %s (%" PRIu64 " times since the last such line)", what, text, m->count - m->said);
    m->said = m->count;
}

static void mishap(struct mishap *m, const char *what, const char *text, uint64_t now)
{
    say(LOG_LEVEL_WARN, m, what, text, now);
}

/* --- look-ups --- */

/* Sends each hit to the broker. One that can't be sent becomes a miss, so that the request goes on through
 * the layers. */
static void send_hits(struct service *s, const struct lookup *in, struct verdict *v,
                      const struct arrival *came, uint64_t now)
{
    uint64_t sent_ns = control_broker_ns(&s->broker, now);
    for (int i = 0; i < v->n; i++) {
        int rc;
        if (!v->item[i].hit)
            continue;
        s->out.type = MESSAGE_RESULT;
        lookups_result(&in->item[i], v, i, sent_ns, &s->out.result);
        s->out.result.lookup_wire_ns = came->wire_ns;
        s->out.result.lookup_queue_ns = came->queue_ns;
        if ((rc = frames_send(s->results, NULL, &s->out, NULL))) {
            v->item[i].hit = false;
            lookups_undo_hit(s->lookups);
            mishap(&s->undelivered, "a hit could not be sent to the broker and counts as a miss",
                   error_sentence(rc), now);
        }
    }
}

/* Notes what passed for the traced requests of a look-up. Times are this host's. */
static void note_spans(struct service *s, const struct lookup *in, const struct verdict *v,
                       const struct arrival *came, uint64_t taken_ns, uint64_t done_ns)
{
    uint64_t taken = control_broker_ns(&s->broker, taken_ns), done = control_broker_ns(&s->broker, done_ns);
    uint64_t came_ns = taken - came->queue_ns;
    for (int i = 0; i < in->n; i++) {
        const struct lookup_item *item = &in->item[i];
        int32_t exit = (int32_t)in->exit;
        if (!(item->flags & JOB_TRACE))
            continue;
        span_log_note(&s->spans, SPAN_WIRE, item->request, item->attempt, exit, came_ns - came->wire_ns,
                      came_ns);
        span_log_note(&s->spans, SPAN_QUEUE, item->request, item->attempt, exit, came_ns, taken);
        span_log_note(&s->spans, v->item[i].hit ? SPAN_HIT : SPAN_MISS, item->request, item->attempt, exit,
                      taken, done);
    }
}

/* `taken_ns`: before the socket was asked. Decoding is a part of serving it. */
static void on_lookup(struct service *s, const struct peer *from, uint64_t taken_ns)
{
    static struct verdict v; /* one look-up thread; large */
    struct error e = {0};
    uint64_t now = clock_ns();
    struct arrival came =
        arrival_of(s->in.lookup.sent_ns, control_broker_ns(&s->broker, s->lookup_empty_ns),
                   control_broker_ns(&s->broker, taken_ns), control_broker_ns(&s->broker, now));
    taken_ns = now - came.decode_ns;
    if (lookups_answer(s->lookups, &s->in.lookup, zmq_msg_data(&s->payload), now,
                       control_broker_ns(&s->broker, now), &v, &e))
        say(LOG_LEVEL_ERROR, &s->refused, "look-ups answered as misses", e.text, now);
    now = clock_ns();
    v.lookup_ns = now - taken_ns;
    send_hits(s, &s->in.lookup, &v, &came, now);
    note_spans(s, &s->in.lookup, &v, &came, taken_ns, now);
    s->out.type = MESSAGE_VERDICT;
    s->out.verdict = v;
    if (frames_send(s->lookup, from, &s->out, NULL))
        return; /* the stage is gone or does not read: it has stopped waiting for this verdict */
}

static void take_snapshot(struct service *s)
{
    struct snapshot *fresh = keeper_take(s->keeper);
    if (!fresh)
        return;
    if (control_tell(&s->hello, fresh))
        control_changed(&s->broker);
    keeper_give_back(s->keeper, lookups_swap(s->lookups, fresh));
}

/* False when there may be more. */
static bool receive_lookups(struct service *s)
{
    for (int i = 0; i < LOOKUP_BURST; i++) {
        struct error e = {0};
        struct peer from;
        uint64_t taken_ns = clock_ns();
        int rc = frames_recv(s->lookup, &from, &s->in, &s->payload, &e);
        if (rc == FL_AGAIN) {
            s->lookup_empty_ns = taken_ns;
            return true;
        }
        if (!rc && s->in.type != MESSAGE_LOOKUP)
            rc = error_set(&e, FL_PROTOCOL, "a message of type %d, no look-up", (int)s->in.type);
        if (rc)
            mishap(&s->garbage, "look-up socket", e.text, clock_ns());
        else
            on_lookup(s, &from, taken_ns);
    }
    return false;
}

/* --- the broker --- */

static void push_update(void *arg, struct update *u)
{
    keeper_push(arg, u);
}

/* The stages may have moved on to another model since the caches in use were built. */
static void on_welcome(struct service *s, uint64_t now)
{
    static const uint8_t none[DIGEST_BYTES];
    const uint8_t *stages = s->in.hello.identity;
    control_welcome(&s->broker, &s->in.hello, s->hello.boot_id, now);
    if (!memcmp(stages, none, sizeof none) || !memcmp(stages, s->stages, sizeof s->stages))
        return;
    memcpy(s->stages, stages, sizeof s->stages);
    if (!memcmp(stages, s->hello.identity, sizeof s->stages) || !memcmp(s->hello.identity, none, sizeof none))
        return;
    log_warn("the stages serve another model than these caches were built for: look-ups miss; the built "
             "caches are "
             "read again");
    keeper_reload(s->keeper);
}

static void on_control(struct service *s, uint64_t now)
{
    switch (s->in.type) {
    case MESSAGE_HELLO:
        on_welcome(s, now);
        break;
    case MESSAGE_HEARTBEAT:
        control_echo(&s->broker, &s->in.heartbeat, now);
        break;
    case MESSAGE_OUTCOME:
        lookups_outcome(s->lookups, &s->in.outcome, push_update, s->keeper);
        break;
    case MESSAGE_CANCEL:
        break;
    case MESSAGE_DRAIN:
        s->sent_away = true;
        break;
    default:
        mishap(&s->control_garbage, "control socket", "a message that does not belong there", now);
    }
}

static void receive_control(struct service *s)
{
    for (int i = 0; i < LOOKUP_BURST; i++) {
        struct error e = {0};
        int rc = frames_recv(s->control, NULL, &s->in, &s->payload, &e);
        if (rc == FL_AGAIN)
            return;
        if (rc)
            mishap(&s->control_garbage, "control socket", e.text, clock_ns());
        else
            on_control(s, clock_ns());
    }
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%*u %llu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint32_t exits_of(const struct snapshot *used)
{
    uint32_t exits = 0;
    for (int i = 0; used && i < used->manifest.n_exits; i++)
        if (used->cache[i])
            exits |= 1u << i;
    return exits;
}

static void fill_heartbeat(struct service *s, struct heartbeat *h, uint64_t now)
{
    struct lookups_counters l = lookups_counters(s->lookups);
    struct keeper_counters k = keeper_counters(s->keeper);
    const struct snapshot *used = lookups_snapshot(s->lookups);
    *h = (struct heartbeat){.incarnation = s->hello.incarnation,
                            .worker_ns = now,
                            .jobs = k.applied,
                            .lookups = l.items,
                            .hits = l.hits,
                            .batches = l.batches,
                            .dropped = k.dropped,
                            .resident_bytes = resident_bytes(),
                            .epoch = k.epoch,
                            .queued = k.queued,
                            .redis_up = k.redis_up,
                            .caches = used ? (uint32_t)snapshot_caches(used) : 0,
                            .exits = exits_of(used),
                            .exits_told = true,
                            .clock_error_ns = offset_error_ns(&s->broker.offset),
                            .learning = {.state = k.state,
                                         .accepted = k.accepted,
                                         .rejected = k.rejected,
                                         .built = l.built,
                                         .learned = l.learned}};
    memcpy(h->learning.redis_build, k.redis_build, sizeof k.redis_build);
}

static void send_spans(struct service *s)
{
    while (span_log_take(&s->spans, &s->out.spans)) {
        uint64_t lost = s->out.spans.lost + (uint64_t)s->out.spans.n;
        s->out.type = MESSAGE_SPANS;
        if (frames_send(s->control, NULL, &s->out, NULL)) {
            s->spans.lost += lost;
            return;
        }
    }
}

static void speak(struct service *s, uint64_t now)
{
    int type = control_next(&s->broker, now);
    if (!type)
        return;
    lookups_expire(s->lookups, now);
    if (type == MESSAGE_HEARTBEAT)
        send_spans(s); /* first: who has the heartbeat has them */
    s->out.type = (enum message_type)type;
    if (type == MESSAGE_HELLO)
        s->out.hello = s->hello;
    else
        fill_heartbeat(s, &s->out.heartbeat, now);
    frames_send(s->control, NULL, &s->out, NULL); /* nobody there: said again at the next beat */
}

/* --- life --- */

static void introduce(struct service *s)
{
    struct hello *h = &s->hello;
    h->role = ROLE_CACHE;
    h->replica = (uint32_t)s->index;
    if (getrandom(&h->incarnation, sizeof h->incarnation, 0) != sizeof h->incarnation || !h->incarnation)
        h->incarnation = clock_ns() ^ (uint64_t)getpid() << 40;
    h->pid = (uint64_t)getpid();
    if (gethostname(h->host, sizeof h->host - 1))
        snprintf(h->host, sizeof h->host, "unknown");
    clock_boot_id(h->boot_id, sizeof h->boot_id);
    snprintf(h->engine, sizeof h->engine, "OpenBLAS %s, 1 thread", blas_core());
    h->ready = true;
}

static int open_sockets(struct service *s, struct error *e)
{
    const struct pipeline *p = s->p;
    const struct socket_options lookup = {.high_water = 4096, .mandatory = true, .bind = p->bind};
    const struct socket_options results = {.high_water = p->broker.max_requests, .immediate = true};
    const struct socket_options control = {.immediate = true};
    int rc;
    slice_short(true); /* this thread too: what it answers is waited for */
    s->context = zmq_ctx_new();
    if (!s->context)
        return error_set(e, FL_NOMEM, "no ZeroMQ context: %s", zmq_strerror(errno));
    if ((rc = frames_socket(&s->lookup, s->context, ZMQ_ROUTER, FRAMES_BIND, p->cache.endpoint[s->index],
                            &lookup, p->security, e)) ||
        (rc = frames_socket(&s->results, s->context, ZMQ_PUSH, FRAMES_CONNECT, p->broker.results, &results,
                            p->security, e)) ||
        (rc = frames_socket(&s->control, s->context, ZMQ_DEALER, FRAMES_CONNECT, p->broker.control, &control,
                            p->security, e)))
        return rc;
    return FL_OK;
}

int service_new(struct service **out, const struct pipeline *p, int index, struct error *e)
{
    struct service *s;
    char id[17];
    int rc;
    if (index < 0 || index >= p->cache.n_endpoints)
        return error_set(e, FL_USAGE, "--index %d: the pipeline has %d cache services (cache.endpoints)",
                         index, p->cache.n_endpoints);
    if (!(s = calloc(1, sizeof *s)))
        return error_set(e, FL_NOMEM, "out of memory");
    s->p = p;
    s->index = index;
    zmq_msg_init(&s->payload);
    openblas_set_num_threads(1);
    introduce(s);
    control_init(&s->broker, p);
    snprintf(id, sizeof id, "%016" PRIx64, s->hello.incarnation);
    /* The endpoint first: a second process with the same index must not get at the files of the first. */
    if ((rc = open_sockets(s, e)) || (rc = lookups_new(&s->lookups, e)) ||
        (rc = span_log_new(&s->spans, SPANS, ROLE_CACHE, 0, (uint32_t)index)) ||
        (rc = keeper_new(&s->keeper, p, index, id, e)) || (rc = keeper_start(s->keeper, e))) {
        service_free(s);
        return rc;
    }
    take_snapshot(s);
    *out = s;
    return FL_OK;
}

/* Whom the broker sent away has no place to say goodbye from. */
static void say_goodbye(struct service *s)
{
    struct lookups_counters l = lookups_counters(s->lookups);
    struct keeper_counters k = keeper_counters(s->keeper);
    s->out.type = MESSAGE_HELLO;
    s->out.hello = s->hello;
    s->out.hello.ready = false;
    if (!s->sent_away)
        frames_send(s->control, NULL, &s->out, NULL);
    log_info("ends: %" PRIu64 " look-ups in %" PRIu64 " batches (%.1f us each), %" PRIu64 " hits; %" PRIu64
             " updates accepted, %" PRIu64 " dropped, %" PRIu64 " applied here; audits %" PRIu64 ": %" PRIu64
             " would have hit, %" PRIu64 " of them right",
             l.items, l.batches, l.batches ? (double)l.busy_ns / 1e3 / (double)l.batches : 0.0, l.hits,
             k.accepted, k.dropped, k.applied, l.audits, l.audit_hits, l.audit_right);
}

/* Who is connected stays so, but nobody new could ask at a socket whose file someone removed. */
static void keep_bound(struct service *s, uint64_t now)
{
    struct error e;

    if (now < s->kept_ns + NS_PER_S)
        return;
    s->kept_ns = now;
    if (frames_keep_bound(s->lookup, s->p->cache.endpoint[s->index], &e))
        log_warn("%s", e.text);
}

int service_run(struct service *s, const volatile int *stop, const volatile int *reload, struct error *e)
{
    zmq_pollitem_t items[] = {{.socket = s->lookup, .events = ZMQ_POLLIN},
                              {.socket = s->control, .events = ZMQ_POLLIN}};
    int reloaded = *reload;
    const struct snapshot *loaded = lookups_snapshot(s->lookups);
    bool drained = true;
    log_info("ready: cache %d on %s, %d caches, epoch %" PRIu64 ", %s", s->index,
             s->p->cache.endpoint[s->index], loaded ? snapshot_caches(loaded) : 0,
             loaded ? snapshot_epoch(loaded) : 0, s->hello.engine);
    while (!s->sent_away && !*stop) {
        uint64_t now = clock_ns();
        speak(s, now);
        keep_bound(s, now);
        int64_t wait_ns = (int64_t)(s->broker.next_ns - now);
        if (zmq_poll(items, 2, wait_ns <= 0 ? 0 : (long)(wait_ns / (int64_t)NS_PER_MS) + 1) < 0 &&
            errno != EINTR)
            return error_set(e, FL_IO, "polling failed: %s", zmq_strerror(errno));
        if (drained)
            s->lookup_empty_ns = clock_ns(); /* until now: the poll returns when one comes */
        take_snapshot(s);
        if (items[0].revents)
            drained = receive_lookups(s);
        if (items[1].revents)
            receive_control(s);
        if (*reload != reloaded) {
            reloaded = *reload;
            log_info("reading the caches again");
            keeper_reload(s->keeper);
        }
    }
    say_goodbye(s);
    if (!s->sent_away)
        return FL_OK;
    keeper_leave_files(s->keeper);
    return error_set(
        e, FL_STALE,
        "the broker sent this process away: another serves as cache %d, or the pipeline file has "
        "no such cache; it ends",
        s->index);
}

static void close_socket(void *socket, int linger_ms)
{
    if (!socket)
        return;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(socket);
}

void service_free(struct service *s)
{
    if (!s)
        return;
    close_socket(s->lookup, 0);
    close_socket(s->results, 200); /* hits that were said to be hits */
    close_socket(s->control, 200);
    if (s->context)
        zmq_ctx_term(s->context);
    zmq_msg_close(&s->payload);
    keeper_free(s->keeper);
    lookups_free(s->lookups);
    span_log_free(&s->spans);
    free(s);
}
