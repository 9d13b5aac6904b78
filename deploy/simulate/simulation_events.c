/* simulation_events.c - random numbers */
#include "simulation_parts.h"

#include <math.h>

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next(struct random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double random_uniform(struct random *r)
{
    return (double)((next(r) >> 11) + 1) / 9007199254740992.0;
}

double random_exponential(struct random *r, double mean)
{
    return -log(random_uniform(r)) * mean;
}

double random_time(struct random *r, const struct simulation_times *t)
{
    if (t->n <= 1)
        return t->n ? t->ns[0] : 0;
    return t->ns[(int)((double)(next(r) >> 11) / 9007199254740992.0 * t->n)];
}
