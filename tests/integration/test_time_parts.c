/* test_time_parts.c - where the time goes in a live pipeline: a delay put into one wire shows up there and
 * nowhere else, and the parts sum to the whole
 *
 * The demo's network in three stages with real caches. Five wires lead through threads of this test that can
 * be made slow. What each part takes at least is compared with what it takes at least without the delay, in
 * turns, so that a busy machine disturbs both and decides nothing.
 */
#include "slow_wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/load/attribution.h"
#include "deploy/data/dataset.h"
#include "deploy/bench/chrome_trace.h"

#define DELAY_NS    (5 * NS_PER_MS)
#define LEAK_NS     (DELAY_NS / 2) /* what may show up elsewhere: noise */
#define ROUNDS      15
#define MOST_ROUNDS 400
#define PICTURES    160
#define MAX_PARTS   (5 * PIPELINE_MAX_STAGES + 5)

enum wire { TO_STAGE_0, TO_STAGE_1, FROM_LAST_STAGE, TO_CACHE, FROM_CACHE, WIRES };

static struct harness *h;
static struct client *client;
static struct dataset *pictures;
static struct slow_wire wire[WIRES];

static const char yaml[] =
    "stages: 3\n"
    "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
    "exits:\n"
    "  - {name: block1, after: /blocks.0/Relu_1}\n"
    "  - {name: block4, after: /blocks.3/Relu_1}\n"
    "cache: {kind: kmeans, grids: [1, 2], nodes: 64, memory_mb: 2, threshold: max-wrong, "
    "wait_us: 500000}\n"
    "updates: {sample: 0, audit: 0}\n"
    "broker: {deadline_ms: 20000, heartbeat_ms: 50}\n";

/* Any threshold would do; a low one lets some pictures leave at each exit. */
static void build_caches(void)
{
    const char *bin = getenv("FREEZELINE_BUILD");
    char line[4 * HARNESS_PATH];
    bin = bin ? bin : "build/release";
    snprintf(line, sizeof line,
             "%s/freezeline generate --count 800 --output %s/d.bin >%s/build.log 2>&1 && %s/freezeline build "
             "-c %s --train cifar10:%s/d.bin#0-499 --calibrate cifar10:%s/d.bin#500-639 >>%s/build.log 2>&1",
             bin, harness_dir(h), harness_dir(h), bin, harness_config(h), harness_dir(h), harness_dir(h),
             harness_dir(h));
    if (system(line))
        fail_msg("the caches could not be built: see %s/build.log", harness_dir(h));
}

static char *leads(char *buf, const char *key, enum wire w)
{
    snprintf(buf, 2 * HARNESS_PATH, "%s=%s", key, wire[w].endpoint);
    return buf;
}

static void start_all(void)
{
    const struct pipeline *p = harness_pipeline(h);
    char set[2 * HARNESS_PATH], more[2 * HARNESS_PATH];
    slow_wire_start(&wire[TO_STAGE_0], h, "w0", ZMQ_PULL, p->stage[0].replica[0].endpoint);
    slow_wire_start(&wire[TO_STAGE_1], h, "w1", ZMQ_PULL, p->stage[1].replica[0].endpoint);
    slow_wire_start(&wire[FROM_LAST_STAGE], h, "w2", ZMQ_PULL, p->broker.results);
    slow_wire_start(&wire[TO_CACHE], h, "w3", ZMQ_DEALER, p->cache.endpoint[0]);
    slow_wire_start(&wire[FROM_CACHE], h, "w4", ZMQ_PULL, p->broker.results);
    harness_spawn(h, "freezeline-broker", "--set", leads(set, "stages.0.replicas.0.endpoint", TO_STAGE_0),
                  NULL);
    harness_spawn(h, "freezeline-cache", "--set", leads(set, "broker.results", FROM_CACHE), NULL);
    harness_spawn(h, "freezeline-stage", "--stage", "0", "--set",
                  leads(set, "stages.1.replicas.0.endpoint", TO_STAGE_1), "--set",
                  leads(more, "cache.endpoints.0", TO_CACHE), NULL);
    harness_spawn(h, "freezeline-stage", "--stage", "1", NULL);
    harness_spawn(h, "freezeline-stage", "--stage", "2", "--set",
                  leads(set, "broker.results", FROM_LAST_STAGE), NULL);
    for (int i = 2; i < 5; i++)
        harness_expect(h, i, "has accepted this worker", 1);
    harness_expect(h, 0, "every stage has a ready worker", 1);
    harness_expect(h, 0, "cache 0: pid", 1);
}

