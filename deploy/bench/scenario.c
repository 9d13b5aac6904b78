/* scenario.c - loads by MLPerf's rules, and the one number of each */
#include "scenario.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/nearest_word.h"
#include "deploy/tool/report.h"

#define MULTI_STREAM_SAMPLES 8
#define RULES_SECONDS        600
#define CLOSED_MAX           4096

static const char *const names[] = {"", "single-stream", "multi-stream", "server", "offline"};
/* At least, by the benchmark's configuration (mlcommons/inference, mlperf.conf); offline: samples. */
static const int64_t rules_queries[] = {0, 1024, 270336, 270336, 24576};

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

/* How much was asked, and how much the rules ask for. */
static void set_length(json_t *o, enum scenario s, const struct tally *t)
{
    int64_t queries = s == SCENARIO_MULTI_STREAM ? (int64_t)t->query.count : (int64_t)t->answered;

    json_object_set_new(o, "seconds", report_rounded(t->seconds, 3));
    json_object_set_new(o, "queries", json_integer(queries));
    json_object_set_new(o, "rules_seconds", json_integer(RULES_SECONDS));
    json_object_set_new(o, "rules_queries", json_integer(rules_queries[s]));
    json_object_set_new(o, "long_enough",
                        json_boolean(t->seconds >= RULES_SECONDS && queries >= rules_queries[s]));
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
    set_length(o, s, t);
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
    if (!json_is_true(json_object_get(o, "long_enough")))
        printf("shorter than its rules ask: %.0f of %lld s, %lld of %lld %s\n",
               json_number_value(json_object_get(o, "seconds")),
               (long long)json_integer_value(json_object_get(o, "rules_seconds")),
               (long long)json_integer_value(json_object_get(o, "queries")),
               (long long)json_integer_value(json_object_get(o, "rules_queries")),
               strcmp(json_string_value(json_object_get(o, "name")), names[SCENARIO_OFFLINE]) ? "queries"
                                                                                              : "samples");
}
