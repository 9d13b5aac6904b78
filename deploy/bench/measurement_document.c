/* measurement_document.c - a measurement as JSON */
#include "measurement.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/tool/machine.h"
#include "deploy/tool/report.h"
#include "deploy/tool/statistics.h"

static const struct {
    const char *name;
    double share;
} percentiles[] = {{"p50", 0.5},  {"p90", 0.9},    {"p95", 0.95},
                   {"p99", 0.99}, {"p999", 0.999}, {"p9999", 0.9999}};

#define PERCENTILES (int)(sizeof percentiles / sizeof *percentiles)

static json_t *ms(const struct histogram *h, double ns)
{
    return h->count ? report_rounded(ns / NS_PER_MS, 6) : json_null();
}

static json_t *interval(const struct histogram *h, double share)
{
    int64_t low, high, n = (int64_t)h->count;

    statistics_quantile_ranks(n, share, &low, &high);
    return json_pack("[o, o]", low > 0 ? ms(h, (double)histogram_rank(h, (uint64_t)low)) : json_null(),
                     high <= n ? ms(h, (double)histogram_rank(h, (uint64_t)high)) : json_null());
}

json_t *measurement_latency(const struct histogram *h)
{
    json_t *o = json_pack("{s:o, s:o}", "mean", ms(h, histogram_mean(h)), "min", ms(h, (double)h->min_ns)),
           *intervals = json_object();

    for (int i = 0; i < PERCENTILES; i++) {
        json_object_set_new(o, percentiles[i].name,
                            ms(h, (double)histogram_quantile(h, percentiles[i].share)));
        if (h->count)
            json_object_set_new(intervals, percentiles[i].name, interval(h, percentiles[i].share));
    }
    json_object_set_new(o, "max", ms(h, (double)h->max_ns));
    json_object_set_new(o, "interval", intervals);
    return o;
}

static json_t *histogram_json(const struct histogram *h)
{
    json_t *upper = json_array(), *count = json_array();

    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (h->bucket[i]) {
            json_array_append_new(upper, report_rounded((double)histogram_upper_ns(i) / NS_PER_US, 3));
            json_array_append_new(count, json_integer((json_int_t)h->bucket[i]));
        }
    return json_pack("{s:o, s:o}", "upper_us", upper, "count", count);
}

static json_t *share_of(int64_t part, int64_t all)
{
    return all > 0 ? report_rounded((double)part / (double)all, 6) : json_null();
}

static json_t *exit_json(const struct measurement *m, const char *name, json_t *stage, int exit)
{
    const struct tally_exit *x = &m->tally->exit[exit];

    return json_pack("{s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "name", name, "stage", stage, "answered",
                     (json_int_t)x->answered, "share", share_of(x->answered, m->tally->answered), "accuracy",
                     share_of(x->right, x->labelled), "latency_ms", measurement_latency(&x->latency),
                     "parts_ms", attribution_exit_json(m->tally->attribution, exit), "histogram",
                     histogram_json(&x->latency));
}

static json_t *exits_json(const struct measurement *m)
{
    const struct model_shape *model = m->of->model;
    json_t *a = json_array();

    for (int i = 0; !m->of->whole && i < model->n_exits; i++)
        json_array_append_new(a, exit_json(m, model->exit[i].name, json_integer(model->exit[i].stage), i));
    json_array_append_new(
        a, exit_json(m, "network", json_integer(m->of->whole ? 0 : model->n_stages - 1), TALLY_NETWORK));
    return a;
}

static json_t *errors_json(const struct tally *t)
{
    json_t *o = json_object();

    for (int i = 1; i < FL_CODES; i++)
        if (t->error[i])
            json_object_set_new(o, error_name(i), json_integer(t->error[i]));
    if (t->lost)
        json_object_set_new(o, "lost", json_integer(t->lost));
    return o;
}

