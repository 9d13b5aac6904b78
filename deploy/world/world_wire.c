/* world_wire.c - connections, and the packets on them
 *
 * A packet is moved by its sender's second thread, crosses the network when the other process is on another
 * host, is moved by the receiver's second thread, and waits in the inbox until the receiver reads it. Where
 * moving costs nothing, the second threads are left out. A network interface sends one packet after the
 * other; one that arrives while the other side's interface is still busy waits there.
 */
#include "world_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define RECONNECT_FIRST_NS (20 * NS_PER_MS) /* as the sockets are told: proto/wire/socket.c */
#define RECONNECT_LAST_NS  (100 * NS_PER_MS)
#define CLIENT_MARK        4096 /* as in proto/client/client.c, broker.c, worker_sockets.c, service.c */
#define CLIENT_UNREAD      8
#define CONTROL_MARK       1000
#define LOOKUP_MARK        64
#define LOOKUPS_MARK       4096

/* ---- lists of packets ---- */

static void append(struct world *w, struct list *l, int packet)
{
    w->packet[packet].next = NONE;
    *(l->last == NONE ? &l->first : &w->packet[l->last].next) = packet;
    l->last = packet;
    l->n++;
}

static void take_out(struct world *w, struct list *l, int packet)
{
    int *at = &l->first, before = NONE;
    while (*at != packet) {
        before = *at;
        at = &w->packet[*at].next;
    }
    *at = w->packet[packet].next;
    if (l->last == packet)
        l->last = before;
    l->n--;
}

static int take_first(struct world *w, struct list *l)
{
    int i = l->first;
    if (i == NONE)
        return NONE;
    l->first = w->packet[i].next;
    if (l->first == NONE)
        l->last = NONE;
    l->n--;
    return i;
}

/* Bytes of m that are in use, from its start: what a copy has to hold. */
static size_t extent(const struct message *m)
{
    const char *start = (const char *)m;
    switch (m->type) {
    case MESSAGE_LOOKUP:
        return (size_t)((const char *)&m->lookup.item[m->lookup.n] - start);
    case MESSAGE_VERDICT:
        return (size_t)((const char *)&m->verdict.item[m->verdict.n] - start);
    case MESSAGE_REQUEST:
        return (size_t)((const char *)(&m->request + 1) - start);
    case MESSAGE_ANSWER:
        return (size_t)((const char *)(&m->answer + 1) - start);
    case MESSAGE_JOB:
        return (size_t)((const char *)(&m->job + 1) - start);
    case MESSAGE_RESULT:
        return (size_t)((const char *)(&m->result + 1) - start);
    case MESSAGE_HELLO:
        return (size_t)((const char *)(&m->hello + 1) - start);
    case MESSAGE_HEARTBEAT:
        return (size_t)((const char *)(&m->heartbeat + 1) - start);
    case MESSAGE_CANCEL:
        return (size_t)((const char *)(&m->cancel + 1) - start);
    case MESSAGE_OUTCOME:
        return (size_t)((const char *)(&m->outcome + 1) - start);
    case MESSAGE_DRAIN:
        return (size_t)((const char *)(&m->drain + 1) - start);
    case MESSAGE_SPANS:
        return (size_t)((const char *)(&m->spans + 1) - start);
    case MESSAGE_FEEDBACK:
        return (size_t)((const char *)(&m->feedback + 1) - start);
    case MESSAGE_TIMES:
        return (size_t)((const char *)(&m->times + 1) - start);
    case MESSAGE_RELAYS:
        return (size_t)((const char *)(&m->relays + 1) - start);
    case MESSAGE_STATUS:
        return (size_t)((const char *)(&m->type + 1) - start);
    case MESSAGE_STATUS_REPLY:
        return (size_t)((const char *)&m->status_reply.process[m->status_reply.n_processes] - start);
    }
    return sizeof *m;
}

static int new_packet(struct world *w)
{
    int i = w->free_packet;
    if (i != NONE) {
        w->free_packet = w->packet[i].next;
        return i;
    }
    if (w->n_packets == w->max_packets) {
        int more = w->max_packets ? 2 * w->max_packets : 256;
        struct packet *p = realloc(w->packet, sizeof *p * (size_t)more);
        if (!p) {
            w->failed = true;
            return NONE;
        }
        memset(p + w->max_packets, 0, sizeof *p * (size_t)(more - w->max_packets));
        w->packet = p;
        w->max_packets = more;
    }
    return w->n_packets++;
}

