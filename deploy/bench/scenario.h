/* scenario.h - MLPerf Inference's four scenarios, by its rules but unofficial
 *
 *   single-stream   one query of one sample at a time; p90 of the latency
 *   multi-stream    one query of 8 samples at a time; p99 of a query's latency, its last answer ends it
 *   server          queries of one sample at Poisson times; the highest rate whose p99 holds a target
 *   offline         all samples at once (as many as the broker admits); samples per second
 *
 * Unofficial: MLPerf's closed division allows no caching of activations, its runs last ten minutes and more
 * (the report says how far from that this one is), and nobody reviewed these.
 */
#ifndef FREEZELINE_SCENARIO_H
#define FREEZELINE_SCENARIO_H

#include "measurement.h"

enum scenario {
    SCENARIO_NONE,
    SCENARIO_SINGLE_STREAM,
    SCENARIO_MULTI_STREAM,
    SCENARIO_SERVER,
    SCENARIO_OFFLINE
};

/* FL_USAGE with the nearest name. */
int scenario_parse(enum scenario *out, const char *name, struct error *e);
const char *scenario_name(enum scenario s);
/* Makes the load that of the scenario; the rate of `server` is left to its search. */
void scenario_shape(enum scenario s, const struct pipeline *p, struct measurement_options *o);

/* {"name", "official": false, "metric", "value", "unit", "target_ms", and how long it was beside what the
 * rules ask for: "seconds", "queries", "rules_seconds", "rules_queries", "long_enough"}; `rate` is what
 * `server` found. value is null where nothing was measured or no rate holds. */
json_t *scenario_json(enum scenario s, const struct measurement *m, double target_ms, double rate);
void scenario_print(const json_t *scenario);

#endif
