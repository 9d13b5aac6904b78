/* test_http_access.c - tokens and roles of HTTP clients */
#include <stdio.h>
#include <string.h>

#include "tests/testing.h"
#include "broker/http/http_access.h"

#define NOW 1800000000

static char token[HTTP_TOKEN_BYTES], other[HTTP_TOKEN_BYTES];

static void add(struct http_access *a, const char *t, enum party role, const char *name, int64_t until_s)
{
    struct allowed one = {.role = role, .until_s = until_s};
    http_token_hash(one.key, t, strlen(t));
    snprintf(one.name, sizeof one.name, "%s", name);
    assert_int_equal(allow_list_add(&a->tokens, &one, NULL), FL_OK);
}

static enum party asks(const struct http_access *a, const char *format, const char *t)
{
    char header[1024];
    snprintf(header, sizeof header, format, t);
    return http_access_guest(a, header, NULL, NOW).party;
}

static void a_token_says_who_asks(void **state)
{
    struct http_access a = {.on = true};
    char longer[HTTP_TOKEN_BYTES + 1];
    (void)state;
    assert_int_equal(http_token_new(token, NULL), FL_OK);
    assert_int_equal(http_token_new(other, NULL), FL_OK);
    assert_int_equal(strlen(token), HTTP_TOKEN_BYTES - 2);
    assert_string_not_equal(token, other);
    assert_int_equal(asks(&a, "Bearer %s", token), PARTY_NOBODY);
    add(&a, token, PARTY_CLIENT, "alice", NOW + 1);
    assert_int_equal(asks(&a, "Bearer %s", token), PARTY_CLIENT);
    assert_int_equal(asks(&a, "bearer %s", token), PARTY_CLIENT);
    assert_int_equal(asks(&a, "Bearer %s", other), PARTY_NOBODY);
    assert_int_equal(asks(&a, "Bearer  %s", token), PARTY_NOBODY);
    assert_int_equal(asks(&a, "%s", token), PARTY_NOBODY);
    assert_int_equal(asks(&a, "Bearer %.3s", token), PARTY_NOBODY);
    assert_int_equal(asks(&a, "Bearer ", token), PARTY_NOBODY);
    assert_int_equal(asks(&a, "Negotiate %s", token), PARTY_NOBODY);
    snprintf(longer, sizeof longer, "%s=", token);
    assert_int_equal(asks(&a, "Bearer %s", longer), PARTY_NOBODY);
    assert_int_equal(http_access_guest(&a, NULL, NULL, NOW).party, PARTY_NOBODY);
    assert_int_equal(asks(&a, "Bearer %s", a.tokens.entry[0].key), PARTY_NOBODY); /* the file opens nothing */
    a.tokens.entry[0].until_s = NOW;
    assert_int_equal(asks(&a, "Bearer %s", token), PARTY_NOBODY);
    a.tokens.entry[0].until_s = 0;
    a.tokens.entry[0].role = PARTY_BROKER; /* not over HTTP */
    assert_int_equal(asks(&a, "Bearer %s", token), PARTY_NOBODY);
    a.on = false;
    assert_int_equal(asks(&a, "Bearer %s", other), PARTY_LOCAL);
    allow_list_free(&a.tokens);
}

static void browsers_give_it_as_a_password(void **state)
{
    struct http_access a = {.on = true};
    (void)state;
    add(&a, "secret", PARTY_OPERATOR, "opa", 0);
    assert_int_equal(asks(&a, "Basic %s", "eDpzZWNyZXQ="), PARTY_OPERATOR); /* x:secret */
    assert_int_equal(asks(&a, "Basic %s", "OnNlY3JldA=="), PARTY_OPERATOR); /* :secret */
    assert_int_equal(asks(&a, "Basic %s", "c2VjcmV0"), PARTY_NOBODY);       /* secret */
    assert_int_equal(asks(&a, "Basic %s", "!!!!"), PARTY_NOBODY);
    assert_int_equal(asks(&a, "Basic %s", ""), PARTY_NOBODY);
    allow_list_free(&a.tokens);
}

static void each_path_has_its_parties(void **state)
{
    static const struct {
        enum http_target target;
        int nobody, client;
    } table[] = {{TARGET_LIVE, 0, 0},       {TARGET_READY, 0, 0},          {TARGET_MODEL_READY, 0, 0},
                 {TARGET_SERVER, 401, 0},   {TARGET_MODEL, 401, 0},        {TARGET_INFER, 401, 0},
                 {TARGET_FEEDBACK, 401, 0}, {TARGET_NONE, 401, 0},         {TARGET_METRICS, 401, 403},
                 {TARGET_PAGE, 401, 403},   {TARGET_LIVE_STATE, 401, 403}, {TARGET_INDEX, 401, 0},
                 {TARGET_TRACES, 401, 403}, {TARGET_SET_TRACES, 401, 403}, {TARGET_LOAD, 401, 403},
                 {TARGET_UNLOAD, 401, 403}};
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (int control = 0; control < 2; control++) { /* it opens nothing to those who are asked */
            assert_int_equal(http_access_refuses(table[i].target, PARTY_NOBODY, control), table[i].nobody);
            assert_int_equal(http_access_refuses(table[i].target, PARTY_CLIENT, control), table[i].client);
            assert_int_equal(http_access_refuses(table[i].target, PARTY_OPERATOR, control), 0);
        }
        assert_int_equal(http_access_refuses(table[i].target, PARTY_LOCAL, true), 0);
        assert_int_equal(http_access_refuses(table[i].target, PARTY_LOCAL, false),
                         http_changes(table[i].target) ? 403 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_who_asks),
        cmocka_unit_test(browsers_give_it_as_a_password),
        cmocka_unit_test(each_path_has_its_parties),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
