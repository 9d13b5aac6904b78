/* test_lookups.c - verdicts from a snapshot, without sockets */
#include "cache_samples.h"

#include "cache_service/service/lookups.h"
#include "cache_service/store/snapshot.h"

static struct verdict ask(struct lookups *l, uint32_t exit, const float *x)
{
    static struct lookup in;
    static struct verdict out;
    in = (struct lookup){.exit = exit, .sequence = 9, .dim = 2, .n = 1};
    in.item[0] = (struct lookup_item){.request = 4, .attempt = 1, .deadline_ns = 100};
    out = (struct verdict){.absent = true}; /* all of it is filled in */
    lookups_answer(l, &in, x, 1, 1, &out, NULL);
    assert_int_equal(out.exit, exit);
    assert_int_equal(out.sequence, 9);
    assert_int_equal(out.n, 1);
    return out;
}

/* What a build left out is absent, not what is yet to be loaded, nor what was never built for. */
static void test_exits_that_were_left_out_are_absent(void **state)
{
    static const float centroids[] = {0, 0, 4, 0}, near[] = {4, 0.1f};
    static const uint32_t counts[] = {6, 0, 0, 5};
    static const struct manifest two = {.n_exits = 2};
    struct snapshot *s = snapshot_new(&two);
    struct lookups *l;
    assert_non_null(s);
    assert_int_equal(lookups_new(&l, &(struct pending_limits){0}, false, sample_look, NULL), FL_OK);
    assert_false(ask(l, 0, near).absent);
    s->cache[1] = sample_kmeans(2, 2, centroids, counts, 2);
    lookups_swap(l, s);
    assert_true(ask(l, 0, near).absent);
    assert_false(ask(l, 0, near).item[0].hit);
    assert_false(ask(l, 1, near).absent);
    assert_true(ask(l, 1, near).item[0].hit);
    assert_int_equal(ask(l, 1, near).item[0].label, 1);
    assert_false(ask(l, 2, near).absent);
    lookups_free(l);
}

/* Descriptors of another layer, or in another layout, look up nonsense though they are as wide. */
static void test_descriptors_from_elsewhere_miss(void **state)
{
    static const float centroids[] = {0, 0, 4, 0}, near[] = {4, 0.1f};
    static const uint32_t counts[] = {6, 0, 0, 5};
    static const uint64_t told[] = {0, 77, 78}; /* nothing, the cache's own, another */
    static const int code[] = {FL_OK, FL_OK, FL_STALE};
    struct manifest m = {.n_exits = 1, .exit = {{.name = "early", .after = "block1", .origin = 77}}};
    struct snapshot *s = snapshot_new(&m);
    struct lookups *l;
    assert_non_null(s);
    assert_int_equal(lookups_new(&l, &(struct pending_limits){0}, false, sample_look, NULL), FL_OK);
    s->cache[0] = sample_kmeans(2, 2, centroids, counts, 2);
    lookups_swap(l, s);
    for (int i = 0; i < 3; i++) {
        static struct lookup in;
        static struct verdict out;
        struct error e = {0};
        in = (struct lookup){.dim = 2, .n = 1, .origin = told[i]};
        in.item[0] = (struct lookup_item){.request = 4, .attempt = 1, .deadline_ns = 100};
        assert_int_equal(lookups_answer(l, &in, near, 1, 1, &out, &e), code[i]);
        assert_int_equal(out.item[0].hit, code[i] == FL_OK);
        assert_int_equal(out.absent, code[i] != FL_OK);
        assert_true(code[i] == FL_OK || (strstr(e.text, "early") && strstr(e.text, "block1")));
    }
    assert_int_equal(lookups_counters(l).refused, 1);
    lookups_free(l);
}

static void drop(void *arg, struct update *u)
{
    (void)arg;
    update_free(u);
}

static struct snapshot *of_build(uint8_t name, uint64_t generation)
{
    static const float centroids[] = {0, 0, 4, 0};
    static const uint32_t counts[] = {6, 0, 0, 5};
    struct manifest m = {.n_exits = 1, .generation = generation};
    struct snapshot *s = snapshot_new(&m);
    assert_non_null(s);
    memset(s->manifest.build, name, sizeof s->manifest.build);
    s->cache[0] = sample_kmeans(2, 2, centroids, counts, 2);
    return s;
}

static void look(struct lookups *l, uint64_t request, uint32_t flags)
{
    static const float near[] = {4, 0.1f};
    static struct lookup in;
    static struct verdict out;
    in = (struct lookup){.dim = 2, .n = 1};
    in.item[0] = (struct lookup_item){.request = request, .attempt = 1, .flags = flags, .deadline_ns = 100};
    assert_int_equal(lookups_answer(l, &in, near, 1, 1, &out, NULL), FL_OK);
}

static void is_tally(const struct lookup_tally *t, uint64_t lookups, uint64_t hits, uint64_t audit_hits,
                     uint64_t audit_right)
{
    const struct lookup_tally want = {lookups, hits, audit_hits, audit_right};
    assert_memory_equal(t, &want, sizeof want);
}

/* Whether learning helps: what was looked up before and after, of one build; audits do not answer and count
 * apart. */
