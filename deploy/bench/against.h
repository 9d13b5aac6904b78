/* against.h - several configurations in one run, interleaved
 *
 * Each round loads every configuration in turn with the same requests, in an order that is turned from round
 * to round, so that what drifts (heat, neighbours, memory) meets all alike. The next round goes on with the
 * records behind those of whoever got furthest, so that as few as possible are shown again. Ratios are of
 * what all rounds together give. Their 95% intervals come from what the logarithm of a ratio becomes without
 * each round in turn, left out of both configurations: Student's t with one degree of freedom less than
 * rounds, times the jackknife's standard error (Tukey, Annals of Mathematical Statistics 1958; for
 * percentiles, of which many requests have to be left out at once, Shao and Wu, Annals of Statistics 1989).
 * So what requests of a round have in common widens an interval as it should, what both configurations met
 * does not, and five rounds are enough for 95% to be 95%; where rounds differ much, intervals of p99 hold
 * about 90% of the time. A round that was cut short ends the run and is in no ratio.
 */
#ifndef FREEZELINE_AGAINST_H
#define FREEZELINE_AGAINST_H

#include "measurement.h"

#define AGAINST_MAX        8 /* configurations */
#define AGAINST_MIN_ROUNDS 5
#define AGAINST_ROUNDS     10

enum against_metric { AGAINST_MEAN, AGAINST_P50, AGAINST_P99, AGAINST_THROUGHPUT, AGAINST_METRICS };

/* What one configuration did in one round. */
struct against_round {
    struct histogram latency;
    double seconds;
};

struct against_ratio {
    double ratio, low, high; /* NaN where nothing was answered; low, high: or too little */
};

struct against {
    int n, rounds; /* rounds: that were complete */
    const struct configuration *of[AGAINST_MAX];
    struct traffic *traffic[AGAINST_MAX];                     /* of each, alike; owned */
    struct measurement sum[AGAINST_MAX];                      /* over rounds */
    struct against_round *round[AGAINST_MAX];                 /* owned */
    struct against_ratio ratio[AGAINST_MAX][AGAINST_METRICS]; /* of the first to each */
    bool stopped;
};

/* Runs it; options->duration_s is that of each configuration over all rounds. of[0] is the one that the
 * others are compared with. Close after a failure too. */
int against_run(struct against *a, const struct configuration *of, int n,
                const struct measurement_options *options, int rounds, struct error *e);
void against_close(struct against *a);
/* Why it ended before its time, whichever configuration it was; empty when it did not. */
const char *against_cut_short(const struct against *a);

/* Of `rounds` rounds of two configurations. Pure. */
struct against_ratio against_ratio(const struct against_round *of, const struct against_round *to, int rounds,
                                   enum against_metric metric);

/* The document's "against", and the same as tables. */
json_t *against_json(const struct against *a);
int against_print(const struct against *a, struct error *e);

#endif
