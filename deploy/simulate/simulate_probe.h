/* simulate_probe.h - CPU time of a pipeline's processes, and requests to it with what they
 * say of themselves */
#ifndef FREEZELINE_SIMULATE_PROBE_H
#define FREEZELINE_SIMULATE_PROBE_H

#include "deploy/data/dataset.h"
#include "deploy/launch/roles.h"
#include "stages/place/placement.h"

struct probe;

/* Whose CPU time is counted: of the tool, the broker, each cache service, each stage (of its replicas the
 * sum: together they had each request once). */
enum { PROBE_CLIENT, PROBE_BROKER, PROBE_CACHES, PROBE_STAGES = PROBE_CACHES + PIPELINE_MAX_CACHES };
#define PROBE_ALL (PROBE_STAGES + PIPELINE_MAX_STAGES)

/* One answered request. */
struct probe_request {
    bool alone; /* nothing else was under way while it was */
    int exit;   /* -1: the network */
    int n_stages;
    double total_us, lookup_us, wire_us[PIPELINE_MAX_STAGES], compute_us[PIPELINE_MAX_STAGES];
    int batch[PIPELINE_MAX_STAGES]; /* in which it was computed */
};

struct probe_phase {
    int n;
    struct probe_request *request; /* owned */
    double seconds;
    /* Per answered request: CPU time of the threads that do the processes' work, and of their others. */
    double main_us[PROBE_ALL], io_us[PROBE_ALL];
    double lookup_messages, lookup_rows; /* of all caches */
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

/* What the processes do while there is nothing to do: CPU time of one second; no requests. */
void probe_idle(struct probe_phase *out, struct probe *b);

#endif
