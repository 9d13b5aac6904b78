/* test_image.c - pictures: decoded, resized, normalised; broken files refused */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <png.h>
#include <turbojpeg.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "deploy/data/npy.h"
#include "deploy/data/input_file.h"
#include "picture/image.h"

static const struct pipeline plain = {.n_mean = 0};

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
    assert_true(png_image_write_to_file(&png, in_folder(name), 0, rgb, 0, NULL));
    free(rgb);
    return in_folder(name);
}

static void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static const char *make_jpeg(const char *name, int width, int height)
{
    uint8_t *rgb = two_halves(width, height), *bytes = NULL;
    unsigned long size = 0;
    tjhandle j = tjInitCompress();

    assert_int_equal(
        tjCompress2(j, rgb, width, 0, height, TJPF_RGB, &bytes, &size, TJSAMP_420, 95, TJFLAG_ACCURATEDCT),
        0);
    write_file(in_folder(name), bytes, size);
    tjDestroy(j);
    tjFree(bytes);
    free(rgb);
    return in_folder(name);
}

/* A PNG of 4x4 times the same `pixel`, whose rows are `row_bytes` long; with gamma unless that is 0. */
struct stored {
    int depth, type;
    const char *pixels; /* of one row */
    int row_bytes;
    double gamma;
    uint8_t expected[3];
};

static const char *make_stored(const struct stored *s)
{
    static png_color palette[2] = {{10, 100, 200}, {255, 0, 0}};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_color_16 clear = {.gray = 100};
    uint8_t row[32] = {0};
    FILE *f = fopen(in_folder("stored.png"), "wb");

    assert_non_null(f);
    png_init_io(png, f);
    png_set_IHDR(png, info, 4, 4, s->depth, s->type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (s->type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 2);
        png_set_tRNS(png, info, (uint8_t[1]){0}, 1, NULL);
    }
    if (s->type == PNG_COLOR_TYPE_GRAY && s->depth == 8)
        png_set_tRNS(png, info, NULL, 0, &clear);
    if (s->gamma > 0)
        png_set_gAMA(png, info, s->gamma);
    png_write_info(png, info);
    memcpy(row, s->pixels, (size_t)s->row_bytes);
    for (int i = s->row_bytes; i < 32; i++) /* the rest of the row repeats */
        row[i] = row[i - s->row_bytes];
    for (int y = 0; y < 4; y++)
        png_write_row(png, row);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(f);
    return in_folder("stored.png");
}