/* Payload and all are moved in; NONE: no memory. */
static int pack(struct world *w, const struct message *m, zmq_msg_t *payload)
{
    size_t size = extent(m);
    int i = new_packet(w);
    struct packet *k;
    if (i == NONE)
        return NONE;
    k = &w->packet[i];
    if (size > k->capacity) {
        void *data = realloc(k->data, size);
        if (!data) {
            k->next = w->free_packet;
            w->free_packet = i;
            w->failed = true;
            return NONE;
        }
        k->data = data;
        k->capacity = size;
    }
    memcpy(k->data, m, size);
    k->size = size;
    zmq_msg_init(&k->payload);
    k->bytes = w->spec.costs.header_bytes;
    if (payload) {
        k->bytes += (double)zmq_msg_size(payload);
        zmq_msg_move(&k->payload, payload);
    }
    k->wake_ns = w->spec.user.wake ? w->spec.user.wake(w->spec.user.arg) : 0;
    k->in_io = k->moved = k->lost = false;
    k->beside_ns = 0;
    return i;
}

/* A second thread that has it frees it later. */
void wire_free(struct world *w, int packet)
{
    struct packet *k = &w->packet[packet];
    if (k->in_io) {
        k->lost = true;
        return;
    }
    zmq_msg_close(&k->payload);
    k->serial++;
    k->connection = NONE;
    k->next = w->free_packet;
    w->free_packet = packet;
}

static void free_list(struct world *w, struct list *l)
{
    int i;
    while ((i = take_first(w, l)) != NONE)
        wire_free(w, i);
}

/* ---- connections ---- */

static void set_marks(struct connection *c, int send, int receive)
{
    c->way[0].send_mark = send;
    c->way[0].receive_mark = receive;
    c->way[1].send_mark = receive;
    c->way[1].receive_mark = send;
}

/* The high-water marks that each side gives its socket. */
static void mark(const struct world *w, struct connection *c)
{
    const struct pipeline *p = w->spec.pipeline;
    const struct endpoint *e = &w->endpoint[c->endpoint];
    int door = p->broker.max_requests + 1000, many = p->broker.max_requests + 16;
    switch (c->port) {
    case WORLD_CLIENTS:
        set_marks(c, CLIENT_MARK, CLIENT_UNREAD);
        c->way[1].send_mark = door;
        break;
    case WORLD_CONTROL:
        set_marks(c, CONTROL_MARK, door);
        break;
    case WORLD_RESULTS:
        set_marks(c, many, door);
        break;
    case WORLD_JOBS:
        if (e->stage)
            set_marks(c, many, many);
        else
            set_marks(c, 2 * p->stage[0].max_batch, 2 * p->stage[0].max_batch);
        break;
    default:
        set_marks(c, LOOKUP_MARK, LOOKUPS_MARK);
    }
}

int wire_new_connection(struct world *w, enum world_port port, int from, int endpoint)
{
    struct connection *c = &w->connection[w->n_connections];
    const struct list none = {NONE, NONE, 0};
    enum message_role role = w->process[from].who.role;
    memset(c, 0, sizeof *c);
    c->port = port;
    c->from = from;
    c->endpoint = endpoint;
    c->to = NONE;
    c->immediate = port == WORLD_CLIENTS ? pipeline_brokers(w->spec.pipeline) > 1
                                         : !(port == WORLD_RESULTS && role == ROLE_STAGE);
    for (int i = 0; i < 2; i++)
        c->way[i].flying = c->way[i].waiting = none;
    mark(w, c);
    return w->n_connections++;
}

static int receiver(const struct connection *c, int way)
{
    return way ? c->from : c->to;
}

static int sender(const struct connection *c, int way)
{
    return way ? c->to : c->from;
}

static bool has_room(const struct way *y)
{
    return y->flying.n + y->unread < y->receive_mark;
}

/* After at least so long. */
static void try_later(struct world *w, int connection, uint64_t at, uint64_t least_ns)
{
    struct connection *c = &w->connection[connection];
    uint64_t ns = least_ns + (uint64_t)(shuffle_uniform(&w->random) * (double)(RECONNECT_LAST_NS - least_ns));
    c->tries = true;
    world_schedule(w, at + ns, EVENT_CONNECT, connection, ++c->version);
}

/* ---- across ---- */

/* When `bytes` are through an interface that is free at *until, if they come at `at`. */
static double pass(double *until, double at, double bytes, double bytes_per_ns)
{
    double start = fmax(*until, at);
    if (bytes_per_ns <= 0)
        return at;
    *until = start + bytes / bytes_per_ns;
    return *until;
}

