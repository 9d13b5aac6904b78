/* test_relay.c - requests that the broker hands on to other pipelines, with a fake clock */
#include <math.h>

#include "dispatch_world.h"

enum { WORKER = 100, WORKERS = 8 };

/* Who asks. */
static const struct peer client = {.size = 8, .id = {1}};

static void control(struct fixture *f, const struct message *m)
{
    say(f, 7, m);
    dispatch_tick(f->d, f->now);
}

static void workers_come(struct fixture *f)
{
    static struct message m;
    for (unsigned i = 0; i < WORKERS; i++) {
        m.type = MESSAGE_HELLO;
        m.hello = (struct hello){
            .role = ROLE_STAGE, .replica = i, .incarnation = WORKER + i, .ready = true, .boot_id = "B"};
        m.hello.output.tensor = (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, 10}};
        control(f, &m);
    }
}

/* One stage, with enough replicas that none is full; two other pipelines may be asked. */
static int set_up(void **state)
{
    struct fixture *f;
    int rc = setup(state);
    if (rc)
        return rc;
    f = *state;
    dispatch_free(f->d);
    f->pipeline.n_stages = 1;
    f->pipeline.stage[0] = (struct stage_config){.n_replicas = WORKERS, .max_batch = 64};
    f->pipeline.cache.n_endpoints = 0;
    f->pipeline.broker = (struct broker_config){.max_requests = MANY,
                                                .max_memory_mb = 64,
                                                .deadline_ms = 1000,
                                                .retries = 1,
                                                .heartbeat_ms = 20,
                                                .dead_after_ms = 100000};
    f->slow = 1;
    if (begin(f))
        return -1;
    workers_come(f);
    return 0;
}

static struct relay relay_to(const char *name, double share, double mirror)
{
    struct relay r = {.share_ppm = (uint32_t)(share * SHARE_PPM),
                      .mirror_ppm = (uint32_t)(mirror * SHARE_PPM)};
    snprintf(r.name, sizeof r.name, "%s", name);
    snprintf(r.endpoint, sizeof r.endpoint, "ipc://%s", name);
    return r;
}

static void set(struct fixture *f, int n, struct relay a, struct relay b)
{
    static struct message m;
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_RELAYS;
    m.relays = (struct relays){.n = n, .lease_ms = 60000, .slower = 0.5};
    m.relays.relay[0] = a;
    m.relays.relay[1] = b;
    control(f, &m);
}

/* One other pipeline, and it is there. */
static void aim(struct fixture *f, double share, double mirror)
{
    set(f, 1, relay_to("new", share, mirror), relay_to("", 0, 0));
    dispatch_away(f->d, 0, false, f->now);
}

static void computes(struct fixture *f, int label)
{
    const struct job *j = &f->job[f->n_jobs - 1];
    struct result r = {.request = j->request,
                       .attempt = j->attempt,
                       .exit = -1,
                       .label = label,
                       .scores = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 10}},
                       .trace = {.n = 1, .stage = {{.replica = j->route[0]}}}};
    struct error e = {FL_OK, ""};
    zmq_msg_t payload;
    zmq_msg_init_size(&payload, 40);
    memset(zmq_msg_data(&payload), 0, 40);
    if (dispatch_result(f->d, &r, &payload, f->now, f->now, &e))
        fail_msg("%s", e.text);
    zmq_msg_close(&payload);
    dispatch_tick(f->d, f->now);
}

static struct answer good(const struct fixture *f, int i, int label)
{
    return (struct answer){.id = f->relayed[i].id,
                           .label = label,
                           .exit = -1,
                           .scores = {.dtype = TENSOR_F32, .rank = 2, .dim = {1, 10}}};
}

static void comes(struct fixture *f, int place, struct answer a)
{
    int64_t bytes = a.scores.dtype ? tensor_bytes(&a.scores) : 0;
    zmq_msg_t payload;
    zmq_msg_init_size(&payload, (size_t)bytes);
    memset(zmq_msg_data(&payload), 0, (size_t)bytes);
    dispatch_answered(f->d, place, &a, &payload, f->now);
    zmq_msg_close(&payload);
    dispatch_tick(f->d, f->now);
}

