/* hit_log.h - the hits that a stage was told, for a broker that was not
 *
 * A cache service tells a hit twice: the stage, which stops there, and the broker, which answers. When it
 * dies between the two, the stage alone knows; it keeps the latest hits and hands one out when the broker
 * asks. Bounded. Pure.
 */
#ifndef FREEZELINE_HIT_LOG_H
#define FREEZELINE_HIT_LOG_H

#include "wire/message.h"

#define HIT_LOG 256

struct told_hit {
    uint64_t request;
    uint32_t attempt;
    int32_t label, exit;
    float confidence;
    uint64_t epoch;
    struct trace trace; /* up to and including this stage */
};

struct hit_log {
    unsigned n; /* ever added */
    struct told_hit hit[HIT_LOG];
};

/* The room of the next hit, for the caller to fill; the oldest one goes. */
struct told_hit *hit_log_add(struct hit_log *l);
/* The latest hit of this request; NULL: none. */
const struct told_hit *hit_log_find(const struct hit_log *l, uint64_t request);

#endif
