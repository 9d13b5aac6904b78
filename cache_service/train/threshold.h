/* threshold.h - from what confidence on an answer is given */
#ifndef FREEZELINE_THRESHOLD_H
#define FREEZELINE_THRESHOLD_H

#include "cache_service/index/cache.h"

/* `max-wrong` (arXiv 2002.02645, section 3): the largest confidence of a look-up on the calibration set whose
 * label is not the model's own. As a hit needs more than the threshold, no wrong one on that set would have
 * been a hit. 0 when none was wrong; infinity (never a hit) when there is nothing to judge by. Look-ups
 * without a verdict (label -1) and points whose truth is unknown (negative) do not count. */
float threshold_max_wrong(const struct cache_verdict *v, const int32_t *truth, int64_t n);

#endif
