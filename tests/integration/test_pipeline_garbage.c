/* test_pipeline_garbage.c - what is no message, on every socket of a running pipeline; then a request as ever
 */
#include "harness.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "wire/frames.h"
#include "link/greeting.h"
#include "link/ring.h"

#define PIXELS (3 * 16 * 16)

static const char yaml[] =
    "stages: 3\nkernels: openblas\ncache: {wait_us: 1000}\nupdates: {sample: 0, audit: 0}\n"
    "broker: {deadline_ms: 20000, heartbeat_ms: 50}\n";

static void send_frames(void *socket, int n, const void *const *data, const size_t *size)
{
    for (int i = 0; i < n; i++)
        zmq_send(socket, data[i], size[i], i + 1 < n ? ZMQ_SNDMORE : 0);
}

/* Random frames, mutations of a good message, messages of the wrong type, too many frames, empty frames. */
static void pour(void *socket, uint64_t seed)
{
    static uint8_t noise[5000], good[MESSAGE_MAX_ENCODED];
    static struct message m;
    static const enum message_type types[] = {MESSAGE_STATUS,  MESSAGE_DRAIN,   MESSAGE_ANSWER,
                                              MESSAGE_VERDICT, MESSAGE_OUTCOME, MESSAGE_HEARTBEAT,
                                              MESSAGE_RESULT,  MESSAGE_CANCEL};
    size_t size;
    uint64_t x = seed;
    for (int i = 0; i < 400; i++) {
        const void *data[5] = {noise, noise + 7, noise, noise, noise};
        size_t sizes[5] = {(size_t)(x >> 40) % 3000, (size_t)(x >> 20) % 900, 0, 1, 17};
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)((x = x * 6364136223846793005u + 1442695040888963407u) >> 56);
        send_frames(socket, 1 + i % 5, data, sizes);
    }
    for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
        memset(&m, 0, sizeof m);
        m.type = types[t];
        if (m.type == MESSAGE_DRAIN || m.type == MESSAGE_STATUS) /* these are for clients to send */
            continue;
        if (message_encode(&m, good, sizeof good, &size))
            continue;
        zmq_send(socket, good, size, 0);
        for (size_t k = 0; k < size && k < 200; k++) {
            uint8_t kept = good[k];
            good[k] ^= (uint8_t)(1 + (x >> 33) % 255);
            zmq_send(socket, good, size, 0);
            zmq_send(socket, good, k, 0);
            good[k] = kept;
            x = x * 6364136223846793005u + 1;
        }
    }
}

static void pour_into(const struct pipeline *p, int type, const char *endpoint, uint64_t seed)
{
    void *context = zmq_ctx_new(), *socket;
    struct error e = {FL_OK, ""};
    int linger = 5000;
    if (frames_socket(&socket, context, type, FRAMES_CONNECT, endpoint, NULL, &p->security, &e))
        fail_msg("%s", e.text);
    pour(socket, seed);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_close(socket);
    zmq_ctx_term(context);
}

/* Bytes that aren't even ZeroMQ's. */
static void raw_bytes(const char *endpoint)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char junk[4096];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(!strncmp(endpoint, "ipc://", 6));
    strncpy(address.sun_path, endpoint + 6, sizeof address.sun_path - 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    memset(junk, 0x5a, sizeof junk);
    send(fd, junk, sizeof junk, MSG_NOSIGNAL);
    close(fd);
}