/* When a packet that sets out now has crossed from host to host. */
static uint64_t crossing(struct world *w, struct cores *a, struct cores *b, double bytes)
{
    double latency = a->spec->latency_ns + b->spec->latency_ns;
    double out = pass(&a->out_free, (double)w->now, bytes, a->spec->bytes_per_ns), first = out + latency, in;
    if (a->spec->bytes_per_ns > 0)
        first -= bytes / a->spec->bytes_per_ns;
    in = pass(&b->in_free, first, bytes, b->spec->bytes_per_ns);
    a->out_bytes += bytes;
    b->in_bytes += bytes;
    return (uint64_t)fmax(in, out + latency);
}

static bool has_lane(const struct world *w, const struct connection *c)
{
    return w->spec.pipeline->shared_memory && c->port != WORLD_CONTROL &&
           w->process[c->from].who.host == w->process[c->to].who.host;
}

/* A second thread moves what goes through a socket. What the control socket carries is little, and no
 * request's: it is left out. */
static bool moves(const struct world *w, const struct connection *c, const struct packet *k)
{
    return c->port != WORLD_CONTROL && (!has_lane(w, c) || k->beside_ns) &&
           (w->spec.costs.io_ns > 0 || w->spec.costs.io_byte_ns > 0);
}

static void next_move(struct world *w, int thread, bool was_idle)
{
    struct thread *t = &w->thread[thread];
    const struct packet *k;
    if (t->moving.first == NONE)
        return;
    k = &w->packet[t->moving.first];
    cpu_start(w, thread, w->spec.costs.io_ns + w->spec.costs.io_byte_ns * k->bytes,
              was_idle ? k->wake_ns : AWAKE, 1);
}

static void give_to_io(struct world *w, int process, int packet)
{
    int thread = io_thread(process);
    struct list *l = &w->thread[thread].moving;
    w->packet[packet].in_io = true;
    w->packet[packet].next_io = NONE;
    *(l->last == NONE ? &l->first : &w->packet[l->last].next_io) = packet;
    l->last = packet;
    l->n++;
    if (!w->thread[thread].busy)
        next_move(w, thread, true);
}

static void cross(struct world *w, int packet)
{
    struct packet *k = &w->packet[packet];
    struct connection *c = &w->connection[k->connection];
    struct way *y = &c->way[k->way];
    const struct process *a = &w->process[sender(c, k->way)], *b = &w->process[receiver(c, k->way)];
    uint64_t at = w->now + k->beside_ns, *last = k->beside_ns ? &y->last_beside_at : &y->last_at;
    if (a->who.host != b->who.host)
        at = crossing(w, &w->cores[a->who.host], &w->cores[b->who.host], k->bytes);
    if (w->spec.user.delay)
        at += w->spec.user.delay(w->spec.user.arg, &a->who, &b->who);
    *last = at > *last ? at : *last;
    world_schedule(w, *last, EVENT_DELIVER, packet, k->serial);
}

static void launch(struct world *w, int packet)
{
    struct packet *k = &w->packet[packet];
    struct connection *c = &w->connection[k->connection];
    k->session = c->session;
    append(w, &c->way[k->way].flying, packet);
    k->beside_ns = w->spec.user.beside && has_lane(w, c)
                       ? w->spec.user.beside(w->spec.user.arg, &w->process[sender(c, k->way)].who,
                                             &w->process[receiver(c, k->way)].who)
                       : 0;
    k->by_socket = moves(w, c, k);
    if (k->by_socket)
        give_to_io(w, sender(c, k->way), packet);
    else
        cross(w, packet);
}

static void flush(struct world *w, struct connection *c, int way)
{
    struct way *y = &c->way[way];
    while (c->up && y->waiting.n && has_room(y))
        launch(w, take_first(w, &y->waiting));
}

static void put_in_inbox(struct world *w, int packet)
{
    struct packet *k = &w->packet[packet];
    struct connection *c = &w->connection[k->connection];
    int to = receiver(c, k->way);
    take_out(w, &c->way[k->way].flying, packet);
    c->way[k->way].unread += k->session == c->session;
    k->came_at = w->now;
    append(w, &w->process[to].inbox[c->port], packet);
    world_wake(w, to);
}

void wire_arrive(struct world *w, int packet, uint32_t serial)
{
    struct packet *k = &w->packet[packet];
    if (k->serial != serial || k->lost)
        return;
    if (k->by_socket)
        give_to_io(w, receiver(&w->connection[k->connection], k->way), packet);
    else
        put_in_inbox(w, packet);
}

