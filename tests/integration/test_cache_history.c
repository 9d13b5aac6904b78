/* test_cache_history.c - the history, kept epochs and the frozen word in a real Redis */
#include "tool_world.h"

#include <math.h>

#include "cache_service/store/store_history.h"
#include "tests/unit/cache_samples.h"

enum { SAMPLE_DIM = 4, SAMPLE_CLASSES = 2, SAMPLE_EXITS = 2 };

struct shelf {
    struct harness *h;
    char endpoint[HARNESS_PATH];
    struct redis_link *link;
    struct store *store;
    struct redis_config config;
    struct error e;
};

static struct shelf *shelf_new(void)
{
    struct shelf *s = calloc(1, sizeof *s);
    s->h = harness_new(NULL, "name: test\ncache: {threshold: risk, max_accuracy_loss: 1.0}\n");
    if (harness_redis(s->h, s->endpoint) < 0) {
        harness_free(s->h);
        free(s);
        skip();
    }
    s->config.endpoint = s->endpoint;
    assert_int_equal(redis_link_new(&s->link, &s->config, NULL, &s->e), FL_OK);
    assert_int_equal(redis_link_open(s->link, &s->e), FL_OK);
    assert_int_equal(store_new(&s->store, s->link, "test", "0123456789abcdef", &s->e), FL_OK);
    return s;
}

static void shelf_free(struct shelf *s)
{
    store_free(s->store);
    redis_link_free(s->link);
    harness_free(s->h);
    free(s);
}

/* Any command, for what nobody should do. */
static void redis_do(struct shelf *s, int n, const char *const *words)
{
    struct redis_args a = {0};
    redisReply *r;
    for (int i = 0; i < n; i++)
        redis_args_text(&a, words[i]);
    if (redis_link_call(s->link, &a, &r, &s->e))
        fail_msg("%s", s->e.text);
    freeReplyObject(r);
    redis_args_free(&a);
}
#define REDIS_DO(s, ...)                                                             \
    redis_do(s, (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *)), \
             (const char *[]){__VA_ARGS__})

/* A promised epoch: caches as they are read from bytes, so that their digests are known. */
static struct snapshot *epoch(struct shelf *s, uint64_t generation, float threshold)
{
    const float points[] = {1, 0, 0, 0, 0, 1, 0, 0};
    struct manifest m = {
        .generation = generation, .n_exits = SAMPLE_EXITS, .promised = true, .applied = "5-0"};
    struct cache *made = sample_knn(SAMPLE_DIM, SAMPLE_CLASSES, 1, points, (const int32_t[]){0, 1}, 2);
    struct snapshot *out;
    void *bytes;
    size_t size;
    m.promise.terms = (struct promise_terms){true, 0.01, 0.95};
    m.promise.loss = m.promise.upper = NAN;
    memset(m.build, 0x11, sizeof m.build);
    strcpy(m.identity.precision, "float32");
    identity_seal(&m.identity);
    made->threshold = threshold;
    memcpy(made->identity, m.identity.digest, sizeof made->identity);
    for (int i = 0; i < SAMPLE_EXITS; i++) {
        snprintf(m.exit[i].name, sizeof m.exit[i].name, "exit%d", i + 1);
        strcpy(m.exit[i].kind, "knn");
        snprintf(m.exit[i].file, sizeof m.exit[i].file, "exit%d.cache", i + 1);
    }
    assert_non_null(out = snapshot_new(&m));
    assert_int_equal(cache_pack(made, &bytes, &size), FL_OK);
    for (int i = 0; i < SAMPLE_EXITS; i++) {
        if (cache_unpack(&out->cache[i], bytes, size, NULL, &s->e))
            fail_msg("%s", s->e.text);
        out->manifest.exit[i].digest = cache_info(out->cache[i]).digest;
    }
    free(bytes);
    cache_free(made);
    return out;
}

static void keep(struct shelf *s, uint64_t serial, float threshold)
{
    struct snapshot *x = epoch(s, serial, threshold);
    if (store_keep(s->store, serial, x, &s->e))
        fail_msg("%s", s->e.text);
    snapshot_free(x);
}

/* --- the history --- */

