/* test_burst.c - audits that are too close to each other, and such that are only alike */
#include <math.h>

#include "tests/testing.h"
#include "base/error.h"
#include "numbers/shuffle.h"
#include "cache_service/promise/burst.h"

#define DIM 100

struct traffic {
    int burst;     /* requests in a row around the same thing */
    int popular;   /* of 10 requests so many are the same picture; each drawn by itself */
    double shakes; /* how far the frames of a burst are apart */
    int every;     /* of so many requests one is an audit */
};

/* The share of audits that count after the first 1000. */
static double counted(struct traffic t, int64_t *spacing)
{
    float thing[DIM] = {0}, seen[DIM];
    struct shuffle s;
    struct burst *b;
    int counts = 0;
    assert_int_equal(burst_new(&b), FL_OK);
    shuffle_seed(&s, 5, 5);
    for (int i = 0; i < 5000 * t.every; i++) {
        if (i % t.burst == 0) {
            bool popular = (int)shuffle_below(&s, 10) < t.popular;
            for (int k = 0; k < DIM; k++)
                thing[k] = popular ? 1 : (float)shuffle_normal(&s);
        }
        if (shuffle_below(&s, (uint32_t)t.every) != 0)
            continue;
        for (int k = 0; k < DIM; k++)
            seen[k] = thing[k] + (float)(t.shakes * shuffle_normal(&s));
        counts += burst_counts(b, seen, DIM) && i >= 1000 * t.every;
    }
    *spacing = burst_spacing(b);
    burst_free(b);
    return counts / 4000.0;
}

static void test_audits_of_a_burst_count_once(void **state)
{
    int64_t spacing;
    double share = counted((struct traffic){.burst = 30, .shakes = 0.1, .every = 1}, &spacing);
    assert_int_equal(spacing, 32);
    assert_true(fabs(share - 1.0 / 32) < 0.01);
    (void)counted((struct traffic){.burst = 3, .every = 1}, &spacing);
    assert_int_equal(spacing, 4);
    (void)counted((struct traffic){.burst = 30, .every = 5}, &spacing);
    assert_in_range(spacing, 4, 16);
}

static void test_audits_drawn_one_by_one_all_count(void **state)
{
    int64_t spacing;
    assert_true(counted((struct traffic){.burst = 1, .every = 1}, &spacing) > 0.99);
    assert_true(counted((struct traffic){.burst = 30, .every = 1000}, &spacing) >
                0.99); /* hardly two of one burst */
    assert_true(counted((struct traffic){.burst = 1, .popular = 4, .every = 1}, &spacing) > 0.99);
    assert_true(counted((struct traffic){.burst = 1, .popular = 10, .every = 1}, &spacing) > 0.99);
}

static void test_descriptors_of_any_length(void **state)
{
    const float few[2] = {1, 2};
    struct burst *b;
    assert_int_equal(burst_new(&b), FL_OK);
    assert_int_equal(burst_spacing(b), 1);
    for (int i = 0; i < 3000; i++)
        assert_true(burst_counts(b, few, 2)); /* always the same: drawn alike */
    burst_free(b);
    burst_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_audits_of_a_burst_count_once),
        cmocka_unit_test(test_audits_drawn_one_by_one_all_count),
        cmocka_unit_test(test_descriptors_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
