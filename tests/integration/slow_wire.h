/* slow_wire.h - a wire between two processes that takes as long as a test says, and counts what it carries
 *
 * A thread that takes whole messages from one endpoint and hands them on at another, each after the delay, in
 * order. Processes are led through it by `--set` of the one key that names the endpoint.
 */
#ifndef FREEZELINE_SLOW_WIRE_H
#define FREEZELINE_SLOW_WIRE_H

#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <zmq.h>

struct slow_wire {
    char endpoint[HARNESS_PATH]; /* where senders connect */
    void *context, *in, *out;
    atomic_llong delay_ns, largest_bytes; /* largest: of the parts of messages */
    atomic_int stop;
    pthread_t thread;
};

static inline void slow_wire_pass(struct slow_wire *w, void *from, void *to)
{
    zmq_msg_t part;
    int more;
    do {
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, from, 0) < 0)
            return;
        more = zmq_msg_more(&part);
        if ((long long)zmq_msg_size(&part) > atomic_load(&w->largest_bytes))
            atomic_store(&w->largest_bytes, (long long)zmq_msg_size(&part));
        zmq_msg_send(&part, to, more ? ZMQ_SNDMORE : 0);
    } while (more);
}

static void *slow_wire_run(void *arg)
{
    struct slow_wire *w = arg;
    while (!atomic_load(&w->stop)) {
        zmq_pollitem_t items[] = {{.socket = w->in, .events = ZMQ_POLLIN},
                                  {.socket = w->out, .events = ZMQ_POLLIN}};
        int type;
        size_t size = sizeof type;
        zmq_getsockopt(w->out, ZMQ_TYPE, &type, &size);
        zmq_poll(items, type == ZMQ_DEALER ? 2 : 1, 20);
        if (items[0].revents) {
            long long ns = atomic_load(&w->delay_ns);
            struct timespec t = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
            nanosleep(&t, NULL);
            slow_wire_pass(w, w->in, w->out);
        }
        if (type == ZMQ_DEALER && items[1].revents)
            slow_wire_pass(w, w->out, w->in); /* the way back is not slow */
    }
    return NULL;
}

/* `type`: ZMQ_PULL for a wire of jobs or results, ZMQ_DEALER for the look-ups of one stage. `to` is where the
 * receiver binds. */
static inline void slow_wire_start(struct slow_wire *w, const struct harness *h, const char *name, int type,
                                   const char *to)
{
    snprintf(w->endpoint, sizeof w->endpoint, "ipc://%.400s/%s.sock", harness_dir(h), name);
    w->context = zmq_ctx_new();
    w->in = zmq_socket(w->context, type);
    w->out = zmq_socket(w->context, type == ZMQ_PULL ? ZMQ_PUSH : type);
    assert_int_equal(zmq_bind(w->in, w->endpoint), 0);
    assert_int_equal(zmq_connect(w->out, to), 0);
    assert_int_equal(pthread_create(&w->thread, NULL, slow_wire_run, w), 0);
}

static inline void slow_wire_stop(struct slow_wire *w)
{
    int none = 0;
    if (!w->context)
        return;
    atomic_store(&w->stop, 1);
    pthread_join(w->thread, NULL);
    zmq_setsockopt(w->in, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(w->out, ZMQ_LINGER, &none, sizeof none);
    zmq_close(w->in);
    zmq_close(w->out);
    zmq_ctx_term(w->context);
    w->context = NULL;
}

#endif
