/* test_bad_peers.c - a worker that fails at once, and one whose links lead nowhere, beside good ones
 *
 * The failing worker is made up: a thread of this test that says hello as a stage worker and answers every
 * job with an error. As the least busy one it would get everything.
 */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "wire/frames.h"

#define PIXELS   (3 * 16 * 16)
#define REQUESTS 150

static const char yaml[] =
    "stages:\n"
    "  - {last: block1.out, replicas: 2}\n"
    "  - {last: block2.out, replicas: 2}\n"
    "  - {}\n"
    "exits: none\n"
    "kernels: openblas\n"
    "broker: {deadline_ms: 30000, heartbeat_ms: 50, dead_after_ms: 1500, retries: 2}\n";

struct failing {
    pthread_t thread;
    atomic_int stop, jobs;
    void *context, *in, *control, *results;
    struct message hello, out; /* large: not on the thread's stack */
};

static void fail_one(struct failing *f, const struct job *j)
{
    struct result *r = &f->out.result;
    atomic_fetch_add(&f->jobs, 1);
    memset(r, 0, sizeof *r);
    f->out.type = MESSAGE_RESULT;
    r->request = j->request;
    r->attempt = j->attempt;
    r->error = FL_INTERNAL;
    r->exit = r->label = -1;
    r->trace = j->trace;
    snprintf(r->text, sizeof r->text, "this worker is broken");
    frames_send(f->results, NULL, &f->out, NULL);
}

static void *fail_all(void *arg)
{
    static struct message m;
    struct failing *f = arg;
    struct error e;
    zmq_msg_t payload;
    zmq_msg_init(&payload);
    while (!atomic_load(&f->stop)) {
        zmq_pollitem_t items[] = {{.socket = f->in, .events = ZMQ_POLLIN},
                                  {.socket = f->control, .events = ZMQ_POLLIN}};
        frames_send(f->control, NULL, &f->hello, NULL); /* as good as a heartbeat */
        zmq_poll(items, 2, 20);
        while (!frames_recv(f->in, NULL, &m, &payload, &e))
            if (m.type == MESSAGE_JOB)
                fail_one(f, &m.job);
        while (!frames_recv(f->control, NULL, &m, &payload, &e))
            ;
    }
    zmq_msg_close(&payload);
    return NULL;
}

/* As stage 1 replica 0; of the same plan as `like`. */
static void start_failing(struct failing *f, const struct pipeline *p, const struct process_status *like)
{
    struct hello *h = &f->hello.hello;
    struct error e = {FL_OK, ""};
    memset(f, 0, sizeof *f);
    f->hello.type = MESSAGE_HELLO;
    *h = (struct hello){.role = ROLE_STAGE, .stage = 1, .incarnation = 4711, .ready = true};
    clock_boot_id(h->boot_id, sizeof h->boot_id);
    memcpy(h->model, like->model, sizeof h->model);
    memcpy(h->identity, like->identity, sizeof h->identity);
    memcpy(h->plan, like->plan, sizeof h->plan);
    f->context = zmq_ctx_new();
    if (frames_socket(&f->in, f->context, ZMQ_PULL, FRAMES_BIND, p->stage[1].replica[0].endpoint, NULL,
                      &p->security, &e) ||
        frames_socket(&f->control, f->context, ZMQ_DEALER, FRAMES_CONNECT, p->broker.control, NULL,
                      &p->security, &e) ||
        frames_socket(&f->results, f->context, ZMQ_PUSH, FRAMES_CONNECT, p->broker.results, NULL,
                      &p->security, &e))
        fail_msg("%s", e.text);
    assert_int_equal(pthread_create(&f->thread, NULL, fail_all, f), 0);
}

static void stop_failing(struct failing *f)
{
    atomic_store(&f->stop, 1);
    pthread_join(f->thread, NULL);
    zmq_close(f->in);
    zmq_close(f->control);
    zmq_close(f->results);
    zmq_ctx_term(f->context);
}

