/* test_learner.c - batches of updates on snapshots: what is applied, what is refused; snapshots saved and
 * loaded */
#include "cache_samples.h"

#include <stdio.h>

#include "cache_service/keep/learner.h"

enum { DIM = 4, CLASSES = 3 };

static struct identity network(void)
{
    struct identity id = {.precision = "float32"};
    identity_seal(&id);
    return id;
}

static struct snapshot *two_exits(void)
{
    static const float points[2 * DIM] = {1, 0, 0, 0, 0, 1, 0, 0};
    static const int32_t labels[2] = {0, 1};
    struct manifest m = {
        .built_ms = 5, .generation = 8, .applied = "3-3", .n_exits = 2, .identity = network()};
    struct snapshot *s;
    for (int i = 0; i < 2; i++) {
        m.exit[i].origin = (uint64_t)i + 1;
        snprintf(m.exit[i].name, sizeof m.exit[i].name, "exit%d", i + 1);
        strcpy(m.exit[i].kind, i ? "none" : "knn");
    }
    strcpy(m.exit[0].file, "exit1.cache");
    s = snapshot_new(&m);
    assert_non_null(s);
    s->cache[0] = sample_knn(DIM, CLASSES, 1, points, labels, 2);
    memcpy(s->cache[0]->identity, m.identity.digest, sizeof m.identity.digest);
    return s;
}

static struct update *make(uint64_t origin, uint32_t dim, int32_t label)
{
    static const float x[DIM + 1] = {0, 0, 1};
    struct update *u = update_new(1, &dim);
    struct identity id = network();
    assert_non_null(u);
    memcpy(u->identity, id.digest, sizeof u->identity);
    assert_int_equal(update_fill(u, 0, origin, x), FL_OK);
    u->label = label;
    return u;
}

/* What two exits saw. */
static struct update *make_both(int32_t label)
{
    struct update *part[] = {make(1, DIM, label), make(2, DIM, label)}, *u = update_join(part, 2, NULL, 0);
    assert_non_null(u);
    update_free(part[0]);
    update_free(part[1]);
    return u;
}

static void good_ones_are_applied_and_others_refused(void **state)
{
    struct snapshot *old = two_exits(), *next;
    struct learner_tally tally;
    struct update *u[] = {make(1, DIM, 2),     NULL,
                          make(1, DIM + 1, 2), make(1, DIM, CLASSES),
                          make(1, DIM, -1),    make(2, DIM, 0),
                          make(77, DIM, 0),    make_both(1),
                          make(1, DIM, 2)};
    int n = (int)(sizeof u / sizeof *u);
    float x[DIM] = {0, 0, 1, 0};
    u[n - 1]->identity[0] ^= 1; /* of another network */
    assert_int_equal(learner_apply(&next, old, u, n, &tally, NULL), FL_OK);
    assert_int_equal(tally.applied, 2);
    assert_int_equal(tally.rejected, 6);
    assert_int_equal(tally.exits, 1);
    assert_int_equal(cache_info(next->cache[0]).entries, 4);
    assert_int_equal(cache_info(old->cache[0]).entries, 2);
    assert_int_equal(next->manifest.generation, 9);
    assert_true(sample_lookup(next->cache[0], x).label > 0);
    assert_null(next->cache[1]);
    for (int i = 0; i < n; i++)
        update_free(u[i]);
    snapshot_free(old);
    snapshot_free(next);
}

static void nothing_applied_shares_the_caches(void **state)
{
    struct snapshot *old = two_exits(), *next;
    struct learner_tally tally;
    assert_int_equal(learner_apply(&next, old, NULL, 0, &tally, NULL), FL_OK);
    assert_ptr_equal(next->cache[0], old->cache[0]);
    snapshot_free(old);
    assert_int_equal(cache_info(next->cache[0]).entries, 2);
    snapshot_free(next);
}

static int refusals;

static void count_refusal(const char *text)
{
    assert_non_null(text);
    refusals++;
}

