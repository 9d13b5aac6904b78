/* test_image.c - pictures: decoded, resized, normalised; broken files refused */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jpeglib.h>
#include <png.h>

#include "deploy/data/image.h"
#include "deploy/data/npy.h"

static char folder[] = "/tmp/freezeline-image-XXXXXX";
static const struct pipeline plain = {.channels = 0};

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Left half red, right half blue. */
static uint8_t *two_halves(int width, int height)
{
    uint8_t *rgb = calloc((size_t)(3 * width * height), 1);
    assert_non_null(rgb);
    for (int i = 0; i < width * height; i++)
        rgb[3 * i + (i % width < width / 2 ? 0 : 2)] = 255;
    return rgb;
}

static const char *make_png(const char *name, int width, int height)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    uint8_t *rgb = two_halves(width, height);
    assert_true(png_image_write_to_file(&png, path_of(name), 0, rgb, 0, NULL));
    free(rgb);
    return path_of(name);
}

static const char *make_jpeg(const char *name, int width, int height)
{
    struct jpeg_compress_struct j;
    struct jpeg_error_mgr trap;
    uint8_t *rgb = two_halves(width, height);
    FILE *f = fopen(path_of(name), "wb");

    assert_non_null(f);
    j.err = jpeg_std_error(&trap);
    jpeg_create_compress(&j);
    jpeg_stdio_dest(&j, f);
    j.image_width = (JDIMENSION)width;
    j.image_height = (JDIMENSION)height;
    j.input_components = 3;
    j.in_color_space = JCS_RGB;
    jpeg_set_defaults(&j);
    jpeg_set_quality(&j, 95, TRUE);
    jpeg_start_compress(&j, TRUE);
    while (j.next_scanline < j.image_height) {
        JSAMPROW row = rgb + 3 * (size_t)width * j.next_scanline;
        jpeg_write_scanlines(&j, &row, 1);
    }
    jpeg_finish_compress(&j);
    jpeg_destroy_compress(&j);
    fclose(f);
    free(rgb);
    return path_of(name);
}

/* Keeps only the first `percent` of a file. */
static void cut(const char *path, int percent)
{
    FILE *f = fopen(path, "rb");
    long n;
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    n = ftell(f);
    fclose(f);
    assert_int_equal(truncate(path, n * percent / 100), 0);
}

static void check_halves(const char *path, int side, float tolerance)
{
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, side, side}}, t;
    struct error e = {0};
    const float *p;

    assert_int_equal(image_read_input(&t, path, &input, &plain, &e), FL_OK);
    p = t.data;
    for (int y = 0; y < side; y++) {
        assert_true(p[y * side] > 255 - tolerance);                              /* red, left */
        assert_true(p[y * side + side - 1] < tolerance);                         /* red, right */
        assert_true(p[2 * side * side + y * side] < tolerance);                  /* blue, left */
        assert_true(p[2 * side * side + y * side + side - 1] > 255 - tolerance); /* blue, right */
        assert_true(p[side * side + y * side] < tolerance);                      /* green */
    }
    tensor_release(&t);
}

static void test_png_sizes(void **state)
{
    static const int sides[] = {1, 8, 32, 33, 100};
    (void)state;

    for (size_t i = 1; i < sizeof sides / sizeof sides[0]; i++) {
        const char *path = make_png("a.png", sides[i], sides[i]);
        check_halves(path, 8, 1);
        check_halves(path, 32, 1);
    }
}

static void test_jpeg(void **state)
{
    (void)state;
    check_halves(make_jpeg("a.jpg", 64, 48), 32, 12);
    check_halves(make_jpeg("a.jpg", 16, 16), 32, 12);
}

static void test_area_mean(void **state)
{
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 1, 1}}, t;
    struct error e;
    (void)state;

    assert_int_equal(image_read_input(&t, make_png("m.png", 10, 10), &input, &plain, &e), FL_OK);
    assert_true(((float *)t.data)[0] > 127.4f && ((float *)t.data)[0] < 127.6f);
    assert_true(((float *)t.data)[1] == 0);
    tensor_release(&t);
}

static void test_grey_model_and_normalisation(void **state)
{
    struct pipeline p = {.channels = 1, .mean = {10}, .std = {2}};
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 1, 2, 2}}, t;
    struct error e;
    (void)state;

    assert_int_equal(image_read_input(&t, make_png("g.png", 2, 2), &input, &p, &e), FL_OK);
    assert_true(((float *)t.data)[0] > (0.299f * 255 - 10) / 2 - 0.1f &&
                ((float *)t.data)[0] < (0.299f * 255 - 10) / 2 + 0.1f);
    tensor_release(&t);
}

