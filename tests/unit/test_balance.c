/* test_balance.c - a stage that others wait for while cores idle is found, and nothing else is */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "deploy/observe/balance.h"
#include "stages/brain/stage_load.h"

static struct status_reply reply;
static char text[600];

static void add(int stage, int busy, int waiting, int idle)
{
    struct process_status *p = &reply.process[reply.n_processes++];
    *p = (struct process_status){
        .role = ROLE_STAGE,
        .stage = (uint32_t)stage,
        .state = "ready",
        .last = {.busy = (uint32_t)busy, .waiting = (uint32_t)waiting, .idle = (uint32_t)idle}};
}

static struct balance look(void)
{
    struct balance b;
    balance_look(&b, &reply);
    balance_text(&b, "p.yaml", text, sizeof text);
    return b;
}

static int begin(void **state)
{
    memset(&reply, 0, sizeof reply);
    return 0;
}

static void test_a_slow_stage_beside_an_idle_core_is_a_fault_of_the_plan(void **state)
{
    struct balance b;
    add(0, 400, 100, 900);
    add(1, 990, 5200, 900);
    add(2, 300, 0, 900);
    b = look();
    assert_int_equal(b.stage, 1);
    assert_int_equal(b.least, 2);
    assert_string_equal(
        text, "the others wait for stage 1: it computes 99% of the time and 5.2 requests wait for it, "
              "while 0.9 cores idle and stage 2 computes 30%: `freezeline plan -c p.yaml --apply` "
              "cuts by what is measured");
}

static void test_where_no_cut_helps_it_says_what_does(void **state)
{
    add(0, 950, 4000, 1800);
    add(1, 900, 1200, 1800);
    assert_int_equal(look().stage, 0);
    assert_non_null(strstr(text, "give it more replicas (`freezeline plan -c p.yaml --cores N`)"));
}

static void test_all_is_well(void **state)
{
    add(0, 980, 5000, 300); /* no core idles: it cannot go faster */
    add(1, 400, 0, 300);
    assert_int_equal(look().stage, -1);
    assert_string_equal(text, "");
    reply.process[0].last =
        (struct heartbeat){.busy = 990, .waiting = 600, .idle = 1000}; /* hardly a queue */
    assert_int_equal(look().stage, -1);
    reply.process[0].last =
        (struct heartbeat){.busy = 700, .waiting = 6000, .idle = 1000}; /* it waits itself */
    assert_int_equal(look().stage, -1);
    reply.process[0].last.busy = 990;
    strcpy(reply.process[0].state, "dead");
    assert_int_equal(look().stage, -1);
    strcpy(reply.process[0].state, "ready");
    reply.process[0].role = ROLE_CACHE;
    reply.process[0].stage = UINT32_MAX;
    assert_int_equal(look().stage, -1);
}

static void test_replicas_share_the_work(void **state)
{
    add(0, 990, 4000, 1000);
    add(0, 500, 0, 1000); /* the next request goes there */
    add(1, 300, 0, 1000);
    assert_int_equal(look().stage, -1);
    reply.process[1].last.busy = 980;
    assert_int_equal(look().stage, 0);
}

/* What the heartbeat tells of two seconds, in thousandths. */
static void test_windows_of_load(void **state)
{
    struct stage_load l = {0};
    struct heartbeat h = {0};
    uint64_t now = 100 * NS_PER_S, ms = NS_PER_MS;
    assert_true(stage_load_due(&l, now));
    stage_load_tell(&l, 7000 * ms, now, &h); /* nothing is known before the first window */
    assert_int_equal(h.busy + h.waiting + h.idle, 0);
    stage_load_begin(&l, now);
    stage_load_end(&l, now + 500 * ms);
    stage_load_waited(&l, 3000 * ms);
    stage_load_begin(&l, now + 1500 * ms);
    assert_false(stage_load_due(&l, now + 1999 * ms));
    assert_true(stage_load_due(&l, now + 2000 * ms));
    stage_load_tell(&l, 9500 * ms, now + 2000 * ms, &h);
    assert_int_equal(h.busy, 500);
    assert_int_equal(h.waiting, 1500);
    assert_int_equal(h.idle, 1250);
    stage_load_end(&l, now + 3000 * ms);                 /* the batch began in the window before */
    stage_load_tell(&l, 9000 * ms, now + 4000 * ms, &h); /* a clock that goes backwards is none */
    assert_int_equal(h.busy, 500);
    assert_int_equal(h.waiting, 0);
    assert_int_equal(h.idle, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_slow_stage_beside_an_idle_core_is_a_fault_of_the_plan, begin),
        cmocka_unit_test_setup(test_where_no_cut_helps_it_says_what_does, begin),
        cmocka_unit_test_setup(test_all_is_well, begin),
        cmocka_unit_test_setup(test_replicas_share_the_work, begin),
        cmocka_unit_test(test_windows_of_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
