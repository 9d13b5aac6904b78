/* simulate_hop.c - the CPU time that a worker spends on one message, and ZeroMQ's threads beside it */
#include "simulate_time.h"

#include <unistd.h>

#include "base/clock.h"
#include "deploy/model/hop.h"

#define WARM_UP 3
#define ROUNDS  40

/* CPU time of a message of one size, us: of who sends it, of who receives it, of all other threads. */
struct hop_cost {
    double send, receive, io;
};

/* A burst, so that nobody sleeps within it; its means are added to *cost, times `by`. */
static int time_burst(struct hop *h, size_t bytes, bool lanes, struct hop_cost *cost, double by)
{
    double all = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID), start = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID), sent,
           end;
    uint64_t until = clock_ns() + HOP_WAIT_MS * NS_PER_MS;
    int rc = FL_OK;
    for (int i = 0; i < HOP_BURST && !rc; i++)
        rc = hop_send(h, bytes);
    sent = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    usleep(lanes ? 0 : 2000); /* ZeroMQ's threads work meanwhile */
    for (int i = 0; i < HOP_BURST && !rc; i += !rc)
        while ((rc = hop_receive(h)) == FL_AGAIN && clock_ns() < until)
            usleep(1000);
    end = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    cost->send += (sent - start) / HOP_BURST * by;
    cost->receive += (end - sent) / HOP_BURST * by;
    cost->io += (clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID) - all - (end - start)) / HOP_BURST * by;
    return rc;
}

/* Means over many messages of the two sizes. */
static int time_hop(struct hop_cost cost[2], bool lanes, const struct pipeline *p, struct error *e)
{
    struct hop *h;
    int rc = hop_open(&h, p, lanes, e);

    for (int i = -WARM_UP; i < ROUNDS && !rc; i++)
        for (int k = 0; k < 2 && !rc; k++)
            if ((rc = time_burst(h, k ? HOP_LARGE_BYTES : HOP_SMALL_BYTES, lanes, &cost[k],
                                 i < 0 ? 0 : 1.0 / ROUNDS)))
                error_set(e, rc, "a message to this very process was lost");
    hop_close(h);
    return rc;
}

/* Of what grows with the size, us per 1000 bytes. */
static double per_kilobyte(double small, double large)
{
    return large > small ? (large - small) / (HOP_LARGE_BYTES - HOP_SMALL_BYTES) * 1000 : 0;
}

int simulate_time_messages(struct measured *m, const struct pipeline *p, struct error *e)
{
    struct hop_cost socket[2] = {{0, 0, 0}, {0, 0, 0}}, lane[2] = {{0, 0, 0}, {0, 0, 0}};
    const struct hop_cost *own = p->shared_memory ? lane : socket;
    int rc = time_hop(socket, false, p, e);

    if (rc || (p->shared_memory && (rc = time_hop(lane, true, p, e))))
        return rc;
    m->cost.stage_send = m->cost.stage_lookup = own[0].send;
    m->cost.stage_receive = m->cost.stage_verdict = own[0].receive;
    m->cost.stage_kilobyte = per_kilobyte(own[0].send + own[0].receive, own[1].send + own[1].receive) / 2;
    m->cost.io = socket[0].io / 2;
    m->cost.io_kilobyte = per_kilobyte(socket[0].io, socket[1].io) / 2;
    return FL_OK;
}
