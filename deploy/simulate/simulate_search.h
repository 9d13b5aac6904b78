/* simulate_search.h - many simulations: loads up to saturation, the fewest replicas for a target */
#ifndef FREEZELINE_SIMULATE_SEARCH_H
#define FREEZELINE_SIMULATE_SEARCH_H

#include "simulate_setup.h"

#define SEARCH_MAX_LOADS 32

struct search_load {
    double rate; /* of one cell; 0: closed loop */
    int closed;
    int64_t requests;
    uint64_t seed;
};

struct search {
    const struct measured *measured; /* borrowed, like the next one */
    const struct cluster *cluster;
    struct setup_shape shape;
    struct search_load load;

    /* what was found */
    int n_results; /* one, or one per load of a sweep, ascending */
    struct simulation_result *result[SEARCH_MAX_LOADS];
    double offered[SEARCH_MAX_LOADS]; /* per cell; 0: closed loop */
    double saturation;                /* of a sweep: answers per second of one cell with its queues full */
    double target_ms;                 /* that the replicas hold; 0: no such replicas were looked for */
    int cores;                        /* of the last simulation's processes, one cell */
    int tried;                        /* simulations in all */
    double cpu_s;                     /* that they took */
    int64_t events;
};

int search_once(struct search *s, struct error *e);
/* A closed loop that keeps all batches full gives the saturation, then shares of it are offered. */
int search_sweep(struct search *s, struct error *e);
/* Sets the shape's replicas to the fewest cores whose p99 is at most target_ms at load.rate without drops:
 * from what the load needs at least, the replica that helps most is added until the target holds, then those
 * that it can do without are taken away. FL_VALUE, with the reason, when none that was tried holds it. */
int search_cheapest(struct search *s, double target_ms, struct error *e);
/* p99 in ms of one simulation; 1e6 and more when requests are dropped, the more the more. */
int search_p99(struct search *s, double *ms, struct error *e);
void search_release(struct search *s);

#endif
