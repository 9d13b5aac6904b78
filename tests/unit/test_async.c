/* test_async.c - many threads, one client: each request is answered once, whatever happens to it */
#include <poll.h>

#include "tests/testing.h"
#include "client/async.h"
#include "fake_server.h"

#define THREADS 4
#define EACH    500

static struct fake_server server;
static struct pipeline *pipeline;
static struct async *async;

/* All that callbacks touch. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int done[THREADS * EACH], n, ok, cancelled, failed, released, wrong;
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void start(const struct fake_behaviour *does)
{
    struct error e = {0};
    char text[256];
    assert_int_equal(fake_start(&server, does), 0);
    snprintf(text, sizeof text, "model: m.onnx\nbroker: {requests: '%s', deadline_ms: 5000}\n",
             server.endpoint);
    assert_int_equal(pipeline_parse(&pipeline, text, strlen(text), "test.yaml", NULL, 0, &e), FL_OK);
    assert_int_equal(async_new(&async, pipeline, &e), FL_OK);
    memset(seen.done, 0, sizeof seen.done);
    seen.n = seen.ok = seen.cancelled = seen.failed = seen.released = seen.wrong = 0;
}

static void stop(void)
{
    async_free(async);
    fake_stop(&server);
    pipeline_free(pipeline);
}

static void on_answer(void *arg, uint64_t id, const struct answer *answer, const float *scores, int n)
{
    float *input = arg;
    (void)id, (void)scores, (void)n;
    pthread_mutex_lock(&seen.lock);
    seen.n++;
    seen.done[(int)*input]++;
    seen.ok += !answer->error;
    seen.cancelled += answer->error == FL_CANCELLED;
    seen.failed += answer->error && answer->error != FL_CANCELLED;
    seen.wrong += !answer->error && answer->label != (int)*input;
    pthread_cond_signal(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void on_release(void *data, void *arg)
{
    (void)data, (void)arg;
    pthread_mutex_lock(&seen.lock);
    seen.released++;
    pthread_cond_signal(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
}

static void wait_for(const int *count, int n)
{
    pthread_mutex_lock(&seen.lock);
    while (*count < n)
        pthread_cond_wait(&seen.changed, &seen.lock);
    pthread_mutex_unlock(&seen.lock);
}

static struct async_request request_of(float *number)
{
    return (struct async_request){
        .request = {.input = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 1}, .data = number},
                    .release = on_release},
        .done = on_answer,
        .arg = number};
}

static float number[THREADS * EACH];

static void *send_many(void *arg)
{
    int first = *(int *)arg;
    struct error e;
    for (int i = first; i < first + EACH; i++) {
        struct async_request r = request_of(&number[i]);
        uint64_t id;
        if (async_send(async, &r, &id, &e))
            return arg;
    }
    return NULL;
}

static void many_threads_one_answer_each(void **state)
{
    pthread_t thread[THREADS];
    int first[THREADS];
    void *failed;
    start(&(struct fake_behaviour){0});
    for (int i = 0; i < THREADS * EACH; i++)
        number[i] = (float)i;
    for (int t = 0; t < THREADS; t++) {
        first[t] = t * EACH;
        assert_int_equal(pthread_create(&thread[t], NULL, send_many, &first[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(thread[t], &failed);
        assert_null(failed);
    }
    wait_for(&seen.n, THREADS * EACH);
    wait_for(&seen.released, THREADS * EACH);
    for (int i = 0; i < THREADS * EACH; i++)
        assert_int_equal(seen.done[i], 1);
    assert_int_equal(seen.ok, THREADS * EACH);
    assert_int_equal(seen.wrong, 0);
    stop();
    assert_int_equal(seen.released, THREADS * EACH);
}

static void answers_come_through_the_descriptor(void **state)
{
    struct async_answer answer[3];
    float mine[3] = {7, 8, 9};
    uint64_t id[3];
    struct error e;
    start(&(struct fake_behaviour){0});
    assert_int_equal(async_next(async, &answer[0]), FL_AGAIN);
    for (int i = 0; i < 3; i++) {
        struct async_request r = request_of(&mine[i]);
        r.done = NULL;
        r.request.release = NULL; /* copied */
        assert_int_equal(async_send(async, &r, &id[i], &e), FL_OK);
    }
    for (int got = 0; got < 3;) {
        struct pollfd fd = {.fd = async_fd(async), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, 5000), 1);
        while (async_next(async, &answer[got]) == FL_OK)
            got++;
    }
    assert_int_equal(poll(&(struct pollfd){.fd = async_fd(async), .events = POLLIN}, 1, 0), 0);
    stop(); /* what is held outlives the client */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answer[i].id, id[i]);
        assert_ptr_equal(answer[i].arg, &mine[i]);
        assert_int_equal(answer[i].answer.label, (int)mine[i]);
        assert_null(answer[i].scores);
        async_release(&answer[i]);
        async_release(&answer[i]);
    }
}

/* The server says nothing: so the client itself ends what was cancelled. */
static void what_is_cancelled_ends_soon(void **state)
{
    struct async_request r = request_of(&number[0]);
    struct error e;
    uint64_t id;
    start(&(struct fake_behaviour){.silent_from = 1});
    number[0] = 0;
    assert_int_equal(async_send(async, &r, &id, &e), FL_OK);
    assert_int_equal(async_cancel(async, id + 1), FL_NOT_FOUND);
    assert_int_equal(async_cancel(async, id), FL_OK);
    assert_int_equal(async_cancel(async, id), FL_OK);
    wait_for(&seen.cancelled, 1);
    assert_int_equal(async_cancel(async, id), FL_OK); /* it is over */
    while (!server.cancelled)
        poll(NULL, 0, 1);
    stop();
    assert_int_equal(seen.n, 1);
    assert_int_equal(server.cancelled, 1);
    assert_int_equal(seen.released, 1);
}

/* Nothing is lost when it ends with requests under way, and no more of them are taken than it can hold. */
static void the_end_answers_all(void **state)
{
    struct error e;
    uint64_t id;
    int taken = 0, rc;
    start(&(struct fake_behaviour){.silent_from = 1});
    number[0] = 0;
    for (;;) {
        struct async_request r = request_of(&number[0]);
        if ((rc = async_send(async, &r, &id, &e)))
            break;
        taken++;
    }
    assert_int_equal(rc, FL_OVERLOADED);
    assert_int_equal(taken, ASYNC_MOST);
    stop();
    assert_int_equal(seen.n, taken);
    assert_int_equal(seen.cancelled + seen.failed, taken);
    assert_int_equal(seen.released, taken + 1);
}

static void a_bad_request_has_its_error_as_answer(void **state)
{
    struct async_request r = request_of(&number[0]);
    struct error e;
    uint64_t id;
    start(&(struct fake_behaviour){0});
    r.request.input.dim[0] = -3;
    assert_int_equal(async_send(async, &r, &id, &e), FL_OK);
    wait_for(&seen.failed, 1);
    stop();
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.released, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_threads_one_answer_each),
        cmocka_unit_test(answers_come_through_the_descriptor),
        cmocka_unit_test(what_is_cancelled_ends_soon),
        cmocka_unit_test(the_end_answers_all),
        cmocka_unit_test(a_bad_request_has_its_error_as_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
