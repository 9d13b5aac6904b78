/* test_failover.c - which broker is asked, and what is sent again */
#include <string.h>

#include "tests/testing.h"
#include "base/clock.h"
#include "client/failover.h"

static struct {
    struct failover *f;
    uint64_t now;
    bool gone[2], full;
    int requests[2], asked[2]; /* sent to each */
    struct request last;       /* the latest that was sent, and where */
    int to;
} w;

static int send_it(void *arg, int broker, const struct message *m, zmq_msg_t *payload)
{
    (void)arg;
    if (w.gone[broker] || w.full)
        return FL_AGAIN;
    if (m->type == MESSAGE_STATUS) {
        w.asked[broker]++;
        return FL_OK;
    }
    assert_int_equal(zmq_msg_size(payload), 3);
    zmq_msg_close(payload);
    w.requests[broker]++;
    w.last = m->request;
    w.to = broker;
    return FL_OK;
}

static bool connected(void *arg, int broker)
{
    (void)arg;
    return !w.gone[broker];
}

static int set_up(void **state)
{
    const struct failover_io io = {NULL, send_it, connected};
    memset(&w, 0, sizeof w);
    w.now = 1000 * NS_PER_S;
    return failover_new(&w.f, 2, 7, &io);
}

static int tear_down(void **state)
{
    failover_free(w.f);
    return 0;
}

static int submit(uint64_t id)
{
    struct request r = {.id = id, .deadline_ms = 5000, .sent_ns = w.now};
    zmq_msg_t payload;
    int rc;
    zmq_msg_init_size(&payload, 3);
    rc = failover_submit(w.f, &r, &payload, 5000 * NS_PER_MS, w.now);
    zmq_msg_close(&payload);
    return rc;
}

static bool answer(int broker, uint64_t id, uint32_t error)
{
    failover_heard(w.f, broker, w.now);
    return failover_answer(w.f, broker, &(struct answer){.id = id, .error = error}, w.now);
}

/* So long, tick by tick. `speaks`: a broker says something all the time. */
static void pass(int ms, int speaks)
{
    for (int i = 0; i < ms; i++) {
        w.now += NS_PER_MS;
        if (speaks >= 0)
            failover_heard(w.f, speaks, w.now);
        failover_tick(w.f, w.now);
    }
}

static void all_goes_to_one_broker(void **state)
{
    int home;
    assert_int_equal(submit(1), FL_OK);
    home = w.to;
    for (uint64_t id = 2; id < 20; id++)
        submit(id);
    assert_int_equal(w.requests[home], 19);
    assert_true(w.last.key_low && w.last.key_high);
    assert_true(answer(home, 1, FL_OK));
    assert_false(answer(home, 1, FL_OK)); /* once */
    assert_false(answer(home, 99, FL_OK));
    assert_true(answer(home, 2, FL_OVERLOADED)); /* an answer, too: load is no reason to ask the other */
    assert_int_equal(failover_unanswered(w.f), 17);
    assert_int_equal(w.requests[0] + w.requests[1], 19); /* none again */
}

/* It goes down and comes back as another process: what it had is asked of that one, again and again. */
static void an_only_broker_is_waited_for(void **state)
{
    const struct failover_io io = {NULL, send_it, connected};
    struct answer down = {.id = 1, .error = FL_UNAVAILABLE, .retry_after_ms = 500};
    failover_free(w.f);
    assert_int_equal(failover_new(&w.f, 1, 7, &io), FL_OK);
    submit(1);
    submit(2);
    submit(3);
    for (int times = 1; times <= 3; times++) {
        assert_false(failover_answer(w.f, 0, &down, w.now)); /* two of them it has not even read */
        w.gone[0] = true;
        pass(100, -1);
        w.gone[0] = false;
        pass(900, -1);
        assert_int_equal(w.requests[0], 3 + 3 * times);
        w.now += 100;
        failover_heard(w.f, 0, w.now);
        if (times == 1)
            w.now += NS_PER_MS;
    }
    assert_true(answer(0, 2, FL_OK));
    down.id = 3;
    down.error = FL_OVERLOADED; /* that is its answer: nobody else's requests are to blame */
    assert_true(failover_answer(w.f, 0, &down, w.now));
    down = (struct answer){.id = 1, .error = FL_UNAVAILABLE}; /* the pipeline is going down for good */
    assert_true(failover_answer(w.f, 0, &down, w.now));
}

static void what_a_broker_takes_along_is_sent_to_the_next(void **state)
{
    struct request first;
    int home, other;
    submit(1);
    first = w.last;
    home = w.to, other = !home;
    submit(2);
    pass(1000, home);
    w.gone[home] = true;
    pass(60, -1);
    assert_int_equal(w.requests[other], 2);
    assert_int_equal(w.last.key_low, w.last.id);
    assert_int_equal(w.last.key_high, first.key_high);
    assert_in_range(w.last.deadline_ms, 3900, 4000);
    submit(3);
    assert_int_equal(w.to, other);
    assert_true(answer(home, 1, FL_OK)); /* it had left already: the first one counts */
    assert_false(answer(other, 1, FL_OK));
    assert_true(answer(other, 2, FL_OK));
    w.gone[home] = false;
    pass(2000, other);
    submit(4); /* and home again */
    assert_int_equal(w.to, home);
}

