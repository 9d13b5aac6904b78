/* near_cache.h - the caches of this worker's cache service, mapped and looked up in place
 *
 * The service hands over one block after the other (cache_set.h). Checking one reads all of it, so that is
 * done by a thread of its own, while the caches before it are used; it is taken as a whole or not at all. The
 * thread that owns a struct near_cache makes all calls.
 */
#ifndef FREEZELINE_NEAR_CACHE_H
#define FREEZELINE_NEAR_CACHE_H

#include "stages/brain/stage_brain.h"

struct near_cache;

/* For the exits of this stage; copies what it needs. FL_NOMEM. */
int near_cache_new(struct near_cache **out, const struct stage_setup *s);
void near_cache_free(struct near_cache *n); /* NULL is fine */

/* A block came; `fd` is taken. */
void near_cache_take(struct near_cache *n, int fd);
/* Uses a block that was checked meanwhile. True: what is in use is another than before; *exits 0: none. */
bool near_cache_turn(struct near_cache *n, uint64_t *epoch, uint32_t *exits);
/* Verdicts for in->n descriptors at an exit that was told of. FL_NOMEM. */
int near_cache_look(struct near_cache *n, const struct lookup *in, const float *descriptors,
                    uint64_t broker_now, struct verdict *out);

#endif
