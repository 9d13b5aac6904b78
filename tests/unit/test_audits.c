/* test_audits.c - the broker draws audits, runs what an exit answered to the end, and tells who learns */
#include "dispatch_world.h"
#include "broker/state/sampling.h"

/* A client's own choice is no fair draw. */
static void test_what_clients_run_to_the_end_is_no_audit(void **state)
{
    struct fixture *f = *state;
    f->pipeline.updates.audit = 1;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 0);
    ask_with(f, 1, 0, JOB_NO_CACHE);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 0);
    ask_with(f, 2, 0, JOB_AUDIT);
    assert_int_equal(f->job[1].flags, JOB_AUDIT | JOB_SAMPLED);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 1);
    assert_int_equal(f->control[f->n_control - 1].outcome.label, 3);
    assert_false(f->control[f->n_control - 1].outcome.audit);
    assert_int_equal(f->d->counters.audits_drawn, 0);
}

/* The outcome that cache service 200 was told last. */
static struct outcome outcome_told(const struct fixture *f)
{
    for (int i = f->n_control - 1; i >= 0; i--)
        if (f->control[i].type == MESSAGE_OUTCOME)
            return f->control[i].outcome;
    fail_msg("no outcome was told");
    return (struct outcome){0};
}

static struct status_reply status(const struct fixture *f)
{
    static struct status_reply s;
    dispatch_status(f->d, &s, f->now);
    return s;
}

/* Workers, a cache service, and every request an audit. */
static void audited(struct fixture *f)
{
    f->pipeline.updates.audit = 1;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
}

static void check_audits(const struct fixture *f, uint64_t drawn, uint64_t done, uint64_t dropped)
{
    struct status_reply s = status(f);
    assert_int_equal(s.audits_drawn, drawn);
    assert_int_equal(s.audits_done, done);
    assert_int_equal(s.audits_dropped, dropped);
}

static void check_nothing_is_left(const struct fixture *f)
{
    assert_int_equal(requests_count(f->d->requests), 0);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    assert_int_equal(requests_bytes(f->d->requests), 0);
    assert_int_equal(outstanding(f), 0);
    assert_int_equal(audit_line_length(&f->d->line), 0);
    assert_int_equal(f->d->shadowed, 0);
}

/* It has run to its end with all its descriptors sampled. */
static void test_an_audit_that_no_exit_answered_is_done(void **state)
{
    struct fixture *f = *state;
    audited(f);
    ask(f, 1);
    assert_int_equal(f->job[0].flags, JOB_SAMPLED);
    check_audits(f, 1, 0, 0);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 1);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).request, f->job[0].request);
    assert_int_equal(outcome_told(f).original, 0);
    assert_int_equal(outcome_told(f).label, 3);
    assert_int_equal(outcome_told(f).n_scores, 0);
    assert_int_equal(f->n_jobs, 1);
    check_audits(f, 1, 1, 0);
    check_nothing_is_left(f);
}

/* Caches that learn imitate them. */
static void test_an_audit_tells_the_scores(void **state)
{
    const float scores[] = {1.5f, -2, 1e9f};
    struct fixture *f = *state;
    audited(f);
    ask(f, 1);
    result_with(f, &f->job[0], FL_OK, -1, scores, 3);
    assert_int_equal(outcome_told(f).n_scores, 3);
    assert_int_equal(outcome_told(f).scores[0], 0x3e00);
    assert_int_equal(outcome_told(f).scores[1], 0xc000);
    assert_int_equal(outcome_told(f).scores[2], 0x7bff); /* the largest that there is */
    check_nothing_is_left(f);
}

/* Its client has its answer at the hit. The same input runs again, as another request, and the truth is told.
 */
static void test_an_audit_that_an_exit_answered_has_a_shadow(void **state)
{
    struct fixture *f = *state;
    struct admission before;
    struct job *first = &f->job[0], *shadow = &f->job[1];
    audited(f);
    ask(f, 1);
    result(f, first, FL_OK, 0);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(f->answer[0].exit, 0);
    assert_int_equal(outcome_told(f).hit_exit, 0);
    assert_false(outcome_told(f).audit);
    assert_int_equal(f->n_jobs, 2); /* nothing else is under way */
    assert_int_not_equal(shadow->request, first->request);
    assert_int_equal(shadow->flags, JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW);
    assert_int_equal(shadow->activation.rank, first->activation.rank);
    assert_true(shadow->deadline_ns >= f->now + 10000 * MS);
    assert_int_equal(status(f).in_flight, 0);
    check_audits(f, 1, 0, 0);

    before = f->d->admission;
    pass(f, 40);
    result(f, first, FL_OK, -1); /* the first run's, too late */
    result(f, shadow, FL_OK, -1);
    assert_memory_equal(&before, &f->d->admission, sizeof before);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 2);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).request, shadow->request);
    assert_int_equal(outcome_told(f).original, first->request);
    assert_int_equal(outcome_told(f).label, 3);
    assert_int_equal(outcome_told(f).hit_exit, -1);
    assert_int_equal(status(f).answered, 1);
    check_audits(f, 1, 1, 0);
    check_nothing_is_left(f);
}

