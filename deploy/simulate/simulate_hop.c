/* simulate_hop.c - the CPU time that a worker spends on one message, and ZeroMQ's threads beside it */
#include "simulate_time.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/tool/state.h"
#include "wire/link.h"

#define WARM_UP     3
#define ROUNDS      40
#define BURST       8 /* messages in a round: nobody sleeps between them */
#define SMALL_BYTES 4096
#define LARGE_BYTES 262144
#define WAIT_NS     (5 * NS_PER_S)

/* From one end to the other, both here; a context each, as in two processes. */
struct hop {
    void *context[2];
    struct link link[2];
    struct message out, in;
    char activation[LARGE_BYTES];
};

/* CPU time of a message of one size, us: of who sends it, of who receives it, of all other threads. */
struct hop_cost {
    double send, receive, io;
};

/* What others do on this machine does not count. */
static double cpu_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int open_hop(struct hop *h, const char *endpoint, bool lanes, const struct pipeline *p,
                    struct error *e)
{
    const struct socket_options o = {0};
    const struct lane_options lane = {.in_bytes = 2 * BURST * LARGE_BYTES, .out_bytes = 4096};
    uint64_t end = clock_ns() + WAIT_NS;
    int rc;
    for (int i = 0; i < 2; i++) {
        if (!(h->context[i] = zmq_ctx_new()))
            return error_set(e, FL_NOMEM, "no memory for messages");
        if (lanes && (rc = lanes_new(&h->link[i].lanes, e)))
            return rc;
    }
    if ((rc = link_open(&h->link[1], h->context[1], ZMQ_PULL, FRAMES_BIND, endpoint, &o, &lane, p->security,
                        e)) ||
        (rc = link_open(&h->link[0], h->context[0], ZMQ_PUSH, FRAMES_CONNECT, endpoint, &o, NULL, p->security,
                        e)))
        return rc;
    while (lanes && !lanes_reach(h->link[0].lanes, 0) && clock_ns() < end)
        for (int i = 0; i < 2; i++)
            lanes_turn(h->link[i].lanes, clock_ns());
    return FL_OK;
}

static void close_hop(struct hop *h)
{
    for (int i = 0; i < 2; i++) {
        link_close(&h->link[i], 0);
        lanes_free(h->link[i].lanes);
        if (h->context[i])
            zmq_ctx_term(h->context[i]);
    }
}

/* Copied out of the batch and sent. */
static int send_one(struct hop *h, size_t bytes)
{
    struct link *l = &h->link[0];
    zmq_msg_t payload;
    int rc = l->lanes ? lanes_payload(l->lanes, 0, bytes, &payload) : zmq_msg_init_size(&payload, bytes);
    if (rc)
        return FL_NOMEM;
    h->out.type = MESSAGE_JOB;
    h->out.job.n_route = 3;
    h->out.job.trace.n = 1;
    h->out.job.activation = (struct tensor){.dtype = TENSOR_U8, .rank = 2, .dim = {1, (int64_t)bytes}};
    memcpy(zmq_msg_data(&payload), h->activation, bytes);
    if ((rc = link_send(l, NULL, &h->out, &payload)))
        zmq_msg_close(&payload);
    return rc;
}

/* Received, and copied into the batch. FL_AGAIN: it has not come yet. */
static int receive_one(struct hop *h)
{
    zmq_msg_t payload;
    struct error e;
    int rc;
    zmq_msg_init(&payload);
    if (!(rc = link_receive(&h->link[1], NULL, &h->in, &payload, &e)))
        memcpy(h->activation, zmq_msg_data(&payload), zmq_msg_size(&payload));
    zmq_msg_close(&payload);
    return rc;
}

/* A burst there, whose means are added to *cost, times `by`. */
static int time_burst(struct hop *h, size_t bytes, struct hop_cost *cost, double by)
{
    double all = cpu_us(CLOCK_PROCESS_CPUTIME_ID), start = cpu_us(CLOCK_THREAD_CPUTIME_ID), sent, end;
    uint64_t until = clock_ns() + WAIT_NS;
    int rc = FL_OK;
    for (int i = 0; i < BURST && !rc; i++)
        rc = send_one(h, bytes);
    sent = cpu_us(CLOCK_THREAD_CPUTIME_ID);
    usleep(h->link[0].lanes ? 0 : 2000); /* ZeroMQ's threads work meanwhile */
    for (int i = 0; i < BURST && !rc; i += !rc)
        while ((rc = receive_one(h)) == FL_AGAIN && clock_ns() < until)
            usleep(1000);
    end = cpu_us(CLOCK_THREAD_CPUTIME_ID);
    cost->send += (sent - start) / BURST * by;
    cost->receive += (end - sent) / BURST * by;
    cost->io += (cpu_us(CLOCK_PROCESS_CPUTIME_ID) - all - (end - start)) / BURST * by;
    return rc;
}

/* Means over many messages of the two sizes. */
static int time_hop(struct hop_cost cost[2], const char *endpoint, bool lanes, const struct pipeline *p,
                    struct error *e)
{
    struct hop *h = calloc(1, sizeof *h);
    int rc = h ? open_hop(h, endpoint, lanes, p, e) : error_set(e, FL_NOMEM, "no memory for messages");

    for (int i = -WARM_UP; i < ROUNDS && !rc; i++)
        for (int k = 0; k < 2 && !rc; k++)
            if ((rc = time_burst(h, k ? LARGE_BYTES : SMALL_BYTES, &cost[k], i < 0 ? 0 : 1.0 / ROUNDS)))
                error_set(e, rc, "a message to this very process was lost");
    if (h)
        close_hop(h);
    free(h);
    return rc;
}

/* Of what grows with the size, us per 1000 bytes. */
static double per_kilobyte(double small, double large)
{
    return large > small ? (large - small) / (LARGE_BYTES - SMALL_BYTES) * 1000 : 0;
}

int simulate_time_messages(struct measured *m, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES], endpoint[STATE_PATH_BYTES + 8];
    struct hop_cost socket[2] = {{0, 0, 0}, {0, 0, 0}}, lane[2] = {{0, 0, 0}, {0, 0, 0}};
    const struct hop_cost *own = p->shared_memory ? lane : socket;
    int rc;

    if ((rc = state_path(path, p, e, "sock/hop.%d", (int)getpid())))
        return rc;
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    if (!(rc = time_hop(socket, endpoint, false, p, e)) && p->shared_memory)
        rc = time_hop(lane, endpoint, true, p, e);
    unlink(path);
    if (rc)
        return rc;
    m->cost.stage_send = m->cost.stage_lookup = own[0].send;
    m->cost.stage_receive = m->cost.stage_verdict = own[0].receive;
    m->cost.stage_kilobyte = per_kilobyte(own[0].send + own[0].receive, own[1].send + own[1].receive) / 2;
    m->cost.io = socket[0].io / 2;
    m->cost.io_kilobyte = per_kilobyte(socket[0].io, socket[1].io) / 2;
    return FL_OK;
}
