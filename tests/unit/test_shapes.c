/* test_shapes.c - the demo's pictures: the same everywhere, balanced, in bounds, easy and hard as promised */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "tests/testing.h"
#include "deploy/tool/command.h"
#include "deploy/data/shapes.h"

static void test_same_picture_for_same_index(void **state)
{
    uint8_t a[SHAPES_BYTES], b[SHAPES_BYTES];
    for (uint64_t i = 0; i < 50; i++) {
        int label = shapes_draw(7, i, SHAPES_MORPH_FROM, a, NULL);
        memset(b, 0xa5, sizeof b);
        assert_int_equal(shapes_draw(7, i, SHAPES_MORPH_FROM, b, NULL), label);
        assert_memory_equal(a, b, sizeof a);
        shapes_draw(8, i, SHAPES_MORPH_FROM, b, NULL);
        assert_memory_not_equal(a, b, sizeof a);
    }
}

/* The committed network was trained on exactly these pictures: a change here asks for new training. */
static void test_pictures_are_the_published_ones(void **state)
{
    uint8_t planes[SHAPES_BYTES];
    XXH64_hash_t hash = 0;
    for (uint64_t i = 0; i < 200; i++) {
        int label = shapes_draw(1, i, SHAPES_MORPH_FROM, planes, NULL);
        hash = XXH64(planes, sizeof planes, hash + (XXH64_hash_t)label);
    }
    assert_int_equal(hash, 0x97819a882a8d8165ull);
}

static void test_classes_are_balanced_and_six_in_ten_easy(void **state)
{
    enum { N = 10000 };
    int of_class[SHAPES_CLASSES] = {0}, easy = 0, morphs = 0;
    uint8_t planes[SHAPES_BYTES];
    struct shapes_truth t;
    for (uint64_t i = 0; i < N; i++) {
        int label = shapes_draw(3, i, SHAPES_MORPH_FROM, planes, &t);
        assert_in_range(label, 0, SHAPES_CLASSES - 1);
        assert_int_equal(t.label, label);
        assert_in_range(t.rival, 0, SHAPES_CLASSES - 1);
        assert_true(t.difficulty >= 0.0f && t.difficulty <= 1.0f && t.morph >= 0.0f && t.morph <= 0.5f);
        assert_int_equal(t.morph > 0.0f, t.rival != t.label);
        assert_false(t.difficulty < SHAPES_EASY && t.morph > 0.0f);
        of_class[label]++;
        easy += t.difficulty < SHAPES_EASY;
        morphs += t.morph > 0.0f;
    }
    for (int i = 0; i < SHAPES_CLASSES; i++)
        assert_in_range(of_class[i], N / SHAPES_CLASSES * 8 / 10, N / SHAPES_CLASSES * 12 / 10);
    assert_in_range(easy, N * 57 / 100, N * 63 / 100);
    assert_in_range(morphs, N * 10 / 100, N * 25 / 100);
}

/* Standard deviation of one plane, squared. */
static double variance(const uint8_t *plane)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < SHAPES_PIXELS; i++)
        sum += plane[i], squares += (double)plane[i] * plane[i];
    return squares / SHAPES_PIXELS - sum / SHAPES_PIXELS * (sum / SHAPES_PIXELS);
}

static void test_each_picture_shows_something(void **state)
{
    uint8_t planes[SHAPES_BYTES];
    for (uint64_t i = 0; i < 2000; i++) {
        shapes_draw(5, i, SHAPES_MORPH_FROM, planes, NULL);
        double sum = 0;
        for (int k = 0; k < 3; k++)
            sum += variance(planes + k * SHAPES_PIXELS);
        assert_true(sum > 30.0);
    }
}

static void test_labels(void **state)
{
    for (int i = 0; i < SHAPES_CLASSES; i++) {
        assert_non_null(shapes_label(i));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(shapes_label(i), shapes_label(j));
    }
    assert_null(shapes_label(-1));
    assert_null(shapes_label(SHAPES_CLASSES));
}

static int generate(const char *count, const char *path, const char *option, const char *value)
{
    char *argv[] = {"generate",   "--count",      (char *)count, "--output",
                    (char *)path, (char *)option, (char *)value, NULL};
    struct error e = {0};
    return command_generate(option ? 7 : 5, argv, &e);
}

static long file_labels(const char *path, int label, long *others)
{
    uint8_t record[SHAPES_RECORD];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    long n = 0;
    *others = 0;
    while (fread(record, sizeof record, 1, f) == 1)
        record[0] == label ? n++ : ++*others;
    assert_int_equal(ftell(f) % SHAPES_RECORD, 0);
    fclose(f);
    return n;
}

static void test_generate_writes_whole_records(void **state)
{
    char folder[] = "/tmp/freezeline-shapes-XXXXXX", path[64];
    long others;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.bin", folder);
    assert_int_equal(generate("300", path, "--without", "star"), 0);
    assert_int_equal(file_labels(path, 6, &others), 0);
    assert_int_equal(others, 300);
    assert_int_equal(generate("30", path, "--only", "ring"), 0);
    assert_int_equal(file_labels(path, 1, &others), 30);
    assert_int_equal(others, 0);
    unlink(path);
    rmdir(folder);
}

static void test_generate_refuses(void **state)
{
    assert_int_equal(generate("0", "/tmp/never", NULL, NULL), FL_USAGE);
    assert_int_equal(generate("12x", "/tmp/never", NULL, NULL), FL_USAGE);
    assert_int_equal(generate("5", "/tmp/never", "--only", "heart"), FL_USAGE);
    assert_int_equal(generate("5", "/tmp/never", "--seed", "-1"), FL_USAGE);
    assert_int_equal(generate("5", "/nowhere/at/all", NULL, NULL), FL_IO);
    char *argv[] = {"generate", "--count", "5", NULL};
    struct error e = {0};
    assert_int_equal(command_generate(3, argv, &e), FL_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_picture_for_same_index),
        cmocka_unit_test(test_pictures_are_the_published_ones),
        cmocka_unit_test(test_classes_are_balanced_and_six_in_ten_easy),
        cmocka_unit_test(test_each_picture_shows_something),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_generate_writes_whole_records),
        cmocka_unit_test(test_generate_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
