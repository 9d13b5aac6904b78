/* candidates.h - the caches of each candidate by its number, and what they say of a request in hand
 *
 * Candidate 0 is what served when the learner began. One thread.
 */
#ifndef FREEZELINE_CANDIDATES_H
#define FREEZELINE_CANDIDATES_H

#include "cache_service/store/snapshot.h"
#include "reservoir.h"

struct candidates;

int candidates_new(struct candidates **out, const struct manifest *m);
void candidates_free(struct candidates *c); /* NULL is fine */

/* References are taken; one with that number is replaced. FL_NOMEM. */
int candidates_put(struct candidates *c, uint64_t number, struct cache *const *caches);
void candidates_drop(struct candidates *c, uint64_t number);
/* Its caches by exit, NULL: none there; NULL: there is no such candidate. */
struct cache *const *candidates_caches(const struct candidates *c, uint64_t number);

/* Takes a request in hand; descriptors are read when they are asked for. */
void candidates_take(struct candidates *c, struct reservoir *r, const struct reservoir_row *row);
/* Its descriptor at the first exit that has one, and how long that is; NULL: it is no longer there. */
const float *candidates_first(struct candidates *c, int *dim);
/* What candidate `number` says of it (learner_look). FL_NOT_FOUND: no such candidate, or a descriptor is no
 * longer there. */
int candidates_look(struct candidates *c, uint64_t number, int32_t *label, float *confidence);

#endif
