/* test_known_answers.c - answers that the broker knows, and requests that come again */
#include "dispatch_world.h"

static void keep_responses(struct fixture *f)
{
    dispatch_free(f->d);
    f->pipeline.broker.response_cache_mb = 1;
    assert_int_equal(begin(f), FL_OK);
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 130, true, 1);
}

static const struct answer *last_answer(const struct fixture *f)
{
    return &f->answer[f->n_answers - 1];
}

static void test_a_known_input_is_answered_at_once(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    result(f, &f->job[0], 0, -1);
    f->full = 1; /* whatever the pipeline does */
    ask(f, 2);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(last_answer(f)->id, 2);
    assert_int_equal(last_answer(f)->label, 3);
    assert_true(last_answer(f)->known);
    assert_int_equal(f->d->counters.known, 1);
    assert_int_equal(f->d->counters.answered, 2);
    assert_int_equal(requests_count(f->d->requests), 0);
    f->full = 0;
    f->input = 1;
    ask(f, 3); /* another input */
    assert_int_equal(f->n_jobs, 2);
    f->input = 0;
    ask_with(f, 4, 0, JOB_NO_CACHE); /* this one wants the full answer */
    ask_with(f, 5, 0, JOB_AUDIT);    /* and these are computed whatever is known */
    ask_with(f, 6, 0, JOB_TRACE);
    assert_int_equal(f->n_jobs, 5);
}

static void test_the_same_input_is_computed_once(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    for (uint64_t id = 1; id <= 3; id++)
        ask(f, id);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(dispatch_under_way(f->d), 1);
    result(f, &f->job[0], 0, -1);
    assert_int_equal(f->n_answers, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->answer[i].id, i + 1);
        assert_int_equal(f->answer[i].label, 3);
        assert_int_equal(f->answer[i].known, i > 0);
    }
    assert_int_equal(requests_count(f->d->requests), 0);
    assert_int_equal(requests_bytes(f->d->requests), 0);
    assert_int_equal(outstanding(f), 0);
}

static void be_second_of_two(struct fixture *f)
{
    dispatch_free(f->d);
    f->pipeline.broker.n_replicas = 2;
    assert_int_equal(begin(f), FL_OK);
    all_workers(f);
}

static void ask_keyed(struct fixture *f, uint64_t id, uint64_t key)
{
    ask_request(f, (struct request){.id = id, .key_low = key, .key_high = 7});
}

static void test_what_comes_again_is_not_computed_again(void **state)
{
    struct fixture *f = *state;
    const float scores[] = {0.25f, 0.75f};
    be_second_of_two(f);
    ask_keyed(f, 1, 11);
    ask_keyed(f, 1, 11); /* by another way: it is under way */
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(requests_count(f->d->requests), 1);
    result_with(f, &f->job[0], 0, -1, scores, 2);
    assert_int_equal(f->n_answers, 1);
    ask_keyed(f, 1, 11); /* its answer was lost */
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(last_answer(f)->id, 1);
    assert_int_equal(last_answer(f)->label, 3);
    assert_int_equal(last_answer(f)->scores.dim[0], 2);
    assert_true(last_answer(f)->known);
    assert_int_equal(f->d->counters.repeated, 2);
    assert_int_equal(f->d->counters.admitted, 1);
    assert_int_equal(f->d->counters.answered, 1);
    ask_keyed(f, 2, 12);
    ask(f, 3);
    ask(f, 3); /* without a key it is another one */
    assert_int_equal(f->n_jobs, 4);
}

static void test_errors_are_no_last_word(void **state)
{
    struct fixture *f = *state;
    be_second_of_two(f);
    ask_keyed(f, 1, 11);
    result(f, &f->job[0], FL_VALUE, -1);
    assert_int_equal(last_answer(f)->error, FL_VALUE);
    ask_keyed(f, 1, 11);
    assert_int_equal(f->n_jobs, 2);
}

static void test_work_of_other_brokers_counts(void **state)
{
    struct fixture *f = *state;
    struct message m = {.type = MESSAGE_HEARTBEAT};
    be_second_of_two(f);
    m.heartbeat = (struct heartbeat){.incarnation = 110, .others = 9, .brokers = 2};
    say(f, 110, &m);
    for (uint64_t id = 1; id <= 4; id++) {
        ask(f, id);
        assert_int_equal(f->job[f->n_jobs - 1].route[1], 1);
    }
}

static void test_a_failed_leader_has_an_heir(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask_with(f, 1, 50, 0);
    ask(f, 2);
    ask(f, 3);
    pass(f, 60);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].activation.dim[1], 4);
    result(f, &f->job[1], 0, -1);
    assert_int_equal(f->n_answers, 3);
    assert_int_equal(f->answer[1].error, FL_OK);
    assert_int_equal(f->answer[2].error, FL_OK);
    assert_int_equal(requests_bytes(f->d->requests), 0);
}

