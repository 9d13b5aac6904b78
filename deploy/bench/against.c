/* against.c - rounds over configurations, ratios between them */
#include "against.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "deploy/tool/report.h"
#include "deploy/tool/statistics.h"
#include "deploy/tool/table.h"

#define WARM_UP_SHARE 0.2                               /* of a round, at most */
#define LEAST_BEYOND  10                                /* requests beyond a percentile, for its interval */
#define BUCKET        (1.0 / (1 << HISTOGRAM_SUB_BITS)) /* of a histogram, relative */

static const char *const metric_names[] = {"mean", "p50", "p99", "throughput"};
static const double share_of[] = {0, 0.5, 0.99, 0}; /* of the requests: percentiles */

/* What the sum says of its load is what its first round says. */
static void describe(struct measurement *sum, const struct measurement *first)
{
    memcpy(sum->started, first->started, sizeof sum->started);
    memcpy(sum->traffic, first->traffic, sizeof sum->traffic);
    memcpy(sum->arrivals, first->arrivals, sizeof sum->arrivals);
    sum->zipf_s = first->zipf_s;
    sum->rate = first->rate;
}

/* Measures one configuration in one round and adds it to its sum. Where nothing is answered, the run ends:
 * further rounds would only wait. */
static int run_one(struct against *a, int i, int round, const struct measurement_options *o, struct error *e)
{
    struct measurement m;
    int rc = measurement_run(&m, a->of[i], o, e);

    if (!rc) {
        if (!m.tally->answered && !*m.outcome.cut_short)
            snprintf(m.outcome.cut_short, sizeof m.outcome.cut_short, "no request of round %d was answered",
                     round + 1);
        if (!*a->sum[i].started)
            describe(&a->sum[i], &m);
        a->round[i][round] = (struct against_round){m.tally->latency, m.tally->seconds};
        m.outcome.drifting = false; /* what drifts meets all configurations alike */
        measurement_merge(&a->sum[i], &m);
        a->stopped |= *m.outcome.cut_short != 0;
    }
    measurement_close(&m);
    return rc;
}

static int prepare(struct against *a, const struct configuration *of, int n,
                   const struct measurement_options *o, int rounds, struct error *e)
{
    int rc = FL_OK;

    memset(a, 0, sizeof *a);
    for (int i = 0; !rc && i < n; i++) {
        struct measurement *sum = &a->sum[i];
        a->n = i + 1;
        a->of[i] = sum->of = &of[i];
        sum->options = *o;
        a->round[i] = calloc((size_t)rounds, sizeof *a->round[0]);
        if (tally_new(&sum->tally) || !a->round[i])
            return error_set(e, FL_NOMEM, "no memory for %d rounds", rounds);
        rc = traffic_new(&a->traffic[i], o->traffic, dataset_count(o->data), o->seed, e);
    }
    return rc;
}

/* All begin a round with the same record. */
static void line_up(struct against *a)
{
    int64_t furthest = 0;

    for (int i = 0; i < a->n; i++)
        if (traffic_picked(a->traffic[i]) > furthest)
            furthest = traffic_picked(a->traffic[i]);
    for (int i = 0; i < a->n; i++)
        traffic_skip(a->traffic[i], furthest);
}

void against_close(struct against *a)
{
    for (int i = 0; i < a->n; i++) {
        measurement_close(&a->sum[i]);
        traffic_free(a->traffic[i]);
        free(a->round[i]);
    }
    a->n = 0;
}

static double value_of(const struct histogram *h, double seconds, enum against_metric metric)
{
    if (!h->count)
        return NAN;
    switch (metric) {
    case AGAINST_MEAN:
        return histogram_mean(h);
    case AGAINST_P50:
    case AGAINST_P99:
        return (double)histogram_quantile(h, share_of[metric]);
    default:
        return seconds > 0 ? (double)h->count / seconds : NAN;
    }
}

