/* world_body.c - what a process does around its brain; the client and the broker
 *
 * A body reads what has come, tells its brain, lets it look at the time, and begins again; as the real ones
 * do around their sockets. What the brain sends is paid for, message after message, before anything else is
 * done. While it computes it reads on, and pays for that afterwards.
 */
#include "world_parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define ROUND   32        /* messages read between two looks at the time: a flood keeps nothing waiting */
#define SPIN_NS NS_PER_US /* a brain that wants to be called again at once waits for so long */

/* ---- the client ---- */

static int client_start(struct world *w, struct process *p, struct error *e)
{
    (void)w, (void)p, (void)e;
    return FL_OK;
}

static void client_end(struct world *w, struct process *p)
{
    (void)w, (void)p;
}

static void client_message(struct world *w, struct process *p, enum world_port port, const struct packet *k,
                           const struct message *m, zmq_msg_t *payload)
{
    (void)port;
    if (w->spec.user.answer)
        w->spec.user.answer(w->spec.user.arg, p->who.replica, broker_at(w, k), m, payload);
}

static uint64_t client_tick(struct world *w, struct process *p)
{
    (void)w, (void)p;
    return NEVER;
}

/* ---- the broker ---- */

struct broker_body {
    struct world *w;
    struct process *p;
    struct dispatch *brain;
};

static int send_job(void *arg, int replica, const struct message *m, zmq_msg_t *payload)
{
    struct broker_body *b = arg;
    return wire_send(b->w, b->p, b->p->first + replica, 0, m, payload);
}

static int send_client(void *arg, const struct peer *to, const struct message *m, zmq_msg_t *payload)
{
    struct broker_body *b = arg;
    return wire_reply(b->w, b->p, to, m, payload);
}

static int send_control(void *arg, const struct peer *to, const struct message *m)
{
    return send_client(arg, to, m, NULL);
}

static void reset_push(void *arg, int replica)
{
    struct broker_body *b = arg;
    wire_renew(b->w, b->p->first + replica);
}

static struct dispatch *dispatch_of(const struct process *p)
{
    return ((const struct broker_body *)p->brain)->brain;
}

static int broker_start(struct world *w, struct process *p, struct error *e)
{
    struct broker_body *b = calloc(1, sizeof *b);
    struct dispatch_io io = {b, send_job, send_client, send_control, reset_push, NULL, NULL, NULL};
    struct hello self;
    world_introduce(w, p, &self);
    if (!b || dispatch_new(&b->brain, w->spec.pipeline, &io, &self, world_host_now(w, p))) {
        free(b);
        return error_set(e, FL_NOMEM, "no memory for a broker");
    }
    b->w = w;
    b->p = p;
    p->brain = b;
    return FL_OK;
}

static void broker_end(struct world *w, struct process *p)
{
    (void)w;
    dispatch_free(dispatch_of(p));
    free(p->brain);
}

static void broker_ask_to_end(struct world *w, struct process *p)
{
    dispatch_abandon(dispatch_of(p), world_host_now(w, p));
    world_gone(w, process_index(w, p), true);
}

static void broker_message(struct world *w, struct process *p, enum world_port port, const struct packet *k,
                           const struct message *m, zmq_msg_t *payload)
{
    uint64_t now = world_host_now(w, p);
    struct dispatch *d = dispatch_of(p);
    enum message_type t = m->type;
    struct error e;
    struct peer from;

    wire_peer(k, &from);
    if (port == WORLD_CLIENTS &&
        (t == MESSAGE_REQUEST || t == MESSAGE_STATUS || t == MESSAGE_SPANS || t == MESSAGE_TIMES))
        dispatch_client(d, &from, m, payload, now);
    else if (port == WORLD_RESULTS && t == MESSAGE_RESULT)
        dispatch_result(d, &m->result, payload, world_clock(w, p->who.host, k->came_at), now, &e);
    else if (port == WORLD_CONTROL && (t == MESSAGE_HELLO || t == MESSAGE_HEARTBEAT || t == MESSAGE_SPANS ||
                                       t == MESSAGE_DRAIN || t == MESSAGE_RELAYS))
        dispatch_control(d, &from, m, now);
}

static uint64_t broker_tick(struct world *w, struct process *p)
{
    return dispatch_tick(dispatch_of(p), world_host_now(w, p));
}

struct dispatch *world_dispatch(const struct world *w, int broker)
{
    const struct process *p = &w->process[world_broker(w, broker)];
    return p->who.lives ? dispatch_of(p) : NULL;
}

/* ---- bodies ---- */

static const struct body client_body = {
    .start = client_start, .end = client_end, .message = client_message, .tick = client_tick};
static const struct body broker_body = {.start = broker_start,
                                        .end = broker_end,
                                        .ask_to_end = broker_ask_to_end,
                                        .message = broker_message,
                                        .tick = broker_tick};

const struct body *body_of(const struct process *p)
{
    switch (p->who.role) {
    case ROLE_BROKER:
        return &broker_body;
    case ROLE_STAGE:
        return &world_stage_body;
    case ROLE_CACHE:
        return &world_cache_body;
    default:
        return &client_body;
    }
}

/* ---- one body's turn ---- */

/* The next packet that is to be read; those that tell how things stand come first. */
static int next_packet(struct world *w, struct process *p)
{
    static const enum world_port order[WORLD_PORTS] = {WORLD_RESULTS, WORLD_CONTROL, WORLD_LOOKUPS,
                                                       WORLD_CLIENTS, WORLD_JOBS};
    const struct body *body = body_of(p);
    for (int i = 0; i < WORLD_PORTS; i++)
        if (p->inbox[order[i]].n && (!body->reads || body->reads(w, p, order[i])))
            return wire_read(w, p, order[i]);
    return NONE;
}

