/* test_two_brokers.c - two brokers side by side under load: one is killed, again and again, and no request is
 * lost
 *
 * How much later requests are answered that were under way then is printed: it depends on the machine.
 */
#include "tool_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "numbers/shuffle.h"

#define PIXELS  (3 * 16 * 16)
#define INPUTS  16
#define CLIENTS 4
#define WINDOW  6
#define TOTAL   240
#define ROUNDS  10

static const char yaml[] =
    "stages:\n"
    "  - {last: block1.out}\n"
    "  - {last: block2.out, replicas: 2}\n"
    "  - {}\n"
    "exits: none\n"
    "kernels: openblas\n"
    "broker: {replicas: 2, deadline_ms: 10000, heartbeat_ms: 50, dead_after_ms: 1500}\n";

struct asked {
    uint64_t id, since_ns;
    int input;
};

static struct {
    struct harness *h;
    int broker[2]; /* processes */
    float input[INPUTS][PIXELS];
    int32_t label[INPUTS];
    struct client *client[CLIENTS];
    struct asked asked[CLIENTS][WINDOW];
    int submitted, answered, errors;
    uint64_t killed_ns;
    uint64_t slow[ROUNDS * CLIENTS * WINDOW]; /* from the kill to the answer, of what was under way then */
    int n_slow;
    struct shuffle random;
} w;

static void start_broker(int index)
{
    char number[8];
    snprintf(number, sizeof number, "%d", index);
    w.broker[index] = harness_spawn(w.h, "freezeline-broker", "--index", number, NULL);
    harness_expect(w.h, w.broker[index], "every stage has a ready worker", 1);
}

static void begin(void)
{
    const struct pipeline *p;
    memset(&w, 0, sizeof w);
    w.h = harness_new(NULL, yaml);
    p = harness_pipeline(w.h);
    for (int i = 0; i < 2; i++)
        w.broker[i] = harness_spawn(w.h, "freezeline-broker", "--index", i ? "1" : "0", NULL);
    for (int s = 0; s < p->n_stages; s++)
        for (int r = 0; r < p->stage[s].n_replicas; r++)
            harness_stage(w.h, s, r);
    for (int i = 0; i < 2; i++)
        harness_expect(w.h, w.broker[i], "every stage has a ready worker", 1);
    for (int i = 0; i < CLIENTS; i++)
        w.client[i] = harness_client(w.h);
    for (int i = 0; i < INPUTS; i++)
        harness_random(w.input[i], PIXELS, (uint64_t)i);
}

static void end(void)
{
    for (int i = 0; i < CLIENTS; i++)
        client_free(w.client[i]);
    harness_free(w.h);
}

static struct tensor tensor_of(int input)
{
    return (struct tensor){.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = w.input[input]};
}

static void learn_labels(void)
{
    for (int i = 0; i < INPUTS; i++) {
        struct tensor t = tensor_of(i);
        struct answer a;
        struct error e;
        if (client_infer(w.client[i % CLIENTS], &t, 0, 0, &a, NULL, 0, NULL, &e) || a.error)
            fail_msg("%s%s", e.text, a.text);
        w.label[i] = a.label;
    }
}

static void submit(int client, struct asked *to)
{
    struct tensor t;
    struct error e;
    to->input = (int)shuffle_below(&w.random, INPUTS);
    t = tensor_of(to->input);
    to->since_ns = clock_ns();
    if (client_submit(w.client[client], &t, 0, 0, &to->id, &e))
        fail_msg("%s", e.text);
    w.submitted++;
}

static void take(int client, const struct answer *a)
{
    struct asked *q = w.asked[client];
    uint64_t now = clock_ns();
    int i = 0;
    while (i < WINDOW && q[i].id != a->id)
        i++;
    assert_in_range(i, 0, WINDOW - 1); /* asked, and not answered before */
    if (a->error)
        print_error("request failed: %s\n", a->text);
    w.errors += a->error != FL_OK;
    assert_true(a->error || a->label == w.label[q[i].input]);
    assert_true(now - q[i].since_ns <= 10000 * NS_PER_MS);
    if (w.killed_ns && q[i].since_ns < w.killed_ns)
        w.slow[w.n_slow++] = now - w.killed_ns;
    w.answered++;
    q[i].id = 0;
    if (w.submitted < TOTAL)
        submit(client, &q[i]);
}