static void events_come_back_the_newest_first(void **state)
{
    struct shelf *s = shelf_new();
    struct history_event event, *all;
    int n, strange;
    assert_int_equal(store_history_read(s->store, 10, &all, &n, &strange, &s->e), FL_OK);
    assert_true(n == 0 && strange == 0);
    free(all);
    for (int i = 1; i <= STORE_HISTORY_MOST + 5; i++) {
        history_event_now(&event, HISTORY_CERTIFIED);
        event.serial = (uint64_t)i;
        assert_int_equal(store_history_add(s->store, &event, &s->e), FL_OK);
    }
    assert_int_equal(store_history_add(s->store, &event, &s->e), FL_OK); /* as after a lost answer */
    assert_int_equal(store_history_read(s->store, STORE_HISTORY_MOST, &all, &n, &strange, &s->e), FL_OK);
    assert_int_equal(n, STORE_HISTORY_MOST);
    assert_int_equal(all[0].serial, STORE_HISTORY_MOST + 5);
    assert_int_equal(all[n - 1].serial, 6);
    free(all);
    shelf_free(s);
}

static void what_others_wrote_there_is_passed_over(void **state)
{
    static char big[3 * HISTORY_LINE_BYTES];
    struct shelf *s = shelf_new();
    struct history_event event, *all;
    int n, strange;
    memset(big, '{', sizeof big - 1);
    history_event_now(&event, HISTORY_OFF);
    assert_int_equal(store_history_add(s->store, &event, &s->e), FL_OK);
    REDIS_DO(s, "LPUSH", "freezeline:{test}:history", "what?", big, "");
    assert_int_equal(store_history_read(s->store, 10, &all, &n, &strange, &s->e), FL_OK);
    assert_true(n == 1 && strange == 3 && all[0].kind == HISTORY_OFF);
    free(all);
    REDIS_DO(s, "SET", "freezeline:{test}:history", "mine");
    assert_int_equal(store_history_read(s->store, 10, &all, &n, &strange, &s->e), FL_IO);
    assert_int_equal(store_history_add(s->store, &event, &s->e), FL_IO);
    shelf_free(s);
}

/* --- kept epochs --- */

static void the_last_epochs_are_kept(void **state)
{
    struct shelf *s = shelf_new();
    uint64_t serial[STORE_KEPT];
    struct snapshot *back;
    int n;
    assert_int_equal(store_kept_list(s->store, serial, &n, &s->e), FL_OK);
    assert_int_equal(n, 0);
    for (uint64_t i = 1; i <= STORE_KEPT + 3; i++)
        keep(s, i, (float)i);
    keep(s, 9, 90);
    assert_int_equal(store_kept_list(s->store, serial, &n, &s->e), FL_OK);
    assert_int_equal(n, STORE_KEPT);
    assert_true(serial[0] == STORE_KEPT + 3 && serial[n - 1] == 4);
    assert_int_equal(store_kept(s->store, &back, 3, &s->e), FL_NOT_FOUND);
    assert_int_equal(store_kept(s->store, &back, 9, &s->e), FL_OK);
    assert_true(cache_info(back->cache[1]).threshold == 90 && back->manifest.generation == 9);
    snapshot_free(back);
    shelf_free(s);
}

static void a_damaged_epoch_is_not_given_back(void **state)
{
    struct shelf *s = shelf_new();
    struct snapshot *back;
    keep(s, 1, 1);
    keep(s, 2, 2);
    keep(s, 3, 3);
    keep(s, 4, 4);
    REDIS_DO(s, "HDEL", "freezeline:{test}:kept:1", "exit:exit2");
    REDIS_DO(s, "HSET", "freezeline:{test}:kept:2", "exit:exit2", "no cache");
    REDIS_DO(s, "HSET", "freezeline:{test}:kept:3", "manifest", "{}");
    REDIS_DO(s, "HDEL", "freezeline:{test}:kept:4", "sum");
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_not_equal(store_kept(s->store, &back, i, &s->e), FL_OK);
    REDIS_DO(s, "SET", "freezeline:{test}:kept:1", "mine");
    assert_int_equal(store_kept(s->store, &back, 1, &s->e), FL_IO);
    shelf_free(s);
}

