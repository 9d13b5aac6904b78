/* streams.h - frames of a video: the last full answer of a stream is tried first at each exit, by distance
 *
 * Some requests of a stream, drawn by the broker independently of everything (JOB_KEY), run to their end.
 * Each becomes what later ones are compared with, and is one audit of the rule itself: what it would have
 * answered, beside the full answer. The rule and the caches together are certified on these, at any time
 * valid (certificate.h): rows of distances, fixed beforehand, the caches at the thresholds of their least
 * level. So what a stream's requests lose keeps within the promise's budget, distances and caches together.
 * It is off until a row holds that answers more than the caches alone would; after an alarm (alarm.h) it
 * begins anew.
 *
 * Bounded: so many streams and bytes, the longest unused goes. Pure. One thread.
 */
#ifndef FREEZELINE_STREAMS_H
#define FREEZELINE_STREAMS_H

#include "cache_service/store/snapshot.h"
#include "wire/message.h"

#define STREAMS_MOST       256
#define STREAMS_MOST_BYTES (64u << 20)

struct streams;

int streams_new(struct streams **out); /* FL_NOMEM */
void streams_free(struct streams *s);  /* NULL is fine */

/* These caches serve (NULL: none): certified anew, as what was certified is about others. Off where they
 * promise nothing, have no levels, or have learned from live requests: audits certified those for all
 * requests together, with no budget apart for streams. */
void streams_serve(struct streams *s, const struct snapshot *caches);
/* A look-up of a stream's request: x is its descriptor, *v what the cache said, and what is to be said. */
void streams_look(struct streams *s, const struct lookup_item *item, int exit, const float *x, uint32_t dim,
                  struct cache_verdict *v);
/* A request ended; label -1: without a full answer. */
void streams_outcome(struct streams *s, uint64_t request, int32_t label);

struct streams_state {
    bool on;
    float nearness; /* that is enough: |last| / |difference| */
    int64_t keys, spent_numbers;
    double share, alone; /* of the keys: answered early with it, and by the caches alone */
};
struct streams_state streams_state(const struct streams *s);
size_t streams_bytes(const struct streams *s); /* of descriptors */

#endif
