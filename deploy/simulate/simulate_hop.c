/* simulate_hop.c - the CPU time that a worker spends on one message */
#include "simulate_hop.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "deploy/tool/state.h"
#include "wire/frames.h"

#define WARM_UP     20
#define MESSAGES    300
#define SMALL_BYTES 4096
#define LARGE_BYTES 262144

struct hop {
    void *context[2], *push, *pull; /* a context each, as in two processes */
    struct message out, in;
    zmq_msg_t payload;
    char *activation; /* [LARGE_BYTES] */
};

/* CPU time of this thread so far: what others do on this machine does not count. */
static double thread_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int open_hop(struct hop *h, const char *endpoint, const struct pipeline *p, struct error *e)
{
    struct socket_options o = {0};
    int rc;
    zmq_msg_init(&h->payload);
    h->activation = calloc(1, LARGE_BYTES);
    h->context[0] = zmq_ctx_new();
    h->context[1] = zmq_ctx_new();
    if (!h->activation || !h->context[0] || !h->context[1])
        return error_set(e, FL_NOMEM, "no memory for messages");
    if ((rc = frames_socket(&h->pull, h->context[0], ZMQ_PULL, FRAMES_BIND, endpoint, &o, p->security, e)))
        return rc;
    return frames_socket(&h->push, h->context[1], ZMQ_PUSH, FRAMES_CONNECT, endpoint, &o, p->security, e);
}

static void close_hop(struct hop *h)
{
    if (h->push)
        zmq_close(h->push);
    if (h->pull)
        zmq_close(h->pull);
    for (int i = 0; i < 2; i++)
        if (h->context[i])
            zmq_ctx_term(h->context[i]);
    zmq_msg_close(&h->payload);
    free(h->activation);
}

/* Copied out of the batch and sent: us of CPU, or below 0. */
static double send_one(struct hop *h, size_t bytes)
{
    double start = thread_us();
    zmq_msg_t payload;
    h->out.type = MESSAGE_JOB;
    h->out.job.n_route = 3;
    h->out.job.trace.n = 1;
    h->out.job.activation =
        (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, (int64_t)(bytes / sizeof(float))}};
    if (zmq_msg_init_size(&payload, bytes))
        return -1;
    memcpy(zmq_msg_data(&payload), h->activation, bytes);
    if (frames_send(h->push, NULL, &h->out, &payload)) {
        zmq_msg_close(&payload);
        return -1;
    }
    return thread_us() - start;
}

/* Waited for, received until there is no more, and copied into the batch. */
static double receive_one(struct hop *h)
{
    zmq_pollitem_t item = {.socket = h->pull, .events = ZMQ_POLLIN};
    double start = thread_us();
    struct error e;
    if (zmq_poll(&item, 1, 5000) < 1 || frames_recv(h->pull, NULL, &h->in, &h->payload, &e))
        return -1;
    memcpy(h->activation, zmq_msg_data(&h->payload), zmq_msg_size(&h->payload));
    frames_recv(h->pull, NULL, &h->in, &h->payload, &e);
    return thread_us() - start;
}

/* Means over many messages of one size. */
static int time_size(struct hop *h, size_t bytes, double *send_us, double *receive_us, struct error *e)
{
    *send_us = *receive_us = 0;
    for (int i = -WARM_UP; i < MESSAGES; i++) {
        double sent = send_one(h, bytes), received = sent < 0 ? -1 : receive_one(h);
        if (received < 0)
            return error_set(e, FL_IO, "a message to this very process was lost");
        *send_us += i < 0 ? 0 : sent / MESSAGES;
        *receive_us += i < 0 ? 0 : received / MESSAGES;
    }
    return FL_OK;
}

int simulate_time_messages(struct measured *m, const struct pipeline *p, struct error *e)
{
    char path[STATE_PATH_BYTES], endpoint[STATE_PATH_BYTES + 8];
    struct hop *h = calloc(1, sizeof *h);
    double send[2], receive[2];
    int rc;

    if (!h)
        return error_set(e, FL_NOMEM, "no memory for messages");
    if ((rc = state_path(path, p, e, "sock/hop.%d", (int)getpid())))
        goto done;
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    if (!(rc = open_hop(h, endpoint, p, e)) && !(rc = time_size(h, SMALL_BYTES, &send[0], &receive[0], e)))
        rc = time_size(h, LARGE_BYTES, &send[1], &receive[1], e);
    close_hop(h);
    unlink(path);
    if (!rc) {
        double both = send[1] + receive[1] - send[0] - receive[0];
        m->cost.stage_kilobyte = both > 0 ? both / 2 / (LARGE_BYTES - SMALL_BYTES) * 1000 : 0;
        m->cost.stage_send = m->cost.stage_lookup = send[0];
        m->cost.stage_receive = m->cost.stage_verdict = receive[0];
    }
done:
    free(h);
    return rc;
}
