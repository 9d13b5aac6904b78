/* attribution.c - sums of the parts of requests, over all, by stage, by latency */
#include "attribution.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "numbers/histogram.h"
#include "deploy/tool/report.h"

#define MIDDLE_FROM 0.45
#define MIDDLE_TO   0.55

const char *const part_names[PARTS] = {"client",  "broker", "wire",      "queue",
                                       "compute", "lookup", "serialise", "residual"};

/* Requests that belong together: of one bucket of latency, or answered by one exit. */
struct sums {
    uint64_t count;
    double part_ns[PARTS];
};

/* Sums over the requests that ran this stage. */
struct stage_sums {
    uint64_t entered, exited; /* exited: answered by one of its exits */
    double batch, wire_ns, queue_ns, compute_ns, exposed_ns, hidden_ns, serialise_ns;
};

struct attribution {
    uint64_t count, hits, clock_error_ns;
    double lookup_wire_ns, lookup_queue_ns, lookup_ns; /* of answering look-ups */
    double return_ns;
    int n_stages;
    struct stage_sums stage[PIPELINE_MAX_STAGES];
    struct sums by_exit[PIPELINE_MAX_EXITS + 1]; /* the last: by the network */
    struct sums by_latency[HISTOGRAM_BUCKETS];
};

int attribution_new(struct attribution **out)
{
    *out = calloc(1, sizeof **out);
    return *out ? FL_OK : FL_NOMEM;
}

void attribution_free(struct attribution *a)
{
    free(a);
}

/* The answering look-up lies on the path of an early answer only. */
static double answering_ns(const struct answer *answer)
{
    if (answer->exit < 0)
        return 0;
    return (double)answer->lookup_wire_ns + (double)answer->lookup_queue_ns + (double)answer->lookup_ns;
}

void attribution_of(const struct answer *answer, uint64_t latency_ns, double part_ns[PARTS])
{
    double known = 0;
    for (int i = 0; i < PARTS; i++)
        part_ns[i] = 0;
    part_ns[PART_CLIENT] = (double)latency_ns - (double)answer->total_ns;
    part_ns[PART_BROKER] = (double)answer->broker_ns;
    part_ns[PART_WIRE] = (double)answer->return_ns;
    part_ns[PART_LOOKUP] = answering_ns(answer);
    for (int i = 0; i < answer->trace.n; i++) {
        const struct stage_time *t = &answer->trace.stage[i];
        part_ns[PART_WIRE] += (double)t->wire_ns;
        part_ns[PART_QUEUE] += (double)t->queue_ns;
        part_ns[PART_COMPUTE] += (double)t->compute_ns;
        part_ns[PART_LOOKUP] += (double)t->lookup_ns;
        part_ns[PART_SERIALISE] += (double)t->serialise_ns;
    }
    for (int i = 0; i < PART_RESIDUAL; i++)
        known += part_ns[i];
    part_ns[PART_RESIDUAL] = (double)latency_ns - known;
}

static void add_stages(struct attribution *a, const struct answer *answer)
{
    for (int i = 0; i < answer->trace.n; i++) {
        const struct stage_time *t = &answer->trace.stage[i];
        bool exits = answer->exit >= 0 && i == answer->trace.n - 1;
        struct stage_sums *s;
        if (t->stage >= PIPELINE_MAX_STAGES)
            continue;
        if ((int)t->stage >= a->n_stages)
            a->n_stages = (int)t->stage + 1;
        s = &a->stage[t->stage];
        s->entered++;
        s->exited += exits;
        s->batch += t->batch;
        s->wire_ns += (double)t->wire_ns;
        s->queue_ns += (double)t->queue_ns;
        s->compute_ns += (double)t->compute_ns;
        s->exposed_ns += (double)t->lookup_ns + (exits ? answering_ns(answer) : 0);
        s->hidden_ns += (double)t->hidden_ns;
        s->serialise_ns += (double)t->serialise_ns;
    }
}

static int exit_index(int exit)
{
    return exit >= 0 && exit < PIPELINE_MAX_EXITS ? exit : PIPELINE_MAX_EXITS;
}

static void add_sums(struct sums *to, uint64_t count, const double part_ns[PARTS])
{
    to->count += count;
    for (int i = 0; i < PARTS; i++)
        to->part_ns[i] += part_ns[i];
}

void attribution_add(struct attribution *a, const struct answer *answer, uint64_t latency_ns)
{
    double part_ns[PARTS];

    attribution_of(answer, latency_ns, part_ns);
    add_sums(&a->by_latency[histogram_bucket(latency_ns)], 1, part_ns);
    add_sums(&a->by_exit[exit_index(answer->exit)], 1, part_ns);
    a->count++;
    a->return_ns += (double)answer->return_ns;
    if (answer->exit >= 0) {
        a->hits++;
        a->lookup_wire_ns += (double)answer->lookup_wire_ns;
        a->lookup_queue_ns += (double)answer->lookup_queue_ns;
        a->lookup_ns += (double)answer->lookup_ns;
    }
    if (answer->clock_error_ns > a->clock_error_ns)
        a->clock_error_ns = answer->clock_error_ns;
    add_stages(a, answer);
}

static void merge_stage(struct stage_sums *to, const struct stage_sums *from)
{
    to->entered += from->entered;
    to->exited += from->exited;
    to->batch += from->batch;
    to->wire_ns += from->wire_ns;
    to->queue_ns += from->queue_ns;
    to->compute_ns += from->compute_ns;
    to->exposed_ns += from->exposed_ns;
    to->hidden_ns += from->hidden_ns;
    to->serialise_ns += from->serialise_ns;
}

