/* simd_avx512.c - the inner loops on vectors of 16 floats (AVX-512) */
#if defined(__x86_64__)
#define SIMD_SET     simd_avx512
#define SIMD_NAME    "AVX-512"
#define SIMD_LANES   16
#define SIMD_VECTORS 4
#define SIMD_ROWS    6
#include "simd_template.h"
#endif
