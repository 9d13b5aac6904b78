/* test_succession.c - stages of two plans never serve together; the pipeline moves on as a whole and loses
 * nothing */
#include "dispatch_world.h"

#define OLD 1 /* plans */
#define NEW 2

enum {
    FIRST = 100,
    REPLICA0 = 110,
    REPLICA1 = 111,
    LAST = 120,
    HEIR = 1000
}; /* incarnations; heirs: + HEIR */

static const char *endpoint; /* that hellos tell; NULL: none */

static void hello_of(struct fixture *f, uint32_t role, uint32_t stage, uint32_t replica, uint64_t who,
                     uint8_t plan, bool ready, bool leaving)
{
    static struct message m;
    m.type = MESSAGE_HELLO;
    m.hello = (struct hello){.role = role,
                             .stage = stage,
                             .replica = replica,
                             .incarnation = who,
                             .ready = ready,
                             .leaving = leaving,
                             .host = "h",
                             .boot_id = "B"};
    m.hello.model[0] = m.hello.identity[0] = m.hello.plan[0] = plan;
    snprintf(m.hello.endpoint, sizeof m.hello.endpoint, "%s", endpoint ? endpoint : "");
    say(f, who, &m);
    dispatch_tick(f->d, f->now);
}

static void joins(struct fixture *f, uint32_t stage, uint32_t replica, uint64_t who, uint8_t plan, bool ready)
{
    hello_of(f, ROLE_STAGE, stage, replica, who, plan, ready, false);
}

static void beats_of(struct fixture *f, uint64_t who, bool ready)
{
    beat_with(f, (struct heartbeat){.incarnation = who, .worker_ns = 1, .ready = ready});
    dispatch_tick(f->d, f->now);
}

static void beats(struct fixture *f, uint64_t who)
{
    beats_of(f, who, false);
}

static void answer(struct fixture *f, int job)
{
    result(f, &f->job[job], FL_OK, -1);
}

/* How often one was told a message; *last is the last one. */
static int told_last(const struct fixture *f, enum message_type type, uint64_t who, struct message *last)
{
    struct peer p = peer_named(who);
    for (int i = 0; i < f->n_control; i++)
        if (f->control[i].type == type && !memcmp(f->control_to[i].id, p.id, 8))
            *last = f->control[i];
    return told(f, type, who);
}

/* Three stages, two replicas of the middle one. */
static void all_of(struct fixture *f, uint64_t add, uint8_t plan, bool ready)
{
    joins(f, 0, 0, FIRST + add, plan, ready);
    joins(f, 1, 0, REPLICA0 + add, plan, ready);
    joins(f, 1, 1, REPLICA1 + add, plan, ready);
    joins(f, 2, 0, LAST + add, plan, ready);
}

static void beat_plan(struct fixture *f, uint64_t add, uint64_t but)
{
    static const uint64_t all[] = {FIRST, REPLICA0, REPLICA1, LAST};
    for (int i = 0; i < 4; i++)
        if (all[i] != but)
            beats(f, all[i] + add);
}

static const char *state_of(struct fixture *f, uint64_t who)
{
    static struct status_reply r;
    dispatch_status(f->d, &r, f->now);
    for (int i = 0; i < r.n_processes; i++)
        if (r.process[i].incarnation == who)
            return r.process[i].state;
    return "absent";
}

static bool ready(struct fixture *f)
{
    static struct status_reply r;
    dispatch_status(f->d, &r, f->now);
    return r.ready;
}

/* Requests that outlast what happens to workers. */
static int set_up(void **state)
{
    struct fixture *f;
    int rc = setup(state);
    endpoint = NULL;
    if (rc)
        return rc;
    f = *state;
    dispatch_free(f->d);
    f->pipeline.path = "P.yaml";
    f->pipeline.broker.deadline_ms = 60000;
    f->slow = 1;
    return begin(f);
}

