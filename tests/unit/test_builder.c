/* test_builder.c - making caches: gradients, determinism, interruption, budgets, poor data */
#include "cache_samples.h"

#include <math.h>
#include <stdio.h>

#include "cache_service/train/kmeans_train.h"
#include "cache_service/train/net_train.h"
#include "cache_service/train/tune.h"

enum { DIM = 12, CLASSES = 3, TRAIN = 600, CALIBRATE = 150 };

struct world {
    char dir[64];
    struct matrix_file train, calibrate;
    int32_t train_labels[TRAIN], calibrate_labels[CALIBRATE];
    struct cache_config config;
    struct builder_input in;
    int calls, stop_at; /* of progress; 0: never */
};

static int stop_there(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    struct world *w = arg;
    (void)number;
    assert_non_null(phase);
    assert_true(done <= total);
    return ++w->calls == w->stop_at;
}

static void clear(const char *dir)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
}

static struct world *world_new(const char *kind, int missing)
{
    struct world *w = calloc(1, sizeof *w);
    char path[128];
    strcpy(w->dir, "/tmp/freezeline-build-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(path, sizeof path, "%s/train.rows", w->dir);
    sample_rows(path, w->train_labels, TRAIN, DIM, CLASSES, missing, 1);
    assert_int_equal(matrix_open(&w->train, path, NULL), FL_OK);
    snprintf(path, sizeof path, "%s/calibrate.rows", w->dir);
    sample_rows(path, w->calibrate_labels, CALIBRATE, DIM, CLASSES, missing, 2);
    assert_int_equal(matrix_open(&w->calibrate, path, NULL), FL_OK);
    w->config = (struct cache_config){.nodes = 16, .k = 5, .train_epochs = 4, .tune = 2, .seed = 9};
    w->in = (struct builder_input){.exit_name = "exit1",
                                   .kind = kind,
                                   .classes = CLASSES,
                                   .train = &w->train,
                                   .train_labels = w->train_labels,
                                   .calibrate = &w->calibrate,
                                   .calibrate_labels = w->calibrate_labels,
                                   .config = &w->config,
                                   .budget_bytes = 1000,
                                   .work_dir = w->dir,
                                   .progress = stop_there,
                                   .progress_arg = w};
    return w;
}

static void world_free(struct world *w)
{
    matrix_close(&w->train);
    matrix_close(&w->calibrate);
    clear(w->dir);
    free(w);
}

static struct cache *build(struct world *w)
{
    struct cache *c;
    struct error e = {0};
    int rc = builder_build(&c, &w->in, &e);
    if (rc != FL_OK)
        fail_msg("%s", e.text);
    return c;
}

static void check_same_bytes(const struct cache *a, const struct cache *b)
{
    void *p, *q;
    size_t n, m;
    assert_int_equal(cache_pack(a, &p, &n), FL_OK);
    assert_int_equal(cache_pack(b, &q, &m), FL_OK);
    assert_int_equal(n, m);
    assert_memory_equal(p, q, n);
    free(p);
    free(q);
}

static double right_share(const struct world *w, const struct cache *c)
{
    struct cache_scratch *s;
    struct cache_verdict v[CALIBRATE];
    int right = 0;
    assert_int_equal(cache_scratch_new(&s, 7), FL_OK);
    assert_int_equal(cache_lookup(c, s, w->calibrate.data, CALIBRATE, v), FL_OK);
    for (int i = 0; i < CALIBRATE; i++) {
        right += v[i].label == w->calibrate_labels[i];
        assert_false(v[i].hit && v[i].label != w->calibrate_labels[i]); /* what max-wrong means */
    }
    cache_scratch_free(s);
    return (double)right / CALIBRATE;
}

static void check_kind(const char *kind)
{
    struct world *a = world_new(kind, -1), *b = world_new(kind, -1);
    struct cache *c = build(a), *d = build(b), *again;
    int calls = a->calls;
    assert_true(right_share(a, c) > 0.95);
    assert_true(cache_info(c).index_bytes <= a->in.budget_bytes);
    assert_true(cache_info(c).entries > 10);
    check_same_bytes(c, d);
    again = build(a); /* is there already */
    assert_int_equal(a->calls, calls);
    check_same_bytes(c, again);
    cache_free(again);
    a->config.seed++;
    again = build(a);
    assert_true(a->calls > calls);
    cache_free(again);
    cache_free(c);
    cache_free(d);
    world_free(a);
    world_free(b);
}

static void test_knn_is_built(void **state)
{
    check_kind("knn");
}

static void test_kmeans_is_built(void **state)
{
    check_kind("kmeans");
}

/* a has its cache, b is to teach one: with other calibration points a only calibrates, and both come to the
 * same. */
static void check_other_calibration(struct world *a, struct world *b)
{
    struct matrix_file some = a->calibrate;
    struct cache *c, *d;
    char files[80];
    some.rows = CALIBRATE / 8;
    some.tag++;
    snprintf(files, sizeof files, "%s/exit1.*", b->dir);
    clear(files);
    a->in.calibrate = b->in.calibrate = &some;
    a->calls = b->calls = 0;
    c = build(a);
    d = build(b);
    assert_true(a->calls <= some.rows && a->calls < b->calls / 4);
    check_same_bytes(c, d);
    cache_free(c);
    cache_free(d);
}

static void test_learned_is_built(void **state)
{
    struct world *a = world_new("learned", -1), *b = world_new("learned", -1);
    struct matrix_writer *to;
    struct matrix_file scores;
    char path[128];
    int64_t have;
    struct cache *c, *d;
    snprintf(path, sizeof path, "%s/scores", a->dir);
    assert_int_equal(matrix_writer_open(&to, path, CLASSES, 5, &have, NULL), FL_OK);
    for (int i = 0; i < TRAIN; i++) {
        float row[CLASSES] = {0};
        row[a->train_labels[i]] = 5;
        assert_int_equal(matrix_writer_append(to, row, 1, NULL), FL_OK);
    }
    assert_int_equal(matrix_writer_close(to, NULL), FL_OK);
    assert_int_equal(matrix_open(&scores, path, NULL), FL_OK);
    a->in.train_scores = b->in.train_scores = &scores;
    c = build(a);
    d = build(b);
    assert_true(right_share(a, c) > 0.95);
    assert_true(cache_info(c).projection_bytes + cache_info(c).index_bytes <= a->in.budget_bytes);
    check_same_bytes(c, d);
    cache_free(c);
    cache_free(d);
    check_other_calibration(a, b);
    matrix_close(&scores);
    world_free(a);
    world_free(b);
}

/* Stopped at every point where it can be, and called again each time. */
static void check_interrupted(const char *kind)
{
    struct world *whole = world_new(kind, -1), *cut = world_new(kind, -1);
    struct cache *c = build(whole), *d = NULL;
    int rc = FL_CANCELLED, stops = 0;
    for (cut->stop_at = 1; rc == FL_CANCELLED; cut->stop_at += 1 + cut->stop_at / 4) {
        struct error e;
        cut->calls = 0;
        rc = builder_build(&d, &cut->in, &e);
        stops += rc == FL_CANCELLED;
    }
    assert_int_equal(rc, FL_OK);
    assert_true(stops > 5);
    check_same_bytes(c, d);
    cache_free(c);
    cache_free(d);
    world_free(whole);
    world_free(cut);
}

static void test_interrupted_is_the_same(void **state)
{
    check_interrupted("kmeans");
    check_interrupted("learned");
}

static void test_a_class_without_examples(void **state)
{
    static const char *const kinds[] = {"knn", "kmeans", "learned"};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(kinds[i], 1);
        struct cache *c = build(w);
        assert_true(right_share(w, c) > 0.95);
        cache_free(c);
        world_free(w);
    }
}