static void fails_of(struct fixture *f, int i, enum fl_code code)
{
    struct answer a = {.id = f->relayed[i].id, .error = code, .exit = -1, .label = -1};
    snprintf(a.text, sizeof a.text, "no");
    comes(f, 0, a);
}

static void fails(struct fixture *f, enum fl_code code)
{
    fails_of(f, f->n_relayed - 1, code);
}

static struct status_reply told_now; /* by status() */

static const struct relay_status *status(struct fixture *f)
{
    dispatch_status(f->d, &told_now, f->now);
    return told_now.n_relays ? &told_now.relay[0] : NULL;
}

static void test_what_is_handed_on_is_answered_there(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    aim(f, 1, 0);
    assert_string_equal(f->aimed[0], "ipc://new");
    ask_with(f, 42, 0, JOB_NO_CACHE);
    assert_int_equal(f->n_relayed, 1);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(f->relayed[0].deadline_ms, 500); /* half of the time: then there is the other half */
    assert_int_equal(f->relayed[0].flags, JOB_NO_CACHE);
    assert_int_equal(status(f)->outstanding, 1);
    f->now += 7 * MS;
    a = good(f, 0, 6);
    a.total_ns = 5 * MS;
    a.broker_ns = MS;
    a.exit = 3; /* one that these stages do not have */
    a.epoch = 9;
    a.trace = (struct trace){.n = 1, .stage = {{.stage = 15}}};
    comes(f, 0, a);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].id, 42);
    assert_int_equal(f->answer[0].error, 0);
    assert_int_equal(f->answer[0].label, 6);
    assert_int_equal(f->answer[0].exit, 3);
    assert_int_equal(f->answer[0].epoch, 9);
    assert_string_equal(f->answer[0].variant, "new");
    assert_int_equal(f->answer[0].total_ns, 7 * MS);
    assert_int_equal(f->answer[0].broker_ns, 3 * MS); /* 4 ms were the other pipeline's */
    assert_int_equal(status(f)->answered, 1);
    assert_int_equal(status(f)->early, 1);
    assert_int_equal(status(f)->outstanding, 0);
    assert_int_equal(told_now.in_flight, 0);
    comes(f, 0, a); /* twice */
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->d->counters.duplicates, 1);
}

static void test_shares_are_kept(void **state)
{
    struct fixture *f = *state;
    int to[2] = {0};

    set(f, 2, relay_to("new", 0.25, 0), relay_to("other", 0.5, 0));
    dispatch_away(f->d, 0, false, f->now);
    dispatch_away(f->d, 1, false, f->now);
    for (int i = 0; i < 800; i++) {
        int before = f->n_relayed;
        ask(f, (uint64_t)i);
        if (f->n_relayed > before) {
            to[f->place[before]]++;
            comes(f, f->place[before], good(f, before, 1));
        } else {
            computes(f, 1);
        }
    }
    assert_in_range(to[0], 150, 250);
    assert_in_range(to[1], 340, 460);
    assert_int_equal(f->n_answers, 800);
    assert_int_equal(told_now.failed, 0);
}

static void test_what_it_fails_is_computed_here(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    ask(f, 1);
    fails(f, FL_OVERLOADED);
    assert_int_equal(f->n_jobs, 1);
    computes(f, 4);
    assert_int_equal(f->answer[0].label, 4);
    assert_int_equal(f->answer[0].attempts, 2);
    assert_string_equal(f->answer[0].variant, "");
    assert_int_equal(status(f)->failed, 1);
    assert_int_equal(status(f)->failed_both, 0);
    assert_string_equal(status(f)->why, "no");
    ask(f, 2); /* both */
    fails(f, FL_VALUE);
    pass(f, 1000);
    assert_int_equal(f->answer[1].error, FL_DEADLINE);
    assert_int_equal(status(f)->failed_both, 1);
}

