/* test_compare.c - tests of significance against known cases, and documents compared */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "bench_sample.h"
#include "deploy/report/comparison.h"

#define N(a) ((int)(sizeof(a) / sizeof *(a)))

static struct spread spread_of(double middle_us, int n)
{
    json_t *h = sample_histogram(middle_us, n);
    struct spread s;

    assert_int_equal(spread_read(&s, h, NULL), FL_OK);
    json_decref(h);
    return s;
}

/* n draws from s. */
static struct spread drawn(const struct spread *s, int n, unsigned short seed[3])
{
    struct spread out = {s->n, malloc((size_t)s->n * sizeof(double)), calloc((size_t)s->n, sizeof(double)),
                         n};

    memcpy(out.upper_us, s->upper_us, (size_t)s->n * sizeof(double));
    for (int k = 0; k < n; k++) {
        double at = erand48(seed) * s->total;
        int i = 0;
        while (i < s->n - 1 && (at -= s->count[i]) >= 0)
            i++;
        out.count[i]++;
    }
    return out;
}

/* Two draws of one distribution differ significantly about once in twenty times, a shift of 5% always. */
static void test_bootstrap(void **state)
{
    static const double share[] = {SIGNIFICANCE_MEAN, 0.5, 0.9};
    struct spread s = spread_of(1000, 100000), faster = spread_of(950, 100000);
    unsigned short seed[3] = {7, 7, 7};
    struct effect e[3];
    double factor;
    int false_alarms[3] = {0}, runs = 40, covered = 0;

    for (int i = 0; i < runs; i++) {
        struct spread a = drawn(&s, 4000, seed), b = drawn(&s, 4000, seed), c = drawn(&faster, 4000, seed);
        assert_int_equal(significance_latency(e, share, 3, &a, &b, 0, &factor, NULL), FL_OK);
        for (int k = 0; k < 3; k++) {
            false_alarms[k] += e[k].p < 0.05;
            assert_true(e[k].low <= e[k].high);
        }
        assert_int_equal(significance_latency(e, share, 3, &a, &c, 0, &factor, NULL), FL_OK);
        assert_true(e[1].p < 0.05 && e[1].change < -0.03 && e[1].change > -0.07 && e[1].high < 0);
        covered += e[1].low <= -0.05 + 0.01 && e[1].high >= -0.05 - 0.01;
        spread_release(&a);
        spread_release(&b);
        spread_release(&c);
    }
    for (int k = 0; k < 3; k++)
        assert_in_range(false_alarms[k], 0, 6); /* of 40; 7 or more have a chance of 0.3% */
    assert_in_range(covered, 34, 40);
    spread_release(&s);
    spread_release(&faster);
}

/* A quantile that hardly any request lies beyond, and an empty histogram. */
static void test_too_few(void **state)
{
    static const double share[] = {0.5, 0.99, 0.999};
    struct spread s = spread_of(1000, 2000), none = {0};
    struct effect e[3];
    double factor;

    assert_int_equal(significance_latency(e, share, 3, &s, &s, 0, &factor, NULL), FL_OK);
    assert_true(e[0].p > 0.9 && e[0].change == 0);
    assert_false(isnan(e[1].p));
    assert_true(isnan(e[2].p));
    assert_int_equal(significance_latency(e, share, 3, &s, &none, 0, &factor, NULL), FL_OK);
    assert_true(isnan(e[0].p));
    assert_true(isnan(significance_distribution(&s, &none, 1).p));
    spread_release(&s);
}

static void test_distribution(void **state)
{
    double upper[] = {1, 2, 3, 4}, a[] = {50, 50, 0, 0}, b[] = {25, 50, 25, 0};
    struct spread s = {4, upper, a, 100}, t = {4, upper, b, 100}, late = {1, upper + 2, a, 50};
    struct effect e;

    e = significance_distribution(&s, &s, 1);
    assert_true(e.change == 0 && e.p == 1);
    e = significance_distribution(&s, &t, 1);
    assert_true(fabs(e.change - 0.25) < 1e-12);
    /* Q((sqrt(50) + 0.12 + 0.11/sqrt(50)) * 0.25) = Q(1.8016) = 2 exp(-2 * 1.8016^2) - ... */
    assert_true(fabs(e.p - 0.00303) < 0.0001);
    e = significance_distribution(&s, &late, 1);
    assert_true(e.change == 1 && e.p < 1e-9);
}

