/* test_watch.c - processes, energy and machine facts beside a measurement */
#include <math.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/testing.h"
#include "deploy/tool/energy.h"
#include "deploy/tool/machine.h"
#include "deploy/bench/watch.h"
#include "fake_server.h"

static struct fake_server server;
static struct pipeline *pipeline;

static int up(void **state)
{
    struct fake_behaviour does = {0};
    char text[256];
    struct error e;

    if (fake_start(&server, &does))
        return 1;
    snprintf(text, sizeof text, "model: m.onnx\nstate: %s\nbroker: {requests: '%s'}\n", server.folder,
             server.endpoint);
    return pipeline_parse(&pipeline, text, strlen(text), "test.yaml", NULL, 0, &e);
}

static int down(void **state)
{
    fake_stop(&server);
    pipeline_free(pipeline);
    return 0;
}

/* Until the watch has looked so many more times. */
static void wait_for_looks(int64_t more)
{
    int64_t until = server.asked + more;
    struct timespec nap = {0, 10 * 1000 * 1000};

    for (int i = 0; server.asked < until && i < 3000; i++)
        nanosleep(&nap, NULL);
    assert_true(server.asked >= until);
}

static const char *role_of(json_t *process)
{
    return json_string_value(json_object_get(process, "role"));
}

static void test_workers_and_what_happens_to_them(void **state)
{
    struct watch *w;
    struct error e;
    json_t *processes, *worker, *events;
    double used = 0;

    server.incarnation = 1;
    server.plan = 1;
    assert_int_equal(watch_start(&w, pipeline, &e), FL_OK);
    wait_for_looks(1);
    watch_begin(w);
    wait_for_looks(2);
    server.incarnation = 2;
    while (used < 0.1) /* CPU seconds of this process, which the fake worker claims to be */
        used = (double)clock() / CLOCKS_PER_SEC;
    wait_for_looks(2);
    assert_false(watch_saw_reload(w));
    server.plan = 2;
    wait_for_looks(2);
    watch_stop(w);
    watch_stop(w); /* twice does no harm */
    processes = watch_processes(w);
    assert_int_equal(json_array_size(processes), 2);
    worker = json_array_get(processes, strcmp(role_of(json_array_get(processes, 0)), "stage") ? 1 : 0);
    assert_string_equal(role_of(worker), "stage");
    assert_int_equal(json_integer_value(json_object_get(worker, "pid")), getpid());
    assert_true(json_integer_value(json_object_get(worker, "resident_bytes")) > 1000000);
    assert_true(json_number_value(json_object_get(worker, "cpu_seconds")) > 0);
    assert_true(isnan(watch_cpu_s(w))); /* of the broker nothing is known: no pid file */
    events = watch_events(w);
    assert_true(watch_saw_reload(w));
    assert_int_equal(json_array_size(events), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, 0), "text")),
                        "stage0.0 began anew");
    assert_string_equal(json_string_value(json_object_get(json_array_get(events, 1), "text")),
                        "a reload moved the stages on to another plan");
    json_decref(processes);
    json_decref(events);
    watch_free(w);
}

static void put(const char *folder, const char *name, const char *text)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_domain(char *path, size_t size, const char *root, const char *name, const char *uj)
{
    snprintf(path, size, "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0700), 0);
    put(path, "energy_uj", uj);
    put(path, "max_energy_range_uj", "1000000000\n");
}

static void remove_domain(const char *path)
{
    char file[256];

    snprintf(file, sizeof file, "%s/energy_uj", path);
    unlink(file);
    snprintf(file, sizeof file, "%s/max_energy_range_uj", path);
    unlink(file);
    rmdir(path);
}

/* Packages alone count, not their parts, and a counter that comes around goes on. */
static void test_energy(void **state)
{
    char root[] = "/tmp/freezeline-rapl-XXXXXX", package[2][128], core[128];
    struct energy energy;

    assert_non_null(mkdtemp(root));
    energy_open(&energy, root);
    assert_int_equal(energy.n, 0);
    energy_open(&energy, "/nowhere");
    assert_int_equal(energy.n, 0);
    make_domain(package[0], sizeof package[0], root, "intel-rapl:0", "1000000\n");
    make_domain(package[1], sizeof package[1], root, "intel-rapl:1", "999000000\n");
    make_domain(core, sizeof core, root, "intel-rapl:0:0", "5\n");
    energy_open(&energy, root);
    assert_int_equal(energy.n, 2);
    put(package[0], "energy_uj", "3500000\n"); /* 2.5 J */
    put(package[1], "energy_uj", "1000000\n"); /* 2 J, over the end */
    put(core, "energy_uj", "900000000\n");
    energy_read(&energy);
    assert_true(fabs(energy.joules - 4.5) < 1e-9);
    energy_read(&energy);
    assert_true(fabs(energy.joules - 4.5) < 1e-9);
    put(package[0], "energy_uj", "no number\n");
    energy_read(&energy);
    assert_true(fabs(energy.joules - 4.5) < 1e-9);
    remove_domain(package[0]);
    remove_domain(package[1]);
    remove_domain(core);
    rmdir(root);
}

static void test_machine(void **state)
{
    static const char *const keys[] = {"cpu",      "cores",     "memory_bytes", "kernel",
                                       "governor", "blas_core", "conv_engine",  "freezeline",
                                       "zmq",      "openblas",  "onednn",       "revision"};
    json_t *root = machine_json();

    assert_int_equal(json_object_size(root), sizeof keys / sizeof *keys);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_non_null(json_object_get(root, keys[i]));
    assert_true(json_integer_value(json_object_get(root, "cores")) >= 1);
    assert_true(json_integer_value(json_object_get(root, "memory_bytes")) > 1000000);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_workers_and_what_happens_to_them, up, down),
        cmocka_unit_test(test_energy),
        cmocka_unit_test(test_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
