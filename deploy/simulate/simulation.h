/* simulation.h - what happens to requests when a pipeline's processes stand on given hosts
 *
 * A world (world.h) in which the processes of a pipeline run their real brains, asked by one client. What
 * stands for the network is measured: what computing takes, which share of the requests each exit answers,
 * what every message costs. Processes and hosts may die at random times and come back.
 *
 * Left out: audits, sampling and online updates (an exit's share is what it answers in the end).
 *
 * Pure: no clock, no I/O; all times are nanoseconds of virtual time; the same input and seed give the same
 * result. Memory is taken for requests, messages and events in flight, doubling as they grow, never per
 * event.
 */
#ifndef FREEZELINE_SIMULATION_H
#define FREEZELINE_SIMULATION_H

#include "base/histogram.h"
#include "world.h"

#define SIMULATION_MAX_IN_SYSTEM 4194304 /* requests, those that the client could not send yet included */

/* Durations that were measured; each is drawn with equal probability. Borrowed. */
struct simulation_times {
    int n;
    const double *ns;
};

struct simulation_failing {
    double mtbf_ns; /* mean time between failures; 0: never */
    double repair_ns;
};

struct simulation_stage {
    int n_segments;
    struct {
        int exit;                               /* look-up at its end, or -1 */
        const struct simulation_times *compute; /* [max_batch + 1], by rows; [0] is not used */
    } segment[PIPELINE_MAX_EXITS + 1];
    double bytes; /* of one request's input to this stage */
};

struct simulation_exit {
    double share;         /* of all requests: those that are answered here when every verdict is in time */
    double bytes;         /* of one descriptor */
    double descriptor_ns; /* to make one, in the worker */
    double lookup_ns, lookup_row_ns; /* in the cache service: of each message, of each descriptor in it */
};

/* CPU time of main threads, beside the world's own costs. */
struct simulation_costs {
    double client_send_ns, client_receive_ns;
    double client_watch_ns; /* before a request is due the client watches the clock for so long: open loop */
    double broker_request_ns, broker_result_ns;
    double stage_receive_ns, stage_send_ns, stage_byte_ns; /* per request; per byte, each way */
    double stage_lookup_ns, stage_verdict_ns;
    double cache_ns;    /* a look-up message and its verdict, beyond the cache itself */
    double cold_share;  /* the first batch after a pause computes for so much longer */
    double crowd_share; /* with all cores busy a batch computes so much / its rows longer, beside all_busy: it
                           waits for weights, once for all rows */
    struct simulation_times wake; /* what waking a thread takes beside world.costs.switch_ns while a core is
                                     idle, the same for all that a message wakes; none: no time */
};

struct simulation {
    struct world_spec world; /* all but its user and clients: there is one client */
    int client_host;
    struct simulation_stage stage[PIPELINE_MAX_STAGES];
    struct simulation_exit exit[PIPELINE_MAX_EXITS]; /* those of the pipeline */
    struct simulation_costs costs;
    double answer_bytes;
    const struct simulation_failing *host_failing; /* [n_hosts]; NULL: hosts never fail */
    struct simulation_failing failing;             /* of each process but the client */

    /* load */
    double rate;               /* requests per second at random (Poisson) times; 0: closed loop */
    bool even;                 /* at even times instead */
    int closed;                /* requests in flight */
    int64_t requests, warm_up; /* how many arrive; the first ones are not counted */
};

struct simulation_process {
    enum message_role role;
    int stage, replica; /* of stage workers; replica: also the cache's number */
    int host;
    double busy, io_busy; /* share of the counted time that its two threads used a core */
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
    double seconds;                          /* counted time */
    double throughput;                       /* answers per second of it */
    double in_system;                        /* mean number of requests between due and answered */
    struct histogram latency;                /* counted requests, from when they were due */
    struct simulation_stage_result stage[PIPELINE_MAX_STAGES];
    int n_processes, n_hosts;
    struct simulation_process *process; /* client, broker, cache services, stage workers */
    struct simulation_link *link;       /* [n_hosts] */
    int64_t events;
};

/* FL_VALUE when a number makes no sense (the text says which), FL_TOO_LARGE when requests pile up, FL_NOMEM.
 */
int simulation_run(struct simulation_result **out, const struct simulation *s, struct error *e);
void simulation_result_free(struct simulation_result *r);

#endif