static void a_rollback_is_a_later_generation(void **state)
{
    struct shelf *s = shelf_new();
    struct snapshot *serves = epoch(s, 5, 5), *got;
    struct head head = {0}, now;
    struct store_load how = {0};
    assert_int_equal(store_rollback(s->store, 2, &head, &s->e), FL_NOT_FOUND); /* nothing serves */
    memset(&head, 0, sizeof head);
    serves->manifest.learned.candidate = 9;
    assert_int_equal(store_publish(s->store, serves, &head, &s->e), FL_OK);
    assert_int_equal(store_rollback(s->store, 2, &now, &s->e), FL_NOT_FOUND); /* nothing is kept */
    keep(s, 2, 2);
    assert_int_equal(store_rollback(s->store, 2, &now, &s->e), FL_OK);
    assert_true(now.generation == 6 && now.sequence == head.sequence + 1);
    assert_int_equal(store_head(s->store, &head, &s->e), FL_OK);
    assert_string_equal(head.text, now.text);
    assert_int_equal(store_load(s->store, &got, &head, NULL, &how, &s->e), FL_OK);
    assert_true(cache_info(got->cache[0]).threshold == 2 && !how.damaged);
    assert_int_equal(got->manifest.learned.candidate, 9); /* the numbers up to there are spent */
    snapshot_free(got);
    memset(serves->manifest.build, 0x22, sizeof serves->manifest.build);
    assert_int_equal(store_publish(s->store, serves, &head, &s->e), FL_OK);
    assert_int_equal(store_rollback(s->store, 2, &now, &s->e), FL_VALUE); /* of another build */
    snapshot_free(serves);
    shelf_free(s);
}

/* --- frozen --- */

static void frozen_until_thawed(void **state)
{
    struct shelf *s = shelf_new();
    struct store_frozen frozen;
    assert_int_equal(store_frozen(s->store, &frozen, &s->e), FL_OK);
    assert_false(frozen.frozen);
    assert_int_equal(store_thaw(s->store, &s->e), FL_STALE);
    assert_int_equal(store_freeze(s->store, "me\033[2J on here", &s->e), FL_OK);
    assert_int_equal(store_freeze(s->store, "you", &s->e), FL_STALE);
    assert_int_equal(store_frozen(s->store, &frozen, &s->e), FL_OK);
    assert_true(frozen.frozen && frozen.at_ms > 0);
    assert_string_equal(frozen.by, "me?[2J on here");
    assert_int_equal(store_thaw(s->store, &s->e), FL_OK);
    assert_int_equal(store_frozen(s->store, &frozen, &s->e), FL_OK);
    assert_false(frozen.frozen);
    REDIS_DO(s, "LPUSH", "freezeline:{test}:frozen", "x");
    assert_int_equal(store_frozen(s->store, &frozen, &s->e), FL_OK);
    assert_true(frozen.frozen); /* whoever put it there */
    shelf_free(s);
}

/* --- the command --- */

static int cache_tool(struct shelf *s, const char *arguments)
{
    char line[2 * HARNESS_PATH];
    snprintf(line, sizeof line, "%s --set redis.endpoint=%s", arguments, s->endpoint);
    return tool(s->h, "cache", line);
}

static void says(int status, int due, const char *text)
{
    if (status != due || !strstr(output, text))
        fail_msg("exit status %d, \"%s\" does not say \"%s\"", status, output, text);
}

static void event(struct shelf *s, enum history_kind kind, uint64_t serial)
{
    struct history_event x;
    history_event_now(&x, kind);
    x.serial = serial;
    x.points = 1500;
    x.loss = 0.004;
    x.upper = 0.009;
    x.terms = (struct promise_terms){true, 0.01, 0.95};
    x.early_share = 0.6;
    x.n_exits = 2;
    x.exit[0] = (struct history_exit){"exit1", 1, 0.6};
    x.exit[1] = (struct history_exit){"exit2", INFINITY, 0};
    assert_int_equal(store_history_add(s->store, &x, &s->e), FL_OK);
}

