/* floats.c - checks of whole arrays */
#include "floats.h"

#include <float.h>
#include <math.h>

/* Without a way out of the loop, so that compilers make it wide. */
bool floats_finite(const float *x, int64_t n)
{
    int bad = 0;

    for (int64_t i = 0; i < n; i++)
        bad |= !(fabsf(x[i]) <= FLT_MAX);
    return !bad;
}
