/* test_frames.c - messages over real sockets: whole, checked, never half */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "config/address.h"
#include "wire/frames.h"

static void *context, *router, *dealer;
static const struct security anywhere = {.mode = SECURITY_NONE};
static struct message message;
static zmq_msg_t payload;

static int set_up(void **state)
{
    struct error e = {0};
    struct socket_options o = {.mandatory = true};
    context = zmq_ctx_new();
    zmq_msg_init(&payload);
    return frames_socket(&router, context, ZMQ_ROUTER, FRAMES_BIND, "inproc://here", &o, NULL, &e) ||
           frames_socket(&dealer, context, ZMQ_DEALER, FRAMES_CONNECT, "inproc://here", NULL, NULL, &e);
}

static int tear_down(void **state)
{
    zmq_msg_close(&payload);
    zmq_close(dealer);
    zmq_close(router);
    return zmq_ctx_term(context);
}

static struct tensor vector(int64_t n)
{
    return (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, n}};
}

static struct message *request(uint64_t id, int64_t n)
{
    message.type = MESSAGE_REQUEST;
    message.request = (struct request){.id = id, .input = vector(n)};
    return &message;
}

static void fill_payload(size_t bytes)
{
    zmq_msg_close(&payload);
    zmq_msg_init_size(&payload, bytes);
    memset(zmq_msg_data(&payload), 7, bytes);
}

/* Receives on the router, waiting up to 5 s for something to be there. */
static int receive(struct peer *from, struct error *e)
{
    zmq_pollitem_t item = {.socket = router, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, 5000) != 1)
        return FL_DEADLINE;
    return frames_recv(router, from, &message, &payload, e);
}

static void test_there_and_back(void **state)
{
    struct error e = {0};
    struct peer from;
    fill_payload(400);
    assert_int_equal(frames_send(dealer, NULL, request(5, 100), &payload), FL_OK);
    assert_int_equal(zmq_msg_size(&payload), 0); /* moved */
    assert_int_equal(receive(&from, &e), FL_OK);
    assert_int_equal(message.request.id, 5);
    assert_int_equal(zmq_msg_size(&payload), 400);
    message.type = MESSAGE_STATUS;
    assert_int_equal(frames_send(router, &from, &message, NULL), FL_OK);
    assert_int_equal(frames_recv(dealer, NULL, &message, &payload, &e), FL_OK);
    assert_int_equal(message.type, MESSAGE_STATUS);
    assert_int_equal(zmq_msg_size(&payload), 0);
    assert_int_equal(frames_recv(dealer, NULL, &message, &payload, &e), FL_AGAIN);
}

static void test_sending_checks_the_payload(void **state)
{
    fill_payload(396);
    assert_int_equal(frames_send(dealer, NULL, request(1, 100), &payload), FL_SHAPE);
    assert_int_equal(zmq_msg_size(&payload), 396); /* still the caller's */
    assert_int_equal(frames_send(dealer, NULL, request(1, 100), NULL), FL_SHAPE);
}

static void test_unknown_peer(void **state)
{
    struct peer nobody = {.size = 5, .id = "nobod"};
    message.type = MESSAGE_STATUS;
    assert_int_equal(frames_send(router, &nobody, &message, NULL), FL_UNAVAILABLE);
}

static void test_full_queue(void **state)
{
    struct error e = {0};
    struct socket_options o = {.high_water = 3, .immediate = true};
    void *push, *pull;
    int rc = FL_OK, sent = 0, received = 0;
    assert_int_equal(frames_socket(&push, context, ZMQ_PUSH, FRAMES_BIND, "inproc://full", &o, NULL, &e),
                     FL_OK);
    fill_payload(40);
    assert_int_equal(frames_send(push, NULL, request(1, 10), &payload), FL_AGAIN); /* nobody there */
    assert_int_equal(zmq_msg_size(&payload), 40);
    assert_int_equal(frames_socket(&pull, context, ZMQ_PULL, FRAMES_CONNECT, "inproc://full", &o, NULL, &e),
                     FL_OK);
    for (; !rc && sent < 100; sent += !rc) {
        fill_payload(40);
        rc = frames_send(push, NULL, request((uint64_t)sent, 10), &payload);
    }
    assert_int_equal(rc, FL_AGAIN);
    assert_true(sent >= 3 && sent < 100);
    while (!frames_recv(pull, NULL, &message, &payload, &e)) /* all whole, none half */
        assert_int_equal(message.request.id, received++);
    assert_int_equal(received, sent);
    zmq_close(push);
    zmq_close(pull);
}

