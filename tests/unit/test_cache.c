/* test_cache.c - confidences against numbers worked out by hand, packing, sharing by threads */
#include "cache_samples.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <sys/stat.h>

#include "index/verdicts.h"

static bool near(float a, double b)
{
    return fabs(a - b) <= 1e-5 * fabs(b) + 1e-7;
}

/* Points on a line at 1, 2, 4, 10 with labels 0, 1, 1, 0; asked at 0, k = 3: class 0 has one neighbour at 1:
 * C = 1/3 * 1. Class 1 has two at 2 and 4: C = 2/3 * (1/2 + 1/4) = 1/2. Class 1 wins. */
static void test_knn_by_hand(void **state)
{
    static const float points[] = {1, 0, 2, 0, 4, 0, 10, 0};
    static const int32_t labels[] = {0, 1, 1, 0};
    static const float zero[] = {0, 0};
    struct cache *c = sample_knn(2, 3, 3, points, labels, 4);
    struct cache_verdict v = sample_lookup(c, zero);
    assert_int_equal(v.label, 1);
    assert_true(near(v.confidence, 0.5));
    assert_false(v.hit); /* the threshold is 0.5 and must be exceeded */
    c->threshold = 0.499f;
    assert_true(sample_lookup(c, zero).hit);
    c->knn.k = 10; /* fewer points than k: S_i is still m_i / k: class 1 has 2/10 * 3/4, class 0 2/10 * 1.1 */
    v = sample_lookup(c, zero);
    assert_int_equal(v.label, 0);
    assert_true(near(v.confidence, 0.22));
    cache_free(c);
}

static void test_knn_at_distance_zero(void **state)
{
    static const float points[] = {1, 1, 3, 3};
    static const int32_t labels[] = {1, 0};
    struct cache *c = sample_knn(2, 2, 1, points, labels, 2);
    struct cache_verdict v = sample_lookup(c, points);
    assert_int_equal(v.label, 1);
    assert_true(near(v.confidence, 1e6));
    cache_free(c);
}

/* Centroids at (0, 0) with counts 6, 2 and at (4, 0) with 0, 5; asked at (0, 2): nearest is the first at 2:
 * 0.75 / 2. */
static void test_kmeans_by_hand(void **state)
{
    static const float centroids[] = {0, 0, 4, 0};
    static const uint32_t counts[] = {6, 2, 0, 5};
    static const float a[] = {0, 2}, b[] = {4, 0.25f};
    struct cache *c = sample_kmeans(2, 2, centroids, counts, 2);
    struct cache_verdict v = sample_lookup(c, a);
    assert_int_equal(v.label, 0);
    assert_true(near(v.confidence, 0.375));
    assert_false(v.hit);
    v = sample_lookup(c, b);
    assert_int_equal(v.label, 1);
    assert_true(near(v.confidence, 4));
    assert_true(v.hit);
    cache_free(c);
}

/* Scores (2, 1, 0): the log odds of the first are 2 - 1 against the runner-up, 2 - log(e^1 + e^0) against
 * all. */
static struct cache *small_learned(void)
{
    struct projection *p = sample_identity(2);
    struct cache *c;
    assert_int_equal(cache_new(&c, CACHE_LEARNED, p, 3), FL_OK);
    projection_release(p);
    assert_int_equal(predictor_new(&c->learned, 2, 3), FL_OK);
    strcpy(c->exit, "exit1");
    c->threshold = 0.5f;
    c->learned.weights[0] = 1; /* class 0 looks at feature 0 */
    c->learned.weights[3] = 1; /* class 1 at feature 1 */
    c->learned.bias[1] = 0.5f;
    return c;
}

/* A map of 3 x 3 cells with one channel: one place, two channels wide. What the second convolution does, it
 * can do in two groups. */
