/* pool.h - a few threads that share one loop
 *
 * pool_run is called by one thread at a time; the caller works too. Threads sleep between loops.
 */
#ifndef FREEZELINE_POOL_H
#define FREEZELINE_POOL_H

#include <stddef.h>

struct pool;

/* A pool of `threads` counting the caller; 1 needs no pool and gives *out = NULL. FL_NOMEM, FL_UNAVAILABLE.
 */
int pool_new(struct pool **out, int threads);
void pool_free(struct pool *p);
int pool_threads(const struct pool *p); /* of NULL: 1 */

/* Calls task(arg, i, thread) for each i in [0, n) and returns when all are done; thread is in [0,
 * pool_threads). */
typedef void (*pool_task)(void *arg, int i, int thread);
void pool_run(struct pool *p, pool_task task, void *arg, int n);

#endif
