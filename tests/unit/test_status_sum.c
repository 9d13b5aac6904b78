/* test_status_sum.c - what several brokers say, as if they were one */
#include <string.h>

#include "tests/testing.h"
#include "client/status_sum.h"

static struct status_reply one, other, sum;

static void add_worker(struct status_reply *s, uint64_t incarnation, const char *state, uint32_t outstanding)
{
    struct process_status *p = &s->process[s->n_processes++];
    p->role = ROLE_STAGE;
    p->incarnation = incarnation;
    p->outstanding = outstanding;
    strcpy(p->state, state);
}

static void counts_and_rates_are_added(void **state)
{
    memset(&sum, 0, sizeof sum);
    one = (struct status_reply){.started_ns = 5, .pid = 11, .brokers = 2, .answered = 3, .gap_ns = 1000};
    other = (struct status_reply){.started_ns = 9, .pid = 12, .broker = 1, .brokers = 2, .answered = 4};
    other.gap_ns = 1000;
    other.ready = true;
    other.n_exits = 2;
    other.exit[1].answered = 7;
    status_sum_add(&sum, &one);
    status_sum_add(&sum, &other);
    assert_int_equal(sum.answered, 7);
    assert_int_equal(sum.gap_ns, 500);
    assert_true(sum.ready);
    assert_int_equal(sum.n_exits, 2);
    assert_int_equal(sum.exit[1].answered, 7);
    assert_int_equal(sum.started_ns, 5);
    assert_int_equal(sum.n_processes, 2); /* the brokers themselves */
    assert_int_equal(sum.process[1].role, ROLE_BROKER);
    assert_int_equal(sum.process[1].replica, 1);
    assert_int_equal(sum.process[1].pid, 12);
}

static void relays_are_added_by_name(void **state)
{
    memset(&sum, 0, sizeof sum);
    one = (struct status_reply){.started_ns = 5, .n_relays = 1};
    one.relay[0] = (struct relay_status){.name = "new", .state = "ready", .sent = 3, .slower = 1};
    other = (struct status_reply){.started_ns = 9, .broker = 1, .n_relays = 2};
    other.relay[0] = (struct relay_status){.name = "x", .state = "away", .sent = 9};
    other.relay[1] = (struct relay_status){.name = "new", .state = "away", .sent = 4, .slower = 2};
    status_sum_add(&sum, &one);
    status_sum_add(&sum, &other);
    assert_int_equal(sum.n_relays, 2);
    assert_string_equal(sum.relay[0].name, "new");
    assert_string_equal(sum.relay[0].state, "away");
    assert_int_equal(sum.relay[0].sent, 7);
    assert_int_equal(sum.relay[0].slower, 3);
    assert_int_equal(sum.relay[1].sent, 9);
}

/* One broker may not hear a worker that the other one hears. */
static void a_worker_is_one_worker(void **state)
{
    memset(&sum, 0, sizeof sum);
    one = (struct status_reply){.started_ns = 5};
    other = (struct status_reply){.started_ns = 9, .broker = 1};
    add_worker(&one, 100, "dead", 1);
    add_worker(&one, 101, "ready", 2);
    add_worker(&other, 100, "ready", 4);
    add_worker(&other, 102, "waiting", 0);
    status_sum_add(&sum, &one);
    status_sum_add(&sum, &other);
    assert_int_equal(sum.n_processes, 2 + 3);
    assert_string_equal(sum.process[1].state, "ready");
    assert_int_equal(sum.process[1].outstanding, 5);
    assert_int_equal(sum.process[2].outstanding, 2);
    assert_string_equal(sum.process[4].state, "waiting");
}

static void what_has_no_room_is_left_out(void **state)
{
    memset(&sum, 0, sizeof sum);
    one = (struct status_reply){.started_ns = 5};
    other = (struct status_reply){.started_ns = 9, .broker = 1};
    for (uint64_t i = 0; i < STATUS_MAX_PROCESSES; i++)
        add_worker(i % 2 ? &one : &other, 100 + i, "ready", 0);
    status_sum_add(&sum, &one);
    status_sum_add(&sum, &other);
    assert_int_equal(sum.n_processes, STATUS_MAX_PROCESSES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_and_rates_are_added),
        cmocka_unit_test(relays_are_added_by_name),
        cmocka_unit_test(a_worker_is_one_worker),
        cmocka_unit_test(what_has_no_room_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