/* What was told at any moment is the beginning of what was drawn: hits, which take longer, are not behind. */
static void test_audits_are_told_in_the_order_of_the_draw(void **state)
{
    struct fixture *f = *state;
    audited(f);
    for (uint64_t i = 1; i <= 4; i++)
        ask(f, i);
    result(f, &f->job[3], FL_OK, -1);
    result(f, &f->job[0], FL_OK, 0);
    result(f, &f->job[1], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 1); /* that of the hit, which is none of an audit */
    check_audits(f, 4, 0, 0);
    result(f, &f->job[2], FL_VALUE, -1); /* fails: it is no audit any more */
    check_audits(f, 4, 0, 0);
    assert_int_equal(f->job[4].flags, JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW);
    result(f, &f->job[4], FL_OK, -1);
    assert_int_equal(told(f, MESSAGE_OUTCOME, 200), 5);
    assert_int_equal(outcome_told(f).request, f->job[3].request);
    check_audits(f, 4, 3, 1);
    check_nothing_is_left(f);
}

static void test_a_shadow_can_be_no_hit(void **state)
{
    struct fixture *f = *state;
    struct result r = {.attempt = 1, .label = 3, .trace = {.n = 1}};
    struct error e;
    zmq_msg_t none;
    zmq_msg_init(&none);
    audited(f);
    ask(f, 1);
    result(f, &f->job[0], FL_OK, 0);
    r.request = f->job[1].request;
    assert_int_equal(dispatch_result(f->d, &r, &none, f->now, f->now, &e), FL_PROTOCOL);
    zmq_msg_close(&none);
    result(f, &f->job[1], FL_OK, -1);
    check_audits(f, 1, 1, 0);
}

/* One after the other, and only when no other request is under way or they have waited for long. */
static void test_shadows_are_below_other_work(void **state)
{
    struct fixture *f = *state;
    audited(f);
    for (uint64_t i = 0; i < 3; i++)
        ask(f, i);
    result(f, &f->job[0], FL_OK, 0);
    result(f, &f->job[1], FL_OK, 0);
    assert_int_equal(f->n_jobs, 3); /* the third is under way */
    for (int i = 0; i < 240; i += 20) {
        pass(f, 20);
        beat_all(f, 0);
        beat(f, 200);
    }
    assert_int_equal(f->n_jobs, 3);
    pass(f, 10);
    assert_int_equal(f->n_jobs, 4);
    assert_true(f->job[3].flags & JOB_SHADOW);
    result(f, &f->job[3], FL_OK, -1);
    assert_int_equal(f->n_jobs, 5);
    result(f, &f->job[2], FL_OK, -1); /* nothing but a shadow is under way: no second one goes there */
    ask(f, 9);
    assert_int_equal(f->n_jobs, 6);
    result(f, &f->job[5], FL_OK, 0);
    assert_int_equal(f->n_jobs, 6);
    result(f, &f->job[4], FL_OK, -1);
    assert_int_equal(f->n_jobs, 7);
    result(f, &f->job[6], FL_OK, -1);
    check_audits(f, 4, 4, 0);
    check_nothing_is_left(f);
}

/* They take neither places nor room; for bytes that others need they are given up. */
static void test_shadows_refuse_nobody(void **state)
{
    struct fixture *f = *state;
    audited(f);
    ask(f, 1);
    f->full = 1; /* nothing leaves */
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(requests_shadows(f->d->requests), 1);
    for (uint64_t i = 0; i < 8; i++)
        ask(f, 10 + i);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(status(f).in_flight, 8);
    ask(f, 20);
    assert_int_equal(f->answer[1].error, FL_OVERLOADED); /* a ninth, whatever waits */
    assert_int_equal(requests_shadows(f->d->requests), 1);
    f->full = 0;
    pass(f, 1);
    for (int i = 1; i < f->n_jobs; i++)
        result(f, &f->job[i], FL_OK, f->job[i].flags & JOB_SHADOW ? -1 : 0);
    check_audits(f, 9, 8, 1); /* as many as there are places for requests, and no more */
    check_nothing_is_left(f);

    f->n_jobs = f->n_answers = 0;
    f->bytes = 300000; /* of 1 MiB */
    ask(f, 30);
    f->full = 1;
    result(f, &f->job[0], FL_OK, 0);
    ask(f, 31);
    ask(f, 32);
    assert_int_equal(requests_shadows(f->d->requests), 1);
    ask(f, 33);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    assert_int_equal(f->n_answers, 1);
    assert_int_equal(status(f).in_flight, 3);
    check_audits(f, 13, 8, 5); /* there was no place to begin with for three of these */
}

