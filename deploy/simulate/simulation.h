/* simulation.h - what happens to requests when a pipeline's processes stand on given hosts
 *
 * A world (world.h) in which the processes of a pipeline run their real brains, asked by one client. What
 * stands for the network is measured: what computing takes, which share of the requests each exit answers,
 * what every message costs. Processes and hosts may die at random times and come back.
 *
 * Left out: audits, sampling and online updates (an exit's share is what it answers in the end).
 *
 * Pure: no clock, no I/O; all times are nanoseconds of virtual time; the same input and seed give the same
 * result. Memory is taken for requests at the beginning, and for messages and events in flight, doubling as
 * they grow.
 */
#ifndef FREEZELINE_SIMULATION_H
#define FREEZELINE_SIMULATION_H

#include "numbers/histogram.h"
#include "deploy/measure/measured.h"
#include "deploy/world/world.h"

#define SIMULATION_MAX_IN_SYSTEM 4194304 /* requests, those that the client could not send yet included */

/* The client, the broker, cache services, stage workers. */
#define SIMULATION_MAX_PROCESSES (2 + PIPELINE_MAX_CACHES + PIPELINE_MAX_STAGES * PIPELINE_MAX_REPLICAS)

struct simulation_failing {
    double mtbf_ns; /* mean time between failures; 0: never */
    double repair_ns;
};

struct simulation_stage {
    double bytes; /* of one request's input to this stage */
    int n_segments;
    struct simulation_segment {
        int exit;        /* look-up at its end, or -1 */
        int first, last; /* pieces of the measurements */
    } segment[PIPELINE_MAX_EXITS + 1];
};

struct simulation {
    const struct measured *measured; /* borrowed */
    struct pipeline pipeline;        /* texts borrowed */
    struct world_host host[WORLD_MAX_HOSTS + 1];
    struct world_spec world; /* all but pipeline, hosts, user and costs; there is one client */
    bool client_is_outside;  /* what it does costs nothing */
    struct simulation_stage stage[PIPELINE_MAX_STAGES];
    struct measured_exit exit[PIPELINE_MAX_EXITS]; /* of the pipeline */
    struct simulation_failing failing;             /* of each process but the client */
    struct simulation_failing host_failing[WORLD_MAX_HOSTS + 1];

    /* load */
    double rate;               /* requests per second at random (Poisson) times; 0: closed loop */
    bool even;                 /* at even times instead */
    int closed;                /* requests in flight */
    int64_t requests, warm_up; /* how many arrive; the first ones are not counted */
};

struct simulation_process {
    struct world_process who; /* as it was at the beginning */
    double busy, io_busy;     /* share of the counted time that its two threads used a core */
};

struct simulation_link {
    double cores;               /* mean number of busy ones */
    double out, in;             /* share of the interface's rate; 0 when there is no limit */
    double out_bytes, in_bytes; /* per second */
};

struct simulation_stage_result {
    int64_t entered, batches, hits; /* rows; hits: answered at an exit of this stage */
    double queue_ns;                /* mean of those answered: received .. batch formed */
    double service_ns;              /* likewise: batch formed .. this row sent or gone */
};

struct simulation_result {
    int64_t arrived, answered, refused, expired, failed, lost; /* all; the first is the sum of the others */
    int64_t retried;
    int64_t by_exit[PIPELINE_MAX_EXITS + 1]; /* counted answers; at the number of exits: the network's */
    double throughput;                       /* answers per second of the counted time */
    double in_system;                        /* mean number of requests between due and answered */
    struct histogram latency;                /* counted requests, from when they were due */
    struct simulation_stage_result stage[PIPELINE_MAX_STAGES];
    int n_processes;
    struct simulation_process process[SIMULATION_MAX_PROCESSES]; /* client, broker, cache services, workers */
    struct simulation_link link[WORLD_MAX_HOSTS];                /* of each host */
    int64_t events;
};

/* *out is the caller's to free. The numbers of *s are not checked: who reads measurements, pipelines and
 * loads does that. FL_VALUE: a host that is not there; FL_TOO_LARGE when requests pile up; FL_NOMEM. */
int simulation_run(struct simulation_result **out, const struct simulation *s, struct error *e);

#endif
