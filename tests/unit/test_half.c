/* test_half.c - half precision storage and its products */
#include "cache_samples.h"

#include <math.h>

static void test_values(void **state)
{
    assert_int_equal(half_from_float(0), 0);
    assert_int_equal(half_from_float(1), 0x3c00);
    assert_int_equal(half_from_float(-2), 0xc000);
    assert_int_equal(half_from_float(65504), 0x7bff);
    assert_int_equal(half_from_float(65520), 0x7c00); /* halfway to the next: even, which is infinity */
    assert_int_equal(half_from_float(65519), 0x7bff);
    assert_int_equal(half_from_float(INFINITY), 0x7c00);
    assert_int_equal(half_from_float(0x1p-24f), 1);
    assert_int_equal(half_from_float(0x1p-25f), 0); /* halfway to zero: even */
    assert_int_equal(half_from_float(0x1.8p-25f), 1);
    assert_int_equal(half_from_float(1 + 0x1p-11f), 0x3c00); /* ties to even */
    assert_int_equal(half_from_float(1 + 0x1.8p-10f), 0x3c02);
    assert_true(isnan(half_to_float(half_from_float(NAN))));
}

static void test_round_trip_of_all_halves(void **state)
{
    for (uint32_t h = 0; h < 0x10000; h++) {
        float f = half_to_float((uint16_t)h), g;
        uint16_t in[16];
        float out[16];
        if (isnan(f))
            continue;
        assert_int_equal(half_from_float(f), h);
        for (int i = 0; i < 16; i++)
            in[i] = (uint16_t)h;
        half_decode(in, out, 16);
        g = out[3];
        assert_memory_equal(&f, &g, sizeof f);
    }
}

static void test_products_match_the_plain_ones(void **state)
{
    static const int cols[] = {1, 3, 15, 16, 17, 31, 32, 33, 100, 640, 1030},
                     batch[] = {1, 2, 3, 4, 5, 7, 32};
    for (size_t t = 0; t < 3 * 7 * sizeof cols / sizeof *cols; t++) {
        int n = batch[t / 3 % 7], rows = 11, c = cols[t / 21];
        uint16_t *w = malloc((size_t)(rows * c) * sizeof *w);
        float *x = malloc((size_t)(n * c) * sizeof *x), y[32 * 11], z[32 * 11];
        half_limit((enum half_level)(t % 3));
        struct shuffle s;
        shuffle_seed(&s, 5, (uint64_t)c);
        for (int i = 0; i < rows * c; i++)
            w[i] = half_from_float((float)shuffle_normal(&s));
        for (int i = 0; i < n * c; i++)
            x[i] = (float)shuffle_normal(&s);
        half_product(w, rows, c, x, n, y);
        half_product_plain(w, rows, c, x, n, z);
        for (int i = 0; i < n * rows; i++)
            assert_true(fabsf(y[i] - z[i]) < 1e-4f * (float)c);
        const float *last = x + (n - 1) * c;
        float dot = 0;
        for (int i = 0; i < c; i++)
            dot += x[i] * last[i];
        assert_true(fabsf(floats_dot(x, last, c) - dot) < 1e-4f * (float)c);
        for (int r = 0; r < rows; r++) {
            float d2 = 0, n2 = 0;
            for (int i = 0; i < c; i++) {
                float v = half_to_float(w[r * c + i]);
                d2 += (v - x[i]) * (v - x[i]);
                n2 += v * v;
            }
            assert_true(fabsf(half_distance2(w + r * c, x, c) - d2) <= 1e-5f * d2);
            assert_true(fabsf(half_norm2(w + r * c, c) - n2) <= 1e-5f * n2);
        }
        free(w);
        free(x);
    }
    half_limit(HALF_AVX512);
}

/* |x - w|^2 from products, and which are within the bound: all in order, the bound itself, NaN as 0. */
static void test_nearer_is_told(void **state)
{
    for (int level = HALF_PLAIN; level <= HALF_AVX512; level++) {
        float dot[37], w2[37];
        int32_t which[37];
        int found = 0, n = 37, told;
        for (int j = 0; j < n; j++) {
            dot[j] = (float)(j * 7 % n);
            w2[j] = 50;
        }
        dot[20] = NAN;
        half_limit((enum half_level)level);
        told = half_nearer(dot, w2, 30, n, 40, which);
        for (int j = 0; j < n; j++) {
            float d = 80 - 2 * (float)(j * 7 % n);
            assert_true(dot[j] == (d > 0 && j != 20 ? d : 0));
            if (dot[j] <= 40)
                assert_int_equal(which[found++], j);
        }
        assert_int_equal(told, found);
        assert_int_equal(half_nearer(dot, w2, INFINITY, n, INFINITY, which), n);
    }
    half_limit(HALF_AVX512);
}

static void test_finite(void **state)
{
    uint16_t h[] = {0, 0x7bff, 0x7c00};
    assert_true(half_all_finite(h, 2));
    assert_false(half_all_finite(h, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_round_trip_of_all_halves),
                                       cmocka_unit_test(test_products_match_the_plain_ones),
                                       cmocka_unit_test(test_nearer_is_told), cmocka_unit_test(test_finite)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
