/* test_arena.c - buffers that live at the same time never overlap, and the block is not much larger than
 * needed */
#include <stdbool.h>
#include <string.h>

#include "tests/testing.h"
#include "stages/exec/arena.h"
#include "base/error.h"

#define MAX 60

static uint32_t seed;

static int draw(int n)
{
    seed = seed * 1664525u + 1013904223u;
    return (int)((seed >> 8) % (uint32_t)n);
}

/* The item that owns i's storage. */
static int owner(const struct arena_item *item, int i)
{
    while (item[i].takes >= 0)
        i = item[i].takes;
    return i;
}

static void check(const struct arena_item *item, int n, size_t total)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(item[i].offset % 64, 0);
        assert_true(item[i].bytes == 0 || item[i].offset + item[i].bytes <= total);
        if (item[i].takes >= 0)
            assert_int_equal(item[i].offset, item[item[i].takes].offset);
        for (int j = 0; j < i; j++) {
            bool together = item[i].first <= item[j].last && item[j].first <= item[i].last;
            bool apart = item[i].offset + item[i].bytes <= item[j].offset ||
                         item[j].offset + item[j].bytes <= item[i].offset;
            if (together && item[i].bytes && item[j].bytes && owner(item, i) != owner(item, j))
                assert_true(apart);
        }
    }
}

static void random_lives_never_overlap(void **state)
{
    for (int round = 0; round < 300; round++) {
        struct arena_item item[MAX];
        int n = 1 + draw(MAX);
        size_t total, sum = 0;
        seed = (uint32_t)round * 31 + 7;
        for (int i = 0; i < n; i++) {
            int first = i / 2, takes = -1;
            item[i] = (struct arena_item){(size_t)draw(5000), first, first + draw(6), -1, 0};
            for (int j = 0; j < i && !draw(3); j++)
                if (item[j].last == first && item[j].bytes >= item[i].bytes)
                    takes = j;
            for (int j = 0; j < i; j++)
                if (takes >= 0 && item[j].takes == takes)
                    takes = -1;
            item[i].takes = takes;
            sum += (item[i].bytes + 63) / 64 * 64;
        }
        assert_int_equal(arena_plan(item, n, &total), FL_OK);
        assert_true(total <= sum);
        check(item, n, total);
    }
}

static void a_chain_needs_two_places(void **state)
{
    struct arena_item item[20];
    size_t total;
    for (int i = 0; i < 20; i++)
        item[i] = (struct arena_item){1024, i, i + 1, -1, 0};
    assert_int_equal(arena_plan(item, 20, &total), FL_OK);
    assert_int_equal(total, 2048);
    check(item, 20, total);
}

static void takers_share_one_place(void **state)
{
    struct arena_item item[20];
    size_t total;
    for (int i = 0; i < 20; i++)
        item[i] = (struct arena_item){1024, i, i + 1, i - 1, 0};
    assert_int_equal(arena_plan(item, 20, &total), FL_OK);
    assert_int_equal(total, 1024);
}

static void nothing_needs_nothing(void **state)
{
    size_t total = 1;
    assert_int_equal(arena_plan(NULL, 0, &total), FL_OK);
    assert_int_equal(total, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_lives_never_overlap),
        cmocka_unit_test(a_chain_needs_two_places),
        cmocka_unit_test(takers_share_one_place),
        cmocka_unit_test(nothing_needs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
