/* test_dispatch.c - a request's way through the broker: admitted, sent, answered, tried again, cancelled */
#include "dispatch_world.h"

static void ask_sent(struct fixture *f, uint64_t id, uint64_t sent_ns, uint64_t clock)
{
    ask_request(f, (struct request){.id = id, .deadline_ms = 50, .sent_ns = sent_ns, .clock = clock});
}

static void test_a_request_is_sent_and_answered_once(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 42);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->job[0].attempt, 1);
    assert_int_equal(f->job[0].n_route, 3);
    assert_int_equal(outstanding(f), 3);
    f->now += 5 * MS;
    result(f, &f->job[0], FL_OK, -1);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].id, 42);
    assert_int_equal(f->answer[0].label, 3);
    assert_int_equal(f->answer[0].total_ns, 5 * MS);
    assert_int_equal(f->d->counters.duplicates, 1);
    assert_int_equal(outstanding(f), 0);
}

static void test_too_many_are_told_at_once(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    for (int i = 0; i < 9; i++)
        ask(f, (uint64_t)i);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_OVERLOADED);
    assert_int_equal(f->answer[0].id, 8);
    assert_int_equal(f->d->counters.overloaded, 1);
    assert_int_equal(f->d->counters.refused_full, 1);
}

static void test_the_deadline_is_kept(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask_with(f, 1, 50, 0);
    pass(f, 49);
    assert_int_equal(f->n_answers, 0);
    pass(f, 1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->d->counters.expired, 1);
    assert_int_equal(requests_count(f->d->requests), 0);
}

/* A broker that was kept from its clock meets the answer first: late is late. */
static void test_an_answer_after_the_deadline_is_none(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask_with(f, 1, 50, 0);
    f->now += 50 * MS;
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    assert_int_equal(f->d->counters.answered, 0);
}

/* Time in the sockets counts where the client's clock is the broker's. */
static void test_the_deadline_counts_from_when_it_was_sent(void **state)
{
    struct fixture *f = *state;
    uint64_t here = clock_id("B");
    all_workers(f);
    ask_sent(f, 1, f->now - 20 * MS, here);
    assert_int_equal(f->job[0].deadline_ns, f->now + 30 * MS);
    ask_sent(f, 2, f->now - 20 * MS, here + 1); /* another host's */
    assert_int_equal(f->job[1].deadline_ns, f->now + 50 * MS);
    ask_sent(f, 3, f->now - 20 * MS, 0);
    assert_int_equal(f->job[2].deadline_ns, f->now + 50 * MS);
    ask_sent(f, 4, f->now + 20 * MS, here); /* nobody gets more time by lying */
    assert_int_equal(f->job[3].deadline_ns, f->now + 50 * MS);
    ask_sent(f, 5, f->now - 51 * MS, here); /* too late already */
    assert_int_equal(f->n_jobs, 4);
    assert_int_equal(f->answer[0].error, FL_DEADLINE);
    assert_true(f->answer[0].retry_after_ms >= 1);
}

static void test_an_overlong_deadline_is_cut(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask_with(f, 1, UINT32_MAX, 0);
    assert_int_equal(f->job[0].deadline_ns, f->now + 10000 * MS);
}

static void test_a_lost_attempt_is_repeated(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    for (int i = 0; i < 34; i++) {
        pass(f, 10);
        beat_all(f, 0);
    }
    assert_int_equal(f->n_jobs, 2);
    assert_int_not_equal(f->job[1].route[1], f->job[0].route[1]);
}

/* Whoever has no key is not held up. */
static void test_a_client_asks_no_faster_than_its_rate(void **state)
{
    struct fixture *f = *state;
    struct peer guest = peer_named(1);
    struct message m = {.type = MESSAGE_REQUEST};
    zmq_msg_t payload;

    rates_init(&f->d->rates, 2);
    guest.guest = 7;
    m.request.input = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 4}};
    for (int i = 0; i < 3; i++) {
        zmq_msg_init_size(&payload, 16);
        dispatch_client(f->d, &guest, &m, &payload, f->now);
        zmq_msg_close(&payload);
    }
    assert_int_equal(f->n_answers, 1); /* the third is told when to come again */
    assert_int_equal(f->answer[0].error, FL_OVERLOADED);
    assert_in_range(f->answer[0].retry_after_ms, 400, 501);
}

