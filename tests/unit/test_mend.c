/* test_mend.c - when a connection is made again, and that it is */
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "wire/mend.h"

#define SECONDS(n) ((uint64_t)(n)*NS_PER_S)

static void one_that_takes_messages_is_left_alone(void **state)
{
    struct mend m = {0};
    for (uint64_t now = SECONDS(1); now < SECONDS(100); now += SECONDS(1))
        assert_false(mend_due(&m, true, 0, now));
}

static void one_that_takes_none_is_made_again_after_waits_that_grow(void **state)
{
    struct mend m = {0};
    int n = 0;
    for (uint64_t now = SECONDS(1); now <= SECONDS(1 + 2 + 4 + 8 + 8 + 8); now += SECONDS(1))
        n += mend_due(&m, false, 0, now);
    assert_int_equal(n, 5);
    assert_false(mend_due(&m, true, 0, SECONDS(100)));
    assert_false(mend_due(&m, false, 0, SECONDS(101)));
    assert_false(mend_due(&m, false, 0, SECONDS(103) - 1));
    assert_true(mend_due(&m, false, 0, SECONDS(103))); /* as at first */
}

static void one_that_is_silent_is_made_again(void **state)
{
    struct mend m = {0};
    uint64_t now = SECONDS(1);
    for (; now < SECONDS(50); now += SECONDS(1)) {
        m.heard_ns = now;
        assert_false(mend_due(&m, true, SECONDS(3), now));
    }
    for (; now <= SECONDS(52); now += SECONDS(1))
        assert_false(mend_due(&m, true, SECONDS(3), now));
    assert_false(mend_due(&m, true, SECONDS(3), SECONDS(53)));
    assert_true(mend_due(&m, true, SECONDS(3), SECONDS(55)));
    m.heard_ns = SECONDS(56);
    assert_false(mend_due(&m, true, SECONDS(3), SECONDS(56)));
    assert_false(mend_due(&m, true, SECONDS(3), SECONDS(59)));
}

/* Of a connection that is there, too: messages go over the new one. */
static void the_same_socket_connects_again(void **state)
{
    char endpoint[128];
    size_t size = sizeof endpoint;
    void *context = zmq_ctx_new(), *server = zmq_socket(context, ZMQ_ROUTER), *s;
    struct security security = {0};
    zmq_msg_t first, second, text;
    struct error e;
    assert_int_equal(zmq_bind(server, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(server, ZMQ_LAST_ENDPOINT, endpoint, &size), 0);
    assert_int_equal(frames_socket(&s, context, ZMQ_DEALER, FRAMES_CONNECT, endpoint,
                                   &(struct socket_options){.immediate = true}, &security, &e),
                     FL_OK);
    zmq_msg_init(&first);
    zmq_msg_init(&second);
    zmq_msg_init(&text);
    assert_int_equal(zmq_send(s, "a", 1, 0), 1);
    assert_true(zmq_msg_recv(&first, server, 0) > 0 && zmq_msg_recv(&text, server, 0) == 1);
    assert_int_equal(frames_connect_again(s, PARTY_BROKER, &security, &e), FL_OK);
    do /* what goes into the old one is lost */
        zmq_send(s, "b", 1, ZMQ_DONTWAIT);
    while (zmq_poll(&(zmq_pollitem_t){.socket = server, .events = ZMQ_POLLIN}, 1, 5) < 1);
    assert_true(zmq_msg_recv(&second, server, 0) > 0 && zmq_msg_recv(&text, server, 0) == 1);
    assert_memory_equal(zmq_msg_data(&text), "b", 1);
    zmq_msg_close(&first);
    zmq_msg_close(&second);
    zmq_msg_close(&text);
    frames_close(s, 0);
    frames_close(server, 0);
    zmq_ctx_term(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_takes_messages_is_left_alone),
        cmocka_unit_test(one_that_takes_none_is_made_again_after_waits_that_grow),
        cmocka_unit_test(one_that_is_silent_is_made_again),
        cmocka_unit_test(the_same_socket_connects_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
