/* test_requests.c - the request table: bounds, ids, wake order, lists */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "broker/state/requests.h"

static struct request_entry *add(struct requests *t, size_t bytes)
{
    struct request_entry *e = NULL;
    zmq_msg_t m;
    zmq_msg_init_size(&m, bytes);
    if (requests_add(t, &m, &e))
        e = NULL;
    zmq_msg_close(&m);
    return e;
}

static void test_is_bounded_by_count(void **state)
{
    struct requests *t;
    struct request_entry *e;
    assert_int_equal(requests_new(&t, 0, 3, 0, 1 << 20, 7), 0);
    assert_non_null(add(t, 10));
    assert_non_null(e = add(t, 10));
    assert_non_null(add(t, 10));
    assert_null(add(t, 10));
    requests_remove(t, e);
    assert_int_equal(requests_count(t), 2);
    assert_non_null(add(t, 10));
    requests_free(t);
}

static void test_is_bounded_by_bytes(void **state)
{
    struct requests *t;
    struct request_entry *e;
    assert_int_equal(requests_new(&t, 0, 100, 0, 40000, 7), 0);
    assert_null(add(t, 50000));
    assert_non_null(e = add(t, 20000));
    assert_null(add(t, 20000));
    requests_remove(t, e);
    assert_int_equal(requests_bytes(t), 0);
    assert_non_null(add(t, 20000));
    requests_free(t);
}

static void test_ids_say_whose_they_are(void **state)
{
    struct requests *t, *other;
    struct request_entry *e;
    assert_int_equal(requests_new(&t, 3, 3, 0, 1 << 20, 7), 0);
    assert_int_equal(requests_new(&other, 0, 3, 0, 1 << 20, 7), 0);
    assert_non_null(e = add(t, 10));
    assert_int_equal(request_broker(e->id), 3);
    assert_ptr_equal(requests_find(t, e->id), e);
    assert_int_equal(requests_when(t, e->id), REQUESTS_HERE);
    assert_null(requests_find(other, e->id));
    assert_int_equal(requests_when(other, e->id), REQUESTS_FOREIGN);
    requests_free(t);
    requests_free(other);
}

/* It has the input of the one that it repeats, and takes no place of another. */
static void test_shadows_take_no_place(void **state)
{
    struct requests *t;
    struct request_entry *e, *shadow;
    size_t bytes;
    assert_int_equal(requests_new(&t, 0, 1, 1, 100000, 7), 0);
    assert_non_null(e = add(t, 10000));
    bytes = requests_bytes(t);
    e->input.rank = 2;
    shadow = requests_shadow(t, e);
    assert_int_equal(shadow->original, e->id);
    assert_int_equal(shadow->input.rank, 2);
    assert_int_equal(zmq_msg_size(&shadow->payload), 10000);
    assert_ptr_equal(requests_first(t, REQUESTS_SHADOWS), shadow);
    assert_int_equal(requests_bytes(t), bytes);
    requests_remove(t, e);
    assert_int_equal(requests_bytes(t), bytes);
    assert_int_equal(requests_count(t), 0);
    assert_int_equal(requests_shadows(t), 1);
    assert_true(requests_roomy(t));
    assert_non_null(e = add(t, 60000));
    assert_false(requests_roomy(t));
    assert_null(add(t, 10));
    requests_remove(t, shadow);
    assert_int_equal(requests_shadows(t), 0);
    assert_int_equal(requests_count(t), 1);
    assert_null(add(t, 10));
    requests_free(t);
}

static void test_an_id_is_never_used_again(void **state)
{
    struct requests *t;
    uint64_t before = 0;
    assert_int_equal(requests_new(&t, 0, 2, 0, 1 << 20, UINT64_MAX), 0);
    for (int i = 0; i < 1000; i++) {
        struct request_entry *e = add(t, 1);
        assert_non_null(e);
        assert_true(e->id > before);
        assert_null(requests_find(t, before));
        assert_ptr_equal(requests_find(t, e->id), e);
        before = e->id;
        requests_remove(t, e);
    }
    assert_null(requests_find(t, 0));
    assert_null(requests_find(t, UINT64_MAX));
    requests_free(t);
}

/* Random adds, removals and new wake times, against a scan. */
static void test_wakes_in_order(void **state)
{
    enum { N = 50 };
    struct requests *t;
    srand(1);
    assert_int_equal(requests_new(&t, 0, N, 0, 1 << 24, 1), 0);
    for (int i = 0; i < 20000; i++) {
        struct request_entry *e = requests_slot(t, rand() % N);
        uint64_t least = UINT64_MAX;
        if (!e && (e = add(t, 1)))
            requests_wake_at(t, e, (uint64_t)rand() % 1000);
        else if (e && rand() % 3)
            requests_wake_at(t, e, (uint64_t)rand() % 1000);
        else if (e)
            requests_remove(t, e);
        for (int k = 0; k < N; k++)
            if ((e = requests_slot(t, k)) && e->wake_ns < least)
                least = e->wake_ns;
        assert_int_equal(requests_next_wake(t), least);
    }
    while (requests_count(t)) {
        struct request_entry *e = requests_due(t, 1000);
        assert_non_null(e);
        assert_int_equal(e->wake_ns, requests_next_wake(t));
        requests_remove(t, e);
    }
    assert_null(requests_due(t, UINT64_MAX));
    requests_free(t);
}

static void test_lists_are_first_come_first_served(void **state)
{
    struct requests *t;
    struct request_entry *e[4];
    assert_int_equal(requests_new(&t, 0, 4, 0, 1 << 20, 1), 0);
    for (int i = 0; i < 4; i++)
        requests_append(t, e[i] = add(t, 1), REQUESTS_WAITING);
    requests_unlist(t, e[1]);
    requests_unlist(t, e[1]); /* in none already */
    requests_remove(t, e[3]);
    assert_ptr_equal(requests_first(t, REQUESTS_WAITING), e[0]);
    assert_ptr_equal(requests_next(t, e[0]), e[2]);
    assert_null(requests_next(t, e[2]));
    requests_append(t, e[0], REQUESTS_WAITING);
    assert_ptr_equal(requests_first(t, REQUESTS_WAITING), e[2]);
    assert_ptr_equal(requests_next(t, e[2]), e[0]);
    requests_prepend(t, e[1], REQUESTS_WAITING);
    assert_ptr_equal(requests_first(t, REQUESTS_WAITING), e[1]);
    assert_ptr_equal(requests_next(t, e[1]), e[2]);
    assert_int_equal(requests_listed(t, REQUESTS_WAITING), 3);
    requests_append(t, e[2], REQUESTS_FIRST + 1); /* out of the one, into the other */
    assert_int_equal(requests_listed(t, REQUESTS_WAITING), 2);
    assert_ptr_equal(requests_next(t, e[1]), e[0]);
    assert_ptr_equal(requests_first(t, REQUESTS_FIRST + 1), e[2]);
    assert_null(requests_first(t, REQUESTS_FIRST));
    requests_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_bounded_by_count),
        cmocka_unit_test(test_is_bounded_by_bytes),
        cmocka_unit_test(test_ids_say_whose_they_are),
        cmocka_unit_test(test_shadows_take_no_place),
        cmocka_unit_test(test_an_id_is_never_used_again),
        cmocka_unit_test(test_wakes_in_order),
        cmocka_unit_test(test_lists_are_first_come_first_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