static void test_bad_input_is_named(void **state)
{
    struct world *w = world_new("knn", -1);
    struct cache *c;
    struct error e;
    struct matrix_file none = w->calibrate, narrow = w->calibrate;
    w->in.kind = "tree";
    assert_int_equal(builder_build(&c, &w->in, &e), FL_USAGE);
    w->in.kind = "knn";
    w->in.budget_bytes = 3;
    assert_int_equal(builder_build(&c, &w->in, &e), FL_CONFIG);
    assert_non_null(strstr(e.text, "cache.memory_mb"));
    w->in.budget_bytes = 0;
    none.rows = 0;
    w->in.calibrate = &none;
    assert_int_equal(builder_build(&c, &w->in, &e), FL_USAGE);
    narrow.dim--;
    w->in.calibrate = &narrow;
    assert_int_equal(builder_build(&c, &w->in, &e), FL_SHAPE);
    w->in.calibrate = &w->calibrate;
    for (int i = 0; i < TRAIN; i++)
        w->train_labels[i] = -1;
    assert_int_equal(builder_build(&c, &w->in, &e), FL_VALUE);
    world_free(w);
}

/* Rows with NaN or infinity, in a file of their own: they are neither learned from nor stored. */
static struct cache *build_spoiled(struct world *w)
{
    struct matrix_writer *to;
    struct matrix_file spoiled;
    char path[128];
    int64_t have;
    struct cache *c;
    snprintf(path, sizeof path, "%s/spoiled.rows", w->dir);
    assert_int_equal(matrix_writer_open(&to, path, DIM, 5, &have, NULL), FL_OK);
    for (int i = 0; i < TRAIN; i++) {
        float row[DIM];
        memcpy(row, w->train.data + (size_t)i * DIM, sizeof row);
        if (i % 4 == 0)
            row[i % DIM] = i % 8 ? NAN : INFINITY;
        assert_int_equal(matrix_writer_append(to, row, 1, NULL), FL_OK);
    }
    assert_int_equal(matrix_writer_close(to, NULL), FL_OK);
    assert_int_equal(matrix_open(&spoiled, path, NULL), FL_OK);
    w->in.train = &spoiled;
    c = build(w);
    matrix_close(&spoiled);
    return c;
}