static void test_what_follows_has_its_own_deadline(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    ask_with(f, 2, 50, 0);
    pass(f, 60);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].id, 2);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    result(f, &f->job[0], 0, -1);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].id, 1);
    assert_int_equal(requests_count(f->d->requests), 0);
}

static void test_a_bad_input_is_bad_for_all(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    ask(f, 2);
    result(f, &f->job[0], FL_VALUE, -1);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[0].error, FL_VALUE);
    assert_int_equal(f->answer[1].error, FL_VALUE);
    ask(f, 3); /* nothing was kept */
    assert_int_equal(f->n_jobs, 2);
}

static void test_a_death_moves_the_leader_alone(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    ask(f, 1);
    ask(f, 2);
    hello(f, 0, 0, 101); /* in place of 100 */
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].request, f->job[0].request);
    result(f, &f->job[1], 0, -1);
    assert_int_equal(f->n_answers, 2);
}

static void tell_epoch(struct fixture *f, uint64_t epoch)
{
    struct message m = {.type = MESSAGE_HEARTBEAT, .heartbeat = {.incarnation = 130, .epoch = epoch}};
    say(f, 130, &m);
}

static void test_new_caches_answer_anew(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    ask(f, 1);
    result(f, &f->job[0], 0, 0);
    ask(f, 2);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(last_answer(f)->exit, 0);
    tell_epoch(f, 2);
    ask(f, 3); /* would they answer early, and what? */
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[1], 0, -1);
    tell_epoch(f, 3);
    ask(f, 4); /* the network says what it said */
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(last_answer(f)->id, 4);
    assert_int_equal(last_answer(f)->exit, -1);
}

/* Of the same epoch, of another build: its epochs begin anew. */
static void tell_near(struct fixture *f, uint32_t turns)
{
    struct message m = {.type = MESSAGE_HEARTBEAT,
                        .heartbeat = {.incarnation = 100, .epoch = 1, .exits = 1, .caches = turns}};
    say(f, 100, &m);
}

static void test_what_old_near_caches_said_counts_until_they_are_gone(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    f->slow = true; /* no other heartbeat */
    tell_near(f, 1);
    tell_epoch(f, 2);
    ask(f, 1); /* the service has new caches, the worker still uses the old ones */
    result(f, &f->job[0], 0, 0);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 1);
    tell_near(f, 2);
    ask(f, 3);
    assert_int_equal(f->n_jobs, 2);
}

/* What is under way was asked of caches that are not in use any more. */
static void test_nobody_follows_what_older_caches_may_answer(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    ask(f, 1);
    tell_epoch(f, 2);
    ask(f, 2);
    ask(f, 3);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[0], 0, 0);
    assert_int_equal(f->n_answers, 1); /* its own alone */
    result(f, &f->job[1], 0, 0);
    assert_int_equal(f->n_answers, 3);
    assert_int_equal(requests_count(f->d->requests), 0);
}

/* It came while others served, and waited. */
static void test_an_answer_is_kept_for_who_computed_it(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    f->full = 1;
    ask(f, 1);
    tell_epoch(f, 2);
    f->full = 0;
    pass(f, 1);
    result(f, &f->job[0], 0, 0);
    ask(f, 2);
    assert_true(last_answer(f)->known);
    tell_epoch(f, 1); /* rolled back */
    ask(f, 3);
    assert_int_equal(f->n_jobs, 2);
}

/* The first attempt answers after all, when a second one was sent to others. */
static void test_a_late_answer_is_not_kept(void **state)
{
    struct fixture *f = *state;
    keep_responses(f);
    tell_epoch(f, 1);
    ask(f, 1);
    tell_epoch(f, 2);
    hello(f, 0, 0, 101); /* in place of 100 */
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[0], 0, 0);
    assert_int_equal(f->n_answers, 1);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_what_comes_again_is_not_computed_again),
        test(test_errors_are_no_last_word),
        test(test_work_of_other_brokers_counts),
        test(test_a_known_input_is_answered_at_once),
        test(test_the_same_input_is_computed_once),
        test(test_a_failed_leader_has_an_heir),
        test(test_what_follows_has_its_own_deadline),
        test(test_a_bad_input_is_bad_for_all),
        test(test_a_death_moves_the_leader_alone),
        test(test_new_caches_answer_anew),
        test(test_what_old_near_caches_said_counts_until_they_are_gone),
        test(test_nobody_follows_what_older_caches_may_answer),
        test(test_an_answer_is_kept_for_who_computed_it),
        test(test_a_late_answer_is_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
