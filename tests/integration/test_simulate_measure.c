/* test_simulate_measure.c - measurements taken from a running pipeline, and what the tool makes of them */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "deploy/data/npy.h"
#include "deploy/simulate/simulate_measured.h"

static const char yaml[] = "name: tiny\n"
                           "stages:\n"
                           "  - {last: block1.out}\n"
                           "  - {}\n"
                           "cache: {kind: none}\n";

static char output[65536]; /* of the last command */

/* Runs `freezeline COMMAND -c pipeline.yaml ARGS` in the harness's folder ('@'); returns its exit status. */
static int tool(struct harness *h, const char *command, const char *arguments)
{
    const char *build = getenv("FREEZELINE_BUILD");
    char line[4096];
    size_t n = 0, got;
    FILE *f;
    int status;

    n = (size_t)snprintf(line, sizeof line, "%s/freezeline %s -c %s ", build ? build : "build/release",
                         command, harness_config(h));
    for (const char *c = arguments; *c && n < sizeof line - 600; c++) {
        if (*c == '@')
            n += (size_t)snprintf(line + n, sizeof line - n, "%s", harness_dir(h));
        else
            line[n++] = *c;
    }
    snprintf(line + n, sizeof line - n, " 2>&1");
    f = popen(line, "r");
    assert_non_null(f);
    n = 0;
    while (n < sizeof output - 1 && (got = fread(output + n, 1, sizeof output - 1 - n, f)) > 0)
        n += got;
    output[n] = 0;
    status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void tool_ok(struct harness *h, const char *command, const char *arguments)
{
    int rc = tool(h, command, arguments);
    if (rc)
        fail_msg("freezeline %s %s ended with %d:\n%s", command, arguments, rc, output);
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
    json_error_t problem;
    json_t *root, *latency;
    (void)state;

    write_pictures(h);
    assert_int_equal(tool(h, "simulate", "--measure --measured @/m.json --data npy:@/pictures.npy"), 1);
    assert_non_null(strstr(output, "freezeline up"));
    tool_ok(h, "up", "");
    tool_ok(h, "simulate", "--measure --measured @/m.json --data npy:@/pictures.npy --requests 60 --runs 10");
    tool_ok(h, "down", "");
    check_measured(h);
    tool_ok(h, "simulate", "--measured @/m.json --rate 50 --requests 5000 --plot @/p.svg --json");
    root = json_loads(output, 0, &problem);
    assert_non_null(root);
    latency = json_object_get(root, "latency_ms");
    assert_int_equal(json_integer_value(json_object_get(root, "answered")), 5000);
    assert_true(json_number_value(json_object_get(latency, "p50")) > 0);
    assert_true(json_number_value(json_object_get(latency, "p99")) >=
                json_number_value(json_object_get(latency, "p50")));
    assert_int_equal(json_array_size(json_object_get(root, "stages")), 2);
    json_decref(root);
    tool_ok(h, "simulate", "--measured @/m.json --rate 50 --requests 5000 --json");
    snprintf(first, sizeof first, "%s", output);
    tool_ok(h, "simulate", "--measured @/m.json --rate 50 --requests 5000 --json");
    assert_string_equal(output, first); /* the same seed */
    tool_ok(h, "simulate", "--measured @/m.json --rate 50 --requests 500 --replicas 8,8");
    assert_non_null(strstr(output, "processes for 17 cores share the ")); /* with the broker's */
    tool_ok(h, "simulate", "--measured @/m.json --sweep --requests 2000 --replicas 2,1");
    assert_non_null(strstr(output, "saturation:"));
    assert_int_equal(tool(h, "simulate", "--measured @/m.json --rate 5 --replicas 2,1,1"), 2);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_measure_and_predict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