static void test_rows_that_are_not_finite(void **state)
{
    static const char *const kinds[] = {"knn", "kmeans", "learned"};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(kinds[i], -1);
        struct cache *c;
        float x[DIM];
        w->in.budget_bytes = i == 0 ? 0 : 1000;
        c = build_spoiled(w);
        if (i == 0)
            assert_int_equal(cache_info(c).entries, TRAIN - TRAIN / 4);
        assert_true(right_share(w, c) > 0.8);
        memcpy(x, w->calibrate.data, sizeof x);
        assert_true(sample_lookup(c, x).label >= 0);
        x[3] = NAN; /* and of a request: a miss */
        assert_int_equal(sample_lookup(c, x).label, -1);
        assert_false(sample_lookup(c, x).hit);
        cache_free(c);
        world_free(w);
    }
}

static void test_a_constant_feature_has_no_weight(void **state)
{
    static const char *const kinds[] = {"knn", "kmeans", "learned"};
    for (int i = 0; i < 3; i++) {
        struct world *w = world_new(kinds[i], -1);
        struct cache *c = build(w);
        float a[DIM], b[DIM];
        memcpy(a, w->calibrate.data, sizeof a);
        memcpy(b, a, sizeof b);
        b[0] = 1e6f; /* 3.25 in all rows that were seen */
        assert_true(sample_lookup(c, a).confidence == sample_lookup(c, b).confidence);
        cache_free(c);
        world_free(w);
    }
}

/* --- the parts --- */