static json_t *refusal_json(const struct histogram *h)
{
    return json_pack("{s:o, s:o, s:o}", "p50", ms(h, (double)histogram_quantile(h, 0.5)), "p99",
                     ms(h, (double)histogram_quantile(h, 0.99)), "max", ms(h, (double)h->max_ns));
}

static json_t *timeline_json(const struct tally *t)
{
    json_t *a = json_array();

    for (int i = 0; i < t->n_slots; i++) {
        const struct tally_slot *s = &t->slot[i];
        json_array_append_new(
            a, json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "t",
                         report_rounded((double)i * (double)t->slot_ns / NS_PER_S, 3), "sent",
                         (json_int_t)s->sent, "answered", (json_int_t)s->answered, "errors",
                         (json_int_t)s->errors, "early", (json_int_t)s->early, "p50_ms",
                         ms(&s->latency, (double)histogram_quantile(&s->latency, 0.5)), "p99_ms",
                         ms(&s->latency, (double)histogram_quantile(&s->latency, 0.99))));
    }
    return a;
}

static double event_time(json_t *events, size_t i)
{
    return json_number_value(json_object_get(json_array_get(events, i), "t"));
}

/* Puts the seconds in which errors began among the other events, in the order of time. */
static void add_bursts(const struct tally *t, json_t *events)
{
    double slot_s = (double)t->slot_ns / NS_PER_S;

    for (int i = 0; i < t->n_slots; i++) {
        int64_t errors = t->slot[i].errors;
        size_t at = 0;
        int end = i + 1;
        if (!errors || (i && t->slot[i - 1].errors))
            continue;
        for (; end < t->n_slots && t->slot[end].errors; end++)
            errors += t->slot[end].errors;
        while (at < json_array_size(events) && event_time(events, at) < i * slot_s)
            at++;
        json_array_insert_new(events, at,
                              json_pack("{s:o, s:o}", "t", report_rounded(i * slot_s, 3), "text",
                                        json_sprintf("%lld error%s within %g s", (long long)errors,
                                                     errors > 1 ? "s" : "", (end - i) * slot_s)));
    }
}

json_t *measurement_events(const struct measurement *m)
{
    json_t *a = m->watch ? watch_events(m->watch) : json_array();

    add_bursts(m->tally, a);
    return a;
}

/* This process: the sender, and the server too where it computes the whole model. */
static json_t *own_process(const struct measurement *m)
{
    char host[256] = "";

    gethostname(host, sizeof host - 1);
    return json_pack("{s:s, s:n, s:n, s:s, s:i, s:n, s:o}", "role", m->of->whole ? "whole" : "bench", "stage",
                     "replica", "host", host, "pid", (int)getpid(), "resident_bytes", "cpu_seconds",
                     report_rounded(m->outcome.cpu_s, 3));
}

static void set_costs(const struct measurement *m, json_t *root)
{
    json_t *processes = m->watch ? watch_processes(m->watch) : json_array();
    double n = (double)m->tally->answered;

    json_array_append_new(processes, own_process(m));
    json_object_set_new(root, "processes", processes);
    json_object_set_new(root, "cpu_seconds_per_request", report_rounded(m->server_cpu_s / n, 9));
    json_object_set_new(root, "joules_per_request", report_rounded(m->joules / n, 9));
    json_object_set_new(root, "energy", json_string(isfinite(m->joules) ? "RAPL" : "not exposed here"));
}