/* Neither gamma nor alpha changes what is stored. */
static void test_pixels_as_stored(void **state)
{
    static const struct stored cases[] = {
        {16, PNG_COLOR_TYPE_GRAY, "\x80\x80", 2, 0, {128, 128, 128}},
        {16, PNG_COLOR_TYPE_GRAY, "\x64\xe4", 2, 0, {100, 100, 100}}, /* 100.5 / 257 rounds down */
        {16, PNG_COLOR_TYPE_GRAY, "\x64\xe6", 2, 0, {101, 101, 101}},
        {16, PNG_COLOR_TYPE_RGB, "\x0a\x0a\x64\x64\xc8\xc8", 6, 0, {10, 100, 200}},
        {16, PNG_COLOR_TYPE_RGB, "\x0a\x0a\x64\x64\xc8\xc8", 6, 0.45455, {10, 100, 200}},
        {8, PNG_COLOR_TYPE_RGB, "\x0a\x64\xc8", 3, 1, {10, 100, 200}},
        {8, PNG_COLOR_TYPE_RGB, "\x0a\x64\xc8", 3, 0.55, {10, 100, 200}},
        {8, PNG_COLOR_TYPE_RGBA, "\x0a\x64\xc8\x00", 4, 0, {10, 100, 200}},
        {8, PNG_COLOR_TYPE_RGBA, "\x0a\x64\xc8\x80", 4, 0.55, {10, 100, 200}},
        {16, PNG_COLOR_TYPE_RGBA, "\x0a\x0a\x64\x64\xc8\xc8\x80\x80", 8, 0, {10, 100, 200}},
        {8, PNG_COLOR_TYPE_GRAY_ALPHA, "\x64\x80", 2, 0, {100, 100, 100}},
        {8, PNG_COLOR_TYPE_GRAY, "\x64", 1, 0, {100, 100, 100}},
        {8, PNG_COLOR_TYPE_PALETTE, "\x00", 1, 0, {10, 100, 200}},
        {1, PNG_COLOR_TYPE_PALETTE, "\x00", 1, 0, {10, 100, 200}},
        {4, PNG_COLOR_TYPE_GRAY, "\x88", 1, 0, {136, 136, 136}},
        {1, PNG_COLOR_TYPE_GRAY, "\xff", 1, 0, {255, 255, 255}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error e = {0};
        struct image image;
        assert_int_equal(image_load(&image, make_stored(&cases[i]), &e), FL_OK);
        assert_true(image.width == 4 && image.height == 4 && image.orientation == 1);
        for (int k = 0; k < 16; k++)
            assert_memory_equal(image.rgb + 3 * k, cases[i].expected, 3);
        image_release(&image);
    }
}

static void test_inks(void **state)
{
    static const uint8_t expected[3] = {200, 30, 60};
    uint8_t cmyk[16 * 16 * 4], *bytes = NULL;
    unsigned long size = 0;
    tjhandle j = tjInitCompress();
    struct error e = {0};
    struct image image;

    for (int i = 0; i < 16 * 16; i++) /* inverted, as Adobe stores them */
        memcpy(cmyk + 4 * i, "\xc8\x1e\x3c\xff", 4);
    assert_int_equal(tjCompress2(j, cmyk, 16, 0, 16, TJPF_CMYK, &bytes, &size, TJSAMP_444, 100, 0), 0);
    assert_int_equal(image_decode(&image, bytes, size, "inks", &e), FL_OK);
    for (int c = 0; c < 3; c++)
        assert_in_range(image.rgb[c], expected[c] - 2, expected[c] + 2);
    image_release(&image);
    tjDestroy(j);
    tjFree(bytes);
}

/* The decoder would make up the end that is missing; what comes after the end does not matter. */
static void test_jpeg_without_its_end(void **state)
{
    uint8_t bytes[4000] = {0};
    struct error e = {0};
    struct image image;
    FILE *f = fopen(make_jpeg("end.jpg", 32, 32), "rb");
    size_t n;

    assert_non_null(f);
    n = fread(bytes, 1, sizeof bytes - 20, f);
    fclose(f);
    assert_int_equal(image_decode(&image, bytes, n, "a", &e), FL_OK);
    image_release(&image);
    assert_int_equal(image_decode(&image, bytes, n + 20, "a", &e), FL_OK);
    image_release(&image);
    assert_int_equal(image_decode(&image, bytes, n - 2, "a", &e), FL_CORRUPT);
    assert_non_null(strstr(e.text, "cut off"));
}

/* A camera's note in either byte order, in JPEG and PNG; nonsense counts as upright. */
static void test_orientation(void **state)
{
    static const char *const notes[] = {
        "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
        "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0",
        "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x09\0\0\0\0\0\0\0",
        "II*\0\xff\xff\xff\xff\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
        "II*\0\x08\0\0\0\xff\xff\x13\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
    };
    static const int expected[] = {6, 6, 1, 1, 1};
    enum { NOTE = 26, SEGMENT = 2 + 2 + 6 + NOTE };

    for (int i = 0; i < 5; i++) {
        uint8_t bytes[4000];
        struct error e = {0};
        struct image image;
        FILE *f = fopen(make_jpeg("turned.jpg", 16, 8), "rb");
        assert_non_null(f);
        size_t n = fread(bytes + SEGMENT, 1, sizeof bytes - SEGMENT, f);
        fclose(f);
        memcpy(bytes,
               "\xff\xd8\xff\xe1\0\x22"
               "Exif\0\0",
               12);
        memcpy(bytes + 12, notes[i], NOTE);
        assert_int_equal(image_decode(&image, bytes, n + SEGMENT, "turned", &e), FL_OK);
        assert_int_equal(image.orientation, expected[i]);
        assert_int_equal(image.width, 16);
        image_release(&image);
    }
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

    assert_int_equal(input_file_read(&t, path, &input, &plain, &e), FL_OK);
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

    for (size_t i = 1; i < sizeof sides / sizeof sides[0]; i++) {
        const char *path = make_png("a.png", sides[i], sides[i]);
        check_halves(path, 8, 1);
        check_halves(path, 32, 1);
    }
}

static void test_jpeg(void **state)
{
    check_halves(make_jpeg("a.jpg", 64, 48), 32, 12);
    check_halves(make_jpeg("a.jpg", 16, 16), 32, 12);
}

static void test_grey_model_and_normalisation(void **state)
{
    struct pipeline p = {.n_mean = 1, .n_std = 1, .mean = {10}, .std = {2}};
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 1, 2, 2}}, t;
    struct error e;

    assert_int_equal(input_file_read(&t, make_png("g.png", 2, 2), &input, &p, &e), FL_OK);
    assert_true(((float *)t.data)[0] == (76 - 10) / 2); /* 0.299 x 255, rounded */
    tensor_release(&t);
}

