/* test_teaching.c - a candidate depends on what the reservoir held when its teaching said so, on nothing
 * later */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "cache_service/store/update.h"
#include "cache_service/teach/teaching.h"
#include "index/cache.h"
#include "numbers/shuffle.h"

enum { DIM = 6, CLASSES = 3, EXITS = 2, FIRST = 600, LATER = 2000 };

struct room {
    char dir[64];
    struct reservoir *reservoir;
    struct cache_config config;
    struct teaching teaching;
    struct shuffle random;
    uint64_t serial;
    int fixed;     /* times that it was said */
    bool disturbs; /* then other records come, that say otherwise */
};

/* A request of class `label`; what exits see is that of class `seen`. */
static void add(struct room *r, int label, int seen, bool audit)
{
    static const uint32_t dim[EXITS] = {DIM, DIM};
    struct update *u = update_new(EXITS, dim);
    struct reservoir_row row;
    enum reservoir_what what;
    char id[32];
    assert_non_null(u);
    u->request = ++r->serial * 0x9e3779b97f4a7c15u;
    u->moment_ms = r->serial;
    u->label = label;
    u->flags = audit ? UPDATE_AUDIT : 0;
    for (int k = 0; k < EXITS; k++) {
        float x[DIM];
        for (int j = 0; j < DIM; j++)
            x[j] = (float)((j % CLASSES == seen) + 0.4 * shuffle_normal(&r->random));
        update_fill(u, k, 100 + (uint64_t)k, x);
    }
    snprintf(id, sizeof id, "%llu-0", (unsigned long long)r->serial);
    assert_int_equal(reservoir_add(r->reservoir, u, id, &what, &row, NULL), FL_OK);
    assert_int_equal(what, RESERVOIR_WHOLE);
    update_free(u);
}

static void on_fixed(void *arg)
{
    struct room *r = arg;
    r->fixed++;
    for (int i = 0; r->disturbs && i < LATER; i++)
        add(r, i % CLASSES, (i + 1) % CLASSES, true);
}

/* Phases of copying tell of it until all is fixed, never after. */
static int on_progress(void *arg, const char *phase, int64_t done, int64_t total, double number)
{
    struct room *r = arg;
    (void)done;
    (void)total;
    (void)number;
    assert_int_equal(r->fixed, strcmp(phase, "copy") == 0 ? 0 : 1);
    return 0;
}

static struct room *room_new(const char *kind)
{
    struct room *r = calloc(1, sizeof *r);
    struct reservoir_setup s = {.classes = CLASSES, .n_exits = EXITS, .most_bytes = 200000};
    char path[96];
    strcpy(r->dir, "/tmp/freezeline-teaching-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    snprintf(path, sizeof path, "%s/reservoir", r->dir);
    s.path = path;
    shuffle_seed(&r->random, 9, 1);
    r->config = (struct cache_config){.nodes = 8, .k = 3, .train_epochs = 5, .seed = 3};
    r->teaching = (struct teaching){.config = &r->config,
                                    .classes = CLASSES,
                                    .n_exits = EXITS,
                                    .terms = {true, 0.02, 0.95},
                                    .number = 1,
                                    .work_dir = r->dir,
                                    .progress = on_progress,
                                    .progress_arg = r,
                                    .fixed = on_fixed};
    for (int k = 0; k < EXITS; k++) {
        struct teaching_exit *x = &r->teaching.exit[k];
        s.exit[k].origin = 100 + (uint64_t)k;
        s.exit[k].dim = DIM;
        *x =
            (struct teaching_exit){.dim = DIM, .budget_bytes = 2000, .before = 0.3 * (k + 1), .lookup = 0.01};
        snprintf(x->name, sizeof x->name, "exit%d", k);
        snprintf(x->kind, sizeof x->kind, "%s", kind);
    }
    assert_int_equal(reservoir_open(&r->reservoir, &s, NULL), FL_OK);
    r->teaching.reservoir = r->reservoir;
    for (int i = 0; i < FIRST; i++)
        add(r, i % CLASSES, i % CLASSES, i % 2 == 0);
    return r;
}

static void room_free(struct room *r)
{
    char command[128];
    reservoir_close(r->reservoir);
    snprintf(command, sizeof command, "rm -rf %s", r->dir);
    assert_int_equal(system(command), 0);
    free(r);
}

static void same_caches(const struct taught *a, const struct taught *b)
{
    struct cache_scratch *s;
    struct shuffle random;
    assert_int_equal(cache_scratch_new(&s, 1), FL_OK);
    shuffle_seed(&random, 4, 4);
    for (int i = 0; i < 200; i++) {
        struct cache_verdict x, y;
        float d[DIM];
        for (int j = 0; j < DIM; j++)
            d[j] = (float)shuffle_normal(&random);
        assert_int_equal(cache_lookup(a->cache[i % EXITS], s, d, 1, &x), FL_OK);
        assert_int_equal(cache_lookup(b->cache[i % EXITS], s, d, 1, &y), FL_OK);
        assert_int_equal(x.label, y.label);
        assert_true(x.confidence == y.confidence);
    }
    cache_scratch_free(s);
}

static void same_candidate(const struct taught *a, const struct taught *b)
{
    assert_true(a->points > 100 && a->planned_on > 100 && a->order.rows > 1);
    assert_int_equal(a->points, b->points);
    assert_int_equal(a->planned_on, b->planned_on);
    assert_int_equal(a->order.rows, b->order.rows);
    assert_memory_equal(a->order.threshold, b->order.threshold,
                        sizeof(float) * EXITS * (size_t)a->order.rows);
    same_caches(a, b);
}

/* So many records come that what taught and planned has left the reservoir meanwhile. */
static void check(const char *kind)
{
    struct room *calm = room_new(kind), *busy = room_new(kind);
    struct taught a, b, again;
    struct error e;
    busy->disturbs = true;
    if (teaching_run(&a, &calm->teaching, &e) != FL_OK || teaching_run(&b, &busy->teaching, &e) != FL_OK)
        fail_msg("%s", e.text);
    assert_int_equal(calm->fixed, 1);
    assert_int_equal(busy->fixed, 1);
    same_candidate(&a, &b);
    taught_release(&b);
    room_free(busy);

    /* another order for the same caches */
    for (int k = 0; k < EXITS; k++)
        calm->teaching.exit[k].cache = a.cache[k];
    calm->fixed = 0;
    calm->disturbs = true;
    assert_int_equal(teaching_plan(&again, &calm->teaching, &e), FL_OK);
    assert_int_equal(calm->fixed, 1);
    again.points = a.points;
    same_candidate(&a, &again);
    taught_release(&again);
    taught_release(&a);
    room_free(calm);
}

static void test_learned_depends_on_nothing_later(void **state)
{
    check("learned");
}

static void test_knn_depends_on_nothing_later(void **state)
{
    check("knn");
}

static void test_too_little_fixes_nothing(void **state)
{
    struct room *r = room_new("learned");
    struct taught t;
    struct error e;
    r->teaching.since_ms = FIRST; /* one audit plans at most */
    assert_int_equal(teaching_run(&t, &r->teaching, &e), FL_AGAIN);
    assert_int_equal(r->fixed, 0);
    room_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learned_depends_on_nothing_later),
        cmocka_unit_test(test_knn_depends_on_nothing_later),
        cmocka_unit_test(test_too_little_fixes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
