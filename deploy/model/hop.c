/* hop.c - the two ends of a way within this process */
#include "hop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "link/link.h"

struct hop {
    char dir[32];
    void *context[2];
    struct link from, to;
    struct message out, in;
    char sent[HOP_LARGE_BYTES], received[HOP_LARGE_BYTES];
};

static int open_ends(struct hop *h, const struct pipeline *p, bool lanes, struct error *e)
{
    const struct lane_options lane = {.in_bytes = 2 * HOP_BURST * HOP_LARGE_BYTES, .out_bytes = 4096};
    const struct socket_options o = {0};
    uint64_t end = clock_ns() + HOP_WAIT_MS * NS_PER_MS;
    char endpoint[64];
    int rc;

    if (!mkdtemp(h->dir))
        return error_set(e, FL_IO, "/tmp: no room for a socket to measure messages with");
    snprintf(endpoint, sizeof endpoint, "ipc://%s/way", h->dir);
    if (!(h->context[0] = zmq_ctx_new()) || !(h->context[1] = zmq_ctx_new()))
        return error_set(e, FL_NOMEM, "no memory to measure messages with");
    if (lanes && ((rc = lanes_new(&h->from.lanes, e)) || (rc = lanes_new(&h->to.lanes, e))))
        return rc;
    if ((rc =
             link_open(&h->to, h->context[1], ZMQ_PULL, FRAMES_BIND, endpoint, &o, &lane, &p->security, e)) ||
        (rc = link_open(&h->from, h->context[0], ZMQ_PUSH, FRAMES_CONNECT, endpoint, &o, NULL, &p->security,
                        e)))
        return rc;
    while (lanes && !lanes_reach(h->from.lanes, 0) && clock_ns() < end) {
        lanes_turn(h->from.lanes, clock_ns());
        lanes_turn(h->to.lanes, clock_ns());
    }
    return FL_OK;
}

int hop_open(struct hop **out, const struct pipeline *p, bool lanes, struct error *e)
{
    struct hop *h = calloc(1, sizeof *h);
    int rc;

    *out = NULL;
    if (!h)
        return error_set(e, FL_NOMEM, "no memory to measure messages with");
    snprintf(h->dir, sizeof h->dir, "/tmp/freezeline-hop-XXXXXX");
    if ((rc = open_ends(h, p, lanes, e))) {
        hop_close(h);
        return rc;
    }
    *out = h;
    return FL_OK;
}

void hop_close(struct hop *h)
{
    char path[64];

    if (!h)
        return;
    link_close(&h->from, 0);
    link_close(&h->to, 0);
    lanes_free(h->from.lanes);
    lanes_free(h->to.lanes);
    for (int i = 0; i < 2; i++)
        if (h->context[i])
            zmq_ctx_term(h->context[i]);
    snprintf(path, sizeof path, "%s/way", h->dir);
    unlink(path);
    rmdir(h->dir);
    free(h);
}

int hop_send(struct hop *h, size_t bytes)
{
    struct lanes *lanes = h->from.lanes;
    zmq_msg_t payload;
    int rc = lanes ? lanes_payload(lanes, 0, bytes, &payload) : zmq_msg_init_size(&payload, bytes);

    if (rc)
        return FL_NOMEM;
    h->out.type = MESSAGE_JOB;
    h->out.job.n_route = 3;
    h->out.job.trace.n = 1;
    h->out.job.activation = (struct tensor){.dtype = TENSOR_U8, .rank = 2, .dim = {1, (int64_t)bytes}};
    memcpy(zmq_msg_data(&payload), h->sent, bytes);
    if ((rc = link_send(&h->from, NULL, &h->out, &payload)))
        zmq_msg_close(&payload);
    return rc;
}

int hop_receive(struct hop *h)
{
    zmq_msg_t payload;
    struct error e;
    int rc;

    zmq_msg_init(&payload);
    if (!(rc = link_receive(&h->to, NULL, &h->in, &payload, &e)))
        memcpy(h->received, zmq_msg_data(&payload), zmq_msg_size(&payload));
    zmq_msg_close(&payload);
    return rc;
}

void hop_sleep(struct hop *h, int most_ms)
{
    struct lanes *lanes = h->to.lanes;
    zmq_pollitem_t item[] = {{.socket = h->to.socket, .events = ZMQ_POLLIN},
                             {.fd = lanes ? lanes_fd(lanes) : -1, .events = ZMQ_POLLIN}};

    if (!lanes || lanes_sleep(lanes, 0))
        zmq_poll(item, lanes ? 2 : 1, most_ms);
    if (lanes)
        lanes_wake(lanes);
}
