/* test_worker_sockets.c - what wakes a stage worker, and what does not */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "stages/worker/worker_sockets.h"

#define HOLD_NS    (50 * NS_PER_MS)
#define WAKES_MOST 8 /* libzmq has something to do of its own now and then */

struct bench {
    char dir[64];
    struct pipeline *pipeline;
    struct worker_sockets sockets;
    struct link cache; /* of the service */
    void *context, *jobs;
    struct peer worker; /* as the service knows it */
};

static struct message m;
static zmq_msg_t payload;

static void begin(struct bench *b, const char *shared_memory)
{
    static const struct stage_setup asks;
    const struct lane_options lane = {.in_bytes = 64 << 10, .out_bytes = 64 << 10, .unsent = 8};
    char text[1024];
    struct error e = {0};
    memset(b, 0, sizeof *b);
    snprintf(b->dir, sizeof b->dir, "/tmp/freezeline-sockets-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(text, sizeof text,
             "model: m.onnx\nstate: %s\nstages: 1\nshared_memory: %s\n"
             "cache: {placement: service}\n",
             b->dir, shared_memory);
    if (pipeline_parse(&b->pipeline, text, strlen(text), "test.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    b->sockets.pipeline = b->pipeline;
    assert_non_null(b->context = zmq_ctx_new());
    if (b->pipeline->shared_memory)
        assert_int_equal(lanes_new(&b->cache.lanes, &e), FL_OK);
    if (link_open(&b->cache, b->context, ZMQ_ROUTER, FRAMES_BIND, b->pipeline->cache.endpoint[0], NULL, &lane,
                  NULL, &e) ||
        worker_sockets_open(&b->sockets, &asks, &e) || worker_sockets_bind(&b->sockets, 1, 4096, &e) ||
        frames_socket(&b->jobs, b->context, ZMQ_PUSH, FRAMES_CONNECT,
                      b->pipeline->stage[0].replica[0].endpoint, NULL, NULL, &e))
        fail_msg("%s", e.text);
    zmq_msg_init(&payload);
}

static void end(struct bench *b)
{
    char command[128];
    worker_sockets_close(&b->sockets);
    frames_close(b->jobs, 0);
    link_close(&b->cache, 0);
    lanes_free(b->cache.lanes);
    zmq_ctx_term(b->context);
    pipeline_free(b->pipeline);
    zmq_msg_close(&payload);
    snprintf(command, sizeof command, "rm -r %s", b->dir);
    assert_int_equal(system(command), 0);
}

static int receive_verdict(struct bench *b)
{
    struct error e = {0};
    worker_sockets_await_verdicts(&b->sockets);
    return link_receive(&b->sockets.cache, NULL, &m, &payload, &e);
}

/* A message from the worker to its cache service and back, after which both know by which way. */
static void ask(struct bench *b)
{
    struct stage_io io;
    struct error e = {0};
    int rc = FL_AGAIN;
    worker_sockets_io(&b->sockets, &io);
    for (int i = 0; rc == FL_AGAIN && i < 2000; i++) {
        if (b->cache.lanes) {
            lanes_turn(b->cache.lanes, clock_ns());
            lanes_turn(b->sockets.lanes, clock_ns());
        }
        memset(&m, 0, sizeof m);
        m.type = MESSAGE_HEARTBEAT;
        if (!b->cache.lanes || lanes_reach(b->sockets.lanes, 1))
            rc = io.ask(io.arg, &m, NULL);
        usleep(1000);
    }
    assert_int_equal(rc, FL_OK);
    for (int i = 0; i < 2000 && (rc = link_receive(&b->cache, &b->worker, &m, &payload, &e)); i++)
        usleep(1000);
    assert_int_equal(rc, FL_OK);
    assert_int_equal(receive_verdict(b), FL_AGAIN);
}

static void *answer(void *arg)
{
    struct bench *b = arg;
    static struct message verdict;
    verdict.type = MESSAGE_HEARTBEAT;
    usleep(20000);
    assert_int_equal(link_send(&b->cache, &b->worker, &verdict, NULL), FL_OK);
    return NULL;
}

/* A job waits in the socket, which nobody reads while a batch is held back. */
static void test_who_waits_for_verdicts_sleeps(void **state)
{
    static const char *const shared_memory[] = {"true", "false"};
    (void)state;
    for (int k = 0; k < 2; k++) {
        struct bench b;
        struct pollfd fd = {.events = POLLIN};
        size_t size = sizeof fd.fd;
        pthread_t thread;
        uint64_t start;
        int wakes = 0;
        begin(&b, shared_memory[k]);
        ask(&b);
        assert_int_equal(zmq_getsockopt(b.sockets.jobs.socket, ZMQ_FD, &fd.fd, &size), 0);
        while (zmq_send(b.jobs, "job", 3, 0) < 0)
            continue;
        assert_int_equal(poll(&fd, 1, 20000), 1);
        for (start = clock_ns(); clock_ns() < start + HOLD_NS; wakes++) {
            assert_int_equal(receive_verdict(&b), FL_AGAIN);
            worker_sockets_wait_cache(&b.sockets, HOLD_NS);
        }
        assert_in_range(wakes, 1, WAKES_MOST);

        /* A verdict ends the sleep. */
        assert_int_equal(pthread_create(&thread, NULL, answer, &b), 0);
        for (int i = 0; receive_verdict(&b) == FL_AGAIN && i < 100; i++)
            worker_sockets_wait_cache(&b.sockets, 20 * NS_PER_S);
        assert_int_equal(m.type, MESSAGE_HEARTBEAT);
        assert_true(clock_ns() - start < 20 * NS_PER_S);
        pthread_join(thread, NULL);
        end(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_waits_for_verdicts_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
