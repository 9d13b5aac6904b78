/* test_dataset.c - data sets: records, ranges, labels, files that do not fit */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "deploy/data/dataset.h"
#include "deploy/data/duplicates.h"
#include "deploy/data/npy.h"
#include "picture/planes.h"

static const struct pipeline plain, halved = {.n_mean = 3, .n_std = 3, .mean = {1, 1, 1}, .std = {2, 2, 2}};
static struct dataset_options options = {.pipeline = &plain}; /* of the next open_set */

/* n CIFAR records: record i has label i % 10, and all its pixels are (first + i) % 256. */
static void make_cifar(const char *name, int n, int first)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < n; i++) {
        fputc(i % 10, f);
        for (int k = 0; k < 3072; k++)
            fputc((first + i) % 256, f);
    }
    fclose(f);
}

static int open_set(struct dataset **d, struct error *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int open_set(struct dataset **d, struct error *e, const char *format, ...)
{
    char with[512], spec[1024] = "";
    va_list args;

    va_start(args, format);
    vsnprintf(with, sizeof with, format, args);
    va_end(args);
    for (const char *c = with; *c; c++) { /* '@' stands for the folder */
        size_t n = strlen(spec);
        if (*c == '@')
            snprintf(spec + n, sizeof spec - n, "%s", folder);
        else
            snprintf(spec + n, sizeof spec - n, "%c", *c);
    }
    return dataset_open(d, spec, &options, e);
}

static int first_pixel(const struct dataset *d, int64_t i)
{
    float *image = malloc(3072 * sizeof *image);
    int value;

    assert_non_null(image);
    dataset_image(d, i, image);
    value = (int)image[0];
    free(image);
    return value;
}

static void test_cifar(void **state)
{
    struct dataset *d;
    struct error e = {0};
    struct tensor shape;

    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin,@/b.bin"), FL_OK);
    assert_int_equal(dataset_count(d), 30);
    shape = dataset_shape(d);
    assert_int_equal(shape.dim[1] * shape.dim[2] * shape.dim[3], 3072);
    assert_true(dataset_has_labels(d));
    assert_int_equal(dataset_label(d, 13), 3);
    assert_int_equal(first_pixel(d, 0), 0);
    assert_int_equal(first_pixel(d, 19), 19);
    assert_int_equal(first_pixel(d, 20), 100);
    assert_int_equal(first_pixel(d, 29), 109);
    dataset_close(d);
}

static void test_range_of_one_file(void **state)
{
    struct dataset *d;
    struct error e = {0};

    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin#5-9"), FL_OK);
    assert_int_equal(dataset_count(d), 5);
    assert_int_equal(first_pixel(d, 0), 5);
    assert_int_equal(first_pixel(d, 4), 9);
    dataset_close(d);
}

static void test_range_of_the_whole(void **state)
{
    struct dataset *d;
    struct error e = {0};

    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin,@/b.bin#18-21"), FL_OK);
    assert_int_equal(dataset_count(d), 4);
    assert_int_equal(first_pixel(d, 1), 19);
    assert_int_equal(first_pixel(d, 2), 100);
    assert_int_equal(dataset_label(d, 3), 1);
    dataset_close(d);
}

static void test_range_per_file(void **state)
{
    struct dataset *d;
    struct error e = {0};

    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin#0-1,@/b.bin#9-9"), FL_OK);
    assert_int_equal(dataset_count(d), 3);
    assert_int_equal(first_pixel(d, 1), 1);
    assert_int_equal(first_pixel(d, 2), 109);
    dataset_close(d);
}

static void test_identity(void **state)
{
    static const char *const spec[] = {"cifar10:@/a.bin", "cifar10:@/a.bin#0-18", "cifar10:@/a.bin#1-19",
                                       "cifar10:@/b.bin"};
    uint64_t id[4];
    struct error e = {0};

    for (int i = 0; i < 4; i++) {
        struct dataset *d;
        assert_int_equal(open_set(&d, &e, "%s", spec[i]), FL_OK);
        id[i] = dataset_identity(d);
        assert_true(id[i] == dataset_identity(d));
        for (int k = 0; k < i; k++)
            assert_true(id[i] != id[k]);
        dataset_close(d);
    }
}

static void test_normalised(void **state)
{
    struct pipeline p = {.n_mean = 3, .n_std = 3, .mean = {1, 2, 3}, .std = {2, 4, 8}};
    uint8_t planes[6] = {5, 5, 6, 6, 7, 11};
    float out[6];

    planes_normalise(planes, &(struct picture){3, 1, 2, false}, &p, out);
    assert_true(out[0] == 2 && out[2] == 1 && out[4] == 0.5f && out[5] == 1);
}

static void make_npy(const char *name, enum tensor_dtype dtype, int rank, int64_t n)
{
    struct tensor t = {.dtype = dtype, .rank = rank, .dim = {n, 3, 2, 2}};
    char path[256];
    struct error e;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int64_t i = 0; dtype == TENSOR_F32 && i < tensor_count(&t); i++)
        ((float *)t.data)[i] = (float)i / 2;
    for (int64_t i = 0; dtype == TENSOR_U8 && i < tensor_count(&t); i++)
        ((uint8_t *)t.data)[i] = (uint8_t)i;
    for (int64_t i = 0; dtype == TENSOR_I64 && i < tensor_count(&t); i++)
        ((int64_t *)t.data)[i] = 7 - i;
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
}

