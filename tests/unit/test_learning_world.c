/* test_learning_world.c - the whole way from requests to caches that answer them: reservoir, teaching,
 * certificate, and back where the world changes. tests/bench/learning_lab does the same with a real network.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "numbers/shuffle.h"
#include "tests/bench/lab_world.h"

enum { DIM = 10, CLASSES = 4, WINDOW = 500 };

struct world {
    char dir[64];
    struct pipeline pipeline;
    struct manifest manifest;
    struct extracted traffic;
    struct lab_setup setup;
    struct lab_result result;
};

/* What an exit sees of class c: a corner of its own, blurred. From `changed` on, that of the next class. */
static void write_rows(struct world *w, int exit, int64_t n, int64_t changed, double blur)
{
    struct matrix_writer *to;
    struct shuffle s;
    char path[128];
    int64_t have;
    snprintf(path, sizeof path, "%s/exit%d.f32", w->dir, exit);
    assert_int_equal(matrix_writer_open(&to, path, DIM, 1, &have, NULL), FL_OK);
    shuffle_seed(&s, 5, (uint64_t)exit);
    for (int64_t i = 0; i < n; i++) {
        int seen = (w->traffic.label[i] + (i >= changed)) % CLASSES;
        float x[DIM];
        for (int j = 0; j < DIM; j++)
            x[j] = (float)((j % CLASSES == seen) + blur * shuffle_normal(&s));
        assert_int_equal(matrix_writer_append(to, x, 1, NULL), FL_OK);
    }
    assert_int_equal(matrix_writer_close(to, NULL), FL_OK);
    assert_int_equal(matrix_open(&w->traffic.descriptor[exit], path, NULL), FL_OK);
}

static void describe(struct world *w, int exit, const char *kind)
{
    struct manifest_exit *x = &w->manifest.exit[exit];
    snprintf(x->name, sizeof x->name, "exit%d", exit);
    snprintf(x->kind, sizeof x->kind, "%s", kind);
    x->origin = 100 + (uint64_t)exit;
    x->dim = DIM;
    x->before = 0.3 + 0.3 * exit;
    x->lookup = 0.01;
    x->budget_bytes = 4000;
}

static struct world *world_new(const char *kind, int64_t n, int64_t changed)
{
    struct world *w = calloc(1, sizeof *w);
    struct shuffle s;
    strcpy(w->dir, "/tmp/freezeline-learning-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    w->pipeline.cache = (struct cache_config){.nodes = 16, .k = 5, .train_epochs = 10, .seed = 3};
    w->pipeline.updates.reservoir_mb = 10;
    w->manifest.promised = true;
    w->manifest.classes = CLASSES;
    w->manifest.n_exits = w->traffic.n_exits = 2;
    w->traffic.rows = n;
    w->traffic.classes = CLASSES;
    w->traffic.label = malloc(sizeof *w->traffic.label * (size_t)n);
    shuffle_seed(&s, 1, 1);
    for (int64_t i = 0; i < n; i++)
        w->traffic.label[i] = (int32_t)shuffle_below(&s, CLASSES);
    for (int k = 0; k < 2; k++) {
        describe(w, k, kind);
        write_rows(w, k, n, changed, k == 0 ? 0.45 : 0.3);
    }
    w->setup = (struct lab_setup){.pipeline = &w->pipeline,
                                  .manifest = &w->manifest,
                                  .traffic = &w->traffic,
                                  .work = w->dir,
                                  .terms = {.agreement = true, .budget = 0.02, .certainty = 0.95},
                                  .rate = 200,
                                  .audit = 0.05,
                                  .audit_most = 0.5,
                                  .sample = 0.2,
                                  .window = WINDOW};
    return w;
}

static void play(struct world *w)
{
    struct error e;
    if (lab_play(&w->result, &w->setup, &e) != FL_OK)
        fail_msg("%s", e.text);
}

static void world_free(struct world *w)
{
    char command[128];
    for (int k = 0; k < 2; k++)
        matrix_close(&w->traffic.descriptor[k]);
    free(w->traffic.label);
    free(w->result.window);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
}

static double early(const struct lab_window *w)
{
    return (double)w->early / (double)w->n;
}

static double lost(const struct lab_window *w)
{
    return (double)w->lost / (double)w->n;
}

static const struct lab_window *last(const struct world *w)
{
    return &w->result.window[w->result.windows - 1];
}

static void check_cold_start(const char *kind)
{
    struct world *w = world_new(kind, 5000, INT64_MAX);
    play(w);
    assert_true(w->result.window[0].early == 0);
    assert_int_equal(last(w)->state, LEARNER_SERVING);
    assert_true(early(last(w)) > 0.6);
    assert_true(lost(&w->result.all) < 0.02);
    assert_int_equal(w->result.alarms, 0);
    world_free(w);
}

static void test_knn_learns_from_nothing(void **state)
{
    check_cold_start("knn");
}

static void test_kmeans_learns_from_nothing(void **state)
{
    check_cold_start("kmeans");
}

static void test_learned_learns_from_nothing(void **state)
{
    check_cold_start("learned");
}

/* All that was learned becomes wrong: it is noticed, switched off, learned anew, and answers again. */
static void test_comes_back_after_a_change(void **state)
{
    struct world *w = world_new("kmeans", 12000, 5000);
    const struct lab_window *before, *change, *after;
    play(w);
    before = &w->result.window[5000 / WINDOW - 1];
    change = before + 1;
    after = before + 2;
    assert_true(early(before) > 0.6);
    assert_true(w->result.alarms > 0);
    assert_true(lost(change) < 0.45); /* of nearly all, had nobody noticed */
    assert_true(lost(after) < 0.05);
    assert_int_equal(last(w)->state, LEARNER_SERVING);
    assert_true(early(last(w)) > 0.5);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_knn_learns_from_nothing),
        cmocka_unit_test(test_kmeans_learns_from_nothing),
        cmocka_unit_test(test_learned_learns_from_nothing),
        cmocka_unit_test(test_comes_back_after_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
