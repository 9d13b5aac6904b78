/* test_trust.c - which workers and links are given requests, and the ways that are chosen then */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "broker/state/router.h"
#include "broker/state/trust.h"

#define MS 1000000ull

enum { STAGES = 3 };
static const int replicas[STAGES] = {2, 3, 2};
static uint64_t now;

/* All workers are there and connected. */
static struct registry *fresh(void)
{
    struct registry *r;
    struct pipeline *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->n_stages = STAGES;
    p->broker.dead_after_ms = 1000;
    for (int s = 0; s < STAGES; s++)
        p->stage[s].n_replicas = replicas[s];
    assert_int_equal(registry_new(&r, p, "B"), FL_OK);
    now = 1000 * MS;
    for (int s = 0; s < STAGES; s++)
        for (int i = 0; i < replicas[s]; i++) {
            struct hello h = {.role = ROLE_STAGE,
                              .stage = (uint32_t)s,
                              .replica = (uint32_t)i,
                              .incarnation = (uint64_t)(100 + s * 10 + i),
                              .boot_id = "B",
                              .ready = true};
            struct peer peer = {.size = 1};
            assert_int_equal(registry_hello(r, &h, &peer, now, NULL, NULL), REGISTRY_JOINED);
        }
    free(p);
    return r;
}

/* How often each replica of `stage` is on the way of 60 requests, 10 of which are in flight at a time. */
static void share(struct registry *r, int stage, int of[PIPELINE_MAX_REPLICAS])
{
    uint8_t route[10][PIPELINE_MAX_STAGES];
    memset(of, 0, PIPELINE_MAX_REPLICAS * sizeof *of);
    for (unsigned k = 0; k < 60; k++) {
        uint8_t *way = route[k % 10];
        for (int s = 0; k >= 10 && s < STAGES; s++)
            registry_worker(r, s, way[s])->outstanding--;
        assert_int_equal(router_choose(r, NULL, 0, k, now, way), -1);
        for (int s = 0; s < STAGES; s++)
            registry_worker(r, s, way[s])->outstanding++;
        of[way[stage]]++;
    }
    for (int s = 0; s < STAGES; s++)
        for (int i = 0; i < replicas[s]; i++)
            registry_worker(r, s, i)->outstanding = 0;
}

static void test_all_share_alike(void **state)
{
    struct registry *r = fresh();
    int of[PIPELINE_MAX_REPLICAS];
    share(r, 1, of);
    for (int i = 0; i < 3; i++)
        assert_int_equal(of[i], 20);
    registry_free(r);
}

/* One worker whose links are all broken: requests go by the other, and to every receiver as ever. */
static void test_a_sender_whose_links_broke_blames_no_receiver(void **state)
{
    struct registry *r = fresh();
    int of[PIPELINE_MAX_REPLICAS];
    for (int to = 0; to < 3; to++)
        trust_link_failed(r, 1, 0, to, now);
    share(r, 0, of);
    assert_int_equal(of[0], 0);
    share(r, 1, of);
    for (int i = 0; i < 3; i++)
        assert_int_equal(of[i], 20);
    now += 101 * MS;
    share(r, 0, of);
    assert_int_equal(of[0], 30);
    registry_free(r);
}

static void test_one_link_is_left_out(void **state)
{
    struct registry *r = fresh();
    uint8_t way[PIPELINE_MAX_STAGES];
    trust_link_failed(r, 1, 1, 2, now);
    for (unsigned k = 0; k < 60; k++) {
        assert_int_equal(router_choose(r, NULL, 0, k, now, way), -1);
        assert_true(way[0] != 1 || way[1] != 2);
    }
    registry_free(r);
}

static void test_a_receiver_rests_when_several_agree(void **state)
{
    struct registry *r = fresh();
    struct trace passed = {2, {{.stage = 0, .replica = 0}, {.stage = 1, .replica = 1}}};
    int of[PIPELINE_MAX_REPLICAS];
    trust_link_failed(r, 1, 0, 1, now);
    share(r, 1, of);
    assert_true(of[1] > 0);
    trust_link_failed(r, 1, 1, 1, now);
    share(r, 1, of);
    assert_int_equal(of[1], 0);
    trust_succeeded(r, &passed); /* one of an earlier attempt comes through after all */
    share(r, 1, of);
    assert_true(of[1] > 0);
    registry_free(r);
}

