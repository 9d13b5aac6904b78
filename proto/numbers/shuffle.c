/* shuffle.c - seeded random numbers */
#include "shuffle.h"

#include <math.h>

void shuffle_seed(struct shuffle *s, uint64_t seed, uint64_t stream)
{
    s->state = 0;
    s->stream = (stream << 1) | 1;
    shuffle_u32(s);
    s->state += seed;
    shuffle_u32(s);
}

uint32_t shuffle_u32(struct shuffle *s)
{
    uint64_t old = s->state;
    uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27), turn = (uint32_t)(old >> 59);
    s->state = old * 6364136223846793005ull + s->stream;
    return (shifted >> turn) | (shifted << ((32 - turn) & 31));
}

uint32_t shuffle_below(struct shuffle *s, uint32_t bound)
{
    uint32_t least = -bound % bound; /* numbers below it would favour small results */
    for (;;) {
        uint32_t r = shuffle_u32(s);
        if (r >= least)
            return r % bound;
    }
}

double shuffle_uniform(struct shuffle *s)
{
    return shuffle_u32(s) * 0x1p-32;
}

double shuffle_normal(struct shuffle *s)
{
    double u = 1 - shuffle_uniform(s), v = shuffle_uniform(s); /* Box-Muller; u > 0 */
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

double shuffle_exponential(struct shuffle *s, double mean)
{
    return -log1p(-shuffle_uniform(s)) * mean;
}

void shuffle_order(struct shuffle *s, int32_t *v, int64_t n)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = shuffle_below(s, (uint32_t)(i + 1));
        int32_t t = v[i];
        v[i] = v[j];
        v[j] = t;
    }
}