static void test_answers_that_cannot_be_are_not_passed_on(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    aim(f, 1, 0);
    for (int i = 0; i < 3; i++) {
        ask(f, (uint64_t)i);
        assert_int_equal(f->n_relayed, i + 1);
        a = good(f, i, 2);
        if (i == 0)
            a.scores.dim[1] = 11;
        else if (i == 1)
            a.scores.dtype = TENSOR_F64;
        else
            a.label = 10;
        comes(f, 0, a);
        assert_int_equal(f->n_jobs, i + 1);
        computes(f, 4);
        assert_int_equal(f->answer[i].label, 4);
    }
    assert_int_equal(status(f)->failed, 3);
    assert_non_null(strstr(status(f)->why, "its label is 10"));
}

static void test_one_that_fails_again_and_again_rests(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    for (int i = 0; i < 3; i++) {
        ask(f, (uint64_t)i);
        fails(f, FL_UNAVAILABLE);
        computes(f, 4);
    }
    assert_string_equal(status(f)->state, "resting");
    ask(f, 3);
    assert_int_equal(f->n_relayed, 3);
    computes(f, 4);
    assert_int_equal(status(f)->turned, 1);
    pass(f, 100);
    ask(f, 4); /* on trial, .. */
    ask(f, 5); /* .. alone */
    assert_int_equal(f->n_relayed, 4);
    computes(f, 4);
    comes(f, 0, good(f, 3, 2));
    assert_string_equal(status(f)->state, "ready");
    ask(f, 6);
    assert_int_equal(f->n_relayed, 5);
}

static void test_a_failed_trial_is_a_longer_rest(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    for (int i = 0; i < 3; i++) {
        ask(f, (uint64_t)i);
        fails(f, FL_UNAVAILABLE);
        computes(f, 4);
    }
    pass(f, 100);
    ask(f, 4);
    fails(f, FL_UNAVAILABLE);
    computes(f, 4);
    pass(f, 150);
    ask(f, 5);
    assert_int_equal(f->n_relayed, 4);
    pass(f, 60);
    ask(f, 6);
    assert_int_equal(f->n_relayed, 5);
}

static void test_silence_costs_half_of_the_time(void **state)
{
    struct fixture *f = *state;
    struct answer late;

    aim(f, 1, 0);
    ask(f, 1);
    ask(f, 2);
    late = good(f, 0, 6);
    pass(f, 499);
    assert_int_equal(f->n_jobs, 0);
    pass(f, 1);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(status(f)->failed, 2);
    assert_int_equal(status(f)->outstanding, 0);
    comes(f, 0, late); /* before these stages' */
    assert_int_equal(f->n_answers, 1);
    assert_string_equal(f->answer[0].variant, "new");
    f->n_jobs = 1; /* the youngest goes first */
    computes(f, 4);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].label, 4);
    comes(f, 0, late);
    assert_int_equal(f->n_answers, 2);
}

static void test_a_client_that_goes_away_calls_it_off_there(void **state)
{
    struct fixture *f = *state;
    static struct message m = {.type = MESSAGE_CANCEL, .cancel = {.n = 1, .request = {2}}};

    aim(f, 1, 0);
    ask(f, 1);
    ask(f, 2);
    dispatch_client(f->d, &client, &m, NULL, f->now);
    assert_int_equal(f->n_called_off, 1);
    assert_int_equal(f->called_off[0], f->relayed[1].id);
    assert_int_equal(f->answer[0].error, FL_CANCELLED);
    assert_int_equal(status(f)->outstanding, 1);
    fails(f, FL_CANCELLED); /* it says so, too */
    comes(f, 0, good(f, 0, 4));
    assert_int_equal(f->n_called_off, 1);
    assert_int_equal(f->n_jobs, 0);
    assert_int_equal(f->n_answers, 2);
}

/* Three in a row are late; it answers others meanwhile, so it is slow and not broken. */
static void test_who_is_late_and_answers_others_does_not_rest(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    for (int i = 0; i < 8; i++) {
        ask(f, (uint64_t)i);
        pass(f, 1);
        if (i % 2)
            comes(f, 0, good(f, i, 4));
    }
    pass(f, 501);
    ask(f, 100);
    assert_int_equal(f->n_relayed, 9);
    assert_int_equal(status(f)->failed, 4);
}

