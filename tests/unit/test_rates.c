/* test_rates.c - each client gets its rate and no more, whatever the others do, in a table that is full */
#include "tests/testing.h"
#include "base/clock.h"
#include "broker/state/rates.h"
#include "numbers/shuffle.h"

static struct rates r;

static int taken(uint32_t who, int asked, uint64_t from, uint64_t gap_ns)
{
    int n = 0;
    for (int i = 0; i < asked; i++)
        n += !rates_take(&r, who, from + (uint64_t)i * gap_ns);
    return n;
}

static void none_is_held_up_where_there_is_no_rate(void **state)
{
    rates_init(&r, 0);
    assert_int_equal(taken(1, 1000, 5, 0), 1000);
}

/* A second's worth at once, then by the rate; and as many again after a second of silence. */
static void the_rate_holds_after_a_burst(void **state)
{
    rates_init(&r, 50);
    assert_int_equal(taken(1, 200, NS_PER_S, 0), 50);
    assert_in_range(taken(1, 10000, NS_PER_S, NS_PER_MS), 499, 501);
    assert_int_equal(taken(1, 200, 12 * NS_PER_S, 0), 50);
    assert_int_equal(taken(2, 200, 12 * NS_PER_S, 0), 50); /* another has lost nothing */
}

/* Who asks again when it was told to is served. */
static void the_hint_is_right(void **state)
{
    uint64_t now = NS_PER_S;
    for (double per_s = 0.01; per_s < 3000; per_s *= 3) {
        uint32_t ms;
        rates_init(&r, per_s);
        while (!(ms = rates_take(&r, 7, now)))
            continue;
        assert_true(ms <= 1 + 1000 / per_s);
        assert_int_equal(rates_take(&r, 7, now + ms * NS_PER_MS), 0);
    }
}

/* Many more clients than places: nobody gets more than its rate as long as its row is not full of busier
 * ones, and a busy one keeps its place. */
static void a_full_table_forgets_who_has_the_most_left(void **state)
{
    struct shuffle s;
    int busy = 0;
    shuffle_seed(&s, 3, 1);
    rates_init(&r, 10);
    for (int ms = 0; ms < 10000; ms++) {
        uint64_t now = NS_PER_S + (uint64_t)ms * NS_PER_MS;
        busy += !rates_take(&r, 42, now);
        for (int k = 0; k < 3; k++)
            rates_take(&r, 1000 + shuffle_u32(&s) % 1000000, now);
    }
    assert_in_range(busy, 100, 110);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_held_up_where_there_is_no_rate),
        cmocka_unit_test(the_rate_holds_after_a_burst),
        cmocka_unit_test(the_hint_is_right),
        cmocka_unit_test(a_full_table_forgets_who_has_the_most_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
