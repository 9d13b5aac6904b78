/* simulation_wire.c - messages from process to process
 *
 * A message is moved by its sender's second thread, crosses the network when the other process is on another
 * host, is moved by the receiver's second thread, and waits until the receiver's main thread takes it. A
 * network interface sends one message after the other; one that arrives while the other side's interface is
 * still busy waits there. Both are free at known times, so a crossing is one event.
 */
#include "simulation_parts.h"

#include <math.h>

int parcel_new(struct state *s, enum message_kind kind, int from, int to, double bytes)
{
    int i = pool_take(s, &s->parcels, (void **)&s->parcel, sizeof *s->parcel, offsetof(struct parcel, next));
    if (i != NONE)
        s->parcel[i] = (struct parcel){.kind = kind,
                                       .next = NONE,
                                       .from = from,
                                       .to = to,
                                       .request = NONE,
                                       .exit = NONE,
                                       .lookup = NONE,
                                       .bytes = bytes + s->s->header_bytes,
                                       .wake_ns = random_time(&s->times, &s->s->costs.wake)};
    return i;
}

void parcel_free(struct state *s, int parcel)
{
    struct parcel *p = &s->parcel[parcel];
    if (p->lookup != NONE) {
        s->lookup[p->lookup].next = s->lookups.free;
        s->lookups.free = p->lookup;
    }
    p->next = s->parcels.free;
    s->parcels.free = parcel;
}

static double cost(const struct state *s, int thread, const struct parcel *p)
{
    if (thread % 2)
        return s->s->costs.io_ns + s->s->costs.io_byte_ns * p->bytes;
    if (s->process[thread / 2].role == SIMULATION_CACHE)
        return cache_cost(s, p);
    return broker_cost(s, p);
}

static void next_message(struct state *s, int thread, bool was_idle)
{
    struct thread *t = &s->thread[thread];
    int parcel = t->first;
    if (parcel == NONE)
        return;
    t->first = s->parcel[parcel].next;
    if (t->first == NONE)
        t->last = NONE;
    t->in_hand = parcel;
    cpu_start(s, thread, cost(s, thread, &s->parcel[parcel]), was_idle ? s->parcel[parcel].wake_ns : AWAKE,
              1);
}

void wire_put(struct state *s, int thread, int parcel)
{
    struct thread *t = &s->thread[thread];
    s->parcel[parcel].next = NONE;
    s->parcel[parcel].since = s->now;
    if (t->last == NONE)
        t->first = parcel;
    else
        s->parcel[t->last].next = parcel;
    t->last = parcel;
    if (!t->busy)
        next_message(s, thread, true);
}

void wire_send(struct state *s, int parcel)
{
    if (parcel != NONE)
        wire_put(s, io_thread(s->parcel[parcel].from), parcel);
}

void wire_arrive(struct state *s, int parcel)
{
    struct parcel *p = &s->parcel[parcel];
    if (!s->process[p->to].dead)
        wire_put(s, io_thread(p->to), parcel);
    else
        broker_bounced(s, parcel);
}

/* When `bytes` are through an interface that is free at *until, if they come at `at`. */
static double pass(double *until, double at, double bytes, double bytes_per_ns)
{
    double start = fmax(*until, at);
    if (bytes_per_ns <= 0)
        return at;
    *until = start + bytes / bytes_per_ns;
    return *until;
}

static void cross(struct state *s, int parcel)
{
    struct parcel *p = &s->parcel[parcel];
    struct cores *a = &s->cores[s->process[p->from].host], *b = &s->cores[s->process[p->to].host];
    double out, in, first; /* out, in: when the last byte is through; first: when the first one arrives */

    if (a == b) {
        wire_arrive(s, parcel);
        return;
    }
    out = pass(&a->out_free, (double)s->now, p->bytes, a->spec->bytes_per_ns);
    first = out + a->spec->latency_ns + b->spec->latency_ns;
    if (a->spec->bytes_per_ns > 0)
        first -= p->bytes / a->spec->bytes_per_ns;
    in = pass(&b->in_free, first, p->bytes, b->spec->bytes_per_ns);
    a->out_bytes += p->bytes;
    b->in_bytes += p->bytes;
    state_schedule(s, (uint64_t)fmax(in, out + a->spec->latency_ns + b->spec->latency_ns), EVENT_DELIVER,
                   parcel, 0);
}

/* To the main thread: a worker has its own way of taking messages, the others take one after the other. */
static void deliver(struct state *s, int parcel)
{
    int to = s->parcel[parcel].to;
    if (s->process[to].role == SIMULATION_STAGE)
        worker_take(s, to - worker_process(s, 0), parcel);
    else
        wire_put(s, main_thread(to), parcel);
}

void wire_thread_done(struct state *s, int thread)
{
    struct thread *t = &s->thread[thread];
    int parcel = t->in_hand;

    if (!t->busy)
        return; /* its process died in this very moment */
    if (t->in_hand == NONE) {
        worker_done(s, thread / 2 - worker_process(s, 0));
        return;
    }
    t->in_hand = NONE;
    t->busy = false;
    if (thread % 2 && !s->parcel[parcel].moved) {
        s->parcel[parcel].moved = true;
        cross(s, parcel);
    } else if (thread % 2) {
        deliver(s, parcel);
    } else if (s->process[thread / 2].role == SIMULATION_CACHE) {
        cache_handle(s, parcel);
    } else {
        broker_handle(s, parcel);
    }
    if (!t->busy)
        next_message(s, thread, false);
}

void wire_drop_inbox(struct state *s, int thread)
{
    struct thread *t = &s->thread[thread];
    cpu_stop(s, thread);
    if (t->in_hand != NONE)
        broker_dropped(s, t->in_hand);
    t->in_hand = NONE;
    while (t->first != NONE) {
        int parcel = t->first;
        t->first = s->parcel[parcel].next;
        broker_dropped(s, parcel);
    }
    t->last = NONE;
}