static struct cache *small_map(int groups)
{
    const struct map map = {3, 1, 2, groups};
    int width = 2 / groups;
    struct projection *p;
    struct cache *c;
    assert_int_equal(projection_new_map(&p, &map), FL_OK);
    p->scale[0] = 1;
    p->mean[0] = 1;
    for (int i = 0; i < 2; i++)
        p->weights[i * 9 + 4] = half_from_float(i == 0 ? 1 : -1); /* a cell itself, and its negative */
    for (int i = 0; i < 9; i++) {
        p->weights[2 * 9 + width * i] = half_from_float(1); /* the sum of what is above the mean */
        p->weights[2 * 9 + width * (9 + i) + width - 1] = half_from_float(1); /* and of what is below */
    }
    p->bias[3] = -0.5f;
    assert_int_equal(cache_new(&c, CACHE_LEARNED, p, 2), FL_OK);
    projection_release(p);
    assert_int_equal(predictor_new(&c->learned, 2, 2), FL_OK);
    strcpy(c->exit, "exit1");
    c->threshold = 0.5f;
    c->learned.weights[0] = c->learned.weights[3] = 1;
    return c;
}

static void test_map_by_hand(void **state)
{
    const float x[] = {3, 1, 1, 1, 2, 1, 1, 1, 0};
    for (int groups = 1; groups <= 2; groups++) {
        struct cache *c = small_map(groups);
        struct cache_verdict v = sample_lookup(c, x);
        assert_int_equal(v.label, 0);
        assert_true(near(v.confidence, 3 - 0.5)); /* 2 + 1 above, 1 below less its bias */
        assert_int_equal(cache_info(c).dim, 9);
        assert_int_equal(cache_info(c).projection_bytes, 2 * 4 + 4 * 4 + 2 * (9 + 18 / groups) * 2);
        cache_free(c);
    }
}

/* Three channels or so, a few classes, everything at random. */
static struct cache *random_map(const struct map *map, int classes, struct shuffle *s)
{
    struct projection *p;
    struct cache *c;
    assert_int_equal(projection_new_map(&p, map), FL_OK);
    for (size_t i = 0; i < projection_weights(p); i++)
        p->weights[i] = half_from_float((float)shuffle_normal(s) * 0.1f);
    for (size_t i = 0; i < projection_biases(p); i++)
        p->bias[i] = (float)shuffle_normal(s) * 0.1f;
    for (int i = 0; i < map->channels; i++) {
        p->mean[i] = (float)shuffle_normal(s);
        p->scale[i] = 0.5f + (float)i;
    }
    assert_int_equal(cache_new(&c, CACHE_LEARNED, p, classes), FL_OK);
    projection_release(p);
    assert_int_equal(predictor_new(&c->learned, map_nodes(map), classes), FL_OK);
    for (int i = 0; i < map_nodes(map) * classes; i++)
        c->learned.weights[i] = (float)shuffle_normal(s);
    for (int i = 0; i < classes; i++)
        c->learned.bias[i] = (float)shuffle_normal(s);
    strcpy(c->exit, "exit1");
    return c;
}

/* Bytes keep seven bits: confidences move by little, and labels where they are close. One at a time or in a
 * batch, and with whatever loops the processor allows, the bits are the same. */
static void check_rounded(const struct map *map, int classes, struct shuffle *s)
{
    enum { N = 20 };
    struct cache *c = random_map(map, classes, s);
    int dim = map->side * map->side * map->channels;
    float *x = malloc((size_t)(N * dim) * sizeof *x), spread = 0;
    struct cache_verdict as_halves[N], v[N], w[N];
    struct cache_scratch *batch;
    assert_int_equal(cache_scratch_new(&batch, 7), FL_OK);
    for (int i = 0; i < N * dim; i++)
        x[i] = (float)shuffle_normal(s);
    assert_int_equal(cache_lookup(c, batch, x, N, as_halves), FL_OK);
    assert_int_equal(cache_round(c), FL_OK);
    assert_true(c->projection->rounded && c->learned.rounded);
    assert_int_equal(cache_lookup(c, batch, x, N, v), FL_OK);
    for (int i = 0; i < N; i++)
        spread += as_halves[i].confidence / N;
    for (int i = 0; i < N; i++) {
        float tolerance = 0.3f * spread;
        assert_true(v[i].label == as_halves[i].label
                        ? fabsf(v[i].confidence - as_halves[i].confidence) < tolerance
                        : v[i].confidence + as_halves[i].confidence < tolerance);
    }
    for (int l = INT8_PLAIN; l <= INT8_VNNI; l++) {
        int8_limit((enum int8_level)l);
        assert_int_equal(cache_lookup(c, batch, x, N, w), FL_OK);
        for (int i = 0; i < N; i++) {
            struct cache_verdict alone = sample_lookup(c, x + i * dim);
            assert_int_equal(w[i].label, v[i].label);
            assert_true(w[i].confidence == v[i].confidence);
            assert_int_equal(alone.label, v[i].label);
            assert_true(alone.confidence == v[i].confidence);
        }
    }
    cache_scratch_free(batch);
    cache_free(c);
    free(x);
}

