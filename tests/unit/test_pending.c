/* test_pending.c - descriptors wait for outcomes within bounds of number, bytes and age */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "cache_service/service/pending.h"

#define DIM 8

struct got {
    int n;
    uint64_t request;
    int exits;  /* of the last, in their order: a digit each, that of the first exit first */
    int scores; /* whether it has the network's */
};

static void collect(void *arg, struct update *u, const struct pending_note *notes, int n)
{
    struct got *g = arg;
    g->n++;
    g->request = u->request;
    g->exits = 0;
    g->scores = u->n - n;
    for (int i = 0; i < n; i++) {
        assert_int_equal(u->exit[i].origin, u->request * 10 + (uint64_t)notes[i].exit);
        g->exits = g->exits * 10 + notes[i].exit + 1;
    }
    update_free(u);
}

static void add(struct pending *p, uint64_t request, int exit, uint64_t now)
{
    static const float x[DIM];
    struct update *u = update_new(1, &(uint32_t){DIM});
    assert_non_null(u);
    u->request = request;
    assert_int_equal(update_fill(u, 0, request * 10 + (uint64_t)exit, x), FL_OK);
    pending_add(p, u, (struct pending_note){.exit = exit}, now);
}

static struct pending *new_pending(int count, size_t bytes)
{
    struct pending *p;
    assert_int_equal(pending_new(&p, &(struct pending_limits){.count = count, .bytes = bytes, .age_ns = 100}),
                     FL_OK);
    return p;
}

static void all_exits_of_a_request_are_joined(void **state)
{
    struct pending *p = new_pending(16, 1 << 20);
    struct got g = {0};
    for (int exit = 2; exit >= 0; exit--)
        for (uint64_t request = 1; request <= 4; request++)
            add(p, request, exit, 0);
    assert_int_equal(pending_count(p), 12);
    assert_int_equal(pending_outcome(p, 3, NULL, 0, collect, &g), 3);
    assert_int_equal(g.n, 1);
    assert_int_equal(g.request, 3);
    assert_int_equal(g.exits, 123);
    assert_int_equal(pending_outcome(p, 3, NULL, 0, collect, &g), 0);
    assert_int_equal(pending_count(p), 9);
    pending_free(p);
}

/* They come last, under an origin of their own; such that are no numbers are left out. */
static void scores_of_the_network_go_along(void **state)
{
    const uint16_t scores[] = {0x3c00, 0xbc00, 0}, none[] = {0x7c00, 0, 0};
    struct pending *p = new_pending(16, 1 << 20);
    struct got g = {0};
    add(p, 1, 0, 0);
    add(p, 1, 1, 0);
    add(p, 2, 0, 0);
    pending_outcome(p, 1, scores, 3, collect, &g);
    assert_true(g.exits == 12 && g.scores == 1);
    pending_outcome(p, 2, none, 3, collect, &g);
    assert_true(g.exits == 1 && g.scores == 0);
    pending_free(p);
}

static void a_retry_replaces(void **state)
{
    struct pending *p = new_pending(4, 1 << 20);
    struct got g = {0};
    add(p, 1, 0, 0);
    add(p, 1, 0, 5);
    assert_int_equal(pending_count(p), 1);
    pending_outcome(p, 1, NULL, 0, collect, &g);
    assert_int_equal(g.n, 1);
    pending_free(p);
}

static void without_a_full_answer_nothing_is_learned(void **state)
{
    struct pending *p = new_pending(4, 1 << 20);
    struct got g = {0};
    add(p, 1, 0, 0);
    add(p, 1, 1, 0);
    assert_int_equal(pending_outcome(p, 1, NULL, 0, NULL, NULL), 2);
    assert_int_equal(g.n, 0);
    assert_int_equal(pending_count(p), 0);
    pending_free(p);
}

static void the_oldest_go_first(void **state)
{
    struct pending *p = new_pending(3, 1 << 20);
    struct got g = {0};
    for (uint64_t request = 1; request <= 5; request++)
        add(p, request, 0, request);
    assert_int_equal(pending_count(p), 3);
    assert_int_equal(pending_outcome(p, 2, NULL, 0, collect, &g), 0);
    assert_int_equal(pending_outcome(p, 3, NULL, 0, collect, &g), 1);
    pending_expire(p, 104);
    assert_int_equal(pending_count(p), 1);
    pending_expire(p, 105);
    assert_int_equal(pending_count(p), 0);
    pending_free(p);
}

static void bytes_are_bounded(void **state)
{
    size_t one = sizeof(struct update) + DIM * sizeof(uint16_t);
    struct pending *p = new_pending(100, 2 * one);
    struct pending *tiny = new_pending(100, one - 1);
    struct got g = {0};
    for (uint64_t request = 1; request <= 50; request++)
        add(p, request, 0, 0);
    assert_int_equal(pending_count(p), 2);
    add(p, 51, 0, 0);
    add(p, 51, 1, 0);
    add(p, 52, 0, 0); /* all of 51 goes: what is left of it would tell half */
    assert_int_equal(pending_outcome(p, 51, NULL, 0, collect, &g), 0);
    assert_int_equal(pending_outcome(p, 52, NULL, 0, collect, &g), 1);
    add(tiny, 1, 0, 0);
    assert_int_equal(pending_count(tiny), 0);
    pending_free(p);
    pending_free(tiny);
}

static void long_traffic_leaves_nothing(void **state)
{
    struct pending *p = new_pending(64, 1 << 20);
    struct got g = {0};
    srand(7);
    for (uint64_t t = 1; t < 20000; t++) {
        add(p, (uint64_t)(rand() % 200), rand() % 4, t);
        if (rand() % 3 == 0)
            pending_outcome(p, (uint64_t)(rand() % 200), NULL, 0, rand() % 2 ? collect : NULL, &g);
        if (rand() % 50 == 0)
            pending_expire(p, t);
        assert_true(pending_count(p) <= 64);
    }
    pending_expire(p, 1 << 20);
    assert_int_equal(pending_count(p), 0);
    pending_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_exits_of_a_request_are_joined),
        cmocka_unit_test(scores_of_the_network_go_along),
        cmocka_unit_test(a_retry_replaces),
        cmocka_unit_test(without_a_full_answer_nothing_is_learned),
        cmocka_unit_test(the_oldest_go_first),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(long_traffic_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
