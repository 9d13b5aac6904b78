/* team.h - a few threads that share one loop
 *
 * team_run is called by one thread at a time; the caller works too. Threads sleep between loops.
 */
#ifndef FREEZELINE_TEAM_H
#define FREEZELINE_TEAM_H

#include <stddef.h>

struct team;

/* A team of `threads` counting the caller; 1 needs no team and gives *out = NULL. FL_NOMEM, FL_UNAVAILABLE.
 */
int team_new(struct team **out, int threads);
void team_free(struct team *p);
int team_threads(const struct team *p); /* of NULL: 1 */

/* Calls task(arg, i, thread) for each i in [0, n) and returns when all are done; thread is in [0,
 * team_threads). */
typedef void (*team_task)(void *arg, int i, int thread);
void team_run(struct team *p, team_task task, void *arg, int n);

#endif
