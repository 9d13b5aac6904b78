/* test_plausibility.c - what is said when a network is hardly better than guessing */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "deploy/build/plausibility.h"
#include "deploy/data/npy.h"

static char path[] = "/tmp/freezeline-plausible-XXXXXX";
static char said[2048];

static struct dataset *open_pictures(enum tensor_dtype dtype)
{
    static const struct pipeline plain;
    struct tensor t = {.dtype = dtype, .rank = 4, .dim = {4, 3, 2, 2}};
    struct dataset *d = NULL;
    struct error e = {0};
    char spec[80];

    assert_int_equal(tensor_alloc(&t), FL_OK);
    memset(t.data, 0, (size_t)tensor_bytes(&t));
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
    snprintf(spec, sizeof spec, "npy:%s", path);
    assert_int_equal(dataset_open(&d, spec, &(struct dataset_options){.pipeline = &plain}, &e), FL_OK);
    return d;
}

/* Of 100 records in 4 classes, `right` are right. */
static void warn(int right, enum tensor_dtype dtype, const char *yaml)
{
    struct plausibility a = {0};
    struct dataset *d = open_pictures(dtype);
    struct pipeline *p = NULL;
    struct error e = {0};
    FILE *to = fmemopen(said, sizeof said - 1, "w");

    assert_non_null(to);
    memset(said, 0, sizeof said);
    assert_int_equal(pipeline_parse(&p, yaml, strlen(yaml), "/p.yaml", NULL, 0, &e), FL_OK);
    for (int i = 0; i < 100; i++)
        plausibility_add(&a, i % 4, i < right ? i % 4 : (i + 1) % 4);
    plausibility_add(&a, -1, 3); /* has no label */
    plausibility_warn(&a, p, d, to);
    fclose(to);
    pipeline_free(p);
    dataset_close(d);
}

static void test_silent_where_it_is_right(void **state)
{
    struct plausibility none = {0};

    warn(33, TENSOR_U8, "model: m\n");
    assert_string_equal(said, "");
    assert_false(plausibility_is_low(&none));
}

/* Normalisation first, then labels. */
static void test_normalisation_first(void **state)
{
    const char *first, *second;

    warn(32, TENSOR_U8, "model: m\n");
    assert_non_null(
        strstr(said, "right on 32.0% of 100 pictures, hardly better than the commonest label alone, 25.0%"));
    first = strstr(said, "normalised");
    second = strstr(said, "labels, and in its order");
    assert_true(first && second && first < second);
    assert_non_null(strstr(said, "`std: 255`"));
    assert_non_null(strstr(said, "`mean: [123.675, 116.28, 103.53]`"));
}

static void test_words_for_each_mistake(void **state)
{
    warn(20, TENSOR_U8, "model: m\ninput: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\n");
    assert_non_null(strstr(said, "/p.yaml:2:15: "));
    assert_non_null(strstr(said, "`std: [58.395, 57.12, 57.375]`"));
    warn(20, TENSOR_U8, "model: m\ninput: {mean: 128, std: 64}\n");
    assert_non_null(strstr(said, "times 255: mean 128, std 64"));
    warn(20, TENSOR_F32, "model: m\ninput: {mean: 128, std: 64}\n");
    assert_non_null(strstr(said, "fed as it is"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_where_it_is_right),
        cmocka_unit_test(test_normalisation_first),
        cmocka_unit_test(test_words_for_each_mistake),
    };
    int fd = mkstemp(path), failed;

    if (fd < 0)
        return 1;
    close(fd);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