static json_t *load_json(const struct measurement *m)
{
    const struct measurement_options *o = &m->options;
    bool open = o->arrivals != NULL;

    return json_pack("{s:s, s:o, s:s, s:o, s:o, s:s, s:i, s:o, s:I, s:s, s:o, s:I, s:I, s:o}", "loop",
                     open ? "open" : "closed", "scenario",
                     o->scenario && *o->scenario ? json_string(o->scenario) : json_null(), "arrivals",
                     m->arrivals, "rate", open ? report_rounded(m->rate, 6) : json_null(), "closed",
                     open ? json_null() : json_integer(o->group ? o->group : o->closed), "traffic",
                     m->traffic, "clients", m->of->clients, "zipf_s",
                     m->zipf_s > 0 ? report_number(m->zipf_s) : json_null(), "seed", (json_int_t)o->seed,
                     "data", o->data_spec, "warmup_seconds", report_rounded(m->outcome.warmup_s, 3),
                     "warmup_requests", (json_int_t)m->outcome.warmup_requests, "repeats",
                     (json_int_t)m->tally->repeats, "seconds", report_rounded(m->tally->seconds, 3));
}

static json_t *generator_json(const struct measurement *m)
{
    const struct histogram *late = &m->tally->lateness;
    bool timed = m->options.arrivals && !m->of->whole && late->count;
    json_t *lateness =
        timed ? json_pack("{s:o, s:o, s:o}", "p50",
                          report_rounded((double)histogram_quantile(late, 0.5) / NS_PER_US, 3), "p99",
                          report_rounded((double)histogram_quantile(late, 0.99) / NS_PER_US, 3), "max",
                          report_rounded((double)late->max_ns / NS_PER_US, 3))
              : json_null();

    return json_pack("{s:o, s:o}", "lateness_us", lateness, "cpu_share",
                     report_rounded(m->outcome.cpu_s / m->outcome.end_s, 4));
}

static json_t *doubts_json(const struct measurement *m)
{
    json_t *a = json_array();

    for (int i = 0; i < m->n_doubts; i++)
        json_array_append_new(a, json_string(m->doubt[i]));
    return a;
}

static void set_counts(const struct measurement *m, json_t *root)
{
    const struct tally *t = m->tally;

    json_object_set_new(root, "offered_rps", report_rounded(measurement_offered(m), 3));
    json_object_set_new(root, "achieved_rps", report_rounded(measurement_achieved(m), 3));
    json_object_set_new(root, "goodput_rps", report_rounded(measurement_goodput(m), 3));
    json_object_set_new(root, "sent", json_integer(t->sent));
    json_object_set_new(root, "answered", json_integer(t->answered));
    json_object_set_new(root, "errors", json_integer(t->errors));
    json_object_set_new(root, "errors_by_kind", errors_json(t));
    json_object_set_new(root, "refused", json_integer((json_int_t)t->refusal.count));
    json_object_set_new(root, "refusal_ms", refusal_json(&t->refusal));
    json_object_set_new(root, "known", json_integer(t->known));
    json_object_set_new(root, "retried", json_integer(t->retried));
    json_object_set_new(root, "seconds", report_rounded(t->seconds, 3));
    json_object_set_new(root, "latency_ms", measurement_latency(&t->latency));
    json_object_set_new(root, "histogram", histogram_json(&t->latency));
    if (m->options.group)
        json_object_set_new(root, "query_latency_ms", measurement_latency(&t->query));
    json_object_set_new(root, "accuracy", share_of(t->right, t->labelled));
    json_object_set_new(root, "exits", exits_json(m));
}

json_t *measurement_document(const struct measurement *m)
{
    json_t *root = json_pack("{s:s, s:i, s:b, s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "format",
                             "freezeline-bench", "version", 1, "valid", m->n_doubts == 0, "doubt",
                             m->n_doubts ? json_string(m->doubt[0]) : json_null(), "doubts", doubts_json(m),
                             "label", m->of->label, "started", m->started, "machine", machine_json(),
                             "pipeline", configuration_json(m->of), "load", load_json(m));

    if (!root)
        return NULL;
    set_counts(m, root);
    attribution_json(m->tally->attribution, root);
    json_object_set_new(root, "generator", generator_json(m));
    set_costs(m, root);
    json_object_set_new(root, "timeline", timeline_json(m->tally));
    json_object_set_new(root, "events", measurement_events(m));
    return root;
}