static void check_lost(const struct fixture *f, const struct job *shadow, const struct job *first)
{
    assert_int_equal(outcome_told(f).request, shadow->request);
    assert_int_equal(outcome_told(f).original, first->request);
    assert_int_equal(outcome_told(f).label, -1);
    assert_true(outcome_told(f).audit);
    assert_int_equal(told(f, MESSAGE_CANCEL, 100), 1);
}

/* As often as a request would be. */
static void test_a_shadow_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct job *shadow = &f->job[1];
    audited(f);
    ask(f, 1);
    result(f, &f->job[0], FL_OK, 0);
    assert_int_equal(f->n_jobs, 2);
    hello(f, 2, 0, 121); /* its worker died */
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 3);
    assert_int_equal(f->job[2].request, shadow->request);
    assert_int_equal(f->job[2].flags, JOB_AUDIT | JOB_SAMPLED | JOB_SHADOW);
    result(f, &f->job[2], FL_UNAVAILABLE, -1);
    dispatch_tick(f->d, f->now);
    assert_int_equal(f->n_jobs, 4);
    result(f, &f->job[2], FL_UNAVAILABLE, -1); /* twice told of one attempt */
    result(f, &f->job[3], FL_OK, -1);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).original, f->job[0].request);
    assert_int_equal(outcome_told(f).label, 3);
    assert_int_equal(f->n_answers, 1);
    check_audits(f, 1, 1, 0);
    check_nothing_is_left(f);
}

/* Only what an exit answered can be lost so, and a learner has to know. */
static void test_a_lost_shadow_is_told_of(void **state)
{
    struct fixture *f = *state;
    audited(f);
    it_learns(f);
    ask(f, 1);
    result(f, &f->job[0], FL_OK, 0);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(f->n_jobs, i + 1);
        result(f, &f->job[i], FL_UNAVAILABLE, -1);
        dispatch_tick(f->d, f->now);
    }
    assert_int_equal(f->n_jobs, 4);
    check_lost(f, &f->job[1], &f->job[0]);
    result(f, &f->job[3], FL_OK, -1);
    check_audits(f, 1, 0, 1);
    check_nothing_is_left(f);

    f->n_jobs = f->n_control = 0;
    ask(f, 2);
    result(f, &f->job[0], FL_OK, 0);
    for (int i = 0; i < 2000; i++) { /* its result never comes */
        if (!requests_shadows(f->d->requests))
            break;
        f->n_control = 0;
        pass(f, 20);
        beat_all(f, 0);
        it_learns(f);
    }
    assert_int_equal(f->n_jobs, 4);
    assert_true(outcome_told(f).audit);
    assert_int_equal(outcome_told(f).label, -1);
    check_audits(f, 2, 0, 2);
    check_nothing_is_left(f);
}

/* Hits and misses alike, known or not: only the first, a hit that waits, is told of as lost. */
static void test_for_bytes_all_that_are_drawn_go(void **state)
{
    struct fixture *f = *state;
    struct outcome lost = {0};
    int audits = 0;
    audited(f);
    it_learns(f);
    f->bytes = 100000; /* of 1 MiB */
    for (uint64_t i = 1; i <= 4; i++)
        ask(f, i);
    f->full = 1; /* nothing leaves */
    result(f, &f->job[1], FL_OK, -1);
    result(f, &f->job[0], FL_OK, 0);
    result(f, &f->job[3], FL_OK, 0);
    assert_int_equal(requests_shadows(f->d->requests), 2);
    check_audits(f, 4, 0, 0);
    f->n_control = 0;
    f->bytes = 800000;
    ask(f, 5);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    assert_int_equal(f->n_answers, 3);
    result(f, &f->job[2], FL_OK, 0);
    assert_int_equal(requests_shadows(f->d->requests), 0);
    for (int i = 0; i < f->n_control; i++)
        if (f->control[i].type == MESSAGE_OUTCOME && f->control[i].outcome.audit) {
            lost = f->control[i].outcome;
            audits++;
        }
    assert_int_equal(audits, 1);
    assert_int_equal(lost.label, -1);
    assert_int_equal(lost.original, f->job[0].request);
    f->full = 0;
    pass(f, 1);
    result(f, &f->job[4], FL_OK, -1);
    check_audits(f, 5, 0, 5);
    check_nothing_is_left(f);
}