static void test_npy_input(void **state)
{
    struct pipeline p = {.channels = 3, .mean = {1, 1, 1}, .std = {2, 2, 2}};
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 2, 2}};
    struct tensor bytes = {.dtype = TENSOR_U8, .rank = 3, .dim = {3, 2, 2}}, t;
    struct error e;
    (void)state;

    assert_int_equal(tensor_alloc(&bytes), FL_OK);
    memset(bytes.data, 9, 12);
    assert_int_equal(npy_write(&bytes, path_of("i.npy"), &e), FL_OK);
    assert_int_equal(image_read_input(&t, path_of("i.npy"), &input, &p, &e), FL_OK);
    assert_true(((float *)t.data)[11] == 4);
    tensor_release(&t);
    input.dim[3] = 3;
    assert_int_equal(image_read_input(&t, path_of("i.npy"), &input, &p, &e), FL_SHAPE);
    assert_null(t.data);
    tensor_release(&bytes);
}

static int load(const char *path)
{
    struct image i;
    struct error e = {0};
    int rc = image_load(&i, path, &e);
    if (rc) {
        assert_true(e.text[0]);
        assert_null(i.rgb);
    }
    image_release(&i);
    return rc;
}

static void test_refused(void **state)
{
    FILE *f;
    (void)state;

    assert_int_equal(load(path_of("none.png")), FL_IO);
    f = fopen(path_of("text.png"), "wb");
    fputs("hello, I am no picture", f);
    fclose(f);
    assert_int_equal(load(path_of("text.png")), FL_UNSUPPORTED);
    f = fopen(path_of("short.png"), "wb");
    fputs("x", f);
    fclose(f);
    assert_int_equal(load(path_of("short.png")), FL_CORRUPT);
    assert_int_equal(load(folder), FL_CORRUPT);
    for (int percent = 5; percent < 95; percent += 10) {
        cut(make_png("cut.png", 64, 64), percent);
        assert_int_not_equal(load(path_of("cut.png")), FL_OK);
        cut(make_jpeg("cut.jpg", 64, 64), percent);
        assert_int_equal(load(path_of("cut.jpg")), FL_CORRUPT);
    }
}

/* A header that claims 2^31-1 x 2^31-1 pixels must not be believed. */
static void test_huge_claims(void **state)
{
    const char *path = make_png("huge.png", 4, 4);
    uint8_t ihdr[8] = {0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff};
    FILE *f = fopen(path, "r+b");
    (void)state;

    assert_non_null(f);
    fseek(f, 16, SEEK_SET);
    fwrite(ihdr, 1, 8, f);
    fclose(f);
    assert_int_not_equal(load(path), FL_OK);
    path = make_jpeg("huge.jpg", 8, 8);
    f = fopen(path, "r+b");
    assert_non_null(f);
    uint8_t bytes[700];
    size_t n = fread(bytes, 1, sizeof bytes, f);
    for (size_t i = 0; i + 9 < n; i++) {
        if (bytes[i] == 0xff && bytes[i + 1] == 0xc0) {
            fseek(f, (long)i + 5, SEEK_SET);
            fwrite("\xff\x00\xff\x00", 1, 4, f);
            break;
        }
    }
    fclose(f);
    assert_int_equal(load(path), FL_TOO_LARGE);
}

static void test_flipped_bytes(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        for (long at = 0; at < 400; at += 3) {
            const char *path = kind ? make_jpeg("flip.jpg", 16, 16) : make_png("flip.png", 16, 16);
            FILE *f = fopen(path, "r+b");
            assert_non_null(f);
            fseek(f, at, SEEK_SET);
            fputc(0xa5, f);
            fclose(f);
            load(path); /* any answer will do, sanitizers watch */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_png_sizes),   cmocka_unit_test(test_jpeg),
        cmocka_unit_test(test_area_mean),   cmocka_unit_test(test_grey_model_and_normalisation),
        cmocka_unit_test(test_npy_input),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_huge_claims), cmocka_unit_test(test_flipped_bytes),
    };
    char command[300];
    int failed;

    if (!mkdtemp(folder))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || failed;
}
