/* test_resize.c - pictures made as large as a model takes them, number for number as Pillow and torchvision
 * do
 *
 * The digests come from tests/data/make_resize_reference.py.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "picture/planes.h"
#include "picture/preprocess.h"
#include "picture/resize.h"

static uint8_t *noise(int width, int height)
{
    size_t n = (size_t)(3 * width * height);
    uint8_t *out = malloc(n);
    uint32_t state = 1;

    assert_non_null(out);
    for (size_t i = 0; i < n; i++) {
        state = (state * 1103515245u + 12345u) & 0x7fffffff;
        out[i] = (uint8_t)(state >> 16);
    }
    return out;
}

static uint64_t fnv(const uint8_t *bytes, size_t n)
{
    uint64_t h = 14695981039346656037ull;

    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * 1099511628211ull;
    return h;
}

static void test_as_pillow(void **state)
{
    static const struct {
        const char *filter;
        int width, height;
        uint64_t digest;
    } cases[] = {
        {"nearest", 9, 7, 0x70db75c50108ba7e},    {"nearest", 50, 41, 0xd5e1e764fa388c9b},
        {"nearest", 37, 10, 0xa694e32eeb1cb773},  {"nearest", 5, 23, 0x781000b4972b5fb2},
        {"nearest", 3, 60, 0x1ec1b28adfe97290},   {"box", 9, 7, 0x5f147df716779877},
        {"box", 50, 41, 0xd5e1e764fa388c9b},      {"box", 37, 10, 0x20436572a06cc6d6},
        {"box", 5, 23, 0x693ea0661981f9d},        {"box", 3, 60, 0xa9a1c4a99c8855a0},
        {"bilinear", 9, 7, 0x7c81efce5c02219c},   {"bilinear", 50, 41, 0x8f843bac50b026b7},
        {"bilinear", 37, 10, 0x7d9327af2d5eb26a}, {"bilinear", 5, 23, 0x94d5ca19ed6ae124},
        {"bilinear", 3, 60, 0x13edcaf940a75f29},  {"hamming", 9, 7, 0xecbc5429b140034},
        {"hamming", 50, 41, 0x479ee067c0b66d7d},  {"hamming", 37, 10, 0xd53624d499207dc3},
        {"hamming", 5, 23, 0xb74f1b83e0eab55b},   {"hamming", 3, 60, 0xaf7e8c1ef28bca3d},
        {"bicubic", 9, 7, 0xa5f35702d3911d15},    {"bicubic", 50, 41, 0xc9e2d64cba8b644a},
        {"bicubic", 37, 10, 0xe11de46386bd8c9},   {"bicubic", 5, 23, 0xf7599ac6b7ce154c},
        {"bicubic", 3, 60, 0x7591dbc836db147d},   {"lanczos", 9, 7, 0x8a93f9de45bc5475},
        {"lanczos", 50, 41, 0x571041bf28f35409},  {"lanczos", 37, 10, 0xfe2fae8668e6e217},
        {"lanczos", 5, 23, 0x798c009baadfbb34},   {"lanczos", 3, 60, 0xb8d21fd5b5bf9f3e},
    };
    uint8_t *from = noise(37, 23), out[3 * 60 * 60];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int w = cases[i].width, h = cases[i].height;
        struct resize_target t = {.width = w, .height = h, .window_width = w, .window_height = h};
        assert_true(resize_pixels(from, 37, 23, 3, cases[i].filter, &t, out));
        if (fnv(out, (size_t)(3 * w * h)) != cases[i].digest)
            fail_msg("%s to %dx%d", cases[i].filter, w, h);
    }
    free(from);
}

/* A window shows what the whole has there. */
static void test_windows(void **state)
{
    static const char *const filters[] = {"nearest", "bilinear", "lanczos"};
    struct resize_target all = {.width = 50, .height = 15, .window_width = 50, .window_height = 15},
                         part = {.width = 50,
                                 .height = 15,
                                 .left = 11,
                                 .top = 4,
                                 .window_width = 20,
                                 .window_height = 9};
    uint8_t *from = noise(37, 23), whole[3 * 50 * 15], window[3 * 20 * 9];

    for (int f = 0; f < 3; f++) {
        assert_true(resize_pixels(from, 37, 23, 3, filters[f], &all, whole));
        assert_true(resize_pixels(from, 37, 23, 3, filters[f], &part, window));
        for (int y = 0; y < 9; y++)
            assert_memory_equal(window + y * 60, whole + ((y + 4) * 50 + 11) * 3, 60);
    }
    free(from);
}