static void one_of_another_plan_waits_and_gets_no_requests(void **state)
{
    struct fixture *f = *state;
    struct message m;
    joins(f, 0, 0, FIRST, OLD, true);
    joins(f, 1, 0, REPLICA0, NEW, true);
    joins(f, 1, 1, REPLICA1, OLD, true);
    joins(f, 2, 0, LAST, OLD, true);
    assert_int_equal(told_last(f, MESSAGE_HELLO, REPLICA0, &m), 1);
    assert_false(m.hello.ready);
    assert_int_equal(told_last(f, MESSAGE_HELLO, REPLICA1, &m), 1);
    assert_true(m.hello.ready);
    assert_string_equal(state_of(f, REPLICA0), "waiting");
    for (int i = 0; i < 4; i++) {
        ask(f, (uint64_t)i);
        assert_int_equal(f->n_jobs, i + 1);
        answer(f, i);
        assert_int_equal(f->job[i].route[1], 1);
        assert_true(f->job[i].plan == (uint64_t)OLD << 56); /* a stage of another plan would refuse it */
    }
    beats(f, REPLICA0);
    assert_int_equal(told_last(f, MESSAGE_HEARTBEAT, REPLICA0, &m), 1);
    assert_true(m.heartbeat.incarnation == REPLICA0);
    pass(f, 101);
    assert_string_equal(state_of(f, REPLICA0), "absent"); /* silent */
}

static void the_pipeline_moves_on_when_each_worker_has_a_successor(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    ask(f, 1);
    joins(f, 0, 0, FIRST + HEIR, NEW, false);
    joins(f, 1, 0, REPLICA0 + HEIR, NEW, false);
    joins(f, 2, 0, LAST + HEIR, NEW, false);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 2); /* one is missing */
    joins(f, 1, 1, REPLICA1 + HEIR, NEW, false);
    ask(f, 3);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(told(f, MESSAGE_DRAIN, FIRST), 0); /* two are under way */
    answer(f, 0);
    assert_string_equal(state_of(f, FIRST), "leaving");
    answer(f, 1);
    assert_true(told(f, MESSAGE_DRAIN, FIRST) && told(f, MESSAGE_DRAIN, REPLICA0) &&
                told(f, MESSAGE_DRAIN, REPLICA1) && told(f, MESSAGE_DRAIN, LAST));
    assert_string_equal(state_of(f, FIRST + HEIR), "starting");
    assert_int_equal(f->n_jobs, 2);
    beats(f, FIRST); /* one that is slow to go changes nothing */
    joins(f, 0, 0, FIRST, OLD, true);
    all_of(f, HEIR, NEW, true);
    assert_int_equal(f->n_jobs, 3);
    assert_true(f->job[2].plan == (uint64_t)NEW << 56);
    answer(f, 2);
    assert_int_equal(f->n_answers, 3);
    for (int i = 0; i < 3; i++)
        assert_true(f->answer[i].error == FL_OK && f->answer[i].attempts == 1);
}

static void successors_of_different_plans_are_none(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    all_of(f, HEIR, NEW, false);
    pass(f, 1);
    assert_string_equal(state_of(f, FIRST + HEIR), "starting");
    all_of(f, HEIR, NEW, true);
    joins(f, 0, 0, 5, 3, false);
    joins(f, 1, 0, 6, 3, false);
    joins(f, 1, 1, 7, 4, false);
    joins(f, 2, 0, 8, 3, false);
    assert_true(ready(f));
    ask(f, 1);
    assert_int_equal(f->n_jobs, 1);
}

/* The file was edited; one stage crashes and comes back with it. It must neither compute on what the others
 * made nor be missing for good. */
static void a_stage_that_can_only_come_back_with_another_plan_takes_all_along(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    ask(f, 1);
    joins(f, 2, 0, LAST + HEIR, NEW, true); /* it has the place: the one before is dead */
    pass(f, 1);
    assert_string_equal(state_of(f, LAST + HEIR), "waiting");
    assert_false(ready(f));
    assert_string_equal(state_of(f, LAST), "dead");
    for (int i = 0; i < 21; i++) {
        pass(f, 50);
        beat_plan(f, 0, LAST);
        beats(f, LAST + HEIR);
    }
    assert_true(told(f, MESSAGE_DRAIN, FIRST) && told(f, MESSAGE_DRAIN, REPLICA1));
    assert_string_equal(state_of(f, LAST + HEIR), "ready");
    all_of(f, HEIR, NEW, true);
    assert_true(ready(f));
    assert_int_equal(f->n_jobs, 2);
    assert_true(f->job[1].plan == (uint64_t)NEW << 56);
    answer(f, 1);
    assert_true(f->n_answers == 1 && f->answer[0].error == FL_OK);
}