void wire_moved(struct world *w, int thread)
{
    struct thread *t = &w->thread[thread];
    int packet = t->moving.first;
    struct packet *k = &w->packet[packet];
    t->busy = false;
    t->moving.first = k->next_io;
    if (k->next_io == NONE)
        t->moving.last = NONE;
    t->moving.n--;
    k->in_io = false;
    if (k->lost) {
        wire_free(w, packet);
    } else if (k->moved) {
        put_in_inbox(w, packet);
    } else {
        k->moved = true;
        cross(w, packet);
    }
    if (!t->busy)
        next_move(w, thread, false);
}

/* ---- sending and reading ---- */

bool wire_takes(const struct world *w, int connection, int way)
{
    const struct connection *c = &w->connection[connection];
    if (!c->up && (c->immediate || way))
        return false;
    return (c->up && has_room(&c->way[way])) || c->way[way].waiting.n < c->way[way].send_mark;
}

/* To where it is bound for, or into its socket. */
void wire_leave(struct world *w, int packet)
{
    struct packet *k = &w->packet[packet];
    struct connection *c = &w->connection[k->connection];
    struct way *y = &c->way[k->way];
    if (k->way && (!c->up || k->session != c->session)) {
        wire_free(w, packet); /* whom it answers has gone meanwhile */
    } else if (c->up && !y->waiting.n && has_room(y)) {
        launch(w, packet);
    } else {
        append(w, &y->waiting, packet);
    }
}

int wire_send(struct world *w, struct process *p, int connection, int way, const struct message *m,
              zmq_msg_t *payload)
{
    double cost = 0;
    int packet;
    bool computes = p->work == WORK_COMPUTE;
    if (!wire_takes(w, connection, way))
        return FL_AGAIN;
    if (!way && w->spec.user.sent) {
        const struct endpoint *e = &w->endpoint[w->connection[connection].endpoint];
        w->spec.user.sent(w->spec.user.arg, &p->who, e->port, e->stage, e->replica, m, payload);
    }
    if ((packet = pack(w, m, payload)) == NONE)
        return FL_NOMEM;
    w->packet[packet].connection = connection;
    w->packet[packet].way = way;
    w->packet[packet].session = w->connection[connection].session;
    if (w->spec.user.cost)
        cost = w->spec.user.cost(w->spec.user.arg, &p->who, WORLD_SENDS, m, w->packet[packet].bytes);
    cost = cost > 0 ? cost : 0;
    p->spent += cost;
    p->debt += computes ? cost : 0;
    if (!computes && (cost > 0 || p->owes > 0 || p->outbox.n))
        append(w, &p->outbox, packet);
    else
        wire_leave(w, packet);
    return FL_OK;
}

void wire_peer(const struct packet *k, struct peer *out)
{
    uint32_t id[3] = {(uint32_t)k->connection, k->session, k->beside_ns > 0};
    out->size = sizeof id;
    out->guest = 0;
    memcpy(out->id, id, sizeof id);
}

int wire_reply(struct world *w, struct process *p, const struct peer *to, const struct message *m,
               zmq_msg_t *payload)
{
    uint32_t id[3];
    if (to->size != sizeof id)
        return FL_UNAVAILABLE;
    memcpy(id, to->id, sizeof id);
    if (id[0] >= (uint32_t)w->n_connections || !w->connection[id[0]].up ||
        w->connection[id[0]].session != id[1] || &w->process[w->connection[id[0]].to] != p)
        return FL_UNAVAILABLE;
    return wire_send(w, p, (int)id[0], 1, m, payload);
}

int wire_read(struct world *w, struct process *p, enum world_port port)
{
    int packet = take_first(w, &p->inbox[port]);
    struct connection *c;
    if (packet == NONE)
        return NONE;
    c = &w->connection[w->packet[packet].connection];
    if (w->packet[packet].session == c->session)
        c->way[w->packet[packet].way].unread--;
    flush(w, c, w->packet[packet].way);
    return packet;
}

/* ---- coming and going ---- */

void wire_try(struct world *w, int connection, uint32_t version)
{
    struct connection *c = &w->connection[connection];
    int to = w->endpoint[c->endpoint].process;
    if (c->version != version)
        return;
    c->tries = false;
    if (c->up || to == NONE || !w->process[c->from].who.lives)
        return;
    if (w->now < c->not_before) {
        try_later(w, connection, c->not_before, 0);
        return;
    }
    c->up = true;
    c->to = to;
    c->session++;
    for (int i = 0; i < 2; i++)
        c->way[i].unread = 0;
    flush(w, c, 0);
    w->process[c->from].dirty = w->process[c->from].linked = true;
    world_wake(w, c->from);
}