static int setup(void **state)
{
    char spec[2 * HARNESS_PATH];
    char model[4096];
    assert_non_null(realpath("configs/demo/demo.onnx", model)); /* tests run in the repository's root */
    h = harness_new(model, yaml);
    build_caches();
    snprintf(spec, sizeof spec, "cifar10:%s/d.bin#640-%d", harness_dir(h), 639 + PICTURES);
    assert_int_equal(
        dataset_open(&pictures, spec, &(struct dataset_options){.pipeline = harness_pipeline(h)}, NULL), 0);
    start_all();
    client = harness_client(h);
    return 0;
}

static int teardown(void **state)
{
    client_free(client);
    dataset_close(pictures);
    for (int i = 0; i < WIRES; i++)
        slow_wire_stop(&wire[i]);
    harness_free(h);
    return 0;
}

static struct answer ask(int picture, uint32_t flags, uint64_t *latency_ns)
{
    static float data[3 * 32 * 32];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}, .data = data};
    struct error e = {FL_OK, ""};
    struct answer a;
    uint64_t start;
    int n;
    dataset_image(pictures, picture, data);
    start = clock_ns();
    if (client_infer(client, &in, flags, 0, &a, NULL, 0, &n, &e))
        fail_msg("%s", e.text);
    if (latency_ns)
        *latency_ns = clock_ns() - start;
    if (a.error)
        fail_msg("%s: %s", error_name((int)a.error), a.text);
    return a;
}

/* A picture that exit `exit` answers, twice. */
static int picture_for(int exit)
{
    for (int k = 0; k < 20; k++)
        for (int i = 0; i < PICTURES; i++)
            if (ask(i, 0, NULL).exit == exit && ask(i, 0, NULL).exit == exit)
                return i;
    fail_msg("no picture of %d leaves at exit %d", PICTURES, exit);
    return -1;
}

/* All durations of an answer, by name. */
struct durations {
    int n;
    struct {
        char name[32];
        double ns;
    } of[MAX_PARTS];
};

static void put(struct durations *d, const char *name, int stage, uint64_t ns)
{
    if (stage < 0)
        snprintf(d->of[d->n].name, sizeof d->of[0].name, "%s", name);
    else
        snprintf(d->of[d->n].name, sizeof d->of[0].name, "stage %d %s", stage, name);
    d->of[d->n++].ns = (double)ns;
}

static struct durations durations_of(const struct answer *a)
{
    struct durations d = {0};
    put(&d, "broker", -1, a->broker_ns);
    for (int i = 0; i < a->trace.n; i++) {
        const struct stage_time *t = &a->trace.stage[i];
        put(&d, "wire", i, t->wire_ns);
        put(&d, "queue", i, t->queue_ns);
        put(&d, "compute", i, t->compute_ns);
        put(&d, "look-up", i, t->lookup_ns);
        put(&d, "serialise", i, t->serialise_ns);
    }
    if (a->exit >= 0) {
        put(&d, "way to the cache", -1, a->lookup_wire_ns);
        put(&d, "turn in the cache", -1, a->lookup_queue_ns);
        put(&d, "cache", -1, a->lookup_ns);
    }
    put(&d, "return", -1, a->return_ns);
    return d;
}

/* The least that each part took, so far. */
static void keep_least(struct durations *least, const struct durations *d)
{
    if (!least->n)
        *least = *d;
    assert_int_equal(least->n, d->n);
    for (int i = 0; i < d->n; i++)
        least->of[i].ns = fmin(least->of[i].ns, d->of[i].ns);
}

