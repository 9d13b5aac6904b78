/* against.c - rounds over configurations, ratios between them */
#include "against.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/samples.h"
#include "cache_service/shuffle.h"
#include "report.h"
#include "table.h"

#define RESAMPLES       1000
#define BOOTSTRAP_DRAWS 31  /* stream of random numbers */
#define WARM_UP_SHARE   0.2 /* of a round, at most */

static const char *const metric_names[] = {"mean", "p50", "p99", "throughput"};

/* What the sum says of its load is what its first round says. */
static void describe(struct measurement *sum, const struct measurement *first)
{
    memcpy(sum->started, first->started, sizeof sum->started);
    memcpy(sum->traffic, first->traffic, sizeof sum->traffic);
    memcpy(sum->arrivals, first->arrivals, sizeof sum->arrivals);
    sum->zipf_s = first->zipf_s;
    sum->rate = first->rate;
}

/* One configuration in one round: a measurement that is added to its sum. Where nothing is answered any more,
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
        return (double)histogram_quantile(h, 0.5);
    case AGAINST_P99:
        return (double)histogram_quantile(h, 0.99);
    default:
        return seconds > 0 ? (double)h->count / seconds : NAN;
    }
}

/* The metric over the rounds drawn[0..n). `into` is scratch. Only percentiles need all buckets. */
static double over_rounds(const struct against_round *round, const int *drawn, int n, struct histogram *into,
                          enum against_metric metric)
{
    double seconds = 0;

    histogram_reset(into);
    for (int i = 0; i < n; i++) {
        const struct against_round *r = &round[drawn[i]];
        seconds += r->seconds;
        if (metric == AGAINST_P50 || metric == AGAINST_P99) {
            histogram_merge(into, &r->latency);
        } else {
            into->count += r->latency.count;
            into->sum_ns += r->latency.sum_ns;
        }
    }
    return value_of(into, seconds, metric);
}

struct against_ratio against_ratio(const struct against_round *of, const struct against_round *to, int rounds,
                                   enum against_metric metric, uint64_t seed)
{
    struct against_ratio out = {NAN, NAN, NAN};
    struct histogram *into = malloc(sizeof *into);
    double *sample = malloc(sizeof *sample * RESAMPLES);
    int *drawn = malloc(sizeof *drawn * (size_t)(rounds > 0 ? rounds : 1));
    struct shuffle random;
    int n = 0;

    shuffle_seed(&random, seed, BOOTSTRAP_DRAWS);
    for (int i = 0; into && sample && drawn && rounds > 0 && i <= RESAMPLES; i++) {
        double ratio;
        for (int k = 0; k < rounds; k++)
            drawn[k] = i ? (int)shuffle_below(&random, (uint32_t)rounds) : k; /* first all as they are */
        ratio = over_rounds(of, drawn, rounds, into, metric) / over_rounds(to, drawn, rounds, into, metric);
        if (!i)
            out.ratio = ratio;
        else if (isfinite(ratio))
            sample[n++] = ratio;
    }
    if (n > 0) {
        samples_sort(sample, n);
        out.low = sample[(int)(0.025 * n)];
        out.high = sample[(int)(0.975 * n)];
    }
    free(into);
    free(sample);
    free(drawn);
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
            a->ratio[i][k] =
                against_ratio(a->round[0], a->round[i], a->rounds, (enum against_metric)k, options->seed);
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
    int rc;

    if (table_new(&t, "ms|requests|answered/s|mean|p50|p99|CPU ms/request|", "lrrrrrrl"))
        return error_set(e, FL_NOMEM, "no memory for a table");
    for (int i = 0; i < a->n; i++) {
        const struct measurement *m = &a->sum[i];
        const struct histogram *h = &m->tally->latency;
        table_cell(t, "%s", a->of[i]->label);
        table_cell(t, "%lld", (long long)m->tally->answered);
        table_cell(t, "%.1f", measurement_achieved(m));
        for (int k = AGAINST_MEAN; k <= AGAINST_P99; k++)
            table_cell(t, "%.3f", value_of(h, 1, (enum against_metric)k) / NS_PER_MS);
        if (isfinite(m->server_cpu_s))
            table_cell(t, "%.3f", 1000 * m->server_cpu_s / (double)h->count);
        else
            table_cell(t, "-");
        table_cell(t, "%s%.70s", m->n_doubts ? "INVALID: " : "", m->n_doubts ? m->doubt[0] : "");
    }
    printf("\n%d rounds\n", a->rounds);
    rc = table_print(t, stdout, 0, e);
    table_free(t);
    return rc;
}

static int print_ratios(const struct against *a, struct error *e)
{
    struct table *t;
    int rc;

    if (table_new(&t, "ratio, 95% interval over rounds|mean|p50|p99|throughput", "lllll"))
        return error_set(e, FL_NOMEM, "no memory for a table");
    for (int i = 1; i < a->n; i++) {
        table_cell(t, "%s / %s", a->of[0]->label, a->of[i]->label);
        for (int k = 0; k < AGAINST_METRICS; k++) {
            struct against_ratio r = a->ratio[i][k];
            table_cell(t, "%.3f [%.3f .. %.3f]", r.ratio, r.low, r.high);
        }
    }
    printf("\n");
    rc = table_print(t, stdout, 0, e);
    table_free(t);
    return rc;
}

int against_print(const struct against *a, struct error *e)
{
    int rc = print_configurations(a, e);

    return rc || !a->rounds ? rc : print_ratios(a, e);
}
