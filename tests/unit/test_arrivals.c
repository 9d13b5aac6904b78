/* test_arrivals.c - arrival times: their statistics, recorded ones, files that are wrong */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "numbers/samples.h"

#include "deploy/load/arrivals.h"

#define N 100000

static double gap[N]; /* s */

/* The gaps of N arrivals; returns the time of the last. */
static double draw(const char *spec, double rate, uint64_t seed)
{
    struct arrivals *a;
    struct error e;
    uint64_t due = 0, last = 0;

    assert_int_equal(arrivals_new(&a, spec, rate, seed, &e), FL_OK);
    assert_string_equal(arrivals_name(a), spec);
    assert_true(arrivals_rate(a) == rate);
    for (int i = 0; i < N; i++) {
        assert_true(arrivals_next(a, &due));
        assert_true(due >= last);
        gap[i] = (double)(due - last) / 1e9;
        last = due;
    }
    arrivals_free(a);
    return (double)last / 1e9;
}

static double mean(void)
{
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += gap[i];
    return sum / N;
}

/* Variance of the gaps over their mean squared: 1 for exponential ones. */
static double dispersion(void)
{
    double m = mean(), sum = 0;
    for (int i = 0; i < N; i++)
        sum += (gap[i] - m) * (gap[i] - m);
    return sum / N / (m * m);
}

static void test_poisson_gaps_are_exponential(void **state)
{
    double farthest = 0;

    draw("poisson", 250, 3);
    assert_true(fabs(mean() * 250 - 1) < 0.02);
    assert_true(fabs(dispersion() - 1) < 0.05);
    samples_sort(gap, N); /* Kolmogorov-Smirnov: 1.95/sqrt(N) is passed once in 1000 */
    for (int i = 0; i < N; i++)
        farthest = fmax(farthest, fabs(1 - exp(-250 * gap[i]) - (i + 0.5) / N));
    assert_true(farthest < 1.95 / sqrt(N));
}

static void test_same_seed_same_times(void **state)
{
    double once = draw("poisson", 10, 1);
    assert_true(draw("poisson", 10, 1) == once);
    assert_true(draw("poisson", 10, 2) != once);
}

static void test_uniform_gaps_are_equal(void **state)
{
    double end = draw("uniform", 3, 1);
    assert_true(fabs(end - (N - 1) / 3.0) < 1e-6); /* does not drift */
    for (int i = 1; i < N; i++)
        assert_true(fabs(gap[i] - 1 / 3.0) < 3e-9);
}

/* A tenth of the time at 5 times the rate: half of the arrivals. The dispersion of counts is what bursts are
 * about. */
static void test_mmpp_is_bursty_at_the_same_mean(void **state)
{
    double sum = 0, squares = 0, m;
    int windows = 0, count = 0;
    double at = 0;

    draw("mmpp", 50, 7); /* 2000 s: a thousand bursts */
    assert_true(fabs(mean() * 50 - 1) < 0.1);
    assert_true(dispersion() > 1.5);
    for (int i = 0; i < N; i++) {
        at += gap[i];
        count++;
        if (at >= 0.2) {
            sum += count;
            squares += (double)count * count;
            windows++;
            at = fmod(at, 0.2);
            count = 0;
        }
    }
    m = sum / windows;
    assert_true((squares / windows - m * m) / m > 5); /* 1 for Poisson */
}

static char path[] = "/tmp/freezeline-trace-XXXXXX";

static int trace(struct arrivals **a, const char *text, size_t size, struct error *e)
{
    char spec[64];
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    fclose(f);
    snprintf(spec, sizeof spec, "trace:%s", path);
    return arrivals_new(a, spec, 0, 1, e);
}

