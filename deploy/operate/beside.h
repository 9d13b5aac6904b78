/* beside.h - a pipeline of the files as they are now, beside the one that serves, for a rollout
 *
 * It has a state directory of its own, STATE/rollout, with sockets, logs, and links to the caches in
 * STATE/caches; its pipeline file is STATE/rollout/pipeline.yaml. It has no Redis, learns nothing and listens
 * within this user's sockets alone, so that nothing it does reaches what serves.
 */
#ifndef FREEZELINE_BESIDE_H
#define FREEZELINE_BESIDE_H

#include "deploy/process/process.h"
#include "deploy/tool/arguments.h"

struct beside {
    struct pipeline *pipeline;
    struct pipeline_arguments arguments; /* its path is `path` */
    char path[1024];
    int lock; /* STATE/rollout/lock; -1: not held */
    bool up;
};

/* Writes its pipeline file from `next`, which is changed for it, and links the caches. What a rollout that
 * was killed left is ended. FL_UNAVAILABLE: another rollout is at it. Free in any case; zeroed memory with
 * lock -1 is one to begin with. */
int beside_prepare(struct beside *b, struct pipeline *next, struct error *e);
/* As launch_up. */
int beside_up(struct beside *b, int timeout_s, struct error *e);
/* Are the caches in STATE/caches still those that were linked? */
bool beside_has_caches_of(const struct beside *b, const struct pipeline *p);
/* Ends it; its logs stay. */
void beside_down(struct beside *b);
void beside_free(struct beside *b);

#endif
