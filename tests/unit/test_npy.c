/* test_npy.c - .npy files: what is written is read; what is broken is refused */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/testing.h"
#include "tests/scratch.h"
#include "deploy/data/npy.h"

/* A file with this header dictionary and `n` bytes 0, 1, 2, ... */
static const char *make(const char *name, int version, const char *header, size_t n)
{
    const char *path = in_folder(name);
    FILE *f = fopen(path, "wb");
    size_t length = strlen(header) + 1;
    uint8_t prefix[12] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', (uint8_t)version, 0, (uint8_t)(length & 255), (uint8_t)(length >> 8),
        0,    0};

    assert_non_null(f);
    fwrite(prefix, 1, version == 1 ? 10 : 12, f);
    fprintf(f, "%s\n", header);
    for (size_t i = 0; i < n; i++)
        fputc((int)(i & 255), f);
    fclose(f);
    return path;
}

static void test_round_trip(void **state)
{
    static const enum tensor_dtype dtypes[] = {TENSOR_F32, TENSOR_U8,  TENSOR_I64, TENSOR_BOOL,
                                               TENSOR_F16, TENSOR_F64, TENSOR_U16};
    struct error e;

    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++) {
        struct tensor t = {.dtype = dtypes[i], .rank = 3, .dim = {2, 3, 4}}, back;
        assert_int_equal(tensor_alloc(&t), FL_OK);
        for (int64_t k = 0; k < tensor_bytes(&t); k++)
            ((uint8_t *)t.data)[k] = (uint8_t)k;
        assert_int_equal(npy_write(&t, in_folder("t.npy"), &e), FL_OK);
        assert_int_equal(npy_read(&back, in_folder("t.npy"), &e), FL_OK);
        assert_int_equal(back.dtype, t.dtype);
        assert_true(tensor_same_shape(&t, &back));
        assert_memory_equal(t.data, back.data, (size_t)tensor_bytes(&t));
        tensor_release(&t);
        tensor_release(&back);
    }
}

static void test_header_is_aligned_for_numpy(void **state)
{
    struct tensor t = {.dtype = TENSOR_F32, .rank = 1, .dim = {1}};
    struct npy_map m;
    struct error e;

    assert_int_equal(tensor_alloc(&t), FL_OK);
    assert_int_equal(npy_write(&t, in_folder("a.npy"), &e), FL_OK);
    assert_int_equal(npy_map_open(&m, in_folder("a.npy"), &e), FL_OK);
    assert_int_equal(((char *)m.tensor.data - (char *)m.base) % 64, 0);
    npy_map_close(&m);
    tensor_release(&t);
}

static void test_versions_and_scalars(void **state)
{
    struct tensor t;
    struct error e;

    for (int version = 1; version <= 3; version++) {
        assert_int_equal(
            npy_read(&t,
                     make("v.npy", version, "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }", 4),
                     &e),
            FL_OK);
        assert_int_equal(t.rank, 2);
        assert_int_equal(((uint8_t *)t.data)[3], 3);
        tensor_release(&t);
    }
    assert_int_equal(
        npy_read(&t, make("s.npy", 1, "{'shape': (), 'fortran_order': False, 'descr': '|u1'}", 1), &e),
        FL_OK);
    assert_int_equal(t.rank, 0);
    tensor_release(&t);
}

static void test_fortran_order(void **state)
{
    static const uint8_t expected[6] = {0, 2, 4, 1, 3, 5};
    const char *path = make("f.npy", 1, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}", 6);
    struct npy_map m;
    struct tensor t;
    struct error e;

    assert_int_equal(npy_read(&t, path, &e), FL_OK);
    assert_memory_equal(t.data, expected, 6);
    tensor_release(&t);
    assert_int_equal(npy_map_open(&m, path, &e), FL_OK);
    assert_true(m.fortran);
    npy_map_close(&m);
}

static void test_broken_files(void **state)
{
    static const struct {
        const char *header;
        size_t bytes;
        int code;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4,)}", 15, FL_CORRUPT},
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (1,)}", 4, FL_DTYPE},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", 8, FL_DTYPE},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", 8, FL_DTYPE},
        {"{'descr': '<f4', 'fortran_order': False}", 8, FL_CORRUPT},
        {"{'descr': '<f4', 'shape': (-1,)}", 8, FL_CORRUPT},
        {"{'descr': '<f4', 'shape': (99999999999999999999,)}", 8, FL_CORRUPT},
        {"{'descr': '<f4', 'shape': (4611686018427387904, 4)}", 8, FL_TOO_LARGE},
        {"{'descr': '<f4', 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1)}", 8, FL_SHAPE},
        {"{'descr': '<f4', 'shape': (1", 8, FL_CORRUPT},
        {"", 8, FL_DTYPE},
    };
    struct tensor t;
    struct error e;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(npy_read(&t, make("b.npy", 1, cases[i].header, cases[i].bytes), &e), cases[i].code);
        assert_non_null(strstr(e.text, "b.npy"));
    }
    assert_int_equal(npy_read(&t, in_folder("none.npy"), &e), FL_IO);
}

/* Whatever one byte of the header becomes, nothing is read outside the file. */
static void test_flipped_bytes(void **state)
{
    static const char header[] = "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3)}";
    uint8_t good[10 + sizeof header + 6] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, sizeof header};
    struct tensor t;

    memcpy(good + 10, header, sizeof header - 1);
    for (size_t i = 0; i < sizeof good; i++) {
        for (int v = 0; v < 256; v += 5) {
            uint8_t *bad = malloc(sizeof good);
            bool fortran;
            size_t offset;
            assert_non_null(bad);
            memcpy(bad, good, sizeof good);
            bad[i] = (uint8_t)v;
            if (!npy_parse(&t, &fortran, &offset, bad, sizeof good, NULL))
                assert_true(offset <= sizeof good && tensor_bytes(&t) >= 0);
            free(bad);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),           cmocka_unit_test(test_header_is_aligned_for_numpy),
        cmocka_unit_test(test_versions_and_scalars), cmocka_unit_test(test_fortran_order),
        cmocka_unit_test(test_broken_files),         cmocka_unit_test(test_flipped_bytes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
