/* beside.h - a pipeline of the files as they are now, beside the one that serves, for a rollout
 *
 * It has a state directory of its own, STATE/rollout, with sockets, logs, and links to the caches in
 * STATE/caches; its pipeline file is STATE/rollout/pipeline.yaml. It has no Redis and learns nothing, so that
 * nothing it does reaches what serves. Where hosts are named, it is brought to the same hosts, with ports of
 * its own; else it listens within this user's sockets alone.
 *
 * Its supervisors have a lease, which a thread of this command renews (supervise/supervisor_lease.h): where
 * the command is killed, the pipeline ends by itself.
 */
#ifndef FREEZELINE_BESIDE_H
#define FREEZELINE_BESIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "deploy/launch/fleet.h"
#include "deploy/process/process.h"
#include "deploy/tool/arguments.h"

struct beside {
    struct pipeline *pipeline;
    struct pipeline_arguments arguments; /* its path is `path` */
    char path[1024];
    int lock; /* STATE/rollout/lock; -1: not held */
    bool up;
    int lease_s;
    const char *on;     /* how hosts are reached; NULL: it is on this machine */
    const char *job;    /* of Slurm, where that is how; both borrowed */
    struct fleet fleet; /* the keeper's */
    pthread_t keeper;
    atomic_bool keeps;
};

/* Writes its pipeline file from `next`, which is changed for it, and links the caches. `port`: as `port` of
 * the pipeline file, where hosts are named. What a rollout that was killed left is ended. FL_UNAVAILABLE:
 * another rollout is at it. Free in any case; zeroed memory with lock -1, a lease and how hosts are reached
 * is one to begin with. */
int beside_prepare(struct beside *b, struct pipeline *next, int port, struct error *e);
/* As launch_up, or up_hosts. */
int beside_up(struct beside *b, int timeout_s, struct error *e);
/* Are the caches in STATE/caches still those that were linked? */
bool beside_has_caches_of(const struct beside *b, const struct pipeline *p);
/* Ends it; its logs stay. */
void beside_down(struct beside *b);
void beside_free(struct beside *b);

#endif
