/* test_build_bad_input.c - `build` with poor data, artifacts of other models and versions, interruptions;
 * with the demo's network and pictures */
#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "deploy/data/npy.h"

enum { TRAIN = 300, CALIBRATE = 300, ALL = TRAIN + CALIBRATE, PIXELS = 3 * 32 * 32 };

extern char **environ;

static char output[1 << 16];

static const char *program(void)
{
    static char path[512];
    const char *build = getenv("FREEZELINE_BUILD");
    snprintf(path, sizeof path, "%s/freezeline", build ? build : "build/release");
    return path;
}

/* Runs `freezeline COMMAND -c p.yaml ARGUMENTS`; stdout and stderr are in `output`. */
static int tool(const char *command, const char *arguments)
{
    char line[2048];
    size_t n = 0, got;
    FILE *f;
    snprintf(line, sizeof line, "%s %s -c %s/p.yaml %s 2>&1 </dev/null", program(), command, folder,
             arguments);
    f = popen(line, "r");
    assert_non_null(f);
    while (n < sizeof output - 1 && (got = fread(output + n, 1, sizeof output - 1 - n, f)) > 0)
        n += got;
    output[n] = 0;
    return WEXITSTATUS(pclose(f));
}

/* `build` of a data set, the first TRAIN records of which train; state directory of its own. */
static int build(const char *data, const char *state, const char *more)
{
    char arguments[1024];
    snprintf(arguments, sizeof arguments,
             "--train %s#0-%d --calibrate %s#%d-%d --set state=%s/%s --threads 1 %s", data, TRAIN - 1, data,
             TRAIN, ALL - 1, folder, state, more);
    return tool("build", arguments);
}

static const char *spec(const char *kind, const char *file)
{
    static char text[256];
    snprintf(text, sizeof text, "%s:%s/%s", kind, folder, file);
    return text;
}

static void expect(const char *text)
{
    if (!strstr(output, text))
        fail_msg("'%s' is not in: %.2000s", text, output);
}

static int prepare(void **state)
{
    char line[2048], here[256];
    FILE *f;
    assert_int_equal(make_folder(state), 0);
    assert_non_null(getcwd(here, sizeof here));
    snprintf(line, sizeof line, "%s/p.yaml", folder);
    f = fopen(line, "w");
    assert_non_null(f);
    fprintf(
        f,
        "model: %s/configs/demo/demo.onnx\nstate: state\ninput: {mean: [128, 128, 128], std: [64, 64, 64]}\n"
        "exits: [{name: early, after: /blocks.3/Relu_1}, {name: late, after: /blocks.5/Relu_1}]\n"
        "cache: {kind: learned, grids: [1], nodes: 32, augment: 0, memory_mb: 1}\n"
        "kernels: openblas\n", /* auto chooses by time, and each rounds in its own way */
        here);
    fclose(f);
    snprintf(line, sizeof line,
             "%s generate --count %d --output %s/all.bin >/dev/null && %s generate --count %d --without ring "
             "--output "
             "%s/without.bin >/dev/null",
             program(), ALL, folder, program(), ALL, folder);
    return system(line);
}

/* ALL pictures of floats, fed as they are, without labels: those that train all the same, those that
 * calibrate too, or with `varied` of two kinds. */
static const char *write_floats(const char *name, bool varied)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {ALL, 3, 32, 32}};
    char path[256];
    float *to;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    to = t.data;
    for (int i = 0; i < ALL * PIXELS; i++) {
        int picture = i / PIXELS, row = i / 32 % 32;
        to[i] = varied ? (picture % 2 && row / 4 % 2 ? 1.0f : -1.0f) * (1 + 0.0001f * (float)picture)
                : picture < TRAIN ? 0.5f
                                  : 0.4f;
    }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(npy_write(&t, path, NULL), FL_OK);
    tensor_release(&t);
    return spec("npy", name);
}

static void missing_labels(void **state)
{
    const char *data = write_floats("unlabelled.npy", true);
    assert_int_equal(build(data, "unlabelled", "--set cache.threshold=risk --set cache.max_accuracy_loss=5"),
                     2);
    expect("cache.promise: agreement");
    assert_int_equal(build(data, "unlabelled",
                           "--set cache.threshold=risk --set cache.max_accuracy_loss=5 --set "
                           "cache.promise=agreement"),
                     0);
    expect("points of agreement");
}