/* Links rest longer each time, up to a second; a success or a new process ends it. */
static void test_rests_grow(void **state)
{
    struct registry *r = fresh();
    struct hello h = {
        .role = ROLE_STAGE, .stage = 1, .replica = 1, .incarnation = 7, .boot_id = "B", .ready = true};
    struct peer peer = {.size = 1};
    uint64_t rest = 100 * MS;
    for (int i = 0; i < 8; i++) {
        trust_link_failed(r, 1, 0, 1, now);
        trust_link_failed(r, 1, 0, 1, now + 1); /* the same trouble */
        assert_false(trust_links(r, 0, 0, now + rest - 1) & 2);
        assert_true(trust_links(r, 0, 0, now + rest) & 2);
        now += rest;
        rest = rest * 2 < 1000 * MS ? rest * 2 : 1000 * MS;
    }
    trust_link_failed(r, 1, 0, 1, now);
    assert_int_equal(registry_hello(r, &h, &peer, now, NULL, NULL), REGISTRY_REPLACED);
    assert_true(trust_links(r, 0, 0, now) & 2);
    registry_free(r);
}

/* Who is not connected to anybody of the next stage is not chosen, however idle; who tells nothing is
 * believed. */
static void test_ways_lead_to_the_end(void **state)
{
    struct registry *r = fresh();
    uint8_t way[PIPELINE_MAX_STAGES];
    assert_true(trust_ready(r));
    registry_worker(r, 1, 0)->last.reaches = REACHES_TOLD;
    registry_worker(r, 1, 1)->last.reaches = REACHES_TOLD | 2;
    registry_worker(r, 0, 0)->last.reaches = REACHES_TOLD | 1;
    registry_worker(r, 0, 1)->last.reaches = REACHES_TOLD | 3;
    registry_worker(r, 0, 1)->outstanding = 5;
    for (unsigned k = 0; k < 20; k++) {
        assert_int_equal(router_choose(r, NULL, 0, k, now, way), -1);
        assert_memory_equal(way, ((uint8_t[]){1, 1, 1}), STAGES);
    }
    assert_int_equal(router_choose(r, NULL, 2, 0, now, way), 0); /* and that one is full */
    registry_worker(r, 0, 1)->last.reaches = REACHES_TOLD | 1;
    assert_false(trust_ready(r));
    assert_int_equal(router_choose(r, NULL, 0, 0, now, way), 0);
    registry_worker(r, 2, 0)->alive = registry_worker(r, 2, 1)->alive = false;
    assert_int_equal(router_choose(r, NULL, 0, 0, now, way), 2);
    registry_free(r);
}

/* A cut link that neither end knows of: it rests as long as its sender has another. */
static void test_a_silent_link_rests_where_there_is_another(void **state)
{
    struct registry *r = fresh();
    trust_link_silent(r, 1, 0, 2, now);
    assert_int_equal(trust_links(r, 0, 0, now) & 7, 3);
    assert_int_equal(trust_links(r, 0, 1, now) & 7, 7);
    trust_link_silent(r, 1, 0, 1, now);
    trust_link_silent(r, 1, 0, 0, now); /* the last one goes on */
    assert_int_equal(trust_links(r, 0, 0, now) & 7, 1);
    assert_int_equal(trust_links(r, 0, 0, now + 100 * MS) & 7, 7);
    trust_link_silent(r, 1, 0, 2, now + 110 * MS);
    assert_int_equal(trust_links(r, 0, 0, now + 300 * MS) & 7, 3); /* longer the second time */
    registry_free(r);
}

static void test_who_fails_again_and_again_is_put_aside(void **state)
{
    struct registry *r = fresh();
    struct member *w = registry_worker(r, 1, 0);
    struct trace passed = {1, {{.stage = 1, .replica = 0}}};
    uint8_t way[PIPELINE_MAX_STAGES];
    uint16_t avoid[PIPELINE_MAX_STAGES] = {0, 1, 0};
    int of[PIPELINE_MAX_REPLICAS];
    for (int i = 0; i < TRUST_FAILURES - 1; i++)
        assert_false(trust_worker_failed(w, now));
    trust_succeeded(r, &passed); /* not in a row */
    for (int i = 0; i < TRUST_FAILURES - 1; i++)
        assert_false(trust_worker_failed(w, now));
    assert_false(trust_is_aside(w));
    assert_true(trust_worker_failed(w, now));
    share(r, 1, of);
    assert_int_equal(of[0], 0);
    now += 100 * MS; /* on trial: comes first, but for a request that failed there already */
    w->outstanding = 9;
    assert_int_equal(router_choose(r, NULL, 0, 1, now, way), -1);
    assert_int_equal(way[1], 0);
    assert_int_equal(router_choose(r, avoid, 0, 1, now, way), -1);
    assert_int_not_equal(way[1], 0);
    w->trial = 77; /* one at a time */
    assert_int_equal(router_choose(r, NULL, 0, 1, now, way), -1);
    assert_int_not_equal(way[1], 0);
    w->trial = 0;
    assert_false(trust_worker_failed(w, now)); /* aside as before, for longer */
    assert_false(trust_wants_trial(w, now + 199 * MS));
    assert_true(trust_wants_trial(w, now + 200 * MS));
    trust_succeeded(r, &passed);
    w->outstanding = 0;
    share(r, 1, of);
    assert_int_equal(of[0], 20);
    registry_free(r);
}

