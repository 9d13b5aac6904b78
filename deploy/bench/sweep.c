/* sweep.c - points of latency against load */
#include "sweep.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"

#define TRIES_MAX      8
#define CONFIRM_MAX    6
#define STEP_DOWN      0.95
#define CAPACITY_SHARE 0.5  /* of the duration at a rate */
#define SHORTEST_S     1.0  /* of any point, unless the duration is shorter still */
#define SATURATED      0.95 /* answered of what was due */
#define CLOSED_MAX     4096

static const double shares[] = {0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25};

/* How many requests fill every batch of every worker. */
static int in_flight(const struct pipeline *p)
{
    int n = 1;

    for (int i = 0; i < p->n_stages; i++)
        n += p->stage[i].n_replicas * p->stage[i].max_batch;
    n = n < p->broker.max_requests ? n : p->broker.max_requests;
    return n < CLOSED_MAX ? n : CLOSED_MAX;
}

int sweep_open(struct sweep *s, const struct configuration *of, const struct measurement_options *o,
               struct error *e)
{
    struct measurement_options closed = *o;
    struct measurement m;
    int rc;

    *s = (struct sweep){.of = of, .options = *o, .points = json_array()};
    if (!s->options.arrivals)
        s->options.arrivals = "poisson";
    closed.arrivals = NULL;
    closed.group = 0;
    closed.closed = of->whole ? 1 : in_flight(of->pipeline);
    closed.duration_s = fmax(fmin(SHORTEST_S, o->duration_s), CAPACITY_SHARE * o->duration_s);
    closed.requests = 0;
    closed.watch = false;
    snprintf(closed.phase, sizeof closed.phase, "capacity");
    rc = measurement_run(&m, of, &closed, e);
    if (!rc) {
        s->capacity_rps = measurement_achieved(&m);
        s->stopped = m.outcome.stopped;
        if (!(s->capacity_rps > 0) || m.outcome.gone)
            rc = error_set(e, FL_UNAVAILABLE, "%s while the capacity was measured%s%s",
                           m.outcome.gone ? "the server went" : "no request was answered",
                           *m.outcome.cut_short ? ": " : "", m.outcome.cut_short);
    }
    measurement_close(&m);
    return rc;
}

void sweep_close(struct sweep *s)
{
    json_decref(s->points);
    s->points = NULL;
}

static double offered_at(const struct sweep *s, size_t i)
{
    return json_number_value(json_object_get(json_array_get(s->points, i), "offered_rps"));
}

static void keep_point(struct sweep *s, const struct measurement *m)
{
    const struct histogram *h = &m->tally->latency;
    double offered = measurement_offered(m);
    size_t at = 0;
    json_t *point = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:I, s:o}", "rate",
                              report_rounded(m->rate, 6), "offered_rps", report_rounded(offered, 3),
                              "achieved_rps", report_rounded(measurement_achieved(m), 3), "goodput_rps",
                              report_rounded(measurement_goodput(m), 3), "p50_ms",
                              report_rounded((double)histogram_quantile(h, 0.5) / NS_PER_MS, 6), "p99_ms",
                              report_rounded((double)histogram_quantile(h, 0.99) / NS_PER_MS, 6), "valid",
                              m->n_doubts == 0, "doubt", m->n_doubts ? json_string(m->doubt[0]) : json_null(),
                              "errors", (json_int_t)m->tally->errors, "latency_ms", measurement_latency(h));

    attribution_json(m->tally->attribution, point);
    while (at < json_array_size(s->points) && offered_at(s, at) < offered)
        at++;
    json_array_insert_new(s->points, at, point);
}

