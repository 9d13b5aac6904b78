/* phases.h - loads on a running pipeline, from few requests to many, with what each process used
 *
 * A shared machine changes its speed from minute to minute. So the model is timed alone right before and
 * after each third of a load, whose times are then scaled to the speed that the machine had at first.
 */
#ifndef FREEZELINE_PHASES_H
#define FREEZELINE_PHASES_H

#include "deploy/data/dataset.h"
#include "stages/exec/exec.h"
#include "wire/message.h"

/* Whose CPU time is counted; of a stage's replicas the sum: together they had each request once. */
enum { USER_CLIENT, USER_BROKER, USER_CACHES, USER_STAGES = USER_CACHES + PIPELINE_MAX_CACHES };
#define USERS (USER_STAGES + PIPELINE_MAX_STAGES)

/* One answered request. */
struct phase_request {
    bool alone;   /* nothing else was under way while it was */
    double scale; /* of its times, to the first speed */
    double total_ns;
    struct answer answer;
};

struct phase {
    int n;
    struct phase_request *request; /* owned */
    double seconds;
    /* Per answered request: CPU time of the threads that do the processes' work, and of their others. */
    double main_us[USERS], io_us[USERS];
    double lookup_messages, lookup_rows; /* of all caches */
};

struct phases {
    const struct pipeline *pipeline; /* borrowed, like the graph */
    const struct graph *graph;
    struct exec *model; /* in this process, for batches as large as its stages' */
    double speed_us;    /* the time of one input alone before the first phase */
    /* Without look-ups: few requests at random times; more of them; as many in flight as keep all busy in
     * small batches, and in full ones. With look-ups: few, and many. */
    struct phase sparse, steady, crowded, busy, sparse_cached, busy_cached;
    struct phase idle; /* nothing to do, for one second */
};

/* Sends requests as `bench` does to a pipeline that is up here, so many where many are in flight. Borrows p
 * and g. FL_UNAVAILABLE when it is not up, or a request fails. Release after a failure too. */
int phases_ask(struct phases *out, const struct pipeline *p, const struct graph *g,
               const struct dataset *data, int max_batch, int requests, bool caches, struct error *e);
void phases_release(struct phases *p);

#endif