/* Those that wanted to connect find it at their next try. */
void wire_bind(struct world *w, int process, int endpoint)
{
    w->endpoint[endpoint].process = process;
    for (int i = 0; i < w->n_connections; i++)
        if (w->connection[i].endpoint == endpoint && !w->connection[i].up && !w->connection[i].tries &&
            w->process[w->connection[i].from].who.lives)
            try_later(w, i, w->now, 0);
}

/* The last ones that are on their way never come. */
static void lose_tail(struct world *w, struct way *y, int keep)
{
    struct list kept = {NONE, NONE, 0};
    int i;
    while ((i = take_first(w, &y->flying)) != NONE) {
        if (kept.n < keep && !w->packet[i].in_io)
            append(w, &kept, i);
        else
            wire_free(w, i);
    }
    y->flying = kept;
}

/* `whole`: what has been sent arrives, as after a polite end; else the network loses a part of it. */
static void wire_down(struct world *w, int connection, bool whole, uint64_t not_before)
{
    struct connection *c = &w->connection[connection];
    c->not_before = not_before > c->not_before ? not_before : c->not_before;
    if (!c->up)
        return;
    for (int i = 0; i < 2; i++) {
        struct way *y = &c->way[i];
        int keep = whole ? y->flying.n : (int)shuffle_below(&w->random, (uint32_t)y->flying.n + 1);
        lose_tail(w, y, w->process[receiver(c, i)].who.lives ? keep : 0);
        if (i || c->immediate || !w->process[sender(c, i)].who.lives)
            free_list(w, &y->waiting);
    }
    c->up = false;
    if (w->process[c->from].who.lives) {
        w->process[c->from].dirty = true;
        world_wake(w, c->from);
        try_later(w, connection, w->now > not_before ? w->now : not_before, RECONNECT_FIRST_NS);
    }
}

void wire_gone(struct world *w, int process, bool politely)
{
    struct process *p = &w->process[process];
    for (int i = 0; i < w->n_endpoints; i++)
        if (w->endpoint[i].process == process)
            w->endpoint[i].process = NONE;
    for (int i = 0; i < w->n_connections; i++) {
        struct connection *c = &w->connection[i];
        int towards = c->from == process ? 1 : c->to == process ? 0 : NONE;
        if (towards == NONE)
            continue;
        wire_down(w, i, politely, 0);
        free_list(w, &c->way[towards].flying);
        free_list(w, &c->way[1 - towards].waiting);
        if (!towards)
            c->to = NONE;
    }
    free_list(w, &p->outbox);
    for (int i = 0; i < WORLD_PORTS; i++)
        free_list(w, &p->inbox[i]);
}

/* The sender closes its socket and opens another. */
void wire_renew(struct world *w, int connection)
{
    struct connection *c = &w->connection[connection];
    wire_down(w, connection, false, 0);
    free_list(w, &c->way[0].waiting);
    wire_begin(w, connection, NS_PER_MS);
}

void wire_begin(struct world *w, int connection, uint64_t ns)
{
    w->connection[connection].tries = true;
    world_schedule(w, w->now + ns, EVENT_CONNECT, connection, ++w->connection[connection].version);
}

void wire_forget(struct world *w, int connection)
{
    for (int i = 0; i < 2; i++) {
        free_list(w, &w->connection[connection].way[i].flying);
        free_list(w, &w->connection[connection].way[i].waiting);
    }
}

static bool between(const struct world *w, const struct connection *c, int host_a, int host_b)
{
    int from = w->process[c->from].who.host, to;
    if (!c->up)
        return false;
    to = w->process[c->to].who.host;
    return (from == host_a && to == host_b) || (from == host_b && to == host_a);
}

void world_hold(struct world *w, int host_a, int host_b, uint64_t until)
{
    for (int i = 0; i < w->n_connections; i++)
        for (int k = 0; k < 2 && between(w, &w->connection[i], host_a, host_b); k++)
            if (w->connection[i].way[k].last_at < until)
                w->connection[i].way[k].last_at = until;
}

void world_break(struct world *w, int host_a, int host_b, uint64_t until)
{
    for (int i = 0; i < w->n_connections; i++)
        if (between(w, &w->connection[i], host_a, host_b))
            wire_down(w, i, false, until);
}
