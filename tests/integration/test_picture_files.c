/* test_picture_files.c - pictures in folders and directories through the tool: build, eval, infer, bench;
 * with the demo's network and pictures, as PNG files and in CIFAR-10's layout */
#include "tool_world.h"

#include <math.h>
#include <png.h>
#include <sys/stat.h>

#include "deploy/data/shapes.h"

enum { TRAIN = 150, UNSEEN = 150 };

static const char yaml[] =
    "name: pictures\nkernels: openblas\n" /* the same answers each time */
    "input: {mean: 128, std: 64}\n"
    "labels: [disc, ring, square, frame, triangle, cross, star, stripes, checker, dots]\n"
    "exits:\n"
    "  - {name: early, after: /blocks.3/Relu_1}\n"
    "cache: {nodes: 64, memory_mb: 1, train_epochs: 1}\n";

/* Picture i into `folder`/CLASS/i.png and to the end of `folder`.bin. */
static void write_picture(struct harness *h, const char *folder, int i, FILE *records)
{
    uint8_t planes[SHAPES_BYTES], rgb[SHAPES_BYTES];
    int label = shapes_draw(1, (uint64_t)i, SHAPES_MORPH_FROM, planes, NULL);
    png_image png = {
        .version = PNG_IMAGE_VERSION, .width = SHAPES_SIDE, .height = SHAPES_SIDE, .format = PNG_FORMAT_RGB};
    char path[2 * HARNESS_PATH];

    for (int k = 0; k < SHAPES_BYTES; k++)
        rgb[k] = planes[k % 3 * SHAPES_PIXELS + k / 3];
    snprintf(path, sizeof path, "%s/%s/%s", harness_dir(h), folder, shapes_label(label));
    mkdir(path, 0700);
    snprintf(path + strlen(path), sizeof path - strlen(path), "/%03d.png", i);
    assert_true(png_image_write_to_file(&png, path, 0, rgb, 0, NULL));
    fputc(label, records);
    fwrite(planes, 1, sizeof planes, records);
}

static void write_pictures(struct harness *h, const char *folder, int first, int n)
{
    char path[2 * HARNESS_PATH];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s.bin", harness_dir(h), folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    snprintf(path, sizeof path, "%s/%s", harness_dir(h), folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = first; i < first + n; i++)
        write_picture(h, folder, i, f);
    fclose(f);
}

static const char *arguments(struct harness *h, const char *format)
{
    static char text[4 * HARNESS_PATH];
    size_t n = 0;

    for (const char *c = format; *c && n < sizeof text - HARNESS_PATH; c++) /* '@' stands for the folder */
        n += (size_t)snprintf(text + n, sizeof text - n, *c == '@' ? "%s" : "%.1s",
                              *c == '@' ? harness_dir(h) : c);
    text[n] = 0;
    return text;
}

static double number(struct harness *h, const char *data, const char *key)
{
    json_t *root = tool_json(h, "eval", arguments(h, data));
    double value = json_number_value(json_object_get(root, key));

    json_decref(root);
    return value;
}

/* What is built from files is what is built from the same pixels elsewhere. */
static void folders_are_data(struct harness *h)
{
    static const char *const keys[] = {"full_accuracy", "agreement", "early_share"};
    double of_files[3];

    tool_ok(h, "build", arguments(h, "--train folder:@/train --calibrate folder:@/unseen"));
    for (int i = 0; i < 3; i++)
        of_files[i] = number(h, "--data folder:@/unseen", keys[i]);
    for (int i = 0; i < 3; i++)
        assert_true(fabs(number(h, "--data cifar10:@/unseen.bin", keys[i]) - of_files[i]) < 1e-9);
    assert_true(of_files[0] > 0.7 && of_files[2] > 0);
    tool_ok(h, "eval", arguments(h, "--data folder:@/unseen --limit 20"));
    assert_non_null(strstr(output, "20 requests"));
}

/* The first look at an own network: is it as right as it was in training? */
static void network_is_asked_before_caches_are_built(struct harness *h)
{
    const char *data = "--data folder:@/unseen --limit 20 --set state=@/nothing-built";
    json_t *root = tool_json(h, "eval", arguments(h, data));

    assert_string_equal(json_string_value(json_object_get(root, "alone")), "no caches are built yet");
    assert_true(json_number_value(json_object_get(root, "full_accuracy")) > 0.8);
    json_decref(root);
    tool_ok(h, "eval", arguments(h, data));
    assert_said("20 requests, to the network alone: no caches are built yet\naccuracy");
    assert_int_equal(tool(h, "eval", arguments(h, "--data folder:@/unseen --limit 20 --set input.mean=60")),
                     1);
    assert_said("or go without caches (--set cache.kind=none)");
    tool_ok(h, "eval",
            arguments(h, "--data folder:@/unseen --limit 20 --set input.mean=60 --set cache.kind=none"));
    assert_said("to the network alone: the pipeline file asks for no caches");
}

/* One line for each file; what is no picture is no input. */
static void directories_are_asked(struct harness *h)
{
    char *save = NULL, *line;
    int n = 0;

    tool_ok(h, "infer", arguments(h, "--input @/some --json"));
    for (line = strtok_r(output, "\n", &save); line; line = strtok_r(NULL, "\n", &save), n++) {
        json_t *root = json_loads(line, 0, NULL);
        assert_non_null(root);
        assert_non_null(strstr(json_string_value(json_object_get(root, "input")), n ? "b.png" : "a.png"));
        assert_non_null(json_object_get(root, "name"));
        json_decref(root);
    }
    assert_int_equal(n, 2);
    tool_ok(h, "infer", arguments(h, "--input @/some/a.png @/some/b.png"));
    assert_non_null(strstr(output, "answered by"));
    assert_non_null(strstr(output, "b.png"));
}

