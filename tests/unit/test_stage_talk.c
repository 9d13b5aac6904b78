/* test_stage_talk.c - a stage worker's talk with the broker, whose connection may be gone */
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "base/log.h"
#include "stages/brain/stage_talk.h"

static struct world {
    struct pipeline pipeline;
    struct stage_io io;
    struct message out, last; /* last: what was sent */
    struct stage_talk talk;
    uint64_t now;
    int n, rc;
} w;

static int send_control(void *arg, int broker, const struct message *m)
{
    (void)arg;
    (void)broker;
    if (w.rc)
        return w.rc;
    w.last = *m;
    w.n++;
    return FL_OK;
}

static uint32_t reaches(void *arg)
{
    (void)arg;
    return 1;
}

static uint64_t moment(void *arg)
{
    (void)arg;
    return w.now;
}

static int set_up(void **state)
{
    memset(&w, 0, sizeof w);
    log_threshold = LOG_LEVEL_ERROR + 1;
    w.now = NS_PER_S;
    w.pipeline.broker = (struct broker_config){.heartbeat_ms = 100, .dead_after_ms = 1000};
    w.io = (struct stage_io){.control = send_control, .reaches = reaches, .moment = moment};
    w.talk =
        (struct stage_talk){.pipeline = &w.pipeline, .io = &w.io, .out = &w.out, .n_next = 1, .n_lines = 1};
    return 0;
}

static void welcome(void)
{
    stage_talk_on_hello(&w.talk, 0, &(struct hello){.incarnation = 1, .ready = true});
}

static void tick(uint64_t ms)
{
    w.now += ms * NS_PER_MS;
    stage_talk_tick(&w.talk, w.now);
}

/* A worker takes its place while the broker is not reached: it says so as soon as it is. */
static void a_hello_that_can_not_be_sent_is_said_later(void **state)
{
    tick(0);
    welcome();
    w.rc = FL_AGAIN;
    w.talk.self.ready = true;
    stage_talk_hello(&w.talk, true);
    assert_int_equal(stage_talk_due(&w.talk, 0), UINT64_MAX);
    w.rc = FL_OK;
    tick(1);
    assert_int_equal(w.last.type, MESSAGE_HELLO);
    assert_true(w.last.hello.ready);
}

/* It may be lost with its connection: until the broker has answered it is said with each heartbeat. */
static void a_hello_is_said_until_it_is_answered(void **state)
{
    tick(0);
    assert_int_equal(w.n, 1 + 1);
    tick(100);
    assert_int_equal(w.n, 2 + 2);
    assert_int_equal(w.last.type, MESSAGE_HEARTBEAT);
    welcome();
    tick(100);
    assert_int_equal(w.n, 2 + 2 + 1);
    assert_int_equal(w.last.type, MESSAGE_HEARTBEAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_hello_that_can_not_be_sent_is_said_later, set_up),
        cmocka_unit_test_setup(a_hello_is_said_until_it_is_answered, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
