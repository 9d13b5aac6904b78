/* test_augment.c - copies of pictures: what they are made of, and that they are always the same */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/data/augment.h"

#define SIDE   32
#define PLANE  (SIDE * SIDE)
#define SIZE   (3 * PLANE)
#define COPIES 200

struct world {
    char path[64];
    struct dataset *data;
    struct pipeline pipeline; /* no mean, no deviation: pixels are what they are */
    struct augmentation a;
    float room[2 * SIZE], out[SIZE], again[SIZE];
};

/* Record 0: pixel (y, x) of each plane is 1 + 7 x + y % 5, so that columns tell themselves apart; record 1:
 * 250 everywhere. */
static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char spec[80];
    FILE *f;

    assert_non_null(w);
    strcpy(w->path, "/tmp/freezeline-augment-XXXXXX");
    f = fdopen(mkstemp(w->path), "wb");
    assert_non_null(f);
    for (int r = 0; r < 2; r++) {
        fputc(r, f);
        for (int i = 0; i < SIZE; i++)
            fputc(r == 0 ? 1 + 7 * (i % SIDE) + i / SIDE % SIDE % 5 : 250, f);
    }
    fclose(f);
    snprintf(spec, sizeof spec, "cifar10:%s", w->path);
    assert_int_equal(dataset_open(&w->data, spec, &(struct dataset_options){.pipeline = &w->pipeline}, NULL),
                     FL_OK);
    w->a = (struct augmentation){w->data, 5, w->room};
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    dataset_close(w->data);
    unlink(w->path);
    free(w);
    return 0;
}

/* The first copy of record 0 under a seed: by how much it was shifted to the right, mirrored or not. */
static void check_moved(const struct world *w, int *right, bool *mirrored)
{
    int first = -1, last = -1, row = SIDE / 2;

    for (int x = 0; x < SIDE; x++) {
        if (w->out[row * SIDE + x] > 0) {
            first = first < 0 ? x : first;
            last = x;
        }
    }
    assert_true(first >= 0 && first <= SIDE / 8 && last >= SIDE - 1 - SIDE / 8);
    *mirrored = w->out[row * SIDE + first] > w->out[row * SIDE + last];
    *right = first > 0 ? first : last - (SIDE - 1);
    for (int x = first; x <= last; x++) {
        int from = *mirrored ? SIDE - 1 - (x - *right) : x - *right;
        assert_int_equal(((int)w->out[row * SIDE + x] - 1) / 7, from);
    }
}

static void test_first_copies_are_moved(void **state)
{
    struct world *w = *state;
    int mirrored_ones = 0, shifts[SIDE] = {0};

    for (int i = 0; i < COPIES; i++) {
        bool mirrored;
        int right;
        w->a.seed = (uint64_t)i;
        augment_planes(&w->a, 0, 1, w->out);
        check_moved(w, &right, &mirrored);
        mirrored_ones += mirrored;
        shifts[right + SIDE / 8]++;
    }
    assert_in_range(mirrored_ones, COPIES / 3, 2 * COPIES / 3);
    for (int s = 0; s <= SIDE / 4; s++)
        assert_true(shifts[s] > 0);
}

static void test_later_copies_are_mixed(void **state)
{
    struct world *w = *state;
    int mixed = 0;

    for (int i = 0; i < COPIES; i++) {
        int foreign = 0;
        w->a.seed = (uint64_t)i;
        augment_planes(&w->a, 0, 2, w->out);
        for (int k = 0; k < SIZE; k++) {
            assert_true(w->out[k] >= 0 && w->out[k] <= 250);
            foreign += w->out[k] > 1 + 7 * (SIDE - 1) + 4; /* more than record 0 has anywhere */
        }
        mixed += foreign > 0;
    }
    assert_in_range(mixed, COPIES / 5, COPIES); /* half of them meet themselves */
}

static void test_copies_are_always_the_same(void **state)
{
    struct world *w = *state;

    for (int copy = 1; copy < 4; copy++) {
        augment_planes(&w->a, 0, copy, w->out);
        augment_planes(&w->a, 1, copy, w->again); /* one in between changes nothing */
        augment_planes(&w->a, 0, copy, w->again);
        assert_memory_equal(w->out, w->again, sizeof w->out);
    }
    augment_planes(&w->a, 0, 4, w->again);
    assert_memory_not_equal(w->out, w->again, sizeof w->out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_first_copies_are_moved, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_copies_are_mixed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copies_are_always_the_same, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
