/* test_simulate_measure.c - measurements taken from a running pipeline, and what the tool makes of them */
#include "tool_world.h"

#include "deploy/data/npy.h"
#include "deploy/measure/measured.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n";

/* `freezeline simulate` with what it measured, in a file of the harness's folder. */
static int simulate(struct harness *h, const char *arguments)
{
    char line[HARNESS_PATH + 256];
    snprintf(line, sizeof line, "--measured %s/m.json %s", harness_dir(h), arguments);
    return tool(h, "simulate", line);
}

static void simulate_ok(struct harness *h, const char *arguments)
{
    if (simulate(h, arguments))
        fail_msg("freezeline simulate %s:\n%s", arguments, output);
}

/* Where write_pictures puts them. */
static const char *measuring(struct harness *h, const char *more)
{
    static char arguments[HARNESS_PATH + 128];
    snprintf(arguments, sizeof arguments, "--measure --data npy:%s/pictures.npy %s", harness_dir(h), more);
    return arguments;
}

static void write_pictures(struct harness *h)
{
    char path[HARNESS_PATH + 16];
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {4, 3, 16, 16}};
    struct error e;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    snprintf(path, sizeof path, "%s/pictures.npy", harness_dir(h));
    if (npy_write(&t, path, &e))
        fail_msg("%s", e.text);
    tensor_release(&t);
}

/* Everything that the simulation needs is there and plausible; the pieces are those of the model. */
static void check_measured(struct harness *h)
{
    char path[HARNESS_PATH + 16];
    struct measured *m;
    struct error e;
    double run = 0;
    snprintf(path, sizeof path, "%s/m.json", harness_dir(h));
    if (measured_load(&m, path, &e))
        fail_msg("%s", e.text);
    assert_string_equal(m->model, "tiny");
    assert_int_equal(strlen(m->digest), DIGEST_TEXT_BYTES - 1);
    assert_true(measured_find_cut(m, "block1.out") >= 0);
    assert_int_equal(m->n_exits, 0);
    assert_int_equal(m->batch[m->n_batches - 1].batch, 8);
    for (int i = 0; i <= m->n_cuts; i++)
        run += m->batch[0].us[i];
    assert_true(run > 0);
    assert_true(m->cost.broker_request + m->cost.io + m->cost.io_kilobyte > 0);
    assert_true(m->cost.stage_send > 0 && m->cost.stage_receive > 0);
    assert_true(m->n_wakes > 0 && m->all_busy > 0 && m->all_busy <= 1);
    measured_free(m);
}

static void test_measure_and_predict(void **state)
{
    struct harness *h = harness_new(NULL, yaml);
    static char first[sizeof output];
    json_t *root, *latency;

    write_pictures(h);
    assert_int_equal(simulate(h, "--measure"), 2);
    assert_said("--data");
    assert_int_equal(simulate(h, measuring(h, "")), 1);
    assert_said("freezeline up");
    tool_ok(h, "up", "");
    simulate_ok(h, measuring(h, "--requests 60 --runs 10"));
    tool_ok(h, "down", "");
    check_measured(h);
    simulate_ok(h, "--rate 50 --requests 5000 --plot /dev/null --json");
    root = json_loads(output, 0, NULL);
    assert_non_null(root);
    latency = json_object_get(root, "latency_ms");
    assert_int_equal(json_integer_value(json_object_get(root, "answered")), 5000);
    assert_true(json_number_value(json_object_get(latency, "p50")) > 0);
    assert_true(json_number_value(json_object_get(latency, "p99")) >=
                json_number_value(json_object_get(latency, "p50")));
    assert_int_equal(json_array_size(json_object_get(root, "stages")), 2);
    json_decref(root);
    simulate_ok(h, "--rate 50 --requests 5000 --json");
    snprintf(first, sizeof first, "%s", output);
    simulate_ok(h, "--rate 50 --requests 5000 --json");
    assert_string_equal(output, first); /* the same seed */
    simulate_ok(h, "--rate 50 --requests 500 --replicas 8,8");
    assert_said("processes for 17 cores share the "); /* with the broker's */
    simulate_ok(h, "--sweep --requests 2000 --replicas 2,1");
    assert_said("saturation:");
    assert_int_equal(simulate(h, "--rate 5 --replicas 2,1,1"), 2);
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure_and_predict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