static void test_npy(void **state)
{
    struct dataset *d;
    struct error e = {0};
    float image[12];

    make_npy("bytes.npy", TENSOR_U8, 4, 5);
    make_npy("floats.npy", TENSOR_F32, 4, 5);
    make_npy("labels.npy", TENSOR_I64, 1, 5);
    options.pipeline = &halved;
    assert_int_equal(open_set(&d, &e, "npy:@/bytes.npy,@/labels.npy#1-3"), FL_OK);
    assert_int_equal(dataset_count(d), 3);
    assert_int_equal(dataset_label(d, 0), 6);
    dataset_image(d, 0, image);
    assert_true(image[0] == 5.5f); /* (12 - 1) / 2 */
    dataset_close(d);
    assert_int_equal(open_set(&d, &e, "npy:@/floats.npy"), FL_OK);
    assert_false(dataset_has_labels(d));
    assert_int_equal(dataset_label(d, 0), -1);
    dataset_image(d, 1, image);
    assert_true(image[0] == 6); /* as it is */
    dataset_close(d);
    options.pipeline = &plain;
}

/* 5 pictures of 3x5x6 pixels, each value telling where it is, in any order and number type. */
static void write_layout(const char *name, enum tensor_dtype dtype, bool last, bool fortran)
{
    static const char *const descr[] = {[TENSOR_U8] = "|u1", [TENSOR_F32] = "<f4", [TENSOR_F64] = "<f8"};
    int64_t dim[4] = {5, last ? 5 : 3, last ? 6 : 5, last ? 3 : 6}, index[4];
    char path[256], header[200];
    FILE *f;
    int n;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    n = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': %s, 'shape': (%d, %d, %d, %d), }\n",
                 descr[dtype], fortran ? "True" : "False", (int)dim[0], (int)dim[1], (int)dim[2],
                 (int)dim[3]);
    fwrite("\x93NUMPY\x01\x00", 1, 8, f);
    fputc(n & 255, f);
    fputc(n >> 8, f);
    fwrite(header, 1, (size_t)n, f); /* numbers may begin at any address */
    for (int64_t i = 0; i < 5 * 3 * 5 * 6; i++) {
        int64_t rest = i, c, y, x;
        for (int k = 0; k < 4; k++) {
            int d = fortran ? k : 3 - k;
            index[d] = rest % dim[d];
            rest /= dim[d];
        }
        c = index[last ? 3 : 1], y = index[last ? 1 : 2], x = index[last ? 2 : 3];
        double value = (double)(index[0] * 40 + c * 10 + y + x);
        if (dtype == TENSOR_U8)
            fputc((int)value, f);
        else if (dtype == TENSOR_F32)
            fwrite(&(float){(float)value}, 4, 1, f);
        else
            fwrite(&value, 8, 1, f);
    }
    fclose(f);
}

