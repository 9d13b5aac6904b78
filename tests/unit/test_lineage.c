/* test_lineage.c - whose caches count, without a clock: one build, two builds, many hosts in any order; heads
 * as text */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "cache_service/store/lineage.h"

static struct manifest build(uint8_t name, uint64_t generation)
{
    struct manifest m = {.generation = generation,
                         .built_ms = 1000u - name}; /* the later, the earlier by the clock */
    memset(m.build, name, sizeof m.build);
    return m;
}

static struct head head_with(const struct manifest *m)
{
    struct head h;
    head_of(&h, m, NULL);
    return h;
}

static enum lineage_move decide(const struct manifest *m, bool own, bool whole, const struct head *head,
                                bool free)
{
    struct lineage_here here = {m, own, whole};
    struct lineage_there there = {head, true, free};
    return lineage_decide(&here, &there);
}

static void within_a_build_the_larger_generation_is_further_on(void **state)
{
    struct manifest here = build(1, 5), there = build(1, 5);
    struct head head = head_with(&there);
    assert_int_equal(decide(&here, true, true, &head, false), LINEAGE_KEEP);
    assert_int_equal(decide(&here, true, false, &head, false), LINEAGE_LOAD); /* ours is damaged */
    here.generation = 4;
    assert_int_equal(decide(&here, true, true, &head, false), LINEAGE_LOAD);
    here.generation = 6;
    assert_int_equal(decide(&here, true, true, &head, false), LINEAGE_PUBLISH);
    assert_int_equal(decide(&here, true, false, &head, false), LINEAGE_LOAD);
    here.generation = 5;
    strcpy(here.applied, "7-0"); /* other updates */
    assert_int_equal(decide(&here, true, true, &head, false), LINEAGE_LOAD);
}

static void an_empty_redis_gets_what_is_whole(void **state)
{
    struct manifest here = build(1, 0);
    assert_int_equal(decide(NULL, false, false, NULL, false), LINEAGE_KEEP);
    assert_int_equal(decide(&here, true, true, NULL, false), LINEAGE_PUBLISH);
    assert_int_equal(decide(&here, false, true, NULL, false), LINEAGE_PUBLISH);
    assert_int_equal(decide(&here, true, false, NULL, false), LINEAGE_KEEP);
}

static void the_build_on_disk_is_the_truth_here(void **state)
{
    struct manifest old = build(1, 9), new = build(2, 0), other = build(3, 0);
    struct head old_head = head_with(&old), new_head = head_with(&new), other_head = head_with(&other);
    memcpy(new.replaces[0], old.build, sizeof old.build);
    new.n_replaces = 1;
    /* The new one takes the place that it was built for; the old one never the new one's, while somebody has
     * that. */
    assert_int_equal(decide(&new, true, true, &old_head, false), LINEAGE_PUBLISH);
    assert_int_equal(decide(&old, true, true, &new_head, false), LINEAGE_ASIDE);
    assert_int_equal(decide(&old, true, true, &new_head, true), LINEAGE_PUBLISH); /* rolled back everywhere */
    assert_int_equal(decide(&new, true, false, &old_head, false), LINEAGE_ASIDE);
    /* Of builds that know nothing of each other, Redis has the first until nobody has it. */
    assert_int_equal(decide(&other, true, true, &old_head, false), LINEAGE_ASIDE);
    assert_int_equal(decide(&old, true, true, &other_head, false), LINEAGE_ASIDE);
    assert_int_equal(decide(&other, true, true, &old_head, true), LINEAGE_PUBLISH);
    /* Who has no build takes what there is. */
    assert_int_equal(decide(NULL, false, false, &old_head, false), LINEAGE_LOAD);
    assert_int_equal(decide(&new, false, true, &old_head, false), LINEAGE_LOAD);
}

static void what_is_no_head_is_nobodys(void **state)
{
    struct manifest here = build(1, 0);
    struct head junk;
    struct lineage_there there = {&junk, false, false};
    assert_int_equal(head_parse(&junk, "rubbish", 7, NULL), FL_PROTOCOL);
    assert_int_equal(lineage_decide(&(struct lineage_here){&here, true, true}, &there), LINEAGE_PUBLISH);
    assert_int_equal(lineage_decide(&(struct lineage_here){&here, false, true}, &there), LINEAGE_ASIDE);
    assert_int_equal(lineage_decide(&(struct lineage_here){&here, true, false}, &there), LINEAGE_ASIDE);
    assert_int_equal(lineage_decide(&(struct lineage_here){NULL, false, false}, &there), LINEAGE_ASIDE);
    junk.text[0] = '\0'; /* too long to be compared */
    assert_int_equal(lineage_decide(&(struct lineage_here){&here, true, true}, &there), LINEAGE_ASIDE);
}

