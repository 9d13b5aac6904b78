/* test_selector.c - evidence and the model over it */
#include "cache_samples.h"

#include <math.h>

#include "cache_service/selector.h"

static bool near(float a, double b)
{
    return fabs((double)a - b) < 1e-4;
}

static void test_features_by_hand(void **state)
{
    static const float before[] = {0, 1, 0}, here[] = {2, 0, 1};
    const float *const scores[] = {before, here};
    double log_sum = log(1 + exp(-1) + exp(-2)), p[3];
    float f[13];
    (void)state;
    assert_int_equal(selector_features(2, 3), 13);
    assert_int_equal(selector_features(2, SELECTOR_MAX_CLASSES + 1), 10);
    selector_describe(scores, 2, 3, 0, f);
    assert_true(near(f[0], 1));  /* before: 1 against 0 */
    assert_true(near(f[3], -1)); /* class 0 against the best other there */
    assert_true(f[4] == 0);
    assert_true(near(f[5], 1));
    assert_true(near(f[6], -log_sum));
    p[0] = exp(-log_sum), p[1] = exp(-2 - log_sum), p[2] = exp(-1 - log_sum);
    assert_true(near(f[7], -p[0] * log(p[0]) - p[1] * log(p[1]) - p[2] * log(p[2])));
    assert_true(near(f[8], 1));
    assert_true(f[9] == 1);
    assert_true(f[10] == 1 && f[11] == 0 && f[12] == 0);
}

static void test_extreme_scores_stay_finite(void **state)
{
    static const float scores[] = {1e30f, -1e30f};
    const float *const one[] = {scores};
    float f[7];
    (void)state;
    for (int answer = 0; answer < 2; answer++) {
        selector_describe(one, 1, 2, answer, f);
        for (int i = 0; i < 7; i++)
            assert_true(isfinite(f[i]) && fabsf(f[i]) <= 30);
    }
}

/* Points drawn from a logistic model: the fit finds it again; a feature that never varies gets no weight. */
static void test_fit_recovers_a_known_model(void **state)
{
    enum { M = 20000, N = 3 };
    static float x[M][N];
    static uint8_t harmful[M];
    struct selector s, t;
    struct shuffle r;
    (void)state;
    shuffle_seed(&r, 2, 2);
    for (int i = 0; i < M; i++) {
        x[i][0] = (float)(3 + 2 * shuffle_normal(&r));
        x[i][1] = (float)shuffle_normal(&r);
        x[i][2] = 7;
        harmful[i] = shuffle_uniform(&r) < 1 / (1 + exp(2 - 0.5 * (double)x[i][0] + (double)x[i][1]));
    }
    assert_int_equal(selector_fit(&s, &x[0][0], harmful, M, N, 1, NULL), FL_OK);
    assert_int_equal(selector_fit(&t, &x[0][0], harmful, M, N, 1, NULL), FL_OK);
    for (int i = 0; i < 100; i++) {
        double truth = 1 / (1 + exp(2 - 0.5 * (double)x[i][0] + (double)x[i][1]));
        assert_true(fabs((double)selector_harm(&s, x[i]) - truth) < 0.02);
        assert_true(selector_harm(&s, x[i]) == selector_harm(&t, x[i]));
    }
    x[0][2] = 1000;
    assert_true(selector_harm(&s, x[0]) == selector_harm(&s, (float[]){x[0][0], x[0][1], 7}));
    selector_release(&s);
    selector_release(&t);
}

static void test_one_sided_points(void **state)
{
    static const float x[][1] = {{0}, {1}, {2}};
    static const uint8_t harmful[] = {0, 0, 0};
    struct selector s;
    struct error e;
    (void)state;
    assert_int_equal(selector_fit(&s, &x[0][0], harmful, 3, 1, 1, NULL), FL_OK);
    assert_true(selector_harm(&s, x[1]) < 0.1f);
    selector_release(&s);
    assert_int_equal(selector_fit(&s, &x[0][0], harmful, 0, 1, 1, &e), FL_VALUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_features_by_hand), cmocka_unit_test(test_extreme_scores_stay_finite),
        cmocka_unit_test(test_fit_recovers_a_known_model), cmocka_unit_test(test_one_sided_points)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