static void check_layout(const struct dataset *d, int64_t i, bool last)
{
    float image[3 * 5 * 6];

    dataset_image(d, i, image);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < 5; y++)
            for (int x = 0; x < 6; x++)
                assert_true(image[last ? (y * 6 + x) * 3 + c : (c * 5 + y) * 6 + x] ==
                            (float)(i * 40 + c * 10 + y + x));
}

static void test_layouts(void **state)
{
    static const enum tensor_dtype types[] = {TENSOR_U8, TENSOR_F32, TENSOR_F64};
    struct tensor first = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 5, 6}},
                  last = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 5, 6, 3}};
    struct dataset *d;
    struct error e = {0};
    uint64_t id[2];

    for (int t = 0; t < 3; t++)
        for (int k = 0; k < 8; k++) {
            write_layout("layout.npy", types[t], k & 1, k & 2);
            options.input = k & 4 ? &last : &first;
            assert_int_equal(open_set(&d, &e, "npy:@/layout.npy"), FL_OK);
            assert_int_equal(dataset_count(d), 5);
            check_layout(d, 0, k & 4);
            check_layout(d, 3, k & 4);
            id[k & 1] = dataset_identity(d);
            assert_true(!(k & 1) || id[0] == id[1]);
            dataset_close(d);
        }
    first.dim[2] = 4;
    options.input = &first;
    assert_int_equal(open_set(&d, &e, "npy:@/layout.npy"), FL_SHAPE);
    options.input = NULL;
}

/* [n, h, w] where there is one channel. */
static void test_grey_arrays(void **state)
{
    struct tensor input = {.dtype = TENSOR_U8, .rank = 4, .dim = {1, 1, 2, 3}};
    struct tensor t = {.dtype = TENSOR_U8, .rank = 3, .dim = {4, 2, 3}};
    struct dataset *d;
    struct error e = {0};
    char path[256];
    uint8_t image[6];

    snprintf(path, sizeof path, "%s/grey.npy", folder);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    for (int i = 0; i < 24; i++)
        ((uint8_t *)t.data)[i] = (uint8_t)i;
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
    options.input = &input;
    assert_int_equal(open_set(&d, &e, "npy:@/grey.npy"), FL_OK);
    dataset_image(d, 2, image);
    assert_memory_equal(image, "\x0c\x0d\x0e\x0f\x10\x11", 6);
    dataset_close(d);
    options.input = NULL;
}

static void test_label_columns(void **state)
{
    static const struct {
        enum tensor_dtype dtype;
        int rank;
        int64_t dim[3];
        int code;
    } cases[] = {
        {TENSOR_I64, 1, {5}, FL_OK},       {TENSOR_I64, 2, {5, 1}, FL_OK}, {TENSOR_U8, 2, {1, 5}, FL_OK},
        {TENSOR_U32, 3, {5, 1, 1}, FL_OK}, {TENSOR_U64, 1, {5}, FL_OK},    {TENSOR_F64, 2, {5, 1}, FL_OK},
        {TENSOR_F32, 1, {5}, FL_OK},       {TENSOR_I16, 1, {5}, FL_OK},    {TENSOR_I64, 2, {5, 2}, FL_SHAPE},
        {TENSOR_I64, 1, {4}, FL_SHAPE},    {TENSOR_I64, 0, {0}, FL_SHAPE},
    };
    struct dataset *d;
    struct error e = {0};
    char path[256];

    make_npy("bytes.npy", TENSOR_U8, 4, 5);
    snprintf(path, sizeof path, "%s/column.npy", folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tensor t = {.dtype = cases[i].dtype, .rank = cases[i].rank};
        memcpy(t.dim, cases[i].dim, sizeof cases[i].dim);
        assert_int_equal(tensor_alloc(&t), FL_OK);
        memset(t.data, 0, (size_t)tensor_bytes(&t));
        if (t.dtype == TENSOR_F64)
            ((double *)t.data)[3] = 7;
        else if (t.dtype == TENSOR_F32)
            ((float *)t.data)[3] = 7;
        else if (tensor_count(&t) > 3) /* little-endian */
            ((uint8_t *)t.data)[3 * tensor_dtype_bytes(t.dtype)] = 7;
        assert_int_equal(npy_write(&t, path, &e), FL_OK);
        assert_int_equal(open_set(&d, &e, "npy:@/bytes.npy,@/column.npy#2-4"), cases[i].code);
        if (!cases[i].code)
            assert_true(dataset_label(d, 1) == 7 && dataset_label(d, 2) == 0);
        dataset_close(d);
        if (t.dtype == TENSOR_F64) {
            ((double *)t.data)[3] = 0.5;
            assert_int_equal(npy_write(&t, path, &e), FL_OK);
            assert_int_equal(open_set(&d, &e, "npy:@/bytes.npy,@/column.npy"), FL_VALUE);
            assert_non_null(strstr(e.text, "record 3 has label 0.5"));
        }
        tensor_release(&t);
    }
}