static void tell_brain(struct world *w, struct process *p, int packet)
{
    struct packet *k = &w->packet[packet];
    const struct packet head = *k; /* the brain sends: packets may move */
    zmq_msg_t payload;
    memcpy(&w->in, k->data, k->size);
    zmq_msg_init(&payload);
    zmq_msg_move(&payload, &k->payload);
    wire_free(w, packet);
    p->dirty = true;
    p->spent = 0;
    if (!w->spec.user.read || w->spec.user.read(w->spec.user.arg, &p->who, &w->in))
        body_of(p)->message(w, p, w->connection[head.connection].port, &head, &w->in, &payload);
    zmq_msg_close(&payload);
}

static void start_work(struct world *w, struct process *p, enum job_in_hand work, double ns, double wake_ns,
                       double width)
{
    p->work = work;
    ns += p->debt + p->owes;
    p->debt = p->owes = 0;
    cpu_start(w, main_thread(process_index(w, p)), ns, wake_ns, width);
}

/* True when it costs something: then it is done later. */
static bool pay(struct world *w, struct process *p, enum job_in_hand work, int packet)
{
    const struct packet *k = &w->packet[packet];
    const struct world_user *u = &w->spec.user;
    double ns;
    if (!u->cost)
        return false;
    ns = u->cost(u->arg, &p->who, work == WORK_SEND ? WORLD_SENDS : WORLD_RECEIVES, k->data, k->bytes);
    if (ns < 0)
        return false;
    if (p->work == WORK_COMPUTE) {
        p->debt += ns;
        return false;
    }
    p->in_hand = packet;
    start_work(w, p, work, ns, work == WORK_SEND ? AWAKE : k->wake_ns, 1);
    return true;
}

static void leave_outbox(struct world *w, struct process *p)
{
    int packet = p->outbox.first;
    p->outbox.first = w->packet[packet].next;
    if (p->outbox.first == NONE)
        p->outbox.last = NONE;
    p->outbox.n--;
    wire_leave(w, packet);
}

static void tick(struct world *w, struct process *p)
{
    uint64_t next;
    p->dirty = false;
    p->read = 0;
    p->spent = 0;
    p->wake_at = NEVER;
    next = body_of(p)->tick(w, p);
    body_wake_at(w, p, next);
}

void body_wake_at(struct world *w, struct process *p, uint64_t host_ns)
{
    uint64_t offset = world_clock(w, p->who.host, 0);
    uint64_t at = host_ns == NEVER ? NEVER : host_ns > offset ? host_ns - offset : 0;
    if (at <= w->now)
        at = w->now + SPIN_NS;
    if (at < p->wake_at)
        p->wake_at = at;
}

/* An event that comes too early sees to it that there is another, and so does the end of work for a message.
 */
static void arm(struct world *w, struct process *p)
{
    if (!p->who.lives || p->wake_at >= p->armed_at || p->work == WORK_MESSAGE || p->work == WORK_SEND)
        return;
    p->armed_at = p->wake_at;
    world_schedule(w, p->wake_at, EVENT_WAKE, process_index(w, p), p->who.life);
}

void body_compute(struct world *w, struct process *p, double cpu_ns, double width)
{
    start_work(w, p, WORK_COMPUTE, cpu_ns, AWAKE, width);
}

void body_interrupt(struct world *w, struct process *p)
{
    cpu_stop(w, main_thread(process_index(w, p)));
    p->work = WORK_NOTHING;
}

/* One step; false: nothing to do, or it waits for its thread. */
static bool step(struct world *w, struct process *p)
{
    bool computes = p->work == WORK_COMPUTE;
    int packet;
    if (p->work != WORK_NOTHING && !computes)
        return false;
    if (p->outbox.n && !computes) {
        if (pay(w, p, WORK_SEND, p->outbox.first))
            return false;
        leave_outbox(w, p);
        return true;
    }
    if (p->read < ROUND && (packet = next_packet(w, p)) != NONE) {
        p->read++;
        if (pay(w, p, WORK_MESSAGE, packet))
            return false;
        tell_brain(w, p, packet);
        return true;
    }
    if (p->dirty || p->wake_at <= w->now) {
        tick(w, p);
        return true;
    }
    return false;
}

void body_run(struct world *w, int process)
{
    struct process *p = &w->process[process];
    const struct body *body = body_of(p);
    while (p->who.lives && w->now >= p->stalled_until) {
        if (step(w, p))
            continue;
        if (p->work == WORK_NOTHING && body->go_on && body->go_on(w, p))
            continue;
        break;
    }
    if (w->now < p->stalled_until)
        return; /* world_stall has seen to it that it goes on */
    arm(w, p);
    if (p->who.lives && w->spec.user.settled && p->work == WORK_NOTHING)
        w->spec.user.settled(w->spec.user.arg, process);
}

void body_thread_done(struct world *w, int process)
{
    struct process *p = &w->process[process];
    struct thread *t = &w->thread[main_thread(process)];
    enum job_in_hand work = p->work;

    if (w->now < p->stalled_until) {
        world_schedule(w, p->stalled_until, EVENT_THREAD, main_thread(process), ++t->version);
        return;
    }
    t->busy = false;
    p->work = WORK_NOTHING;
    if (work == WORK_SEND)
        leave_outbox(w, p);
    else if (work == WORK_MESSAGE)
        tell_brain(w, p, p->in_hand);
    else
        body_of(p)->computed(w, p);
    world_wake(w, process);
}