static void test_when_it_is_gone_its_requests_come_back_at_once(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    ask(f, 1);
    ask(f, 2);
    dispatch_away(f->d, 0, true, f->now);
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 2);
    ask(f, 3);
    assert_int_equal(f->n_relayed, 2);
    assert_int_equal(f->n_jobs, 3);
    assert_string_equal(status(f)->state, "away");
    dispatch_away(f->d, 0, false, f->now);
    ask(f, 4);
    assert_int_equal(f->n_relayed, 3);
    f->deaf = true;
    ask(f, 5);
    assert_int_equal(f->n_jobs, 4);
    assert_int_equal(status(f)->turned, 2);
}

static void test_pairs_are_compared(void **state)
{
    struct fixture *f = *state;

    aim(f, 0, 1);
    for (int i = 0; i < 4; i++) {
        ask(f, (uint64_t)i);
        assert_int_equal(f->n_relayed, i + 1);
        assert_int_equal(f->n_jobs, i + 1);
    }
    f->now += 10 * MS;
    computes(f, 4); /* of the last one: here first */
    f->now += 20 * MS;
    comes(f, 0, good(f, 3, 4));
    assert_int_equal(status(f)->pairs, 1);
    assert_int_equal(status(f)->agreed, 1);
    assert_int_equal(status(f)->slower, 1);
    comes(f, 0, good(f, 3, 4)); /* twice */
    assert_int_equal(status(f)->pairs, 1);
    comes(f, 0, good(f, 2, 5)); /* there first */
    f->n_jobs = 3;
    computes(f, 4);
    assert_int_equal(status(f)->both, 2);
    assert_int_equal(status(f)->agreed, 1);
    assert_int_equal(status(f)->slower, 1);
    f->n_jobs = 2;
    computes(f, 4);
    pass(f, 2000); /* the first one has no answer at all, the second none of the other */
    assert_int_equal(status(f)->pairs, 4);
    assert_int_equal(status(f)->failed_next, 1);
    assert_int_equal(status(f)->failed_now, 0);
    assert_int_equal(f->n_answers, 4);
    assert_int_equal(f->answer[3].error, FL_DEADLINE);
    assert_string_equal(f->answer[1].variant, "");
}

static void test_who_cannot_be_compared_has_failed(void **state)
{
    struct fixture *f = *state;

    aim(f, 0, 1);
    dispatch_away(f->d, 0, true, f->now);
    ask(f, 1);
    computes(f, 4);
    assert_int_equal(status(f)->failed_next, 1);
    assert_int_equal(f->n_answers, 1);
}

/* Until its connection stands, nothing is compared; a connection that is lost later is a failure. */
static void test_who_is_not_there_yet_has_not_failed(void **state)
{
    struct fixture *f = *state;

    set(f, 1, relay_to("new", 0, 1), relay_to("other", 0, 0));
    ask(f, 1);
    computes(f, 4);
    assert_int_equal(status(f)->pairs, 0);
    assert_int_equal(status(f)->failed_next, 0);
    dispatch_away(f->d, 0, false, f->now);
    dispatch_away(f->d, 0, true, f->now);
    ask(f, 2);
    computes(f, 4);
    assert_int_equal(status(f)->failed_next, 1);
}

static void test_strangers_answers_are_dropped(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    set(f, 2, relay_to("new", 1, 0), relay_to("other", 0, 0));
    dispatch_away(f->d, 0, false, f->now);
    dispatch_away(f->d, 1, false, f->now);
    ask(f, 1);
    comes(f, 1, good(f, 0, 6)); /* who was not asked */
    a = good(f, 0, 6);
    a.id += 3;
    comes(f, 0, a); /* of what was not asked */
    a.id = 0;
    comes(f, 0, a);
    assert_int_equal(f->n_answers, 0);
    comes(f, 0, good(f, 0, 6));
    assert_int_equal(f->n_answers, 1);
}

