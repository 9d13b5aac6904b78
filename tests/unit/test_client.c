/* test_client.c - the client library against a broker of a few lines */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "client/client.h"
#include "wire/frames.h"

static char folder[64];
static struct pipeline *pipeline;
static struct client *client;
static void *context, *broker;
static float pixels[12];
static struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 2, 2}, .data = pixels};
static struct message message;

static int set_up(void **state)
{
    struct error e = {0};
    char text[160];
    struct socket_options o = {.mandatory = true};
    strcpy(folder, "/tmp/freezeline-test-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(text, sizeof text, "model: m.onnx\nbroker: {requests: 'ipc://%s/requests', deadline_ms: 50}\n",
             folder);
    context = zmq_ctx_new();
    if (pipeline_parse(&pipeline, text, strlen(text), "test.yaml", NULL, 0, &e) ||
        frames_socket(&broker, context, ZMQ_ROUTER, FRAMES_BIND, pipeline->broker.requests, &o, NULL, &e) ||
        client_new(&client, pipeline, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    return 0;
}

static int tear_down(void **state)
{
    client_free(client);
    zmq_close(broker);
    zmq_ctx_term(context);
    pipeline_free(pipeline);
    rmdir(folder);
    return 0;
}

/* The broker's next message. The client goes on meanwhile: it may not have been connected when it was to
 * send. */
static void broker_receives(struct peer *from, zmq_msg_t *payload)
{
    struct error e = {0};
    struct answer answer;
    int rc;
    for (int i = 0; (rc = frames_recv(broker, from, &message, payload, &e)) == FL_AGAIN && i < 6000; i++) {
        zmq_poll(&(zmq_pollitem_t){.socket = broker, .events = ZMQ_POLLIN}, 1, 10);
        assert_int_equal(client_receive(client, 0, &answer, NULL, 0, NULL, &e), FL_AGAIN);
    }
    assert_int_equal(rc, FL_OK);
}

static void broker_answers(const struct peer *to, uint64_t id, int32_t label)
{
    zmq_msg_t scores;
    zmq_msg_init_size(&scores, 3 * sizeof(float));
    memcpy(zmq_msg_data(&scores), (float[3]){1, 2, 3}, 3 * sizeof(float));
    message.type = MESSAGE_ANSWER;
    message.answer = (struct answer){
        .id = id, .label = label, .exit = -1, .scores = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 3}}};
    assert_int_equal(frames_send(broker, to, &message, &scores), FL_OK);
    zmq_msg_close(&scores);
}

static void test_answers_in_any_order_once(void **state)
{
    struct error e = {0};
    struct peer peer;
    struct answer answer;
    zmq_msg_t payload;
    uint64_t id[2], seen;
    float scores[2];
    int n;
    zmq_msg_init(&payload);
    for (int i = 0; i < 2; i++) {
        pixels[0] = (float)i;
        assert_int_equal(client_submit(client, &input, JOB_NO_CACHE, 60000, &id[i], &e), FL_OK);
        broker_receives(&peer, &payload);
        assert_int_equal(message.type, MESSAGE_REQUEST);
        assert_int_equal(message.request.flags, JOB_NO_CACHE);
        assert_int_equal(zmq_msg_size(&payload), sizeof pixels);
        assert_true(*(float *)zmq_msg_data(&payload) == (float)i);
        seen = message.request.id;
        assert_true(seen == id[i]);
    }
    assert_true(id[1] == id[0] + 1);
    broker_answers(&peer, id[1], 1);
    broker_answers(&peer, id[1], 1);        /* a duplicate */
    broker_answers(&peer, id[0] + 1000, 7); /* never asked */
    broker_answers(&peer, id[0], 0);
    assert_int_equal(client_receive(client, 60000, &answer, scores, 2, &n, &e), FL_OK);
    assert_int_equal(answer.label, 1);
    assert_int_equal(n, 2);
    assert_true(scores[1] == 2);
    assert_int_equal(client_receive(client, 60000, &answer, NULL, 0, &n, &e), FL_OK);
    assert_int_equal(answer.label, 0);
    assert_int_equal(client_receive(client, 20, &answer, NULL, 0, &n, &e), FL_AGAIN);
    zmq_msg_close(&payload);
}

