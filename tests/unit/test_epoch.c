/* test_epoch.c - what a decision of the learner makes of the caches that serve; candidates and what they say
 */
#include "cache_samples.h"

#include <math.h>
#include <stdio.h>

#include "cache_service/teach/candidates.h"
#include "cache_service/learn/epoch.h"

enum { DIM = 4, CLASSES = 3 };

static struct cache *some_cache(int32_t label)
{
    static const float point[DIM] = {1, 0, 0, 0};
    struct cache *c = sample_knn(DIM, CLASSES, 1, point, &label, 1);
    c->epoch = 1;
    return c;
}

static struct snapshot *cold(void)
{
    struct manifest m = {.n_exits = 3, .classes = CLASSES, .cold = true, .promised = true};
    struct snapshot *s;
    m.promise = (struct manifest_promise){.terms = {true, 0.05, 0.8}, .upper = NAN};
    for (int i = 0; i < 3; i++) {
        snprintf(m.exit[i].name, sizeof m.exit[i].name, "exit%d", i + 1);
        snprintf(m.exit[i].kind, sizeof m.exit[i].kind, "knn");
        m.exit[i].dim = DIM;
        m.exit[i].origin = (uint64_t)i + 1;
    }
    s = snapshot_new(&m);
    assert_non_null(s);
    return s;
}

static struct learner_decision serves(uint64_t number, float first, float last)
{
    struct learner_decision d = {.what = LEARNER_SERVE, .number = number, .state = LEARNER_SERVING};
    d.placed[0] = isfinite(first);
    d.placed[2] = true;
    d.threshold[0] = first;
    d.threshold[1] = INFINITY;
    d.threshold[2] = last;
    d.certified.counts = (struct gap_counts){.n = 400, .lost = 8};
    d.certified.upper = 0.045;
    d.certified.share = 0.6;
    d.certified.answered[0] = 100;
    snprintf(d.why, sizeof d.why, "certified");
    d.n_levels = 2; /* of half of the loss: the last exit alone */
    d.level[1][0] = d.level[0][1] = d.level[1][1] = INFINITY;
    d.level[0][0] = first;
    d.level[0][2] = last;
    d.level[1][2] = last + 0.25f;
    return d;
}

/* Its caches pack to the digests that its manifest has: who reads them elsewhere takes them for its own. */
static void assert_sealed(const struct snapshot *s)
{
    assert_true(snapshot_whole(s));
    for (int i = 0; i < s->manifest.n_exits; i++) {
        struct cache *c;
        void *data;
        size_t size;
        assert_int_equal(s->manifest.exit[i].file[0] != '\0', s->cache[i] != NULL);
        if (!s->cache[i])
            continue;
        assert_int_equal(cache_pack(s->cache[i], &data, &size), FL_OK);
        assert_int_equal(cache_unpack(&c, data, size, NULL, NULL), FL_OK);
        assert_int_equal(snapshot_check_cache(&s->manifest, i, c, NULL), FL_OK);
        cache_free(c);
        free(data);
    }
}

