/* time_buckets.h - into which buckets durations are counted where many parties add them up
 *
 * Six bounds a decade, numbers that people read: a percentile told from them is right within a quarter.
 * numbers/histogram.h is finer, and stays in one process.
 */
#ifndef FREEZELINE_TIME_BUCKETS_H
#define FREEZELINE_TIME_BUCKETS_H

#include <stdint.h>

#define TIME_BUCKETS 33 /* the last one has no bound */

/* Upper bounds in seconds, 50 us to 7 s, of all buckets but the last. */
extern const double time_bucket_bound[TIME_BUCKETS - 1];

/* The bucket of a duration: the first whose bound it does not exceed. */
int time_bucket(uint64_t ns);

#endif
