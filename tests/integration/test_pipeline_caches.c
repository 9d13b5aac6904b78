/* test_pipeline_caches.c - the pipeline with a cache service that is made up: prompt, slow, absent, late,
 * lying
 *
 * The made-up service is a thread of this test. It calls every look-up at one exit a hit, or does what its
 * mode says.
 */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "wire/frames.h"

#define PIXELS (3 * 16 * 16)

enum mode {
    PROMPT,       /* hits at exit 0 */
    EVEN,         /* hits at exit 0 for every other request */
    MISSES,       /* verdicts, no hits */
    SILENT,       /* reads, says nothing */
    ABSENT,       /* says that no cache stands there */
    RESULT_ONLY,  /* tells the broker of the hit, not the stage: its verdict is lost */
    VERDICT_ONLY, /* tells the stage of the hit, not the broker: its result is lost */
};

struct fake {
    pthread_t thread;
    atomic_int mode, stop;
    atomic_int lives;        /* how often it has died and come back */
    atomic_int exits;        /* -1 = not told; else the mask of its heartbeats */
    atomic_int learns, told; /* also a mask of those; what is to be learned from that came */
    atomic_int lookups, first_exit, audited, outcomes, untold; /* first_exit: look-ups at exit 0, by stage 0;
                                                                  untold: without the descriptors' origin */
    const struct pipeline *pipeline;
    void *context, *lookup, *results, *control;
    struct message in, out;
    zmq_msg_t payload;
};

static const char with_cache[] = "stages:\n"
                                 "  - {last: block1.out}\n"
                                 "  - {last: block2.out}\n"
                                 "  - {}\n"
                                 "exits: auto\n"
                                 "kernels: openblas\n"
                                 "cache: {wait_us: 200000}\n"
                                 "updates: {sample: 0, audit: 0}\n"
                                 "broker: {deadline_ms: 20000, heartbeat_ms: 50}\n";

static bool says_hit(enum mode mode, const struct lookup *l, int i)
{
    if (l->exit != 0 || mode == MISSES || mode == SILENT || mode == ABSENT)
        return false;
    return mode != EVEN || l->item[i].request % 2 == 0;
}

static void push_result(struct fake *f, const struct lookup *l, int i)
{
    struct result *r = &f->out.result;
    memset(r, 0, sizeof *r);
    f->out.type = MESSAGE_RESULT;
    r->request = l->item[i].request;
    r->attempt = l->item[i].attempt;
    r->label = 7;
    r->exit = (int32_t)l->exit;
    r->confidence = 2.5f;
    r->epoch = 3;
    r->trace = l->item[i].trace;
    if (atomic_load(&f->mode) == RESULT_ONLY)
        r->lookup_ns =
            (uint64_t)f->pipeline->cache.wait_us * NS_PER_US; /* so slow that the stage may have gone on */
    frames_send(f->results, NULL, &f->out, NULL);
}

static void send_verdict(struct fake *f, const struct peer *to, const struct lookup *l, enum mode mode)
{
    struct verdict *v = &f->out.verdict;
    memset(v, 0, sizeof *v);
    f->out.type = MESSAGE_VERDICT;
    v->exit = l->exit;
    v->sequence = l->sequence;
    v->epoch = 3;
    v->absent = mode == ABSENT;
    v->n = l->n;
    for (int i = 0; i < l->n; i++)
        v->item[i] =
            (struct verdict_item){l->item[i].request, l->item[i].attempt, 7, 2.5f, says_hit(mode, l, i)};
    frames_send(f->lookup, to, &f->out, NULL);
}

static void on_lookup(struct fake *f, const struct peer *from)
{
    const struct lookup *l = &f->in.lookup;
    enum mode mode = (enum mode)atomic_load(&f->mode);
    if (l->told) {
        atomic_fetch_add(&f->told, l->n);
        return;
    }
    atomic_fetch_add(&f->lookups, l->n);
    atomic_fetch_add(&f->untold, !l->origin);
    if (l->exit == 0)
        atomic_fetch_add(&f->first_exit, l->n);
    for (int i = 0; i < l->n; i++) {
        if (l->item[i].flags & JOB_AUDIT)
            atomic_fetch_add(&f->audited, 1);
        else if (says_hit(mode, l, i) && mode != VERDICT_ONLY)
            push_result(f, l, i);
    }
    if (mode != SILENT && mode != RESULT_ONLY)
        send_verdict(f, from, l, mode);
}

