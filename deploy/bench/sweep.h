/* sweep.h - one configuration under several loads: latency against load up to saturation, and the highest
 * rate that keeps a promise on p99 */
#ifndef FREEZELINE_SWEEP_H
#define FREEZELINE_SWEEP_H

#include "measurement.h"

struct sweep {
    const struct configuration *of;
    struct measurement_options options; /* arrivals are Poisson when NULL; duration_s: at each rate */
    double capacity_rps;                /* answered per second with as much in flight as fills every batch */
    json_t *points;                     /* the document's "sweep", by what was offered; owned */
    bool stopped;                       /* by `tick`, or the server is gone */
    char cut_short[160];                /* why; empty when it was not */
};

/* Measures the capacity. FL_UNAVAILABLE when the server does not answer, or no more. Close after a failure
 * too.
 */
int sweep_open(struct sweep *s, const struct configuration *of, const struct measurement_options *o,
               struct error *e);
void sweep_close(struct sweep *s);

/* One rate: runs *m, which the caller closes, and keeps a point of it. */
int sweep_point(struct sweep *s, struct measurement *m, double rate, double seconds, struct error *e);

/* Rates from a tenth of the capacity until less than 95% of what is due gets answered. *m is the one at
 * `rate`, or at half of the capacity when that is 0. */
int sweep_to_saturation(struct sweep *s, struct measurement *m, double rate, struct error *e);

/* MLPerf's server scenario: the highest Poisson rate whose p99 holds the target, by bisection with half of
 * the duration for each try, then confirmed with all of it. *m is the confirming run, *rate what was
 * due in it per second: 0 when even a fiftieth of the capacity is too much; *m is that one then. */
int sweep_highest(struct sweep *s, struct measurement *m, double target_ms, double *rate, struct error *e);

/* At least 99% of all that were sent were answered, and within the target: an error is a request that took
 * for ever. Pure. */
bool sweep_holds(const struct tally *t, double target_ms);

/* The points as a table. */
int sweep_print(const struct sweep *s, struct error *e);

#endif
