/* test_ring.c - records come as they were sent, room comes back, and nonsense from the other end does no harm
 */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "link/ring.h"

#define SIZE 4096

struct ends {
    void *memory;
    struct ring out, in;
};

static void open_ends(struct ends *t)
{
    t->memory = aligned_alloc(RING_ALIGN, ring_memory(SIZE));
    assert_non_null(t->memory);
    ring_open(&t->out, t->memory, SIZE, true);
    ring_open(&t->in, t->memory, SIZE, false);
}

static bool put(struct ring *r, uint32_t number, size_t payload)
{
    uint8_t *to = ring_reserve(r, payload, sizeof number);
    if (!to)
        return false;
    memset(to, (int)(number & 0xff), payload);
    ring_commit(r, payload, &number, sizeof number);
    return true;
}

static void check(const struct ring_record *r, uint32_t number)
{
    uint32_t got;
    assert_int_equal(r->envelope_bytes, sizeof got);
    memcpy(&got, r->envelope, sizeof got);
    assert_int_equal(got, number);
    assert_int_equal((uintptr_t)r->payload % RING_ALIGN, 0);
    for (size_t i = 0; i < r->payload_bytes; i++)
        assert_int_equal(r->payload[i], number & 0xff);
}

/* Any sizes, read in order and released in any: each record arrives once, whole. */
static void records_arrive_once_and_in_order(void **state)
{
    struct ends t;
    struct {
        struct ring_record r;
        uint32_t number;
    } held[8];
    uint32_t sent = 0, read = 0, random = 1;
    int n = 0;
    open_ends(&t);
    while (read < 20000) {
        random = random * 1664525u + 1013904223u;
        switch (random >> 30) {
        case 0:
        case 1:
            sent += put(&t.out, sent, (random >> 8) % 1500);
            break;
        case 2:
            if (n < 8 && ring_read(&t.in, &held[n].r)) {
                held[n].number = read++;
                check(&held[n].r, held[n].number);
                n++;
            }
            break;
        default:
            if (n) {
                int i = (int)(random >> 8) % n;
                check(&held[i].r, held[i].number); /* nobody wrote over it meanwhile */
                ring_release(&t.in, held[i].r.slot);
                held[i] = held[--n];
            }
        }
        assert_false(t.in.broken || t.out.broken);
    }
    free(t.memory);
}

static void a_full_ring_takes_no_more_until_room_comes_back(void **state)
{
    struct ends t;
    struct ring_record r;
    uint32_t n = 0;
    open_ends(&t);
    while (put(&t.out, n, 500))
        n++;
    assert_in_range(n, 5, 7);
    assert_true(ring_read(&t.in, &r));
    assert_false(put(&t.out, n, 500)); /* read is not released */
    ring_release(&t.in, r.slot);
    assert_true(ring_read(&t.in, &r));
    assert_true(put(&t.out, n, 500));
    assert_null(ring_reserve(&t.out, SIZE, 4));
    assert_null(ring_reserve(&t.out, SIZE_MAX, SIZE_MAX));
    free(t.memory);
}

static void what_was_reserved_and_not_committed_is_given_up(void **state)
{
    struct ends t;
    struct ring_record r;
    void *first;
    open_ends(&t);
    first = ring_reserve(&t.out, 1000, 4);
    assert_true(ring_is_reserved(&t.out, first));
    assert_true(put(&t.out, 7, 10));
    assert_false(ring_is_reserved(&t.out, first));
    assert_true(ring_read(&t.in, &r));
    check(&r, 7);
    assert_false(ring_read(&t.in, &r));
    free(t.memory);
}

static void only_who_sleeps_is_woken(void **state)
{
    struct ends t;
    struct ring_record r;
    uint32_t n = 0;
    open_ends(&t);
    assert_non_null(ring_reserve(&t.out, 0, 4));
    assert_false(ring_commit(&t.out, 0, &n, sizeof n));
    assert_false(ring_sleep(&t.in)); /* there is something */
    assert_true(ring_read(&t.in, &r));
    assert_true(ring_sleep(&t.in));
    assert_non_null(ring_reserve(&t.out, 0, 4));
    assert_true(ring_commit(&t.out, 0, &n, sizeof n));
    assert_non_null(ring_reserve(&t.out, 0, 4));
    assert_false(ring_commit(&t.out, 0, &n, sizeof n)); /* once */
    free(t.memory);
}

static void who_sleeps_is_woken_early_once(void **state)
{
    struct ends t;
    uint32_t n = 0;
    open_ends(&t);
    assert_false(ring_rouse(&t.out));
    assert_true(ring_sleep(&t.in));
    assert_non_null(ring_reserve(&t.out, 0, 4));
    assert_true(ring_rouse(&t.out));
    assert_false(ring_rouse(&t.out));
    assert_true(ring_wake(&t.in)); /* by the writer */
    assert_false(ring_wake(&t.in));
    assert_true(ring_sleep(&t.in)); /* there is nothing yet */
    assert_false(ring_wake(&t.in)); /* by itself */
    assert_true(ring_sleep(&t.in));
    assert_true(ring_commit(&t.out, 0, &n, sizeof n));
    free(t.memory);
}

/* The other end writes anything anywhere at any time: the reader and the writer stay inside the ring. */
static void nonsense_breaks_the_ring_and_nothing_else(void **state)
{
    uint32_t random = 7;
    int broken = 0;
    for (int round = 0; round < 3000; round++) {
        struct ends t;
        struct ring_record r;
        volatile uint8_t sum = 0;
        open_ends(&t);
        for (int step = 0; step < 40; step++) {
            random = random * 1664525u + 1013904223u;
            if (random >> 31)
                put(&t.out, (uint32_t)step, (random >> 8) % 900);
            if ((random >> 29 & 3) == 0) {
                uint32_t what = random * 2654435761u, lines = (uint32_t)ring_memory(SIZE) / RING_ALIGN;
                uint32_t where = (random >> 4) % lines * RING_ALIGN;
                memcpy((uint8_t *)t.memory + where + (random & 4), &what, sizeof what);
            }
            if (ring_read(&t.in, &r)) {
                for (size_t i = 0; i < r.payload_bytes; i++)
                    sum = (uint8_t)(sum + r.payload[i]);
                for (size_t i = 0; i < r.envelope_bytes; i++)
                    sum = (uint8_t)(sum + r.envelope[i]);
                ring_release(&t.in, r.slot);
            }
        }
        broken += t.in.broken || t.out.broken;
        free(t.memory);
    }
    assert_in_range(broken, 300, 3000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_arrive_once_and_in_order),
        cmocka_unit_test(a_full_ring_takes_no_more_until_room_comes_back),
        cmocka_unit_test(what_was_reserved_and_not_committed_is_given_up),
        cmocka_unit_test(only_who_sleeps_is_woken),
        cmocka_unit_test(who_sleeps_is_woken_early_once),
        cmocka_unit_test(nonsense_breaks_the_ring_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