static void say_hello(struct fake *f)
{
    struct hello *h = &f->out.hello;
    memset(h, 0, sizeof *h);
    f->out.type = MESSAGE_HELLO;
    h->role = ROLE_CACHE;
    h->incarnation = (uint64_t)(77 + atomic_load(&f->lives));
    h->ready = true;
    frames_send(f->control, NULL, &f->out, NULL);
}

static void beat(struct fake *f)
{
    f->out.type = MESSAGE_HEARTBEAT;
    f->out.heartbeat = (struct heartbeat){.incarnation = (uint64_t)(77 + atomic_load(&f->lives)),
                                          .exits_told = atomic_load(&f->exits) >= 0,
                                          .exits = (uint32_t)atomic_load(&f->exits),
                                          .learns = (uint32_t)atomic_load(&f->learns)};
    frames_send(f->control, NULL, &f->out, NULL);
}

static void *serve(void *arg)
{
    struct fake *f = arg;
    while (!atomic_load(&f->stop)) {
        struct peer from;
        struct error e;
        zmq_pollitem_t items[] = {{.socket = f->lookup, .events = ZMQ_POLLIN},
                                  {.socket = f->control, .events = ZMQ_POLLIN}};
        zmq_poll(items, 2, 20);
        say_hello(f);
        beat(f);
        while (!frames_recv(f->lookup, &from, &f->in, &f->payload, &e))
            if (f->in.type == MESSAGE_LOOKUP)
                on_lookup(f, &from);
        while (!frames_recv(f->control, NULL, &f->in, &f->payload, &e))
            if (f->in.type == MESSAGE_OUTCOME)
                atomic_fetch_add(&f->outcomes, 1);
    }
    return NULL;
}

static void fake_start(struct fake *f, const struct pipeline *p, enum mode mode)
{
    struct error e = {FL_OK, ""};
    memset(f, 0, sizeof *f);
    f->pipeline = p;
    atomic_store(&f->mode, (int)mode);
    atomic_store(&f->exits, -1);
    f->context = zmq_ctx_new();
    zmq_msg_init(&f->payload);
    if (frames_socket(&f->lookup, f->context, ZMQ_ROUTER, FRAMES_BIND, p->cache.endpoint[0], NULL,
                      &p->security, &e) ||
        frames_socket(&f->results, f->context, ZMQ_PUSH, FRAMES_CONNECT, p->broker.results, NULL,
                      &p->security, &e) ||
        frames_socket(&f->control, f->context, ZMQ_DEALER, FRAMES_CONNECT, p->broker.control, NULL,
                      &p->security, &e))
        fail_msg("%s", e.text);
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
}

static void fake_stop(struct fake *f)
{
    atomic_store(&f->stop, 1);
    pthread_join(f->thread, NULL);
    assert_int_equal(atomic_load(&f->untold), 0);
    zmq_close(f->lookup);
    zmq_close(f->results);
    zmq_close(f->control);
    zmq_ctx_term(f->context);
    zmq_msg_close(&f->payload);
}

static struct answer ask(struct client *client, uint64_t seed, uint32_t flags)
{
    float data[PIXELS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    struct error e = {FL_OK, ""};
    struct answer a;
    int n;
    harness_random(data, PIXELS, seed);
    if (client_infer(client, &in, flags, 0, &a, NULL, 0, &n, &e))
        fail_msg("%s", e.text);
    if (a.error)
        fail_msg("%s: %s", error_name((int)a.error), a.text);
    return a;
}

/* A stage asks only when it is connected to the cache: wait for stage 0's first look-up. */
static bool first_lookup(void *arg)
{
    void **both = arg;
    ask(both[1], 1, 0);
    return atomic_load(&((struct fake *)both[0])->first_exit) > 0;
}

static struct harness *up(struct fake *f, struct client **client, enum mode mode, const char *yaml)
{
    struct harness *h = harness_new(NULL, yaml);
    void *both[2];
    harness_pipeline_up(h);
    fake_start(f, harness_pipeline(h), mode);
    *client = harness_client(h);
    both[0] = f;
    both[1] = *client;
    harness_until(first_lookup, both, 60, "a look-up");
    return h;
}

static void down(struct fake *f, struct client *client, struct harness *h)
{
    client_free(client);
    fake_stop(f);
    harness_free(h);
}

static void test_hits_end_where_they_are(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, PROMPT, with_cache);
    struct status_reply s;
    for (uint64_t i = 0; i < 30; i++) {
        struct answer a = ask(client, i, 0);
        assert_int_equal(a.exit, 0);
        assert_int_equal(a.label, 7);
        assert_int_equal(a.epoch, 3);
        assert_int_equal(a.trace.n, 1);
    }
    s = harness_status(client);
    assert_true(s.hits >= 30);
    assert_int_equal(s.exit[0].answered, s.hits);
    down(&f, client, h);
}

