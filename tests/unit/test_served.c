/* test_served.c - what is shown of a running pipeline is what answers, and notes say where the files are
 * others */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/process/served.h"
#include "deploy/process/serving.h"

/* Digests here are told apart by their first byte. */
struct fixture {
    struct pipeline p;
    struct model_shape file;
    struct promise_record built;
    struct status_reply reply;
    struct served served;
    char note[SERVED_MAX_NOTES][SERVED_NOTE_BYTES];
};

static struct process_status *add(struct fixture *f, uint32_t role, const char *state, uint8_t identity)
{
    struct process_status *s = &f->reply.process[f->reply.n_processes++];
    s->role = role;
    snprintf(s->state, sizeof s->state, "%s", state);
    s->identity[0] = identity;
    if (role == ROLE_STAGE)
        s->model[0] = s->plan[0] = identity;
    return s;
}

/* Two stages and a service that answers from build 7; the files are those that it was all started from. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct process_status *cache;
    *state = f;
    if (!f)
        return -1;
    f->p.path = "P.yaml";
    f->p.state = "st";
    f->p.cache.rule = THRESHOLD_RISK;
    f->p.cache.promise = "accuracy";
    f->p.cache.max_accuracy_loss = 0.5;
    f->p.cache.certainty = 0.95;
    f->file.identity.model[0] = f->file.identity.digest[0] = f->file.plan[0] = 1;
    f->built = (struct promise_record){.known = true, .build = {7}, .identity = {1}, .n_caches = 2};
    add(f, ROLE_STAGE, "ready", 1);
    add(f, ROLE_STAGE, "ready", 1);
    cache = add(f, ROLE_CACHE, "ready", 1);
    cache->caches = (struct caches_told){.build = {7},
                                         .built = 2,
                                         .loaded = 2,
                                         .promise = {.made = true, .max_loss = 0.02, .certainty = 0.95}};
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static int notes(struct fixture *f)
{
    served_take(&f->served, &f->reply, &f->file, &f->built, &f->p);
    return served_notes(&f->served, &f->p, f->note);
}

static void expect(struct fixture *f, int n, const char *says)
{
    for (int i = 0; i < n; i++)
        if (strstr(f->note[i], says))
            return;
    fail_msg("no note says \"%s\"", says);
}

static struct process_status *cache(struct fixture *f)
{
    return &f->reply.process[2];
}

static void nothing_is_noted_when_all_is_as_the_files_say(void **state)
{
    struct fixture *f = *state;
    cache(f)->last.caches = 0; /* no heartbeat yet */
    assert_int_equal(notes(f), 0);
    assert_int_equal(f->served.file, SERVED_SAME);
}

static void the_promise_is_of_what_answers_not_of_what_was_built_since(void **state)
{
    struct fixture *f = *state;
    int n;
    f->built.build[0] = 8;
    f->built.promised = true;
    f->built.promise.terms = (struct promise_terms){false, 0.005, 0.95};
    n = notes(f);
    assert_int_equal(n, 1);
    expect(f, n, "a build in st/caches is not served yet: `freezeline apply -c P.yaml` takes it");
    assert_true(f->served.answers.promised && f->served.answers.promise.terms.budget == 0.02);
    assert_non_null(strstr(f->served.answers.asked, "0.5 points"));
}

static void a_file_that_describes_something_else_is_noted(void **state)
{
    struct fixture *f = *state;
    int n;
    f->file.plan[0] = 2;
    n = notes(f);
    assert_int_equal(f->served.file, SERVED_OTHER_PLAN);
    expect(f, n, "other cuts or exits than P.yaml describes now: `freezeline apply -c P.yaml`");
    f->file.identity.digest[0] = 2;
    n = notes(f);
    assert_int_equal(f->served.file, SERVED_OTHER_INPUT);
    f->file.identity.model[0] = 2;
    n = notes(f);
    assert_int_equal(f->served.file, SERVED_OTHER_MODEL);
    expect(f, n, "serves another model than P.yaml describes");
    assert_int_equal(n, 1);
}

/* Retrained and built in place; the cache service started again, the stages did not. */
static void foreign_caches_answer_nothing_and_promise_nothing(void **state)
{
    struct fixture *f = *state;
    int n;
    f->file.identity.model[0] = f->file.identity.digest[0] = f->file.plan[0] = 2;
    f->built.build[0] = cache(f)->caches.build[0] = 8;
    f->built.identity[0] = cache(f)->identity[0] = 2;
    n = notes(f);
    assert_int_equal(n, 2);
    expect(f, n, "cache0 has caches of another model than the stages serve: its look-ups are misses");
    assert_false(f->served.answers.known);
}

static void those_that_wait_are_noted(void **state)
{
    struct fixture *f = *state;
    struct process_status *w = add(f, ROLE_STAGE, "waiting", 2);
    int n;
    w->stage = 1;
    w->pid = 77;
    n = notes(f);
    assert_int_equal(n, 1);
    expect(f, n, "stage1.0 (pid 77) waits: it was started from something else than P.yaml describes now");
    f->file.plan[0] = 2;
    n = notes(f);
    assert_int_equal(n, 2);
    expect(f, n, "1 stage worker of another plan waits for the pipeline to move on");
}

static void caches_of_another_model_on_disk_ask_for_a_build(void **state)
{
    struct fixture *f = *state;
    int n;
    f->built.build[0] = 8;
    f->built.identity[0] = 9;
    n = notes(f);
    assert_int_equal(n, 1);
    expect(f, n, "the caches in st/caches are of another model than P.yaml describes: build again");
}

