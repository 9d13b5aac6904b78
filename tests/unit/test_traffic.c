/* test_traffic.c - which record comes when: orders, frequencies, repeats, drifting frames */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/load/traffic.h"

#define RECORDS 500

static int count[RECORDS];

static struct traffic *make(const char *spec, int64_t records, uint64_t seed)
{
    struct traffic *t;
    struct error e;

    assert_int_equal(traffic_new(&t, spec, records, seed, &e), FL_OK);
    memset(count, 0, sizeof count);
    return t;
}

/* n picks into count[]; returns how many were repeats, each checked. */
static int pick(struct traffic *t, int n)
{
    int repeats = 0;

    for (int i = 0; i < n; i++) {
        struct traffic_pick p = traffic_next(t);
        assert_in_range(p.record, 0, RECORDS - 1);
        bool repeat = traffic_show(t, p.record);
        assert_int_equal(repeat, count[p.record] > 0);
        repeats += repeat;
        count[p.record]++;
    }
    return repeats;
}

static void test_order(void **state)
{
    struct traffic *t = make("order", 3, 1);
    (void)state;
    for (int i = 0; i < 7; i++)
        assert_int_equal(traffic_next(t).record, i % 3);
    assert_string_equal(traffic_name(t), "order");
    traffic_free(t);
}

/* What is skipped is not shown, and the others follow as if it had been. */
static void test_skipping(void **state)
{
    struct traffic *a = make("shuffled", RECORDS, 3), *b = make("shuffled", RECORDS, 3);
    (void)state;

    for (int i = 0; i < 10; i++)
        traffic_next(a);
    traffic_skip(b, 10);
    traffic_skip(b, 5);
    assert_int_equal(traffic_picked(a), 10);
    assert_int_equal(traffic_picked(b), 10);
    assert_int_equal(traffic_next(b).record, traffic_next(a).record);
    for (int i = 0; i < RECORDS; i++)
        assert_false(traffic_show(b, i));
    traffic_free(a);
    traffic_free(b);
}

static void test_shuffled_repeats_nothing_before_all_were_used(void **state)
{
    struct traffic *t = make("shuffled", RECORDS, 1);
    int in_place = 0;
    (void)state;

    assert_int_equal(pick(t, RECORDS), 0);
    assert_int_equal(pick(t, RECORDS), RECORDS);
    for (int i = 0; i < RECORDS; i++)
        assert_int_equal(count[i], 2);
    traffic_free(t);
    t = make("shuffled", RECORDS, 1);
    for (int i = 0; i < RECORDS; i++)
        in_place += traffic_next(t).record == i;
    assert_true(in_place < 10); /* 1 is expected of a random order */
    traffic_free(t);
}

static void test_same_seed_same_records(void **state)
{
    struct traffic *a = make("uniform", RECORDS, 4), *b = make("uniform", RECORDS, 4),
                   *c = make("uniform", RECORDS, 5);
    int other = 0;
    (void)state;
    for (int i = 0; i < 100; i++) {
        int64_t record = traffic_next(a).record;
        assert_int_equal(traffic_next(b).record, record);
        other += traffic_next(c).record != record;
    }
    assert_true(other > 80);
    traffic_free(a);
    traffic_free(b);
    traffic_free(c);
}

/* Chi-square of uniform counts: RECORDS - 1 on average, standard deviation sqrt(2 (RECORDS - 1)). */
static void test_uniform_frequencies(void **state)
{
    struct traffic *t = make("uniform", RECORDS, 2);
    double chi = 0;
    (void)state;

    assert_int_equal(pick(t, 100 * RECORDS), 100 * RECORDS - RECORDS); /* each was new once */
    for (int i = 0; i < RECORDS; i++)
        chi += (count[i] - 100) * (count[i] - 100) / 100.0;
    assert_true(fabs(chi - (RECORDS - 1)) < 4 * sqrt(2 * (RECORDS - 1)));
    traffic_free(t);
}

static int descending(const void *a, const void *b)
{
    return *(const int *)b - *(const int *)a;
}

