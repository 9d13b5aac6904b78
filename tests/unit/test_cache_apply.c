/* test_cache_apply.c - updates from traffic: what changes, what stays, what the budget allows */
#include "cache_samples.h"

#include <math.h>

static struct cache *apply(const struct cache *old, const float *x, const int32_t *labels, int n, int dim,
                           size_t budget)
{
    struct cache_pair pairs[64];
    struct cache *next;
    struct error e;
    assert_true(n <= 64);
    for (int i = 0; i < n; i++)
        pairs[i] = (struct cache_pair){x + (size_t)i * (size_t)dim, labels[i]};
    assert_int_equal(cache_apply(&next, old, pairs, n, budget, &e), FL_OK);
    assert_int_equal(cache_info(next).epoch, cache_info(old).epoch + 1);
    return next;
}

static void test_knn_ring_replaces_the_oldest(void **state)
{
    static const float points[] = {1, 0, 2, 0, 3, 0};
    static const int32_t labels[] = {1, 1, 1}, one[] = {1};
    struct cache *a = sample_knn(2, 2, 1, points, labels, 3), *b;
    size_t budget = 3 * cache_entry_bytes(a);
    for (int i = 0; i < 4; i++) {
        float x[] = {20.0f + (float)i, 0};
        b = apply(a, x, one, 1, 2, budget);
        assert_int_equal(b->knn.points.n, 3);
        assert_int_equal(half_to_float(b->knn.points.data[i % 3 * 2]), 20 + i);
        assert_int_equal(b->knn.label[i % 3], 1);
        cache_free(a);
        a = b;
    }
    assert_true(cache_info(a).index_bytes <= budget);
    cache_free(a);
}

/* Eight of ten pairs are of one class: it holds no more of the points than the others do, and none that was
 * there at first stays. */
static void test_knn_classes_become_balanced(void **state)
{
    enum { POINTS = 60, CLASSES = 3, BATCH = 50 };
    float x[2 * POINTS] = {0};
    int32_t label[POINTS] = {0};
    int count[CLASSES] = {0};
    struct cache *a = sample_knn(2, CLASSES, 1, x, label, POINTS), *b;
    size_t budget = POINTS * cache_entry_bytes(a);
    struct shuffle s;
    shuffle_seed(&s, 3, 1);
    for (int batch = 0; batch < 60; batch++) {
        for (int i = 0; i < BATCH; i++) {
            uint32_t u = shuffle_below(&s, 10);
            label[i] = u < 2 ? 1 + (int32_t)u : 0;
            x[2 * i] = (float)(1 + batch);
        }
        b = apply(a, x, label, BATCH, 2, budget);
        assert_int_equal(b->knn.points.n, POINTS);
        cache_free(a);
        a = b;
    }
    for (int i = 0; i < POINTS; i++) {
        count[a->knn.label[i]]++;
        assert_true(half_to_float(a->knn.points.data[2 * i]) >= 1);
    }
    for (int c = 0; c < CLASSES; c++)
        assert_int_equal(count[c], POINTS / CLASSES);
    cache_free(a);
}

static void test_knn_grows_without_budget_and_shrinks_to_it(void **state)
{
    static const float points[] = {1, 0, 2, 0, 3, 0};
    static const int32_t labels[] = {0, 1, 0};
    struct cache *a = sample_knn(2, 2, 1, points, labels, 3), *b, *c;
    b = apply(a, points, labels, 3, 2, 0);
    assert_int_equal(b->knn.points.n, 6);
    assert_int_equal(a->knn.points.n, 3); /* the old one is untouched */
    c = apply(b, NULL, NULL, 0, 2, 2 * cache_entry_bytes(b));
    assert_int_equal(c->knn.points.n, 2);
    assert_int_equal(half_to_float(c->knn.points.data[0]), 2); /* the newest two stay, in order */
    assert_int_equal(half_to_float(c->knn.points.data[2]), 3);
    cache_free(a);
    cache_free(b);
    cache_free(c);
}

static void test_kmeans_counts_and_moves(void **state)
{
    static const float centroids[] = {0, 0, 8, 0}, x[] = {0, 4};
    static const uint32_t counts[] = {3, 0, 0, 4};
    static const int32_t zero[] = {0}, one[] = {1};
    struct cache *a = sample_kmeans(2, 2, centroids, counts, 2), *b = apply(a, x, zero, 1, 2, 0), *c;
    assert_int_equal(b->kmeans.points.n, 2);
    assert_int_equal(b->kmeans.count[0], 4);
    assert_int_equal(half_to_float(b->kmeans.points.data[1]), 1); /* 0 + (4 - 0) / 4 */
    c = apply(b, x, one, 1, 2, 0); /* class 1 is well known: counted where it fell, nothing moves */
    assert_int_equal(c->kmeans.points.n, 2);
    assert_int_equal(c->kmeans.count[1], 1);
    assert_int_equal(half_to_float(c->kmeans.points.data[1]), 1);
    cache_free(a);
    cache_free(b);
    cache_free(c);
}

