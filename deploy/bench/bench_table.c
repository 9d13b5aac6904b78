/* bench_table.c - tables of latencies and a few lines about them */
#include "bench_table.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "deploy/tool/statistics.h"
#include "deploy/tool/table.h"

static const double shares[] = {0.5, 0.9, 0.95, 0.99, 0.999, 0.9999};

#define SHARES (int)(sizeof shares / sizeof *shares)

static void ms_cell(struct table *t, double ns)
{
    double ms = ns / NS_PER_MS;

    table_cells(t, "%.*f", ms < 1000 ? 3 : 1, ms);
}

/* Of fewer requests a percentile is only the slowest one. */
static bool told_by(const struct histogram *h, double share)
{
    return share <= 0.5 || (double)h->count * (1 - share) > 1 - 1e-9;
}

static void latency_row(struct table *t, const char *who, const struct histogram *h)
{
    if (!h->count)
        return;
    table_cells(t, "%s|%llu", who, (unsigned long long)h->count);
    ms_cell(t, histogram_mean(h));
    for (int i = 0; i < SHARES; i++)
        if (told_by(h, shares[i]))
            ms_cell(t, (double)histogram_quantile(h, shares[i]));
        else
            table_cells(t, "-");
    ms_cell(t, (double)h->max_ns);
}

/* One side of the percentiles' 95% intervals; "-" where so few requests do not bound it. */
static void interval_row(struct table *t, const char *side, const struct histogram *h, bool upper)
{
    int64_t rank[2], n = (int64_t)h->count;

    if (!n)
        return;
    table_cells(t, "%s||", side);
    for (int i = 0; i < SHARES; i++) {
        statistics_quantile_ranks(n, shares[i], &rank[0], &rank[1]);
        if (rank[upper] < 1 || rank[upper] > n)
            table_cells(t, "-");
        else
            ms_cell(t, (double)histogram_rank(h, (uint64_t)rank[upper]));
    }
    table_cells(t, "%s", "");
}

static void warn_of_few(const struct histogram *h)
{
    int64_t low, high, n = (int64_t)h->count;

    statistics_quantile_ranks(n, 0.99, &low, &high);
    if (n && high > n)
        printf("%lld request%s cannot bound p99 from above: send more\n", (long long)n, n > 1 ? "s" : "");
}

static int print_latencies(const struct measurement *m, struct error *e)
{
    const struct tally *tally = m->tally;
    struct table *t;
    int rc;

    t = table_new("latency, ms|requests|mean|p50|p90|p95|p99|p99.9|p99.99|max", "lrrrrrrrrr");
    latency_row(t, "all", &tally->latency);
    interval_row(t, "  95% from", &tally->latency, false);
    interval_row(t, "      to", &tally->latency, true);
    latency_row(t, "queries", &tally->query);
    for (int i = 0; i < PIPELINE_MAX_EXITS; i++)
        latency_row(t, model_shape_exit(m->of->model, i), &tally->exit[i].latency);
    latency_row(t, "network", &tally->exit[TALLY_NETWORK].latency);
    rc = table_end(t, e);
    warn_of_few(&tally->latency);
    return rc;
}

static void print_exit(const struct measurement *m, const char *name, const struct tally_exit *x)
{
    if (!x->answered)
        return;
    printf(" %s %.1f%%", name, 100 * (double)x->answered / (double)m->tally->answered);
    if (x->labelled)
        printf(" (%.1f%% right)", 100 * (double)x->right / (double)x->labelled);
}

static void print_exits(const struct measurement *m)
{
    const struct tally *t = m->tally;

    printf("\nanswered by:");
    for (int i = 0; i < m->of->model->n_exits; i++)
        print_exit(m, m->of->model->exit[i].name, &t->exit[i]);
    print_exit(m, "network", &t->exit[TALLY_NETWORK]);
    if (t->labelled)
        printf("\naccuracy: %.2f%% of %lld\n", 100 * (double)t->right / (double)t->labelled,
               (long long)t->labelled);
    else
        printf("\naccuracy: not known, the data has no labels\n");
}

