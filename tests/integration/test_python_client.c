/* test_python_client.c - proto/client/ask.py gets the answers that the C client gets */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/data/npy.h"

#define PYTHON "/usr/bin/python3"

static bool has_python(void)
{
    return !system("command -v protoc >/dev/null && " PYTHON
                   " -c 'import zmq, numpy, google.protobuf' 2>/dev/null");
}

static void test_python_hears_what_c_hears(void **state)
{
    struct harness *h;
    struct client *c;
    struct answer answer;
    struct error e = {0};
    char line[2048], output[4096], path[HARNESS_PATH];
    float x[3 * 16 * 16], scores[16];
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 16, 16}, .data = x};
    int n, label, exit;
    double first;
    FILE *f;

    if (!has_python())
        skip();
    h = harness_new(NULL, "stages: 1\nexits: none\n");
    harness_pipeline_up(h);
    harness_random(x, 3 * 16 * 16, 7);
    c = harness_client(h);
    assert_int_equal(client_infer(c, &input, 0, 0, &answer, scores, 16, &n, &e), FL_OK);
    snprintf(path, sizeof path, "%s/x.npy", harness_dir(h));
    assert_int_equal(npy_write(&input, path, &e), FL_OK);
    snprintf(line, sizeof line,
             "protoc --python_out=%s --proto_path=proto proto/freezeline.proto && PYTHONPATH=%s " PYTHON
             " proto/client/ask.py %s %s 2>&1",
             harness_dir(h), harness_dir(h), harness_pipeline(h)->broker.requests, path);
    assert_non_null(f = popen(line, "r"));
    output[fread(output, 1, sizeof output - 1, f)] = 0;
    assert_int_equal(pclose(f), 0);
    assert_int_equal(sscanf(output, "%d exit %d scores [%lf", &label, &exit, &first), 3);
    assert_int_equal(label, answer.label);
    assert_int_equal(exit, -1);
    assert_float_equal(first, scores[0], 1e-3);
    assert_non_null(strstr(output, "] request "));
    snprintf(line, sizeof line, "PYTHONPATH=%s " PYTHON " proto/client/ask.py ipc://%s/nobody,%s %s 2>&1",
             harness_dir(h), harness_dir(h), harness_pipeline(h)->broker.requests, path);
    assert_non_null(f = popen(line, "r")); /* the first of two brokers is not there */
    output[fread(output, 1, sizeof output - 1, f)] = 0;
    assert_int_equal(pclose(f), 0);
    assert_int_equal(sscanf(output, "%d exit %d scores [%lf", &label, &exit, &first), 3);
    assert_int_equal(label, answer.label);
    snprintf(line, sizeof line, "PYTHONPATH=%s " PYTHON " proto/client/ask.py 2>&1", harness_dir(h));
    assert_non_null(f = popen(line, "r"));
    output[fread(output, 1, sizeof output - 1, f)] = 0;
    assert_int_not_equal(pclose(f), 0);
    assert_non_null(strstr(output, "usage: ask.py ENDPOINT"));
    assert_null(strstr(output, "Traceback"));
    client_free(c);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_python_hears_what_c_hears)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