static void assert_serves(struct client *client)
{
    float data[PIXELS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    struct error e = {FL_OK, ""};
    struct answer a;
    int n;
    harness_random(data, PIXELS, 1);
    for (int i = 0; i < 5; i++) {
        if (client_infer(client, &in, 0, 0, &a, NULL, 0, &n, &e))
            fail_msg("%s", e.text);
        if (a.error)
            fail_msg("%s: %s", error_name((int)a.error), a.text);
    }
}

static void send_input(void *socket, size_t bytes)
{
    struct message m = {.type = MESSAGE_REQUEST};
    zmq_msg_t payload;
    m.request =
        (struct request){.id = 1, .input = {.dtype = TENSOR_U8, .rank = 2, .dim = {1, (int64_t)bytes}}};
    zmq_msg_init_size(&payload, bytes);
    memset(zmq_msg_data(&payload), 0, bytes);
    if (frames_send(socket, NULL, &m, &payload))
        zmq_msg_close(&payload);
}

/* An input a little over the limit is refused, so that it is sent to no worker. A frame far beyond it ends
 * its sender's connection, and nobody else's. */
static void test_too_large_a_request_ends_its_own_connection(void **state)
{
    static const char small[] = "stages: 3\nkernels: openblas\nexits: none\n"
                                "broker: {deadline_ms: 20000, max_request_mb: 0.5}\n";
    struct harness *h = harness_new(NULL, small);
    const struct pipeline *p = harness_pipeline(h);
    void *context = zmq_ctx_new(), *socket, *huge = calloc(1, 600000);
    struct tensor in = {.dtype = TENSOR_U8, .rank = 2, .dim = {1, 600000}, .data = huge};
    struct error e = {FL_OK, ""};
    struct message *m = malloc(sizeof *m);
    struct client *client;
    zmq_pollitem_t item;
    zmq_msg_t payload;
    uint64_t id;
    harness_pipeline_up(h);
    client = harness_client(h);
    assert_int_equal(client_submit(client, &in, 0, 0, &id, &e), FL_TOO_LARGE); /* said before it is sent */
    if (frames_socket(&socket, context, ZMQ_DEALER, FRAMES_CONNECT, p->broker.requests, NULL, &p->security,
                      &e))
        fail_msg("%s", e.text);
    send_input(socket, 600000);
    item = (zmq_pollitem_t){.socket = socket, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, 20000), 1);
    zmq_msg_init(&payload);
    assert_int_equal(frames_recv(socket, NULL, m, &payload, &e), FL_OK);
    assert_int_equal(m->type, MESSAGE_ANSWER);
    assert_int_equal(m->answer.error, FL_TOO_LARGE);
    zmq_msg_close(&payload);
    for (int i = 0; i < 20; i++)
        send_input(socket, 1000000);
    assert_serves(client);
    zmq_close(socket);
    zmq_ctx_term(context);
    client_free(client);
    free(m);
    free(huge);
    harness_free(h);
}

static void test_garbage_is_survived_everywhere(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    const struct pipeline *p = harness_pipeline(h);
    struct client *client;
    harness_pipeline_up(h);
    client = harness_client(h);
    assert_serves(client);
    pour_into(p, ZMQ_DEALER, p->broker.requests, 1);
    pour_into(p, ZMQ_DEALER, p->broker.control, 2);
    pour_into(p, ZMQ_PUSH, p->broker.results, 3);
    for (int s = 0; s < p->n_stages; s++)
        pour_into(p, ZMQ_PUSH, p->stage[s].replica[0].endpoint, 4 + (uint64_t)s);
    raw_bytes(p->broker.requests);
    raw_bytes(p->broker.control);
    raw_bytes(p->broker.results);
    raw_bytes(p->stage[0].replica[0].endpoint);
    assert_serves(client);
    harness_expect(h, 0, "requests socket: ", 1);
    harness_expect(h, 1, "jobs socket: ", 1);
    assert_in_range(harness_count(h, 0, " socket: "), 1, 60); /* counted, not logged one by one */
    for (int i = 0; i < 4; i++)
        assert_int_equal(harness_count(h, i, " ready: "), 1); /* nobody was started anew */
    client_free(client);
    harness_free(h);
}

/* --- through shared memory --- */

struct hostile_lane {
    int fd, wake;
    size_t bytes;
    uint8_t *memory;
    struct ring out;
};

