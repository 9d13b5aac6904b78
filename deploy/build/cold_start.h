/* cold_start.h - beginning without a build: a manifest of exits that are to be taught by live traffic
 *
 * Under `cache.threshold: risk` with Redis and `updates.learn` nothing has to be built: STATE/caches gets a
 * manifest that names the exits, what it takes to teach them, and the promise, but no caches. The whole
 * network answers until something is certified.
 */
#ifndef FREEZELINE_COLD_START_H
#define FREEZELINE_COLD_START_H

#include "deploy/model/model_shape.h"

/* They can learn from nothing: in float32, as a build alone knows what lower precision loses. */
bool cold_start_possible(const struct pipeline *p);
/* Writes the manifest where there is none, or where one of a cold start is there that the pipeline file no
 * longer describes (*began), and shows on stderr how far it is. A build is left as it is. `model` is that of
 * the pipeline file. */
int cold_start(const struct pipeline *p, const struct model_shape *model, bool *began, struct error *e);

#endif
