/* test_responses.c - the response cache: what it answers, what it forgets, how many bytes it takes */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/error.h"
#include "numbers/shuffle.h"
#include "broker/state/responses.h"

static const struct response_stamp now = {1, 1};

static struct response_key key_of(const struct responses *r, uint32_t input, uint32_t flags)
{
    const struct tensor shape = {TENSOR_U32, 1, {1}, NULL};
    return responses_key(r, &shape, &input, sizeof input, flags);
}

static struct response answer_of(int32_t label, int32_t exit, float *scores)
{
    return (struct response){label, exit, 0.5f, 7, {scores ? TENSOR_F32 : TENSOR_NONE, 2, {1, 10}, scores},
                             0};
}

/* Asks for input i and, where it is not known, computes it. */
static bool known(struct responses *r, uint32_t i, float *scores)
{
    struct response_key k = key_of(r, i, 0);
    struct response a;
    uint64_t request;
    if (responses_ask(r, k, now, &a, &request) == RESPONSE_KNOWN) {
        assert_int_equal(a.label, i);
        return true;
    }
    a = answer_of((int32_t)i, -1, scores);
    responses_take(r, k, now, i + 1);
    responses_keep(r, k, now, i + 1, &a);
    return false;
}

static void test_same_input_same_answer(void **state)
{
    float scores[10] = {1, 2, 3};
    struct response a = answer_of(3, -1, scores), got;
    struct responses *r;
    uint64_t request = 0;
    assert_int_equal(responses_new(&r, 1 << 16), FL_OK);
    assert_int_equal(responses_ask(r, key_of(r, 1, 0), now, &got, &request), RESPONSE_NEW);
    responses_take(r, key_of(r, 1, 0), now, 42);
    assert_int_equal(responses_ask(r, key_of(r, 1, 0), now, &got, &request), RESPONSE_UNDER_WAY);
    assert_int_equal(request, 42);
    responses_keep(r, key_of(r, 1, 0), now, 43, &a); /* another one's */
    assert_int_equal(responses_ask(r, key_of(r, 1, 0), now, &got, &request), RESPONSE_UNDER_WAY);
    responses_keep(r, key_of(r, 1, 0), now, 42, &a);
    assert_int_equal(responses_ask(r, key_of(r, 1, 0), now, &got, &request), RESPONSE_KNOWN);
    assert_int_equal(got.label, 3);
    assert_int_equal(got.epoch, 7);
    assert_int_equal(got.scores.dtype, TENSOR_F32);
    assert_int_equal(tensor_bytes(&got.scores), sizeof scores);
    assert_memory_equal(got.scores.data, scores, sizeof scores);
    /* another input, or another wish */
    assert_int_equal(responses_ask(r, key_of(r, 2, 0), now, &got, &request), RESPONSE_NEW);
    assert_int_equal(responses_ask(r, key_of(r, 1, 1), now, &got, &request), RESPONSE_NEW);
    responses_free(r);
}

static void test_a_shape_is_part_of_the_input(void **state)
{
    const uint32_t data[2] = {1, 2};
    const struct tensor flat = {TENSOR_U32, 2, {1, 2}, NULL}, high = {TENSOR_U32, 3, {1, 2, 1}, NULL},
                        real = {TENSOR_F32, 2, {1, 2}, NULL};
    struct responses *r;
    struct response_key k[3];
    assert_int_equal(responses_new(&r, 1 << 16), FL_OK);
    k[0] = responses_key(r, &flat, data, sizeof data, 0);
    k[1] = responses_key(r, &high, data, sizeof data, 0);
    k[2] = responses_key(r, &real, data, sizeof data, 0);
    assert_memory_not_equal(&k[0], &k[1], sizeof k[0]);
    assert_memory_not_equal(&k[0], &k[2], sizeof k[0]);
    responses_free(r);
}

static void test_what_else_decides_the_answer(void **state)
{
    const struct response_stamp learned = {1, 2}, retrained = {2, 1};
    struct response full = answer_of(1, -1, NULL), early = answer_of(2, 0, NULL), got;
    struct responses *r;
    uint64_t request;
    assert_int_equal(responses_new(&r, 1 << 16), FL_OK);
    for (uint32_t i = 1; i <= 2; i++) {
        responses_ask(r, key_of(r, i, 0), now, &got, &request);
        responses_take(r, key_of(r, i, 0), now, i);
        responses_keep(r, key_of(r, i, 0), now, i, i == 1 ? &full : &early);
    }
    /* caches of another epoch answer early otherwise; the network says what it said */
    assert_int_equal(responses_ask(r, key_of(r, 1, 0), learned, &got, &request), RESPONSE_KNOWN);
    assert_int_equal(got.scores.dtype, TENSOR_NONE);
    assert_int_equal(responses_ask(r, key_of(r, 2, 0), learned, &got, &request), RESPONSE_NEW);
    assert_int_equal(responses_ask(r, key_of(r, 1, 0), retrained, &got, &request), RESPONSE_NEW);
    assert_int_equal(responses_ask(r, key_of(r, 2, 0), retrained, &got, &request), RESPONSE_NEW);
    responses_free(r);
}