static void saved_states_come_back_whole(void **state)
{
    struct snapshot *s = two_exits(), *again;
    char dir[] = "/tmp/freezeline-snapshot-XXXXXX", path[128];
    refusals = 0;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(snapshot_save(s, dir, "live-0", NULL), FL_OK);
    s->manifest.generation++;
    assert_int_equal(snapshot_save(s, dir, "live-0", NULL), FL_OK);
    assert_int_equal(snapshot_load(&again, dir, "live-0.json", count_refusal, NULL), FL_OK);
    assert_int_equal(again->manifest.generation, 9);
    assert_string_equal(again->manifest.applied, "3-3");
    assert_int_equal(snapshot_caches(again), 1);
    snapshot_free(again);
    snprintf(path, sizeof path, "%s/live-0-exit1-8.cache", dir);
    assert_int_not_equal(access(path, F_OK), 0); /* the older generation's file is gone */
    snprintf(path, sizeof path, "%s/live-0-exit1-9.cache", dir);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(snapshot_load(&again, dir, "live-0.json", count_refusal, NULL), FL_OK);
    assert_int_equal(refusals, 1);
    assert_int_equal(snapshot_caches(again), 0);
    snapshot_free(again);
    snapshot_free(s);
    unlink(path);
    snprintf(path, sizeof path, "%s/live-0.json", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

/* A file of the same name that another build wrote is whole in itself, yet not what the manifest means. */
static void files_of_another_build_are_refused(void **state)
{
    struct snapshot *s = two_exits(), *again;
    struct cache *other;
    char dir[] = "/tmp/freezeline-snapshot-XXXXXX", path[128];
    refusals = 0;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(snapshot_save(s, dir, "live-0", NULL), FL_OK);
    assert_int_equal(cache_with_threshold(&other, s->cache[0], 0.125f, &(struct cache_levels){0}), FL_OK);
    snprintf(path, sizeof path, "%s/live-0-exit1-8.cache", dir);
    assert_int_equal(cache_save(other, path, NULL, NULL), FL_OK);
    assert_int_equal(snapshot_load(&again, dir, "live-0.json", count_refusal, NULL), FL_OK);
    assert_int_equal(refusals, 1);
    assert_int_equal(snapshot_caches(again), 0);
    snapshot_free(again);
    cache_free(other);
    snapshot_free(s);
    unlink(path);
    snprintf(path, sizeof path, "%s/live-0.json", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void a_promise_needs_all_of_its_caches(void **state)
{
    struct snapshot *s = two_exits(), *again;
    char dir[] = "/tmp/freezeline-snapshot-XXXXXX", path[128];
    refusals = 0;
    assert_true(snapshot_whole(s));
    s->manifest.promised = true;
    assert_true(snapshot_whole(s)); /* exit2 has none by intent */
    s->cache[1] = s->cache[0];
    cache_retain(s->cache[1]);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(snapshot_save(s, dir, "live-0", NULL), FL_OK);
    snprintf(path, sizeof path, "%s/live-0-exit2-8.cache", dir);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(snapshot_load(&again, dir, "live-0.json", count_refusal, NULL), FL_OK);
    assert_int_equal(refusals, 2); /* the file, and what follows from it */
    assert_int_equal(snapshot_caches(again), 0);
    assert_false(snapshot_whole(again));
    snapshot_free(again);
    snapshot_free(s);
    unlink(path);
    snprintf(path, sizeof path, "%s/live-0-exit1-8.cache", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/live-0.json", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void caches_under_a_promise_do_not_learn(void **state)
{
    struct snapshot *old = two_exits(), *next;
    struct learner_tally tally;
    struct update *u = make(1, DIM, 2);
    old->manifest.promised = true;
    assert_int_equal(learner_apply(&next, old, &u, 1, &tally, NULL), FL_OK);
    assert_int_equal(tally.applied, 0);
    assert_int_equal(tally.rejected, 1);
    assert_ptr_equal(next->cache[0], old->cache[0]);
    assert_true(next->manifest.promised);
    update_free(u);
    snapshot_free(next);
    snapshot_free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_are_applied_and_others_refused),
        cmocka_unit_test(nothing_applied_shares_the_caches),
        cmocka_unit_test(files_of_another_build_are_refused),
        cmocka_unit_test(a_promise_needs_all_of_its_caches),
        cmocka_unit_test(caches_under_a_promise_do_not_learn),
        cmocka_unit_test(saved_states_come_back_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
