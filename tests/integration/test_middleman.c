/* test_middleman.c - somebody between the processes changes what they send: every tcp connection of a
 * pipeline goes through a relay that flips, drops, doubles and cuts off bytes. Nothing ends, nothing wrong is
 * answered where keys protect the traffic, and the same processes serve again when it has gone. While the
 * relay is there, it can hold up what it changes.
 */
#include "steady_client.h"
#include "tool_world.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define WAYS         6 /* requests, control, results, two stages, cache */
#define REQUESTS_WAY 0
#define RESULTS      2
#define JOBS         4 /* to stage 1 */
#define PAIRS        128
#define REQUESTS     300
#define DEADLINE     500
#define MUTATE_1_IN  40

static const char *const way_key[WAYS] = {"broker.requests",
                                          "broker.control",
                                          "broker.results",
                                          "stages.0.replicas.0.endpoint",
                                          "stages.1.replicas.0.endpoint",
                                          "cache.endpoints"};

struct middleman {
    int listener[WAYS], port[WAYS], real[WAYS];
    int fd[PAIRS][2]; /* -1: free */
    int way[PAIRS];
    uint64_t seed;
    atomic_bool lies, stop;
    _Atomic uint64_t longer; /* the next long frame of that way promises so many bytes more; 0: none does */
    atomic_int longer_way, longer_from; /* from 0: who connects; 1: who binds */
    atomic_int changed;
    pthread_t thread;
};

static struct middleman relay;

static uint64_t draw(struct middleman *r)
{
    r->seed = r->seed * 6364136223846793005u + 1442695040888963407u;
    return r->seed >> 33;
}

/* A port that is free, below those that the system gives to connections. */
static int bind_somewhere(int *port)
{
    static int next;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    next = next ? next : 10000 + getpid() % 10000;
    do
        a.sin_port = htons((uint16_t)(*port = ++next));
    while (bind(fd, (struct sockaddr *)&a, sizeof a));
    return fd;
}

static void hang_up(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            close(pair[i]);
    pair[0] = pair[1] = -1;
}

static void take_connection(struct middleman *r, int way)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)r->real[way]),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int pair[2] = {accept4(r->listener[way], NULL, NULL, SOCK_CLOEXEC),
                   socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    int i = 0;

    while (i < PAIRS && r->fd[i][0] >= 0)
        i++;
    if (i == PAIRS || pair[0] < 0 || connect(pair[1], (struct sockaddr *)&to, sizeof to)) {
        hang_up(pair);
        return;
    }
    memcpy(r->fd[i], pair, sizeof pair);
    r->way[i] = way;
}

/* What becomes of n bytes: how many go on, or -1: the connection ends. */
static ssize_t tamper(struct middleman *r, uint8_t *bytes, ssize_t n, bool *twice)
{
    *twice = false;
    if (!r->lies || draw(r) % MUTATE_1_IN)
        return n;
    r->changed++;
    switch (draw(r) % 8) {
    case 0:
        return -1;
    case 1:
        return 0;
    case 2:
        *twice = true;
        return n;
    case 3:
        return n / 2;
    default:
        for (uint64_t k = draw(r) % 8 + 1; k; k--)
            bytes[draw(r) % (uint64_t)n] ^= (uint8_t)(1 + draw(r) % 255);
        return n;
    }
}

static bool put(int fd, const uint8_t *bytes, ssize_t n)
{
    while (n > 0) {
        ssize_t done = send(fd, bytes, (size_t)n, MSG_NOSIGNAL);
        if (done <= 0)
            return false;
        bytes += done;
        n -= done;
    }
    return true;
}

/* Makes a short frame, with which a piece begins, a long one, so that it can promise more; returns the size.
 */
static ssize_t as_long(uint8_t *bytes, ssize_t n)
{
    uint64_t length = bytes[1];
    if (bytes[0] > 1 || n < 2 + (ssize_t)length)
        return n;
    memmove(bytes + 9, bytes + 2, (size_t)n - 2);
    *bytes |= 2;
    for (int k = 8; k >= 1; k--, length >>= 8)
        bytes[k] = (uint8_t)length;
    return n + 7;
}

/* A frame of 256 bytes or more has 2 (and 1 where another follows) before 8 bytes of its length. */
static void lengthen(struct middleman *r, uint8_t *bytes, ssize_t n)
{
    for (ssize_t i = 0; r->longer && i + 9 < n; i++) {
        uint64_t length = 0;
        for (int k = 1; k <= 8; k++)
            length = length << 8 | bytes[i + k];
        if ((bytes[i] & ~1) != 2 || (i && length < 256) || length > 1 << 20)
            continue;
        length += r->longer;
        for (int k = 8; k >= 1; k--, length >>= 8)
            bytes[i + k] = (uint8_t)length;
        r->longer = 0;
        r->changed++;
    }
}