static void test_as_torchvision(void **state)
{
    static const struct {
        int width, height, n, resize[2], crop_height, crop_width;
        const char *filter;
        int channels, orientation;
        uint64_t digest;
    } cases[] = {
        {37, 23, 1, {16}, 16, 16, "bilinear", 3, 1, 0xf92de60c34402faa},
        {23, 37, 1, {17}, 12, 15, "bicubic", 3, 1, 0x5e8a4db3fcce71e1},
        {37, 23, 0, {0}, 8, 11, "bilinear", 3, 1, 0x16455a84c84a3374},
        {37, 23, 0, {0}, 30, 50, "bilinear", 3, 1, 0x9992b3634d54e2a3},
        {37, 23, 2, {12, 31}, 10, 30, "lanczos", 3, 1, 0xf005a6d6274b6e19},
        {37, 23, 1, {40}, 38, 41, "bilinear", 3, 1, 0x319a86ba08dd6b03},
        {37, 23, 1, {16}, 16, 16, "bilinear", 1, 1, 0x79622cfd0119f21f},
        {37, 23, 1, {23}, 23, 23, "bicubic", 3, 1, 0xaec1a03b760d280e},
        {37, 23, 1, {16}, 15, 14, "bilinear", 3, 2, 0x7731d28f6e1d2981},
        {37, 23, 1, {16}, 15, 14, "bilinear", 3, 3, 0x87eda335f1d51773},
        {37, 23, 1, {16}, 15, 14, "bilinear", 3, 4, 0x57cb8700c13e08e7},
        {37, 23, 1, {16}, 15, 14, "bilinear", 3, 5, 0x29060ab3a0cbe4b9},
        {37, 23, 1, {16}, 15, 14, "bilinear", 3, 6, 0x56f5658d99b5f96d},
        {37, 23, 1, {16}, 15, 14, "bilinear", 3, 7, 0x6e0444fa0de6240d},
        {37, 23, 1, {16}, 15, 14, "bilinear", 3, 8, 0x832b4ca6a5e19ed9},
    };
    uint8_t planes[3 * 50 * 50];
    struct error e = {0};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char filter[16];
        struct picture to = {cases[i].channels, cases[i].crop_height, cases[i].crop_width, false};
        struct pipeline p = {
            .n_resize = cases[i].n, .n_crop = 2, .crop = {to.height, to.width}, .exif_orientation = true};
        struct image image = {.width = cases[i].width,
                              .height = cases[i].height,
                              .orientation = cases[i].orientation,
                              .rgb = noise(cases[i].width, cases[i].height)};
        strcpy(filter, cases[i].filter);
        p.filter = filter;
        memcpy(p.resize, cases[i].resize, sizeof p.resize);
        assert_int_equal(preprocess_pixels(&image, &to, &p, planes, &e), FL_OK);
        if (fnv(planes, (size_t)(to.channels * to.width * to.height)) != cases[i].digest)
            fail_msg("case %zu", i);
        image_release(&image);
    }
}

/* Unless the file says otherwise: the model's size, whatever the shape, and cameras are not asked. */
static void test_defaults(void **state)
{
    struct resize_target t = {.width = 16, .height = 12, .window_width = 16, .window_height = 12};
    struct picture to = {3, 12, 16, false};
    struct pipeline p = {0};
    struct image image = {.width = 37, .height = 23, .orientation = 6, .rgb = noise(37, 23)};
    uint8_t expected[3 * 16 * 12], planes[3 * 16 * 12];
    struct error e = {0};

    assert_true(resize_pixels(image.rgb, 37, 23, 3, "bilinear", &t, expected));
    assert_int_equal(preprocess_pixels(&image, &to, &p, planes, &e), FL_OK);
    for (int k = 0; k < 16 * 12; k++)
        for (int c = 0; c < 3; c++)
            assert_int_equal(planes[c * 16 * 12 + k], expected[3 * k + c]);
    to.channels = 4;
    assert_int_equal(preprocess_pixels(&image, &to, &p, planes, &e), FL_SHAPE);
    image_release(&image);
}

/* A strip of one pixel would be millions wide once its shorter side is: only what is cut out of it is made.
 */
static void test_strips_stay_small(void **state)
{
    struct picture to = {3, 8, 8, false};
    struct pipeline p = {.n_resize = 1, .resize = {16000}};
    struct image image = {.width = 1, .height = 2000, .orientation = 1, .rgb = noise(1, 2000)};
    uint8_t planes[3 * 8 * 8];
    struct error e = {0};

    assert_int_equal(preprocess_pixels(&image, &to, &p, planes, &e), FL_OK);
    image_release(&image);
}

static void test_layouts(void **state)
{
    static const float planes[2 * 1 * 3] = {0, 1.4f, 1.6f, -3, 254.7f, 300};
    struct picture to = {2, 1, 3, true};
    float floats[6];
    uint8_t bytes[6];

    planes_put(planes, &to, TENSOR_F32, floats);
    assert_true(floats[0] == 0 && floats[1] == -3 && floats[2] == 1.4f && floats[5] == 300);
    planes_put(planes, &to, TENSOR_U8, bytes);
    assert_memory_equal(bytes, "\0\0\x01\xff\x02\xff", 6);
    to.interleaved = false;
    planes_put(planes, &to, TENSOR_U8, bytes);
    assert_memory_equal(bytes, "\0\x01\x02\0\xff\xff", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_pillow),         cmocka_unit_test(test_windows),
        cmocka_unit_test(test_as_torchvision),    cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_strips_stay_small), cmocka_unit_test(test_layouts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
