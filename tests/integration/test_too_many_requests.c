/* test_too_many_requests.c - real processes asked for more than they can do: refused at once, nothing late,
 * little in vain */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "system/limits.h"
#include "wire/frames.h"

#define PIXELS   (3 * 32 * 32)
#define CLOSED   24   /* in flight to learn what the pipeline can do: its stages have batches then */
#define LEARNING 150  /* answers */
#define FLOOD    200  /* in flight */
#define TIMES    6    /* so many more are asked for each one that was not refused */
#define ENOUGH   300  /* answers */
#define MOST     6000 /* asked */

/* Of a broker, in bytes: what waits in its sockets. AddressSanitizer keeps what was freed. */
#ifdef __SANITIZE_ADDRESS__
#define GROWTH (512 << 20)
#else
#define GROWTH (48 << 20)
#endif

struct counts {
    int asked, answered, refused, late, dropped;
};

static struct harness *up(struct client **client, const char *broker)
{
    char yaml[1024], model[HARNESS_PATH];
    struct harness *h;
    assert_non_null(realpath("configs/demo/demo.onnx", model));
    snprintf(yaml, sizeof yaml,
             "stages: 3\nexits: none\ncache: {kind: none}\nbroker: {%s, dead_after_ms: 60000}\n", broker);
    h = harness_new(model, yaml);
    harness_pipeline_up(h);
    *client = harness_client(h);
    return h;
}

static void ask(struct client *c, uint32_t deadline_ms, struct counts *n)
{
    static float data[PIXELS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}, .data = data};
    struct error e = {FL_OK, ""};
    uint64_t id;
    if (client_submit(c, &in, 0, deadline_ms, &id, &e))
        fail_msg("%s", e.text);
    n->asked++;
}

static struct answer take(struct client *c, struct counts *n)
{
    struct error e = {FL_OK, ""};
    struct answer a;
    if (client_receive(c, 60000, &a, NULL, 0, NULL, &e))
        fail_msg("no answer: %s", e.text);
    n->answered += a.error == FL_OK;
    n->refused += a.error == FL_OVERLOADED;
    n->late += a.error == FL_DEADLINE && a.attempts;
    n->dropped += a.error == FL_DEADLINE && !a.attempts;
    assert_true(a.error == FL_OK || a.error == FL_OVERLOADED || a.error == FL_DEADLINE);
    return a;
}

static int over(const struct counts *n)
{
    return n->answered + n->refused + n->late + n->dropped;
}

/* How long an answer takes with some in flight, at the median. */
static uint32_t learn_ms(struct client *c)
{
    struct counts n = {0};
    uint64_t took = 0;
    while (n.answered < LEARNING) {
        while (n.asked - over(&n) < CLOSED)
            ask(c, 0, &n);
        took += take(c, &n).total_ns;
        assert_int_equal(n.refused + n.late + n.dropped, 0);
    }
    while (over(&n) < n.asked)
        take(c, &n);
    return (uint32_t)(took / LEARNING / NS_PER_MS) + 1;
}

/* Hundreds in flight with a deadline of what dozens take: most are refused at once and told when to try
 * again, what is answered is in time, and of what is sent to the stages nearly all is answered. */
static void test_a_flood_is_refused(void **state)
{
    struct client *client;
    struct harness *h = up(&client, "deadline_ms: 60000, max_requests: 1000");
    uint32_t deadline_ms = 4 * learn_ms(client);
    struct status_reply s;
    struct counts n = {0};
    deadline_ms = deadline_ms > 200 ? deadline_ms : 200; /* less than that a busy machine takes away */
    while (n.answered < ENOUGH && n.asked < MOST) {
        struct answer a;
        while (n.asked - over(&n) < FLOOD && n.asked < FLOOD + TIMES * (over(&n) - n.refused))
            ask(client, deadline_ms, &n);
        a = take(client, &n);
        if (a.error == FL_OVERLOADED)
            assert_in_range(a.retry_after_ms, 1, 10 * deadline_ms);
        if (a.error == FL_OK)
            assert_in_range(a.total_ns, 1, deadline_ms * NS_PER_MS);
    }
    while (over(&n) < n.asked)
        take(client, &n);
    print_message("deadline %u ms: of %d asked %d answered, %d refused, %d dropped while waiting, %d late\n",
                  deadline_ms, n.asked, n.answered, n.refused, n.dropped, n.late);
    assert_true(n.answered >= ENOUGH);
    assert_in_range(n.refused, 100, n.asked);
    assert_true(n.late < n.answered);
    s = harness_status(client);
    assert_int_equal(s.in_flight, 0);
    assert_int_equal(s.waiting, 0);
    assert_true(s.gap_ns > 0);
    client_free(client);
    harness_free(h);
}

struct waiting {
    struct client *client;
    uint64_t in_flight;
};

static bool are_in_flight(void *arg)
{
    struct waiting *w = arg;
    struct status_reply s = harness_status(w->client);
    return s.in_flight == w->in_flight && s.waiting < s.in_flight;
}