static void test_shares_and_rates(void **state)
{
    struct effect e;

    e = significance_shares(0, 100, 0, 100);
    assert_true(e.change == 0 && e.p == 1 && e.low < 0 && e.high > 0);
    /* (11/1002, 51/1002): z = 0.03992 / sqrt(0.01098 * 0.98902 / 1002 + 0.05090 * 0.94910 / 1002) = 5.195 */
    e = significance_shares(10, 1000, 50, 1000);
    assert_true(fabs(e.change - 0.04) < 1e-12 && fabs(log(e.p) - log(2.046e-7)) < 0.01);
    assert_true(e.low > 0.024 && e.high < 0.056);
    assert_true(isnan(significance_shares(5, 4, 1, 10).p));
    assert_true(isnan(significance_shares(NAN, 4, 1, 10).p));
    e = significance_rates(1000, 10, 1100, 10, 0);
    assert_true(fabs(e.change - 0.1) < 1e-9 && fabs(e.p - 0.0291) < 0.0003);
    assert_true(isnan(significance_rates(0, 1, 1, 1, 0).p));
}

static void test_correction(void **state)
{
    double p[] = {0.01, 0.04, NAN, 0.03, 0.9, 1}, none[] = {NAN};
    static const double expected[] = {0.05, 0.12, NAN, 0.12, 1, 1};

    significance_correct(p, N(p));
    for (int i = 0; i < N(p); i++)
        assert_true(isnan(expected[i]) ? isnan(p[i]) : fabs(p[i] - expected[i]) < 1e-12);
    significance_correct(none, 1);
    assert_true(isnan(none[0]));
}

static const struct change *named(const struct comparison *c, const char *name)
{
    for (int i = 0; i < c->n; i++)
        if (!strcmp(c->change[i].name, name))
            return &c->change[i];
    fail_msg("no change named %s", name);
    return NULL;
}

static struct comparison *compared(json_t *before, json_t *after)
{
    struct comparison *c = malloc(sizeof *c);
    struct error e = {0};

    if (comparison_make(c, before, after, &e))
        fail_msg("%s", e.text);
    return c;
}

static void test_same(void **state)
{
    json_t *a = sample_document(3, 20000, 0.25, 0.95);
    struct comparison *c = compared(a, a);

    assert_int_equal(c->n_warnings, 0);
    assert_true(c->n > 15);
    for (int i = 0; i < c->n; i++) {
        assert_true(c->change[i].verdict == (c->change[i].test ? VERDICT_SAME : VERDICT_UNTESTED));
        assert_false(comparison_fails(&c->change[i], 0));
    }
    free(c);
    json_decref(a);
}

static void test_worse(void **state)
{
    json_t *a = sample_document(3, 20000, 0.25, 0.95), *b = sample_document(3.3, 20000, 0.2, 0.93);
    struct comparison *c = compared(a, b);

    assert_int_equal(named(c, "latency p50")->verdict, VERDICT_WORSE);
    assert_int_equal(named(c, "latency mean")->verdict, VERDICT_WORSE);
    assert_true(fabs(named(c, "latency p50")->effect.change - 0.1) < 0.02);
    assert_true(comparison_fails(named(c, "latency p50"), 0.05));
    assert_false(comparison_fails(named(c, "latency p50"), 0.2));
    assert_int_equal(named(c, "distribution of latency")->verdict, VERDICT_CHANGED);
    assert_int_equal(named(c, "accuracy")->verdict, VERDICT_WORSE);
    assert_true(
        comparison_fails(named(c, "accuracy"), 0.2)); /* the threshold is for latency and throughput */
    assert_int_equal(named(c, "answered by a")->verdict, VERDICT_CHANGED);
    assert_int_equal(named(c, "answered by network")->verdict, VERDICT_CHANGED);
    assert_int_equal(named(c, "memory")->verdict, VERDICT_UNTESTED);
    free(c);
    c = compared(b, a);
    assert_int_equal(named(c, "latency p50")->verdict, VERDICT_BETTER);
    assert_int_equal(named(c, "accuracy")->verdict, VERDICT_BETTER);
    for (int i = 0; i < c->n; i++)
        assert_false(comparison_fails(&c->change[i], 0));
    free(c);
    json_decref(a);
    json_decref(b);
}

