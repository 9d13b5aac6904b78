/* test_update.c - update records: round trip, hostile bytes; the spool between the threads */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <sched.h>

#include "cache_service/service/spool.h"
#include "cache_service/store/update.h"

static struct update *sample(uint64_t request)
{
    struct update *u = update_new(5);
    assert_non_null(u);
    strcpy(u->exit, "exit4");
    memset(u->identity, 0xab, sizeof u->identity);
    u->request = request;
    u->label = 3;
    for (int i = 0; i < 5; i++)
        u->descriptor[i] = (float)i / 3;
    return u;
}

static void round_trip(void **state)
{
    struct update *in = sample(1ull << 63), *out = NULL;
    size_t size;
    void *record = update_encode(in, &size);
    (void)state;
    assert_non_null(record);
    assert_int_equal(update_decode(&out, record, size), FL_OK);
    assert_int_equal(out->request, in->request);
    assert_int_equal(out->label, 3);
    assert_int_equal(out->dim, 5);
    assert_string_equal(out->exit, "exit4");
    assert_memory_equal(out->identity, in->identity, 16);
    assert_memory_equal(out->descriptor, in->descriptor, 5 * sizeof(float));
    free(record);
    update_free(in);
    update_free(out);
}

static void every_damage_of_the_frame_is_refused_or_harmless(void **state)
{
    struct update *in = sample(2);
    size_t size;
    uint8_t *record = update_encode(in, &size);
    (void)state;
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

static void numbers_must_be_finite(void **state)
{
    struct update *in = sample(2), *out;
    size_t size;
    void *record;
    (void)state;
    in->descriptor[3] = NAN;
    record = update_encode(in, &size);
    assert_int_equal(update_decode(&out, record, size), FL_VALUE);
    free(record);
    update_free(in);
    assert_null(update_new(0));
    assert_null(update_new(UINT32_MAX));
}

static void a_full_spool_drops_the_oldest(void **state)
{
    struct spool *s;
    struct update *out[8];
    (void)state;
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
    (void)state;
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
        cmocka_unit_test(numbers_must_be_finite),
        cmocka_unit_test(a_full_spool_drops_the_oldest),
        cmocka_unit_test(two_threads_lose_only_what_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
