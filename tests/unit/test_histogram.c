/* test_histogram.c - quantiles within 1% of the exact ones from 1 us to 100 s */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "numbers/histogram.h"

static struct histogram h, other;
static uint64_t seed = 0x9e3779b97f4a7c15ull;

static double uniform(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (double)(seed >> 11) / 9007199254740992.0;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void assert_within_1_percent(uint64_t measured, uint64_t exact)
{
    if (fabs((double)measured - (double)exact) > 0.01 * (double)exact)
        fail_msg("%llu is not within 1%% of %llu", (unsigned long long)measured, (unsigned long long)exact);
}

static void test_every_value_alone(void **state)
{
    for (double ns = 1e3; ns <= 1e11; ns *= 1.003) {
        memset(&h, 0, sizeof h);
        histogram_record(&h, (uint64_t)ns);
        histogram_record(&h, (uint64_t)1e12);
        assert_within_1_percent(histogram_quantile(&h, 0.5), (uint64_t)ns);
        assert_int_equal(histogram_quantile(&h, 1), (uint64_t)1e12);
    }
}

static void test_against_sorted_samples(void **state)
{
    enum { N = 20000 };
    static uint64_t sample[N];
    static const double shares[] = {0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1};
    double sum = 0;
    memset(&h, 0, sizeof h);
    for (int i = 0; i < N; i++) {
        sample[i] = (uint64_t)pow(10, 3 + 8 * uniform()); /* 1 us .. 100 s */
        histogram_record(&h, sample[i]);
        sum += (double)sample[i];
    }
    qsort(sample, N, sizeof *sample, ascending);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        int rank = (int)ceil(shares[i] * N);
        assert_within_1_percent(histogram_quantile(&h, shares[i]), sample[rank > 0 ? rank - 1 : 0]);
    }
    assert_true(fabs(histogram_mean(&h) - sum / N) < 1e-6 * sum / N);
    assert_int_equal(h.max_ns, sample[N - 1]);
    assert_int_equal(h.min_ns, sample[0]);
}

static void test_merge_is_recording_both(void **state)
{
    static struct histogram both;
    memset(&h, 0, sizeof h);
    memset(&other, 0, sizeof other);
    memset(&both, 0, sizeof both);
    histogram_merge(&h, &other); /* nothing into nothing */
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    assert_true(histogram_mean(&h) == 0);
    for (uint64_t i = 0; i < 1000; i++) {
        histogram_record(i % 3 ? &h : &other, i * i * 1000);
        histogram_record(&both, i * i * 1000);
    }
    histogram_merge(&h, &other);
    assert_memory_equal(&h, &both, sizeof h);
}

static void test_buckets_cover_all_durations(void **state)
{
    for (unsigned i = 0; i + 1 < HISTOGRAM_BUCKETS; i++) {
        uint64_t upper = histogram_upper_ns(i);
        assert_int_equal(histogram_bucket(upper - 1), i);
        assert_int_equal(histogram_bucket(upper), i + 1);
    }
}

static void test_ranks_are_sorted_samples(void **state)
{
    memset(&h, 0, sizeof h);
    for (uint64_t i = 100; i > 0; i--)
        histogram_record(&h, i);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(histogram_rank(&h, i), i);
    assert_int_equal(histogram_rank(&h, 101), 100);
}

static void test_extremes(void **state)
{
    memset(&h, 0, sizeof h);
    histogram_record(&h, 0);
    histogram_record(&h, UINT64_MAX);
    assert_int_equal(histogram_quantile(&h, 0.5), 0);
    assert_true(histogram_quantile(&h, 0.99) == UINT64_MAX);
    assert_int_equal(histogram_quantile(&h, -1), 0);
    assert_true(histogram_quantile(&h, 2) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_value_alone),        cmocka_unit_test(test_against_sorted_samples),
        cmocka_unit_test(test_merge_is_recording_both),  cmocka_unit_test(test_buckets_cover_all_durations),
        cmocka_unit_test(test_ranks_are_sorted_samples), cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