/* The same difference in a tenth of the requests is noise; throughput of an open loop is neither good nor
 * bad. */
static void test_noise_and_direction(void **state)
{
    json_t *a = sample_document(3, 300, 0.25, 0.95), *b = sample_document(3, 300, 0.25, 0.93);
    struct comparison *c = compared(a, b);

    assert_int_equal(named(c, "accuracy")->verdict, VERDICT_SAME);
    free(c);
    json_object_set_new(b, "achieved_rps", json_real(50));
    json_object_set_new(b, "seconds", json_real(60));
    c = compared(a, b);
    assert_int_equal(named(c, "throughput")->verdict, VERDICT_CHANGED);
    free(c);
    json_object_set_new(json_object_get(a, "load"), "loop", json_string("closed"));
    json_object_set_new(json_object_get(b, "load"), "loop", json_string("closed"));
    c = compared(a, b);
    assert_int_equal(named(c, "throughput")->verdict, VERDICT_WORSE);
    free(c);
    json_decref(a);
    json_decref(b);
}

static json_t *wavering_document(double median_ms, double by)
{
    json_t *doc = sample_document(median_ms, 20000, 0.25, 0.95), *line = json_array();

    for (int i = 0; i < 21; i++)
        json_array_append_new(line, json_pack("{s:i, s:i, s:f}", "t", i, "answered",
                                              1000 + (int)(1000 * by * sin(i)), "p50_ms",
                                              median_ms * (1 + by * sin(i))));
    json_object_set_new(doc, "timeline", line);
    return doc;
}

/* A median that moved by a fifth within each run says little about a difference of a twentieth between two.
 */
static void test_wandering(void **state)
{
    json_t *a = wavering_document(3, 0.001), *b = wavering_document(3.15, 0.001),
           *c = wavering_document(3, 0.2), *d = wavering_document(3.15, 0.2);
    static const double figures[] = {1, 2, 3, NAN, 4, 5};
    struct comparison *steady = compared(a, b), *wavering = compared(c, d);
    const struct effect *narrow, *wide;

    assert_true(fabs(significance_wander(figures, 6) - 0.5) < 1e-12); /* s = sqrt(2.5), n = 5 */
    assert_true(significance_wander(figures, 5) == 0);
    assert_int_equal(named(steady, "latency p50")->verdict, VERDICT_WORSE);
    assert_int_equal(named(wavering, "latency p50")->verdict, VERDICT_SAME);
    assert_int_equal(named(wavering, "latency mean")->verdict, VERDICT_SAME);
    assert_true(named(wavering, "distribution of latency")->effect.p >
                named(steady, "distribution of latency")->effect.p);
    narrow = &named(steady, "latency p50")->effect;
    wide = &named(wavering, "latency p50")->effect;
    assert_true(wide->high - wide->low > 0.1 && narrow->high - narrow->low < 0.05);
    assert_true(narrow->change == wide->change);
    narrow = &named(steady, "throughput")->effect;
    wide = &named(wavering, "throughput")->effect;
    assert_true(wide->high - wide->low > 1.5 * (narrow->high - narrow->low));
    free(steady);
    free(wavering);
    json_decref(a);
    json_decref(b);
    json_decref(c);
    json_decref(d);
}

/* What more than doubled is not told with an exponent. */
static void test_percents(void **state)
{
    static const struct {
        double share;
        int digits;
        const char *text;
    } of[] = {
        {1.654, 2, "+165"}, {0.9961, 2, "+100"}, {-0.0123, 2, "-1.2"}, {12.345, 3, "+1234"}, {0, 3, "+0"}};
    char buf[32];

    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        assert_string_equal(comparison_percent(of[i].share, of[i].digits, buf, sizeof buf), of[i].text);
}

static bool warned(const struct comparison *c, const char *of)
{
    for (int i = 0; i < c->n_warnings; i++)
        if (strstr(c->warning[i], of))
            return true;
    return false;
}

