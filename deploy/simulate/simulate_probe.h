/* simulate_probe.h - CPU time of a pipeline's processes, and requests to it with what they
 * say of themselves */
#ifndef FREEZELINE_SIMULATE_PROBE_H
#define FREEZELINE_SIMULATE_PROBE_H

#include "deploy/data/dataset.h"
#include "deploy/launch/roles.h"
#include "stages/place/placement.h"

struct probe;

/* CPU time in us per answered request: of the thread that does the process's work, and of its others. */
struct probe_cpu {
    double main_us, io_us;
};

/* One answered request. */
struct probe_request {
    bool alone; /* nothing else was under way while it was */
    double total_us;
    int exit; /* -1: the network */
    double lookup_us;
    int n_stages;
    double wire_us[PIPELINE_MAX_STAGES], queue_us[PIPELINE_MAX_STAGES], compute_us[PIPELINE_MAX_STAGES];
    double batch[PIPELINE_MAX_STAGES]; /* in which it was computed */
};

struct probe_phase {
    int n;
    struct probe_request *request; /* owned */
    double seconds;
    struct probe_cpu client, broker, cache[PIPELINE_MAX_CACHES], stage[PIPELINE_MAX_STAGES];
    double lookup_messages, lookup_rows; /* of all caches, per answered request */
};

struct probe_load {
    double rate; /* open loop, Poisson; 0: closed */
    int closed;  /* requests in flight */
    int requests;
    bool caches;
};

/* Finds the processes of a pipeline that `freezeline up` started on this host. FL_UNAVAILABLE when it is not
 * up. */
int probe_new(struct probe **out, const struct pipeline *p, const struct dataset *data, struct error *e);
void probe_free(struct probe *b);

/* Sends requests as `bench` does until so many are answered. FL_UNAVAILABLE when one fails. */
int probe_run(struct probe_phase *out, struct probe *b, const struct probe_load *load, struct error *e);
void probe_release(struct probe_phase *phase);

/* What the processes do while there is nothing to do: CPU time of all `seconds`; no requests. */
void probe_idle(struct probe_phase *out, struct probe *b);

#endif