static void an_epoch_has_what_was_decided(void **state)
{
    struct snapshot *begin = cold(), *first, *second, *off;
    struct cache *caches[PIPELINE_MAX_EXITS] = {some_cache(0), some_cache(1), some_cache(2)};
    struct learner_decision d = serves(7, 0.25f, 0.5f), off_d = {.what = LEARNER_SERVE, .state = LEARNER_OFF};
    struct history_event event;
    assert_int_equal(epoch_serve(&first, begin, caches, false, &d, 7, 1), FL_OK);
    assert_int_equal(first->manifest.generation, 1);
    assert_true(first->manifest.learned.candidate == 7 && first->manifest.learned.serial == 1 &&
                first->manifest.learned.points == 400 && first->manifest.learned.lost == 8);
    assert_true(first->cache[0] && !first->cache[1] && first->cache[2]); /* exit 2 never answers */
    assert_true(cache_info(first->cache[0]).threshold == 0.25f);
    assert_int_equal(snapshot_epoch(first), 1);
    assert_sealed(first);
    assert_true(cache_info(first->cache[2]).levels.n == 2);
    assert_true(cache_info(first->cache[2]).levels.of[1].loss_ppm == 25000 &&
                cache_info(first->cache[2]).levels.of[1].threshold == 0.75f);
    epoch_event(&event, first, &d, HISTORY_CERTIFIED);
    assert_true(event.serial == 1 && event.points == 400 && event.loss == 0.02 && event.n_exits == 2);
    assert_true(event.exit[0].share == 0.25 && event.exit[1].threshold == 0.5f);
    /* The same candidate, one exit bolder: the other cache is the very same. */
    d.threshold[0] = d.level[0][0] = 0.125f;
    assert_int_equal(epoch_serve(&second, first, caches, true, &d, 7, 2), FL_OK);
    assert_ptr_equal(second->cache[2], first->cache[2]);
    assert_ptr_not_equal(second->cache[0], first->cache[0]);
    assert_int_equal(snapshot_epoch(second), 2);
    assert_sealed(second);
    /* Off: there is a new epoch, though no cache has it. */
    assert_int_equal(epoch_serve(&off, second, caches, true, &off_d, 8, 3), FL_OK);
    assert_int_equal(snapshot_caches(off), 0);
    assert_int_equal(snapshot_epoch(off), 3);
    assert_true(isnan(off->manifest.learned.upper));
    assert_sealed(off);
    snapshot_free(off);
    snapshot_free(second);
    snapshot_free(first);
    snapshot_free(begin);
    for (int i = 0; i < 3; i++)
        cache_free(caches[i]);
}

static void a_number_changes_nothing_else(void **state)
{
    struct snapshot *begin = cold(), *next;
    snapshot_put(begin, 0, some_cache(1));
    assert_int_equal(epoch_number(&next, begin, 5), FL_OK);
    assert_true(next->manifest.generation == 1 && next->manifest.learned.candidate == 5 &&
                !next->manifest.learned.serial);
    assert_ptr_equal(next->cache[0], begin->cache[0]);
    snapshot_free(next);
    snapshot_free(begin);
}

static void candidates_are_known_by_their_numbers(void **state)
{
    struct snapshot *s = cold();
    struct cache *caches[PIPELINE_MAX_EXITS] = {some_cache(0)};
    struct candidates *c;
    int32_t label[PIPELINE_MAX_EXITS];
    float confidence[PIPELINE_MAX_EXITS];
    assert_int_equal(candidates_new(&c, &s->manifest), FL_OK);
    assert_int_equal(candidates_put(c, 0, s->cache),
                     FL_OK); /* nothing serves: no verdicts, and no descriptors */
    assert_int_equal(candidates_look(c, 0, label, confidence), FL_OK);
    assert_true(label[0] < 0 && label[1] < 0 && label[2] < 0);
    assert_int_equal(candidates_look(c, 3, label, confidence), FL_NOT_FOUND);
    for (uint64_t i = 1; i < 16; i++)
        assert_int_equal(candidates_put(c, i, caches), FL_OK);
    assert_int_equal(candidates_put(c, 16, caches), FL_NOMEM); /* somebody forgets to forget */
    assert_int_equal(candidates_put(c, 7, caches), FL_OK);
    candidates_drop(c, 7);
    candidates_drop(c, 7);
    assert_null(candidates_caches(c, 7));
    assert_int_equal(candidates_put(c, 16, caches), FL_OK);
    assert_ptr_equal(candidates_caches(c, 16)[0], caches[0]);
    candidates_free(c);
    cache_free(caches[0]);
    snapshot_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_has_what_was_decided),
        cmocka_unit_test(a_number_changes_nothing_else),
        cmocka_unit_test(candidates_are_known_by_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
