/* test_descriptor.c - descriptors against adaptive average pooling as it is defined */
#include <math.h>
#include <stdlib.h>

#include "tests/testing.h"
#include "stages/place/descriptor.h"

static uint32_t seed;

static int draw(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)n);
}

static struct tensor make(int rank, int64_t n, int64_t h, int64_t w, int64_t c)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = rank, .dim = {n, h, w, c}};
    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int64_t i = 0; i < tensor_count(&t); i++)
        ((float *)t.data)[i] = (float)draw(1000) / 100 - 5;
    return t;
}

/* Mean of channel ch of image n over cell (i, j) of grid g. */
static double cell(const struct tensor *t, int64_t n, int g, int i, int j, int64_t ch)
{
    int64_t h = t->dim[1], w = t->dim[2], c = t->dim[3];
    int64_t y0 = (int64_t)floor((double)i * (double)h / g),
            y1 = (int64_t)ceil((double)(i + 1) * (double)h / g);
    int64_t x0 = (int64_t)floor((double)j * (double)w / g),
            x1 = (int64_t)ceil((double)(j + 1) * (double)w / g);
    double sum = 0;
    for (int64_t y = y0; y < y1; y++)
        for (int64_t x = x0; x < x1; x++)
            sum += (double)((float *)t->data)[((n * h + y) * w + x) * c + ch];
    return sum / (double)((y1 - y0) * (x1 - x0));
}

/* No grid is finer than the activation. */
static int fitting(const struct tensor *t, int grid)
{
    int64_t side = t->dim[1] < t->dim[2] ? t->dim[1] : t->dim[2];
    return grid < side ? grid : (int)side;
}

static void check(const struct tensor *t, const struct descriptor_config *c)
{
    int dim = descriptor_dim(t, c);
    float *out = malloc((size_t)dim * (size_t)t->dim[0] * sizeof *out), *at = out;
    descriptor_compute(t, c, out);
    for (int64_t n = 0; n < t->dim[0]; n++)
        for (int k = 0; k < c->n_grids; k++) {
            int grid = fitting(t, c->grid[k]);
            for (int i = 0; i < grid; i++)
                for (int j = 0; j < grid; j++)
                    for (int64_t ch = 0; ch < t->dim[3]; ch++) {
                        double want = cell(t, n, grid, i, j, ch);
                        assert_true(fabs((double)*at++ - want) < 1e-4);
                    }
        }
    assert_int_equal(at - out, dim * t->dim[0]);
    free(out);
}

static void grids_of_all_shapes(void **state)
{
    static const struct descriptor_config configs[] = {
        {false, 3, {1, 2, 4}}, {false, 3, {4, 1, 2}},    {false, 2, {3, 2}},
        {false, 1, {1}},       {false, 4, {5, 1, 3, 6}},
    };
    for (int i = 0; i < 100; i++) {
        struct tensor t;
        seed = (uint32_t)i;
        t = make(4, 1 + draw(3), 1 + draw(17), 1 + draw(17), 1 + draw(70));
        check(&t, &configs[i % 5]);
        tensor_release(&t);
    }
    for (int i = 0; i < 5; i++) {
        struct tensor t = make(4, 2, 32, 32, 64);
        check(&t, &configs[i]);
        tensor_release(&t);
    }
}

static void flat_ones_are_copied(void **state)
{
    const struct descriptor_config flatten = {true, 1, {1}}, pooled = {false, 3, {1, 2, 4}};
    struct tensor image = make(4, 2, 3, 3, 5), row = make(2, 3, 7, 0, 0);
    float out[2 * 45];
    assert_int_equal(descriptor_dim(&image, &flatten), 45);
    descriptor_compute(&image, &flatten, out);
    assert_memory_equal(out, image.data, sizeof out);
    assert_int_equal(descriptor_dim(&row, &pooled), 7);
    descriptor_compute(&row, &pooled, out);
    assert_memory_equal(out, row.data, 21 * sizeof *out);
    tensor_release(&image);
    tensor_release(&row);
}

static void a_single_grid_is_a_map(void **state)
{
    const struct descriptor_config one = {false, 1, {8}}, two = {false, 2, {1, 8}}, flatten = {true, 1, {1}};
    struct tensor square = make(4, 1, 16, 16, 3), small = make(4, 1, 7, 4, 3), row = make(2, 1, 7, 0, 0);
    assert_int_equal(descriptor_side(&square, &one), 8);
    assert_int_equal(descriptor_dim(&square, &one), 8 * 8 * 3);
    assert_int_equal(descriptor_side(&square, &two), 0);
    assert_int_equal(descriptor_side(&square, &flatten), 16);
    assert_int_equal(descriptor_side(&small, &one), 4);
    assert_int_equal(descriptor_dim(&small, &one), 4 * 4 * 3);
    assert_int_equal(descriptor_side(&small, &flatten), 0);
    assert_int_equal(descriptor_side(&row, &one), 0);
    { /* 8 x 8 x 200 would be too many: 4 x 4 cells are made */
        struct tensor wide = make(4, 1, 9, 9, 200);
        assert_int_equal(descriptor_side(&wide, &one), 4);
        assert_int_equal(descriptor_dim(&wide, &one), 4 * 4 * 200);
        assert_int_equal(descriptor_dim(&wide, &two), (1 + 64) * 200);
        tensor_release(&wide);
    }
    tensor_release(&square);
    tensor_release(&small);
    tensor_release(&row);
}

/* What differs in any number has another name. */
static void layouts_are_named(void **state)
{
    struct tensor image = {.rank = 4, .dim = {1, 8, 6, 64}}, row = {.rank = 2, .dim = {1, 512}};
    struct descriptor_config up = {.n_grids = 3, .grid = {1, 2, 4}}, down = {.n_grids = 3, .grid = {4, 2, 1}};
    struct descriptor_config fine = {.n_grids = 1, .grid = {100}}, flat = {.flatten = true};
    char text[DESCRIPTOR_LAYOUT_BYTES];
    assert_string_equal(descriptor_layout(&image, &up, text), "grids 1,2,4 of 8x6x64");
    assert_string_equal(descriptor_layout(&image, &down, text), "grids 4,2,1 of 8x6x64");
    assert_string_equal(descriptor_layout(&image, &fine, text), "grids 6 of 8x6x64"); /* as it fits */
    assert_string_equal(descriptor_layout(&image, &flat, text), "flatten 8x6x64");
    assert_string_equal(descriptor_layout(&row, &up, text), "row of 512");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layouts_are_named),
        cmocka_unit_test(grids_of_all_shapes),
        cmocka_unit_test(flat_ones_are_copied),
        cmocka_unit_test(a_single_grid_is_a_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
