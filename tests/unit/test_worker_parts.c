/* test_worker_parts.c - the worker's small parts: size of batches, circuit breaker, cancelled requests, clock
 * offset, arrivals
 */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/arrival.h"
#include "base/clock.h"
#include "base/offset.h"
#include "stages/brain/batch_limit.h"
#include "stages/brain/breaker.h"
#include "stages/brain/cancel_set.h"
#include "stages/brain/hit_log.h"

static void test_the_breaker_opens_after_failures_in_a_row(void **state)
{
    struct breaker b = {0};
    for (int i = 0; i < BREAKER_FAILURES - 1; i++)
        breaker_late(&b, 1);
    breaker_answered(&b);
    for (int i = 0; i < BREAKER_FAILURES - 1; i++)
        breaker_late(&b, 1);
    assert_true(breaker_allows(&b, 1));
    breaker_late(&b, 1);
    assert_true(breaker_is_open(&b));
    assert_false(breaker_allows(&b, 1));
}

static void test_the_breaker_probes_and_closes(void **state)
{
    struct breaker b = {0};
    uint64_t now = 1;
    for (int i = 0; i < BREAKER_FAILURES; i++)
        breaker_late(&b, now);
    now += BREAKER_FIRST_NS;
    assert_true(breaker_allows(&b, now));
    assert_false(breaker_allows(&b, now)); /* one probe at a time */
    breaker_late(&b, now);
    assert_false(breaker_allows(&b, now + BREAKER_FIRST_NS)); /* twice as long now */
    now += 2 * BREAKER_FIRST_NS;
    assert_true(breaker_allows(&b, now));
    breaker_forget_probe(&b);
    assert_true(breaker_allows(&b, now));
    breaker_answered(&b);
    assert_false(breaker_is_open(&b));
    assert_true(breaker_allows(&b, now));
}

static void test_the_breaker_waits_at_most_so_long(void **state)
{
    struct breaker b = {0};
    uint64_t now = 1;
    for (int i = 0; i < 40; i++) {
        breaker_late(&b, now);
        now += BREAKER_LAST_NS;
        assert_true(breaker_allows(&b, now));
    }
}

static void test_cancelled_requests_are_remembered(void **state)
{
    struct cancel_set *s = calloc(1, sizeof *s);
    int kept = 0;
    assert_false(cancel_set_has(s, 17));
    for (uint64_t id = 1; id <= 1000; id++) {
        cancel_set_add(s, id);
        cancel_set_add(s, id);
        assert_true(cancel_set_has(s, id));
    }
    for (uint64_t id = 1; id <= 1000; id++)
        kept += cancel_set_has(s, id);
    assert_true(kept > 990);
    for (uint64_t id = 2000; id <= 100000; id++) /* bounded: old ones go */
        cancel_set_add(s, id);
    kept = 0;
    for (uint64_t id = 1; id <= 1000; id++)
        kept += cancel_set_has(s, id);
    assert_int_equal(kept, 0);
    free(s);
}

static void test_the_latest_hits_are_kept(void **state)
{
    struct hit_log *l = calloc(1, sizeof *l);
    assert_null(hit_log_find(l, 0));
    for (uint64_t id = 1; id <= 3 * HIT_LOG; id++) {
        struct told_hit *h = hit_log_add(l);
        h->request = id;
        h->attempt = 1;
    }
    assert_null(hit_log_find(l, 2 * HIT_LOG));
    for (uint64_t id = 2 * HIT_LOG + 1; id <= 3 * HIT_LOG; id++)
        assert_int_equal(hit_log_find(l, id)->request, id);
    hit_log_add(l)->request = 3 * HIT_LOG;
    l->hit[(l->n - 1) % HIT_LOG].attempt = 2;
    assert_int_equal(hit_log_find(l, 3 * HIT_LOG)->attempt, 2);
    free(l);
}

static void test_the_offset_of_the_shortest_round_trip_counts(void **state)
{
    struct offset o = {0};
    assert_int_equal(offset_ns(&o), 0);
    assert_true(offset_error_ns(&o) == UINT64_MAX);
    offset_add(&o, 1000, 6000, 3000); /* +4000 with 2000 round trip */
    assert_int_equal(offset_ns(&o), 4000);
    assert_int_equal(offset_error_ns(&o), 1000);
    offset_add(&o, 10000, 15050, 10100); /* +5000 with 100 */
    offset_add(&o, 20000, 15000, 30000);
    assert_int_equal(offset_ns(&o), 5000);
    assert_int_equal(offset_error_ns(&o), 50);
    offset_add(&o, 5, 1, 1); /* time ran backwards: ignored */
    assert_int_equal(o.n, 3);
    for (uint64_t i = 0; i < OFFSET_SAMPLES; i++)
        offset_add(&o, 1000, 500, 1200); /* the other clock is behind; old samples are forgotten */
    assert_int_equal(offset_ns(&o), -600);
}

/* Two hosts whose clocks differ by an amount that nobody knows; each way takes between 50 us and 2 ms. Who
 * echoes late (a busy broker) is no trouble either: the bound holds always, and the estimate is good. */