/* Of a batch, some are hits: the others are computed and get their own answers. */
static void test_batches_shrink(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, EVEN, with_cache);
    int32_t alone[64];
    int hits = 0;
    uint64_t ids[64];
    for (uint64_t i = 0; i < 64; i++)
        alone[i] = ask(client, i, JOB_NO_CACHE).label;
    for (uint64_t i = 0; i < 64; i++) {
        float data[PIXELS];
        struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
        harness_random(data, PIXELS, i);
        assert_int_equal(client_submit(client, &in, 0, 0, &ids[i], NULL), 0);
    }
    for (int i = 0; i < 64; i++) {
        struct answer a;
        int n, k;
        assert_int_equal(client_receive(client, 20000, &a, NULL, 0, &n, NULL), 0);
        assert_int_equal(a.error, FL_OK);
        for (k = 0; k < 64 && ids[k] != a.id; k++)
            ;
        assert_true(k < 64);
        assert_int_equal(a.label, a.exit == 0 ? 7 : alone[k]);
        hits += a.exit == 0;
    }
    assert_in_range(hits, 20, 44);
    down(&f, client, h);
}

static void test_no_cache_means_no_lookup(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, PROMPT, with_cache);
    int before = atomic_load(&f.lookups);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(ask(client, i, JOB_NO_CACHE).exit, -1);
    assert_int_equal(atomic_load(&f.lookups), before);
    down(&f, client, h);
}

static bool a_hit(void *client)
{
    return ask(client, 5, 0).exit == 0;
}

/* Where no cache stands, a stage that was told nothing but by verdicts asks once a second; and finds one that
 * was built meanwhile. */
static void test_an_exit_without_cache_is_left_alone(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, ABSENT, with_cache);
    int before = atomic_load(&f.first_exit);
    uint64_t start = clock_ns();
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(ask(client, i, 0).exit, -1);
    assert_true(atomic_load(&f.first_exit) - before <= (int)((clock_ns() - start) / NS_PER_S) + 2);
    atomic_store(&f.mode, PROMPT);
    harness_until(a_hit, client, 60, "a hit of the new cache");
    down(&f, client, h);
}

static bool leaves_exit_0_alone(void *arg)
{
    struct fake *f = ((void **)arg)[0];
    int first = atomic_load(&f->first_exit), all = atomic_load(&f->lookups);
    ask(((void **)arg)[1], 1, 0);
    return atomic_load(&f->first_exit) == first && atomic_load(&f->lookups) > all;
}

/* The broker knows from the service's heartbeats where caches stand, and tells the stages: nobody asks
 * elsewhere. */
static void test_only_built_exits_are_asked_for(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, MISSES, with_cache);
    void *both[] = {&f, client};
    int first;
    atomic_store(&f.exits, 2);
    harness_until(leaves_exit_0_alone, both, 60, "exit 0 left alone");
    first = atomic_load(&f.first_exit);
    for (uint64_t i = 0; i < 50; i++)
        ask(client, i, 0);
    assert_int_equal(atomic_load(&f.first_exit), first);
    atomic_store(&f.mode, PROMPT);
    atomic_store(&f.exits, 3);
    harness_until(a_hit, client, 60, "a hit of the new cache");
    down(&f, client, h);
}

/* Descriptors of what is sampled, at both exits of the first stages, though no cache stands there. */
/* Each stage hears of it by itself. */
static bool leaves_all_exits_alone(void *arg)
{
    struct fake *f = ((void **)arg)[0];
    int all = atomic_load(&f->lookups);
    for (uint64_t i = 0; i < 5; i++)
        ask(((void **)arg)[1], i, JOB_AUDIT);
    return atomic_load(&f->lookups) == all && atomic_load(&f->told) >= 20;
}