static void test_warnings(void **state)
{
    json_t *a = sample_document(3, 1000, 0.25, 0.95), *b = sample_document(3, 1000, 0.25, 0.95);
    struct comparison *c;

    json_object_set_new(json_object_get(b, "machine"), "cpu", json_string("Another"));
    json_object_set_new(json_object_get(b, "pipeline"), "replicas", json_pack("[i, i]", 1, 1));
    json_object_del(json_object_get(b, "load"), "rate");
    json_object_set_new(json_object_get(b, "load"), "clients", json_integer(8));
    json_object_set_new(b, "valid", json_false());
    json_object_set_new(b, "doubt", json_string("late"));
    c = compared(a, b);
    assert_int_equal(c->n_warnings, 5);
    assert_true(warned(c, "the run after is not valid: late"));
    assert_true(warned(c, "machine.cpu differs: A CPU, then Another"));
    assert_true(warned(c, "pipeline.replicas differs: [2,1], then [1,1]"));
    assert_true(warned(c, "load.rate differs: 100, then ?"));
    assert_true(warned(c, "load.clients differs"));
    free(c);
    json_decref(a);
    json_decref(b);
}

/* Exits that one of the two has not; a run without answers. */
static void test_unlike(void **state)
{
    json_t *a = sample_document(3, 5000, 0.25, 0.95), *b = sample_document(3, 5000, 0.25, 0.95);
    struct comparison *c = malloc(sizeof *c);
    struct error e = {0};

    json_object_set_new(json_array_get(json_object_get(b, "exits"), 0), "name", json_string("other"));
    assert_int_equal(comparison_make(c, a, b, &e), FL_OK);
    assert_true(named(c, "answered by a")->after == 0 && named(c, "answered by other")->before == 0);
    assert_int_equal(named(c, "answered by other")->verdict, VERDICT_CHANGED);
    json_object_set_new(b, "latency_ms", json_null());
    assert_int_equal(comparison_make(c, a, b, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "after"));
    assert_int_equal(comparison_make(c, b, a, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "before"));
    free(c);
    json_decref(a);
    json_decref(b);
}

static void try_all(json_t *whole, json_t *at, const json_t *other, int *tried)
{
    static const char *const odd[] = {
        "null", "-1e300", "9223372036854775807", "\"\\u001b[31m%s%n\"", "[[], {}, null]", "{\"a\": []}", "0"};
    struct comparison *c = malloc(sizeof *c);
    const char *key;
    json_t *value, *item;
    void *next;
    size_t i;

    json_object_foreach_safe(at, next, key, value)
    {
        json_incref(value);
        for (int k = 0; k < N(odd); k++, ++*tried) {
            json_object_set_new(at, key, json_loads(odd[k], JSON_DECODE_ANY, NULL));
            int rc = comparison_make(c, whole, other, NULL);
            assert_true(rc == FL_OK || rc == FL_VALUE || rc == FL_CORRUPT);
            rc = comparison_make(c, other, whole, NULL);
            assert_true(rc == FL_OK || rc == FL_VALUE || rc == FL_CORRUPT);
        }
        json_object_set_new(at, key, value);
        try_all(whole, value, other, tried);
    }
    json_array_foreach(at, i, item) if (i < 1) try_all(whole, item, other, tried);
    free(c);
}

static void test_hostile(void **state)
{
    json_t *a = sample_document(3, 100, 0.25, 0.95), *b = sample_document(3, 100, 0.25, 0.95);
    static const char *const cut[] = {"sweep",  "timeline", "against",
                                      "stages", "events",   "generator"}; /* not read */
    int tried = 0;

    for (int i = 0; i < N(cut); i++)
        json_object_del(a, cut[i]);
    for (int i = 0; i < 2; i++) { /* short histograms: the bootstrap is not what is tried here */
        json_object_set_new(i ? a : b, "histogram",
                            json_pack("{s:[f, f], s:[i, i]}", "upper_us", 1000.0, 2000.0, "count", 50, 50));
    }
    try_all(a, a, b, &tried);
    assert_true(tried > 400);
    json_decref(a);
    json_decref(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bootstrap),    cmocka_unit_test(test_too_few),
        cmocka_unit_test(test_distribution), cmocka_unit_test(test_shares_and_rates),
        cmocka_unit_test(test_correction),   cmocka_unit_test(test_same),
        cmocka_unit_test(test_worse),        cmocka_unit_test(test_noise_and_direction),
        cmocka_unit_test(test_percents),     cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_unlike),       cmocka_unit_test(test_wandering),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
