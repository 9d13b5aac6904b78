/* histogram.h - how durations are distributed, in fixed memory, within 1% of their size
 *
 * Log-linear: each power of two is divided into 128 buckets of equal width, so a reported value is at most
 * 1/128 (0.8%) of itself from the recorded one. Durations under 256 ns are exact; those over 2^38 ns (275 s)
 * count as that, but `max` and the mean are exact. A value type of 32 KiB: zeroed memory is an empty
 * histogram. Not locked: one writer, or merge.
 */
#ifndef FREEZELINE_HISTOGRAM_H
#define FREEZELINE_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_SUB_BITS 7
#define HISTOGRAM_MAX_BITS 38
#define HISTOGRAM_BUCKETS  ((HISTOGRAM_MAX_BITS - HISTOGRAM_SUB_BITS + 1) << HISTOGRAM_SUB_BITS)

struct histogram {
    uint64_t count, max_ns, min_ns; /* min_ns is meaningful when count > 0 */
    double sum_ns;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *h, uint64_t ns);
/* Adds all of `from` to `to`. */
void histogram_merge(struct histogram *to, const struct histogram *from);

/* The smallest duration that at least `share` (0..1) of the recorded ones do not exceed, as the middle of its
 * bucket, within [min, max]. 0 when nothing was recorded. */
uint64_t histogram_quantile(const struct histogram *h, double share);
/* Which bucket a duration falls into, for those who keep more than a count for each: 0 .. HISTOGRAM_BUCKETS -
 * 1, rising with ns. */
unsigned histogram_bucket(uint64_t ns);
double histogram_mean(const struct histogram *h);
/* The sample of that rank, 1 to count, as histogram_quantile gives it. */
uint64_t histogram_rank(const struct histogram *h, uint64_t rank);
/* The first duration that is above all of a bucket's. */
uint64_t histogram_upper_ns(unsigned bucket);

#endif
