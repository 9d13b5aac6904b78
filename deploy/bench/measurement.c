/* measurement.c - running a load, judging what came of it */
#include "measurement.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define LATE_FINE_NS   (200 * NS_PER_US) /* requests sent up to this late do not spoil a measurement */
#define LATE_SHARE     0.05              /* nor up to this share of the latency at the same percentile */
#define RESIDUAL_SHARE 0.03              /* of the median that the parts may leave unexplained */
#define ERROR_SHARE    0.01

static void begun(void *arg)
{
    struct measurement *m = arg;

    watch_begin(m->watch);
    if (m->options.trace_share > 0)
        target_trace(m->of->target, m->options.trace_share);
}

static int tick(void *arg, const struct tally *so_far, double seconds)
{
    const struct measurement *m = arg;
    (void)so_far;
    return m->options.tick ? m->options.tick(m->options.arg, m, seconds) : 0;
}

static void note_time(struct measurement *m)
{
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(m->started, sizeof m->started, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* Recorded times begin when the server is warm. Until then Poisson arrivals of the same
 * mean rate warm it up. */
static int warming(struct arrivals **out, const struct arrivals *arrivals,
                   const struct measurement_options *o, struct error *e)
{
    *out = NULL;
    if (!arrivals || strcmp(arrivals_name(arrivals), "trace") != 0 || o->warmup_s <= 0)
        return FL_OK;
    return arrivals_new(out, "poisson", arrivals_steady_rate(arrivals), o->seed, e);
}

static int load(struct measurement *m, struct traffic *traffic, struct arrivals *arrivals, struct error *e)
{
    const struct measurement_options *o = &m->options;
    struct load_options to = {.target = m->of->target,
                              .data = m->of->data ? m->of->data : o->data,
                              .traffic = traffic,
                              .arrivals = arrivals,
                              .closed = o->closed,
                              .group = o->group,
                              .duration_s = o->duration_s,
                              .requests = o->requests,
                              .warmup_s = o->warmup_s,
                              .deadline_ms = (uint32_t)o->deadline_ms,
                              .labels = o->labels,
                              .begun = begun,
                              .tick = tick,
                              .arg = m};
    int rc;

    if (traffic_scene_frames(traffic) > 0)
        snprintf(m->traffic, sizeof m->traffic, "%s:%g", traffic_name(traffic),
                 traffic_scene_frames(traffic));
    else
        snprintf(m->traffic, sizeof m->traffic, "%s", traffic_name(traffic));
    m->zipf_s = traffic_zipf_s(traffic);
    snprintf(m->arrivals, sizeof m->arrivals, "%s", arrivals ? arrivals_name(arrivals) : "closed");
    m->rate = arrivals ? arrivals_rate(arrivals) : 0;
    if (o->watch && !m->of->whole && (rc = watch_start(&m->watch, m->of->pipeline, e)))
        return rc;
    if (!(rc = warming(&to.warming, arrivals, o, e)))
        rc = load_run(m->tally, &m->outcome, &to, e);
    arrivals_free(to.warming);
    if (o->trace_share > 0)
        target_trace(m->of->target, 0);
    watch_stop(m->watch);
    m->server_cpu_s = m->of->whole ? m->outcome.cpu_s : m->watch ? watch_cpu_s(m->watch) : NAN;
    m->joules = m->watch ? watch_joules(m->watch) : NAN;
    m->reloaded = m->watch && watch_saw_reload(m->watch);
    return rc;
}

int measurement_run(struct measurement *m, const struct configuration *of,
                    const struct measurement_options *o, struct error *e)
{
    struct traffic *traffic = NULL;
    struct arrivals *arrivals = NULL;
    int rc = FL_OK;

    memset(m, 0, sizeof *m);
    m->of = of;
    m->options = *o;
    note_time(m);
    if (tally_new(&m->tally))
        rc = error_set(e, FL_NOMEM, "no memory to count in");
    else if ((o->going_on || !(rc = traffic_new(&traffic, o->traffic, dataset_count(o->data), o->seed, e))) &&
             (!o->arrivals || !(rc = arrivals_new(&arrivals, o->arrivals, o->rate, o->seed, e))))
        rc = load(m, o->going_on ? o->going_on : traffic, arrivals, e);
    traffic_free(traffic);
    arrivals_free(arrivals);
    if (!rc)
        measurement_judge(m);
    return rc;
}

void measurement_close(struct measurement *m)
{
    tally_free(m->tally);
    watch_free(m->watch);
    m->tally = NULL;
    m->watch = NULL;
}

void measurement_merge(struct measurement *to, const struct measurement *from)
{
    struct load_outcome *sum = &to->outcome;
    const struct load_outcome *more = &from->outcome;

    tally_merge(to->tally, from->tally);
    sum->warmup_s += more->warmup_s;
    sum->warmup_requests += more->warmup_requests;
    sum->drifting |= more->drifting;
    sum->stopped |= more->stopped;
    sum->cpu_s += more->cpu_s;
    sum->end_s += more->end_s;
    if (!*sum->cut_short)
        memcpy(sum->cut_short, more->cut_short, sizeof sum->cut_short);
    to->server_cpu_s += from->server_cpu_s;
    to->joules += from->joules;
    to->reloaded |= from->reloaded;
    measurement_judge(to);
}

double measurement_offered(const struct measurement *m)
{
    const struct measurement_options *o = &m->options;
    const struct tally *t = m->tally;
    double seconds = t->sending_seconds;

    if (!o->arrivals)
        return NAN;
    if (o->duration_s > 0 && !(o->requests > 0 && t->sent >= o->requests) && !*m->outcome.cut_short &&
        strcmp(m->arrivals, "trace"))
        seconds = fmax(seconds, o->duration_s);
    return seconds > 0 ? (double)t->sent / seconds : NAN;
}

double measurement_achieved(const struct measurement *m)
{
    return m->tally->seconds > 0 ? (double)m->tally->answered / m->tally->seconds : 0;
}

double measurement_goodput(const struct measurement *m)
{
    return m->tally->seconds > 0 ? (double)m->tally->in_time / m->tally->seconds : 0;
}

static void doubt(struct measurement *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void doubt(struct measurement *m, const char *format, ...)
{
    va_list args;

    if (m->n_doubts == MEASUREMENT_DOUBTS)
        return;
    va_start(args, format);
    vsnprintf(m->doubt[m->n_doubts++], sizeof m->doubt[0], format, args);
    va_end(args);
}

/* A sender that was late adds its own lateness to the latency: where that is much, the figures are not the
 * server's. */
static void judge_lateness(struct measurement *m)
{
    static const double shares[] = {0.5, 0.99};

    for (int i = 0; i < 2; i++) {
        uint64_t late = histogram_quantile(&m->tally->lateness, shares[i]),
                 latency = histogram_quantile(&m->tally->latency, shares[i]);
        if (late <= LATE_FINE_NS || (double)late <= LATE_SHARE * (double)latency)
            continue;
        doubt(m, "the sender was late: %.0f us at p%.0f, %.1f%% of the latency", (double)late / NS_PER_US,
              100 * shares[i], 100 * (double)late / fmax(1, (double)latency));
        return;
    }
}

static void judge_parts(struct measurement *m)
{
    double part_ns[PARTS], share;

    attribution_middle(m->tally->attribution, part_ns);
    share = attribution_residual_share(part_ns);
    if (share > RESIDUAL_SHARE)
        doubt(m, "the parts leave %.1f%% of the median unexplained", 100 * share);
}

void measurement_judge(struct measurement *m)
{
    const struct tally *t = m->tally;

    m->n_doubts = 0;
    if (*m->outcome.cut_short)
        doubt(m, "%s", m->outcome.cut_short);
    if (m->reloaded)
        doubt(m, "the pipeline was reloaded meanwhile: the figures are of what served before and after");
    else if (*m->of->other_model)
        doubt(m, "%s", m->of->other_model);
    if (!t->answered)
        doubt(m, "no request was answered");
    if (t->lost)
        doubt(m, "%lld requests were lost", (long long)t->lost);
    if (t->garbage)
        doubt(m, "%lld messages of the server made no sense", (long long)t->garbage);
    if (t->answered && (double)t->errors > ERROR_SHARE * (double)t->sent)
        doubt(m, "%.1f%% of the requests failed; latency tells of the others alone",
              100 * (double)t->errors / (double)t->sent);
    if (m->outcome.drifting && strcmp(m->arrivals, "mmpp") != 0) /* whose bursts are no drift */
        doubt(m, "latency still changed after %.0f s of warm-up", m->outcome.warmup_s);
    if (t->answered) {
        judge_lateness(m);
        judge_parts(m);
    }
}