/* What is left of the sum of all rounds without one of them. */
static void take_out(struct against_round *left, const struct against_round *round, int rounds, int one)
{
    const struct histogram *out = &round[one].latency;

    left->seconds -= round[one].seconds;
    left->latency.count -= out->count;
    left->latency.sum_ns -= out->sum_ns;
    left->latency.max_ns = 0;
    for (int i = 0; i < rounds; i++)
        if (i != one && round[i].latency.max_ns > left->latency.max_ns)
            left->latency.max_ns = round[i].latency.max_ns;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++)
        left->latency.bucket[i] -= out->bucket[i];
}

/* The metric over all rounds; without[i]: over all but the i-th. FL_NOMEM. */
static int leave_each_out(const struct against_round *round, int rounds, enum against_metric metric,
                          double *all, double without[])
{
    struct against_round *sum = calloc(1, sizeof *sum), *rest = malloc(sizeof *rest);
    int rc = sum && rest ? FL_OK : FL_NOMEM;

    for (int i = 0; !rc && i < rounds; i++) {
        sum->seconds += round[i].seconds;
        histogram_merge(&sum->latency, &round[i].latency);
    }
    if (!rc)
        *all = value_of(&sum->latency, sum->seconds, metric);
    for (int i = 0; !rc && i < rounds; i++) {
        *rest = *sum;
        take_out(rest, round, rounds, i);
        without[i] = value_of(&rest->latency, rest->seconds, metric);
    }
    free(sum);
    free(rest);
    return rc;
}

/* Half the width of the interval of the logarithm: Student's t times the jackknife's standard error. Two
 * percentiles are never known better than the buckets that they lie in. */
static double half_width(const double log_without[], int rounds, bool percentile)
{
    double mean = 0, squares = 0, grain = percentile ? 2 * BUCKET * BUCKET / 12 : 0;

    for (int i = 0; i < rounds; i++)
        mean += log_without[i] / rounds;
    for (int i = 0; i < rounds; i++)
        squares += (log_without[i] - mean) * (log_without[i] - mean);
    return statistics_t_975(rounds - 1) * sqrt(squares * (rounds - 1) / rounds + grain);
}

/* So few requests lie beyond a percentile that leaving some out says little about it. */
static bool too_few(const struct against_round *round, int rounds, enum against_metric metric)
{
    double beyond = 0;

    for (int i = 0; i < rounds; i++)
        beyond += (1 - share_of[metric]) * (double)round[i].latency.count;
    return beyond < LEAST_BEYOND;
}

struct against_ratio against_ratio(const struct against_round *of, const struct against_round *to, int rounds,
                                   enum against_metric metric)
{
    struct against_ratio out = {NAN, NAN, NAN};
    double *without_of = calloc((size_t)rounds + 1, sizeof *without_of), above,
           *without_to = calloc((size_t)rounds + 1, sizeof *without_to), below, half;

    if (without_of && without_to && rounds > 0 && !leave_each_out(of, rounds, metric, &above, without_of) &&
        !leave_each_out(to, rounds, metric, &below, without_to)) {
        for (int i = 0; i < rounds; i++)
            without_of[i] = log(without_of[i] / without_to[i]);
        half = too_few(of, rounds, metric) || too_few(to, rounds, metric)
                   ? NAN
                   : half_width(without_of, rounds, share_of[metric] > 0);
        out = (struct against_ratio){above / below, above / below * exp(-half), above / below * exp(half)};
    }
    free(without_of);
    free(without_to);
    return out;
}

int against_run(struct against *a, const struct configuration *of, int n,
                const struct measurement_options *options, int rounds, struct error *e)
{
    struct measurement_options o = *options;
    int rc = prepare(a, of, n, options, rounds, e);

    o.duration_s = options->duration_s / rounds;
    o.requests = options->requests > 0 ? (options->requests + rounds - 1) / rounds : 0;
    for (int round = 0; !rc && !a->stopped && round < rounds; round++) {
        o.seed = options->seed + (uint64_t)round;
        o.warmup_s =
            options->warmup_s > 0 ? fmin(options->warmup_s, fmax(0.3, WARM_UP_SHARE * o.duration_s)) : 0;
        line_up(a);
        for (int k = 0; !rc && !a->stopped && k < n; k++) {
            int i = (round + k) % n;
            snprintf(o.phase, sizeof o.phase, "round %d of %d: %.20s", round + 1, rounds, of[i].label);
            o.going_on = a->traffic[i];
            rc = run_one(a, i, round, &o, e);
        }
        a->rounds += !rc && !a->stopped;
    }
    for (int i = 1; i < n; i++)
        for (int k = 0; k < AGAINST_METRICS; k++)
            a->ratio[i][k] = against_ratio(a->round[0], a->round[i], a->rounds, (enum against_metric)k);
    return rc;
}

