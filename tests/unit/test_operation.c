/* test_operation.c - what the supervisor does for an order, step by step, by a fake clock */
#include <stdio.h>
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "deploy/supervise/operation.h"

static struct role role[4];
static struct sight seen[4];
static struct operation op;
static uint64_t now;

static int setup(void **state)
{
    static const struct {
        enum role_kind kind;
        const char *name;
    } those[] = {{ROLE_KIND_BROKER, "broker"},
                 {ROLE_KIND_CACHE, "cache0"},
                 {ROLE_KIND_STAGE, "stage0.0"},
                 {ROLE_KIND_STAGE, "stage1.0"}};
    (void)state;
    memset(&op, 0, sizeof op);
    now = 1000 * NS_PER_S;
    for (int i = 0; i < 4; i++) {
        role[i] = (struct role){.kind = those[i].kind};
        snprintf(role[i].name, sizeof role[i].name, "%s", those[i].name);
        seen[i] = (struct sight){.role = &role[i], .running = true, .ready = true, .pid = 10 + i};
    }
    return 0;
}

static struct deed turn(void)
{
    return operation_turn(&op, seen, 4, now);
}

static void expect(enum act act, int child)
{
    struct deed d = turn();
    assert_int_equal(d.act, act);
    if (child >= 0)
        assert_int_equal(d.child, child);
}

static void a_stage_worker_ends_when_its_heir_waits(void **state)
{
    (void)state;
    operation_add(&op, STEP_RESTART, "stage0.0");
    expect(ACT_HEIR, 2);
    seen[2].heir = 99;
    expect(ACT_WAIT, -1);
    seen[2].heir_waits = true;
    expect(ACT_ASK, 2);
    expect(ACT_WAIT, -1);
    seen[2] = (struct sight){.role = &role[2], .running = true, .pid = 99};
    expect(ACT_WAIT, -1);
    seen[2].ready = true;
    expect(ACT_DONE, -1);
}

static void one_that_does_not_end_is_killed(void **state)
{
    (void)state;
    operation_add(&op, STEP_RESTART, "stage0.0");
    expect(ACT_HEIR, 2);
    seen[2].heir = 99;
    seen[2].heir_waits = true;
    expect(ACT_ASK, 2);
    now += 9 * NS_PER_S;
    expect(ACT_WAIT, -1);
    now += 2 * NS_PER_S;
    expect(ACT_KILL, 2);
    expect(ACT_WAIT, -1); /* once: it is still to be reaped */
    now += 11 * NS_PER_S;
    expect(ACT_KILL, 2);
}

static void others_end_before_they_start_again(void **state)
{
    (void)state;
    operation_add(&op, STEP_RESTART, "cache0");
    operation_add(&op, STEP_RESTART, "broker");
    expect(ACT_ASK, 1);
    expect(ACT_WAIT, -1);
    seen[1].running = seen[1].ready = false;
    expect(ACT_START, 1);
    seen[1].running = true;
    expect(ACT_WAIT, -1);
    assert_int_equal(op.at, 0);
    seen[1].ready = true;
    expect(ACT_ASK, 0);
    assert_int_equal(op.at, 1);
}

static void an_heir_that_dies_fails_it(void **state)
{
    struct deed d;
    (void)state;
    operation_add(&op, STEP_RESTART, "stage1.0");
    expect(ACT_HEIR, 3);
    seen[3].heir_lost = "ended with status 2";
    d = turn();
    assert_int_equal(d.act, ACT_FAIL);
    assert_string_equal(d.who, "stage1.0");
    assert_string_equal(d.text, "its successor ended with status 2 before it could take over");
}

static void all_stage_workers_are_replaced_together(void **state)
{
    (void)state;
    operation_add(&op, STEP_TOGETHER, "");
    expect(ACT_HEIR, 2);
    seen[2].heir = 98;
    expect(ACT_HEIR, 3);
    seen[3].heir = 99;
    expect(ACT_WAIT, -1);
    for (int i = 2; i < 4; i++)
        seen[i] = (struct sight){.role = &role[i], .running = true, .pid = 96 + i};
    expect(ACT_WAIT, -1);
    operation_call_off(&op); /* too late: they have taken over */
    expect(ACT_WAIT, -1);
    seen[2].ready = seen[3].ready = true;
    expect(ACT_DONE, -1);
}

