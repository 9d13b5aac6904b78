/* floats.c - arrays of float32, and half precision */
#include "floats.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Without a way out of the loop, so that compilers make it wide. */
bool floats_finite(const float *x, int64_t n)
{
    int bad = 0;

    for (int64_t i = 0; i < n; i++)
        bad |= !(fabsf(x[i]) <= FLT_MAX);
    return !bad;
}

uint16_t half_from_float(float f)
{
    uint32_t bits, sign, rest, magnitude;
    int shift;
    memcpy(&bits, &f, 4);
    sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u); /* NaN */
    if (bits >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u); /* rounds beyond HALF_MAX, or infinity */
    if (bits >= 0x38800000u) {             /* normal: rebias, then round on 13 dropped bits */
        magnitude = bits - 0x38000000u;
        shift = 13;
    } else { /* subnormal: the implicit one becomes explicit and moves right */
        int exponent = (int)(bits >> 23);
        if (exponent < 102)
            return (uint16_t)sign;
        magnitude = (bits & 0x7fffffu) | 0x800000u;
        shift = 126 - exponent;
    }
    rest = magnitude & ((1u << shift) - 1);
    magnitude >>= shift;
    if (rest > (1u << (shift - 1)) || (rest == (1u << (shift - 1)) && (magnitude & 1)))
        magnitude++;
    return (uint16_t)(sign | magnitude);
}

float half_to_float(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = h & 0x7fffu, bits;
    float f;
    if (magnitude < 0x400u) { /* zero or subnormal: magnitude x 2^-24 is exact */
        f = (float)magnitude * 0x1p-24f;
        memcpy(&bits, &f, 4);
    } else if (magnitude >= 0x7c00u) {
        bits = 0x7f800000u | (magnitude & 0x3ffu) << 13;
    } else {
        bits = (magnitude << 13) + 0x38000000u;
    }
    bits |= sign;
    memcpy(&f, &bits, 4);
    return f;
}
