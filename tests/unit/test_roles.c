/* test_roles.c - in which state a process is, by what brokers say of others */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "deploy/process/roles.h"

static struct pipeline *pipeline_of(const char *more)
{
    struct pipeline *p;
    struct error e;
    char text[400];

    snprintf(text, sizeof text, "model: m.onnx\nstages: 1\nredis: {managed: true}\n%s", more);
    if (pipeline_parse(&p, text, strlen(text), "p.yaml", NULL, 0, &e))
        fail_msg("%s", e.text);
    return p;
}

static void tell(struct status_reply *s, enum message_role role, const char *state, bool redis_up)
{
    struct process_status *t = &s->process[s->n_processes++];

    t->role = role;
    t->last.redis_up = redis_up;
    snprintf(t->state, sizeof t->state, "%s", state);
}

static void assert_state(const struct pipeline *p, const struct status_reply *s, const char *name,
                         const char *state)
{
    struct role role[ROLES_MAX];
    const char *is;
    int n;

    assert_int_equal(roles_list(p, role, &n, NULL), FL_OK);
    for (int i = 0; i < n; i++)
        if (!strcmp(role[i].name, name)) {
            is = roles_state(s, p, &role[i]);
            if ((is != NULL) != (state != NULL) || (is && strcmp(is, state) != 0))
                fail_msg("%s is %s, not %s", name, is ? is : "unknown", state ? state : "unknown");
            return;
        }
    fail_msg("no %s", name);
}

static void redis_is_as_cache_services_see_it(void **state)
{
    struct pipeline *p = pipeline_of("");
    struct status_reply *s = calloc(1, sizeof *s);

    assert_state(p, s, "redis", NULL); /* nobody answered */
    s->started_ns = 1;
    assert_state(p, s, "redis", NULL); /* nobody knows */
    tell(s, ROLE_CACHE, "dead", true);
    assert_state(p, s, "redis", NULL);
    tell(s, ROLE_CACHE, "ready", false);
    assert_state(p, s, "redis", "no answer");
    tell(s, ROLE_CACHE, "ready", true);
    assert_state(p, s, "redis", "ready");
    assert_state(p, s, "cache0", "ready");
    assert_state(p, s, "stage0.0", NULL);
    free(s);
    pipeline_free(p);
}

static void a_broker_that_says_nothing_is_not_ready(void **state)
{
    struct pipeline *one = pipeline_of(""), *two = pipeline_of("broker: {replicas: 2}\n");
    struct status_reply *s = calloc(1, sizeof *s);

    assert_state(one, s, "broker", NULL);
    s->started_ns = 1;
    assert_state(one, s, "broker", "ready"); /* who else has answered? */
    tell(s, ROLE_BROKER, "ready", false);
    assert_state(two, s, "broker", "ready");
    assert_state(two, s, "broker1", "no answer");
    free(s);
    pipeline_free(two);
    pipeline_free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_is_as_cache_services_see_it),
        cmocka_unit_test(a_broker_that_says_nothing_is_not_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