static void test_time_outs_do_not_feed_an_overload(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    f->d->retry_tokens = 2;
    for (uint64_t i = 0; i < 8; i++)
        ask(f, i);
    for (int i = 0; i < 90; i++) {
        pass(f, 10);
        beat_all(f, 0);
    }
    assert_in_range(f->n_jobs, 9, 10);
}

static void test_retries_end(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(f->n_jobs, i + 1);
        result(f, &f->job[i], FL_NOMEM, -1);
        if (i < 2)
            assert_int_equal(f->n_jobs, i + 1); /* not at once */
        for (int k = 0; k < 4; k++) {
            beat_all(f, 0);
            pass(f, 30);
        }
    }
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_NOMEM);
    assert_int_equal(f->answer[0].attempts, 3);
}

static void test_bad_input_is_not_repeated(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    result(f, &f->job[0], FL_VALUE, -1);
    pass(f, 500);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->answer[0].error, FL_VALUE);
}

static void test_failures_of_old_attempts_are_ignored(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    result(f, &f->job[0], FL_NOMEM, -1);
    pass(f, 60);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[0], FL_UNAVAILABLE, -1);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(f->n_answers, 1);
}

static void test_waits_while_stage_0_is_full(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    f->full = 1;
    ask(f, 1);
    ask(f, 2);
    assert_true(dispatch_blocked(f->d));
    assert_int_equal(f->n_jobs, 0);
    f->full = 0;
    pass(f, 1);
    assert_false(dispatch_blocked(f->d));
    assert_int_equal(f->n_jobs, 2);
    assert_true(f->job[0].request < f->job[1].request);
}

/* Whatever its socket would hold: what does not wait there can still be refused, and goes another way at no
 * cost. */
static void test_stage_0_has_two_batches_at_most(void **state)
{
    struct fixture *f = *state;
    f->pipeline.stage[0].max_batch = 2;
    f->slow = 1;
    all_workers(f);
    f->n_control = 0;
    f->d->admission.work_ns[0] = 1; /* so quick that time bounds nothing */
    for (uint64_t i = 0; i < 8; i++)
        ask(f, i);
    assert_int_equal(f->n_jobs, 4);
    assert_false(dispatch_blocked(f->d)); /* the socket had room */
    assert_int_equal(f->job[1].flags, 0);
    assert_int_equal(f->job[2].flags, JOB_TELL); /* more than the batch in hand: to be told of */
    tell_taken(f, 100, &f->job[1], 2);
    assert_int_equal(f->n_jobs, 6); /* those before it were taken too */
    assert_int_equal(told(f, MESSAGE_HEARTBEAT, 100), 0);
    result(f, &f->job[2], FL_OK, -1); /* as good as being told */
    assert_int_equal(f->n_jobs, 7);
    tell_taken(f, 110, &f->job[6], 2); /* of another stage: means nothing */
    assert_int_equal(f->n_jobs, 7);
    tell_taken(f, 100, &f->job[2], 1); /* long gone; and it takes but one at a time */
    result(f, &f->job[3], FL_OK, -1);
    assert_int_equal(f->n_jobs, 7);
    result(f, &f->job[4], FL_OK, -1);
    result(f, &f->job[5], FL_OK, -1);
    assert_int_equal(f->n_jobs, 8);
}

static void test_hits_cancel_what_is_behind(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1); /* no patience: the stage had the verdict too late */
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(f->answer[0].exit, 0);
    assert_int_equal(f->d->counters.hits, 1);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 0);
    assert_int_equal(told(f, MESSAGE_CANCEL, 110) + told(f, MESSAGE_CANCEL, 111), 1);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 1);
}

static void cancel(struct fixture *f, uint64_t who, uint64_t first, uint64_t second)
{
    struct message m = {.type = MESSAGE_CANCEL};
    struct peer p = peer_named(who);
    m.cancel = (struct cancel){.n = 2, .request = {first, second}};
    dispatch_client(f->d, &p, &m, NULL, f->now);
    dispatch_tick(f->d, f->now);
}