static void test_no_answer_is_a_deadline(void **state)
{
    struct error e = {0};
    struct answer answer;
    uint64_t begin = clock_ns();
    assert_int_equal(client_infer(client, &input, 0, 0, &answer, NULL, 0, NULL, &e), FL_DEADLINE);
    assert_non_null(strstr(e.text, "no answer from ipc://"));
    assert_true(clock_ns() - begin >= 50 * NS_PER_MS);
}

/* Who sleeps at client_fd while an answer takes long is woken now and then, not again and again. */
static void test_descriptor_is_quiet_while_nothing_comes(void **state)
{
    struct pollfd fd = {.fd = client_fd(client), .events = POLLIN};
    struct error e = {0};
    struct peer peer;
    struct answer answer;
    zmq_msg_t payload;
    uint64_t id, begin = clock_ns(), ms;
    int rc, woken = 0;
    zmq_msg_init(&payload);
    assert_int_equal(client_submit(client, &input, 0, 60000, &id, &e), FL_OK);
    broker_receives(&peer, &payload);
    do {
        poll(&fd, 1, 60000);
        woken++;
        rc = client_receive(client, 0, &answer, NULL, 0, NULL, &e);
        ms = (clock_ns() - begin) / NS_PER_MS;
        if (ms > 300 && rc == FL_AGAIN && message.type == MESSAGE_REQUEST)
            broker_answers(&peer, id, 4);
    } while (rc == FL_AGAIN);
    assert_int_equal(rc, FL_OK);
    assert_int_equal(answer.label, 4);
    assert_true(woken < 20 + (int)ms / 5);
    assert_int_equal(client_receive(client, 0, &answer, NULL, 0, NULL, &e), FL_AGAIN);
    zmq_msg_close(&payload);
}

static void test_garbage_is_an_error_not_an_end(void **state)
{
    struct error e = {0};
    struct peer peer;
    struct answer answer;
    zmq_msg_t payload;
    uint64_t id;
    zmq_msg_init(&payload);
    assert_int_equal(client_submit(client, &input, 0, 60000, &id, &e), FL_OK);
    broker_receives(&peer, &payload);
    zmq_send(broker, peer.id, peer.size, ZMQ_SNDMORE);
    zmq_send(broker, "garbage", 7, 0);
    broker_answers(&peer, id, 4);
    assert_int_equal(client_receive(client, 60000, &answer, NULL, 0, NULL, &e), FL_PROTOCOL);
    assert_int_equal(client_receive(client, 60000, &answer, NULL, 0, NULL, &e), FL_OK);
    assert_int_equal(answer.label, 4);
    zmq_msg_close(&payload);
}

static void test_queue_is_bounded(void **state)
{
    struct error e = {0};
    struct client *lonely;
    struct pipeline p = *pipeline;
    uint64_t id;
    int rc = FL_OK, n = 0;
    p.broker.requests = "ipc:///tmp/freezeline-nobody-is-here";
    assert_int_equal(client_new(&lonely, &p, &e), FL_OK);
    while (!rc && n++ < 100000)
        rc = client_submit(lonely, &input, 0, 0, &id, &e);
    assert_int_equal(rc, FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "no broker"));
    assert_int_equal(client_status(lonely, 30, NULL, &e), FL_UNAVAILABLE);
    client_free(lonely);
}

static void test_bad_inputs(void **state)
{
    struct error e = {0};
    struct tensor bad = {.dtype = TENSOR_F32, .rank = 1, .dim = {-4}, .data = pixels};
    uint64_t id;
    assert_int_equal(client_submit(client, &bad, 0, 0, &id, &e), FL_SHAPE);
    bad.dim[0] = 0;
    assert_int_equal(client_submit(client, &bad, 0, 0, &id, &e), FL_SHAPE);
    assert_true(client_fd(client) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_answers_in_any_order_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_answer_is_a_deadline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_descriptor_is_quiet_while_nothing_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage_is_an_error_not_an_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_queue_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_inputs, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