/* One that the new file has beside the others is not there yet; its own step starts it. */
static void who_comes_anew_is_not_waited_for_together(void **state)
{
    (void)state;
    operation_add(&op, STEP_TOGETHER, "");
    operation_add(&op, STEP_START, "stage1.0");
    seen[3] = (struct sight){.role = &role[3], .held = true};
    expect(ACT_HEIR, 2);
    seen[2].heir = 98;
    expect(ACT_WAIT, -1);
    seen[2] = (struct sight){.role = &role[2], .running = true, .ready = true, .pid = 98};
    expect(ACT_START, 3);
    seen[3] = (struct sight){.role = &role[3], .running = true, .ready = true, .pid = 99};
    expect(ACT_DONE, -1);
}

/* It waited with the new plan before anybody asked for it, and has joined with the others' heirs. */
static void one_of_the_new_plan_makes_way_for_its_heir(void **state)
{
    (void)state;
    operation_add(&op, STEP_TOGETHER, "");
    seen[3].ready = false;
    expect(ACT_HEIR, 2);
    seen[2].heir = 98;
    expect(ACT_HEIR, 3);
    seen[3].heir = 99;
    expect(ACT_WAIT, -1);
    seen[2] = (struct sight){.role = &role[2], .running = true, .pid = 98, .ready = true};
    seen[3].ready = seen[3].heir_waits = true;
    expect(ACT_ASK, 3);
    expect(ACT_WAIT, -1);
    seen[3] = (struct sight){.role = &role[3], .running = true, .pid = 99, .ready = true};
    expect(ACT_DONE, -1);
}

static void what_is_called_off_stops_where_all_is_as_it_was(void **state)
{
    (void)state;
    operation_add(&op, STEP_RESTART, "cache0");
    operation_add(&op, STEP_RESTART, "stage0.0");
    expect(ACT_ASK, 1);
    operation_call_off(&op);
    expect(ACT_WAIT, -1);
    seen[1].running = seen[1].ready = false;
    expect(ACT_START, 1); /* what has ended is started again first */
    seen[1].running = seen[1].ready = true;
    expect(ACT_FAIL, -1);
}

static void processes_come_and_go(void **state)
{
    (void)state;
    operation_add(&op, STEP_END, "stage1.0");
    operation_add(&op, STEP_START, "stage0.0");
    seen[2].running = seen[2].ready = false;
    expect(ACT_ASK, 3);
    expect(ACT_WAIT, -1);
    seen[3].running = false;
    expect(ACT_FORGET, 3);
    assert_int_equal(operation_turn(&op, seen, 3, now).act, ACT_START);
    seen[2].running = seen[2].ready = true;
    assert_int_equal(operation_turn(&op, seen, 3, now).act, ACT_DONE);
}

static void one_that_does_not_become_ready_fails_it(void **state)
{
    (void)state;
    operation_add(&op, STEP_RESTART, "cache0");
    expect(ACT_ASK, 1);
    seen[1].running = seen[1].ready = false;
    expect(ACT_START, 1);
    expect(ACT_FAIL, -1); /* it has ended again */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_stage_worker_ends_when_its_heir_waits, setup),
        cmocka_unit_test_setup(one_that_does_not_end_is_killed, setup),
        cmocka_unit_test_setup(others_end_before_they_start_again, setup),
        cmocka_unit_test_setup(an_heir_that_dies_fails_it, setup),
        cmocka_unit_test_setup(all_stage_workers_are_replaced_together, setup),
        cmocka_unit_test_setup(who_comes_anew_is_not_waited_for_together, setup),
        cmocka_unit_test_setup(one_of_the_new_plan_makes_way_for_its_heir, setup),
        cmocka_unit_test_setup(what_is_called_off_stops_where_all_is_as_it_was, setup),
        cmocka_unit_test_setup(processes_come_and_go, setup),
        cmocka_unit_test_setup(one_that_does_not_become_ready_fails_it, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