/* A stage all of whose workers fail is no stage without workers: errors are told, nothing waits in vain. */
static void test_the_last_choice_is_a_choice(void **state)
{
    struct registry *r = fresh();
    uint8_t way[PIPELINE_MAX_STAGES];
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < TRUST_FAILURES; k++)
            trust_worker_failed(registry_worker(r, 1, i), now);
    assert_int_equal(router_choose(r, NULL, 0, 0, now, way), -1);
    registry_free(r);
}

static void test_lateness_speaks_against_nobody(void **state)
{
    assert_true(trust_speaks_against(FL_INTERNAL));
    assert_true(trust_speaks_against(FL_NOMEM));
    assert_false(trust_speaks_against(FL_DEADLINE));
    assert_false(trust_speaks_against(FL_OVERLOADED));
}

/* Requests one at a time, `n` of them: how many worker `slow` of stage 1 gets when it takes `times` as long.
 */
static int taken(struct registry *r, int n, uint32_t slow, uint64_t times)
{
    uint8_t way[PIPELINE_MAX_STAGES];
    int count = 0;
    for (unsigned k = 0; k < (unsigned)n; k++) {
        assert_int_equal(router_choose(r, NULL, 0, k, now, way), -1);
        router_sent(r, way);
        struct trace t = {3,
                          {{.stage = 0, .replica = way[0], .compute_ns = MS},
                           {.stage = 1, .replica = way[1], .compute_ns = MS},
                           {.stage = 2, .replica = way[2], .compute_ns = MS}}};
        if (way[1] == slow) /* half of it on the way onward */
            t.stage[1].compute_ns = t.stage[2].wire_ns = MS * times / 2;
        router_learn(r, &t, 0, 100 * MS);
        count += way[1] == slow;
    }
    return count;
}

static void test_a_slow_worker_gets_few(void **state)
{
    struct registry *r = fresh();
    int n;
    n = taken(r, 300, 1, 1);
    assert_int_equal(n, 100); /* as quick as the others */
    n = taken(r, 2000, 1, 10);
    assert_in_range(n, 5, 20); /* to see that it is slow, then one of 256 */
    n = taken(r, 9000, 1, 1);
    assert_in_range(n, 2000, 3000); /* quick again: as many as the others, after a while */
    registry_free(r);
}

/* Where all the quick ones have much to do, even the slow one is worth it. */
static void test_a_slow_worker_helps_when_all_are_busy(void **state)
{
    struct registry *r = fresh();
    uint8_t way[PIPELINE_MAX_STAGES];
    taken(r, 600, 1, 4);
    for (int i = 0; i < 3; i++)
        registry_worker(r, 1, i)->outstanding = i == 1 ? 0 : 9;
    assert_int_equal(router_choose(r, NULL, 0, 0, now, way), -1);
    assert_int_equal(way[1], 1);
    registry_free(r);
}

/* What workers say of themselves is bounded by what was seen. */
static void test_a_part_counts_for_no_more_than_the_whole(void **state)
{
    struct registry *r = fresh();
    struct trace t = {1, {{.stage = 0, .compute_ns = UINT64_MAX}}};
    router_learn(r, &t, UINT64_MAX, 5 * MS);
    assert_int_equal(registry_worker(r, 0, 0)->pace_ns, 5 * MS);
    registry_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_share_alike),
        cmocka_unit_test(test_a_sender_whose_links_broke_blames_no_receiver),
        cmocka_unit_test(test_one_link_is_left_out),
        cmocka_unit_test(test_a_receiver_rests_when_several_agree),
        cmocka_unit_test(test_rests_grow),
        cmocka_unit_test(test_ways_lead_to_the_end),
        cmocka_unit_test(test_a_silent_link_rests_where_there_is_another),
        cmocka_unit_test(test_who_fails_again_and_again_is_put_aside),
        cmocka_unit_test(test_the_last_choice_is_a_choice),
        cmocka_unit_test(test_lateness_speaks_against_nobody),
        cmocka_unit_test(test_a_slow_worker_gets_few),
        cmocka_unit_test(test_a_slow_worker_helps_when_all_are_busy),
        cmocka_unit_test(test_a_part_counts_for_no_more_than_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