static void test_trace(void **state)
{
    static const char text[] = "seconds,label\n# a comment\n10.5,cat\n\n10.5 , dog\r\n11\n12.25\n";
    static const uint64_t expected[] = {0, 0, 500000000, 1750000000};
    struct arrivals *a;
    struct error e;
    uint64_t due;

    assert_int_equal(trace(&a, text, sizeof text - 1, &e), FL_OK);
    for (int i = 0; i < 4; i++) {
        assert_true(arrivals_next(a, &due));
        assert_int_equal(due, expected[i]);
    }
    assert_false(arrivals_next(a, &due));
    assert_string_equal(arrivals_name(a), "trace");
    assert_true(fabs(arrivals_rate(a) - 3 / 1.75) < 1e-12);
    assert_true(arrivals_steady_rate(a) == arrivals_rate(a));
    arrivals_free(a);
    assert_int_equal(trace(&a, "1\n1.001\n1.002\n", 14, &e), FL_OK);
    assert_true(fabs(arrivals_rate(a) - 1000) < 1e-6);
    assert_true(arrivals_steady_rate(a) == 3); /* three requests at once are no 1,000 a second */
    arrivals_free(a);
}

static void test_wrong_traces_name_the_line(void **state)
{
    static const struct {
        const char *text;
        size_t size; /* 0: to its end */
        int code;
        const char *says;
    } cases[] = {
        {"1\n2\n3.", 0, FL_CORRUPT, ":3: the last line does not end"},
        {"1\ntwo\n", 0, FL_CORRUPT, ":2: expected a time"},
        {"1\n2 3\n", 0, FL_CORRUPT, ":2: expected a time"},
        {"1\nnan\n", 0, FL_CORRUPT, ":2: expected a time"},
        {"1\n-1\n", 0, FL_CORRUPT, ":2: expected a time"},
        {"0\n1e300\n", 0, FL_CORRUPT, ":2: more than 10,000,000 seconds"},
        {"5\n6\n4\n", 0, FL_CORRUPT, ":3: this time is before the last one"},
        {"1\n\0\n", 4, FL_CORRUPT, ":2: "},
        {"heading\n", 0, FL_CORRUPT, "has no times"},
        {"", 0, FL_CORRUPT, "has no times"},
    };
    struct arrivals *a;
    struct error e;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size = cases[i].size ? cases[i].size : strlen(cases[i].text);
        assert_int_equal(trace(&a, cases[i].text, size, &e), cases[i].code);
        assert_null(a);
        if (!strstr(e.text, cases[i].says))
            fail_msg("case %zu: '%s' lacks '%s'", i, e.text, cases[i].says);
    }
}

static void test_a_line_without_end(void **state)
{
    static char text[10000];
    struct arrivals *a;
    struct error e;
    memset(text, '1', sizeof text);
    assert_int_equal(trace(&a, text, sizeof text, &e), FL_CORRUPT);
    assert_non_null(strstr(e.text, ":1: "));
}

static void test_what_makes_no_sense(void **state)
{
    static const double rates[] = {0, -1, NAN, INFINITY, 2e6};
    struct arrivals *a;
    struct error e;

    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        assert_int_equal(arrivals_new(&a, "poisson", rates[i], 1, &e), FL_USAGE);
        assert_non_null(strstr(e.text, "impossible"));
    }
    assert_int_equal(arrivals_new(&a, "poison", 1, 1, &e), FL_USAGE);
    assert_non_null(strstr(e.text, "did you mean poisson?"));
    assert_int_equal(arrivals_new(&a, "trace:", 1, 1, &e), FL_USAGE);
    assert_int_equal(arrivals_new(&a, "trace:/nowhere/t.csv", 1, 1, &e), FL_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poisson_gaps_are_exponential),
        cmocka_unit_test(test_same_seed_same_times),
        cmocka_unit_test(test_uniform_gaps_are_equal),
        cmocka_unit_test(test_mmpp_is_bursty_at_the_same_mean),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_wrong_traces_name_the_line),
        cmocka_unit_test(test_a_line_without_end),
        cmocka_unit_test(test_what_makes_no_sense),
    };
    int fd = mkstemp(path), failed;

    if (fd < 0)
        return 1;
    close(fd);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