/* Hosts whose files differ: whoever comes last must not chase the others away for ever. */
static void the_pipeline_moves_on_unasked_once_a_minute_at_most(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    joins(f, 2, 0, LAST + HEIR, NEW, true);
    for (int i = 0; i < 25; i++) {
        pass(f, 50);
        beat_plan(f, 0, LAST);
        beats(f, LAST + HEIR);
    }
    assert_string_equal(state_of(f, LAST + HEIR), "ready");
    joins(f, 0, 0, 7, OLD, true);
    for (int i = 0; i < 100; i++) {
        f->n_control = 0;
        pass(f, 50);
        beats(f, 7);
        beats(f, LAST + HEIR);
    }
    assert_string_equal(state_of(f, LAST + HEIR), "ready");
    assert_string_equal(state_of(f, 7), "waiting");
}

/* A broker that was started again hears of the odd one first. */
static void those_that_can_serve_every_stage_prevail(void **state)
{
    struct fixture *f = *state;
    joins(f, 1, 0, REPLICA0, NEW, true);
    joins(f, 0, 0, FIRST, OLD, true);
    joins(f, 1, 1, REPLICA1, OLD, true);
    assert_false(ready(f));
    joins(f, 2, 0, LAST, OLD, true);
    pass(f, 1);
    assert_true(ready(f));
    assert_true(told(f, MESSAGE_DRAIN, REPLICA0) > 0);
}

/* One came back with another file and waits; a reload starts its successor too. */
static void the_newest_waits_for_a_place_alone(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    joins(f, 1, 0, 500, NEW, true);
    joins(f, 1, 0, REPLICA0 + HEIR, NEW, false);
    assert_int_equal(told(f, MESSAGE_DRAIN, 500), 1);
    assert_string_equal(state_of(f, 500), "absent");
    joins(f, 1, 0, 500, NEW, true);
    beats(f, 500);
    assert_int_equal(told(f, MESSAGE_DRAIN, 500), 3);
    assert_string_equal(state_of(f, REPLICA0 + HEIR), "waiting");
}

static void one_that_waits_may_go(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    joins(f, 0, 0, FIRST + HEIR, NEW, false);
    hello_of(f, ROLE_STAGE, 0, 0, FIRST + HEIR, NEW, false, true);
    assert_string_equal(state_of(f, FIRST + HEIR), "absent");
    assert_int_equal(told(f, MESSAGE_DRAIN, FIRST + HEIR), 1);
    assert_true(ready(f));
}

/* A worker that no pipeline file has: who sends to it is told where it is, and it where those are to whom it
 * sends. */
static void workers_are_added(void **state)
{
    struct fixture *f = *state;
    struct message m;
    all_of(f, 0, OLD, true);
    joins(f, 1, 7, 70, OLD, true); /* it does not say where it is */
    assert_string_equal(state_of(f, 70), "absent");
    endpoint = "ipc:///seven";
    joins(f, 2, 1, 71, OLD, true);
    joins(f, 1, 7, 70, OLD, true);
    assert_string_equal(state_of(f, 70), "ready");
    assert_int_equal(told_last(f, MESSAGE_HELLO, FIRST, &m), 2); /* its welcome, and this */
    assert_true(m.hello.role == ROLE_STAGE && m.hello.stage == 1 && m.hello.replica == 7);
    assert_string_equal(m.hello.endpoint, "ipc:///seven");
    assert_int_equal(told_last(f, MESSAGE_HELLO, 70, &m), 2);
    assert_true(m.hello.role == ROLE_STAGE && m.hello.stage == 2 && m.hello.replica == 1);
    hello_of(f, ROLE_STAGE, 1, 7, 70, OLD, true, true);
    hello_of(f, ROLE_STAGE, 1, 7, 70, OLD, false, true);
    assert_string_equal(state_of(f, 70), "absent"); /* it has left as it was asked to: it is no dead one */
}

/* Of the same plan, it waits for the end of the holder of its place alone. */
static void a_successor_of_the_same_plan_waits_for_one_alone(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    joins(f, 0, 0, FIRST + HEIR, OLD, false);
    assert_string_equal(state_of(f, FIRST + HEIR), "waiting");
    assert_string_equal(state_of(f, FIRST), "ready");
    ask(f, 1);
    hello_of(f, ROLE_STAGE, 0, 0, FIRST, OLD, true, true); /* it is asked to end, and has one left */
    ask(f, 2);
    assert_int_equal(f->n_jobs, 1);
    answer(f, 0);
    assert_int_equal(told(f, MESSAGE_DRAIN, FIRST), 1);
    joins(f, 0, 0, FIRST, OLD, false);
    pass(f, 1);
    assert_string_equal(state_of(f, FIRST + HEIR), "starting");
    assert_int_equal(f->n_jobs, 1); /* the second waits */
    joins(f, 0, 0, FIRST + HEIR, OLD, true);
    assert_int_equal(f->n_jobs, 2);
    answer(f, 1);
    assert_true(f->n_answers == 2 && f->answer[1].error == FL_OK && f->answer[1].attempts == 1);
}