static void send_raw(int n, ...)
{
    va_list args;
    va_start(args, n);
    for (int i = 0; i < n; i++) {
        const char *bytes = va_arg(args, const char *);
        size_t size = va_arg(args, size_t);
        assert_int_equal(zmq_send(dealer, bytes, size, i < n - 1 ? ZMQ_SNDMORE : 0), (int)size);
    }
    va_end(args);
}

/* What came is refused with these words, and the next message is read as if nothing had been. */
static void refused(const char *says)
{
    struct error e = {0};
    struct peer from;
    assert_int_equal(receive(&from, &e), FL_PROTOCOL);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
    assert_int_equal(zmq_msg_size(&payload), 0);
    message.type = MESSAGE_DRAIN;
    assert_int_equal(frames_send(dealer, NULL, &message, NULL), FL_OK);
    assert_int_equal(receive(&from, &e), FL_OK);
    assert_int_equal(message.type, MESSAGE_DRAIN);
}

static void test_garbage_is_consumed_whole(void **state)
{
    uint8_t good[256];
    size_t size;
    const char *bytes = (const char *)good;
    char numbers[44] = {0};
    assert_int_equal(message_encode(request(9, 10), good, sizeof good, &size), FL_OK);
    send_raw(1, "", (size_t)0);
    refused("version 0");
    send_raw(1, "garbage", (size_t)7);
    refused("no valid message");
    send_raw(4, "garbage", (size_t)7, "a", (size_t)1, "b", (size_t)1, "c", (size_t)1);
    refused("no valid message");
    send_raw(1, bytes, size);
    refused("announces a payload of 40 bytes and has none");
    send_raw(2, bytes, size, numbers, (size_t)44);
    refused("payload has 44 bytes, the message announces 40");
    send_raw(2, bytes, size, numbers, (size_t)0);
    refused("payload has 0 bytes");
    send_raw(4, bytes, size, numbers, (size_t)40, "x", (size_t)1, "y", (size_t)1);
    refused("2 more frames");
}

static void test_addresses_that_are_refused(void **state)
{
    static const char *const bad[][2] = {
        {"tcp://0.0.0.0:5999", "not loopback"},
        {"tcp://*:5999", "not loopback"},
        {"tcp://127.0.0.1.evil.org:1", "not loopback"},
        {"udp://127.0.0.1:1", "not understood"},
        {"tcp://127.0.0.1:99999", "not understood"},
        {"tcp://127.0.0.1", "not understood"},
        {"ipc://", "not understood"},
        {"nonsense", "not understood"},
        {"tcp://::1:5999", "not understood"}, /* without brackets */
    };
    struct error e = {0};
    void *socket;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, bad[i][0], NULL, NULL, &e),
                         FL_CONFIG);
        assert_null(socket);
        if (!strstr(e.text, bad[i][1]))
            fail_msg("\"%s\" does not say \"%s\"", e.text, bad[i][1]);
    }
    assert_int_equal(
        frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, "tcp://0.0.0.0:*", NULL, &anywhere, &e),
        FL_OK);
    zmq_close(socket);
}

/* Sends one message from a new PUSH at `to` to a PULL bound by `endpoint` and `o`. */
static void passes(const char *endpoint, const struct socket_options *o, const struct security *security,
                   const char *to)
{
    struct error e = {0};
    char bound[128], connected[400];
    size_t size = sizeof bound;
    void *pull, *push;
    zmq_pollitem_t item;

    if (frames_socket(&pull, context, ZMQ_PULL, FRAMES_BIND, endpoint, o, security, &e))
        fail_msg("%s: %s", endpoint, e.text);
    zmq_getsockopt(pull, ZMQ_LAST_ENDPOINT, bound, &size);
    snprintf(connected, sizeof connected, "tcp://%s%s", to, strrchr(bound, ':'));
    if (frames_socket(&push, context, ZMQ_PUSH, FRAMES_CONNECT, connected, NULL, security, &e))
        fail_msg("%s: %s", connected, e.text);
    assert_int_equal(zmq_send(push, "x", 1, 0), 1);
    item = (zmq_pollitem_t){.socket = pull, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, 20000) != 1)
        fail_msg("bound %s as %s, nothing comes from %s", endpoint, bound, connected);
    zmq_close(push);
    zmq_close(pull);
}