/* The same picture, by its name and through a pipe; an array that way, too. */
static void standard_input_is_asked(struct harness *h)
{
    char label[64];
    json_t *root = tool_json(h, "infer", arguments(h, "--input @/some/a.png"));

    snprintf(label, sizeof label, "%s", json_string_value(json_object_get(root, "name")));
    json_decref(root);
    root = tool_json(h, "infer", arguments(h, "--input - <@/some/a.png"));
    assert_string_equal(json_string_value(json_object_get(root, "name")), label);
    assert_string_equal(json_string_value(json_object_get(root, "input")), "-");
    json_decref(root);
    assert_int_equal(
        shell(arguments(
            h, "{ printf '\\223NUMPY\\1\\0\\166\\0'; printf '%-117s\\n' \"{'descr': '|u1', "
               "'fortran_order': False, 'shape': (32, 32, 3), }\"; head -c 3072 /dev/zero; } >@/a.array")),
        0);
    tool_ok(h, "infer", arguments(h, "--input - <@/a.array"));
    assert_int_equal(tool(h, "infer", arguments(h, "--input - <@/unseen.bin")), 1);
    assert_said("standard input: ");
    assert_int_equal(tool(h, "infer", "--input - </dev/null"), 1);
    assert_said("standard input is empty");
}

/* On a terminal, while the answers go to a file. */
static void progress_is_shown(struct harness *h)
{
    char line[4 * HARNESS_PATH];

    if (shell("command -v script")) {
        print_message("no script(1): the bar is not looked at\n");
        return;
    }
    snprintf(line, sizeof line,
             "script -qec '%s/freezeline infer -c %s --input %s/some --json >%s/answers' /dev/null; "
             "wc -l <%s/answers",
             tool_folder(), harness_config(h), harness_dir(h), harness_dir(h), harness_dir(h));
    assert_int_equal(shell(line), 0);
    assert_said("############################] 100%");
    assert_said("\n2\n");
}

static void broken_pictures_are_told(struct harness *h)
{
    char path[2 * HARNESS_PATH];
    FILE *f;

    snprintf(path, sizeof path, "%s/some/bad.png", harness_dir(h));
    f = fopen(path, "wb");
    assert_non_null(f);
    fputs("\x89PNG\r\n\x1a\n and no more", f);
    fclose(f);
    assert_int_equal(tool(h, "infer", arguments(h, "--input @/some")), 1);
    assert_non_null(strstr(output, "bad.png"));
    assert_non_null(strstr(output, "--skip-bad"));
    tool_ok(h, "infer", arguments(h, "--input @/some --skip-bad"));
    assert_non_null(strstr(output, "1 of 3 inputs cannot be read"));
    assert_int_equal(tool(h, "bench", arguments(h, "--data folder:@/some --requests 4")), 1);
    assert_non_null(strstr(output, "1 of 3 pictures cannot be read"));
    tool_ok(h, "bench", arguments(h, "--data folder:@/some --skip-bad --requests 4 --no-warm-up"));
    assert_int_equal(tool(h, "infer", arguments(h, "--input @/train")), 1);
    assert_non_null(strstr(output, "folder:"));
}

static void test_picture_files(void **state)
{
    char model[4096];
    struct harness *h;

    assert_non_null(realpath("configs/demo/demo.onnx", model)); /* tests run in the repository's root */
    h = harness_new(model, yaml);
    write_pictures(h, "train", 0, TRAIN);
    write_pictures(h, "unseen", TRAIN, UNSEEN);
    assert_int_equal(
        system(arguments(h, "mkdir @/some && cp $(ls @/unseen/*/*.png | head -1) @/some/a.png && "
                            "cp $(ls @/unseen/*/*.png | tail -1) @/some/b.png && echo >@/some/notes.txt")),
        0);
    folders_are_data(h);
    network_is_asked_before_caches_are_built(h);
    tool_ok(h, "up", "");
    directories_are_asked(h);
    standard_input_is_asked(h);
    progress_is_shown(h);
    broken_pictures_are_told(h);
    tool_ok(h, "down", "");
    finish(h);
}

/* A model that takes bytes, channels last, of pictures that are smaller than the files; also what is mirrored
 * and mixed for learned caches. */
static void test_model_of_bytes(void **state)
{
    char model[4096];
    struct harness *h;
    json_t *root;

    assert_non_null(realpath("tests/data/bytes.onnx", model));
    h = harness_new(
        model,
        "name: bytes\ninput: {resize: 16}\ncache: {kind: learned, train_epochs: 1, grids: 4, tune: 0}\n"
        "exits:\n  - {name: early, after: block1.out}\n");
    write_pictures(h, "train", 0, TRAIN);
    write_pictures(h, "unseen", TRAIN, UNSEEN);
    tool_ok(h, "build", arguments(h, "--train folder:@/train --calibrate cifar10:@/unseen.bin"));
    root = tool_json(h, "eval", arguments(h, "--data cifar10:@/unseen.bin"));
    assert_int_equal(json_integer_value(json_object_get(root, "requests")), UNSEEN);
    json_decref(root);
    tool_ok(h, "up", "");
    tool_ok(h, "infer", arguments(h, "$(ls @/train/*/*.png | head -3)"));
    assert_non_null(strstr(output, "train"));
    tool_ok(h, "down", "");
    finish(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_picture_files),
                                       cmocka_unit_test(test_model_of_bytes)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