/* A first stage that stands still has two batches before it, whatever its sockets would take; the rest waits
 * in the broker. */
static void test_sockets_hold_no_backlog(void **state)
{
    enum { ASKED = 60, BATCH = 8 };
    struct waiting w = {.in_flight = ASKED};
    struct harness *h = up(&w.client, "deadline_ms: 60000");
    struct client *asker = harness_client(h);
    struct counts n = {0};
    struct status_reply s;
    ask(asker, 0, &n); /* there is a way through all stages */
    take(asker, &n);
    harness_signal(h, 1, SIGSTOP); /* stage 0 */
    for (int i = 0; i < ASKED; i++)
        ask(asker, 0, &n);
    harness_until(are_in_flight, &w, 60, "60 requests are in flight, the first ones sent");
    s = harness_status(w.client);
    assert_in_range(s.waiting, ASKED - 2 * BATCH, ASKED - 1);
    harness_signal(h, 1, SIGCONT);
    while (over(&n) < n.asked)
        take(asker, &n);
    assert_int_equal(n.answered, n.asked);
    client_free(asker);
    client_free(w.client);
    harness_free(h);
}

/* A client that asks and never reads: its socket takes one answer. */
struct mute {
    void *context, *socket;
    struct message m;
    int asked;
};

static void mute_open(struct mute *c, const struct pipeline *p)
{
    const struct socket_options narrow = {.high_water = 8, .unread = 1};
    struct error e = {FL_OK, ""};

    memset(c, 0, sizeof *c);
    c->context = zmq_ctx_new();
    c->m.type = MESSAGE_REQUEST;
    if (frames_socket(&c->socket, c->context, ZMQ_DEALER, FRAMES_CONNECT, p->broker.requests, &narrow,
                      &p->security, &e))
        fail_msg("%s", e.text);
}

/* As much as the broker takes. */
static void mute_ask(struct mute *c)
{
    zmq_msg_t payload;
    int rc = FL_OK;

    while (!rc) {
        c->m.request.id = (uint64_t)c->asked + 1;
        c->m.request.deadline_ms = 1000;
        c->m.request.input = (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}};
        zmq_msg_init_size(&payload, PIXELS * sizeof(float));
        memset(zmq_msg_data(&payload), 0, PIXELS * sizeof(float));
        if ((rc = frames_send(c->socket, NULL, &c->m, &payload)))
            zmq_msg_close(&payload);
        else
            c->asked++;
    }
}

static bool none_in_flight(void *client)
{
    return !harness_status(client).in_flight;
}

/* Whoever reads nothing has what waits for him dropped: others are answered as ever, in all his connections
 * nothing piles up, and what he asked is over by its deadline. */
static void is_ignored_by_mutes(const char *requests)
{
    enum { MUTES = 4, ASKED = 4000 };
    char broker[200];
    struct mute mute[MUTES];
    struct client *client;
    struct harness *h;
    struct counts n = {0};
    uint64_t before;
    int asked = 0;

    snprintf(broker, sizeof broker, "deadline_ms: 60000, max_requests: 64%s", requests);
    h = up(&client, broker);
    ask(client, 0, &n);
    take(client, &n);
    before = limits_resident_bytes((uint64_t)harness_pid(h, 0));
    for (int i = 0; i < MUTES; i++)
        mute_open(&mute[i], harness_pipeline(h));
    for (; asked < ASKED; asked = mute[0].asked + mute[1].asked + mute[2].asked + mute[3].asked) {
        for (int i = 0; i < MUTES; i++)
            mute_ask(&mute[i]);
        ask(client, 0, &n);
        take(client, &n);
    }
    print_message("%d asked by who reads nothing; of %d others %d answered\n", asked, n.asked, n.answered);
    assert_int_equal(n.late + n.dropped, 0);
    assert_true(n.answered > 0);
    harness_until(none_in_flight, client, 60, "all is over that was asked");
    assert_in_range(limits_resident_bytes((uint64_t)harness_pid(h, 0)), 1, before + GROWTH);
    for (int answered = n.answered;
         n.answered < answered + 20;) { /* with the mutes there, nobody is refused now */
        ask(client, 0, &n);
        assert_int_equal(take(client, &n).error, FL_OK);
    }
    for (int i = 0; i < MUTES; i++) {
        zmq_close(mute[i].socket);
        zmq_ctx_term(mute[i].context);
    }
    client_free(client);
    harness_free(h);
}

static void test_who_reads_nothing_costs_others_nothing(void **state)
{
    char tcp[80];
    int port = 20000 + (int)getpid() % 10000;

    is_ignored_by_mutes("");
    snprintf(tcp, sizeof tcp, ", requests: 'tcp://127.0.0.1:%d'", port);
    is_ignored_by_mutes(tcp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flood_is_refused),
        cmocka_unit_test(test_sockets_hold_no_backlog),
        cmocka_unit_test(test_who_reads_nothing_costs_others_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