static bool has_ipv6(void)
{
    void *socket;
    bool has = !frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, "tcp://[::1]:*", NULL, NULL, NULL);
    if (has)
        zmq_close(socket);
    return has;
}

/* Names are addresses of this machine; where one listens need not be what others connect to. */
static void test_names_and_bound_addresses(void **state)
{
    static const struct socket_options all = {.bind = "*"}, all6 = {.bind = "::"}, loopback = {.bind = "lo"};
    struct address_list list;
    struct error e = {0};
    char own[300] = "tcp://";
    void *socket;

    passes("tcp://localhost:*", NULL, NULL, "127.0.0.1");
    passes("tcp://127.0.0.1:*", NULL, NULL, "localhost");
    passes("tcp://elsewhere.invalid:*", &all, &anywhere, "127.0.0.1");
    passes("tcp://elsewhere.invalid:*", &loopback, &anywhere, "127.0.0.1");
    gethostname(own + 6, 256);
    strcat(own, ":*");
    if (!address_to_bind(&list, own, NULL, true, NULL)) { /* a machine need not know its own name */
        own[strlen(own) - 2] = '\0';
        passes("tcp://localhost:*", &(struct socket_options){.bind = own + 6}, &anywhere, own + 6);
    }
    if (has_ipv6()) {
        passes("tcp://[::1]:*", NULL, NULL, "[::1]");
        passes("tcp://elsewhere.invalid:*", &all6, &anywhere, "[::1]");
    }
    assert_int_equal(frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, "tcp://no-such-host.invalid:5999",
                                   NULL, &anywhere, &e),
                     FL_NOT_FOUND);
    assert_non_null(strstr(e.text, "`no-such-host.invalid` is not known here"));
    assert_int_equal(
        frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, "tcp://192.0.2.1:5999", NULL, &anywhere, &e),
        FL_CONFIG);
    assert_non_null(strstr(e.text, "this machine has no such address; `bind: '*'`"));
}

static void test_who_does_not_listen(void **state)
{
    char folder[] = "/tmp/freezeline-test-XXXXXX", endpoint[192], line[256];
    struct error e = {0};
    void *socket;
    size_t size = sizeof endpoint;

    assert_non_null(mkdtemp(folder));
    snprintf(endpoint, sizeof endpoint, "ipc://%s/socket", folder);
    assert_int_equal(address_reach(endpoint, 100, &e), FL_NOT_FOUND);
    assert_non_null(strstr(e.text, "there is no such socket"));
    assert_int_equal(frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e), FL_OK);
    assert_int_equal(address_reach(endpoint, 100, &e), FL_OK);
    zmq_close(socket);
    assert_int_equal(
        frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, "tcp://127.0.0.1:*", NULL, NULL, &e), FL_OK);
    zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size);
    assert_int_equal(address_reach(endpoint, 1000, &e), FL_OK);
    assert_int_equal(address_reach("tcp://127.0.0.1:1", 1000, &e), FL_UNAVAILABLE);
    assert_non_null(strstr(e.text, "nobody listens there"));
    assert_int_equal(address_reach("tcp://no-such-host.invalid:5999", 1000, &e), FL_NOT_FOUND);
    zmq_close(socket);
    snprintf(line, sizeof line, "rm -r %s", folder);
    assert_int_equal(system(line), 0);
}

/* Someone removes the file of a socket, again and again: those who are connected stay so, and new ones find
 * it. */
