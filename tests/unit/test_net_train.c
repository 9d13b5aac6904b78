/* test_net_train.c - maps that are moved while they teach: what was seen in one place is known beside it */
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "cache_service/train/net_train.h"
#include "index/cache_body.h"

enum { SIDE = 8, CELLS = SIDE * SIDE, CLASSES = 4, ROWS = 1024, ASKED = 400 };

/* A pair of bright cells, of which the class says how they lie to one another, `down` and `right` of the
 * middle. */
static void draw(float *map, int label, int down, int right, struct shuffle *s)
{
    static const int other[CLASSES][2] = {{0, 1}, {1, 0}, {1, 1}, {1, -1}};
    int y = 3 + down, x = 4 + right;
    for (int i = 0; i < CELLS; i++)
        map[i] = (float)(0.3 * shuffle_normal(s));
    map[y * SIDE + x] += 2;
    map[(y + other[label][0]) * SIDE + x + other[label][1]] += 2;
}

static struct trained teach(float shift)
{
    float *data = malloc(sizeof *data * ROWS * CELLS);
    int32_t label[ROWS];
    struct shuffle s;
    struct matrix_file rows = {.rows = ROWS, .dim = CELLS, .data = data};
    struct net_training t = {
        .rows = &rows,
        .labels = label,
        .classes = CLASSES,
        .map = {SIDE, 1, 16, 1},
        .recipe = {.epochs = 60, .rate = 0.01f, .start = 1, .shift = shift, .loss = {0, 1}},
        .seed = 3};
    struct trained out;
    struct error e;
    t.nodes = map_nodes(&t.map);
    shuffle_seed(&s, 7, 1);
    for (int i = 0; i < ROWS; i++)
        draw(data + i * CELLS, label[i] = i % CLASSES, 0, 0, &s);
    if (net_train(&out, &t, &e) != FL_OK)
        fail_msg("%s", e.text);
    free(data);
    return out;
}

/* Share of right answers to pairs that lie so many places beside those that taught. */
static double right_at(struct trained *of, int down, int right)
{
    struct cache *c;
    struct cache_scratch *scratch;
    struct shuffle s;
    int n = 0;
    assert_int_equal(cache_new(&c, CACHE_LEARNED, of->projection, CLASSES), FL_OK);
    c->learned = of->head;
    assert_int_equal(cache_scratch_new(&scratch, 1), FL_OK);
    shuffle_seed(&s, 8, 1);
    for (int i = 0; i < ASKED; i++) {
        struct cache_verdict v;
        float map[CELLS];
        draw(map, i % CLASSES, down, right, &s);
        assert_int_equal(cache_lookup(c, scratch, map, 1, &v), FL_OK);
        n += v.label == i % CLASSES;
    }
    c->learned = (struct predictor){0}; /* it is ours */
    cache_scratch_free(scratch);
    cache_free(c);
    return (double)n / ASKED;
}

static void test_what_moved_is_known_beside(void **state)
{
    struct trained still = teach(0), moved = teach(0.5f);
    double beside = 0, without = 0;
    for (int to = 0; to < 9; to++) {
        beside += right_at(&moved, to / 3 - 1, to % 3 - 1) / 9;
        without += right_at(&still, to / 3 - 1, to % 3 - 1) / 9;
    }
    print_message("%.3f, and %.3f by what was never moved\n", beside, without);
    assert_true(right_at(&still, 0, 0) > 0.95);
    assert_true(beside > 0.8 && beside > without + 0.15);
    trained_release(&still);
    trained_release(&moved);
}

static void test_the_same_again(void **state)
{
    struct trained a = teach(0.5f), b = teach(0.5f);
    assert_memory_equal(a.head.weights, b.head.weights, sizeof(float) * (size_t)(a.head.nodes * CLASSES));
    trained_release(&a);
    trained_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_moved_is_known_beside),
        cmocka_unit_test(test_the_same_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
