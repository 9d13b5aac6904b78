/* simd.c - pick the inner loops for this CPU */
#include "simd.h"

const struct simd *simd_nth(int i)
{
    const struct simd *found[3];
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        found[n++] = &simd_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        found[n++] = &simd_avx2;
#endif
    found[n++] = &simd_generic;
    return i < n ? found[i] : (const struct simd *)0;
}

static const struct simd *best;

void simd_force(const struct simd *s)
{
    __atomic_store_n(&best, s, __ATOMIC_RELAXED);
}

const struct simd *simd_best(void)
{
    const struct simd *s = __atomic_load_n(&best, __ATOMIC_RELAXED);
    if (!s) {
        s = simd_nth(0);
        __atomic_store_n(&best, s, __ATOMIC_RELAXED);
    }
    return s;
}