static void test_rounded_maps(void **state)
{
    static const struct map maps[] = {{3, 1, 2, 1},   {3, 5, 6, 3},   {4, 3, 7, 1},  {5, 7, 16, 2},
                                      {7, 9, 34, 2},  {8, 16, 48, 3}, {8, 5, 20, 4}, {9, 2, 33, 1},
                                      {8, 64, 96, 3}, {16, 3, 32, 2}};
    struct shuffle s;
    shuffle_seed(&s, 21, 0);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        check_rounded(&maps[i], 2 + 5 * (int)i, &s);
}

static void test_learned_by_hand(void **state)
{
    static const float x[] = {2, 0.5f}, y[] = {0, 0};
    struct cache *c = small_learned();
    struct cache_verdict v = sample_lookup(c, x);
    assert_int_equal(v.label, 0);
    assert_true(near(v.confidence, 1));
    assert_true(v.hit);
    v = sample_lookup(c, y);
    assert_int_equal(v.label, 1);
    assert_true(near(v.confidence, 0.5));
    assert_false(v.hit);
    c->learned.against_all = true;
    assert_true(near(sample_lookup(c, x).confidence, 2 - log(exp(1) + 1)));
    cache_free(c);
}

static void test_not_finite_is_a_miss(void **state)
{
    static const float points[] = {1, 0, 2, 0};
    static const int32_t labels[] = {0, 1};
    static const float bad[][2] = {{NAN, 0}, {0, INFINITY}, {-INFINITY, 1}, {3e38f, 3e38f}};
    struct cache *c = sample_knn(2, 2, 1, points, labels, 2);
    c->threshold = -1;
    for (int i = 0; i < 3; i++) {
        struct cache_verdict v = sample_lookup(c, bad[i]);
        assert_false(v.hit && v.label >= 0);
        assert_int_equal(v.label, -1);
        assert_false(isnan(v.confidence));
    }
    assert_false(isnan(sample_lookup(c, bad[3]).confidence)); /* finite, but its square is not */
    cache_free(c);
}

static void test_empty_cache_misses(void **state)
{
    static const float zero[] = {0, 0};
    struct cache *c = sample_knn(2, 2, 3, NULL, NULL, 0);
    assert_false(sample_lookup(c, zero).hit);
    cache_free(c);
}

/* A projection as halves against the same in floats: the same labels, confidences within rounding. */
static void test_precision_changes_no_verdict(void **state)
{
    enum { DIM = 40, NODES = 24, POINTS = 60 };
    struct projection *p;
    struct shuffle s;
    static float exact[NODES][DIM], x[POINTS][DIM], h[POINTS][NODES], rounded[POINTS][NODES];
    shuffle_seed(&s, 3, 3);
    assert_int_equal(projection_new(&p, DIM, NODES), FL_OK);
    for (int d = 0; d < DIM; d++)
        p->scale[d] = 1;
    for (int i = 0; i < NODES * DIM; i++) {
        exact[i / DIM][i % DIM] = (float)shuffle_normal(&s);
        p->weights[i] = half_from_float(exact[i / DIM][i % DIM]);
    }
    for (int i = 0; i < POINTS * DIM; i++)
        x[i / DIM][i % DIM] = (float)shuffle_normal(&s);
    projection_apply(p, &x[0][0], POINTS, &rounded[0][0], NULL);
    for (int i = 0; i < POINTS; i++) {
        for (int j = 0; j < NODES; j++) {
            for (int d = 0; d < DIM; d++)
                h[i][j] += exact[j][d] * x[i][d];
            h[i][j] = h[i][j] > 0 ? h[i][j] : 0;
            assert_true(fabsf(h[i][j] - rounded[i][j]) < 0.01f);
        }
    }
    for (int i = 1; i < POINTS; i++) { /* which of the first two others is nearer */
        float a = 0, b = 0, ra = 0, rb = 0;
        for (int j = 0; j < NODES; j++) {
            a += powf(h[i][j] - h[0][j], 2);
            b += powf(h[i][j] - h[(i + 1) % POINTS][j], 2);
            ra += powf(rounded[i][j] - rounded[0][j], 2);
            rb += powf(rounded[i][j] - rounded[(i + 1) % POINTS][j], 2);
        }
        if (fabsf(a - b) > 0.002f * (a + b))
            assert_int_equal(a < b, ra < rb);
    }
    projection_release(p);
}