static void test_a_lease_that_runs_out_ends_it(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    pass(f, 59900);
    ask(f, 1);
    assert_int_equal(f->n_relayed, 1);
    pass(f, 100);
    assert_int_equal(f->n_jobs, 1);
    assert_null(status(f));
    assert_string_equal(f->aimed[f->n_aimed - 1], "");
    comes(f, 0, good(f, 0, 6)); /* it is nobody now */
    assert_int_equal(f->n_answers, 0);
    computes(f, 4);
    assert_int_equal(f->answer[0].label, 4);
}

static void test_others_take_their_place(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    ask(f, 1);
    comes(f, 0, good(f, 0, 6));
    aim(f, 0.5, 0); /* the same one: its counts stay, its connection too */
    assert_int_equal(f->n_aimed, 1);
    assert_int_equal(status(f)->answered, 1);
    assert_int_equal(status(f)->share_ppm, SHARE_PPM / 2);
    set(f, 1, relay_to("other", 1, 0), relay_to("", 0, 0));
    assert_int_equal(f->n_aimed, 3);
    assert_string_equal(status(f)->name, "other");
    assert_int_equal(status(f)->answered, 0);
    assert_string_equal(status(f)->state, "away");
    f->refuse = FL_CONFIG;
    set(f, 1, relay_to("third", 1, 0), relay_to("", 0, 0));
    assert_null(status(f));
    ask(f, 2);
    assert_int_equal(f->n_jobs, 1);
}

static void test_what_asks_for_this_pipeline_stays(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 1);
    ask_with(f, 1, 0, JOB_AUDIT);
    ask_with(f, 2, 0, JOB_TRACE);
    assert_int_equal(f->n_relayed, 0);
    assert_int_equal(f->n_jobs, 2);
}

static void test_the_end_answers_all(void **state)
{
    struct fixture *f = *state;

    aim(f, 1, 0);
    ask(f, 1);
    dispatch_abandon(f->d, f->now);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].error, FL_UNAVAILABLE);
    assert_int_equal(requests_count(f->d->requests), 0);
}

static void test_without_connections_nothing_is_handed_on(void **state)
{
    struct fixture *f = *state;

    dispatch_free(f->d);
    f->cannot_aim = true;
    assert_int_equal(begin(f), FL_OK);
    workers_come(f);
    aim(f, 1, 1);
    ask(f, 1);
    assert_int_equal(f->n_jobs, 1);
    assert_null(status(f));
}

/* ---- variants ---- */

/* This pipeline and one or two others, which are there; own requests take 8 ms. */
static void vary(struct fixture *f, enum choose_rule how, int n)
{
    static const struct choice_variant three[] = {
        {"float32", 0, 0, 8, 0.008, 50000000, INFINITY},
        {"int8", 0.1, 0.4, 3, 0.003, 14000000, 0.9},
        {"small", 2, 3, 1, 0.001, 5000000, 0.95},
    };
    struct choice_budget b = {.how = how, .max_accuracy_loss = 5, .cascade_loss = 0.5};
    struct choice *c;
    struct error e = {0};

    f->pipeline.choose = how;
    if (choice_new(&c, three, n, &b, 7, &e))
        fail_msg("%s", e.text);
    assert_int_equal(dispatch_set_variants(f->d, c, "float32", n), FL_OK);
    for (int i = 1; i < n; i++) {
        assert_int_equal(dispatch_add_variant(f->d, i, three[i].name, "ipc://x"), FL_OK);
        dispatch_away(f->d, i - 1, false, f->now);
    }
    ask(f, 1000); /* the first one is computed here */
    assert_int_equal(f->n_jobs, 1);
    f->now += 8 * MS;
    computes(f, 1);
    assert_string_equal(f->answer[0].variant, "float32");
}

static struct answer sure(const struct fixture *f, int i, int label, float confidence)
{
    struct answer a = good(f, i, label);
    a.confidence = confidence;
    return a;
}