static void test_kmeans_finds_separate_groups(void **state)
{
    float rows[40][2];
    int32_t labels[40];
    struct matrix_file m = {.rows = 40, .dim = 2, .data = &rows[0][0]};
    struct kmeans_training t = {
        .rows = &m, .labels = labels, .classes = 4, .centroids = 4, .seed = 1, .phase = "t"};
    struct kmeans k;
    for (int i = 0; i < 40; i++) {
        rows[i][0] = (float)(i % 2 * 100 + i / 4 % 3);
        rows[i][1] = (float)(i / 2 % 2 * 100);
        labels[i] = i % 4;
    }
    assert_int_equal(kmeans_train(&k, &t, NULL), FL_OK);
    assert_int_equal(k.points.n, 4);
    for (int64_t j = 0; j < 4; j++) {
        float fraction;
        kmeans_majority(&k, j, &fraction);
        assert_true(fraction == 1.0f);
    }
    points_release(&k.points);
    free(k.count);
    for (int i = 0; i < 40; i++) /* all the same: more centroids than different points */
        rows[i][0] = rows[i][1] = 1;
    assert_int_equal(kmeans_train(&k, &t, NULL), FL_OK);
    assert_true(k.points.n >= 1);
    points_release(&k.points);
    free(k.count);
}

static void test_risk_coverage(void **state)
{
    /* surest first: right, wrong, right, wrong; shares of wrong among the first 1, 2, 3, 4: 0, 1/2, 1/3, 1/2
     */
    struct sureness v[] = {{1, true}, {9, false}, {5, true}, {3, false}};
    struct sureness all[] = {{1, true}, {2, true}};
    assert_true(fabs(risk_coverage(v, 4) - (0.5 + 1.0 / 3 + 0.5) / 4) < 1e-12);
    assert_true(risk_coverage(all, 2) == 1);
    assert_true(isnan(risk_coverage(v, 0)));
}

/* 120 pictures in three copies with labels that nothing but the picture tells: what is right about those that
 * are held out was learned by heart from their copies. */
static double agreement_by_heart(int64_t pictures)
{
    enum { PICTURES = 120, COPIES = 3, WIDE = 32 };
    static float x[PICTURES * COPIES][WIDE];
    static int32_t labels[PICTURES * COPIES];
    struct matrix_file rows = {.rows = PICTURES * COPIES, .dim = WIDE, .data = &x[0][0]};
    struct net_training t = {.rows = &rows,
                             .labels = labels,
                             .pictures = pictures,
                             .classes = 4,
                             .nodes = 64,
                             .recipe = {.epochs = 60, .rate = 0.01f, .start = 1, .held_out = 0.25f},
                             .seed = 2,
                             .phase = "t"};
    struct trained out;
    struct shuffle s;
    double agreement;
    shuffle_seed(&s, 6, 6);
    for (int i = 0; i < PICTURES * COPIES; i++) {
        labels[i] = i < PICTURES ? (int32_t)shuffle_below(&s, 4) : labels[i % PICTURES];
        for (int j = 0; j < WIDE; j++)
            x[i][j] = i < PICTURES ? (float)shuffle_normal(&s) : x[i % PICTURES][j];
    }
    assert_int_equal(net_train(&out, &t, NULL), FL_OK);
    agreement = out.held_out_agreement;
    trained_release(&out);
    return agreement;
}

static void test_copies_of_a_held_out_picture_do_not_teach(void **state)
{
    assert_true(agreement_by_heart(0) > 0.8);
    assert_true(agreement_by_heart(120) < 0.45);
}

/* Rates that are a thousand times too low or too high teach nothing in a short time. */
static void check_tuned(float rate, float lowest, float highest)
{
    struct world *w = world_new("learned", -1);
    struct net_training t = {.rows = &w->train,
                             .labels = w->train_labels,
                             .classes = CLASSES,
                             .nodes = 16,
                             .seed = 4,
                             .phase = "tune",
                             .progress = stop_there,
                             .progress_arg = w};
    struct recipe best = {.epochs = 200, .rate = rate, .start = 1, .drop = 0.5f, .loss = {0, 1}},
                  again = best;
    int tried, rc;
    struct error e;
    rc = tune(&best, &tried, &t, 1, &e);
    assert_int_equal(rc, FL_OK);
    assert_int_equal(tried, TUNE_RECIPES);
    assert_true(best.rate >= lowest && best.rate <= highest);
    assert_int_equal(tune(&again, &tried, &t, 1, &e), FL_OK); /* the same again */
    assert_true(again.rate == best.rate && again.drop == best.drop);
    w->stop_at = w->calls + 3;
    assert_int_equal(tune(&again, &tried, &t, 1, &e), FL_CANCELLED);
    assert_int_equal(tune(&again, &tried, &t, 0.01, &e), FL_OK); /* too little to tell */
    assert_int_equal(tried, 0);
    assert_true(again.rate == best.rate);
    world_free(w);
}