/* --- packing --- */

static struct cache *two_class_kmeans(void)
{
    static const float centroids[] = {0, 0, 4, 0, 1, 9};
    static const uint32_t counts[] = {6, 2, 0, 5, 3, 3};
    struct cache *c = sample_kmeans(2, 2, centroids, counts, 3);
    memset(c->identity, 7, sizeof c->identity);
    c->epoch = 41;
    c->tag = 99;
    return c;
}

static struct cache *rounded_map(int groups)
{
    struct cache *c = small_map(groups);
    assert_int_equal(cache_round(c), FL_OK);
    return c;
}

static void check_same(const struct cache *a, const struct cache *b)
{
    struct cache_info i = cache_info(a), j = cache_info(b);
    float x[9] = {0.5f, 1.5f};
    struct cache_verdict v = sample_lookup(a, x), w = sample_lookup(b, x);
    assert_true(!i.digest && j.digest); /* of what was read alone */
    i.digest = j.digest;
    assert_memory_equal(&i, &j, sizeof i);
    assert_int_equal(v.label, w.label);
    assert_true(v.confidence == w.confidence && v.hit == w.hit);
}

static void test_pack_and_unpack(void **state)
{
    static const float points[] = {1, 0, 2, 0, 4, 0};
    static const int32_t labels[] = {0, 1, 1};
    struct cache *made[] = {two_class_kmeans(), sample_knn(2, 2, 2, points, labels, 3),
                            small_learned(),    small_map(1),
                            small_learned(),    small_map(2),
                            rounded_map(1),     rounded_map(2)},
                 *read;
    made[4]->learned.against_all = true; /* as packs of before are */
    made[2]->levels = (struct cache_levels){2, {{10000, 0.5f}, {5000, INFINITY}}};
    for (int i = 0; i < 8; i++) {
        void *data, *again;
        size_t size, size_again;
        assert_int_equal(cache_pack(made[i], &data, &size), FL_OK);
        assert_int_equal(cache_unpack(&read, data, size, made[i]->identity, NULL), FL_OK);
        check_same(made[i], read);
        assert_int_equal(cache_pack(read, &again, &size_again), FL_OK);
        assert_int_equal(size, size_again);
        assert_memory_equal(data, again, size);
        free(again);
        cache_free(read);
        again = aligned_alloc(64, size);
        memcpy(again, data, size);
        assert_int_equal(cache_map(&read, again, size, made[i]->identity, NULL), FL_OK);
        check_same(made[i], read);
        cache_free(read);
        cache_free(made[i]);
        free(data);
        free(again);
    }
}

/* The last version's packs have no sections of bytes, and are read. */
static void test_version_of_before(void **state)
{
    struct cache *c = small_map(2), *read;
    struct error e;
    uint32_t version;
    void *data;
    size_t size;
    assert_int_equal(cache_pack(c, &data, &size), FL_OK);
    for (version = 1; version <= 4; version++) {
        int rc;
        memcpy((char *)data + 24, &version, sizeof version);
        cache_pack_seal(data, size);
        rc = cache_unpack(&read, data, size, NULL, &e);
        assert_int_equal(rc, version == 2 || version == 3 ? FL_OK : FL_UNSUPPORTED);
        if (rc == FL_OK) {
            check_same(c, read);
            cache_free(read);
        }
    }
    free(data);
    cache_free(c);
}