/* Two label bytes: coarse, fine. */
static void test_cifar100(void **state)
{
    struct dataset *d;
    struct error e = {0};
    char path[256];
    FILE *f;

    snprintf(path, sizeof path, "%s/c100.bin", folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 3; i++) {
        fputc(19 - i, f);
        fputc(97 + i, f);
        for (int k = 0; k < 3072; k++)
            fputc(i, f);
    }
    fclose(f);
    assert_int_equal(open_set(&d, &e, "cifar100:@/c100.bin"), FL_OK);
    assert_true(dataset_count(d) == 3 && dataset_label(d, 2) == 99 && first_pixel(d, 2) == 2);
    dataset_close(d);
    assert_int_equal(open_set(&d, &e, "cifar100-coarse:@/c100.bin#1-2"), FL_OK);
    assert_true(dataset_count(d) == 2 && dataset_label(d, 0) == 18 && first_pixel(d, 0) == 1);
    dataset_close(d);
    assert_int_equal(open_set(&d, &e, "cifar10:@/c100.bin"), FL_CORRUPT);
    assert_int_equal(open_set(&d, &e, "cifar100:@/a.bin"), FL_CORRUPT);
}

static void test_refused(void **state)
{
    static const struct {
        const char *spec;
        int code;
    } cases[] = {
        {"mnist:@/a.bin", FL_USAGE},
        {"@/a.bin", FL_USAGE},
        {"cifar10:", FL_USAGE},
        {"cifar10:@/none.bin", FL_IO},
        {"cifar10:@/odd.bin", FL_CORRUPT},
        {"cifar10:@/empty.bin", FL_CORRUPT},
        {"cifar10:@/label.bin", FL_CORRUPT},
        {"cifar10:@", FL_CORRUPT},
        {"cifar10:@/a.bin#", FL_USAGE},
        {"cifar10:@/a.bin#5", FL_USAGE},
        {"cifar10:@/a.bin#9-5", FL_USAGE},
        {"cifar10:@/a.bin#-1-5", FL_USAGE},
        {"cifar10:@/a.bin#0-20", FL_USAGE},
        {"cifar10:@/a.bin#0-99999999999999999999", FL_USAGE},
        {"cifar10:@/a.bin,@/b.bin#0-30", FL_USAGE},
        {"npy:@/labels.npy", FL_SHAPE},
        {"npy:@/bytes.npy,@/four.npy", FL_SHAPE},
        {"npy:@/bytes9.npy,@/negative.npy", FL_VALUE},
        {"npy:@/bytes.npy,@/bytes.npy", FL_SHAPE},
        {"npy:@/a.bin", FL_CORRUPT},
        {"npy:@/bytes.npy#0-1,@/labels.npy", FL_USAGE},
    };
    struct dataset *d;
    struct error e;

    make_cifar("label.bin", 2, 0);
    make_npy("four.npy", TENSOR_I64, 1, 4);
    make_npy("negative.npy", TENSOR_I64, 1, 9);
    make_npy("bytes9.npy", TENSOR_U8, 4, 9);
    char path[256];
    snprintf(path, sizeof path, "%s/odd.bin", folder);
    FILE *f = fopen(path, "wb");
    fputs("not cifar", f);
    fclose(f);
    snprintf(path, sizeof path, "%s/empty.bin", folder);
    fclose(fopen(path, "wb"));
    snprintf(path, sizeof path, "%s/label.bin", folder);
    f = fopen(path, "r+b");
    fputc(10, f);
    fclose(f);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        e = (struct error){0};
        assert_int_equal(open_set(&d, &e, "%s", cases[i].spec), cases[i].code);
        assert_null(d);
        assert_true(e.text[0]);
    }
}