static void a_build_is_free_when_nobody_was_seen_to_hold_it(void **state)
{
    const uint8_t a[DIGEST_BYTES] = {1}, b[DIGEST_BYTES] = {2};
    struct lineage_watch w = {0};
    uint64_t t = 5;
    assert_false(lineage_free(&w, a, false, true, t));
    assert_false(lineage_free(&w, a, false, true, t + LINEAGE_WATCH_NS - 1));
    assert_true(lineage_free(&w, a, false, true, t + LINEAGE_WATCH_NS));
    assert_false(lineage_free(&w, b, false, true, t + LINEAGE_WATCH_NS)); /* another: from the start */
    assert_false(lineage_free(&w, b, true, true, t + 2 * LINEAGE_WATCH_NS));
    assert_false(lineage_free(&w, b, false, true, t + 3 * LINEAGE_WATCH_NS));
    /* A Redis that takes no writes says nothing about who is there. */
    assert_false(lineage_free(&w, b, false, false, t + 4 * LINEAGE_WATCH_NS));
    assert_false(lineage_free(&w, b, false, true, t + 5 * LINEAGE_WATCH_NS));
    assert_true(lineage_free(&w, b, false, true, t + 6 * LINEAGE_WATCH_NS));
}

/* --- many hosts, one Redis --- */

#define HOSTS 4

struct cluster {
    struct manifest disk[HOSTS], here[HOSTS];
    struct lineage_watch watch[HOSTS];
    struct manifest redis; /* what its head stands for */
    struct head head;
    int changes; /* of the build in Redis */
};

static bool somebody_else_has(const struct cluster *c, int host, const uint8_t *build)
{
    for (int i = 0; i < HOSTS; i++)
        if (i != host && !memcmp(c->disk[i].build, build, DIGEST_BYTES))
            return true;
    return false;
}

static void look(struct cluster *c, int i, uint64_t now)
{
    bool held = somebody_else_has(c, i, c->head.build);
    struct lineage_there there = {&c->head, true, lineage_free(&c->watch[i], c->head.build, held, true, now)};
    switch (lineage_decide(&(struct lineage_here){&c->here[i], true, true}, &there)) {
    case LINEAGE_PUBLISH:
        c->changes += memcmp(c->head.build, c->here[i].build, DIGEST_BYTES) != 0;
        c->redis = c->here[i];
        head_of(&c->head, &c->redis, &c->head);
        break;
    case LINEAGE_LOAD:
        assert_memory_equal(c->disk[i].build, c->head.build, DIGEST_BYTES); /* never another's */
        c->here[i] = c->redis;
        break;
    case LINEAGE_KEEP: /* learns */
        c->here[i].generation++;
        c->redis = c->here[i];
        head_of(&c->head, &c->redis, &c->head);
        break;
    case LINEAGE_ASIDE:
        break;
    }
}

/* Hosts go from one build to another, one by one, and look in any order: Redis changes once, each host serves
 * what is on its disk all the time. */
static void a_rollout_changes_redis_once(bool knows_the_old_one)
{
    for (unsigned seed = 0; seed < 200; seed++) {
        struct manifest old = build(1, 0), new = build(2, 0);
        struct cluster c = {.redis = old, .head = head_with(&old)};
        uint64_t now = 1;
        memcpy(new.replaces[0], old.build, sizeof old.build);
        new.n_replaces = knows_the_old_one;
        for (int i = 0; i < HOSTS; i++)
            c.disk[i] = c.here[i] = old;
        srand(seed);
        for (int step = 0; step < 400; step++) {
            int i = rand() % HOSTS;
            now += LINEAGE_WATCH_NS / 8;
            if (step >= 100 && step % 40 == 0 && (step - 100) / 40 < HOSTS)
                c.disk[(step - 100) / 40] = c.here[(step - 100) / 40] = new;
            look(&c, i, now);
            assert_memory_equal(c.here[i].build, c.disk[i].build, DIGEST_BYTES);
        }
        assert_int_equal(c.changes, 1);
        assert_memory_equal(c.head.build, new.build, DIGEST_BYTES);
    }
}

static void rollouts(void **state)
{
    a_rollout_changes_redis_once(true);
    a_rollout_changes_redis_once(false);
}

/* --- heads --- */

