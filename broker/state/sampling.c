/* sampling.c - hash of a request's id against a share */
#include "sampling.h"

/* splitmix64's finaliser: every bit of the id moves every bit of the result. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double point(uint64_t id, uint64_t salt)
{
    return (double)(mix(id * 0x9e3779b97f4a7c15u + salt) >> 11) * 0x1p-53;
}

static bool drawn(uint64_t id, uint64_t salt, double share)
{
    return point(id, salt) < share;
}

uint32_t sampling_flags(uint64_t id, uint32_t asked, double sample)
{
    uint32_t flags = asked & (JOB_NO_CACHE | JOB_AUDIT | JOB_TRACE);
    if (flags & JOB_NO_CACHE)
        return flags & ~(uint32_t)JOB_AUDIT;
    if (flags & JOB_AUDIT || drawn(id, 1, sample))
        flags |= JOB_SAMPLED;
    return flags;
}

bool sampling_audits(uint64_t id, double share)
{
    return drawn(id, 2, share);
}

bool sampling_traces(uint64_t id, double share)
{
    return drawn(id, 4, share);
}

bool sampling_keys(uint64_t id)
{
    return drawn(id, 5, 1.0 / SAMPLING_KEYS);
}

double sampling_point(uint64_t id)
{
    return point(id, 3);
}