const char *against_cut_short(const struct against *a)
{
    for (int i = 0; i < a->n; i++)
        if (*a->sum[i].outcome.cut_short)
            return a->sum[i].outcome.cut_short;
    return "";
}

static json_t *ratio_json(const struct against *a, int to, enum against_metric metric)
{
    struct against_ratio r = a->ratio[to][metric];

    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o}", "of", a->of[0]->label, "to", a->of[to]->label,
                     "metric", metric_names[metric], "ratio", report_rounded(r.ratio, 4), "low",
                     report_rounded(r.low, 4), "high", report_rounded(r.high, 4));
}

json_t *against_json(const struct against *a)
{
    json_t *configurations = json_array(), *ratios = json_array();

    for (int i = 0; i < a->n; i++)
        json_array_append_new(configurations, measurement_document(&a->sum[i]));
    for (int i = 1; i < a->n; i++)
        for (int k = 0; k < AGAINST_METRICS; k++)
            json_array_append_new(ratios, ratio_json(a, i, (enum against_metric)k));
    return json_pack("{s:i, s:o, s:o}", "rounds", a->rounds, "configurations", configurations, "ratios",
                     ratios);
}

static int print_configurations(const struct against *a, struct error *e)
{
    struct table *t;

    t = table_new("ms|requests|answered/s|mean|p50|p99|CPU ms/request|", "lrrrrrrl");
    for (int i = 0; i < a->n; i++) {
        const struct measurement *m = &a->sum[i];
        const struct histogram *h = &m->tally->latency;
        table_cells(t, "%s|%lld|%.1f", a->of[i]->label, (long long)m->tally->answered,
                    measurement_achieved(m));
        for (int k = AGAINST_MEAN; k <= AGAINST_P99; k++)
            table_cells(t, "%.3f", value_of(h, 1, (enum against_metric)k) / NS_PER_MS);
        table_number(t, "%.3f", 1000 * m->server_cpu_s / (double)h->count);
        table_cells(t, "%s%.70s", m->n_doubts ? "INVALID: " : "", m->n_doubts ? m->doubt[0] : "");
    }
    printf("\n%d rounds\n", a->rounds);
    return table_end(t, e);
}

static int print_ratios(const struct against *a, struct error *e)
{
    struct table *t;

    t = table_new("ratio, 95% interval over rounds|mean|p50|p99|throughput", "lllll");
    for (int i = 1; i < a->n; i++) {
        table_cells(t, "%s / %s", a->of[0]->label, a->of[i]->label);
        for (int k = 0; k < AGAINST_METRICS; k++) {
            struct against_ratio r = a->ratio[i][k];
            if (isfinite(r.low) && isfinite(r.high))
                table_cells(t, "%.3f [%.3f .. %.3f]", r.ratio, r.low, r.high);
            else
                table_cells(t, "%.3f", r.ratio);
        }
    }
    printf("\n");
    return table_end(t, e);
}

/* The first line says what the first configuration saves. */
static void print_savings(const struct against *a)
{
    for (int i = 1; i < a->n; i++) {
        struct against_ratio r = a->ratio[i][AGAINST_MEAN];
        const char *of = a->of[0]->label, *to = a->of[i]->label;
        if (!isfinite(r.low) || !isfinite(r.high))
            continue;
        if (r.low > 1 || r.high < 1)
            printf("%s takes %.0f%% %s time than %s, on average\n", of, 100 * fabs(1 - r.ratio),
                   r.ratio < 1 ? "less" : "more", to);
        else
            printf("%s and %s take the same time on average, within the noise\n", of, to);
    }
}

int against_print(const struct against *a, struct error *e)
{
    int rc;

    print_savings(a);
    rc = print_configurations(a, e);

    return rc || !a->rounds ? rc : print_ratios(a, e);
}