/* The heartbeat that this member was sent last. */
static struct heartbeat echo_to(const struct fixture *f, uint64_t who)
{
    struct peer p = peer_named(who);
    for (int i = f->n_control - 1; i >= 0; i--)
        if (f->control[i].type == MESSAGE_HEARTBEAT && !memcmp(f->control_to[i].id, p.id, 8))
            return f->control[i].heartbeat;
    fail_msg("nothing was sent to %llu", (unsigned long long)who);
    return (struct heartbeat){0};
}

/* A stage hears what its cache service wants to learn from, unless that has caches of another network. */
static void test_stages_hear_where_is_learned(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    it_learns(f);
    beat_with(f, (struct heartbeat){.incarnation = 100, .worker_ns = 1});
    assert_int_equal(echo_to(f, 100).learns, 6);
    assert_int_equal(echo_to(f, 100).exits, 0);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 2);
    beat_with(f, (struct heartbeat){.incarnation = 100, .worker_ns = 1, .learns = 7});
    assert_int_equal(echo_to(f, 100).learns, 0);
}

static void tick_status(struct fixture *f, struct status_reply *s)
{
    dispatch_tick(f->d, f->now);
    dispatch_status(f->d, s, f->now);
}

/* A learner is a member like a cache service: welcomed, echoed, shown, sent away when another takes its
 * place. Nothing waits for it, and what it is changes no answer. */
static void test_learners_are_members(void **state)
{
    struct fixture *f = *state;
    static struct status_reply s;
    all_workers(f);
    ask(f, 1);
    hello_as(f, ROLE_LEARNER, 0, 0, 300, true, 0);
    hello_as(f, ROLE_LEARNER, 0, REGISTRY_LEARNERS, 301, true, 0); /* no such place */
    assert_int_equal(told(f, MESSAGE_HELLO, 300), 1);
    assert_int_equal(told(f, MESSAGE_DRAIN, 301), 1);
    beat_with(f, (struct heartbeat){.incarnation = 300, .worker_ns = 5});
    assert_int_equal(echo_to(f, 300).worker_ns, 5);
    tick_status(f, &s);
    assert_int_equal(s.n_processes, 5);
    assert_int_equal(s.process[4].role, ROLE_LEARNER);
    assert_string_equal(s.process[4].state, "ready");
    hello_as(f, ROLE_LEARNER, 0, 0, 302, true, 0);
    assert_int_equal(told(f, MESSAGE_DRAIN, 300), 1);
    for (int i = 0; i < 30; i++) { /* 302 is silent */
        beat_all(f, 0);
        pass(f, 10);
    }
    tick_status(f, &s);
    assert_string_equal(s.process[4].state, "dead");
    assert_true(s.ready);
    result(f, &f->job[0], FL_OK, -1);
    assert_int_equal(f->answer[0].error, FL_OK);
}

/* The largest share that a living learner asks for, and never less than the file says. While one asks for
 * more, each request teaches. */
static void test_learners_ask_for_audits(void **state)
{
    struct fixture *f = *state;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 0);
    hello_as(f, ROLE_LEARNER, 0, 0, 300, true, 0);
    hello_as(f, ROLE_LEARNER, 0, 1, 301, true, 0);
    ask(f, 1);
    assert_int_equal(f->job[0].flags, 0);
    beat_with(f, (struct heartbeat){.incarnation = 301, .audit_ppm = SHARE_PPM});
    beat_with(f, (struct heartbeat){.incarnation = 300, .audit_ppm = 1});
    ask(f, 2);
    assert_int_equal(f->job[1].flags, JOB_SAMPLED);
    hello_as(f, ROLE_LEARNER, 0, 1, 301, false, 0); /* goodbye */
    ask(f, 3);
    assert_int_equal(f->job[2].flags, JOB_SAMPLED);
    check_audits(f, 1, 0, 0);
    hello_as(f, ROLE_LEARNER, 0, 0, 300, false, 0);
    ask(f, 4);
    assert_int_equal(f->job[3].flags, 0);
    f->pipeline.updates.audit = 1;
    ask(f, 5);
    assert_int_equal(f->job[4].flags, JOB_SAMPLED);
    check_audits(f, 2, 0, 0);
}

