/* test_control.c - what the cache service says to the broker, and whose clock counts */
#include "cache_samples.h"

#include "base/clock.h"
#include "cache_service/service/control.h"

static struct control begin(void)
{
    static const struct pipeline p = {.broker = {.heartbeat_ms = 100, .dead_after_ms = 1000}};
    struct control c;
    control_init(&c, &p);
    return c;
}

static void hello_until_heard_and_again_after_silence(void **state)
{
    struct control c = begin();
    struct hello h = {.boot_id = "a"};
    uint64_t now = NS_PER_S;
    assert_int_equal(control_next(&c, now), MESSAGE_HELLO);
    assert_int_equal(control_next(&c, now + 1), 0);
    assert_int_equal(control_next(&c, now += 100 * NS_PER_MS), MESSAGE_HELLO);
    control_welcome(&c, &h, "a", now);
    assert_int_equal(control_next(&c, now += 100 * NS_PER_MS), MESSAGE_HEARTBEAT);
    assert_int_equal(control_next(&c, now += NS_PER_S), MESSAGE_HELLO);
}

static void a_broker_that_forgot_gets_hello_at_once(void **state)
{
    struct control c = begin();
    struct hello h = {.boot_id = "a"};
    struct heartbeat stranger = {.incarnation = 0};
    control_next(&c, NS_PER_S);
    control_welcome(&c, &h, "a", NS_PER_S);
    control_echo(&c, &stranger, NS_PER_S + 5);
    assert_int_equal(control_next(&c, NS_PER_S + 5), MESSAGE_HELLO);
}

static void the_same_boot_has_the_same_clock(void **state)
{
    struct control c = begin();
    struct hello h = {.boot_id = "a"};
    struct heartbeat echo = {.incarnation = 1, .worker_ns = 1000, .broker_ns = 900000};
    control_welcome(&c, &h, "a", 1);
    control_echo(&c, &echo, 3000);
    assert_int_equal(control_broker_ns(&c, 5000), 5000);
    control_welcome(&c, &h, "b", 1);
    control_echo(&c, &echo, 3000);
    assert_int_equal(control_broker_ns(&c, 5000), 5000 + 900000 - 2000);
    control_welcome(&c, &h, "b", 1); /* told again: it is the same broker */
    assert_int_equal(control_broker_ns(&c, 5000), 5000 + 900000 - 2000);
    h.incarnation = 2;
    control_welcome(&c, &h, "", 1);
    assert_int_equal(control_broker_ns(&c, 5000), 5000); /* a new broker: nothing known of its clock */
}

/* With a threshold for half of a percent, and one for less. */
static struct cache *leveled(uint32_t less_ppm)
{
    static const float point[] = {1, 0};
    static const int32_t label[] = {0};
    struct cache *c = sample_knn(2, 2, 1, point, label, 1);
    c->levels = (struct cache_levels){2, {{10000, 1}, {less_ppm, 2}}};
    return c;
}

static void other_caches_are_told_at_once(void **state)
{
    struct control c = begin();
    struct hello h = {.boot_id = "a"};
    struct manifest m = {.n_exits = 2, .build = {7}, .exit = {{.file = "a"}, {.file = "b"}}};
    struct snapshot *s;
    uint64_t now = NS_PER_S;
    m.promised = true;
    m.promise =
        (struct manifest_promise){.terms = {false, 0.01, 0.95}, .certifying_points = 100, .loss = 0.002};
    s = snapshot_new(&m);
    assert_non_null(s);
    assert_false(control_tell(&h, NULL));
    assert_true(control_tell(&h, s));
    assert_false(control_tell(&h, s));
    assert_true(h.caches.build[0] == 7 && h.caches.built == 2 && h.caches.loaded == 0);
    assert_true(h.caches.promise.made && h.caches.promise.max_loss == 0.01 && h.caches.promise.loss == 0.002);
    control_changed(&c);
    assert_int_equal(control_next(&c, now), MESSAGE_HELLO);
    control_welcome(&c, &h, "a", now);
    assert_int_equal(control_next(&c, now + 1), 0);
    control_changed(&c);
    assert_int_equal(control_next(&c, now + 2), MESSAGE_HELLO);
    assert_int_equal(control_next(&c, now + 3), 0);
    assert_int_equal(control_next(&c, now += 100 * NS_PER_MS), MESSAGE_HELLO); /* it may be lost */
    control_welcome(&c, &h, "a", now);
    assert_int_equal(control_next(&c, now += 100 * NS_PER_MS), MESSAGE_HEARTBEAT);
    snapshot_put(s, 1, leveled(5000)); /* as a learner's epoch does, in a build of as many caches */
    assert_true(control_tell(&h, s));
    assert_true(h.caches.promise.n_levels == 2 && h.caches.promise.level_ppm[1] == 5000);
    snapshot_put(s, 1, leveled(2500));
    assert_true(control_tell(&h, s) && h.caches.promise.level_ppm[1] == 2500);
    assert_false(control_tell(&h, s));
    snapshot_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hello_until_heard_and_again_after_silence),
        cmocka_unit_test(a_broker_that_forgot_gets_hello_at_once),
        cmocka_unit_test(the_same_boot_has_the_same_clock),
        cmocka_unit_test(other_caches_are_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