/* The part that holds the delay although another wire has it; -1: none. A busy machine delays whatever it
 * likes, but not the same part each time. */
static int leaks_into(const struct durations *fast, const struct durations *slow, const char *where)
{
    for (int i = 0; i < slow->n; i++)
        if (strcmp(slow->of[i].name, where) && slow->of[i].ns - fast->of[i].ns > LEAK_NS)
            return i;
    return -1;
}

/* Asks for one picture again and again, every other time with a slow wire. */
static void delay_shows_up(enum wire at, int picture, uint32_t flags, int exit, const char *where)
{
    struct durations fast = {0}, slow = {0}, d;
    bool found = false;
    int leak = 0;
    for (int r = 0; r < MOST_ROUNDS && (r < ROUNDS || leak >= 0); r++) {
        struct answer a = ask(picture, flags, NULL);
        d = durations_of(&a);
        keep_least(&fast, &d);
        atomic_store(&wire[at].delay_ns, DELAY_NS);
        a = ask(picture, flags, NULL);
        atomic_store(&wire[at].delay_ns, 0);
        assert_int_equal(a.exit, exit);
        d = durations_of(&a);
        keep_least(&slow, &d);
        leak = leaks_into(&fast, &slow, where);
    }
    if (leak >= 0)
        fail_msg("5 ms in %s: %s grew from %.3f to %.3f ms", where, slow.of[leak].name,
                 fast.of[leak].ns / NS_PER_MS, slow.of[leak].ns / NS_PER_MS);
    for (int i = 0; i < slow.n; i++)
        if (!strcmp(slow.of[i].name, where)) {
            found = true;
            /* Less what clocks of two processes are reckoned apart while the machine is busy. */
            if (slow.of[i].ns < 0.8 * DELAY_NS)
                fail_msg("5 ms in %s are %.3f ms", where, slow.of[i].ns / NS_PER_MS);
            assert_true(fast.of[i].ns < slow.of[i].ns);
        }
    assert_true(found);
}

static void test_a_slow_wire_to_a_stage(void **state)
{
    delay_shows_up(TO_STAGE_0, 0, JOB_NO_CACHE, -1, "stage 0 wire");
    delay_shows_up(TO_STAGE_1, 0, JOB_NO_CACHE, -1, "stage 1 wire");
}

static void test_a_slow_wire_to_the_broker(void **state)
{
    delay_shows_up(FROM_LAST_STAGE, 0, JOB_NO_CACHE, -1, "return");
    delay_shows_up(FROM_CACHE, picture_for(0), 0, 0, "return");
}

static void test_a_slow_wire_to_the_cache(void **state)
{
    delay_shows_up(TO_CACHE, picture_for(0), 0, 0, "way to the cache");
}

/* Of a look-up that misses, what exceeds the computing beside it holds the request back. */
static void test_a_slow_look_up_that_misses(void **state)
{
    int picture = picture_for(1);
    for (int r = 0; r < ROUNDS; r++) {
        struct answer a;
        const struct stage_time *t;
        atomic_store(&wire[TO_CACHE].delay_ns, 8 * DELAY_NS);
        a = ask(picture, 0, NULL);
        atomic_store(&wire[TO_CACHE].delay_ns, 0);
        assert_int_equal(a.exit, 1);
        t = &a.trace.stage[0];
        if (a.trace.n > 1) { /* exit 1 lies behind stage 0, which waited for exit 0's verdict */
            assert_true(t->lookup_ns + t->hidden_ns >= 8 * DELAY_NS);
            assert_true(t->hidden_ns <= t->compute_ns + t->serialise_ns + t->lookup_ns);
        } else {
            assert_true(a.lookup_wire_ns >= 8 * DELAY_NS);
        }
    }
}

/* With one clock each part begins where the one before ends. */
static void nothing_is_left(const struct answer *a)
{
    double part_ns[PARTS];
    attribution_of(a, a->total_ns, part_ns);
    if (a->attempts == 1 && fabs(part_ns[PART_RESIDUAL]) > NS_PER_US)
        fail_msg("exit %d: %.0f of %.0f ns are in no part", a->exit, part_ns[PART_RESIDUAL],
                 (double)a->total_ns);
}