static uint64_t audits_told(const struct fixture *f)
{
    uint64_t n = 0;
    for (int i = 0; i < f->n_control; i++)
        n += f->control[i].type == MESSAGE_OUTCOME && f->control[i].outcome.audit &&
             f->control[i].outcome.label >= 0;
    return n;
}

/* Random events for a long while: each admitted request gets exactly one answer. */
static void test_nothing_is_lost(void **state)
{
    struct fixture *f = *state;
    static unsigned char answers[3000];
    uint64_t next = 0, done = 0, drawn;
    srand(3);
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    f->pipeline.updates.audit = 0.3;
    for (int step = 0; step < 6000; step++) {
        uint64_t incarnation = 1000 + (uint64_t)step;
        f->n_control = 0;
        if (next < 3000 && rand() % 2)
            ask_with(f, next++, (uint32_t)(rand() % 400), 0);
        for (int i = 0; i < f->n_jobs; i++)
            if (rand() % 3)
                result(f, &f->job[i], rand() % 5 ? FL_OK : FL_UNAVAILABLE,
                       f->job[i].flags & JOB_SHADOW || rand() % 2 ? -1 : 0);
        f->n_jobs = 0;
        beat(f, 200);
        for (uint32_t s = 0; s < 3; s++)
            for (uint32_t r = 0; r < (s == 1 ? 2 : 1); r++) {
                const struct member *m = registry_worker(f->d->registry, (int)s, (int)r);
                if (rand() % 20 == 0)
                    hello_as(f, ROLE_STAGE, s, r, incarnation + s * 8 + r, rand() % 4, 1);
                else if (rand() % 8)
                    beat(f, m->hello.incarnation);
            }
        pass(f, (uint64_t)(rand() % 20));
        done += audits_told(f);
        for (int i = 0; i < f->n_answers; i++)
            answers[f->answer[i].id]++;
        f->n_answers = 0;
    }
    f->n_control = 0;
    dispatch_abandon(f->d, f->now);
    done += audits_told(f);
    for (int i = 0; i < f->n_answers; i++)
        answers[f->answer[i].id]++;
    assert_true(next > 2000);
    for (uint64_t i = 0; i < next; i++)
        assert_int_equal(answers[i], 1);
    check_nothing_is_left(f);
    assert_true(done > 50);
    drawn = f->d->counters.audits_drawn + f->d->counters.audits_refused;
    check_audits(f, drawn, done, drawn - done);
}

static void test_sampling_follows_its_shares(void **state)
{
    int sampled = 0, audited = 0, both = 0;
    for (uint64_t id = 1; id <= 100000; id++) {
        uint32_t flags = sampling_flags(id, 0, 0.25);
        bool audit = sampling_audits(id, 0.1);
        assert_int_equal(flags, sampling_flags(id, 0, 0.25));
        sampled += (flags & JOB_SAMPLED) != 0;
        audited += audit;
        both += audit && flags;
        assert_int_equal(sampling_flags(id, JOB_NO_CACHE | JOB_AUDIT, 0.25), JOB_NO_CACHE);
        assert_true(sampling_audits(id, 1));
        assert_false(sampling_audits(id, 0));
    }
    assert_in_range(sampled, 24500, 25500);
    assert_in_range(audited, 9600, 10400);
    assert_in_range(both, 2350, 2650);
    assert_int_equal(sampling_flags(1, JOB_SAMPLED | JOB_SHADOW | JOB_TELL, 0), 0);
    assert_int_equal(sampling_flags(1, JOB_AUDIT, 0), JOB_AUDIT | JOB_SAMPLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_what_clients_run_to_the_end_is_no_audit),
        test(test_an_audit_that_no_exit_answered_is_done),
        test(test_an_audit_tells_the_scores),
        test(test_an_audit_that_an_exit_answered_has_a_shadow),
        test(test_audits_are_told_in_the_order_of_the_draw),
        test(test_a_shadow_can_be_no_hit),
        test(test_shadows_are_below_other_work),
        test(test_shadows_refuse_nobody),
        test(test_a_shadow_is_tried_again),
        test(test_a_lost_shadow_is_told_of),
        test(test_for_bytes_all_that_are_drawn_go),
        test(test_learners_ask_for_audits),
        test(test_stages_hear_where_is_learned),
        test(test_learners_are_members),
        test(test_nothing_is_lost),
        test(test_sampling_follows_its_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
