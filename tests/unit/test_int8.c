/* test_int8.c - weights as bytes, and their products: every loop gives the same bits */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "index/int8.h"
#include "numbers/shuffle.h"

static int whole(struct shuffle *s, int most)
{
    return (int)shuffle_below(s, (uint32_t)(2 * most + 1)) - most;
}

/* Rows of whole numbers with a 127 in each: their scale is 1, their bytes are known. */
static struct int8_rows known_rows(int groups, int rows, int cols, int *w, struct shuffle *s)
{
    struct int8_rows out;
    float *row = malloc((size_t)cols * sizeof *row);
    assert_int_equal(int8_new(&out, groups, rows, cols), FL_OK);
    for (int r = 0; r < groups * rows; r++) {
        for (int c = 0; c < cols; c++)
            row[c] = (float)(w[r * cols + c] = c == r % cols ? 127 : whole(s, 127));
        int8_set(&out, r, row);
        assert_true(out.scale[r] == 1);
    }
    free(row);
    return out;
}

static void check_product(int groups, int rows, int cols, int n, struct shuffle *s)
{
    int *w = malloc((size_t)(groups * rows * cols) * sizeof *w), stride = int8_stride(cols),
        padded = int8_padded(rows);
    struct int8_rows all = known_rows(groups, rows, cols, w, s);
    uint8_t *x = calloc((size_t)n, (size_t)stride);
    int32_t *y = malloc((size_t)(n * padded) * sizeof *y);
    for (int i = 0; i < n * stride; i++)
        x[i] = (uint8_t)shuffle_below(s, 256); /* what is behind the columns counts for nothing */
    for (int k = 0; k < 3 * groups; k++) {
        struct int8_rows one = int8_group(&all, k / 3);
        int8_limit((enum int8_level)(k % 3));
        int8_product(&one, x, n, y);
        for (int i = 0; i < n; i++) {
            for (int r = 0; r < rows; r++) {
                int expect = 0, *row = w + (k / 3 * rows + r) * cols;
                for (int c = 0; c < cols; c++)
                    expect += row[c] * x[i * stride + c];
                assert_int_equal(y[i * padded + r], expect);
            }
        }
    }
    int8_limit(INT8_VNNI);
    int8_release(&all);
    free(w);
    free(x);
    free(y);
}

static void test_products_are_exact(void **state)
{
    static const int rows[] = {1, 2, 15, 16, 17, 33, 50, 64, 80, 100}, cols[] = {1, 3, 4, 5, 63, 64, 66, 130},
                     batch[] = {1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17};
    struct shuffle s;
    shuffle_seed(&s, 3, 0);
    for (int i = 0; i < 10 * 8; i++)
        check_product(1 + i % 3, rows[i % 10], cols[i / 10], batch[i % 11], &s);
    for (int i = 0; i < 11; i++)
        check_product(1, 66, 36, batch[i], &s);
}

static void test_largest_sums_fit(void **state)
{
    struct int8_rows w;
    float *row = malloc(INT8_MAX_COLS * sizeof *row);
    uint8_t *x = malloc(INT8_MAX_COLS);
    int32_t y[INT8_PANEL];
    memset(x, 255, INT8_MAX_COLS);
    assert_int_equal(int8_new(&w, 1, 2, INT8_MAX_COLS), FL_OK);
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int c = 0; c < INT8_MAX_COLS; c++)
            row[c] = (float)sign;
        int8_set(&w, sign > 0, row);
    }
    for (int l = INT8_PLAIN; l <= INT8_VNNI; l++) {
        int8_limit((enum int8_level)l);
        int8_product(&w, x, 1, y);
        assert_int_equal(y[0], -127 * 255 * INT8_MAX_COLS);
        assert_int_equal(y[1], 127 * 255 * INT8_MAX_COLS);
    }
    int8_release(&w);
    free(row);
    free(x);
}

static void test_rows_come_back_within_half_a_step(void **state)
{
    struct int8_rows w, copy, again;
    float x[37], y[37], bias = 0.5f, sum;
    struct shuffle s;
    shuffle_seed(&s, 4, 0);
    assert_int_equal(int8_new(&w, 2, 3, 37), FL_OK);
    for (int r = 0; r < 6; r++) {
        for (int c = 0; c < 37; c++)
            x[c] = r == 4 ? 0 : (float)shuffle_normal(&s) * (r == 5 ? 1e-20f : 1);
        int8_set(&w, r, x);
        int8_get(&w, r, y);
        for (int c = 0; c < 37; c++)
            assert_true(fabsf(x[c] - y[c]) <= 0.501f * w.scale[r]);
    }
    assert_int_equal(int8_copy(&copy, &w), FL_OK);
    again = copy;
    assert_int_equal(int8_measure(&again), FL_OK); /* sums of its own; the rest is the copy's */
    assert_memory_equal(again.sum, w.sum, 2 * 16 * sizeof *w.sum);
    for (int r = 0; r < 6; r++) {
        int8_get(&w, r, x);
        int8_get(&copy, r, y);
        assert_memory_equal(x, y, sizeof x);
    }
    /* Sums of bytes that stand for 0 come to the bias, whatever the row. */
    int8_floats(&w, 1, 1, &(int32_t){INT8_ZERO * w.sum[1]}, 2, true, &bias, &sum);
    assert_true(sum == 0.5f);
    free(again.sum);
    int8_release(&copy);
    int8_release(&w);
}