/* Whatever is asked, with and without caches, alone and many at once: nothing is left over. */
static void test_the_parts_sum_to_the_whole(void **state)
{
    static const uint32_t flags[] = {0, JOB_NO_CACHE, JOB_AUDIT};
    struct attribution *sums;
    double part_ns[PARTS];
    for (int f = 0; f < 3; f++) {
        int early = 0;
        assert_int_equal(attribution_new(&sums), 0);
        for (int i = 0; i < PICTURES; i++) {
            uint64_t latency_ns;
            struct answer a = ask(i, flags[f], &latency_ns);
            attribution_add(sums, &a, latency_ns);
            nothing_is_left(&a);
            early += a.exit >= 0;
            assert_int_equal(a.clock_error_ns, 0);
        }
        assert_true(flags[f] ? !early : early > 0);
        attribution_middle(sums, part_ns);
        assert_true(attribution_residual_share(part_ns) < 0.03);
        attribution_mean(sums, part_ns);
        assert_true(attribution_residual_share(part_ns) < 0.03);
        assert_true(part_ns[PART_CLIENT] > 0 && part_ns[PART_WIRE] > 0 && part_ns[PART_COMPUTE] > 0);
        attribution_free(sums);
    }
}

static void test_the_parts_of_a_crowd_sum_too(void **state)
{
    static float data[3 * 32 * 32];
    static uint64_t sent[PICTURES];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}, .data = data};
    struct attribution *sums;
    double part_ns[PARTS], batch = 0;
    uint64_t id, first = 0;
    int n;
    assert_int_equal(attribution_new(&sums), 0);
    for (int i = 0; i < PICTURES; i++) {
        dataset_image(pictures, i, data);
        sent[i] = clock_ns();
        assert_int_equal(client_submit(client, &in, 0, 0, &id, NULL), 0);
        first = i ? first : id;
    }
    for (int i = 0; i < PICTURES; i++) {
        struct answer a;
        assert_int_equal(client_receive(client, 20000, &a, NULL, 0, &n, NULL), 0);
        assert_int_equal(a.error, FL_OK);
        attribution_add(sums, &a, clock_ns() - sent[a.id - first]);
        nothing_is_left(&a);
        batch += a.trace.stage[0].batch;
    }
    attribution_mean(sums, part_ns);
    assert_true(attribution_residual_share(part_ns) < 0.03);
    attribution_middle(sums, part_ns);
    assert_true(attribution_residual_share(part_ns) < 0.03);
    assert_true(batch > PICTURES); /* some were computed together */
    attribution_free(sums);
}

/* Spans of request `id` of one kind and process that have come so far. */
struct wanted {
    uint64_t id;
    enum span_kind kind;
    enum message_role role;
    uint32_t stage;
};

static struct chrome_trace trace;

static uint64_t sum_of(const struct wanted *want, int *n)
{
    uint64_t ns = 0;
    *n = 0;
    for (int i = 0; i < trace.n; i++) {
        const struct span *s = &trace.span[i];
        if (s->request != want->id || s->kind != (uint32_t)want->kind || s->role != (uint32_t)want->role ||
            s->stage != want->stage)
            continue;
        ns += s->end_ns - s->start_ns;
        ++*n;
    }
    return ns;
}

/* Workers tell with their heartbeats. */
static bool has_come(void *arg)
{
    int n;
    assert_int_equal(chrome_trace_collect(&trace, harness_pipeline(h), NULL), 0);
    sum_of(arg, &n);
    return n > 0;
}

static void await(uint64_t id, enum span_kind kind, enum message_role role, uint32_t stage)
{
    struct wanted want = {id, kind, role, stage};
    harness_until(has_come, &want, 60, "a span");
}

static uint64_t traced_ns(uint64_t id, enum span_kind kind, enum message_role role, uint32_t stage)
{
    struct wanted want = {id, kind, role, stage};
    int n;
    return sum_of(&want, &n);
}