/* Its own requests alone, each answered once; the stages hear of it. */
static void test_a_client_cancels_what_it_asked(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    ask(f, 1);
    f->full = 1;
    ask(f, 2); /* not sent yet */
    ask(f, 3);
    cancel(f, 2, 1, 2); /* another client's */
    assert_int_equal(f->n_answers, 0);
    cancel(f, 1, 1, 2);
    cancel(f, 1, 1, 99); /* again, and one that never was */
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[0].error, FL_CANCELLED);
    assert_int_equal(f->answer[1].error, FL_CANCELLED);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 1);
    assert_int_equal(f->d->counters.cancelled, 2);
    f->full = 0;
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 2); /* the third goes on */
    result(f, &f->job[1], FL_OK, -1);
    result(f, &f->job[0], FL_OK, -1); /* too late */
    assert_int_equal(f->n_answers, 3);
    assert_int_equal(f->answer[2].id, 3);
    assert_int_equal(requests_count(f->d->requests), 0);
    assert_int_equal(outstanding(f), 0);
}

/* Those of a higher priority are sent first, but none waits longer than half of broker.deadline_ms for them.
 */
static void test_priorities_decide_who_is_sent_first(void **state)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t id;
        uint32_t priority;
        uint64_t after_ms;
    } asked[] = {{1, 9, 0}, {2, 0, 0}, {3, 1, 0}, {4, 5, 1}, {5, 2, 400}, {6, 1, 101}};
    static const uint64_t order[] = {3, 2, 4,
                                     5, 1, 6}; /* the sixth came more than half of it after the first */
    all_workers(f);
    f->full = 1;
    f->pipeline.broker.dead_after_ms = 60000;
    for (int i = 0; i < 6; i++) {
        pass(f, asked[i].after_ms);
        beat_all(f, 0);
        ask_request(f,
                    (struct request){.id = asked[i].id, .priority = asked[i].priority, .deadline_ms = 10000});
    }
    f->full = 0;
    for (int i = 0; i < 6; i++) {
        dispatch_tick(f->d, f->now);
        while (f->n_answers < f->n_jobs)
            result(f, &f->job[f->n_answers], FL_OK, -1);
    }
    assert_int_equal(f->n_answers, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(f->answer[i].id, order[i]);
}

/* A cache service that is here, with caches under a promise of so many millionths; 0: without one. */
static void promise(struct fixture *f, uint32_t ppm)
{
    struct message m = {.type = MESSAGE_HELLO};
    m.hello = (struct hello){.role = ROLE_CACHE, .incarnation = 200, .ready = true};
    m.hello.caches.loaded = m.hello.caches.built = 1;
    m.hello.caches.promise = (struct caches_promise){.made = ppm != 0, .max_loss = (double)ppm / SHARE_PPM};
    if (ppm == 8000) /* and thresholds for less */
        m.hello.caches.promise = (struct caches_promise){
            .made = true, .max_loss = 0.008, .n_levels = 3, .level_ppm = {8000, 4000, 2000}};
    say(f, 200, &m);
}

static uint32_t flags_of(struct fixture *f, uint32_t loss_allowed)
{
    int n = f->n_jobs, answers = f->n_answers;
    ask_request(f, (struct request){.id = 1, .loss_allowed = loss_allowed});
    if (f->n_jobs == n)
        return f->answer[answers].error << 16;
    result(f, &f->job[n], FL_OK, -1);
    return f->job[n].flags & JOB_NO_CACHE;
}

static void test_a_request_may_allow_less_loss(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    promise(f, 5000);
    assert_int_equal(flags_of(f, 0), 0);
    assert_int_equal(flags_of(f, 1 + 5000), 0);
    assert_int_equal(flags_of(f, 1 + SHARE_PPM), 0);
    assert_int_equal(flags_of(f, 1 + 4999), JOB_NO_CACHE);
    assert_int_equal(flags_of(f, 1), JOB_NO_CACHE);
    promise(f, 0); /* whatever these lose */
    assert_int_equal(flags_of(f, 1 + SHARE_PPM / 2), JOB_NO_CACHE);
    assert_int_equal(flags_of(f, 0), 0);
    strcpy(f->pipeline.computes, "int8-1a2b3c4d"); /* no exits are no float32 */
    assert_int_equal(flags_of(f, 1), FL_UNSUPPORTED << 16);
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.cache.max_accuracy_loss = 0.5;
    promise(f, 5000);
    assert_int_equal(flags_of(f, 1), FL_UNSUPPORTED << 16);
    assert_int_equal(flags_of(f, 1 + 5000), 0);
}