/* The pictures of all.bin as npy, each label raised by one; those of `classes` begin again at 0. */
static const char *write_raised_labels(int classes)
{
    struct tensor images = {.dtype = TENSOR_U8, .rank = 4, .dim = {ALL, 3, 32, 32}};
    struct tensor labels = {.dtype = TENSOR_U8, .rank = 1, .dim = {ALL}};
    static char text[512];
    char path[128];
    FILE *f;
    snprintf(path, sizeof path, "%s/all.bin", folder);
    assert_non_null(f = fopen(path, "rb"));
    assert_int_equal(tensor_alloc(&images), FL_OK);
    assert_int_equal(tensor_alloc(&labels), FL_OK);
    for (int i = 0; i < ALL; i++) {
        ((uint8_t *)labels.data)[i] = (uint8_t)((fgetc(f) + 1) % classes);
        assert_int_equal(fread((uint8_t *)images.data + i * PIXELS, 1, PIXELS, f), PIXELS);
    }
    fclose(f);
    snprintf(path, sizeof path, "%s/raised.npy", folder);
    assert_int_equal(npy_write(&images, path, NULL), FL_OK);
    snprintf(path, sizeof path, "%s/labels%d.npy", folder, classes);
    assert_int_equal(npy_write(&labels, path, NULL), FL_OK);
    tensor_release(&images);
    tensor_release(&labels);
    snprintf(text, sizeof text, "npy:%s/raised.npy,%s", folder, path);
    return text;
}

/* Where the network is always "wrong" no early answer costs accuracy, and all of them would be certified. */
static void labels_of_another_model(void **state)
{
    static const char promise[] = "--set cache.threshold=risk --set cache.max_accuracy_loss=5";
    const char *data = write_raised_labels(256);
    char arguments[512];
    assert_int_equal(build(data, "raised", promise), 1);
    expect("has label 10; the model has the classes 0 to 9");
    snprintf(arguments, sizeof arguments, "--data %s --set state=%s/raised", data, folder);
    assert_int_equal(tool("eval", arguments), 1);
    expect("has label 10; the model has the classes 0 to 9");
    assert_int_equal(build(write_raised_labels(10), "raised", promise), 0);
    expect("hardly better than the commonest label");
    assert_int_equal(build(spec("cifar10", "all.bin"), "raised", promise), 0);
    expect("right on all 300 calibration points");
    if (strstr(output, "warning"))
        fail_msg("a warning about good labels: %.2000s", output);
}

/* One record is so bright that sums overflow; behind the last relu that gives infinity minus infinity. */
static void activations_that_are_not_numbers(void **state)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {12, 3, 224, 224}};
    char arguments[1024], path[256];
    float *to;
    assert_int_equal(tensor_alloc(&t), FL_OK);
    to = t.data;
    for (int64_t i = 0; i < tensor_count(&t); i++)
        to[i] = i / (3 * 224 * 224) == 5 ? 3e38f : (float)(i % 7 + i / (3 * 224 * 224));
    snprintf(path, sizeof path, "%s/bright.npy", folder);
    assert_int_equal(npy_write(&t, path, NULL), FL_OK);
    tensor_release(&t);
    snprintf(
        arguments, sizeof arguments,
        "--train npy:%s#0-7 --calibrate npy:%s#8-11 --set state=%s/bright --set model=tests/data/wide.onnx "
        "--set exits=auto --threads 1",
        path, path, folder);
    assert_int_equal(tool("build", arguments), 1);
    expect("scores for record 5 are not numbers");
}

/* Nothing to learn from: one picture again and again. Every kind still gives a cache that can be served, but
 * one picture promises nothing. */
static void constant_pictures(void **state)
{
    char arguments[512];
    assert_int_equal(build(write_floats("constant.npy", false), "constant", "--kinds all"), 0);
    snprintf(arguments, sizeof arguments, "--data npy:%s/constant.npy#0-9 --set state=%s/constant", folder,
             folder);
    assert_int_equal(tool("eval", arguments), 0);
    expect("same answer     100.00%");
    assert_int_equal(build(spec("npy", "constant.npy"), "constant",
                           "--set cache.threshold=risk --set cache.max_accuracy_loss=5 --set "
                           "cache.promise=agreement"),
                     2);
    expect("only 1 of the 300 calibration records are different pictures");
    expect("constant.npy#301 is the same as");
    expect("1 different calibration points cannot promise");
}

/* What fitted the caches must not judge them. */
static void calibration_that_trained(void **state)
{
    char arguments[1024], text[256];
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%s/all.bin#0-99 --calibrate cifar10:%s/all.bin#500-504,%s/all.bin#97-103 --set "
             "state=%s/shared",
             folder, folder, folder, folder);
    assert_int_equal(tool("build", arguments), 1);
    expect("3 of the 12 calibration records are training records too");
    snprintf(text, sizeof text, "the first is %s/all.bin#97, the same as %s/all.bin#97", folder, folder);
    expect(text);
    snprintf(arguments, sizeof arguments,
             "--train cifar10:%s/all.bin#0-99 --calibrate cifar10:%s/all.bin#100-298,%s/all.bin#97-97 --set "
             "state=%s/shared",
             folder, folder, folder, folder);
    assert_int_equal(tool("build", arguments), 0);
    expect("1 of the 200 calibration records are training records too");
    expect("and are left out");
}

static void a_class_without_examples(void **state)
{
    char arguments[512];
    assert_int_equal(build(spec("cifar10", "without.bin"), "without",
                           "--kinds all --set cache.threshold=risk --set cache.max_accuracy_loss=5"),
                     0);
    expect("promise    early answers cost at most 5.00 points");
    snprintf(arguments, sizeof arguments, "--data cifar10:%s/all.bin#0-99 --set state=%s/without", folder,
             folder);
    assert_int_equal(tool("eval", arguments), 0);
    expect("100 requests");
}