static void no_levels(struct cache_levels levels)
{
    struct cache *c = small_learned(), *read;
    void *data;
    size_t size;
    c->levels = levels;
    assert_int_equal(cache_pack(c, &data, &size), FL_OK);
    assert_int_equal(cache_unpack(&read, data, size, NULL, NULL), FL_CORRUPT);
    free(data);
    cache_free(c);
}

static void test_levels_that_are_none_are_refused(void **state)
{
    no_levels((struct cache_levels){2, {{5000, 1}, {5000, 1}}});
    no_levels((struct cache_levels){2, {{5000, 1}, {2500, 0.5f}}});
    no_levels((struct cache_levels){1, {{1000001, 1}}});
    no_levels((struct cache_levels){1, {{5000, NAN}}});
}

static uint32_t hits_of(const struct cache_levels *levels, const uint32_t *allowed, int n)
{
    static struct lookup in;
    struct cache_verdict found[MESSAGE_MAX_BATCH];
    static struct verdict out;
    uint32_t hits = 0;
    in = (struct lookup){.n = n};
    for (int i = 0; i < n; i++) {
        in.item[i] = (struct lookup_item){.deadline_ns = 100, .loss_allowed = allowed[i]};
        found[i] = (struct cache_verdict){1, 3, true};
    }
    verdicts_fill(&out, &in, found, levels, 1, 50);
    for (int i = 0; i < n; i++)
        hits |= (uint32_t)out.item[i].hit << i;
    return hits;
}

/* Allowed are 1 + millionths; the confidence is 3. */
static void test_a_request_is_held_against_the_level_that_it_allows(void **state)
{
    static const struct cache_levels levels = {3, {{10000, 1}, {5000, 2.5f}, {2500, 3}}}, none;
    static const uint32_t allowed[] = {0, 1 + 1000000, 1 + 10000, 1 + 5000, 1 + 4999, 1 + 2500, 1 + 2499, 1};
    assert_int_equal(hits_of(&levels, allowed, 8), 0xf);
    assert_int_equal(hits_of(&none, allowed, 8), 1);
}

