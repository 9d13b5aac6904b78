/* message_cost.c - the way of a message between two ZeroMQ contexts of this process */
#include "message_cost.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zmq.h>

#include "base/clock.h"
#include "base/samples.h"

#define COUNT       40
#define SMALL_BYTES 4096
#define LARGE_BYTES 262144
#define PAUSE_MOST  5.0
#define WAIT_MS     2000

struct way {
    void *context[2], *from, *to; /* a context each, as in two processes */
    char *body;                   /* [LARGE_BYTES] */
    double ms[COUNT];             /* of the messages that came */
    atomic_int came;
};

/* Each message begins with the moment at which it was sent. */
static void *receive(void *arg)
{
    struct way *w = arg;
    for (int i = 0; i < COUNT; i++) {
        uint64_t sent;
        zmq_msg_t m;
        zmq_msg_init(&m);
        if (zmq_msg_recv(&m, w->to, 0) < (int)sizeof sent)
            break;
        memcpy(&sent, zmq_msg_data(&m), sizeof sent);
        w->ms[i] = (double)(clock_ns() - sent) / NS_PER_MS;
        zmq_msg_close(&m);
        atomic_store(&w->came, i + 1);
    }
    return NULL;
}

static void compute(double ms)
{
    uint64_t end = clock_ns() + (uint64_t)(ms * NS_PER_MS);
    while (clock_ns() < end)
        ;
}

/* One at a time: a message that waits behind another tells nothing. */
static bool send_one(struct way *w, size_t bytes, int number)
{
    uint64_t now = clock_ns(), until = now + WAIT_MS * NS_PER_MS;

    memcpy(w->body, &now, sizeof now);
    if (zmq_send(w->from, w->body, bytes, 0) < 0)
        return false;
    while (atomic_load(&w->came) <= number && clock_ns() < until)
        sched_yield();
    return atomic_load(&w->came) > number;
}

static int quick_ms(struct way *w, size_t bytes, double pause_ms, double *out, struct error *e)
{
    pthread_t thread;

    atomic_store(&w->came, 0);
    if (pthread_create(&thread, NULL, receive, w))
        return error_set(e, FL_NOMEM, "no thread to measure messages with");
    for (int i = 0; i < COUNT; i++) {
        compute(pause_ms);
        if (!send_one(w, bytes, i))
            break;
    }
    pthread_join(thread, NULL);
    if (atomic_load(&w->came) < COUNT)
        return error_set(e, FL_IO, "messages from this process to itself were lost");
    samples_sort(w->ms, COUNT);
    *out =
        w->ms[COUNT / 4]; /* a quarter of them were as quick: what else the machine does slows the others */
    return FL_OK;
}

static int open_way(struct way *w, const char *endpoint, struct error *e)
{
    int wait = WAIT_MS, linger = 0;

    w->body = calloc(1, LARGE_BYTES);
    w->context[0] = zmq_ctx_new();
    w->context[1] = zmq_ctx_new();
    if (!w->body || !w->context[0] || !w->context[1])
        return error_set(e, FL_NOMEM, "no memory to measure messages with");
    w->to = zmq_socket(w->context[0], ZMQ_PULL);
    w->from = zmq_socket(w->context[1], ZMQ_PUSH);
    if (!w->to || !w->from || zmq_setsockopt(w->to, ZMQ_RCVTIMEO, &wait, sizeof wait) ||
        zmq_setsockopt(w->from, ZMQ_SNDTIMEO, &wait, sizeof wait) ||
        zmq_setsockopt(w->from, ZMQ_LINGER, &linger, sizeof linger) || zmq_bind(w->to, endpoint) ||
        zmq_connect(w->from, endpoint))
        return error_set(e, FL_IO, "%s: %s", endpoint, zmq_strerror(errno));
    return FL_OK;
}

static void close_way(struct way *w)
{
    if (w->from)
        zmq_close(w->from);
    if (w->to)
        zmq_close(w->to);
    for (int i = 0; i < 2; i++)
        if (w->context[i])
            zmq_ctx_term(w->context[i]);
    free(w->body);
}

int message_cost_measure(struct message_cost *out, double pause_ms, struct error *e)
{
    char dir[] = "/tmp/freezeline-XXXXXX", endpoint[64], path[48];
    struct way w = {0};
    double small, large, pause = fmin(fmax(pause_ms, 0), PAUSE_MOST);
    int rc;

    if (!mkdtemp(dir))
        return error_set(e, FL_IO, "/tmp: no room for a socket to measure messages with");
    snprintf(path, sizeof path, "%s/way", dir);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    if (!(rc = open_way(&w, endpoint, e)) && !(rc = quick_ms(&w, SMALL_BYTES, pause, &small, e)) &&
        !(rc = quick_ms(&w, LARGE_BYTES, pause, &large, e))) {
        out->per_byte_ms = fmax(large - small, 0) / (LARGE_BYTES - SMALL_BYTES);
        out->fixed_ms = fmax(small - out->per_byte_ms * SMALL_BYTES, 0);
    }
    close_way(&w);
    unlink(path);
    rmdir(dir);
    return rc;
}