static void test_a_service_without_caches_is_told_what_to_learn_from(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, MISSES, with_cache);
    void *both[] = {&f, client};
    int before;
    atomic_store(&f.learns, 3);
    atomic_store(&f.exits, 0);
    harness_expect(h, 0, "cache 0: pid", 1);
    harness_until(leaves_all_exits_alone, both, 60, "all exits left alone, and 20 lessons");
    before = atomic_load(&f.lookups);
    for (uint64_t i = 0; i < 10; i++)
        ask(client, i, 0);
    assert_int_equal(atomic_load(&f.lookups), before);
    down(&f, client, h);
}

static bool got_audits(void *arg)
{
    return atomic_load(&((struct fake *)arg)->audited) >= 10;
}

static bool got_outcomes(void *arg)
{
    return atomic_load(&((struct fake *)arg)->outcomes) >= 10;
}

static void test_audits_run_to_the_end(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, PROMPT, with_cache);
    harness_expect(h, 0, "cache 0: pid", 1);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(ask(client, i, JOB_AUDIT).exit, -1);
    harness_until(got_audits, &f, 60, "look-ups of the audited requests");
    harness_until(got_outcomes, &f, 60, "outcomes of the audited requests");
    down(&f, client, h);
}

static uint64_t dropped(struct client *client)
{
    struct status_reply s = harness_status(client);
    uint64_t n = 0;
    for (int i = 0; i < s.n_processes; i++)
        n += s.process[i].last.dropped;
    return n;
}

static bool some_dropped(void *arg)
{
    return dropped(arg) > 0;
}

/* The stage never hears of the hit and goes on: the answer comes once, later work is cancelled or counted as
 * a duplicate. */
static void test_a_lost_verdict_answers_once(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, RESULT_ONLY, with_cache);
    struct status_reply s;
    for (uint64_t i = 0; i < 5; i++)
        ask(client, i, 0); /* a hit, until the stage bypasses a cache that it never hears from */
    harness_until(some_dropped, client, 60, "a job that was cancelled");
    s = harness_status(client);
    assert_int_equal(s.answered, s.admitted);
    assert_true(s.hits > 0);
    down(&f, client, h);
}

static bool stages_know(void *client)
{
    struct status_reply s = harness_status(client);
    uint64_t hits = 0;
    for (int i = 0; i < s.n_processes; i++)
        hits += s.process[i].role == ROLE_STAGE ? s.process[i].last.hits : 0;
    return hits >= 2;
}

static bool two_verdicts(void *arg)
{
    return atomic_load(&((struct fake *)arg)->first_exit) >= 2;
}

/* The service dies between telling the stage of a hit and telling the broker: the stage still knows, and is
 * asked. */