static void a_silent_broker_is_asked_and_then_left(void **state)
{
    int home;
    submit(1);
    home = w.to;
    pass(250, -1);
    assert_int_equal(w.asked[home], 1);
    pass(100, home); /* it replies: it has much to do */
    assert_int_equal(w.requests[!home], 0);
    pass(700, -1);
    assert_int_equal(w.asked[home], 2);
    assert_int_equal(w.requests[!home], 1);
    assert_true(answer(!home, 1, FL_OK));
}

/* One that was started again knows nothing of what the one before had. */
static void a_broker_that_was_started_again_is_asked_again(void **state)
{
    int home;
    submit(1);
    home = w.to;
    failover_started(w.f, home, 5, w.now);
    failover_tick(w.f, w.now);
    assert_int_equal(w.requests[0] + w.requests[1], 1);
    failover_started(w.f, home, 6, w.now);
    pass(30, home);
    assert_int_equal(w.requests[0] + w.requests[1], 2);
}

static void what_may_be_lost_is_sent_again(void **state)
{
    int home;
    submit(1);
    home = w.to;
    pass(2400, home);
    assert_int_equal(w.requests[0] + w.requests[1], 1);
    pass(200, home);
    assert_int_equal(w.requests[0] + w.requests[1], 2);
    pass(2000, home); /* not for ever */
    assert_in_range(w.requests[0] + w.requests[1], 2, 4);
}

static void who_cannot_serve_is_not_the_last_word(void **state)
{
    int home;
    submit(1);
    home = w.to;
    assert_false(answer(home, 1, FL_UNAVAILABLE));
    pass(30, -1);
    assert_int_equal(w.to, !home);
    assert_true(answer(!home, 1, FL_UNAVAILABLE)); /* nor can the other */
    submit(2);
    w.gone[!home] = true;
    failover_tick(w.f, w.now);
    assert_true(answer(home, 2, FL_UNAVAILABLE)); /* there is no other */
}

/* All that a lost broker had comes to the next at once, which has no room for what comes then, either. */
static void what_was_lost_waits_until_there_is_room(void **state)
{
    struct answer full = {.id = 1, .error = FL_OVERLOADED, .retry_after_ms = 300}, over;
    int home, other;
    submit(1);
    submit(2);
    home = w.to, other = !home;
    w.gone[home] = true;
    pass(60, -1);
    assert_int_equal(w.requests[other], 2);
    submit(3);
    assert_int_equal(w.to, other);
    full.id = 3;
    assert_false(failover_answer(w.f, other, &full, w.now));
    assert_true(failover_cancel(w.f, 3, w.now));
    pass(300, other);
    assert_true(failover_expired(w.f, w.now, &over));
    full.id = 1;
    for (int i = 0; i < 4; i++) {
        assert_false(failover_answer(w.f, other, &full, w.now));
        pass(290, other);
        assert_int_equal(w.requests[other], 3 + i);
        pass(50, other);
        assert_int_equal(w.requests[other], 4 + i);
        assert_int_equal(w.last.id, 1);
    }
    assert_true(failover_answer(w.f, other, &full, w.now)); /* often enough */
    full = (struct answer){.id = 2, .error = FL_OVERLOADED, .retry_after_ms = 60000};
    assert_true(failover_answer(w.f, other, &full, w.now)); /* its deadline comes before */
    assert_int_equal(failover_unanswered(w.f), 0);
}

static void each_request_ends(void **state)
{
    struct answer a;
    submit(1);
    w.gone[0] = w.gone[1] = true;
    submit(2);
    assert_int_equal(w.requests[0] + w.requests[1], 1);
    pass(4900, -1);
    assert_false(failover_expired(w.f, w.now, &a));
    pass(400, -1);
    assert_true(failover_expired(w.f, w.now, &a));
    assert_int_equal(a.error, FL_DEADLINE);
    assert_true(failover_expired(w.f, w.now, &a));
    assert_false(failover_expired(w.f, w.now, &a));
    assert_int_equal(failover_unanswered(w.f), 0);
    assert_int_equal(failover_tick(w.f, w.now), UINT64_MAX);
}

static void what_is_sent_again_is_bounded(void **state)
{
    for (uint64_t id = 1; id <= FAILOVER_MOST; id++)
        assert_int_equal(submit(id), FL_OK);
    assert_int_equal(submit(FAILOVER_MOST + 1), FL_AGAIN);
    for (int i = 0; i < 3; i++) { /* both fail in turn */
        w.gone[i % 2] = true;
        w.gone[!(i % 2)] = false;
        pass(1100, -1);
    }
    assert_in_range(w.requests[0] + w.requests[1], 2 * FAILOVER_MOST - 1, 2 * FAILOVER_MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_goes_to_one_broker, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_only_broker_is_waited_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_broker_takes_along_is_sent_to_the_next, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_silent_broker_is_asked_and_then_left, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broker_that_was_started_again_is_asked_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_may_be_lost_is_sent_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_cannot_serve_is_not_the_last_word, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_lost_waits_until_there_is_room, set_up, tear_down),
        cmocka_unit_test_setup_teardown(each_request_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_sent_again_is_bounded, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