static void test_a_traced_request_tells_what_its_answer_tells(void **state)
{
    struct answer a = ask(0, JOB_TRACE | JOB_NO_CACHE, NULL);
    await(a.request, SPAN_COMPUTE, ROLE_STAGE, 2);
    for (uint32_t s = 0; s < 3; s++) {
        uint64_t ns;
        await(a.request, SPAN_COMPUTE, ROLE_STAGE, s);
        ns = traced_ns(a.request, SPAN_COMPUTE, ROLE_STAGE, s);
        assert_in_range(a.trace.stage[s].compute_ns - ns, 0, 5 * NS_PER_US); /* short ones are left out */
        ns = traced_ns(a.request, SPAN_WIRE, ROLE_STAGE, s);
        assert_int_equal(ns, a.trace.stage[s].wire_ns);
    }
    assert_int_equal(traced_ns(a.request, SPAN_WIRE, ROLE_BROKER, 0), a.return_ns);
    assert_int_equal(traced_ns(a.request, SPAN_REQUEST, ROLE_BROKER, 0), a.total_ns);
    chrome_trace_release(&trace);
}

static void test_who_is_not_traced_leaves_nothing(void **state)
{
    struct answer a = ask(0, 0, NULL), b = ask(1, JOB_TRACE, NULL);
    await(b.request, SPAN_COMPUTE, ROLE_STAGE, 0);
    for (int i = 0; i < trace.n; i++)
        assert_true(trace.span[i].request != a.request);
    chrome_trace_release(&trace);
}

static void test_speculation_past_an_exit_is_seen(void **state)
{
    int picture = picture_for(0);
    struct answer a;
    uint64_t ns;
    atomic_store(&wire[TO_CACHE].delay_ns, DELAY_NS); /* something to guess in */
    a = ask(picture, JOB_TRACE, NULL);
    atomic_store(&wire[TO_CACHE].delay_ns, 0);
    assert_int_equal(a.exit, 0);
    await(a.request, SPAN_SPECULATION, ROLE_STAGE, 0);
    ns = traced_ns(a.request, SPAN_SPECULATION, ROLE_STAGE, 0);
    assert_true(ns >= DELAY_NS);
    await(a.request, SPAN_HIT, ROLE_CACHE, 0);
    assert_int_equal(traced_ns(a.request, SPAN_HIT, ROLE_CACHE, 0), a.lookup_ns);
    assert_int_equal(traced_ns(a.request, SPAN_WIRE, ROLE_CACHE, 0), a.lookup_wire_ns);
    chrome_trace_release(&trace);
}

/* It comes to stage 1 after its deadline, when the broker has called it off. */
static void test_a_cancelled_request_is_seen(void **state)
{
    static float data[3 * 32 * 32];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}, .data = data};
    struct answer a;
    int n;
    dataset_image(pictures, 0, data);
    atomic_store(&wire[TO_STAGE_1].delay_ns, 100 * DELAY_NS);
    assert_int_equal(client_infer(client, &in, JOB_TRACE | JOB_NO_CACHE, 200, &a, NULL, 0, &n, NULL), 0);
    atomic_store(&wire[TO_STAGE_1].delay_ns, 0);
    assert_int_equal(a.error, FL_DEADLINE);
    await(a.request, SPAN_DROPPED, ROLE_STAGE, 1);
    chrome_trace_release(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_slow_wire_to_a_stage),
        cmocka_unit_test(test_a_slow_wire_to_the_broker),
        cmocka_unit_test(test_a_slow_wire_to_the_cache),
        cmocka_unit_test(test_a_slow_look_up_that_misses),
        cmocka_unit_test(test_the_parts_sum_to_the_whole),
        cmocka_unit_test(test_the_parts_of_a_crowd_sum_too),
        cmocka_unit_test(test_a_traced_request_tells_what_its_answer_tells),
        cmocka_unit_test(test_who_is_not_traced_leaves_nothing),
        cmocka_unit_test(test_speculation_past_an_exit_is_seen),
        cmocka_unit_test(test_a_cancelled_request_is_seen),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