void attribution_merge(struct attribution *to, const struct attribution *from)
{
    to->count += from->count;
    to->hits += from->hits;
    to->lookup_wire_ns += from->lookup_wire_ns;
    to->lookup_queue_ns += from->lookup_queue_ns;
    to->lookup_ns += from->lookup_ns;
    to->return_ns += from->return_ns;
    if (from->clock_error_ns > to->clock_error_ns)
        to->clock_error_ns = from->clock_error_ns;
    if (from->n_stages > to->n_stages)
        to->n_stages = from->n_stages;
    for (int i = 0; i < from->n_stages; i++)
        merge_stage(&to->stage[i], &from->stage[i]);
    for (int i = 0; i <= PIPELINE_MAX_EXITS; i++)
        add_sums(&to->by_exit[i], from->by_exit[i].count, from->by_exit[i].part_ns);
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
        add_sums(&to->by_latency[b], from->by_latency[b].count, from->by_latency[b].part_ns);
}

/* Means over the requests between two ranks in the order of latency. A bucket that lies across an end counts
 * with the share of it that lies within: its requests have the same latency, within the bucket's width. */
static void mean_between(const struct attribution *a, double first, double last, double part_ns[PARTS])
{
    double passed = 0;
    for (int i = 0; i < PARTS; i++)
        part_ns[i] = 0;
    if (!a->count)
        return;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS && passed < last; b++) {
        const struct sums *s = &a->by_latency[b];
        double n = (double)s->count, inside = fmin(passed + n, last) - fmax(passed, first);
        for (int i = 0; i < PARTS && inside > 0; i++)
            part_ns[i] += s->part_ns[i] * inside / n;
        passed += n;
    }
    for (int i = 0; i < PARTS; i++)
        part_ns[i] /= last - first;
}

void attribution_mean(const struct attribution *a, double part_ns[PARTS])
{
    mean_between(a, 0, (double)a->count, part_ns);
}

void attribution_middle(const struct attribution *a, double part_ns[PARTS])
{
    mean_between(a, MIDDLE_FROM * (double)a->count, MIDDLE_TO * (double)a->count, part_ns);
}

double attribution_residual_share(const double part_ns[PARTS])
{
    double sum = 0;
    for (int i = 0; i < PARTS; i++)
        sum += part_ns[i];
    return sum > 0 ? fabs(part_ns[PART_RESIDUAL]) / sum : 0;
}

/* --- JSON --- */

/* sum / n in ms; null when n is 0. */
static json_t *mean_ms(double sum_ns, uint64_t n)
{
    return n ? report_rounded(sum_ns / (double)n / NS_PER_MS, 6) : json_null();
}

static json_t *parts_json(const double part_ns[PARTS], uint64_t n)
{
    json_t *o = json_object();
    for (int i = 0; i < PARTS; i++)
        json_object_set_new(o, part_names[i], mean_ms(part_ns[i], n));
    return o;
}

json_t *attribution_exit_json(const struct attribution *a, int exit)
{
    const struct sums *s = &a->by_exit[exit_index(exit)];
    return parts_json(s->part_ns, s->count);
}

static json_t *share_json(const struct attribution *a, const double part_ns[PARTS])
{
    return a->count ? report_rounded(attribution_residual_share(part_ns), 6) : json_null();
}

static json_t *stage_json(int stage, const struct stage_sums *s)
{
    uint64_t n = s->entered;
    json_t *o = json_object();
    json_object_set_new(o, "stage", json_integer(stage));
    json_object_set_new(o, "entered", json_integer((json_int_t)n));
    json_object_set_new(o, "exited", json_integer((json_int_t)s->exited));
    json_object_set_new(o, "batch_mean", n ? report_rounded(s->batch / (double)n, 3) : json_null());
    json_object_set_new(o, "wire_ms", mean_ms(s->wire_ns, n));
    json_object_set_new(o, "queue_ms", mean_ms(s->queue_ns, n));
    json_object_set_new(o, "compute_ms", mean_ms(s->compute_ns, n));
    json_object_set_new(o, "lookup_exposed_ms", mean_ms(s->exposed_ns, n));
    json_object_set_new(o, "lookup_hidden_ms", mean_ms(s->hidden_ns, n));
    json_object_set_new(o, "serialise_ms", mean_ms(s->serialise_ns, n));
    return o;
}

int attribution_json(const struct attribution *a, json_t *document)
{
    double mean[PARTS], middle[PARTS];
    json_t *stages = json_array();
    int rc = 0;

    attribution_mean(a, mean);
    attribution_middle(a, middle);
    for (int i = 0; i < a->n_stages; i++)
        json_array_append_new(stages, stage_json(i, &a->stage[i]));
    rc |= json_object_set_new(document, "parts_ms", parts_json(mean, a->count > 0));
    rc |= json_object_set_new(document, "parts_p50_ms", parts_json(middle, a->count > 0));
    rc |= json_object_set_new(document, "residual_share", share_json(a, mean));
    rc |= json_object_set_new(document, "residual_share_p50", share_json(a, middle));
    rc |= json_object_set_new(document, "answering_lookup_ms",
                              json_pack("{s:o, s:o, s:o}", "wire", mean_ms(a->lookup_wire_ns, a->hits),
                                        "queue", mean_ms(a->lookup_queue_ns, a->hits), "service",
                                        mean_ms(a->lookup_ns, a->hits)));
    rc |= json_object_set_new(document, "return_ms", mean_ms(a->return_ns, a->count));
    rc |= json_object_set_new(document, "stages", stages);
    rc |= json_object_set_new(document, "clock",
                              json_pack("{s:o}", "error_us",
                                        a->count && a->clock_error_ns != UINT64_MAX
                                            ? report_rounded((double)a->clock_error_ns / NS_PER_US, 3)
                                            : json_null()));
    return rc ? FL_NOMEM : FL_OK;
}