static void print_parts(const struct measurement *m)
{
    double mean[PARTS], middle[PARTS];

    attribution_mean(m->tally->attribution, mean);
    attribution_middle(m->tally->attribution, middle);
    printf("where the time goes, ms (mean / at the median):");
    for (int i = 0; i < PARTS; i++)
        printf("%s %s %.3f / %.3f", i ? "," : "", part_names[i], mean[i] / NS_PER_MS, middle[i] / NS_PER_MS);
    printf(" (%.1f%% / %.1f%% unexplained)\n", 100 * attribution_residual_share(mean),
           100 * attribution_residual_share(middle));
}

static void print_counts(const struct measurement *m)
{
    const struct tally *t = m->tally;

    printf("%s: %lld requests in %.1f s after %.1f s of warm-up: ", m->of->label, (long long)t->sent,
           t->seconds, m->outcome.warmup_s);
    if (isfinite(measurement_offered(m)))
        printf("offered %.1f/s, ", measurement_offered(m));
    printf("answered %.1f/s, %lld errors", measurement_achieved(m), (long long)t->errors);
    if (t->errors)
        printf(" (%.3g%% of the requests)", 100 * (double)t->errors / (double)t->sent);
    printf("\n");
    if (t->errors || t->in_time < t->answered)
        printf("  within the deadline of %.4g ms: %.1f/s\n", (double)t->deadline_ns / NS_PER_MS,
               measurement_goodput(m));
    if (t->refusal.count)
        printf("  refused at once: %llu, p50 %.3f ms, p99 %.3f ms\n", (unsigned long long)t->refusal.count,
               (double)histogram_quantile(&t->refusal, 0.5) / NS_PER_MS,
               (double)histogram_quantile(&t->refusal, 0.99) / NS_PER_MS);
    for (int i = 1; i < FL_CODES; i++)
        if (t->error[i])
            printf("  %s: %lld\n", error_name(i), (long long)t->error[i]);
    if (t->lost)
        printf("  lost: %lld\n", (long long)t->lost);
    if (m->options.arrivals)
        printf("load: %s arrivals", m->arrivals);
    else
        printf("load: closed loop, %d in flight", m->options.group ? m->options.group : m->options.closed);
    if (m->of->clients > 1)
        printf(", %d clients", m->of->clients);
    printf(", %s traffic, %.1f%% of the requests showed a record again\n", m->traffic,
           100 * (double)t->repeats / fmax(1, (double)t->sent));
    if (t->known)
        printf("known before: %lld answers (%.1f%%) came from the response cache; they count where they were "
               "computed\n",
               (long long)t->known, 100 * (double)t->known / fmax(1, (double)t->answered));
    putchar('\n');
}

static void print_costs(const struct measurement *m)
{
    double n = (double)m->tally->answered;

    if (isfinite(m->server_cpu_s))
        printf("CPU time per request: %.3f ms, ", 1000 * m->server_cpu_s / n);
    if (isfinite(m->joules))
        printf("energy per request: %.3f J, ", m->joules / n);
    else
        printf("energy: not exposed here, ");
    printf("the sender used %.0f%% of a core", 100 * m->outcome.cpu_s / fmax(m->outcome.end_s, 1e-9));
    if (m->options.arrivals && !m->of->whole)
        printf(", late by %.0f us at p99", (double)histogram_quantile(&m->tally->lateness, 0.99) / NS_PER_US);
    printf("\n");
}

/* Of many only the first ones: the document has all. */
static void print_events(const struct measurement *m)
{
    json_t *events = measurement_events(m), *one;
    size_t i, n = json_array_size(events), most = 12;

    for (i = 0; i < n && i < most; i++) {
        one = json_array_get(events, i);
        printf("%s at %.1f s: %s\n", i ? "       " : "events:", json_number_value(json_object_get(one, "t")),
               json_string_value(json_object_get(one, "text")));
    }
    if (n > most)
        printf("        and %zu more: --json has them\n", n - most);
    json_decref(events);
}

int bench_table_print(const struct measurement *m, struct error *e)
{
    int rc;

    print_counts(m);
    if ((rc = print_latencies(m, e)))
        return rc;
    if (m->tally->answered) {
        print_exits(m);
        print_parts(m);
        print_costs(m);
    }
    print_events(m);
    for (int i = 0; i < m->n_doubts; i++)
        printf("%s%s\n", i ? "         " : "INVALID: ", m->doubt[i]);
    if (!m->n_doubts)
        printf("valid\n");
    return FL_OK;
}
