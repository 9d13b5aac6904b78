/* test_pictures.c - data sets of picture files: which class is which, what is broken, what is skipped, in
 * which order */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <png.h>
#include <turbojpeg.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "deploy/data/dataset.h"

static char state[64];
static char *labels[4];
static struct pipeline pipeline;
static const struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 2, 2}};
static char said[4096]; /* notes of the last open_set */

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* A picture all of whose pixels are `shade`. */
static void put_picture(const char *name, uint8_t shade, int width, int height)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    size_t n = (size_t)(3 * width * height);
    uint8_t *rgb = malloc(n), *bytes = NULL;
    unsigned long size = 0;
    FILE *f;

    assert_non_null(rgb);
    memset(rgb, shade, n);
    if (strstr(name, ".png")) {
        assert_true(png_image_write_to_file(&png, in_folder(name), 0, rgb, 0, NULL));
    } else {
        tjhandle j = tjInitCompress();
        assert_int_equal(tjCompress2(j, rgb, width, 0, height, TJPF_RGB, &bytes, &size, TJSAMP_444, 100, 0),
                         0);
        f = fopen(in_folder(name), "wb");
        assert_non_null(f);
        fwrite(bytes, 1, size, f);
        fclose(f);
        tjDestroy(j);
        tjFree(bytes);
    }
    free(rgb);
}

static void put_text(const char *name, const char *content)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static void make(const char *name)
{
    assert_int_equal(mkdir(in_folder(name), 0700), 0);
}

static int open_set(struct dataset **d, const char *spec, struct dataset_options o, struct error *e)
{
    char whole[400];
    FILE *notes = fmemopen(said, sizeof said - 1, "w");
    const char *at = strchr(spec, '@');
    int rc;

    assert_non_null(notes);
    o.pipeline = &pipeline;
    o.input = o.input ? o.input : &input;
    o.notes = notes;
    snprintf(whole, sizeof whole, "%.*s%s%s", (int)(at - spec), spec, folder, at + 1);
    memset(said, 0, sizeof said);
    *e = (struct error){0};
    rc = dataset_open(d, whole, &o, e);
    fclose(notes);
    return rc;
}

static void opened(struct dataset **d, const char *spec, struct dataset_options o)
{
    struct error e;
    if (open_set(d, spec, o, &e))
        fail_msg("%s: %s", spec, e.text);
}

static void refused(const char *spec, struct dataset_options o, int code, const char *says)
{
    struct dataset *d;
    struct error e;
    assert_int_equal(open_set(&d, spec, o, &e), code);
    assert_null(d);
    if (!strstr(e.text, says))
        fail_msg("\"%s\" does not say \"%s\"", e.text, says);
}

static float shade(const struct dataset *d, int64_t i)
{
    float image[12];
    dataset_image(d, i, image);
    for (int k = 1; k < 12; k++)
        assert_true(image[k] == image[0]);
    return image[0];
}

/* Records as "shade:label " in order. */
static void check_records(const struct dataset *d, const char *expected)
{
    char have[256] = "";
    for (int64_t i = 0; i < dataset_count(d); i++)
        snprintf(have + strlen(have), sizeof have - strlen(have), "%d:%d ", (int)shade(d, i),
                 dataset_label(d, i));
    assert_string_equal(have, expected);
}

static void use_labels(int n, ...)
{
    va_list args;
    va_start(args, n);
    for (int i = 0; i < n; i++)
        labels[i] = text(va_arg(args, const char *));
    va_end(args);
    pipeline.n_labels = n;
    pipeline.label = labels;
}

/* Classes take turns; folders below count, other files do not. */
static void test_folder(void **unused)
{
    struct dataset *d;
    char name[DATASET_RECORD_NAME];

    opened(&d, "folder:@/animals", (struct dataset_options){.classes = 3});
    check_records(d, "10:0 30:1 50:2 20:0 40:1 25:0 ");
    assert_true(dataset_has_labels(d));
    assert_non_null(strstr(dataset_record_name(d, 1, name, sizeof name), "animals/cat/a.jpg"));
    assert_non_null(strstr(dataset_record_name(d, 5, name, sizeof name), "animals/bird/more/c.JPG"));
    assert_non_null(strstr(said, "bird is 0 and dog is 2"));
    assert_non_null(strstr(said, "1 pictures lie beside"));
    dataset_close(d);
    opened(&d, "folder:@/animals#1-3", (struct dataset_options){.classes = 3});
    check_records(d, "30:1 50:2 20:0 ");
    dataset_close(d);
    opened(&d, "folder:@/animals", (struct dataset_options){.classes = 3, .most = 2});
    check_records(d, "10:0 30:1 ");
    dataset_close(d);
    refused("folder:@/animals#0-6", (struct dataset_options){.classes = 3}, FL_USAGE, "records 0 to 5");
    refused("folder:@/animals", (struct dataset_options){.classes = 4}, FL_VALUE,
            "3 folders, the model has 4 classes");
    refused("folder:@/nowhere", (struct dataset_options){.classes = 4}, FL_IO, "nowhere");
    make("empty");
    refused("folder:@/empty", (struct dataset_options){.classes = 4}, FL_VALUE, "no pictures");
}

