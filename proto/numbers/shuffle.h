/* shuffle.h - seeded random numbers that are the same everywhere (PCG32, O'Neill 2014) */
#ifndef FREEZELINE_SHUFFLE_H
#define FREEZELINE_SHUFFLE_H

#include <stdint.h>

struct shuffle {
    uint64_t state, stream;
};

/* Generators of different streams of one seed are independent of each other. */
void shuffle_seed(struct shuffle *s, uint64_t seed, uint64_t stream);
uint32_t shuffle_u32(struct shuffle *s);
uint32_t shuffle_below(struct shuffle *s, uint32_t bound); /* 0 .. bound-1, unbiased */
double shuffle_uniform(struct shuffle *s);                 /* [0, 1) */
double shuffle_normal(struct shuffle *s);                  /* mean 0, variance 1 */
double shuffle_exponential(struct shuffle *s, double mean);
/* A random order of v[0..n). */
void shuffle_order(struct shuffle *s, int32_t *v, int64_t n);

#endif