static void pass_on(struct middleman *r, int pair, int from)
{
    static uint8_t bytes[65536];
    int *fd = r->fd[pair];
    ssize_t n = recv(fd[from], bytes, sizeof bytes - 7, MSG_DONTWAIT);
    bool twice;

    if (n > 1 && r->longer && from == r->longer_from && r->way[pair] == r->longer_way) {
        n = as_long(bytes, n);
        lengthen(r, bytes, n);
    }
    if (n < 0 && errno == EAGAIN)
        return;
    if (n > 0)
        n = tamper(r, bytes, n, &twice);
    else
        n = -1;
    if (n < 0 || !put(fd[!from], bytes, n) || (twice && !put(fd[!from], bytes, n)))
        hang_up(fd);
}

static void *run(void *arg)
{
    struct middleman *r = arg;
    struct pollfd p[WAYS + 2 * PAIRS];
    while (!r->stop) {
        for (int i = 0; i < WAYS; i++)
            p[i] = (struct pollfd){.fd = r->listener[i], .events = POLLIN};
        for (int i = 0; i < 2 * PAIRS; i++)
            p[WAYS + i] = (struct pollfd){.fd = r->fd[i / 2][i % 2], .events = POLLIN};
        if (poll(p, WAYS + 2 * PAIRS, 50) <= 0)
            continue;
        for (int i = 0; i < 2 * PAIRS; i++)
            if (p[WAYS + i].revents && r->fd[i / 2][0] >= 0)
                pass_on(r, i / 2, i % 2);
        for (int i = 0; i < WAYS; i++)
            if (p[i].revents)
                take_connection(r, i);
    }
    return NULL;
}

static void relay_begin(void)
{
    memset(&relay, 0, sizeof relay);
    memset(relay.fd, -1, sizeof relay.fd);
    relay.seed = 13;
    for (int i = 0; i < WAYS; i++) {
        int fd = bind_somewhere(&relay.real[i]);
        relay.listener[i] = bind_somewhere(&relay.port[i]);
        assert_int_equal(listen(relay.listener[i], 64), 0);
        close(fd);
    }
    assert_int_equal(pthread_create(&relay.thread, NULL, run, &relay), 0);
}

static void relay_end(void)
{
    relay.stop = true;
    pthread_join(relay.thread, NULL);
    for (int i = 0; i < PAIRS; i++)
        hang_up(relay.fd[i]);
    for (int i = 0; i < WAYS; i++)
        close(relay.listener[i]);
}

/* Who binds a way listens behind the relay; everybody else connects to the relay. */
static int start(struct harness *h, const char *program, const int *way, int n, const char *stage)
{
    char set[3][96];
    for (int i = 0; i < 3; i++)
        snprintf(set[i], sizeof set[i], "%s=tcp://127.0.0.1:%d", way_key[way[i < n ? i : 0]],
                 relay.real[way[i < n ? i : 0]]);
    return harness_spawn(h, program, "--set", set[0], "--set", set[1], "--set", set[2],
                         stage ? "--stage" : NULL, stage, NULL);
}

