/* simulation.h - what happens to requests when a pipeline's processes stand on given hosts
 *
 * A discrete-event simulation of the pipeline as it works: a client, one broker, stage workers, cache
 * services; each a thread that takes one message after the other, and a second one that moves bytes
 * (ZeroMQ's). Threads of one host share its cores equally (processor sharing). Messages between hosts queue
 * at both network interfaces. The broker admits, bounds, routes (least outstanding), retries, expires; a
 * worker batches what waits when it becomes free, asks a cache at its exits and goes on computing, drops rows
 * that are hits, and holds a batch back for verdicts at its end; `stages/worker/breaker.h` decides whether a
 * cache is asked, `broker/admission.h` what is refused, kept back or dropped since it would come too late.
 *
 * Left out: audits and sampling (an exit's share is what it answers in the end), online updates, retries of
 * requests that are merely slow, messages of the control socket.
 *
 * Pure: no clock, no I/O; all times are nanoseconds of simulated time; the same input and seed give the same
 * result. Memory is taken for requests, messages and events in flight, doubling as they grow, never per
 * event.
 */
#ifndef FREEZELINE_SIMULATION_H
#define FREEZELINE_SIMULATION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/histogram.h"
#include "config/pipeline.h"

#define SIMULATION_MAX_HOSTS     4096
#define SIMULATION_MAX_REPLICAS  4096 /* of one stage */
#define SIMULATION_MAX_BATCH     64
#define SIMULATION_MAX_IN_SYSTEM 4194304 /* requests, those on their way to the broker included */

/* Durations that were measured; each is drawn with equal probability. Borrowed. */
struct simulation_times {
    int n;
    const double *ns;
};

struct simulation_host {
    int cores;
    double speed;        /* of one core, relative to the one that was measured */
    double all_busy;     /* speed of each core when all compute, relative to one that does alone: 0..1 */
    double bytes_per_ns; /* of its network interface, each way; 0: no limit */
    double latency_ns;   /* to its switch */
    double mtbf_ns;      /* mean time between failures; 0: never */
    double repair_ns;
};

struct simulation_segment {
    int exit;                               /* look-up at its end, or -1 */
    const struct simulation_times *compute; /* [max_batch + 1], by rows; [0] is not used */
};

struct simulation_place {
    int host, cache; /* cache: which service answers its look-ups; -1: none */
};

struct simulation_stage {
    int n_replicas, max_batch;
    int threads;                          /* cores that one worker's computing takes */
    const struct simulation_place *place; /* [n_replicas], borrowed */
    int n_segments;
    struct simulation_segment segment[PIPELINE_MAX_EXITS + 1];
    double bytes; /* of one request's input to this stage */
};

struct simulation_exit {
    double share;         /* of all requests: those that are answered here when every verdict is in time */
    double bytes;         /* of one descriptor */
    double descriptor_ns; /* to make one, in the worker */
    double lookup_ns, lookup_row_ns; /* in the cache service: of each message, of each descriptor in it */
};

/* CPU time of what is done for messages. */
struct simulation_costs {
    double client_send_ns, client_receive_ns;
    double client_watch_ns; /* before a request is due the client watches the clock for so long: open loop */
    double broker_request_ns, broker_result_ns;
    double stage_receive_ns, stage_send_ns, stage_byte_ns; /* per request; per byte, each way */
    double stage_lookup_ns, stage_verdict_ns;
    double cache_ns;              /* a look-up message and its verdict, beyond the cache itself */
    double cold_share;            /* the first batch after a pause computes for so much longer */
    double crowd_share;           /* with all cores busy a batch computes so much / its rows longer, beside
                                     all_busy: it waits for weights, once for all rows */
    double io_ns, io_byte_ns;     /* in the thread that moves bytes: at the sender, and at the receiver */
    double switch_ns;             /* of a thread that was woken */
    struct simulation_times wake; /* what waking one takes beside that while a core is idle, the same for all
                                     that a message wakes; none: no time */
    double mtbf_ns, restart_ns;   /* of one process; 0: never fails */
    double detect_ns;             /* until the broker knows that a worker is dead */
};

struct simulation {
    int n_hosts, n_stages, n_exits, n_caches;
    const struct simulation_host *host;
    struct simulation_stage stage[PIPELINE_MAX_STAGES];
    struct simulation_exit exit[PIPELINE_MAX_EXITS];
    const int *cache_host; /* [n_caches] */
    int broker_host, client_host;
    struct simulation_costs costs;
    double answer_bytes,
        header_bytes; /* the answer's scores; what every message carries beside its payload */
    int max_requests; /* admitted at a time */
    int batches; /* of each worker: sent and unanswered at most; 0: no bound, and nothing is refused for time
                  */
    double target_ns; /* broker.latency_target_ms; 0: none */
    int retries;
    double deadline_ns, wait_ns;

    /* load */
    double rate;               /* requests per second at random (Poisson) times; 0: closed loop */
    bool even;                 /* at even times instead */
    int closed;                /* requests in flight */
    int64_t requests, warm_up; /* how many arrive; the first ones are not counted */
    uint64_t seed;
};

enum simulation_role { SIMULATION_CLIENT, SIMULATION_BROKER, SIMULATION_CACHE, SIMULATION_STAGE };

struct simulation_process {
    enum simulation_role role;
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
    int64_t entered, batches, hits, dropped; /* rows; hits left the batch before its end */
    double queue_ns;                         /* mean, received .. batch formed */
    double service_ns;                       /* mean, batch formed .. this row sent or gone */
};

struct simulation_result {
    int64_t arrived, answered, refused, expired, failed, lost; /* all; the first is the sum of the others */
    int64_t retried;
    int64_t by_exit[PIPELINE_MAX_EXITS + 1]; /* counted answers; the last, at n_exits, the network's */
    double seconds;                          /* counted time */
    double throughput;                       /* answers per second of it */
    double in_system;                        /* mean number of requests between due and answered */
    struct histogram latency;                /* counted requests, from when they were due */
    struct simulation_stage_result stage[PIPELINE_MAX_STAGES];
    int n_processes, n_hosts;
    struct simulation_process *process;
    struct simulation_link *link; /* [n_hosts] */
    int64_t events;
};

/* FL_VALUE when a number makes no sense (the text says which), FL_NOMEM. */
int simulation_run(struct simulation_result **out, const struct simulation *s, struct error *e);
void simulation_result_free(struct simulation_result *r);

#endif