/* A broker is killed when so many are answered. */
static void play(int victim, int at)
{
    struct answer a;
    struct error e;
    w.submitted = w.answered = 0;
    w.killed_ns = 0;
    for (int c = 0; c < CLIENTS; c++)
        for (int i = 0; i < WINDOW; i++)
            submit(c, &w.asked[c][i]);
    while (w.answered < TOTAL) {
        for (int c = 0; c < CLIENTS; c++)
            while (w.answered < TOTAL &&
                   !client_receive(w.client[c], w.killed_ns ? 1 : 0, &a, NULL, 0, NULL, &e))
                take(c, &a);
        if (w.answered >= at && !w.killed_ns) {
            w.killed_ns = clock_ns();
            harness_signal(w.h, w.broker[victim], SIGKILL);
            harness_wait(w.h, w.broker[victim]);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_killed_brokers_lose_nothing(void **state)
{
    begin();
    learn_labels();
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        int victim;
        shuffle_seed(&w.random, seed, 0);
        victim = (int)shuffle_below(&w.random, 2);
        play(victim, 20 + (int)shuffle_below(&w.random, TOTAL / 2));
        start_broker(victim);
    }
    assert_int_equal(w.errors, 0);
    assert_true(w.n_slow > 0);
    qsort(w.slow, (size_t)w.n_slow, sizeof *w.slow, by_size);
    print_message(
        "%d requests were under way when their broker or the other one was killed: answered %.0f ms later in "
        "the median, %.0f ms at p99\n",
        w.n_slow, (double)w.slow[w.n_slow / 2] / NS_PER_MS,
        (double)w.slow[(w.n_slow * 99 + 99) / 100 - 1] / NS_PER_MS);
    end();
}

/* What each says is put together. A broker that is stopped is left, too, and found again. */
static void test_a_stopped_broker_is_left(void **state)
{
    struct status_reply s;
    struct tensor t = tensor_of(0);
    struct answer a;
    struct error e;
    int brokers = 0;
    begin();
    learn_labels();
    s = harness_status(w.client[0]);
    assert_true(s.ready);
    assert_int_equal(s.answered, INPUTS);
    for (int i = 0; i < s.n_processes; i++)
        brokers += s.process[i].role == ROLE_BROKER;
    assert_int_equal(brokers, 2);
    for (int i = 0; i < 2; i++) { /* one of them is the home of the client */
        harness_signal(w.h, w.broker[i], SIGSTOP);
        if (client_infer(w.client[0], &t, 0, 0, &a, NULL, 0, NULL, &e) || a.error)
            fail_msg("%s%s", e.text, a.text);
        assert_int_equal(request_broker(a.request), !i);
        harness_signal(w.h, w.broker[i], SIGCONT);
    }
    end();
}

/* ---- under a supervisor ---- */

static const char two_stages[] =
    "stages:\n"
    "  - {last: block1.out}\n"
    "  - {}\n"
    "exits: none\n"
    "kernels: openblas\n"
    "broker: {replicas: 2, deadline_ms: 20000, heartbeat_ms: 50, dead_after_ms: 1000}\n";

static void cut_elsewhere(struct harness *h)
{
    char text[4096];
    FILE *f = fopen(harness_config(h), "r");
    char *at;
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_non_null(at = strstr(text, "block1.out"));
    at[strlen("block")] = '2';
    assert_non_null(f = fopen(harness_config(h), "w"));
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static bool both_serve(void *arg)
{
    struct status_reply s;
    int ready = 0, waiting = 0;
    if (client_status(arg, 5000, &s, NULL))
        return false;
    for (int i = 0; i < s.n_processes; i++) {
        ready += s.process[i].role != ROLE_CACHE && !strcmp(s.process[i].state, "ready");
        waiting += !strcmp(s.process[i].state, "waiting");
    }
    return s.ready && ready == 2 + 2 && !waiting; /* brokers and workers */
}

static void assert_both_are_named(void)
{
    const struct broker_config *b = &harness_pipeline(w.h)->broker;
    char text[2 * HARNESS_PATH];
    snprintf(text, sizeof text, "requests go to %.400s and %.400s\n", b->replica[0].requests,
             b->replica[1].requests);
    assert_said(text);
    json_t *status = tool_json(w.h, "status", ""), *list = json_object_get(status, "addresses");
    assert_int_equal(json_array_size(list), 2);
    for (int i = 0; i < 2; i++)
        assert_string_equal(json_string_value(json_array_get(list, (size_t)i)), b->replica[i].requests);
    json_decref(status);
}

/* All move on together, whichever broker a request is at; a broker that dies is started again. */
static void test_two_brokers_move_on_together(void **state)
{
    struct replaced broker;
    memset(&w, 0, sizeof w);
    w.h = harness_new(NULL, two_stages);
    tool_ok(w.h, "up", "");
    assert_both_are_named();
    for (int i = 0; i < CLIENTS; i++)
        w.client[i] = harness_client(w.h);
    for (int i = 0; i < INPUTS; i++)
        harness_random(w.input[i], PIXELS, (uint64_t)i);
    learn_labels();
    cut_elsewhere(w.h);
    tool_ok(w.h, "reload", "");
    learn_labels();
    harness_until(both_serve, w.client[0], 60, "both brokers with the new workers");
    broker = (struct replaced){w.h, "broker1", pid_of(w.h, "broker1")};
    assert_int_equal(kill(broker.old, SIGKILL), 0);
    learn_labels();
    harness_until(is_replaced, &broker, 60, "another broker");
    harness_until(both_serve, w.client[0], 60, "both brokers");
    tool_ok(w.h, "status", "");
    assert_said("broker1");
    assert_both_are_named();
    tool_ok(w.h, "down", "");
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_brokers_lose_nothing),
        cmocka_unit_test(test_a_stopped_broker_is_left),
        cmocka_unit_test(test_two_brokers_move_on_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