static void lane_to(struct hostile_lane *l, const char *endpoint)
{
    struct sockaddr_un to;
    struct greeting g = {.magic = GREETING_MAGIC};
    struct pollfd wait;
    int fds[2], mine = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(greeting_address(endpoint, &to));
    assert_int_equal(connect(l->fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(greeting_send(l->fd, &g, &mine, 1), 0);
    wait = (struct pollfd){.fd = l->fd, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, 20000), 1);
    assert_int_equal(greeting_receive(l->fd, &g, fds), 2);
    l->wake = fds[1];
    l->bytes = ring_memory(g.in_bytes) + ring_memory(g.out_bytes);
    l->memory = mmap(NULL, l->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
    assert_true(l->memory != MAP_FAILED);
    ring_open(&l->out, l->memory, g.in_bytes, false);
    close(fds[0]);
    close(mine);
}

static void leave(struct hostile_lane *l)
{
    munmap(l->memory, l->bytes);
    close(l->wake);
    close(l->fd);
}

/* Records of noise, as far as there is room; then noise wherever positions and heads lie. */
static void scribble(const char *endpoint, uint64_t x)
{
    struct hostile_lane l;
    uint8_t noise[900];
    lane_to(&l, endpoint);
    for (int i = 0; i < 200 && ring_reserve(&l.out, x >> 58, sizeof noise); i++) {
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)((x = x * 6364136223846793005u + 1442695040888963407u) >> 56);
        ring_commit(&l.out, x >> 58, noise, 1 + i % sizeof noise);
        eventfd_write(l.wake, 1);
    }
    for (int i = 0; i < 20000; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        memcpy(l.memory + (x >> 40) % (i % 2 ? 8 : l.bytes / RING_ALIGN) * RING_ALIGN, &x, sizeof x);
        if (i % 100 == 0)
            eventfd_write(l.wake, 1);
    }
    leave(&l);
}

static void test_nonsense_in_shared_memory_ends_its_own_lane(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    const struct pipeline *p = harness_pipeline(h);
    struct client *client;
    harness_pipeline_up(h);
    client = harness_client(h);
    assert_serves(client);
    for (uint64_t round = 1; round <= 5; round++) {
        scribble(p->broker.requests, round);
        scribble(p->broker.results, 10 + round);
        for (int s = 0; s < p->n_stages; s++)
            scribble(p->stage[s].replica[0].endpoint, 20 + round + (uint64_t)s);
        assert_serves(client);
    }
    for (int i = 0; i < 4; i++)
        assert_int_equal(harness_count(h, i, " ready: "), 1); /* nobody was started anew */
    client_free(client);
    harness_free(h);
}

/* A request whose envelope can be read but whose tensor is not there is told so. */
static void test_a_request_without_its_tensor_is_answered(void **state)
{
    static struct message m;
    static uint8_t buf[MESSAGE_MAX_ENCODED];
    struct harness *h = harness_new(NULL, yaml);
    const struct pipeline *p = harness_pipeline(h);
    void *context = zmq_ctx_new(), *socket;
    struct error e = {FL_OK, ""};
    zmq_pollitem_t item;
    zmq_msg_t payload;
    size_t size;
    harness_broker(h);
    if (frames_socket(&socket, context, ZMQ_DEALER, FRAMES_CONNECT, p->broker.requests, NULL, &p->security,
                      &e))
        fail_msg("%s", e.text);
    m.type = MESSAGE_REQUEST;
    m.request.id = 99;
    m.request.input = (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}};
    assert_int_equal(message_encode(&m, buf, sizeof buf, &size), 0);
    zmq_send(socket, buf, size, ZMQ_SNDMORE);
    zmq_send(socket, "short", 5, 0);
    item = (zmq_pollitem_t){.socket = socket, .events = ZMQ_POLLIN};
    assert_int_equal(zmq_poll(&item, 1, 10000), 1);
    zmq_msg_init(&payload);
    assert_int_equal(frames_recv(socket, NULL, &m, &payload, &e), 0);
    assert_int_equal(m.type, MESSAGE_ANSWER);
    assert_int_equal(m.answer.id, 99);
    assert_int_equal(m.answer.error, FL_PROTOCOL);
    zmq_msg_close(&payload);
    zmq_close(socket);
    zmq_ctx_term(context);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_large_a_request_ends_its_own_connection),
        cmocka_unit_test(test_garbage_is_survived_everywhere),
        cmocka_unit_test(test_nonsense_in_shared_memory_ends_its_own_lane),
        cmocka_unit_test(test_a_request_without_its_tensor_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