/* Traffic with a class that the build never saw, within a full budget: afterwards it is answered. */
static void learn_unseen(struct cache *a)
{
    size_t budget = cache_info(a).index_bytes + 8 * 4; /* room for the wider histogram of the new class */
    struct shuffle s;
    struct cache_verdict v;
    float x[4] = {0, 0, 30, 30};
    shuffle_seed(&s, 1, 1);
    assert_int_not_equal(sample_lookup(a, x).label, 2);
    for (int epoch = 0; epoch < 10; epoch++) {
        float rows[8][4];
        int32_t labels[8];
        struct cache *b;
        for (int i = 0; i < 8; i++) {
            for (int d = 0; d < 4; d++)
                rows[i][d] = (i % 2 == 0 ? x[d] : d == i / 2 % 2 ? 30.0f : 0.0f) + (float)shuffle_uniform(&s);
            labels[i] = i % 2 == 0 ? 2 : i / 2 % 2;
        }
        b = apply(a, &rows[0][0], labels, 8, 4, budget);
        assert_true(cache_info(b).index_bytes <= budget);
        cache_free(a);
        a = b;
    }
    v = sample_lookup(a, x);
    assert_int_equal(v.label, 2);
    assert_true(v.hit);
    assert_int_equal(cache_info(a).classes, 3);
    x[0] = 30, x[2] = 0, x[3] = 0;
    assert_int_equal(sample_lookup(a, x).label, 0); /* and the others still are */
    cache_free(a);
}

static void test_an_unseen_class_is_learned(void **state)
{
    float rows[8][4] = {{0}};
    int32_t labels[8];
    uint32_t counts[8][2] = {{0}};
    for (int i = 0; i < 8; i++) {
        labels[i] = i % 2;
        counts[i][i % 2] = 20 + (uint32_t)i;
        rows[i][i % 2] = 29.0f + (float)i / 4;
    }
    learn_unseen(sample_knn(4, 2, 3, &rows[0][0], labels, 8));
    learn_unseen(sample_kmeans(4, 2, &rows[0][0], &counts[0][0], 8));
}

static void test_a_wrong_hit_raises_the_threshold(void **state)
{
    static const float centroids[] = {0, 0, 8, 0}, x[] = {0, 1};
    static const uint32_t counts[] = {10, 0, 0, 10};
    static const int32_t one[] = {1}, zero[] = {0};
    struct cache *a = sample_kmeans(2, 2, centroids, counts, 2), *b, *c;
    b = apply(a, x, zero, 1, 2, 0);
    assert_true(b->threshold == 0.5f); /* a right hit changes nothing */
    c = apply(a, x, one, 1, 2, 0);
    assert_true(c->threshold == 1.0f); /* its confidence was 1 / 1 */
    assert_false(sample_lookup(c, x).hit);
    cache_free(a);
    cache_free(b);
    cache_free(c);
}

static void test_bad_pairs_are_passed_over(void **state)
{
    static const float centroids[] = {0, 0, 8, 0};
    static const uint32_t counts[] = {10, 0, 0, 10};
    static const float x[] = {NAN, 0, 1, INFINITY, 0, 0, 0, 0};
    static const int32_t labels[] = {0, 1, -1, CACHE_MAX_CLASSES};
    struct cache *a = sample_kmeans(2, 2, centroids, counts, 2), *b = apply(a, x, labels, 4, 2, 0);
    assert_int_equal(cache_info(b).classes, 2);
    assert_memory_equal(b->kmeans.count, counts, sizeof counts);
    cache_free(a);
    cache_free(b);
}

static void test_the_same_updates_give_the_same_bytes(void **state)
{
    static const float centroids[] = {0, 0, 8, 0}, x[] = {1, 1, 7, 2, 3, 3};
    static const uint32_t counts[] = {10, 0, 0, 10};
    static const int32_t labels[] = {0, 1, 4};
    struct cache *a = sample_kmeans(2, 2, centroids, counts, 2);
    struct cache *b = apply(a, x, labels, 3, 2, 0), *c = apply(a, x, labels, 3, 2, 0);
    void *p, *q;
    size_t n, m;
    assert_int_equal(cache_pack(b, &p, &n), FL_OK);
    assert_int_equal(cache_pack(c, &q, &m), FL_OK);
    assert_int_equal(n, m);
    assert_memory_equal(p, q, n);
    free(p);
    free(q);
    cache_free(a);
    cache_free(b);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_knn_ring_replaces_the_oldest),
                                       cmocka_unit_test(test_knn_classes_become_balanced),
                                       cmocka_unit_test(test_knn_grows_without_budget_and_shrinks_to_it),
                                       cmocka_unit_test(test_kmeans_counts_and_moves),
                                       cmocka_unit_test(test_an_unseen_class_is_learned),
                                       cmocka_unit_test(test_a_wrong_hit_raises_the_threshold),
                                       cmocka_unit_test(test_bad_pairs_are_passed_over),
                                       cmocka_unit_test(test_the_same_updates_give_the_same_bytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