/* Even for all of them the pipeline does not move on at once. */
static void successors_of_the_same_plan_do_not_move_it_on(void **state)
{
    struct fixture *f = *state;
    all_of(f, 0, OLD, true);
    all_of(f, HEIR, OLD, false);
    pass(f, 1);
    assert_string_equal(state_of(f, FIRST), "ready");
    assert_string_equal(state_of(f, FIRST + HEIR), "waiting");
    assert_true(ready(f));
}

static void cache_services_hear_what_the_stages_are(void **state)
{
    struct fixture *f = *state;
    struct message m;
    hello_of(f, ROLE_CACHE, 0, 0, 200, OLD, true, false);
    assert_int_equal(told_last(f, MESSAGE_HELLO, 200, &m), 1);
    assert_int_equal(m.hello.identity[0], 0);
    all_of(f, 0, OLD, true);
    assert_int_equal(told_last(f, MESSAGE_HELLO, 200, &m), 2);
    assert_int_equal(m.hello.identity[0], OLD);
    all_of(f, HEIR, NEW, false);
    beats(f, 200);
    assert_int_equal(told_last(f, MESSAGE_HELLO, 200, &m), 3);
    assert_int_equal(m.hello.identity[0], NEW);
}

/* A broker that was restarted during a reload hears of the successors first: all stages that it knows have
 * one. Whom it did not know of has bound the endpoint that its successor waits for. */
static void who_has_the_endpoint_of_one_that_serves_is_sent_away(void **state)
{
    struct fixture *f = *state;
    joins(f, 0, 0, FIRST, OLD, true);
    all_of(f, HEIR, NEW, false);
    assert_int_equal(told(f, MESSAGE_DRAIN, FIRST), 1); /* moved on */
    joins(f, 2, 0, LAST, OLD, true);
    assert_int_equal(told(f, MESSAGE_DRAIN, LAST), 1);
    beats(f, LAST);
    assert_int_equal(told(f, MESSAGE_DRAIN, LAST), 2);
    all_of(f, HEIR, NEW, true);
    assert_true(ready(f));
    joins(f, 1, 0, REPLICA0, OLD, true); /* its place is held by one that is ready: it waits as usual */
    assert_int_equal(told(f, MESSAGE_DRAIN, REPLICA0), 0);
}

/* The same, told in the other order: the one that has the endpoint waits when its successor joins. */
static void who_waits_with_the_endpoint_of_one_that_joins_is_sent_away(void **state)
{
    struct fixture *f = *state;
    joins(f, 0, 0, FIRST + HEIR, NEW, true);
    joins(f, 2, 0, LAST, OLD, true);
    assert_int_equal(told(f, MESSAGE_DRAIN, LAST), 0);
    joins(f, 2, 0, LAST + HEIR, NEW, false);
    assert_int_equal(told(f, MESSAGE_DRAIN, LAST), 1);
    joins(f, 2, 0, LAST + HEIR, NEW, true);
    assert_string_equal(state_of(f, LAST + HEIR), "ready");
}

/* Everyone of the old plan was silent, one of the new plan came: who is heard again has to wait. */
static void who_was_silent_does_not_come_back_among_others(void **state)
{
    struct fixture *f = *state;
    struct message echo;
    joins(f, 0, 0, FIRST, OLD, true);
    joins(f, 2, 0, LAST, OLD, true);
    pass(f, 200);
    joins(f, 0, 0, FIRST + HEIR, NEW, true);
    beats(f, LAST);
    assert_string_equal(state_of(f, LAST), "dead");
    told_last(f, MESSAGE_HEARTBEAT, LAST, &echo);
    assert_int_equal(echo.heartbeat.incarnation, 0); /* say hello */
    joins(f, 2, 0, LAST, OLD, true);
    told_last(f, MESSAGE_HELLO, LAST, &echo);
    assert_false(echo.hello.ready); /* it waits */
}