/* --- artifacts of others --- */

static void patch(const char *path, long at, uint8_t value)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, at, SEEK_SET), 0);
    assert_int_equal(fputc(value, f), value);
    assert_int_equal(fclose(f), 0);
}

/* The file of an exit's cache; its name tells the build, and there is but one. */
static void find_cache(char path[256], const char *state, const char *exit)
{
    char pattern[256];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/%s/caches/%s-*.cache", folder, state, exit);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    snprintf(path, 256, "%s", found.gl_pathv[0]);
    globfree(&found);
}

static void artifacts_of_others(void **state)
{
    char arguments[512], line[1024], path[256];
    assert_int_equal(build(spec("cifar10", "all.bin"), "others", ""), 0);
    snprintf(arguments, sizeof arguments, "--data cifar10:%s/all.bin#0-9 --set state=%s/others", folder,
             folder);
    assert_int_equal(tool("eval", arguments), 0);
    /* Another model: the same network with one weight changed. */
    snprintf(line, sizeof line, "cp configs/demo/demo.onnx %s/other.onnx", folder);
    assert_int_equal(system(line), 0);
    snprintf(path, sizeof path, "%s/other.onnx", folder);
    patch(path, 900001, 0x3c);
    snprintf(line, sizeof line, "%s --set model=%s/other.onnx", arguments, folder);
    assert_int_equal(tool("eval", line), 1);
    expect("others/caches were built for another model: run");
    /* Another version: the number stands behind magic, checksum and size. */
    find_cache(path, "others", "late");
    patch(path, 24, 0xee);
    assert_int_equal(tool("eval", arguments), 1);
    expect("late-");
    expect("version");
    /* A build replaces what does not fit. */
    assert_int_equal(build(spec("cifar10", "all.bin"), "others", ""), 0);
    assert_int_equal(tool("eval", arguments), 0);
}

/* --- interruptions --- */

/* Starts the build and interrupts it at its line number `after` of progress. Returns the exit status. */
static int interrupted_build(int after)
{
    char data[2][300], set[300], config[300];
    char *argv[] = {(char *)program(),
                    "build",
                    "-c",
                    config,
                    "--train",
                    data[0],
                    "--calibrate",
                    data[1],
                    "--set",
                    set,
                    "--threads",
                    "1",
                    "--set",
                    "cache.threshold=risk",
                    "--set",
                    "cache.max_accuracy_loss=5",
                    NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status, lines = 0, c;
    pid_t pid;
    FILE *f;
    snprintf(config, sizeof config, "%s/p.yaml", folder);
    snprintf(data[0], sizeof data[0], "%s#0-%d", spec("cifar10", "all.bin"), TRAIN - 1);
    snprintf(data[1], sizeof data[1], "%s#%d-%d", spec("cifar10", "all.bin"), TRAIN, ALL - 1);
    snprintf(set, sizeof set, "state=%s/cut", folder);
    assert_int_equal(pipe(ends), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", 1, 0);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    assert_int_equal(posix_spawn(&pid, program(), &actions, NULL, argv, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    f = fdopen(ends[0], "r");
    assert_non_null(f);
    while ((c = fgetc(f)) != EOF) {
        lines += c == '\n';
        if (c == '\n' && lines == after)
            kill(pid, SIGINT);
    }
    fclose(f);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void check_same_file(const char *exit)
{
    char line[520], whole[256], cut[256];
    find_cache(whole, "whole", exit);
    find_cache(cut, "cut", exit);
    snprintf(line, sizeof line, "cmp %s %s", whole, cut);
    assert_int_equal(system(line), 0);
}

/* Under a promise both builds go by the same times, which would not come out the same when measured twice. */
static void interrupted_builds_end_the_same(void **state)
{
    char line[512];
    int rc = 1, stops = 0;
    assert_int_equal(build(spec("cifar10", "all.bin"), "whole",
                           "--set cache.threshold=risk --set cache.max_accuracy_loss=5"),
                     0);
    snprintf(line, sizeof line, "mkdir -p %s/cut/build && cp -r %s/whole/build/times %s/cut/build", folder,
             folder, folder);
    assert_int_equal(system(line), 0);
    for (int after = 1; rc && after < 100; after++) {
        rc = interrupted_build(after);
        assert_true(rc == 0 || rc == 1);
        stops += rc;
    }
    assert_int_equal(rc, 0);
    assert_true(stops > 0);
    check_same_file("early");
    check_same_file("late");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_labels),
        cmocka_unit_test(labels_of_another_model),
        cmocka_unit_test(activations_that_are_not_numbers),
        cmocka_unit_test(constant_pictures),
        cmocka_unit_test(calibration_that_trained),
        cmocka_unit_test(a_class_without_examples),
        cmocka_unit_test(artifacts_of_others),
        cmocka_unit_test(interrupted_builds_end_the_same),
    };
    return cmocka_run_group_tests_name("build with bad input", tests, prepare, remove_folder);
}
