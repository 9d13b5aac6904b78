/* test_update.c - update records: round trip, hostile bytes; the spool between the threads */
#include <stdlib.h>
#include <string.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>

#include "tests/testing.h"
#include "numbers/floats.h"
#include "cache_service/keep/spool.h"
#include "cache_service/store/update.h"

static struct update *sample(uint64_t request)
{
    static const float x[] = {0, 0.25f, -1e9f, 3, -2};
    struct update *u = update_new(2, (uint32_t[]){5, 2});
    assert_non_null(u);
    memset(u->identity, 0xab, sizeof u->identity);
    u->request = request;
    u->moment_ms = 77;
    u->label = 3;
    u->flags = UPDATE_AUDIT;
    assert_int_equal(update_fill(u, 0, 4, x), FL_OK);
    assert_int_equal(update_fill(u, 1, 1ull << 60, x + 3), FL_OK);
    return u;
}

static void *encoded(const struct update *u, size_t *size)
{
    struct update_record r;
    assert_int_equal(update_encode(u, &r), FL_OK);
    *size = r.size;
    return r.bytes;
}

static void round_trip(void **state)
{
    struct update *in = sample(1ull << 63), *out = NULL;
    size_t size;
    void *record = encoded(in, &size);
    assert_int_equal(update_decode(&out, record, size), FL_OK);
    assert_int_equal(out->request, in->request);
    assert_int_equal(out->moment_ms, 77);
    assert_int_equal(out->label, 3);
    assert_int_equal(out->truth, -1);
    assert_int_equal(out->flags, UPDATE_AUDIT);
    assert_int_equal(out->n, 2);
    assert_int_equal(update_bytes(out), update_bytes(in));
    assert_memory_equal(out->identity, in->identity, 16);
    assert_int_equal(update_find(out, 1ull << 60), 1);
    assert_int_equal(update_find(out, 5), -1);
    assert_memory_equal(out->exit[0].half, in->exit[0].half, 5 * sizeof(uint16_t));
    assert_memory_equal(out->exit[1].half, in->exit[1].half, 2 * sizeof(uint16_t));
    assert_true(half_to_float(out->exit[0].half[1]) == 0.25f);
    assert_true(half_to_float(out->exit[0].half[2]) == -HALF_MAX);
    assert_true(half_to_float(out->exit[1].half[1]) == -2);
    free(record);
    update_free(in);
    update_free(out);
}

static void feedback_has_no_exits(void **state)
{
    struct update *in = update_new(0, NULL), *out;
    size_t size;
    void *record;
    assert_non_null(in);
    in->request = 9;
    in->truth = 4;
    in->label = -1;
    record = encoded(in, &size);
    assert_int_equal(size, UPDATE_MIN_RECORD);
    assert_int_equal(update_decode(&out, record, size), FL_OK);
    assert_true(out->n == 0 && out->request == 9 && out->truth == 4 && out->label == -1);
    free(record);
    update_free(in);
    update_free(out);
}

static void half_of_the_requests_certify(void **state)
{
    int n = 0, changes = 0;
    for (uint64_t request = 1; request <= 10000; request++) {
        n += update_certifies(request);
        changes += update_certifies(request) != update_certifies(request + 1);
    }
    assert_in_range(n, 4800, 5200);
    assert_in_range(changes, 4800, 5200);
}

static void every_damage_of_the_frame_is_refused_or_harmless(void **state)
{
    struct update *in = sample(2);
    size_t size;
    uint8_t *record = encoded(in, &size);
    for (size_t n = 0; n < size; n++) {
        struct update *out = NULL;
        uint8_t *cut = malloc(n ? n : 1); /* exact size: a read beyond is seen by the sanitizer */
        memcpy(cut, record, n);
        assert_int_not_equal(update_decode(&out, cut, n), FL_OK);
        free(cut);
    }
    for (size_t i = 0; i < size; i++)
        for (int bit = 0; bit < 8; bit++) {
            struct update *out = NULL;
            record[i] ^= (uint8_t)(1 << bit);
            if (update_decode(&out, record, size) == FL_OK)
                update_free(out);
            record[i] ^= (uint8_t)(1 << bit);
        }
    free(record);
    update_free(in);
}