static void write_labels(const char *name, const int64_t *label, int64_t n)
{
    struct tensor t = {.dtype = TENSOR_I64, .rank = 1, .dim = {n}};
    char path[256];
    struct error e;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    memcpy(t.data, label, (size_t)n * sizeof *label);
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
}

/* Also labels that would become others as 32 bits. */
static void test_labels(void **state)
{
    static const int64_t wide[] = {3, 1, (1LL << 32) + 2, 0, 2}, high[] = {3, 1, 4, 0, 2};
    struct dataset *d;
    struct error e = {0};
    char name[DATASET_RECORD_NAME];

    make_npy("bytes.npy", TENSOR_U8, 4, 5);
    write_labels("wide.npy", wide, 5);
    write_labels("high.npy", high, 5);
    assert_int_equal(open_set(&d, &e, "npy:@/bytes.npy,@/wide.npy"), FL_VALUE);
    assert_non_null(strstr(e.text, "record 2 has label 4294967298"));
    assert_int_equal(open_set(&d, &e, "npy:@/bytes.npy,@/high.npy#1-4"), FL_OK);
    assert_int_equal(dataset_labels_fit(d, 5, &e), FL_OK);
    assert_int_equal(dataset_labels_fit(d, 4, &e), FL_VALUE);
    assert_non_null(strstr(e.text, "bytes.npy#2 has label 4"));
    dataset_close(d);
    assert_int_equal(open_set(&d, &e, "npy:@/bytes.npy"), FL_OK);
    assert_int_equal(dataset_labels_fit(d, 2, &e), FL_OK); /* none */
    dataset_close(d);
    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin#18-19,@/b.bin#3-9"), FL_OK);
    assert_non_null(strstr(dataset_record_name(d, 1, name, sizeof name), "a.bin#19"));
    assert_non_null(strstr(dataset_record_name(d, 3, name, sizeof name), "b.bin#4"));
    dataset_close(d);
}

static void find(struct duplicates *out, const char *train, const char *calibrate)
{
    struct duplicates left = {0};
    struct dataset *t, *c;
    struct error e = {0};

    assert_int_equal(open_set(&t, &e, "%s", train), FL_OK);
    assert_int_equal(open_set(&c, &e, "%s", calibrate), FL_OK);
    assert_int_equal(duplicates_find(out, t, c, &e), FL_OK);
    assert_int_equal(dataset_leave_out(c, out->is_shared, &e), FL_OK);
    assert_true(dataset_count(c) >= out->distinct);
    duplicates_release(out);
    if (dataset_count(c))
        assert_int_equal(duplicates_find(&left, t, c, &e), FL_OK);
    if (dataset_count(c))
        assert_true(left.shared == 0 && left.distinct == out->distinct);
    duplicates_release(&left);
    dataset_close(t);
    dataset_close(c);
}