/* What the caches are told that a request allows, and what its answer says is promised. */
static uint32_t level_of(struct fixture *f, uint32_t loss_allowed)
{
    int n = f->n_jobs, answers = f->n_answers;
    ask_request(f, (struct request){.id = 1, .loss_allowed = loss_allowed});
    result(f, &f->job[n], FL_OK, -1);
    assert_int_equal(f->answer[answers].loss_promised, f->job[n].loss_allowed);
    return f->job[n].flags & JOB_NO_CACHE ? UINT32_MAX : f->job[n].loss_allowed;
}

static void test_a_request_gets_the_most_that_is_certified_within_what_it_allows(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    promise(f, 8000);
    assert_int_equal(level_of(f, 0), 0);
    assert_int_equal(level_of(f, 1 + 8000), 0);
    assert_int_equal(level_of(f, 1 + 7999), 1 + 4000);
    assert_int_equal(level_of(f, 1 + 4000), 1 + 4000);
    assert_int_equal(level_of(f, 1 + 3999), 1 + 2000);
    assert_int_equal(level_of(f, 1 + 1999), UINT32_MAX);
    strcpy(f->pipeline.computes, "int8-1a2b3c4d"); /* what that loses is in the levels, too */
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.cache.max_accuracy_loss = 0.8;
    assert_int_equal(level_of(f, 1 + 2000), 1 + 2000);
    assert_int_equal(flags_of(f, 1 + 1999), FL_UNSUPPORTED << 16);
}

/* One in eight frames of a video runs to its end, whatever the client asks for. */
static void test_some_frames_of_a_stream_are_keys(void **state)
{
    struct fixture *f = *state;
    const uint32_t all = JOB_KEY | JOB_AUDIT | JOB_SAMPLED;
    int keys = 0;
    all_workers(f);
    promise(f, 8000);
    for (int i = 0; i < 400; i++) {
        f->n_jobs = f->n_answers = 0;
        ask_request(f, (struct request){.id = 1, .stream = 9});
        assert_int_equal(f->job[0].stream, 9);
        assert_true(!(f->job[0].flags & JOB_KEY) || (f->job[0].flags & all) == all);
        keys += (f->job[0].flags & JOB_KEY) != 0;
        result(f, &f->job[0], FL_OK, -1);
        f->n_jobs = f->n_answers = 0;
        ask_request(f, (struct request){.id = 2,
                                        .stream = i % 3 ? 9 : 0,
                                        .flags = i % 3 == 1 ? all : JOB_KEY,
                                        .loss_allowed = i % 3 == 2 ? 1 + 4000 : 0});
        assert_true(!(f->job[0].flags & JOB_KEY)); /* not drawn, or not from a stream */
        result(f, &f->job[0], FL_OK, -1);
    }
    assert_in_range(keys, 25, 80);
}

static void hit_after(struct fixture *f, uint64_t wire_us, uint64_t queue_us, uint64_t lookup_us)
{
    struct result r = {.attempt = 1,
                       .exit = 0,
                       .lookup_wire_ns = wire_us * 1000,
                       .lookup_queue_ns = queue_us * 1000,
                       .lookup_ns = lookup_us * 1000,
                       .trace = {.n = 1}};
    zmq_msg_t none;
    f->n_jobs = 0;
    ask(f, 1);
    r.request = f->job[0].request;
    (void)zmq_msg_init(&none);
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, NULL), FL_OK);
    zmq_msg_close(&none);
    dispatch_tick(f->d, f->now);
}

/* A stage that heard of its hit in time has passed nothing on: the stages behind have nothing to cancel. */
static void test_stages_that_never_saw_a_request_are_left_alone(void **state)
{
    struct fixture *f = *state;
    f->pipeline.cache.wait_us = 2000;
    all_workers(f);
    hit_after(f, 300, 50, 200);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 0);
    hit_after(f, 300, 300, 200); /* there and back it may have taken more than half of the patience */
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 1);
    hit_after(f, UINT64_MAX / 1000, UINT64_MAX / 1000, 2);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 2);
    registry_cache(f->d->registry, 0)->last.clock_error_ns = UINT64_MAX; /* nobody knows */
    hit_after(f, 1, 1, 1);
    assert_int_equal(told(f, MESSAGE_CANCEL, 120), 3);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 0);
}

/* How often `who` was asked about job j. */
static int asked(const struct fixture *f, uint64_t who, const struct job *j)
{
    struct peer p = peer_named(who);
    int n = 0;
    for (int i = 0; i < f->n_control; i++)
        for (int k = 0; f->control[i].type == MESSAGE_CANCEL && k < f->control[i].cancel.n_ask; k++)
            n += f->control[i].cancel.ask[k] == j->request && !memcmp(f->control_to[i].id, p.id, 8);
    return n;
}