static void missing_caches_are_told_with_a_command_that_works(void **state)
{
    struct fixture *f = *state;
    int n;
    cache(f)->caches.loaded = 1;
    n = notes(f);
    assert_int_equal(n, 1);
    expect(
        f, n,
        "cache0 answers from 1 of the 2 caches that were built: `freezeline logs -c P.yaml cache0` says why; "
        "what is mended is read after `freezeline restart -c P.yaml cache0`");
    memset(&cache(f)->caches, 0, sizeof cache(f)->caches);
    n = notes(f);
    assert_int_equal(n, 1);
    expect(f, n, "not served yet");
    f->built.known = false;
    assert_int_equal(notes(f), 0);
}

/* A cold start that is no longer taught: without a learner nobody else says it. */
static void caches_that_never_come_are_told(void **state)
{
    struct fixture *f = *state;
    static char redis[] = "unix:redis.sock";
    int n;
    f->built.n_caches = 0;
    cache(f)->caches.built = cache(f)->caches.loaded = 0;
    n = notes(f);
    assert_int_equal(n, 1);
    expect(f, n, "cache0 has no caches and learns none");
    add(f, ROLE_LEARNER, "ready", 1);
    assert_int_equal(notes(f), 0);
    f->reply.n_processes--;
    f->p.redis.endpoint = redis;
    f->p.updates.learn = true;
    assert_int_equal(notes(f), 0);
}

static void the_dead_say_nothing(void **state)
{
    struct fixture *f = *state;
    strcpy(f->reply.process[0].state, "dead");
    f->reply.process[0].model[0] = f->reply.process[0].identity[0] = f->reply.process[0].plan[0] = 5;
    strcpy(cache(f)->state, "dead");
    assert_int_equal(notes(f), 0);
    assert_false(f->served.answers.known);
    strcpy(f->reply.process[1].state, "dead");
    assert_int_equal(notes(f), 0);
    assert_int_equal(f->served.file, SERVED_UNKNOWN);
}

static void where_requests_go_is_told_of_each_door(void **state)
{
    struct fixture *f = *state;
    static char ipc[] = "ipc://st/sock/requests", at[] = "127.0.0.1:8000", any[] = "127.0.0.1:0";
    static const struct {
        char *http;
        bool tls;
        const char *says;
    } wanted[] = {{NULL, false, "requests go to ipc://st/sock/requests"},
                  {any, false, "requests go to ipc://st/sock/requests"},
                  {at, false, "requests go to ipc://st/sock/requests and http://127.0.0.1:8000"},
                  {at, true, "requests go to ipc://st/sock/requests and https://127.0.0.1:8000"}};

    f->p.broker.requests = ipc;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        char text[200] = "";
        FILE *to = fmemopen(text, sizeof text, "w");
        assert_non_null(to);
        f->p.broker.http = wanted[i].http;
        f->p.broker.http_tls = wanted[i].tls;
        served_where(&f->p, to);
        fclose(to);
        assert_string_equal(text, wanted[i].says);
    }
}

static void a_report_says_the_same(void **state)
{
    struct fixture *f = *state;
    json_t *root = json_object(), *serves;
    f->built.build[0] = 8;
    served_take(&f->served, &f->reply, &f->file, &f->built, &f->p);
    served_report(&f->served, &f->p, root);
    serves = json_object_get(root, "serves");
    assert_string_equal(json_string_value(json_object_get(serves, "file")), "same");
    assert_memory_equal(json_string_value(json_object_get(serves, "build")), "0700", 4);
    assert_true(json_is_true(json_object_get(serves, "unserved_build")));
    assert_int_equal(json_array_size(json_object_get(root, "notes")), 1);
    assert_true(json_number_value(json_object_get(json_object_get(root, "promise"), "max_loss")) == 0.02);
    json_decref(root);
}

/* Each set that `apply` is given is judged by itself. */
static void a_set_that_up_did_not_have_is_refused_by_its_own_reason(void **state)
{
    static const struct {
        const char *set[2], *why; /* NULL: it is taken */
    } given[] = {
        {{"redis.managed=true", "broker.deadline_ms=2"}, NULL},
        {{"redis.managed=true", "broker.deadline_ms=3"}, "another value by --set"},
        {{"broker.deadline_ms=2", "broker.retries=1"}, "did not come up with it"},
    };
    struct serving now = {
        .arguments.sets = {3, {"broker.deadline_ms=1", "broker.deadline_ms=2", "redis.managed=true"}}};
    (void)state;
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        const struct argument_list sets = {2, {given[i].set[0], given[i].set[1]}};
        struct error e = {0};
        assert_int_equal(serving_check_sets(&now, &sets, "P.yaml", &e), given[i].why ? FL_USAGE : FL_OK);
        assert_true(!given[i].why || strstr(e.text, given[i].why));
    }
}

int main(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        test(nothing_is_noted_when_all_is_as_the_files_say),
        test(the_promise_is_of_what_answers_not_of_what_was_built_since),
        test(a_file_that_describes_something_else_is_noted),
        test(foreign_caches_answer_nothing_and_promise_nothing),
        test(those_that_wait_are_noted),
        test(caches_of_another_model_on_disk_ask_for_a_build),
        test(missing_caches_are_told_with_a_command_that_works),
        test(caches_that_never_come_are_told),
        test(the_dead_say_nothing),
        test(where_requests_go_is_told_of_each_door),
        test(a_report_says_the_same),
        test(a_set_that_up_did_not_have_is_refused_by_its_own_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