/* a.bin has the pictures 0 to 19, more.bin 15 to 24, whatever their labels are. */
static void test_duplicates(void **state)
{
    struct duplicates d;

    make_cifar("more.bin", 10, 15);
    find(&d, "cifar10:@/a.bin", "cifar10:@/b.bin");
    assert_true(d.shared == 0 && d.distinct == 10 && d.repeat == -1);
    find(&d, "cifar10:@/a.bin#3-19", "cifar10:@/b.bin,@/more.bin");
    assert_true(d.shared == 5 && d.distinct == 15 && d.shared_with == 10 && d.shared_train == 12);
    find(&d, "cifar10:@/b.bin", "cifar10:@/a.bin#10-18,@/more.bin,@/a.bin#17-17");
    assert_true(d.shared == 0 && d.distinct == 15 && d.repeated == 5 && d.repeat == 9);
    find(&d, "cifar10:@/more.bin#0-9,@/a.bin#17-17", "cifar10:@/b.bin,@/a.bin#17-18,@/a.bin#17-18");
    assert_true(d.shared == 4 && d.shared_with == 10 && d.shared_train == 2 && d.distinct == 10 &&
                d.repeat == -1);
}

/* Bytes that are the same numbers once normalised. */
static void test_duplicates_of_other_types(void **state)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 2, 2}};
    struct dataset *d;
    struct duplicates found;
    struct error e = {0};
    char path[256];

    make_npy("bytes.npy", TENSOR_U8, 4, 5);
    assert_int_equal(tensor_alloc(&t), FL_OK);
    options.pipeline = &halved;
    assert_int_equal(open_set(&d, &e, "npy:@/bytes.npy"), FL_OK);
    dataset_image(d, 3, t.data);
    dataset_close(d);
    snprintf(path, sizeof path, "%s/third.npy", folder);
    assert_int_equal(npy_write(&t, path, &e), FL_OK);
    tensor_release(&t);
    find(&found, "npy:@/bytes.npy", "npy:@/third.npy");
    assert_true(found.shared == 1 && found.shared_train == 3 && found.shared_with == 0);
    options.pipeline = &plain;
}

/* Records and names move up; a second time counts from what is left. */
static void test_leaving_records_out(void **state)
{
    static const bool out[] = {true, false, false, true, false}, more[] = {false, true, false};
    struct dataset *d, *all;
    uint64_t identity;
    struct error e;
    char name[DATASET_RECORD_NAME];

    assert_int_equal(open_set(&all, &e, "cifar10:@/a.bin"), FL_OK);
    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin#10-14"), FL_OK);
    identity = dataset_identity(d);
    assert_int_equal(dataset_leave_out(d, out, &e), FL_OK);
    assert_true(dataset_count(d) == 3 && dataset_identity(d) != identity);
    assert_int_equal(dataset_label(d, 1), dataset_label(all, 12));
    assert_int_equal(dataset_leave_out(d, more, &e), FL_OK);
    assert_int_equal(dataset_count(d), 2);
    assert_int_equal(dataset_label(d, 1), dataset_label(all, 14));
    assert_non_null(strstr(dataset_record_name(d, 1, name, sizeof name), "a.bin#14"));
    dataset_close(d);
    dataset_close(all);
}

static void test_fits(void **state)
{
    struct tensor input = {.dtype = TENSOR_F32, .rank = 4, .dim = {1, 3, 32, 32}};
    struct dataset *d;
    struct error e;

    options.input = &input;
    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin"), FL_OK);
    dataset_close(d);
    input.dim[2] = 64;
    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin"), FL_SHAPE);
    assert_non_null(strstr(e.text, "input.resize"));
    input.rank = 2;
    assert_int_equal(open_set(&d, &e, "cifar10:@/a.bin"), FL_SHAPE);
    options.input = NULL;
}

static int prepare(void **state_of)
{
    int rc = make_folder(state_of);

    if (rc)
        return rc;
    make_cifar("a.bin", 20, 0);
    make_cifar("b.bin", 10, 100);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cifar),
        cmocka_unit_test(test_range_of_one_file),
        cmocka_unit_test(test_range_of_the_whole),
        cmocka_unit_test(test_range_per_file),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_normalised),
        cmocka_unit_test(test_npy),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_grey_arrays),
        cmocka_unit_test(test_label_columns),
        cmocka_unit_test(test_cifar100),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_leaving_records_out),
        cmocka_unit_test(test_duplicates_of_other_types),
        cmocka_unit_test(test_fits),
    };
    return cmocka_run_group_tests(tests, prepare, remove_folder);
}
