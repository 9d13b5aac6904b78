/* burst.h - how far apart audits have to be to count as drawn one by one
 *
 * Requests may come in bursts of nearly the same thing (frames of a video, a client that retries). If many
 * audits fall into one burst, they say little more than one of them, but tests would count them all. So it is
 * looked at how often an audit's descriptor is nearly that of the audit 1, 2, 4, .. before it, against one
 * long before it: as far as that is oftener, audits are too close. Of audits that are too close only those at
 * equal distances count. Which ones count depends on their places alone, and on audits before, so what counts
 * is a fair sample also where some request is more popular than others.
 *
 * Nothing is allocated per audit. Pure, not for several threads.
 */
#ifndef FREEZELINE_BURST_H
#define FREEZELINE_BURST_H

#include <stdbool.h>
#include <stdint.h>

#define BURST_FARTHEST 512 /* audits; longer bursts are not told from traffic that is always alike */

struct burst;

/* FL_NOMEM. */
int burst_new(struct burst **out);
void burst_free(struct burst *b);
/* The next audit by its descriptor at the first exit, of a fixed length: whether it counts. */
bool burst_counts(struct burst *b, const float *descriptor, int64_t dim);
/* Of so many audits one counts now: 1 where traffic comes in no bursts. */
int64_t burst_spacing(const struct burst *b);

#endif