static void test_numbers_are_rounded_to_the_nearest_byte(void **state)
{
    float x[100], s, worst;
    uint8_t q[100], p[100];
    struct shuffle r;
    shuffle_seed(&r, 5, 0);
    for (int n = 1; n < 100; n++) {
        for (int i = 0; i < n; i++)
            x[i] = (float)shuffle_normal(&r);
        for (int l = INT8_PLAIN; l <= INT8_VNNI; l++) {
            int8_limit((enum int8_level)l);
            s = int8_round_signed(x, n, l ? p : q);
            assert_memory_equal(l ? p : q, q, (size_t)n);
        }
        worst = 0;
        for (int i = 0; i < n; i++) {
            assert_true(fabsf(x[i] - (float)(q[i] - INT8_ZERO) * s) <= 0.501f * s);
            worst = fmaxf(worst, fabsf((float)(q[i] - INT8_ZERO)));
            x[i] = fabsf(x[i]);
        }
        assert_true(worst == 127); /* all of the range is used */
        for (int l = INT8_PLAIN; l <= INT8_VNNI; l++) {
            int8_limit((enum int8_level)l);
            s = int8_round_positive(x, n, l ? p : q);
            assert_memory_equal(l ? p : q, q, (size_t)n);
        }
        for (int i = 0; i < n; i++)
            assert_true(fabsf(x[i] - (float)q[i] * s) <= 0.501f * s);
    }
    int8_limit(INT8_VNNI);
}

/* Standardised on the way or before: the same bytes, whatever the loop. */
static void test_standardised_numbers_are_rounded_alike(void **state)
{
    enum { CELLS = 3, MOST = 70 };
    float x[CELLS * MOST], z[CELLS * MOST], mean[MOST], scale[MOST], s;
    uint8_t q[CELLS * MOST], p[CELLS * MOST];
    struct shuffle r;
    shuffle_seed(&r, 6, 0);
    for (int features = 1; features <= MOST; features++) {
        for (int i = 0; i < features; i++) {
            mean[i] = (float)shuffle_normal(&r);
            scale[i] = i == 2 ? 0 : (float)shuffle_uniform(&r);
        }
        for (int i = 0; i < CELLS * features; i++) {
            x[i] = (float)shuffle_normal(&r);
            z[i] = (x[i] - mean[i % features]) * scale[i % features];
        }
        s = int8_round_signed(z, CELLS * features, q);
        for (int l = INT8_PLAIN; l <= INT8_VNNI; l++) {
            int8_limit((enum int8_level)l);
            assert_true(int8_round_standardised(x, mean, scale, CELLS, features, p) == s);
            assert_memory_equal(p, q, (size_t)(CELLS * features));
        }
        x[CELLS * features - 1] = features % 2 ? INFINITY : NAN;
        for (int l = INT8_PLAIN; l <= INT8_VNNI; l++) {
            int8_limit((enum int8_level)l);
            assert_true(isnan(int8_round_standardised(x, mean, scale, CELLS, features, p)));
            assert_true(p[0] == INT8_ZERO && p[CELLS * features - 1] == INT8_ZERO);
        }
    }
    int8_limit(INT8_VNNI);
}

static void test_zeros_and_what_is_no_number(void **state)
{
    float x[20] = {0};
    uint8_t q[20];
    for (int l = INT8_PLAIN; l <= INT8_VNNI; l++) {
        int8_limit((enum int8_level)l);
        memset(x, 0, sizeof x);
        x[1] = -0.0f;
        x[2] = 1e-40f;
        assert_true(int8_round_signed(x, 20, q) == 0 && q[0] == INT8_ZERO && q[2] == INT8_ZERO);
        assert_true(int8_round_positive(x + 3, 17, q) == 0 && q[16] == 0);
        x[19] = INFINITY;
        assert_true(isnan(int8_round_positive(x + 3, 17, q)));
        x[19] = -NAN;
        assert_true(isnan(int8_round_signed(x, 20, q)));
        x[19] = 3e38f;
        assert_true(int8_round_positive(x + 3, 17, q) > 1e36f && q[16] == 255);
    }
    int8_limit(INT8_VNNI);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_are_exact),
        cmocka_unit_test(test_largest_sums_fit),
        cmocka_unit_test(test_rows_come_back_within_half_a_step),
        cmocka_unit_test(test_numbers_are_rounded_to_the_nearest_byte),
        cmocka_unit_test(test_standardised_numbers_are_rounded_alike),
        cmocka_unit_test(test_zeros_and_what_is_no_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