/* Names decide, not the alphabet. */
static void test_folder_and_labels(void **unused)
{
    struct dataset *d;

    use_labels(3, "dog", "cat", "bird");
    opened(&d, "folder:@/animals", (struct dataset_options){.classes = 3});
    check_records(d, "50:0 30:1 10:2 40:1 20:2 25:2 ");
    assert_non_null(strstr(said, "bird is class 2, though number 0"));
    dataset_close(d);
    use_labels(4, "bird", "cat", "dog", "eel");
    opened(&d, "folder:@/animals", (struct dataset_options){.classes = 4});
    assert_non_null(strstr(said, "3 of the 4 classes"));
    dataset_close(d);
    use_labels(3, "birds", "cat", "dog");
    refused("folder:@/animals", (struct dataset_options){.classes = 3}, FL_CONFIG,
            "bird: no class in `labels`");
    refused("folder:@/animals", (struct dataset_options){.classes = 3}, FL_CONFIG, "the nearest is birds");
    pipeline.n_labels = 0;
}

static void test_folder_without_classes(void **unused)
{
    struct dataset *d;

    opened(&d, "folder:@/animals/cat", (struct dataset_options){.classes = 3});
    check_records(d, "30:-1 40:-1 ");
    assert_false(dataset_has_labels(d));
    dataset_close(d);
}

static void test_list(void **unused)
{
    struct dataset *d;
    char absolute[400];

    use_labels(3, "dog", "cat", "big bird");
    put_text("list.txt",
             "# a comment\nanimals/bird/a.png\tbig bird\n\nanimals/cat/a.jpg\t1\r\nanimals/dog/a.png\tdog\n");
    opened(&d, "list:@/list.txt", (struct dataset_options){.classes = 3});
    check_records(d, "10:2 30:1 50:0 ");
    dataset_close(d);
    opened(&d, "list:@/list.txt#1-2", (struct dataset_options){.classes = 3});
    check_records(d, "30:1 50:0 ");
    dataset_close(d);
    put_text("list.csv", "animals/bird/a.png, 2\nanimals/a, b.png,0");
    opened(&d, "list:@/list.csv", (struct dataset_options){.classes = 3});
    check_records(d, "10:2 60:0 ");
    dataset_close(d);
    put_text("blanks", "animals/bird/a.png 2\n");
    opened(&d, "list:@/blanks", (struct dataset_options){.classes = 3});
    check_records(d, "10:2 ");
    dataset_close(d);
    snprintf(absolute, sizeof absolute, "%s/animals/cat/a.jpg\nanimals/dog/a.png\n", folder);
    put_text("paths", absolute);
    opened(&d, "list:@/paths", (struct dataset_options){.classes = 3});
    check_records(d, "30:-1 50:-1 ");
    assert_false(dataset_has_labels(d));
    dataset_close(d);
    put_text("bad1", "animals/bird/a.png,2\nanimals/bird/a.png,duck\n");
    refused("list:@/bad1", (struct dataset_options){0}, FL_CORRUPT, "bad1:2: 'duck' is no label");
    put_text("bad2", "animals/bird/a.png,2\nanimals/bird/a.png\n");
    refused("list:@/bad2", (struct dataset_options){0}, FL_CORRUPT, "bad2:2: either all");
    put_text("bad3", "\n\n");
    refused("list:@/bad3", (struct dataset_options){0}, FL_CORRUPT, "lists no pictures");
    put_text("bad4", "animals/bird/a.png,-1\n");
    refused("list:@/bad4", (struct dataset_options){0}, FL_CORRUPT, "is no label");
    refused("list:@/animals", (struct dataset_options){0}, FL_IO, "not a text file");
    pipeline.n_labels = 0;
}

