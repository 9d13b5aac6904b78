/* test_epoch_report.c - what is shown of what serves and of what is being certified */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/observe/epoch_report.h"

static struct status_reply reply;

static struct epoch_told *learner(enum epoch_state state)
{
    struct process_status *p = &reply.process[1];
    memset(&reply, 0, sizeof reply);
    reply.n_processes = 2;
    reply.process[0].role = ROLE_CACHE;
    reply.n_exits = 2;
    reply.answered = 1000;
    reply.exit[0].answered = 600;
    p->role = ROLE_LEARNER;
    strcpy(p->state, "ready");
    p->caches.promise =
        (struct caches_promise){.made = true, .agreement = true, .max_loss = 0.01, .certainty = 0.95};
    p->last.learning.accepted = 4321;
    p->last.told = (struct epoch_told){.state = state,
                                       .serial = 7,
                                       .age_ms = 12000,
                                       .audits = 4000,
                                       .differ = 20,
                                       .lost = 20,
                                       .lower = 0.002,
                                       .upper = 0.009,
                                       .n_exits = 2,
                                       .threshold = {1.5f, INFINITY},
                                       .answered = {2400, 0},
                                       .exit_lost = {20, 0}};
    return &p->last.told;
}

static void says(const char *text, bool due)
{
    char *all = NULL;
    size_t size;
    FILE *to = open_memstream(&all, &size);
    assert_non_null(to);
    epoch_print(&reply, NULL, to);
    fclose(to);
    if (!strstr(all, text) == due)
        fail_msg("\"%s\" %s \"%s\"", all, due ? "does not say" : "says", text);
    free(all);
}

static void where_no_learner_works_nothing_is_said(void **state)
{
    learner(EPOCH_NOT);
    assert_null(epoch_learner(&reply));
    says("epoch", false);
    json_t *o = epoch_json(&reply, NULL);
    assert_true(json_is_null(o));
    json_decref(o);
    learner(EPOCH_SERVING);
    strcpy(reply.process[1].state, "dead");
    assert_null(epoch_learner(&reply));
}

static void what_serves_is_said_with_its_losses(void **state)
{
    learner(EPOCH_SERVING);
    says("learner0, serving: epoch 7 serves for 12 s\n", true);
    says("4000 audits since then: 0.50% lost (95% certain: 0.20% to 0.90%), 50.00% of the budget of 1.00% "
         "agreement",
         true);
    says("threshold      1.5  answers  60.00% of all requests  loses   0.50%", true);
    says("threshold      off  answers   0.00%", true);
    learner(EPOCH_SERVING)->upper = 0.02;
    says("(95% certain: 0.20% to 2.00%), too few to tell whether it is within 1.00% of agreement", true);
    learner(EPOCH_TIGHTENED);
    says("tightened after an alarm", true);
    learner(EPOCH_OFF);
    says("the network answers until caches are certified anew", true);
}

static void without_labels_a_budget_of_accuracy_is_not_called_exceeded(void **state)
{
    struct epoch_told *t = learner(EPOCH_SERVING);
    reply.process[1].caches.promise.agreement = false;
    says("0.50% differ from the network (95% certain: 0.20% to 0.90%), 50.00% of the budget of 1.00% "
         "accuracy\n",
         true);
    t->lower = -0.03;
    t->upper = 0.06;
    says("differ from the network (95% certain: 0.00% to 6.00%)", true);
    t->lower = 0.02;
    says("only true labels (`freezeline feedback`) tell how much of the budget of 1.00% accuracy that is\n",
         true);
    reply.feedback_taken = 4000;
    says("0.50% lost (95% certain: 2.00% to 6.00%), 50.00% of the budget of 1.00% accuracy\n", true);
    says("only true labels", false);
}

static void the_way_to_the_first_epoch_is_said(void **state)
{
    struct epoch_told *t = learner(EPOCH_COLD);
    says("learner0, cold: nothing is certified yet", true);
    t->teaching = true;
    says("learner0, teaching:", true);
    t->candidate = 2;
    t->judged = 812;
    t->needed = 1500;
    says("learner0, certifying:", true);
    says("candidate 2 is certified: 812 audits of about 1500", true);
    t->frozen = true;
    says("learner0, frozen:", true);
}

static void as_json_all_of_it_is_there(void **state)
{
    json_t *o, *exits;
    learner(EPOCH_SERVING);
    assert_non_null(o = epoch_json(&reply, NULL));
    assert_string_equal(json_string_value(json_object_get(o, "state")), "serving");
    assert_true(json_real_value(json_object_get(o, "budget_used")) == 0.5);
    exits = json_object_get(o, "exits");
    assert_int_equal(json_array_size(exits), 2);
    assert_true(json_is_null(json_object_get(json_array_get(exits, 1), "threshold")));
    assert_true(json_real_value(json_object_get(json_array_get(exits, 0), "hit_rate")) == 0.6);
    assert_true(json_real_value(json_object_get(json_array_get(exits, 0), "loss_upper")) > 0.005);
    json_decref(o);
}

/* A learner may be another version, or none: whatever it says, nothing breaks. */
static void no_number_is_too_large(void **state)
{
    struct epoch_told *t = learner(EPOCH_SERVING);
    json_t *o;
    memset(t, 0xff, sizeof *t);
    t->state = EPOCH_STATES + 3;
    t->teaching = t->frozen = true;
    t->n_exits = PIPELINE_MAX_EXITS;
    says("learner0", true);
    assert_non_null(o = epoch_json(&reply, NULL));
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_no_learner_works_nothing_is_said),
        cmocka_unit_test(what_serves_is_said_with_its_losses),
        cmocka_unit_test(without_labels_a_budget_of_accuracy_is_not_called_exceeded),
        cmocka_unit_test(the_way_to_the_first_epoch_is_said),
        cmocka_unit_test(as_json_all_of_it_is_there),
        cmocka_unit_test(no_number_is_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
