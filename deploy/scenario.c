/* scenario.c - loads by MLPerf's rules, and the one number of each */
#include "scenario.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/nearest.h"
#include "report.h"

#define MULTI_STREAM_SAMPLES 8
#define CLOSED_MAX           4096

static const char *const names[] = {"", "single-stream", "multi-stream", "server", "offline"};

int scenario_parse(enum scenario *out, const char *name, struct error *e)
{
    const char *near;

    for (int i = SCENARIO_SINGLE_STREAM; i <= SCENARIO_OFFLINE; i++)
        if (!strcmp(name, names[i])) {
            *out = (enum scenario)i;
            return FL_OK;
        }
    near = nearest_word(name, names + 1, 4);
    return error_set(e, FL_USAGE,
                     "scenario '%s' is unknown%s%s%s: single-stream, multi-stream, server or offline", name,
                     near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

const char *scenario_name(enum scenario s)
{
    return names[s];
}

void scenario_shape(enum scenario s, const struct pipeline *p, struct measurement_options *o)
{
    o->arrivals = s == SCENARIO_SERVER ? "poisson" : NULL;
    o->group = s == SCENARIO_MULTI_STREAM ? MULTI_STREAM_SAMPLES : 0;
    o->closed = 1;
    if (s == SCENARIO_OFFLINE)
        o->closed = p->broker.max_requests < CLOSED_MAX ? p->broker.max_requests : CLOSED_MAX;
}

static json_t *value_json(const char *metric, const char *unit, double value)
{
    return json_pack("{s:s, s:s, s:o}", "metric", metric, "unit", unit, "value", report_rounded(value, 6));
}

static double ms(const struct histogram *h, double share)
{
    return h->count ? (double)histogram_quantile(h, share) / NS_PER_MS : NAN;
}

json_t *scenario_json(enum scenario s, const struct measurement *m, double target_ms, double rate)
{
    const struct tally *t = m->tally;
    json_t *o;

    switch (s) {
    case SCENARIO_SINGLE_STREAM:
        o = value_json("p90 of the latency", "ms", ms(&t->latency, 0.9));
        break;
    case SCENARIO_MULTI_STREAM:
        o = value_json("p99 of queries of 8 samples", "ms", ms(&t->query, 0.99));
        break;
    case SCENARIO_SERVER:
        o = value_json("highest Poisson rate whose p99 holds the target", "queries/s", rate > 0 ? rate : NAN);
        json_object_set_new(o, "target_ms", report_number(target_ms));
        break;
    default:
        o = value_json("throughput", "samples/s", t->answered ? measurement_achieved(m) : NAN);
    }
    json_object_set_new(o, "name", json_string(names[s]));
    json_object_set_new(o, "official", json_false());
    return o;
}

void scenario_print(const json_t *o)
{
    const json_t *value = json_object_get(o, "value"), *target = json_object_get(o, "target_ms");

    printf("\n%s (MLPerf's scenario, unofficial): %s", json_string_value(json_object_get(o, "name")),
           json_string_value(json_object_get(o, "metric")));
    if (target)
        printf(" of %g ms", json_number_value(target));
    if (json_is_number(value))
        printf(": %.4g %s\n", json_number_value(value), json_string_value(json_object_get(o, "unit")));
    else
        printf(": none\n");
}