static void test_a_lost_hit_is_recovered(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h = up(&f, &client, MISSES, with_cache);
    float data[PIXELS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = data};
    uint64_t id;
    harness_expect(h, 0, "cache 0: pid", 1);
    harness_random(data, PIXELS, 1);
    atomic_store(&f.mode, VERDICT_ONLY);
    atomic_store(&f.first_exit, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(client_submit(client, &in, 0, 0, &id, NULL), 0);
    harness_until(two_verdicts, &f, 60, "verdicts");
    harness_until(stages_know, client, 60, "hits that the stage knows of");
    atomic_fetch_add(&f.lives, 1);
    for (int i = 0; i < 2; i++) {
        struct answer a;
        int n;
        assert_int_equal(client_receive(client, 20000, &a, NULL, 0, &n, NULL), 0);
        assert_int_equal(a.error, FL_OK);
        assert_int_equal(a.exit, 0);
        assert_int_equal(a.label, 7);
        assert_int_equal(a.epoch, 3);
        assert_int_equal(a.attempts, 1);
        assert_int_equal(a.trace.n, 1);
    }
    assert_int_equal(harness_status(client).retried, 0);
    down(&f, client, h);
}

/* A service that reads and never answers: a bounded wait, then it is bypassed. */
static void test_a_silent_cache_is_bypassed(void **state)
{
    static struct fake f;
    struct client *client;
    struct harness *h =
        up(&f, &client, MISSES,
           "stages: 3\nkernels: openblas\ncache: {wait_us: 50000}\nupdates: {sample: 0, audit: 0}\n"
           "broker: {deadline_ms: 20000, heartbeat_ms: 50}\n");
    int before;
    atomic_store(&f.mode, SILENT);
    for (uint64_t i = 0; i < 20; i++) {
        struct answer a = ask(client, i, 0);
        assert_int_equal(a.exit, -1);
        for (int s = 0; s < a.trace.n; s++)
            assert_in_range(a.trace.stage[s].lookup_ns, 0,
                            NS_PER_S); /* the wait of 50 ms, on a machine however busy */
    }
    before = atomic_load(&f.lookups);
    for (uint64_t i = 0; i < 20; i++)
        ask(client, i, 0);
    assert_true(atomic_load(&f.lookups) - before < 20); /* probes, ever fewer; without a bypass it is 40 */
    atomic_store(&f.mode, PROMPT);
    {
        void *both[] = {&f, client};
        atomic_store(&f.first_exit, 0);
        harness_until(first_lookup, both, 60, "a probe");
    }
    down(&f, client, h);
}

static void test_an_absent_cache_costs_nothing(void **state)
{
    struct harness *h = harness_new(NULL, with_cache);
    struct client *client;
    harness_pipeline_up(h);
    client = harness_client(h);
    for (uint64_t i = 0; i < 20; i++) {
        struct answer a = ask(client, i, 0);
        assert_int_equal(a.exit, -1);
        for (int s = 0; s < a.trace.n; s++)
            assert_in_range(a.trace.stage[s].lookup_ns, 0,
                            20 * NS_PER_MS); /* nothing was asked, nothing waited for */
    }
    client_free(client);
    harness_free(h);
}

/* The real service, without any cache in it: stopped, resumed and killed while requests run. */
static void test_a_stopped_service_is_bypassed(void **state)
{
    struct harness *h = harness_new(NULL, with_cache);
    struct client *client;
    int service;
    harness_pipeline_up(h);
    service = harness_cache(h, 0);
    harness_expect(h, 0, "cache 0: pid", 1);
    client = harness_client(h);
    for (int round = 0; round < 4; round++) {
        static const int signals[] = {0, SIGSTOP, SIGCONT, SIGKILL};
        if (signals[round])
            harness_signal(h, service, signals[round]);
        for (uint64_t i = 0; i < 15; i++)
            assert_int_equal(ask(client, i, 0).exit, -1);
    }
    client_free(client);
    harness_free(h);
}

/* Two processes serve as cache 0, each at an endpoint of its own: the last one that comes has the place, the
 * other ends. */
static void test_a_replaced_service_ends(void **state)
{
    struct harness *h = harness_new(NULL, with_cache);
    char set[HARNESS_PATH + 64];
    int first, other;
    snprintf(set, sizeof set, "cache.endpoints=[ipc://%.400s/other.sock]", harness_dir(h));
    harness_broker(h);
    first = harness_cache(h, 0);
    harness_expect(h, 0, "cache 0: pid", 1);
    other = harness_spawn(h, "freezeline-cache", "--set", set, NULL);
    assert_int_equal(harness_wait(h, first), 1);
    harness_expect(h, 0, "takes the place of pid", 1);
    assert_int_equal(harness_count(h, first, "the broker sent this process away"), 1);
    harness_cache(h, 0); /* as a supervisor would: it is wanted again */
    assert_int_equal(harness_wait(h, other), 1);
    harness_expect(h, 0, "takes the place of pid", 2);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_replaced_service_ends),
        cmocka_unit_test(test_hits_end_where_they_are),
        cmocka_unit_test(test_batches_shrink),
        cmocka_unit_test(test_no_cache_means_no_lookup),
        cmocka_unit_test(test_an_exit_without_cache_is_left_alone),
        cmocka_unit_test(test_only_built_exits_are_asked_for),
        cmocka_unit_test(test_a_service_without_caches_is_told_what_to_learn_from),
        cmocka_unit_test(test_audits_run_to_the_end),
        cmocka_unit_test(test_a_lost_verdict_answers_once),
        cmocka_unit_test(test_a_lost_hit_is_recovered),
        cmocka_unit_test(test_a_silent_cache_is_bypassed),
        cmocka_unit_test(test_an_absent_cache_costs_nothing),
        cmocka_unit_test(test_a_stopped_service_is_bypassed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
