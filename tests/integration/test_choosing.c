/* test_choosing.c - a network and its int8 form behind one door: brought up together, chosen among by load */
#include "tool_world.h"

#include <limits.h>

#include "base/clock.h"

#define BURST  400
#define PIXELS (3 * 32 * 32)

static const char yaml[] = "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
                           "exits: none\n"
                           "stages: 2\n"
                           "cache: {kind: none}\n"
                           "broker: {heartbeat_ms: 50, deadline_ms: 150000, max_requests: 1000}\n"
                           "variants:\n"
                           "  - name: float32\n"
                           "  - name: int8\n"
                           "    set: [precision=int8, stages=1]\n"
                           "budget: {latency_ms: 40, max_accuracy_loss: 5}\n";

/* As `freezeline variants` writes it. */
static const char measured[] = "freezeline variants 1\n"
                               "cascade_loss 1\n"
                               "float32 loss 0 loss_upper 0 ms 3 cpu_s 0.0014 bytes 6380864 sure inf\n"
                               "int8 loss 0.2 loss_upper 1.3 ms 2 cpu_s 0.0005 bytes 533568 sure 0.9\n";

/* Memory for the first one and one other. Requests would use `low`; int8 is there first. */
static const char small_memory[] = "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
                                   "exits: none\n"
                                   "stages: 2\n"
                                   "cache: {kind: none}\n"
                                   "broker: {heartbeat_ms: 50, deadline_ms: 150000, max_requests: 1000}\n"
                                   "variants:\n"
                                   "  - {name: float32}\n"
                                   "  - {name: int8, set: [precision=int8, stages=1]}\n"
                                   "  - {name: low, set: [precision=bfloat16, stages=1]}\n"
                                   "budget: {latency_ms: 2000, max_accuracy_loss: 5, memory_mb: 10}\n";

static const char measured_small[] = "freezeline variants 1\n"
                                     "cascade_loss 1\n"
                                     "float32 loss 0 loss_upper 0 ms 5000 cpu_s 5 bytes 6000000 sure inf\n"
                                     "int8 loss 0.2 loss_upper 2 ms 2 cpu_s 0.0005 bytes 3000000 sure inf\n"
                                     "low loss 0.1 loss_upper 1 ms 3 cpu_s 0.0006 bytes 3000000 sure inf\n";

struct counts {
    int float32, int8, other, failed;
    char why[MESSAGE_TEXT_BYTES];
};

static void run(const char *format, ...)
{
    char line[4 * HARNESS_PATH];
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (shell(line))
        fail_msg("%s\n%s", line, output);
}

static void put_measured(struct harness *h, const char *text)
{
    char path[HARNESS_PATH + 64];
    FILE *f;

    snprintf(path, sizeof path, "%s/variants/measured", harness_pipeline(h)->state);
    assert_non_null(f = fopen(path, "w"));
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void submit(struct client *c, uint64_t seed, uint32_t flags)
{
    static float pixels[PIXELS];
    struct tensor in = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}, .data = pixels};
    struct error e = {FL_OK, ""};
    uint64_t id;

    harness_random(pixels, PIXELS, seed);
    if (client_submit(c, &in, flags, 0, &id, &e))
        fail_msg("%s", e.text);
}

static void take(struct client *c, struct counts *n)
{
    struct answer a;
    struct error e = {FL_OK, ""};

    if (client_receive(c, 200000, &a, NULL, 0, NULL, &e))
        fail_msg("%s", e.text);
    if (a.error && !n->failed++)
        memcpy(n->why, a.text, sizeof n->why);
    n->float32 += !a.error && !strcmp(a.variant, "float32");
    n->int8 += !a.error && !strcmp(a.variant, "int8");
    n->other += !a.error && strcmp(a.variant, "float32") && strcmp(a.variant, "int8");
}

static struct harness *world(const char *file, const char *figures)
{
    char model[PATH_MAX];
    struct harness *h = harness_new(realpath("configs/demo/demo.onnx", model), file);

    run("%s/freezeline generate --count 64 --output %.400s/d.bin 2>&1", tool_folder(), harness_dir(h));
    run("%s/freezeline quantize -c %s --variant int8 --data cifar10:%.400s/d.bin --threads 1 2>&1",
        tool_folder(), harness_config(h), harness_dir(h));
    put_measured(h, figures);
    tool_ok(h, "up", "");
    assert_said("variant int8");
    return h;
}

struct burst {
    struct harness *h;
    struct client *c;
    struct counts n;
};

/* One at a time, with nothing else to do: the full one answers again. */
static bool is_full_quality(void *arg)
{
    struct burst *b = arg;
    struct counts n = {0};

    submit(b->c, 5, 0);
    take(b->c, &n);
    assert_int_equal(n.failed, 0);
    return n.float32 == 1;
}

