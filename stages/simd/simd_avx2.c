/* simd_avx2.c - the inner loops on vectors of 8 floats (AVX2) */
#if defined(__x86_64__)
#define SIMD_SET     simd_avx2
#define SIMD_NAME    "AVX2"
#define SIMD_LANES   8
#define SIMD_VECTORS 2
#define SIMD_ROWS    6
#include "simd_template.h"
#endif