static void test_bytes_are_bounded(void **state)
{
    float scores[1000] = {0};
    struct responses *r;
    for (size_t most = 1; most < 1 << 18; most = most * 2 + 1) {
        size_t least;
        assert_int_equal(responses_new(&r, most), FL_OK);
        least = responses_bytes(r); /* its tables */
        assert_true(least < most || most < 2000);
        for (uint32_t i = 0; i < 3000; i++) {
            struct response_key k = key_of(r, i % 700, 0);
            struct response a = {1, -1, 0, 0, {TENSOR_F32, 1, {i * 7 % 1000}, scores}, 2};
            uint64_t request;
            responses_ask(r, k, now, &a, &request);
            a.scores = (struct tensor){TENSOR_F32, 1, {i * 7 % 1000}, scores};
            responses_take(r, k, now, i + 1);
            responses_keep(r, k, now, i + 1, &a);
            assert_true(responses_bytes(r) <= (most > least ? most : least));
        }
        assert_true(responses_bytes(r) > least || most < 10000);
        responses_free(r);
    }
}

/* A popular input stays while a thousand others pass once. */
static void test_a_scan_flushes_nothing(void **state)
{
    float scores[10] = {0};
    struct responses *r;
    assert_int_equal(responses_new(&r, 20000), FL_OK);
    for (int again = 0; again < 3; again++)
        for (uint32_t i = 0; i < 20; i++)
            known(r, i, scores);
    for (uint32_t i = 100; i < 1100; i++)
        assert_false(known(r, i, scores));
    for (uint32_t i = 0; i < 20; i++)
        assert_true(known(r, i, scores));
    responses_free(r);
}

enum { PICTURES = 5000, ASKED = 10000 };

/* How many of ASKED requests, Zipf(1.1) over PICTURES, are known; *bytes: what it took in the end. */
static int zipf(size_t most, size_t *bytes)
{
    static double upto[PICTURES];
    float scores[10] = {0};
    struct shuffle random;
    struct responses *r;
    double sum = 0;
    int hits = 0;
    for (int i = 0; i < PICTURES; i++)
        upto[i] = sum += pow(i + 1, -1.1);
    shuffle_seed(&random, 1, 1);
    assert_int_equal(responses_new(&r, most), FL_OK);
    for (int n = 0; n < ASKED; n++) {
        double u = shuffle_uniform(&random) * sum;
        int low = 0, high = PICTURES - 1;
        while (low < high) {
            int middle = (low + high) / 2;
            if (upto[middle] > u)
                high = middle;
            else
                low = middle + 1;
        }
        hits += known(r, (uint32_t)low, scores);
    }
    *bytes = responses_bytes(r);
    responses_free(r);
    return hits;
}

/* No choice of a tenth of the pictures could answer more: all of it but the first time of each. */
static double best(int kept)
{
    double all = 0, of_these = 0;
    for (int i = 0; i < PICTURES; i++) {
        all += pow(i + 1, -1.1);
        of_these += i < kept ? pow(i + 1, -1.1) : 0;
    }
    return of_these / all * ASKED - kept;
}

static void test_few_bytes_keep_what_is_popular(void **state)
{
    size_t all, few;
    int most = zipf(1 << 20, &all), hits = zipf(all / 10, &few);
    double could = best((ASKED - most) / 10);
    print_message(
        "%d requests, Zipf(1.1) over %d inputs: %d known without a bound, %d with a tenth of the bytes "
        "(%.3f); the best that a tenth could know: %.0f (%.3f)\n",
        ASKED, PICTURES, most, hits, (double)hits / most, could, could / most);
    assert_true(few <= all / 10);
    assert_true(hits > 0.9 * could);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_input_same_answer),
        cmocka_unit_test(test_a_shape_is_part_of_the_input),
        cmocka_unit_test(test_what_else_decides_the_answer),
        cmocka_unit_test(test_bytes_are_bounded),
        cmocka_unit_test(test_a_scan_flushes_nothing),
        cmocka_unit_test(test_few_bytes_keep_what_is_popular),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