static void test_a_sure_answer_of_the_small_one_is_served(void **state)
{
    struct fixture *f = *state;

    vary(f, CHOOSE_CASCADE, 2);
    ask(f, 1);
    assert_int_equal(f->n_relayed, 1);
    assert_int_equal(f->n_jobs, 1);
    assert_int_equal(f->relayed[0].flags, JOB_NO_CACHE);
    comes(f, 0, sure(f, 0, 6, 0.99f));
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].label, 6);
    assert_string_equal(f->answer[1].variant, "int8");
    assert_int_equal(f->n_jobs, 1);
}

static void test_an_unsure_answer_asks_the_large_one(void **state)
{
    struct fixture *f = *state;

    vary(f, CHOOSE_CASCADE, 2);
    ask(f, 1);
    comes(f, 0, sure(f, 0, 6, 0.5f));
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->n_jobs, 2);
    assert_int_equal(f->job[1].flags & JOB_NO_CACHE, 0);
    computes(f, 4);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].label, 4);
    assert_string_equal(f->answer[1].variant, "float32");
    assert_int_equal(requests_count(f->d->requests), 0);
}

static void test_an_unsure_answer_is_better_than_none(void **state)
{
    struct fixture *f = *state;

    vary(f, CHOOSE_CASCADE, 2);
    ask(f, 1);
    comes(f, 0, sure(f, 0, 6, 0.5f));
    pass(f, 1000); /* the large one says nothing */
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].error, 0);
    assert_int_equal(f->answer[1].label, 6);
    assert_string_equal(f->answer[1].variant, "int8");
}

static void test_a_small_one_that_fails_is_done_without(void **state)
{
    struct fixture *f = *state;

    vary(f, CHOOSE_CASCADE, 2);
    ask(f, 1);
    fails(f, FL_UNAVAILABLE);
    assert_int_equal(f->n_jobs, 2);
    computes(f, 4);
    assert_int_equal(f->answer[1].label, 4);
    dispatch_away(f->d, 0, true, f->now);
    ask(f, 2);
    assert_int_equal(f->n_relayed, 1);
    assert_int_equal(f->n_jobs, 3);
}

static void test_all_vote(void **state)
{
    struct fixture *f = *state;

    vary(f, CHOOSE_EXP4, 3);
    ask(f, 1);
    assert_int_equal(f->n_relayed, 2);
    assert_int_equal(f->n_jobs, 2);
    comes(f, f->place[0], sure(f, 0, 6, 0.9f));
    assert_int_equal(f->n_answers, 1);
    computes(f, 4);
    if (f->n_answers == 1) /* it may be decided by now */
        comes(f, f->place[1], sure(f, 1, 6, 0.9f));
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].label, 6);
    assert_in_range((int)(100 * f->answer[1].confidence), 60, 70);
    assert_int_equal(requests_count(f->d->requests), 0);
}

static void test_a_vote_does_not_wait_for_who_is_late(void **state)
{
    struct fixture *f = *state;

    vary(f, CHOOSE_EXP4, 3);
    ask(f, 1);
    comes(f, f->place[0], sure(f, 0, 6, 0.9f));
    for (int i = 0; i < 99 && f->n_answers == 1; i++)
        pass(f, 10);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(f->answer[1].error, 0);
    assert_int_equal(f->answer[1].label, 6);
    assert_in_range((int)(100 * f->answer[1].confidence), 30, 40);
}

static void test_labels_teach_the_choice(void **state)
{
    struct fixture *f = *state;
    static struct message m;
    int here = 0, there = 0;

    vary(f, CHOOSE_EXP3, 2);
    for (int i = 0; i < 400; i++) {
        int before = f->n_relayed;
        ask(f, (uint64_t)i);
        memset(&m, 0, sizeof m);
        m.type = MESSAGE_FEEDBACK;
        m.feedback.n = 1;
        if (f->n_relayed > before) {
            comes(f, 0, sure(f, before, 6, 0.9f)); /* wrong */
            there += i >= 300;
        } else {
            computes(f, 4); /* right */
            here += i >= 300;
        }
        m.feedback.item[0] = (struct feedback_item){f->answer[f->n_answers - 1].request, 4};
        dispatch_client(f->d, &client, &m, NULL, f->now);
    }
    assert_true(here > 2 * there);
    assert_int_equal(f->d->counters.feedback_taken, 400);
}