static void is_refused(struct update *in, int code)
{
    struct update *out;
    size_t size;
    void *record = encoded(in, &size);
    assert_int_equal(update_decode(&out, record, size), code);
    free(record);
    update_free(in);
}

static void what_can_not_be_is_refused(void **state)
{
    static const uint16_t bad[] = {0x7c00, 0xfc00, 0x7e01}; /* infinite, NaN */
    uint32_t many[PIPELINE_MAX_EXITS + 1];
    struct update *u;
    for (int i = 0; i < 3; i++) {
        u = sample(2);
        u->exit[1].half[1] = bad[i];
        is_refused(u, FL_VALUE);
    }
    u = sample(2);
    u->label = -2;
    is_refused(u, FL_VALUE);
    u = sample(2);
    u->truth = INT32_MIN;
    is_refused(u, FL_VALUE);
    u = sample(2);
    u->exit[1].origin = u->exit[0].origin;
    is_refused(u, FL_CORRUPT);
    u = sample(2);
    assert_int_equal(update_fill(u, 1, 3, (float[]){0, NAN}), FL_VALUE);
    assert_int_equal(update_fill(u, 1, 3, (float[]){INFINITY, 0}), FL_VALUE);
    update_free(u);
    for (int i = 0; i <= PIPELINE_MAX_EXITS; i++)
        many[i] = UPDATE_MAX_DIM / 2;
    assert_null(update_new(1, &(uint32_t){0}));
    assert_null(update_new(1, &(uint32_t){UINT32_MAX}));
    assert_null(update_new(3, many));
    assert_null(update_new(PIPELINE_MAX_EXITS + 1, many));
}

static void a_full_spool_drops_the_oldest(void **state)
{
    struct spool *s;
    struct update *out[8];
    assert_int_equal(spool_new(&s, 4, 1 << 20), FL_OK);
    for (uint64_t i = 1; i <= 6; i++)
        spool_push(s, sample(i));
    assert_int_equal(spool_count(s), 4);
    assert_int_equal(spool_dropped(s), 2);
    assert_int_equal(spool_pop(s, out, 8), 4);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(out[i]->request, i + 3);
        update_free(out[i]);
    }
    assert_true(spool_push(s, sample(1))); /* who waits is told of the first alone */
    assert_false(spool_push(s, sample(2)));
    spool_free(s);
}

static void *producer(void *arg)
{
    for (uint64_t i = 1; i <= 5000; i++)
        spool_push(arg, sample(i));
    return NULL;
}

static void two_threads_lose_only_what_is_counted(void **state)
{
    struct spool *s;
    struct update *out[16];
    uint64_t got = 0, last = 0;
    pthread_t thread;
    assert_int_equal(spool_new(&s, 64, 1 << 20), FL_OK);
    pthread_create(&thread, NULL, producer, s);
    while (last < 5000) { /* the newest is never dropped */
        for (int i = 0, n = spool_pop(s, out, 16); i < n; i++) {
            assert_true(out[i]->request > last);
            last = out[i]->request;
            got++;
            update_free(out[i]);
        }
        sched_yield();
    }
    pthread_join(thread, NULL);
    assert_int_equal(got + spool_dropped(s), 5000);
    spool_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(every_damage_of_the_frame_is_refused_or_harmless),
        cmocka_unit_test(feedback_has_no_exits),
        cmocka_unit_test(half_of_the_requests_certify),
        cmocka_unit_test(what_can_not_be_is_refused),
        cmocka_unit_test(a_full_spool_drops_the_oldest),
        cmocka_unit_test(two_threads_lose_only_what_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