static void test_the_offset_is_within_its_error(void **state)
{
    uint64_t random = 1;
    for (int round = 0; round < 200; round++) {
        struct offset o = {0};
        int64_t truth, wrong;
        uint64_t now = 1000 * NS_PER_S;
        random = random * 6364136223846793005u + 1442695040888963407u;
        truth = (int64_t)(random >> 20) - (1ll << 43);
        for (int i = 0; i < 40; i++) {
            uint64_t there, back;
            random = random * 6364136223846793005u + 1442695040888963407u;
            there = 50 * NS_PER_US + (random >> 33) % (2 * NS_PER_MS);
            random = random * 6364136223846793005u + 1442695040888963407u;
            back = 50 * NS_PER_US + (random >> 33) % (2 * NS_PER_MS);
            offset_add(&o, now, (uint64_t)((int64_t)(now + there) + truth), now + there + back);
            wrong = offset_ns(&o) - truth;
            assert_true((uint64_t)(wrong < 0 ? -wrong : wrong) <= offset_error_ns(&o));
            now += 250 * NS_PER_MS;
        }
        assert_true(offset_error_ns(&o) < 2 * NS_PER_MS);
    }
}

static void came(uint64_t sent, uint64_t seen_empty, uint64_t taken, uint64_t read, uint64_t wire,
                 uint64_t queue, uint64_t decode)
{
    struct arrival a = arrival_of(sent, seen_empty, taken, read);
    assert_int_equal(a.wire_ns, wire);
    assert_int_equal(a.queue_ns, queue);
    assert_int_equal(a.decode_ns, decode);
}

static void test_when_a_message_came(void **state)
{
    came(1000, 1400, 1410, 1450, 400, 10, 40);   /* slept on the socket until 1400 */
    came(1000, 300, 5000, 5040, 0, 4000, 40);    /* was busy since before it was sent */
    came(1000, 900, 950, 1030, 0, 0, 30);        /* sent while the receiver was kept from asking */
    came(1000, 900, 950, 990, 0, 0, 0);          /* sent after it was read: clocks differ */
    came(1000, 7000, 5000, 5040, 4000, 0, 40);   /* empty after it was taken: cannot be */
    came(0, 0, 0, UINT64_MAX, 0, 0, UINT64_MAX); /* whatever the wire says */
    came(UINT64_MAX, 5, 7, 9, 0, 0, 0);
}

/* Three stages of equal work and a target of 60 ms: 10 ms for a batch. Each request takes `ms`. */
static int settle(struct batch_limit *l, double ms, int batches)
{
    for (int i = 0; i < batches; i++) {
        int n = batch_limit_now(l);
        batch_limit_learn(l, n, (uint64_t)(n * ms * NS_PER_MS));
    }
    return batch_limit_now(l);
}

static void test_batches_are_as_large_as_their_time_allows(void **state)
{
    struct batch_limit l;
    int least = 64, most = 0;
    batch_limit_init(&l, 64, 60 * NS_PER_MS, 1.0 / 3);
    assert_int_equal(batch_limit_now(&l), 64);
    assert_in_range(settle(&l, 1, 6), 1, 10);
    for (int i = 0; i < 100; i++) {
        int n = settle(&l, 1, 1);
        least = n < least ? n : least;
        most = n > most ? n : most;
    }
    assert_in_range(least, 9, 10);
    assert_in_range(most, 10, 11); /* one too many is how it finds out */
    assert_in_range(settle(&l, 0.25, 40), 36, 41);
    assert_int_equal(settle(&l, 0.01, 40), 64);
    assert_int_equal(settle(&l, 30, 40), 1); /* never less */
}

static void test_batches_that_are_not_full_prove_nothing(void **state)
{
    struct batch_limit l;
    batch_limit_init(&l, 16, 60 * NS_PER_MS, 1.0 / 3);
    batch_limit_learn(&l, 16, 11 * NS_PER_MS);
    assert_int_equal(batch_limit_now(&l), 14);
    for (int i = 0; i < 100; i++)
        batch_limit_learn(&l, 13, NS_PER_MS);
    assert_int_equal(batch_limit_now(&l), 14);
    batch_limit_learn(&l, 14, NS_PER_MS);
    assert_int_equal(batch_limit_now(&l), 15);
}

static void test_without_a_target_batches_stay_as_large_as_they_may_be(void **state)
{
    struct batch_limit l;
    batch_limit_init(&l, 8, 0, 1);
    batch_limit_learn(&l, 8, 1000 * NS_PER_S);
    assert_int_equal(batch_limit_now(&l), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batches_are_as_large_as_their_time_allows),
        cmocka_unit_test(test_batches_that_are_not_full_prove_nothing),
        cmocka_unit_test(test_without_a_target_batches_stay_as_large_as_they_may_be),
        cmocka_unit_test(test_the_breaker_opens_after_failures_in_a_row),
        cmocka_unit_test(test_the_breaker_probes_and_closes),
        cmocka_unit_test(test_the_breaker_waits_at_most_so_long),
        cmocka_unit_test(test_cancelled_requests_are_remembered),
        cmocka_unit_test(test_the_latest_hits_are_kept),
        cmocka_unit_test(test_the_offset_of_the_shortest_round_trip_counts),
        cmocka_unit_test(test_the_offset_is_within_its_error),
        cmocka_unit_test(test_when_a_message_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