static void test_a_full_pipeline_leaves_requests_to_the_cheap_one(void **state)
{
    struct fixture *f = *state;
    int before;

    vary(f, CHOOSE_BUDGET, 2);
    for (int i = 0; i < 300; i++) /* nobody answers: all queues fill */
        ask(f, (uint64_t)i);
    before = f->n_relayed;
    assert_true(before > 0);
    assert_int_equal(f->n_answers - 1, (int)f->d->counters.overloaded);
    for (int i = 0; i < before; i++)
        comes(f, 0, good(f, i, 6));
    assert_string_equal(f->answer[f->n_answers - 1].variant, "int8");
}

/* A dearer variant on the same processors would make all of them late. */
static void test_what_the_cheap_one_turns_away_is_not_given_to_the_dear_one(void **state)
{
    struct fixture *f = *state;
    int jobs, relayed, answers;

    vary(f, CHOOSE_BUDGET, 2);
    for (int i = 0; i < 300; i++)
        ask(f, (uint64_t)i);
    jobs = f->n_jobs;
    relayed = f->n_relayed;
    answers = f->n_answers;
    assert_true(relayed > 0);
    for (int i = 0; i < relayed; i++)
        fails_of(f, i, FL_OVERLOADED);
    assert_int_equal(f->n_jobs, jobs);
    assert_int_equal(f->n_answers, answers + relayed);
    assert_int_equal(f->answer[answers].error, FL_OVERLOADED);
    assert_true(f->answer[answers].retry_after_ms > 0);
}

static void test_variants_end_with_the_broker(void **state)
{
    struct fixture *f = *state;

    vary(f, CHOOSE_EXP4, 3);
    ask(f, 1);
    comes(f, f->place[0], sure(f, 0, 6, 0.9f));
    dispatch_abandon(f->d, f->now);
    assert_int_equal(f->n_answers, 2);
    assert_int_equal(requests_count(f->d->requests), 0);
}

#define relays(name) cmocka_unit_test_setup_teardown(name, set_up, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        relays(test_what_is_handed_on_is_answered_there),
        relays(test_shares_are_kept),
        relays(test_what_it_fails_is_computed_here),
        relays(test_answers_that_cannot_be_are_not_passed_on),
        relays(test_one_that_fails_again_and_again_rests),
        relays(test_a_failed_trial_is_a_longer_rest),
        relays(test_silence_costs_half_of_the_time),
        relays(test_a_client_that_goes_away_calls_it_off_there),
        relays(test_who_is_late_and_answers_others_does_not_rest),
        relays(test_when_it_is_gone_its_requests_come_back_at_once),
        relays(test_pairs_are_compared),
        relays(test_who_cannot_be_compared_has_failed),
        relays(test_who_is_not_there_yet_has_not_failed),
        relays(test_strangers_answers_are_dropped),
        relays(test_a_lease_that_runs_out_ends_it),
        relays(test_others_take_their_place),
        relays(test_what_asks_for_this_pipeline_stays),
        relays(test_the_end_answers_all),
        relays(test_without_connections_nothing_is_handed_on),
        relays(test_a_sure_answer_of_the_small_one_is_served),
        relays(test_an_unsure_answer_asks_the_large_one),
        relays(test_an_unsure_answer_is_better_than_none),
        relays(test_a_small_one_that_fails_is_done_without),
        relays(test_all_vote),
        relays(test_a_vote_does_not_wait_for_who_is_late),
        relays(test_labels_teach_the_choice),
        relays(test_a_full_pipeline_leaves_requests_to_the_cheap_one),
        relays(test_what_the_cheap_one_turns_away_is_not_given_to_the_dear_one),
        relays(test_variants_end_with_the_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
