/* test_nearest.c - the k nearest against all distances sorted, for every batch and with ties */
#include <math.h>

#include "cache_samples.h"

struct case_of {
    int n, d, k;
};

static struct points clusters(const struct case_of *c, struct shuffle *s)
{
    struct points p = {0};
    float *x = malloc((size_t)c->d * sizeof *x);
    assert_int_equal(points_reserve(&p, c->d, c->n), FL_OK);
    for (int i = 0; i < c->n; i++) {
        for (int j = 0; j < c->d; j++)
            x[j] = (float)(i % 5 == j % 5 ? 2 : 0) + 0.5f * (float)shuffle_normal(s);
        points_set(&p, i, x);
    }
    free(x);
    return p;
}

static double exact(const struct points *p, int64_t j, const float *x)
{
    double sum = 0;
    for (int c = 0; c < p->nodes; c++)
        sum += pow((double)half_to_float(p->data[j * p->nodes + c]) - (double)x[c], 2);
    return sqrt(sum);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Distances as sorted ones are, each that of its point, no point twice. */
static void check_row(const struct points *p, const float *x, const struct neighbour *near, int n)
{
    double *all = malloc((size_t)p->n * sizeof *all);
    bool *seen = calloc((size_t)p->n, sizeof *seen);
    for (int64_t j = 0; j < p->n; j++)
        all[j] = exact(p, j, x);
    for (int i = 0; i < n; i++) {
        assert_false(seen[near[i].index]);
        seen[near[i].index] = true;
        assert_true(fabs((double)near[i].distance - exact(p, near[i].index, x)) <= 1e-5 * all[p->n - 1]);
    }
    qsort(all, (size_t)p->n, sizeof *all, ascending);
    for (int i = 0; i < n; i++)
        assert_true(fabs((double)near[i].distance - all[i]) <= 1e-5 * all[p->n - 1]);
    free(all);
    free(seen);
}

static void test_as_all_distances_sorted(void **state)
{
    static const struct case_of cases[] = {{1, 8, 1},     {7, 16, 3},   {16, 20, 16},  {17, 1, 50},
                                           {200, 64, 50}, {300, 37, 1}, {1000, 5, 10}, {700, 130, 600}};
    static const int batch[] = {1, 2, 3, 4, 5, 33};
    struct nearest_room room = {0};
    struct shuffle s;
    shuffle_seed(&s, 21, 1);
    for (size_t t = 0; t < 3 * sizeof cases / sizeof *cases; t++) {
        const struct case_of *c = &cases[t / 3];
        struct points p = clusters(c, &s);
        float *x = malloc(33 * (size_t)c->d * sizeof *x);
        struct neighbour *near = malloc(33 * (size_t)c->k * sizeof *near);
        for (int i = 0; i < 33 * c->d; i++)
            x[i] = (float)(i % 5 == i / c->d % 5 ? 2 : 0) + 0.5f * (float)shuffle_normal(&s);
        half_limit((enum half_level)(t % 3));
        for (size_t b = 0; b < sizeof batch / sizeof *batch; b++) {
            int kept;
            assert_int_equal(nearest_fit(&room, batch[b], c->k), FL_OK);
            kept = nearest_search(&p, x, batch[b], c->k, &room, near);
            assert_int_equal(kept, c->k < c->n ? c->k : c->n);
            for (int i = 0; i < batch[b]; i++)
                check_row(&p, x + i * c->d, near + i * c->k, kept);
        }
        free(x);
        free(near);
        points_release(&p);
    }
    half_limit(HALF_AVX512);
    nearest_release(&room);
}

/* 400 points in 3 places: equal distances, the lower index first; a point that is met has the least distance.
 */
static void test_ties_go_to_the_lower_index(void **state)
{
    static const float at[3][2] = {{0, 0}, {3, 4}, {6, 8}}, x[2][2] = {{0, 0}, {6, 8}};
    struct nearest_room room = {0};
    struct neighbour near[2 * 150];
    struct points p = {0};
    assert_int_equal(points_reserve(&p, 2, 400), FL_OK);
    for (int i = 0; i < 400; i++)
        points_set(&p, i, at[i % 3]);
    assert_int_equal(nearest_fit(&room, 2, 150), FL_OK);
    assert_int_equal(nearest_search(&p, x[0], 2, 150, &room, near), 150);
    for (int i = 0; i < 150; i++) {
        assert_int_equal(near[i].index, i < 134 ? 3 * i : 3 * (i - 134) + 1);
        assert_true(near[i].distance == (i < 134 ? POINTS_MIN_DISTANCE : 5));
        assert_int_equal(near[150 + i].index, i < 133 ? 3 * i + 2 : 3 * (i - 133) + 1);
    }
    points_release(&p);
    nearest_release(&room);
}

static void test_no_points_no_neighbours(void **state)
{
    struct nearest_room room = {0};
    struct points p = {0};
    struct neighbour near[3];
    float x[3] = {0};
    assert_int_equal(points_reserve(&p, 1, 0), FL_OK);
    assert_int_equal(nearest_fit(&room, 3, 1), FL_OK);
    assert_int_equal(nearest_search(&p, x, 3, 1, &room, near), 0);
    points_release(&p);
    nearest_release(&room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_all_distances_sorted),
                                       cmocka_unit_test(test_ties_go_to_the_lower_index),
                                       cmocka_unit_test(test_no_points_no_neighbours)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
