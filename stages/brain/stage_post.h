/* stage_post.h - what leaves a stage: look-ups, activations, scores, failures
 *
 * Pure: the layers make payloads, struct stage_io takes messages.
 */
#ifndef FREEZELINE_STAGE_POST_H
#define FREEZELINE_STAGE_POST_H

#include "hit_log.h"
#include "stage_lookups.h"
#include "stage_near.h"
#include "stage_times.h"

/* All borrowed from the brain. */
struct stage_post {
    const struct stage_setup *setup;
    const struct stage_io *io;
    const struct stage_engine *engine;
    struct stage_talk *talk;
    struct stage_rows *rows;
    struct stage_times *times;
    struct stage_lookups *lookups;
    struct stage_near *near;
    struct message *out, *hit; /* scratch; `hit`: one that leaves while a look-up is in `out` */
};

/* Best effort: when the broker can't be told, it finds out by its own clock. */
void stage_post_error(struct stage_post *p, const struct stage_row *r, int code, const char *text);
/* A hit that the broker asked for. */
void stage_post_hit(struct stage_post *p, const struct told_hit *h);
/* Looks up the rows that ask, where segment `s` ended: here, and then returns the verdict, whose hits the
 * broker has been told; or at the cache service, which answers later (NULL). What can't be sent is a miss.
 * The service is not asked at an exit without a cache: the broker tells where caches stand as soon as it
 * knows, else a verdict. What was looked up here it gets only to learn from, where that is wanted. */
const struct verdict *stage_post_lookup(struct stage_post *p, int s);
/* Is a batch whose segment `s` has ended to wait for its verdicts before more is computed? */
bool stage_post_holds(const struct stage_post *p, int s);
/* What was computed, of each row that runs: to the next stage, or as scores to the broker. */
void stage_post_outputs(struct stage_post *p);

#endif
