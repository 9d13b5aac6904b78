/* test_labels.c - what clients say of the truth goes to who learns from it */
#include "dispatch_world.h"

static void label(struct fixture *f, const struct feedback_item *item, int n)
{
    static struct message m;
    struct peer p = peer_named(7);
    memset(&m, 0, sizeof m);
    m.type = MESSAGE_FEEDBACK;
    m.feedback.sequence = 77;
    m.feedback.n = n;
    memcpy(m.feedback.item, item, (size_t)n * sizeof *item);
    dispatch_client(f->d, &p, &m, NULL, f->now);
    assert_int_equal(f->said.sequence, 77);
}

static void learns_under_a_promise(struct fixture *f)
{
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.updates.learn = true;
    all_workers(f);
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    it_learns(f);
}

static void test_labels_of_answered_requests_go_to_a_cache_service(void **state)
{
    struct fixture *f = *state;
    const struct message *told;
    uint64_t past, here;
    learns_under_a_promise(f);
    ask(f, 1);
    ask(f, 2);
    past = f->job[0].request;
    here = f->job[1].request;
    result(f, &f->job[0], 0, -1);
    label(f,
          (const struct feedback_item[]){{past, 3},
                                         {here, 1},
                                         {past + 800, 1},
                                         {past ^ 1ull << 60, 1},
                                         {0, 1},
                                         {UINT64_MAX, 1},
                                         {past, -1},
                                         {past, MESSAGE_MAX_LABEL + 1}},
          8);
    told = &f->control[f->n_control - 1];
    assert_true(f->said.taken == 1 && f->said.early == 2 && f->said.foreign == 3 && f->said.wrong == 2);
    assert_true(f->said.later == 0 && f->said.error == 0 && f->said.n == 0);
    assert_int_equal(told->type, MESSAGE_FEEDBACK);
    assert_true(told->feedback.n == 1 && told->feedback.item[0].request == past);
    assert_int_equal(told->feedback.item[0].label, 3);
    assert_memory_equal(f->control_to[f->n_control - 1].id, peer_named(200).id, 8);
    assert_true(f->d->counters.feedback_taken == 1 && f->d->counters.feedback_refused == 7);
}

static void test_labels_come_at_a_limited_rate(void **state)
{
    struct fixture *f = *state;
    static struct feedback_item item[MESSAGE_MAX_FEEDBACK];
    uint32_t taken = 0;
    learns_under_a_promise(f);
    ask(f, 1);
    result(f, &f->job[0], 0, -1);
    for (int i = 0; i < MESSAGE_MAX_FEEDBACK; i++)
        item[i] = (struct feedback_item){f->job[0].request, 1};
    for (int i = 0; i < 100; i++) {
        f->n_control = 0;
        label(f, item, MESSAGE_MAX_FEEDBACK);
        assert_int_equal(f->said.taken + f->said.later, MESSAGE_MAX_FEEDBACK);
        taken += f->said.taken;
    }
    assert_int_equal(taken, 20000);
    assert_int_equal(f->said.later, MESSAGE_MAX_FEEDBACK);
    f->now += 10 * MS;
    label(f, item, MESSAGE_MAX_FEEDBACK);
    assert_int_equal(f->said.taken, 200);
}

static void test_labels_are_refused_where_nobody_learns(void **state)
{
    struct fixture *f = *state;
    const struct feedback_item item = {1, 1};
    label(f, &item, 1);
    assert_int_equal(f->said.error, FL_UNSUPPORTED); /* max-wrong */
    f->pipeline.cache.rule = THRESHOLD_RISK;
    f->pipeline.updates.learn = true;
    all_workers(f);
    label(f, &item, 1);
    assert_int_equal(f->said.error, FL_UNAVAILABLE); /* no cache service */
    hello_as(f, ROLE_CACHE, 0, 0, 200, true, 1);
    label(f, &item, 1);
    assert_int_equal(f->said.error, FL_UNAVAILABLE); /* it keeps nothing */
    assert_int_equal(f->said.taken, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(test_labels_of_answered_requests_go_to_a_cache_service),
        test(test_labels_come_at_a_limited_rate),
        test(test_labels_are_refused_where_nobody_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
