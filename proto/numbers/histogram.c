/* histogram.c - log-linear buckets of durations */
#include "histogram.h"

#include <math.h>
#include <string.h>

#define SUB   (1u << HISTOGRAM_SUB_BITS)
#define LIMIT ((1ull << HISTOGRAM_MAX_BITS) - 1)

/* Values under 2 * SUB have a bucket each; above, each doubling gets SUB buckets, chosen by the SUB_BITS bits
 * below the highest one. */
unsigned histogram_bucket(uint64_t ns)
{
    unsigned shift;
    if (ns > LIMIT)
        ns = LIMIT;
    if (ns < 2 * SUB)
        return (unsigned)ns;
    shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_SUB_BITS;
    return (shift << HISTOGRAM_SUB_BITS) + (unsigned)(ns >> shift);
}

static uint64_t middle_of(unsigned bucket)
{
    unsigned shift;
    if (bucket < 2 * SUB)
        return bucket;
    shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    return ((uint64_t)(bucket - (shift << HISTOGRAM_SUB_BITS)) << shift) + (1ull << shift) / 2;
}

uint64_t histogram_upper_ns(unsigned bucket)
{
    unsigned shift;
    if (bucket < 2 * SUB)
        return bucket + 1;
    shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    return (uint64_t)(bucket - (shift << HISTOGRAM_SUB_BITS) + 1) << shift;
}

void histogram_record(struct histogram *h, uint64_t ns)
{
    if (!h->count || ns < h->min_ns)
        h->min_ns = ns;
    if (ns > h->max_ns)
        h->max_ns = ns;
    h->count++;
    h->sum_ns += (double)ns;
    h->bucket[histogram_bucket(ns)]++;
}

void histogram_merge(struct histogram *to, const struct histogram *from)
{
    if (!from->count)
        return;
    if (!to->count || from->min_ns < to->min_ns)
        to->min_ns = from->min_ns;
    if (from->max_ns > to->max_ns)
        to->max_ns = from->max_ns;
    to->count += from->count;
    to->sum_ns += from->sum_ns;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        to->bucket[i] += from->bucket[i];
}

uint64_t histogram_rank(const struct histogram *h, uint64_t rank)
{
    uint64_t seen = 0, ns;
    if (rank >= h->count)
        return h->count ? h->max_ns : 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= rank) {
            ns = middle_of(i);
            return ns < h->min_ns ? h->min_ns : ns > h->max_ns ? h->max_ns : ns;
        }
    }
    return h->max_ns;
}

uint64_t histogram_quantile(const struct histogram *h, double share)
{
    uint64_t rank = share <= 0 ? 1 : share >= 1 ? h->count : (uint64_t)ceil(share * (double)h->count);
    return histogram_rank(h, rank < 1 ? 1 : rank);
}

double histogram_mean(const struct histogram *h)
{
    return h->count ? h->sum_ns / (double)h->count : 0;
}