static void check_zipf(const char *spec, double s)
{
    enum { PICKS = 400000 };
    struct traffic *t = make(spec, RECORDS, 9);
    double norm = 0;

    pick(t, PICKS);
    assert_true(traffic_zipf_s(t) == s);
    qsort(count, RECORDS, sizeof *count, descending);
    for (int r = 1; r <= RECORDS; r++)
        norm += pow(r, -s);
    for (int r = 1; r <= 20; r++) { /* far enough apart that ranks do not swap much */
        double expected = PICKS * pow(r, -s) / norm;
        if (fabs(count[r - 1] - expected) > 5 * sqrt(expected) + 0.02 * expected)
            fail_msg("%s: rank %d came %d times, expected %.0f", spec, r, count[r - 1], expected);
    }
    traffic_free(t);
}

static void test_zipf_frequencies(void **state)
{
    struct traffic *t = make("zipf:1", RECORDS, 9);
    (void)state;
    check_zipf("zipf", 1);
    check_zipf("zipf:1.5", 1.5);
    assert_int_not_equal(traffic_next(t).record, -1);
    traffic_free(t);
}

static void test_stream_drifts_within_scenes(void **state)
{
    enum { FRAMES = 20000 };
    struct traffic *t = make("stream:16", RECORDS, 3);
    struct traffic_pick last = traffic_next(t);
    int scenes = 1, moved = 0;
    (void)state;

    for (int i = 1; i < FRAMES; i++) {
        struct traffic_pick p = traffic_next(t);
        assert_true(abs(p.dx) <= TRAFFIC_DRIFT && abs(p.dy) <= TRAFFIC_DRIFT);
        if (p.record != last.record) {
            scenes++;
            assert_true(p.dx == 0 && p.dy == 0);
        } else {
            assert_true(abs(p.dx - last.dx) <= 1 && abs(p.dy - last.dy) <= 1);
            moved += p.dx != last.dx || p.dy != last.dy;
        }
        last = p;
    }
    assert_true(fabs(scenes - FRAMES / 16.0) < 200); /* standard deviation 34 */
    assert_true(moved > FRAMES / 2);
    traffic_free(t);
    t = make("stream", RECORDS, 3);
    assert_true(traffic_scene_frames(t) == 16);
    traffic_free(t);
}

static void test_shift(void **state)
{
    static const float from[2][3][4] = {{{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}}, {{0}}};
    static const float right_down[3][4] = {{1, 1, 2, 3}, {1, 1, 2, 3}, {5, 5, 6, 7}};
    float to[2][3][4];
    (void)state;

    traffic_shift(&from[0][0][0], &to[0][0][0], 2, 3, 4, 0, 0);
    assert_memory_equal(to, from, sizeof from);
    traffic_shift(&from[0][0][0], &to[0][0][0], 2, 3, 4, 1, 1);
    assert_memory_equal(to[0], right_down, sizeof right_down);
    assert_memory_equal(to[1], from[1], sizeof from[1]);
}

static void test_what_makes_no_sense(void **state)
{
    static const char *const specs[] = {"zipf:", "zipf:0", "zipf:-1",  "zipf:nan", "zipf:1x", "zipf:11",
                                        "zap",   "",       "stream:0", "stream:x", "order:1"};
    struct traffic *t;
    struct error e;
    (void)state;

    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        assert_int_equal(traffic_new(&t, specs[i], 10, 1, &e), FL_USAGE);
    assert_int_equal(traffic_new(&t, "shufled", 10, 1, &e), FL_USAGE);
    assert_non_null(strstr(e.text, "did you mean shuffled?"));
    assert_int_equal(traffic_new(&t, "order", 0, 1, &e), FL_USAGE);
    assert_int_equal(traffic_new(&t, "order", 1ll << 40, 1, &e), FL_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_skipping),
        cmocka_unit_test(test_shuffled_repeats_nothing_before_all_were_used),
        cmocka_unit_test(test_same_seed_same_records),
        cmocka_unit_test(test_uniform_frequencies),
        cmocka_unit_test(test_zipf_frequencies),
        cmocka_unit_test(test_stream_drifts_within_scenes),
        cmocka_unit_test(test_shift),
        cmocka_unit_test(test_what_makes_no_sense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
