/* test_blas.c - which OpenBLAS core is good enough for which CPU */
#include "tests/testing.h"
#include "system/blas.h"

static void wide_cpus_get_wide_kernels(void **state)
{
    assert_string_equal(blas_better_core("Prescott", BLAS_AVX2 | BLAS_AVX512), "SkylakeX");
    assert_string_equal(blas_better_core("Haswell", BLAS_AVX2 | BLAS_AVX512 | BLAS_AVX512_BF16),
                        "Cooperlake");
    assert_string_equal(blas_better_core("Zen", BLAS_AVX2 | BLAS_AVX512), "SkylakeX");
}

static void good_choices_are_kept(void **state)
{
    assert_null(blas_better_core("SkylakeX", BLAS_AVX2 | BLAS_AVX512 | BLAS_AVX512_BF16));
    assert_null(blas_better_core("skylakex", BLAS_AVX2 | BLAS_AVX512));
    assert_null(blas_better_core("Haswell", BLAS_AVX2));
    assert_null(blas_better_core("Zen", BLAS_AVX2));
    assert_null(blas_better_core("Prescott", 0));
}

static void avx2_cpus_leave_sse(void **state)
{
    assert_string_equal(blas_better_core("Prescott", BLAS_AVX2), "Haswell");
    assert_string_equal(blas_better_core("Nehalem", BLAS_AVX2), "Haswell");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wide_cpus_get_wide_kernels),
        cmocka_unit_test(good_choices_are_kept),
        cmocka_unit_test(avx2_cpus_leave_sse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