static void a_head_says_what_it_stands_for(void **state)
{
    struct manifest m = build(0xab, 7);
    struct head h, read, next;
    memset(m.identity.digest, 0xcd, sizeof m.identity.digest);
    strcpy(m.applied, "1700-4");
    head_of(&h, &m, NULL);
    assert_string_equal(h.text,
                        "1 abababababababababababababababab 7 cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd 1700-4");
    assert_int_equal(head_parse(&read, h.text, strlen(h.text), NULL), FL_OK);
    assert_memory_equal(&read, &h, sizeof h);
    m.applied[0] = '\0';
    head_of(&next, &m, &read);
    assert_int_equal(next.sequence, 2);
    assert_string_equal(next.applied, "0-0");
    head_of(&next, &m, &next); /* in its own place */
    assert_int_equal(next.sequence, 3);
}

static void what_is_not_written_so_is_refused(void **state)
{
#define A "abababababababababababababababab"
    static const char *const wrong[] = {
        "",
        "rubbish",
        "1",
        "1 " A " 7 " A,
        "1 " A " 7 " A " 5",
        "1 " A " 7 " A " 1-2 ",
        " 1 " A " 7 " A " 1-2",
        "01 " A " 7 " A " 1-2",
        "1 " A "0 7 " A " 1-2",
        "1 abab 7 " A " 1-2",
        "-1 " A " 7 " A " 1-2",
        "99999999999999999999999 " A " 7 " A " 1-2",
        "7 1700000000123 " A " 1-2", /* as it was before there were builds */
    };
    char text[4 * HEAD_BYTES];
    struct head h;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (head_parse(&h, wrong[i], strlen(wrong[i]), NULL) != FL_PROTOCOL)
            fail_msg("taken: \"%s\"", wrong[i]);
        assert_string_equal(h.text, wrong[i]);
        assert_int_equal(h.sequence, 0);
    }
    memset(text, '1', sizeof text);
    assert_int_equal(head_parse(&h, text, sizeof text, NULL), FL_PROTOCOL);
    assert_int_equal(strlen(h.text), HEAD_BYTES - 1); /* its begin, as script_publish compares it */
    assert_memory_equal(h.text, text, HEAD_BYTES - 1);
    assert_int_equal(head_parse(&h, "1 \0x", 4, NULL), FL_PROTOCOL);
    assert_string_equal(h.text, "1 ");
}

static void stream_ids_are_ordered(void **state)
{
    assert_true(stream_id_compare("", "0-0") == 0);
    assert_true(stream_id_compare("9-9", "10-0") < 0);
    assert_true(stream_id_compare("10-11", "10-2") > 0);
}

static void a_cold_start_takes_what_redis_has_of_its_network(void **state)
{
    struct manifest cold = build(1, 0), other = build(2, 3);
    struct head head;
    cold.cold = true;
    cold.promised = true;
    head = head_with(&other);
    assert_true(lineage_own(&cold, true, NULL)); /* it holds its place where there is nothing */
    assert_false(lineage_own(&cold, true, &head));
    assert_int_equal(decide(&cold, false, true, &head, true), LINEAGE_LOAD);
    assert_int_equal(decide(&cold, false, true, NULL, false), LINEAGE_PUBLISH);
    assert_false(lineage_own(&cold, false, NULL) || lineage_own(NULL, true, NULL));
    other.identity.digest[0] = 1; /* of another network it is as a build */
    head = head_with(&other);
    assert_true(lineage_own(&cold, true, &head));
    other.identity.digest[0] = 0;
    head = head_with(&other);
    memcpy(cold.replaces[0], other.build, sizeof other.build); /* and in the place of what it replaced */
    cold.n_replaces = 1;
    assert_true(lineage_own(&cold, true, &head));
    assert_int_equal(decide(&cold, true, true, &head, false), LINEAGE_PUBLISH);
    cold.cold = false;
    cold.n_replaces = 0;
    assert_true(lineage_own(&cold, true, &head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cold_start_takes_what_redis_has_of_its_network),
        cmocka_unit_test(within_a_build_the_larger_generation_is_further_on),
        cmocka_unit_test(an_empty_redis_gets_what_is_whole),
        cmocka_unit_test(the_build_on_disk_is_the_truth_here),
        cmocka_unit_test(what_is_no_head_is_nobodys),
        cmocka_unit_test(a_build_is_free_when_nobody_was_seen_to_hold_it),
        cmocka_unit_test(rollouts),
        cmocka_unit_test(a_head_says_what_it_stands_for),
        cmocka_unit_test(what_is_not_written_so_is_refused),
        cmocka_unit_test(stream_ids_are_ordered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
