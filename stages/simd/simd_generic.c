/* simd_generic.c - the inner loops on vectors of 4 floats (portable) */

#define SIMD_SET     simd_generic
#define SIMD_NAME    "portable"
#define SIMD_LANES   4
#define SIMD_VECTORS 2
#define SIMD_ROWS    4
#include "simd_template.h"