static void test_a_removed_socket_is_made_again(void **state)
{
    char folder[] = "/tmp/freezeline-test-XXXXXX", endpoint[192], line[256];
    struct error e = {0};
    void *pull, *push[3];
    char byte;

    assert_non_null(mkdtemp(folder));
    snprintf(endpoint, sizeof endpoint, "ipc://%s/deep/socket", folder);
    assert_int_equal(frames_socket(&pull, context, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e), FL_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(frames_keep_bound(pull, endpoint, &e), FL_OK);
        assert_int_equal(frames_socket(&push[i], context, ZMQ_PUSH, FRAMES_CONNECT, endpoint, NULL, NULL, &e),
                         FL_OK);
        for (int k = 0; k <= i; k++) {
            zmq_pollitem_t item = {.socket = pull, .events = ZMQ_POLLIN};
            assert_int_equal(zmq_send(push[k], "x", 1, 0), 1);
            assert_int_equal(zmq_poll(&item, 1, 20000), 1);
            assert_int_equal(zmq_recv(pull, &byte, 1, 0), 1);
        }
        snprintf(line, sizeof line, "rm -r %s/deep", folder);
        assert_int_equal(system(line), 0);
        assert_int_equal(frames_keep_bound(pull, endpoint, &e), FL_STALE);
        assert_non_null(strstr(e.text, "was removed and is made again"));
    }
    for (int i = 0; i < 3; i++)
        zmq_close(push[i]);
    zmq_close(pull);
    assert_int_equal(frames_keep_bound(NULL, "tcp://127.0.0.1:5", &e), FL_OK);
    snprintf(line, sizeof line, "rm -r %s", folder);
    assert_int_equal(system(line), 0);
}

static void test_occupied_port(void **state)
{
    struct error e = {0};
    char endpoint[128];
    size_t size = sizeof endpoint;
    void *first, *second;
    assert_int_equal(
        frames_socket(&first, context, ZMQ_PULL, FRAMES_BIND, "tcp://127.0.0.1:*", NULL, NULL, &e), FL_OK);
    zmq_getsockopt(first, ZMQ_LAST_ENDPOINT, endpoint, &size);
    assert_int_equal(frames_socket(&second, context, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e),
                     FL_CONFIG);
    assert_non_null(strstr(e.text, "address already in use"));
    zmq_close(first);
}

static void test_ipc_paths(void **state)
{
    char folder[] = "/tmp/freezeline-test-XXXXXX", endpoint[192], path[128], removal[160];
    struct error e = {0};
    struct stat st;
    void *first, *second;
    FILE *f;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a/b/socket", folder);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    assert_int_equal(frames_socket(&first, context, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e), FL_OK);
    snprintf(removal, sizeof removal, "%s/a/b", folder);
    assert_int_equal(stat(removal, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(frames_socket(&second, context, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e),
                     FL_CONFIG);
    assert_non_null(strstr(e.text, "already in use"));
    zmq_close(first);
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(frames_socket(&second, context, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e),
                     FL_CONFIG);
    assert_int_equal(stat(path, &st), 0); /* what is there stays */
    snprintf(removal, sizeof removal, "rm -r %s", folder);
    assert_int_equal(system(removal), 0);
}

/* A socket that a killed process left behind is taken over. */
static void test_stale_ipc_socket(void **state)
{
    char folder[] = "/tmp/freezeline-test-XXXXXX", endpoint[192], path[128];
    struct error e = {0};
    void *socket;
    pid_t child;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(endpoint, sizeof endpoint, "ipc://%s", path);
    child = fork();
    if (child == 0) {
        void *own = zmq_ctx_new();
        _exit(frames_socket(&socket, own, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e));
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(frames_socket(&socket, context, ZMQ_PULL, FRAMES_BIND, endpoint, NULL, NULL, &e), FL_OK);
    zmq_close(socket);
    for (int i = 0; i < 500 && rmdir(folder); i++) { /* libzmq removes the socket in its own time */
        unlink(path);
        usleep(1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_there_and_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sending_checks_the_payload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unknown_peer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_full_queue, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage_is_consumed_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_addresses_that_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_and_bound_addresses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_does_not_listen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_removed_socket_is_made_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_occupied_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ipc_paths, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_ipc_socket, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