/* A cache service that dies may have told a stage of a hit and not the broker: whoever asked it is asked. */
static void test_hits_of_a_dead_cache_are_asked_for(void **state)
{
    struct fixture *f = *state;
    struct job *j = f->job;
    all_workers(f);
    f->pipeline.stage[2].replica[0].cache = 1; /* asks another service */
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 0);
    ask(f, 1);
    ask_with(f, 2, 0, JOB_NO_CACHE);
    hello_as(f, ROLE_CACHE, 0, 0, 201, true, 0); /* another process: the one before is gone */
    dispatch_tick(f->d, f->now);
    assert_int_equal(asked(f, 100, &j[0]), 1);
    assert_int_equal(asked(f, 110, &j[0]) + asked(f, 111, &j[0]), 1);
    assert_int_equal(asked(f, 120, &j[0]), 0);
    assert_int_equal(asked(f, 100, &j[1]), 0);
    result(f, &j[0], FL_OK, 0);
    assert_int_equal(f->answer[0].exit, 0);
    assert_int_equal(f->answer[0].attempts, 1);
}

/* Or its result was lost on the way: who is overdue is asked for before it is sent again, and also when it is
 * not. */
static void test_hits_of_what_is_overdue_are_asked_for(void **state)
{
    struct fixture *f = *state;
    f->d->retry_tokens = 0;
    all_workers(f);
    ask(f, 1);
    for (int i = 0; i < 40; i++) {
        pass(f, 10);
        beat_all(f, 0);
    }
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(asked(f, 100, &f->job[0]), 1);
    assert_int_equal(asked(f, 120, &f->job[0]), 1);
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(f->answer[0].error, FL_OK);
}

/* The first replica failed it, the other is full: it waits for that one rather than fail again. */
static void test_a_retry_waits_for_a_worker_that_has_not_failed_it(void **state)
{
    struct fixture *f = *state;
    int failed;
    dispatch_free(f->d);
    f->pipeline.stage[0].n_replicas = 2;
    f->pipeline.stage[0].max_batch = 1;
    assert_int_equal(begin(f), FL_OK);
    all_workers(f);
    hello(f, 0, 1, 101);
    f->slow = 1;
    ask(f, 1);
    ask(f, 2);
    assert_int_equal(f->n_jobs, 2);
    failed = f->job[0].route[0];
    assert_int_not_equal(f->job[1].route[0], failed);
    result(f, &f->job[0], FL_NOMEM, -1);
    pass(f, 60);
    assert_int_equal(f->n_jobs, 2); /* it waits .. */
    beat(f, 100);
    beat(f, 101);
    tell_taken(f, failed ? 100 : 101, &f->job[1], 1);
    assert_int_equal(f->n_jobs, 3); /* .. until the other one takes what it has */
    assert_int_equal(f->job[2].request, f->job[0].request);
    assert_int_not_equal(f->job[2].route[0], failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_a_request_is_sent_and_answered_once),
        test(test_a_retry_waits_for_a_worker_that_has_not_failed_it),
        test(test_too_many_are_told_at_once),
        test(test_the_deadline_is_kept),
        test(test_an_answer_after_the_deadline_is_none),
        test(test_the_deadline_counts_from_when_it_was_sent),
        test(test_an_overlong_deadline_is_cut),
        test(test_a_lost_attempt_is_repeated),
        test(test_a_client_asks_no_faster_than_its_rate),
        test(test_time_outs_do_not_feed_an_overload),
        test(test_retries_end),
        test(test_bad_input_is_not_repeated),
        test(test_failures_of_old_attempts_are_ignored),
        test(test_waits_while_stage_0_is_full),
        test(test_stage_0_has_two_batches_at_most),
        test(test_hits_cancel_what_is_behind),
        test(test_a_client_cancels_what_it_asked),
        test(test_priorities_decide_who_is_sent_first),
        test(test_a_request_may_allow_less_loss),
        test(test_some_frames_of_a_stream_are_keys),
        test(test_a_request_gets_the_most_that_is_certified_within_what_it_allows),
        test(test_stages_that_never_saw_a_request_are_left_alone),
        test(test_hits_of_a_dead_cache_are_asked_for),
        test(test_hits_of_what_is_overdue_are_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