static void test_npy_input(void **state)
{
    struct pipeline p = {.n_mean = 3, .n_std = 3, .mean = {1, 1, 1}, .std = {2, 2, 2}};
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 2, 2}};
    struct tensor bytes = {.dtype = TENSOR_U8, .rank = 3, .dim = {3, 2, 2}}, t;
    struct error e;

    assert_int_equal(tensor_alloc(&bytes), FL_OK);
    memset(bytes.data, 9, 12);
    assert_int_equal(npy_write(&bytes, in_folder("i.npy"), &e), FL_OK);
    assert_int_equal(input_file_read(&t, in_folder("i.npy"), &input, &p, &e), FL_OK);
    assert_true(((float *)t.data)[11] == 4);
    tensor_release(&t);
    input.dim[3] = 3;
    assert_int_equal(input_file_read(&t, in_folder("i.npy"), &input, &p, &e), FL_SHAPE);
    assert_null(t.data);
    tensor_release(&bytes);
}

/* One picture in any layout, number type and order; as the model takes it, or as pixels. */
static void test_layouts_of_arrays(void **state)
{
    static const struct {
        enum tensor_dtype dtype;
        int rank;
        int64_t dim[4];
        int code;
        float first, second; /* of the red plane */
    } cases[] = {
        {TENSOR_U8, 3, {3, 2, 4}, FL_OK, -0.5f, 0},   {TENSOR_U8, 4, {1, 2, 4, 3}, FL_OK, -0.5f, 1},
        {TENSOR_U8, 3, {2, 4, 3}, FL_OK, -0.5f, 1},   {TENSOR_F64, 3, {3, 2, 4}, FL_OK, 0, 1},
        {TENSOR_F64, 4, {1, 2, 4, 3}, FL_OK, 0, 3},   {TENSOR_F32, 4, {1, 3, 2, 4}, FL_OK, 0, 1},
        {TENSOR_F32, 3, {2, 4, 3}, FL_OK, 0, 3},      {TENSOR_I64, 3, {3, 2, 4}, FL_DTYPE, 0, 0},
        {TENSOR_F32, 3, {3, 4, 2}, FL_SHAPE, 0, 0},   {TENSOR_F32, 2, {3, 8}, FL_SHAPE, 0, 0},
        {TENSOR_U8, 4, {2, 3, 2, 4}, FL_SHAPE, 0, 0},
    };
    struct pipeline p = {.n_mean = 1, .n_std = 1, .mean = {1}, .std = {2}};
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 2, 4}}, t;
    struct error e;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor a = {.dtype = cases[i].dtype, .rank = cases[i].rank};
        memcpy(a.dim, cases[i].dim, sizeof cases[i].dim);
        assert_int_equal(tensor_alloc(&a), FL_OK);
        for (int64_t k = 0; k < tensor_count(&a); k++) {
            if (a.dtype == TENSOR_U8)
                ((uint8_t *)a.data)[k] = (uint8_t)k;
            else if (a.dtype == TENSOR_F32)
                ((float *)a.data)[k] = (float)k;
            else if (a.dtype == TENSOR_F64)
                ((double *)a.data)[k] = (double)k;
        }
        assert_int_equal(npy_write(&a, in_folder("a.npy"), &e), FL_OK);
        tensor_release(&a);
        assert_int_equal(input_file_read(&t, in_folder("a.npy"), &input, &p, &e), cases[i].code);
        if (!cases[i].code)
            assert_true(((float *)t.data)[0] == cases[i].first && ((float *)t.data)[1] == cases[i].second);
        tensor_release(&t);
    }
}