/* Which replica of `stage` each answer passed; all must be answered. */
static void ask_many(struct client *client, int stage, int by_replica[2])
{
    float data[PIXELS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    by_replica[0] = by_replica[1] = 0;
    for (uint64_t i = 0; i < REQUESTS; i++) {
        struct error e = {FL_OK, ""};
        struct answer a;
        int n;
        harness_random(data, PIXELS, i);
        if (client_infer(client, &in, 0, 0, &a, NULL, 0, &n, &e))
            fail_msg("%s", e.text);
        if (a.error)
            fail_msg("%s: %s", error_name((int)a.error), a.text);
        by_replica[a.trace.stage[stage].replica]++;
    }
}

static const struct process_status *find(const struct status_reply *s, uint32_t stage, uint32_t replica)
{
    for (int i = 0; i < s->n_processes; i++)
        if (s->process[i].role == ROLE_STAGE && s->process[i].stage == stage &&
            s->process[i].replica == replica)
            return &s->process[i];
    fail_msg("no stage %u replica %u", stage, replica);
    return NULL;
}

static bool links_are_there(void *client)
{
    struct status_reply s = harness_status(client);
    return find(&s, 0, 0)->last.reaches == (REACHES_TOLD | 3) &&
           find(&s, 0, 1)->last.reaches == (REACHES_TOLD | 3);
}

static void test_a_worker_that_fails_at_once_does_not_get_all(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    static struct failing f;
    struct status_reply s;
    struct client *client;
    int by[2];
    harness_broker(h);
    harness_stage(h, 0, 0);
    harness_stage(h, 0, 1);
    harness_stage(h, 1, 1);
    harness_stage(h, 2, 0);
    harness_expect(h, 0, "every stage has a ready worker", 1);
    client = harness_client(h);
    s = harness_status(client);
    start_failing(&f, harness_pipeline(h), find(&s, 2, 0));
    harness_until(links_are_there, client, 60, "links to the failing worker");
    ask_many(client, 1, by);
    assert_int_equal(by[0], 0);
    assert_in_range(atomic_load(&f.jobs), 3,
                    30); /* three, and then one on trial each time that its rest is over */
    s = harness_status(client);
    assert_string_equal(find(&s, 1, 0)->state, "failing");
    assert_int_equal(s.failed, 0);
    client_free(client);
    stop_failing(&f);
    harness_free(h);
}

/* It says so itself, so nothing is sent by it, and no receiver is blamed. */
static void test_a_worker_without_links_is_passed_by(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    char first[HARNESS_PATH + 64], second[HARNESS_PATH + 64];
    struct client *client;
    int by[2];
    snprintf(first, sizeof first, "stages.1.replicas.0.endpoint=ipc://%.400s/nobody0.sock", harness_dir(h));
    snprintf(second, sizeof second, "stages.1.replicas.1.endpoint=ipc://%.400s/nobody1.sock", harness_dir(h));
    harness_broker(h);
    harness_spawn(h, "freezeline-stage", "--stage", "0", "--replica", "0", "--set", first, "--set", second,
                  NULL);
    harness_expect(h, 1, " ready: ", 1);
    harness_stage(h, 0, 1);
    harness_stage(h, 1, 0);
    harness_stage(h, 1, 1);
    harness_stage(h, 2, 0);
    harness_expect(h, 0, "every stage has a ready worker", 1);
    client = harness_client(h);
    ask_many(client, 0, by);
    assert_int_equal(by[0], 0);
    ask_many(client, 1, by);
    assert_true(by[0] > 0 && by[1] > 0); /* how many each gets depends on which is quicker */
    assert_int_equal(harness_status(client).retried, 0);
    client_free(client);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_worker_that_fails_at_once_does_not_get_all),
        cmocka_unit_test(test_a_worker_without_links_is_passed_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