int sweep_point(struct sweep *s, struct measurement *m, double rate, double seconds, struct error *e)
{
    struct measurement_options o = s->options;
    int rc;

    o.rate = rate;
    o.seed += json_array_size(s->points); /* or all would share the luck of one draw */
    o.requests = 0;
    o.duration_s = fmax(fmin(SHORTEST_S, s->options.duration_s), seconds);
    snprintf(o.phase, sizeof o.phase, "%.4g/s", rate);
    if ((rc = measurement_run(m, s->of, &o, e)))
        return rc;
    if (!s->stopped && (m->outcome.stopped || m->outcome.gone)) {
        s->stopped = true;
        memcpy(s->cut_short, m->outcome.cut_short, sizeof s->cut_short);
    }
    keep_point(s, m);
    return FL_OK;
}

int sweep_to_saturation(struct sweep *s, struct measurement *m, double rate, struct error *e)
{
    double main_rate = rate > 0 ? rate : s->capacity_rps / 2;
    int rc = sweep_point(s, m, main_rate, s->options.duration_s, e);

    for (size_t i = 0; !rc && !s->stopped && i < sizeof shares / sizeof *shares; i++) {
        double at = shares[i] * s->capacity_rps;
        struct measurement point;
        bool saturated;
        if (fabs(at - main_rate) < 0.02 * s->capacity_rps)
            continue;
        rc = sweep_point(s, &point, at, s->options.duration_s, e);
        saturated = !rc && measurement_achieved(&point) < SATURATED * measurement_offered(&point);
        measurement_close(&point);
        if (saturated)
            break;
    }
    return rc;
}

bool sweep_holds(const struct tally *t, double target_ms)
{
    uint64_t rank = (uint64_t)ceil(0.99 * (double)t->sent);

    return rank > 0 && rank <= t->latency.count &&
           (double)histogram_rank(&t->latency, rank) <= target_ms * (double)NS_PER_MS;
}

/* The highest rate that was tried for half of the time and held. */
static int bisect(struct sweep *s, double target_ms, double *rate, struct error *e)
{
    double low = 0, high = 1.1 * s->capacity_rps;
    int rc = FL_OK;

    for (int i = 0; !rc && !s->stopped && i < TRIES_MAX && high - low > 0.02 * s->capacity_rps; i++) {
        double middle = (low + high) / 2;
        struct measurement m;
        rc = sweep_point(s, &m, middle, s->options.duration_s / 2, e);
        if (!rc && sweep_holds(m.tally, target_ms))
            low = middle;
        else
            high = middle;
        measurement_close(&m);
    }
    *rate = low;
    return rc;
}

int sweep_highest(struct sweep *s, struct measurement *m, double target_ms, double *rate, struct error *e)
{
    double least = s->capacity_rps / 50, at;
    int rc = bisect(s, target_ms, &at, e);

    *rate = 0;
    if (rc)
        return rc;
    at = fmax(at, least);
    for (int i = 0;; i++) {
        if ((rc = sweep_point(s, m, at, s->options.duration_s, e)))
            return rc;
        if (!s->stopped && sweep_holds(m->tally, target_ms))
            *rate = measurement_offered(m);
        if (*rate > 0 || s->stopped || at <= least || i == CONFIRM_MAX)
            return FL_OK;
        measurement_close(m);
        at = fmax(least, STEP_DOWN * at);
    }
}

int sweep_print(const struct sweep *s, struct error *e)
{
    struct table *t;
    json_t *point;
    size_t i;

    t = table_new("due/s|answered/s|p50 ms|p99 ms|", "rrrrl");
    json_array_foreach(s->points, i, point)
    {
        const char *doubt = json_string_value(json_object_get(point, "doubt"));
        table_cells(t, "%.1f|%.1f|%.3f|%.3f|%s", offered_at(s, i),
                    json_number_value(json_object_get(point, "achieved_rps")),
                    json_number_value(json_object_get(point, "p50_ms")),
                    json_number_value(json_object_get(point, "p99_ms")), doubt ? doubt : "");
    }
    printf("\ncapacity, closed loop: %.1f/s\n", s->capacity_rps);
    return table_end(t, e);
}
