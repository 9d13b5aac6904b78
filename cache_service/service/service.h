/* service.h - the cache service: look-ups in, verdicts and hits out
 *
 * Threads: the caller's is the look-up thread. It reads an immutable snapshot, touches no disk and no Redis,
 * and waits for nothing but messages; what it does with them is decided by cache_brain.h. The keeper's thread
 * (keeper.h) does all the rest.
 */
#ifndef FREEZELINE_SERVICE_H
#define FREEZELINE_SERVICE_H

#include "base/error.h"
#include "config/pipeline.h"

struct service;

/* Loads the caches, binds cache.endpoint[index]. Borrows p. FL_CONFIG, FL_IO (endpoint occupied), .. */
int service_new(struct service **out, const struct pipeline *p, int index, struct error *e);
/* Serves until *stop becomes non-zero; reads the files again when *hang_ups has become another number. */
int service_run(struct service *s, const volatile int *stop, const volatile int *hang_ups, struct error *e);
void service_free(struct service *s); /* NULL is fine */

#endif
