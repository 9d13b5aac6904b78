/* blas.c - compare OpenBLAS's choice of kernels with the CPU */
#include "blas.h"

#include <cblas.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Set in the second life of a process, so that there is no third one. */
#define GUARD "FREEZELINE_BLAS_CHOSEN"

static int is_one_of(const char *core, const char *const *list)
{
    for (; *list; list++)
        if (!strcasecmp(core, *list))
            return 1;
    return 0;
}

const char *blas_better_core(const char *current, unsigned abilities)
{
    static const char *const wide[] = {"SkylakeX", "Cooperlake", "SapphireRapids", NULL};
    static const char *const middle[] = {"Haswell", "Zen", NULL};
    if (is_one_of(current, wide))
        return NULL;
    if (abilities & BLAS_AVX512)
        return abilities & BLAS_AVX512_BF16 ? "Cooperlake" : "SkylakeX";
    if (abilities & BLAS_AVX2)
        return is_one_of(current, middle) ? NULL : "Haswell";
    return NULL;
}

static unsigned cpu_abilities(void)
{
    unsigned abilities = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        abilities |= BLAS_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        abilities |= BLAS_AVX512;
    if ((abilities & BLAS_AVX512) && __builtin_cpu_supports("avx512bf16"))
        abilities |= BLAS_AVX512_BF16;
#endif
    return abilities;
}

void blas_start(char *const *argv)
{
    char self[PATH_MAX];
    const char *core = getenv("FREEZELINE_BLAS_CORE");
    ssize_t n;
    if (getenv(GUARD) || (core && !strcmp(core, "keep")))
        return;
    if (!core || !*core)
        core = blas_better_core(openblas_get_corename(), cpu_abilities());
    /* The real path rather than /proc/self/exe, which would name the process "exe" in ps and top. */
    n = core ? readlink("/proc/self/exe", self, sizeof self - 1) : -1;
    if (n <= 0)
        return;
    self[n] = '\0';
    if (setenv("OPENBLAS_CORETYPE", core, 1) || setenv(GUARD, "1", 1))
        return;
    execv(self, argv);
    /* Still here: go on with the lesser kernels rather than not at all. */
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv(GUARD);
}

const char *blas_core(void)
{
    return openblas_get_corename();
}