/* An old hello came late: it seems to have left. Its next heartbeat has it say hello again. */
static void who_seems_to_have_left_says_hello_again(void **state)
{
    struct fixture *f = *state;
    struct message echo;
    joins(f, 0, 0, FIRST, OLD, true);
    joins(f, 0, 0, FIRST, OLD, false);
    assert_string_equal(state_of(f, FIRST), "dead");
    beats(f, FIRST);
    told_last(f, MESSAGE_HEARTBEAT, FIRST, &echo);
    assert_int_equal(echo.heartbeat.incarnation, 0);
    joins(f, 0, 0, FIRST, OLD, true);
    assert_string_equal(state_of(f, FIRST), "ready");
}

/* The hello that said so was lost with its connection, after the one before it was answered. */
static void who_is_ready_unheard_says_hello_again(void **state)
{
    static const uint64_t who[] = {FIRST, FIRST + HEIR}; /* one that serves, one that waits */
    struct fixture *f = *state;
    struct message echo;
    for (int i = 0; i < 2; i++) {
        joins(f, 0, 0, who[i], i ? NEW : OLD, false);
        f->n_control = 0;
        beats(f, who[i]);
        told_last(f, MESSAGE_HEARTBEAT, who[i], &echo);
        assert_true(echo.heartbeat.incarnation == who[i]);
        f->n_control = 0;
        beats_of(f, who[i], true);
        told_last(f, MESSAGE_HEARTBEAT, who[i], &echo);
        assert_int_equal(echo.heartbeat.incarnation, 0);
        joins(f, 0, 0, who[i], i ? NEW : OLD, true);
        f->n_control = 0;
        beats_of(f, who[i], true);
        told_last(f, MESSAGE_HEARTBEAT, who[i], &echo);
        assert_true(echo.heartbeat.incarnation == who[i]);
    }
}

/* It waited, not bound; then its predecessor died and it has the endpoint: its older hello counts no more. */
static void who_takes_a_place_waits_no_more(void **state)
{
    struct fixture *f = *state;
    joins(f, 0, 0, FIRST, OLD, true);
    joins(f, 0, 0, FIRST + HEIR, NEW, false);
    assert_string_equal(state_of(f, FIRST + HEIR), "waiting");
    joins(f, 0, 0, FIRST + HEIR, NEW, true);
    pass(f, 1);
    assert_string_equal(state_of(f, FIRST + HEIR), "ready");
}

/* A broker that was restarted has never seen a ready worker of the last stage, and who comes there waits. */
static void a_stage_that_was_never_there_moves_all_on(void **state)
{
    struct fixture *f = *state;
    joins(f, 0, 0, FIRST, OLD, true);
    joins(f, 2, 0, LAST + HEIR, NEW, true);
    for (int i = 0; i < 199; i++) {
        pass(f, 50);
        f->n_control = 0;
        beats(f, FIRST);
        beats(f, LAST + HEIR);
    }
    assert_int_equal(told(f, MESSAGE_DRAIN, FIRST), 0);
    for (int i = 0; i < 3; i++) {
        beats(f, FIRST);
        beats(f, LAST + HEIR);
        pass(f, 50);
    }
    assert_true(told(f, MESSAGE_DRAIN, FIRST) > 0);
    assert_string_equal(state_of(f, LAST + HEIR), "ready");
}

int main(void)
{
#define of_plans(f) cmocka_unit_test_setup_teardown(f, set_up, teardown)
    const struct CMUnitTest tests[] = {
        of_plans(who_has_the_endpoint_of_one_that_serves_is_sent_away),
        of_plans(who_waits_with_the_endpoint_of_one_that_joins_is_sent_away),
        of_plans(who_was_silent_does_not_come_back_among_others),
        of_plans(who_seems_to_have_left_says_hello_again),
        of_plans(who_is_ready_unheard_says_hello_again),
        of_plans(who_takes_a_place_waits_no_more),
        of_plans(a_stage_that_was_never_there_moves_all_on),
        of_plans(one_of_another_plan_waits_and_gets_no_requests),
        of_plans(the_pipeline_moves_on_when_each_worker_has_a_successor),
        of_plans(successors_of_different_plans_are_none),
        of_plans(a_stage_that_can_only_come_back_with_another_plan_takes_all_along),
        of_plans(the_pipeline_moves_on_unasked_once_a_minute_at_most),
        of_plans(those_that_can_serve_every_stage_prevail),
        of_plans(the_newest_waits_for_a_place_alone),
        of_plans(one_that_waits_may_go),
        of_plans(workers_are_added),
        of_plans(a_successor_of_the_same_plan_waits_for_one_alone),
        of_plans(successors_of_the_same_plan_do_not_move_it_on),
        of_plans(cache_services_hear_what_the_stages_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