static int infer(struct client *c, int input, int32_t *label)
{
    static float data[STEADY_NUMBERS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    struct answer a;
    struct error e;
    int rc;
    harness_random(data, STEADY_NUMBERS, (uint64_t)input);
    if ((rc = client_infer(c, &in, 0, DEADLINE, &a, NULL, 0, NULL, &e)))
        return rc;
    *label = a.label;
    return (int)a.error;
}

static bool serves(void *arg)
{
    int32_t label;
    for (int i = 0; i < 5; i++)
        if (infer(arg, i, &label))
            return false;
    return true;
}

/* Requests without waiting for one another; what is answered must be right where `right` says what that is.
 */
static void ask_through(struct client *c, const int32_t right[STEADY_INPUTS], bool check, int *answered)
{
    static float data[STEADY_NUMBERS];
    static int of[65536];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    struct answer a;
    struct error e;
    uint64_t id;
    for (int i = 0; i < REQUESTS; i++) {
        harness_random(data, STEADY_NUMBERS, (uint64_t)(i % STEADY_INPUTS));
        if (!client_submit(c, &in, 0, DEADLINE, &id, &e))
            of[id % 65536] = i % STEADY_INPUTS;
        while (!client_receive(c, 10, &a, NULL, 0, NULL, &e)) {
            *answered += !a.error;
            if (check && !a.error && a.label != right[of[a.id % 65536]])
                fail_msg("a changed message was answered: %d instead of %d", a.label,
                         right[of[a.id % 65536]]);
        }
    }
}

static void start_all(struct harness *h, int process[4])
{
    static const int broker[] = {0, 1, 2}, first[] = {3}, second[] = {4}, cache[] = {5};
    process[0] = start(h, "freezeline-broker", broker, 3, NULL);
    process[1] = start(h, "freezeline-stage", first, 1, "0");
    process[2] = start(h, "freezeline-stage", second, 1, "1");
    process[3] = start(h, "freezeline-cache", cache, 1, NULL);
}

/* None has ended before. */
static void stop_all(struct harness *h, const int process[4])
{
    for (int i = 0; i < 4; i++)
        assert_int_equal(kill(harness_pid(h, process[i]), 0), 0);
    for (int i = 3; i >= 0; i--) {
        harness_signal(h, process[i], SIGTERM);
        assert_int_equal(harness_wait(h, process[i]), 0);
    }
}

static struct harness *world(bool keys)
{
    char yaml[1024];

    struct harness *h;
    relay_begin();
    snprintf(yaml, sizeof yaml,
             "security: %s\n"
             "shared_memory: false\n"
             "exits: none\n"
             "stages:\n"
             "  - {last: block1.out, replicas: [{endpoint: 'tcp://127.0.0.1:%d'}]}\n"
             "  - {replicas: [{endpoint: 'tcp://127.0.0.1:%d'}]}\n"
             "cache: {endpoints: ['tcp://127.0.0.1:%d']}\n"
             "broker: {requests: 'tcp://127.0.0.1:%d', control: 'tcp://127.0.0.1:%d',\n"
             "         results: 'tcp://127.0.0.1:%d', heartbeat_ms: 50, dead_after_ms: 500}\n",
             keys ? "curve" : "loopback", relay.port[3], relay.port[4], relay.port[5], relay.port[0],
             relay.port[1], relay.port[2]);
    h = harness_new(NULL, yaml);
    if (keys)
        tool_ok(h, "keys make", "");
    return h;
}

/* The relay becomes honest and hangs up nothing: what it broke must become whole by itself. */
static void between(bool keys)
{
    struct harness *h = world(keys);
    int32_t right[STEADY_INPUTS];
    int process[4], answered = 0;
    struct client *c;

    start_all(h, process);
    c = harness_client(h);
    harness_until(serves, c, 60, "the pipeline serves");
    for (int i = 0; i < STEADY_INPUTS; i++)
        while (infer(c, i, &right[i]))
            ;
    relay.lies = true;
    ask_through(c, right, keys, &answered);
    relay.lies = false;
    print_message("%s: %d pieces changed, %d of %d requests answered\n", keys ? "curve" : "plain",
                  relay.changed, answered, REQUESTS);
    assert_true(relay.changed > 3);
    harness_until(serves, c, 60, "the pipeline serves again");
    client_free(c);
    stop_all(h, process);
    relay_end();
    harness_free(h);
}

static void changed_bytes_end_nothing(void **state)
{
    between(false);
}

/* What comes after a frame that promises more than it brings is swallowed, but not for long: where it
 * promises more than any frame may have, the connection ends at once; else when a few more have come. */
static void a_changed_length_is_got_over(void **state)
{
    static const struct {
        int way, from;
        uint64_t longer;
    } trials[] = {{JOBS, 0, 100 << 20},
                  {JOBS, 0, 20000},
                  {REQUESTS_WAY, 0, 10 << 20},
                  {RESULTS, 0, 100 << 20},
                  {REQUESTS_WAY, 1, 100 << 20}};
    struct harness *h = world(false);
    int process[4], before;
    struct client *c;
    int32_t label;

    start_all(h, process);
    c = harness_client(h);
    harness_until(serves, c, 60, "the pipeline serves");
    for (size_t i = 0; i < sizeof trials / sizeof *trials; i++) {
        int failed = 0;
        before = relay.changed;
        relay.longer_way = trials[i].way;
        relay.longer_from = trials[i].from;
        relay.longer = trials[i].longer;
        for (int right = 0; right < 10; right++)
            if (infer(c, right, &label)) {
                failed++;
                right = -1;
                assert_true(failed < 40);
            }
        assert_int_equal(relay.changed, before + 1);
        print_message("%llu bytes more: %d requests failed\n", (unsigned long long)trials[i].longer, failed);
    }
    client_free(c);
    stop_all(h, process);
    relay_end();
    harness_free(h);
}

static void changed_bytes_are_never_answered_where_keys_protect_them(void **state)
{
    between(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changed_bytes_end_nothing),
        cmocka_unit_test(a_changed_length_is_got_over),
        cmocka_unit_test(changed_bytes_are_never_answered_where_keys_protect_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