static void wrong_calls_get_one_clear_line(void **state)
{
    struct shelf *s = shelf_new();
    says(tool(s->h, "cache", "history"), 2, "names no Redis");
    says(tool(s->h, "cache", "history --set redis.endpoint=unix:/nowhere/redis"), 1, "does not answer");
    says(tool(s->h, "cache", ""), 2, "is missing");
    says(cache_tool(s, "histories"), 2, "none of history, freeze, thaw, rollback");
    says(cache_tool(s, "freeze now"), 2, "freeze takes no \"now\"");
    says(cache_tool(s, "freeze --set updates.learn=false"), 2, "nothing learns");
    says(cache_tool(s, "freeze --set cache.threshold=max-wrong"), 2, "cache.threshold is not risk");
    says(cache_tool(s, "thaw"), 1, "learning is not frozen");
    says(cache_tool(s, "rollback"), 1, "no epoch is kept");
    says(cache_tool(s, "history"), 0, "nothing happened to the caches yet");
    keep(s, 3, 3);
    says(cache_tool(s, "rollback"), 1, "say which is to serve, of 3");
    says(cache_tool(s, "rollback 3x"), 2, "\"3x\" is no epoch; kept are 3");
    says(cache_tool(s, "rollback 4"), 1, "epoch 4 is not kept; those that are: 3");
    says(cache_tool(s, "rollback 3"), 1, "holds no caches");
    says(cache_tool(s, "history --json"), 0, "\"frozen\": null"); /* what failed left it as it was */
    REDIS_DO(s, "SET", "freezeline:{test}:history", "mine");
    says(cache_tool(s, "history"), 1, "WRONGTYPE");
    shelf_free(s);
}

static void an_operator_stops_learning_and_goes_back(void **state)
{
    struct shelf *s = shelf_new();
    struct snapshot *serves = epoch(s, 9, 9), *got;
    struct head head = {0};
    struct store_load how = {0};
    json_t *o;
    assert_int_equal(store_publish(s->store, serves, &head, &s->e), FL_OK);
    for (uint64_t i = 7; i <= 9; i++) {
        keep(s, i, (float)i);
        event(s, i == 7 ? HISTORY_CERTIFIED : HISTORY_BOLDER, i);
    }
    says(cache_tool(s, "history"), 0, "epoch 9 serves");
    assert_non_null(strstr(output, "kept, to go back to: 9, 8, 7"));
    assert_non_null(strstr(output, "0.40%    0.90%   1.00%  agreement  60.00%  exit1 60.0%, exit2 off"));
    says(cache_tool(s, "history --count 1"), 0, "(2 older ones: --count 3)");
    says(cache_tool(s, "freeze"), 0, "learning is frozen");
    says(cache_tool(s, "freeze"), 1, "frozen already, since ");
    says(cache_tool(s, "thaw"), 0, "learning goes on");
    says(cache_tool(s, "rollback"), 0, "epoch 8 serves again");
    says(cache_tool(s, "rollback --json"), 0, "\"epoch\": 7");
    says(cache_tool(s, "rollback"), 1, "no epoch before epoch 7, which serves, is kept: 9, 8, 7");
    assert_int_equal(store_head(s->store, &head, &s->e), FL_OK);
    assert_int_equal(head.generation, 11);
    assert_int_equal(store_load(s->store, &got, &head, NULL, &how, &s->e), FL_OK);
    assert_true(cache_info(got->cache[0]).threshold == 7);
    snapshot_free(got);
    assert_int_equal(cache_tool(s, "history --json"), 0);
    assert_non_null(o = json_loads(output, 0, NULL));
    assert_int_equal(json_integer_value(json_object_get(o, "epoch")), 7);
    assert_true(json_is_object(json_object_get(o, "frozen")));
    assert_int_equal(json_array_size(json_object_get(o, "events")), 7);
    json_decref(o);
    snapshot_free(serves);
    shelf_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_back_the_newest_first),
        cmocka_unit_test(what_others_wrote_there_is_passed_over),
        cmocka_unit_test(the_last_epochs_are_kept),
        cmocka_unit_test(a_damaged_epoch_is_not_given_back),
        cmocka_unit_test(a_rollback_is_a_later_generation),
        cmocka_unit_test(frozen_until_thawed),
        cmocka_unit_test(wrong_calls_get_one_clear_line),
        cmocka_unit_test(an_operator_stops_learning_and_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