/* Named, counted, left out only when that is asked for. */
static void test_broken(void **unused)
{
    struct dataset *d;
    struct error e;

    put_text("some.csv",
             "animals/bird/a.png,0\nbad.jpg,1\nanimals/dog/a.png,2\nmissing.png,1\nanimals/cat/a.jpg,1\n");
    put_text("bad.jpg", "\xff\xd8\xff\xd9");
    assert_int_equal(open_set(&d, "list:@/some.csv", (struct dataset_options){0}, &e), FL_CORRUPT);
    assert_non_null(strstr(e.text, "2 of 5 pictures cannot be read, the first: "));
    assert_non_null(strstr(e.text, "bad.jpg"));
    assert_non_null(strstr(e.text, "--skip-bad"));
    assert_non_null(strstr(said, "missing.png"));
    opened(&d, "list:@/some.csv", (struct dataset_options){.skip_broken = true});
    check_records(d, "10:0 50:2 30:1 ");
    assert_non_null(strstr(said, "2 of 5 pictures cannot be read and are left out"));
    dataset_close(d);
    put_text("none.csv", "bad.jpg,1\nmissing.png,1\n");
    refused("list:@/none.csv", (struct dataset_options){.skip_broken = true}, FL_CORRUPT, "2 of 2");
}

/* Names with commas and marks are names. */
static void test_odd_names(void **unused)
{
    struct dataset *d;

    put_text("a,b#0-1", "animals/bird/a.png,0\nanimals/cat/a.jpg,1\nanimals/dog/a.png,2\n");
    opened(&d, "list:@/a,b#0-1", (struct dataset_options){0});
    assert_int_equal(dataset_count(d), 3);
    dataset_close(d);
    opened(&d, "list:@/a,b#0-1#2-2", (struct dataset_options){0});
    check_records(d, "50:2 ");
    dataset_close(d);
}

/* What a build made of other sizes or other pictures is another set. */
static void test_identity(void **unused)
{
    struct dataset *d;
    uint64_t id;

    put_picture("mixed.png", 7, 9, 9);
    put_text("one", "mixed.png 0\n");
    opened(&d, "list:@/one", (struct dataset_options){0});
    id = dataset_identity(d);
    dataset_close(d);
    opened(&d, "list:@/one", (struct dataset_options){0});
    assert_true(dataset_identity(d) == id);
    dataset_close(d);
    put_picture("mixed.png", 8, 9, 9);
    opened(&d, "list:@/one", (struct dataset_options){0});
    assert_true(dataset_identity(d) != id);
    dataset_close(d);
}

/* Bytes of other sizes are resized where the file says so; grey models get grey. */
static void test_cifar_resized(void **unused)
{
    struct tensor small = {.dtype = TENSOR_U8, .rank = 4, .dim = {1, 8, 8, 1}};
    struct dataset_options o = {.input = &small};
    struct dataset *d;
    uint8_t image[64];
    char name[DATASET_RECORD_NAME];
    FILE *f = fopen(in_folder("c.bin"), "wb");

    assert_non_null(f);
    for (int r = 0; r < 3; r++) {
        fputc(r, f);
        for (int k = 0; k < 3072; k++)
            fputc(k < 1024 ? 100 : k < 2048 ? 10 * r : 0, f);
    }
    fclose(f);
    refused("cifar10:@/c.bin", o, FL_SHAPE, "input.resize");
    pipeline.n_resize = 1;
    pipeline.resize[0] = 8;
    opened(&d, "cifar10:@/c.bin#1-2", o);
    assert_true(dataset_count(d) == 2 && dataset_label(d, 1) == 2);
    dataset_image(d, 1, image);
    assert_int_equal(image[5], (100 * 19595 + 20 * 38470 + 0x8000) >> 16);
    assert_non_null(strstr(dataset_record_name(d, 1, name, sizeof name), "c.bin#2"));
    dataset_close(d);
    pipeline.n_resize = 0;
}

static int prepare(void **state_of)
{
    int rc = make_folder(state_of);

    if (rc)
        return rc;
    snprintf(state, sizeof state, "%s/state", folder);
    pipeline.state = state;
    pipeline.path = text("p.yaml");
    make("state");
    make("animals");
    make("animals/bird");
    make("animals/bird/more");
    make("animals/cat");
    make("animals/dog");
    put_picture("animals/bird/a.png", 10, 3, 5);
    put_picture("animals/bird/b.jpg", 20, 16, 9);
    put_picture("animals/bird/more/c.JPG", 25, 8, 8);
    put_picture("animals/cat/a.jpg", 30, 2, 2);
    put_picture("animals/cat/b.png", 40, 1, 7);
    put_picture("animals/dog/a.png", 50, 33, 20);
    put_picture("animals/a, b.png", 60, 2, 2);
    put_text("animals/cat/notes.txt", "no picture");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_folder),
        cmocka_unit_test(test_folder_and_labels),
        cmocka_unit_test(test_folder_without_classes),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_odd_names),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_cifar_resized),
    };
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