static int64_t answered_by_int8(struct harness *h)
{
    json_t *root = tool_json(h, "status", ""), *relay = json_array_get(json_object_get(root, "relays"), 0);
    int64_t n = json_integer_value(json_object_get(relay, "answered"));

    assert_string_equal(json_string_value(json_object_get(relay, "name")), "int8");
    json_decref(root);
    return n;
}

static void test_the_cheap_one_takes_what_the_full_one_cannot(void **state)
{
    struct burst b = {.h = world(yaml, measured)};

    b.c = harness_client(b.h);
    for (int i = 0; i < BURST; i++)
        submit(b.c, (uint64_t)i, 0);
    for (int i = 0; i < BURST; i++)
        take(b.c, &b.n);
    if (b.n.failed || b.n.other || !b.n.int8 || !b.n.float32)
        fail_msg("%d by float32, %d by int8, %d by others, %d failed: %s", b.n.float32, b.n.int8, b.n.other,
                 b.n.failed, b.n.why);
    assert_true(answered_by_int8(b.h) >= b.n.int8);
    harness_until(is_full_quality, &b, 60, "the full network, when there is little to do");
    client_free(b.c);
    tool_ok(b.h, "down", "");
    assert_said("variant int8");
    finish(b.h);
}

static bool int8_is(void *arg)
{
    struct replaced *r = arg;
    json_t *root, *relay;
    bool is;

    tool(r->h, "status", "--json 2>/dev/null");
    root = json_loads(output, 0, NULL);
    relay = json_array_get(json_object_get(root, "relays"), 0);
    is = relay && !strcmp(json_string_value(json_object_get(relay, "state")), r->role);
    json_decref(root);
    return is;
}

/* Kills of the other pipeline's processes under load: it is done without, then it is there again. */
static void test_a_variant_that_dies_fails_no_request(void **state)
{
    struct burst b = {.h = world(yaml, measured)};
    struct process broker = process_of(b.h, "../variants/int8/run/broker");

    b.c = harness_client(b.h);
    for (int i = 0; i < BURST; i++) {
        submit(b.c, (uint64_t)i, 0);
        if (i == BURST / 2)
            assert_true(process_signal(&broker, SIGKILL));
    }
    for (int i = 0; i < BURST; i++)
        take(b.c, &b.n);
    if (b.n.failed || b.n.other)
        fail_msg("%d by others, %d failed: %s", b.n.other, b.n.failed, b.n.why);
    harness_until(int8_is, &(struct replaced){.h = b.h, .role = "ready"}, 60, "the other variant again");
    tool_ok(b.h, "down", "--variant int8");
    harness_until(int8_is, &(struct replaced){.h = b.h, .role = "away"}, 60, "the other variant's end");
    submit(b.c, 1, 0);
    b.n = (struct counts){0};
    take(b.c, &b.n);
    assert_int_equal(b.n.float32, 1);
    tool_ok(b.h, "up", "--variant int8");
    client_free(b.c);
    tool_ok(b.h, "down", "");
    finish(b.h);
}

/* Is this variant in memory? `status` itself may say meanwhile that one of them is not ready. */
static bool loaded(struct harness *h, const char *name)
{
    json_t *root, *memory;
    bool is;

    tool(h, "status", "--json 2>/dev/null");
    root = json_loads(output, 0, NULL);
    memory = json_object_get(json_object_get(root, "variants"), "memory");
    is = json_is_true(json_object_get(json_object_get(memory, name), "loaded"));
    json_decref(root);
    return is;
}

/* Every request is answered meanwhile. */
static bool low_has_taken_the_place(void *arg)
{
    struct burst *b = arg;

    for (int i = 0; i < 10; i++) {
        submit(b->c, (uint64_t)i, 0);
        take(b->c, &b->n);
    }
    if (b->n.failed)
        fail_msg("a request failed: %s", b->n.why);
    return loaded(b->h, "low") && !loaded(b->h, "int8");
}

static bool int8_is_put_away(void *arg)
{
    return !tool(((struct burst *)arg)->h, "status", "") && strstr(output, "variant int8: put away");
}

static void test_what_requests_use_is_in_memory(void **state)
{
    struct burst b = {.h = world(small_memory, measured_small)};

    assert_said("variant low: put away");
    assert_true(loaded(b.h, "int8"));
    assert_false(loaded(b.h, "low"));
    b.c = harness_client(b.h);
    harness_until(low_has_taken_the_place, &b, 90, "the variant that requests would use");
    harness_until(int8_is_put_away, &b, 60, "int8 put away");
    assert_said("int8 ");
    assert_true(b.n.int8 > 0);
    client_free(b.c);
    tool_ok(b.h, "down", "");
    finish(b.h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_cheap_one_takes_what_the_full_one_cannot),
        cmocka_unit_test(test_a_variant_that_dies_fails_no_request),
        cmocka_unit_test(test_what_requests_use_is_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