static void test_tuning_finds_the_rate(void **state)
{
    check_tuned(1e-5f, 3e-5f, 3e-5f); /* of 1/3, 1, 3 times the highest is the least too low */
    check_tuned(30, 10, 10);
}

static void test_max_wrong(void **state)
{
    struct cache_verdict v[] = {
        {0, 0.9f, false}, {1, 0.7f, false}, {1, 0.4f, false}, {-1, 5, false}, {2, 3, false}};
    int32_t truth[] = {0, 0, 0, 1, -1};
    assert_true(threshold_max_wrong(v, truth, 5) == 0.7f);
    assert_true(threshold_max_wrong(v, truth, 1) == 0);
    assert_true(isinf(threshold_max_wrong(v, truth, 0)));
    assert_true(isinf(threshold_max_wrong(v + 3, truth + 3, 2)));
}

static void test_matrix_files(void **state)
{
    char dir[] = "/tmp/freezeline-rows-XXXXXX", path[64];
    struct matrix_writer *w;
    struct matrix_file m;
    float rows[] = {1, 2, 3, 4, 5, 6};
    int64_t have;
    FILE *f;
    struct error e;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/rows", dir);
    assert_int_equal(matrix_open(&m, path, &e), FL_NOT_FOUND);
    assert_int_equal(matrix_writer_open(&w, path, 2, 1, &have, NULL), FL_OK);
    assert_int_equal(have, 0);
    assert_int_equal(matrix_writer_append(w, rows, 2, NULL), FL_OK);
    assert_int_equal(matrix_writer_close(w, NULL), FL_OK);
    f = fopen(path, "ab"); /* half a row, as a crash leaves it */
    fwrite(rows, 4, 1, f);
    fclose(f);
    assert_int_equal(matrix_writer_open(&w, path, 2, 2, &have, &e), FL_STALE);
    assert_int_equal(matrix_writer_open(&w, path, 3, 1, &have, &e), FL_STALE);
    assert_int_equal(matrix_writer_open(&w, path, 2, 1, &have, &e), FL_OK);
    assert_int_equal(have, 2);
    assert_int_equal(matrix_writer_append(w, rows + 4, 1, NULL), FL_OK);
    assert_int_equal(matrix_writer_close(w, NULL), FL_OK);
    assert_int_equal(matrix_open(&m, path, &e), FL_OK);
    assert_int_equal(m.rows, 3);
    assert_int_equal(m.dim, 2);
    assert_memory_equal(m.data, rows, sizeof rows);
    matrix_close(&m);
    f = fopen(path, "wb");
    fputs("this is a text file and no rows of descriptors at all, is it? no, not at all", f);
    fclose(f);
    assert_int_equal(matrix_open(&m, path, &e), FL_CORRUPT);
    clear(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_knn_is_built),
                                       cmocka_unit_test(test_kmeans_is_built),
                                       cmocka_unit_test(test_learned_is_built),
                                       cmocka_unit_test(test_interrupted_is_the_same),
                                       cmocka_unit_test(test_a_class_without_examples),
                                       cmocka_unit_test(test_bad_input_is_named),
                                       cmocka_unit_test(test_rows_that_are_not_finite),
                                       cmocka_unit_test(test_a_constant_feature_has_no_weight),
                                       cmocka_unit_test(test_kmeans_finds_separate_groups),
                                       cmocka_unit_test(test_risk_coverage),
                                       cmocka_unit_test(test_copies_of_a_held_out_picture_do_not_teach),
                                       cmocka_unit_test(test_tuning_finds_the_rate),
                                       cmocka_unit_test(test_max_wrong),
                                       cmocka_unit_test(test_matrix_files)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