static void test_look_ups_are_counted_before_and_after_learning(void **state)
{
    struct lookups_counters c;
    struct lookups *l;
    assert_int_equal(lookups_new(&l, &(struct pending_limits){0}, false, sample_look, NULL), FL_OK);
    lookups_swap(l, of_build(1, 0));
    look(l, 1, 0);
    look(l, 2, JOB_AUDIT);
    look(l, 3, JOB_AUDIT);
    look(l, 4, JOB_NO_CACHE);
    snapshot_free(lookups_swap(l, of_build(1, 1)));
    look(l, 5, 0);
    look(l, 6, 0);
    lookups_undo_hit(l);
    lookups_outcome(l, &(struct outcome){2, 1, -1, true, 0, 0, {0}}, drop,
                    NULL); /* looked up before, right */
    lookups_outcome(l, &(struct outcome){3, 0, -1, true, 0, 0, {0}}, drop, NULL); /* wrong */
    c = lookups_counters(l);
    is_tally(&c.built, 1, 1, 2, 1);
    is_tally(&c.learned, 2, 1, 0, 0);
    look(l, 7, JOB_AUDIT);
    snapshot_free(lookups_swap(l, of_build(2, 0))); /* another build begins anew, late outcomes included */
    lookups_outcome(l, &(struct outcome){7, 1, -1, true, 0, 0, {0}}, drop, NULL);
    c = lookups_counters(l);
    is_tally(&c.built, 0, 0, 0, 0);
    is_tally(&c.learned, 0, 0, 0, 0);
    lookups_free(l);
}

/* --- caches under a promise --- */

static void collect(void *arg, struct update *u)
{
    *(struct update **)arg = u;
}

/* Two exits under a promise, of which the second has a cache. */
static struct lookups *promised(bool learns)
{
    static const float centroids[] = {0, 0, 4, 0};
    static const uint32_t counts[] = {6, 0, 0, 5};
    const struct manifest m = {
        .n_exits = 2, .promised = true, .exit = {{.origin = 70, .dim = 2}, {.origin = 71}}};
    struct snapshot *s = snapshot_new(&m);
    struct lookups *l;
    assert_non_null(s);
    assert_int_equal(lookups_new(&l, &(struct pending_limits){0}, learns, sample_look, NULL), FL_OK);
    s->cache[1] = sample_kmeans(2, 2, centroids, counts, 2);
    lookups_swap(l, s);
    return l;
}

static void look_at(struct lookups *l, uint32_t exit, uint64_t origin, uint64_t request, uint32_t flags)
{
    static const float near[] = {4, 0.1f, 0};
    static struct lookup in;
    static struct verdict out;
    in = (struct lookup){.dim = 2, .n = 1, .exit = exit, .origin = origin};
    in.item[0] = (struct lookup_item){.request = request, .attempt = 1, .flags = flags, .deadline_ns = 100};
    lookups_answer(l, &in, near, 1, 1, &out, NULL);
}

/* All exits of a request make one update, those without a cache too; what is of another model is left out. */
static void test_exits_without_a_cache_learn_under_a_promise(void **state)
{
    struct lookups *l = promised(true);
    struct update *u = NULL;
    assert_int_equal(lookups_learns(l), 3);
    look_at(l, 1, 71, 1, JOB_AUDIT);
    look_at(l, 0, 70, 1, JOB_AUDIT);
    look_at(l, 0, 70, 2, JOB_SAMPLED);
    look_at(l, 0, 78, 3, JOB_SAMPLED);
    look_at(l, 2, 72, 3, JOB_SAMPLED);
    look_at(l, 0, 70, 4, 0);
    assert_int_equal(lookups_pending(l), 3);
    lookups_outcome(l, &(struct outcome){1, 1, -1, true, 40, 0, {0}}, collect, &u);
    assert_true(u && u->n == 2 && u->label == 1 && u->truth == -1 && u->flags == UPDATE_AUDIT &&
                u->request == 40);
    assert_true(u->exit[0].origin == 70 && u->exit[1].origin == 71 && u->exit[1].dim == 2);
    update_free(u);
    lookups_outcome(l, &(struct outcome){2, 0, -1, false, 0, 2, {0x3c00, 0}}, collect, &u);
    assert_true(u && u->n == 2 && u->exit[0].origin == 70 && u->flags == 0);
    assert_true(u->exit[1].origin == UPDATE_SCORES && u->exit[1].dim == 2 && u->exit[1].half[0] == 0x3c00);
    update_free(u);
    is_tally(&(struct lookup_tally[]){lookups_counters(l).built}[0], 0, 0, 1, 1);
    lookups_free(l);
}

/* Only the tally of audits goes on. */
static void test_without_redis_they_stay_as_they_are(void **state)
{
    struct lookups *l = promised(false);
    struct update *u = NULL;
    assert_int_equal(lookups_learns(l), 0);
    look_at(l, 0, 70, 1, JOB_AUDIT | JOB_SAMPLED);
    look_at(l, 1, 71, 1, JOB_AUDIT | JOB_SAMPLED);
    assert_int_equal(lookups_pending(l), 1);
    lookups_outcome(l, &(struct outcome){1, 0, -1, true, 0, 0, {0}}, collect, &u);
    assert_null(u);
    is_tally(&(struct lookup_tally[]){lookups_counters(l).built}[0], 0, 0, 1, 0);
    lookups_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_exits_that_were_left_out_are_absent),
                                       cmocka_unit_test(test_descriptors_from_elsewhere_miss),
                                       cmocka_unit_test(test_look_ups_are_counted_before_and_after_learning),
                                       cmocka_unit_test(test_exits_without_a_cache_learn_under_a_promise),
                                       cmocka_unit_test(test_without_redis_they_stay_as_they_are)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