static void test_every_flipped_bit_is_noticed(void **state)
{
    struct cache *c = two_class_kmeans(), *read;
    void *data;
    size_t size;
    struct error e;
    assert_int_equal(cache_pack(c, &data, &size), FL_OK);
    for (size_t i = 0; i < size * 8; i++) {
        ((uint8_t *)data)[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_int_not_equal(cache_unpack(&read, data, size, c->identity, &e), FL_OK);
        assert_true(e.text[0] != 0);
        ((uint8_t *)data)[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t n = 0; n < size; n++)
        assert_int_not_equal(cache_unpack(&read, data, n, c->identity, NULL), FL_OK);
    free(data);
    cache_free(c);
}

/* What a forger with a checksum could write: it is the checks behind the checksum that must hold. */
static void forge(struct cache *c)
{
    struct cache *read;
    void *data;
    uint8_t *forged;
    size_t size;
    struct shuffle s;
    shuffle_seed(&s, 11, 0);
    assert_int_equal(cache_pack(c, &data, &size), FL_OK);
    forged = aligned_alloc(64, size);
    for (int i = 0; i < 20000; i++) {
        memcpy(forged, data, size);
        for (int j = 0; j < 2; j++) {
            uint32_t at = 24 + shuffle_below(&s, (uint32_t)size - 24);
            forged[at] = shuffle_below(&s, 2) ? 0xff : (uint8_t)shuffle_u32(&s);
        }
        cache_pack_seal(forged, size);
        if ((i % 2 ? cache_unpack : cache_map)(&read, forged, size, NULL, NULL) == FL_OK) {
            float x[64] = {0}; /* then it must be a sound cache */
            if (cache_info(read).dim <= 64)
                sample_lookup(read, x);
            cache_free(read);
        }
    }
    free(forged);
    free(data);
    cache_free(c);
}

static void test_forged_fields_are_refused(void **state)
{
    struct cache *levels = small_learned();
    levels->levels = (struct cache_levels){3, {{10000, 0.5f}, {5000, 1}, {2500, 2}}};
    forge(levels);
    forge(two_class_kmeans());
    forge(small_learned());
    forge(small_map(1));
    forge(small_map(2));
    forge(rounded_map(1));
    forge(rounded_map(2));
}

static void test_another_model_is_named(void **state)
{
    struct cache *c = two_class_kmeans(), *read;
    uint8_t other[16] = {1};
    char path[] = "/tmp/freezeline-cache-XXXXXX";
    struct error e;
    int fd = mkstemp(path);
    struct stat st;
    close(fd);
    assert_int_equal(cache_save(c, path, NULL, NULL), FL_OK);
    assert_int_equal(cache_load(&read, path, c->identity, NULL), FL_OK);
    check_same(c, read);
    cache_free(read);
    assert_int_equal(cache_load(&read, path, other, &e), FL_STALE);
    assert_non_null(strstr(e.text, "another model"));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(truncate(path, st.st_size - 1), 0);
    assert_int_equal(cache_load(&read, path, c->identity, &e), FL_CORRUPT);
    unlink(path);
    assert_int_equal(cache_load(&read, path, c->identity, &e), FL_NOT_FOUND);
    cache_free(c);
}

static void test_sizes_are_what_is_stored(void **state)
{
    struct cache *c = two_class_kmeans();
    struct cache_info i = cache_info(c);
    assert_int_equal(i.projection_bytes, 2 * 2 * 4 + 2 * 4 + 2 * 2 * 2);
    assert_int_equal(i.index_bytes, 3 * (2 * 2 + 4 + 2 * 4));
    assert_true(i.total_bytes >= i.projection_bytes + i.index_bytes);
    cache_free(c);
}

/* --- threads --- */

struct reader {
    struct cache *cache;
    struct cache_verdict expect;
    int wrong;
};

static void *read_often(void *arg)
{
    struct reader *r = arg;
    struct cache_scratch *s;
    float x[6] = {0.5f, 1.5f, 0.5f, 1.5f, 0.5f, 1.5f};
    struct cache_verdict v[3];
    cache_scratch_new(&s, 2);
    for (int i = 0; i < 2000; i++) {
        cache_retain(r->cache);
        cache_lookup(r->cache, s, x, 3, v);
        for (int j = 0; j < 3; j++)
            r->wrong += v[j].label != r->expect.label || v[j].confidence != r->expect.confidence;
        cache_free(r->cache);
    }
    cache_scratch_free(s);
    cache_free(r->cache);
    return NULL;
}

static void test_many_threads_read_one_cache(void **state)
{
    enum { READERS = 4 };
    struct cache *c = two_class_kmeans();
    float x[] = {0.5f, 1.5f};
    struct reader r[READERS];
    pthread_t thread[READERS];
    for (int i = 0; i < READERS; i++) {
        cache_retain(c);
        r[i] = (struct reader){c, sample_lookup(c, x), 0};
        assert_int_equal(pthread_create(&thread[i], NULL, read_often, &r[i]), 0);
    }
    cache_free(c); /* the last reader frees it */
    for (int i = 0; i < READERS; i++) {
        pthread_join(thread[i], NULL);
        assert_int_equal(r[i].wrong, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knn_by_hand),
        cmocka_unit_test(test_knn_at_distance_zero),
        cmocka_unit_test(test_kmeans_by_hand),
        cmocka_unit_test(test_learned_by_hand),
        cmocka_unit_test(test_map_by_hand),
        cmocka_unit_test(test_rounded_maps),
        cmocka_unit_test(test_not_finite_is_a_miss),
        cmocka_unit_test(test_empty_cache_misses),
        cmocka_unit_test(test_precision_changes_no_verdict),
        cmocka_unit_test(test_pack_and_unpack),
        cmocka_unit_test(test_version_of_before),
        cmocka_unit_test(test_levels_that_are_none_are_refused),
        cmocka_unit_test(test_a_request_is_held_against_the_level_that_it_allows),
        cmocka_unit_test(test_every_flipped_bit_is_noticed),
        cmocka_unit_test(test_forged_fields_are_refused),
        cmocka_unit_test(test_another_model_is_named),
        cmocka_unit_test(test_sizes_are_what_is_stored),
        cmocka_unit_test(test_many_threads_read_one_cache)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
