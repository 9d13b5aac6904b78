/* test_large_images.c - caches on a model of 224x224 pictures, from pictures to a live request: stem with
 * stride and pooling, depthwise convolution, activations of several sizes */
#include "harness.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "numbers/shuffle.h"
#include "deploy/data/npy.h"

enum { SIDE = 224, PICTURES = 180, TRAIN = 80, REQUESTS = 30 };

static const char yaml[] = "name: wide\n"
                           "input: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
                           "exits:\n"
                           "  - {name: exit1, after: block1.out}\n"
                           "  - {name: exit2, after: block2.out}\n"
                           "  - {name: exit3, after: block3.out}\n"
                           "stages: [{last: exit1}, {last: exit2}, {}]\n"
                           "cache: {kind: learned, grids: [8], augment: 1, memory_mb: 1, wait_us: 1000000}\n";
static const char promise[] = "--set cache.threshold=risk --set cache.promise=agreement "
                              "--set cache.max_accuracy_loss=30 --set cache.certainty=0.9";

static char output[1 << 18];

static int tool(struct harness *h, const char *command, const char *arguments)
{
    const char *build = getenv("FREEZELINE_BUILD");
    char line[2048];
    size_t got;
    FILE *f;
    snprintf(line, sizeof line, "%s/freezeline %s -c %s %s 2>%s/stderr", build ? build : "build/release",
             command, harness_config(h), arguments, harness_dir(h));
    f = popen(line, "r");
    assert_non_null(f);
    got = fread(output, 1, sizeof output - 1, f);
    output[got] = 0;
    return WEXITSTATUS(pclose(f));
}

static json_t *tool_json(struct harness *h, const char *command, const char *arguments)
{
    char with[1024];
    json_t *root;
    int rc;
    snprintf(with, sizeof with, "%s --json", arguments);
    rc = tool(h, command, with);
    root = json_loads(output, 0, NULL);
    if (rc || !root)
        fail_msg("freezeline %s %s ended with %d: see %s/stderr", command, arguments, rc, harness_dir(h));
    return root;
}

/* Stripes of six colours, widths and directions: the network, random as it is, tells them apart. */
static void draw(uint8_t *to, int picture, struct shuffle *s)
{
    int kind = picture % 6, width = 4 << kind % 3;
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int stripe = (kind < 3 ? x : y) / width % 2, bright = (kind + c) % 3 ? 30 : 200;
                *to++ = (uint8_t)(stripe * bright + (int)shuffle_below(s, 40));
            }
}

static void write_pictures(struct harness *h)
{
    struct tensor pictures = {.dtype = TENSOR_U8, .rank = 4, .dim = {PICTURES, 3, SIDE, SIDE}};
    char path[HARNESS_PATH + 64];
    struct shuffle s;
    assert_int_equal(tensor_alloc(&pictures), FL_OK);
    shuffle_seed(&s, 1, 224);
    for (int i = 0; i < PICTURES; i++)
        draw((uint8_t *)pictures.data + (size_t)i * 3 * SIDE * SIDE, i, &s);
    snprintf(path, sizeof path, "%s/pictures.npy", harness_dir(h));
    assert_int_equal(npy_write(&pictures, path, NULL), FL_OK);
    pictures.dim[0] = 1; /* the first alone, for `infer` */
    snprintf(path, sizeof path, "%s/one.npy", harness_dir(h));
    assert_int_equal(npy_write(&pictures, path, NULL), FL_OK);
    tensor_release(&pictures);
}

/* Descriptors are maps of 8 x 8 cells of each channel; all caches together keep to the budget. */
static void check_build(const json_t *root)
{
    static const int dim[] = {6 * 64, 12 * 64, 12 * 64};
    json_t *exit;
    size_t i;
    assert_int_equal(json_array_size(json_object_get(root, "exits")), 3);
    json_array_foreach(json_object_get(root, "exits"), i, exit)
        assert_int_equal(json_integer_value(json_object_get(exit, "dim")), dim[i]);
    assert_true(json_number_value(json_object_get(root, "cache_bytes")) <= 1e6);
}

static void check_eval(const json_t *root)
{
    assert_int_equal(json_integer_value(json_object_get(root, "requests")), REQUESTS);
    assert_true(json_is_null(json_object_get(root, "full_accuracy"))); /* no labels */
    assert_true(json_number_value(json_object_get(root, "early_share")) > 0.5);
    assert_true(json_number_value(json_object_get(root, "by_half_share")) > 0.2); /* exit1 */
    assert_true(json_number_value(json_object_get(root, "agreement")) > 0.8);
}

static void check_live(struct harness *h)
{
    char arguments[HARNESS_PATH + 64];
    json_t *root;
    int rc = tool(h, "up", "");
    if (rc)
        fail_msg("up ended with %d: see %s", rc, harness_dir(h));
    snprintf(arguments, sizeof arguments, "--input %s/one.npy", harness_dir(h));
    root = tool_json(h, "infer", arguments);
    assert_string_not_equal(json_string_value(json_object_get(root, "exit")), "network");
    assert_true(json_integer_value(json_object_get(root, "label")) >= 0);
    json_decref(root);
    snprintf(arguments, sizeof arguments, "--no-cache --input %s/one.npy", harness_dir(h));
    root = tool_json(h, "infer", arguments);
    assert_string_equal(json_string_value(json_object_get(root, "exit")), "network");
    json_decref(root);
    assert_int_equal(tool(h, "down", ""), 0);
}

static void pictures_of_photographs(void **state)
{
    char model[HARNESS_PATH], data[3 * HARNESS_PATH];
    struct harness *h;
    json_t *root;
    assert_non_null(getcwd(model, sizeof model - 64));
    strcat(model, "/tests/data/wide.onnx");
    h = harness_new(model, yaml);
    write_pictures(h);
    snprintf(data, sizeof data, "--train npy:%s/pictures.npy#0-%d --calibrate npy:%s/pictures.npy#%d-%d %s",
             harness_dir(h), TRAIN - 1, harness_dir(h), TRAIN, PICTURES - REQUESTS - 1, "");
    root = tool_json(h, "build", data);
    check_build(root);
    json_decref(root);
    strcat(data, promise);
    root = tool_json(h, "build", data);
    assert_true(json_number_value(json_object_get(json_object_get(root, "promise"), "loss_upper")) <= 0.3);
    json_decref(root);
    snprintf(data, sizeof data, "--data npy:%s/pictures.npy#%d-%d", harness_dir(h), PICTURES - REQUESTS,
             PICTURES - 1);
    root = tool_json(h, "eval", data);
    check_eval(root);
    json_decref(root);
    check_live(h);
    harness_free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(pictures_of_photographs)};
    return cmocka_run_group_tests_name("large images", tests, NULL, NULL);
}