/* Models that want their pictures [height][width][channels], or as bytes. */
static void test_what_models_take(void **state)
{
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 8, 10, 3}}, t;
    struct pipeline p = {.n_mean = 3, .n_std = 1, .mean = {5, 0, 55}, .std = {10}};
    struct error e;

    assert_int_equal(input_file_read(&t, make_png("h.png", 10, 8), &input, &p, &e), FL_OK);
    assert_true(((float *)t.data)[0] == 25 && ((float *)t.data)[1] == 0 && ((float *)t.data)[2] == -5.5f);
    assert_true(((float *)t.data)[27] == -0.5f && ((float *)t.data)[29] == 20);
    tensor_release(&t);
    input.dtype = TENSOR_U8;
    assert_int_equal(input_file_read(&t, in_folder("h.png"), &input, &plain, &e), FL_OK);
    assert_memory_equal((uint8_t *)t.data + 27, "\0\0\xff", 3);
    tensor_release(&t);
    input = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 10}};
    assert_int_equal(input_file_read(&t, in_folder("h.png"), &input, &plain, &e), FL_SHAPE);
    assert_non_null(strstr(e.text, "no picture"));
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

    assert_int_equal(load(in_folder("none.png")), FL_NOT_FOUND);
    f = fopen(in_folder("text.png"), "wb");
    fputs("hello, I am no picture", f);
    fclose(f);
    assert_int_equal(load(in_folder("text.png")), FL_UNSUPPORTED);
    f = fopen(in_folder("short.png"), "wb");
    fputs("x", f);
    fclose(f);
    assert_int_equal(load(in_folder("short.png")), FL_CORRUPT);
    assert_int_equal(load(folder), FL_IO);
    for (int percent = 5; percent < 95; percent += 10) {
        cut(make_png("cut.png", 64, 64), percent);
        assert_int_not_equal(load(in_folder("cut.png")), FL_OK);
        cut(make_jpeg("cut.jpg", 64, 64), percent);
        assert_int_equal(load(in_folder("cut.jpg")), FL_CORRUPT);
    }
}

/* A header that claims 2^31-1 x 2^31-1 pixels must not be believed. */
static void test_huge_claims(void **state)
{
    const char *path = make_png("huge.png", 4, 4);
    uint8_t ihdr[8] = {0, 0, 0x7f, 0xff, 0, 0, 0x7f, 0xff};
    FILE *f = fopen(path, "r+b");

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
        cmocka_unit_test(test_pixels_as_stored),
        cmocka_unit_test(test_inks),
        cmocka_unit_test(test_jpeg_without_its_end),
        cmocka_unit_test(test_orientation),
        cmocka_unit_test(test_png_sizes),
        cmocka_unit_test(test_jpeg),

        cmocka_unit_test(test_grey_model_and_normalisation),
        cmocka_unit_test(test_npy_input),
        cmocka_unit_test(test_layouts_of_arrays),
        cmocka_unit_test(test_what_models_take),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_huge_claims),
        cmocka_unit_test(test_flipped_bytes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
