/* http_counts.c - see http_counts.h */
#include "http_counts.h"

#include <time.h>

#include "base/clock.h"
#include "broker/state/sampling.h"
#include "broker/trace/otlp_text.h"

const double metrics_bucket[METRICS_BUCKETS] = {0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                0.05,    0.1,    0.25,  0.5,    1,     2.5,  10};

void metrics_count(struct http_counts *h, int status)
{
    if (status >= 0 && status < METRICS_STATUSES)
        h->reply[status]++;
}

static void add(struct http_sum *to, uint64_t ns)
{
    to->count++;
    to->ns += ns;
}

/* Where the time of an answered request went. Rows that are known went nowhere. */
static void add_rows(struct http_counts *h, const struct http_call *c)
{
    uint64_t rows = (uint64_t)c->request.rows;
    for (uint64_t row = 0; row < rows; row++) {
        const struct trace *t = &c->row[row].trace;
        uint64_t queue = 0, compute = 0;
        if (c->row[row].known) {
            add(&h->known, c->row[row].total_ns);
            continue;
        }
        for (int k = 0; k < t->n; k++) {
            queue += t->stage[k].queue_ns;
            compute += t->stage[k].compute_ns;
        }
        add(&h->input, c->read_ns / rows);
        add(&h->queue, queue);
        add(&h->compute, compute);
        add(&h->output, c->told_ns / rows);
    }
    h->last_ms = clock_wall_ms();
}

/* The trace that its time is told in, if it is. */
static bool find_trace(const struct settings *s, const struct http_call *c, struct trace_id *out)
{
    struct trace_settings t = settings_traces(s);
    if (!t.on || c->reply.status != 200)
        return false;
    *out = (struct trace_id){c->context.high, c->context.low};
    if (!(c->context.high | c->context.low))
        *out = trace_id_of(c->row[0].request);
    /* Of those that are counted the broker alone knows which came first. */
    return !c->row[0].known &&
           (c->context.sampled || (t.left < 0 && sampling_traces(c->row[0].request, t.share)));
}

static void keep_exemplar(struct exemplar *x, struct trace_id trace, double took)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *x = (struct exemplar){trace.high, trace.low, took, (double)now.tv_sec + (double)now.tv_nsec / NS_PER_S};
}

void metrics_took(struct http_counts *h, const struct settings *s, const struct http_call *c, uint64_t ns)
{
    struct trace_id trace;
    double seconds = (double)ns / NS_PER_S;
    int i = 0;
    add(c->reply.status == 200 ? &h->success : &h->fail, ns);
    if (c->reply.status == 200)
        add_rows(h, c);
    while (i < METRICS_BUCKETS && seconds > metrics_bucket[i])
        i++;
    h->took[i]++;
    h->took_sum += seconds;
    if (find_trace(s, c, &trace))
        keep_exemplar(&h->exemplar[i], trace, seconds);
}

/* Each of them, though it be 0: perf_analyzer reads all without asking whether they are there. */
void metrics_stats_text(struct json_text *out, const struct pipeline *p, const struct http_counts *h)
{
    static const struct http_sum none;
    const struct {
        const char *name;
        const struct http_sum *sum;
    } sums[] = {{"success", &h->success},       {"fail", &h->fail},
                {"queue", &h->queue},           {"compute_input", &h->input},
                {"compute_infer", &h->compute}, {"compute_output", &h->output},
                {"cache_hit", &h->known},       {"cache_miss", &none}};
    json_text_format(out,
                     "{\"model_stats\":[{\"name\":\"%s\",\"version\":\"1\",\"last_inference\":%llu,"
                     "\"inference_count\":%llu,\"execution_count\":%llu,\"inference_stats\":{",
                     p->name, (unsigned long long)h->last_ms, (unsigned long long)h->compute.count,
                     (unsigned long long)h->success.count);
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        json_text_format(out, "%s\"%s\":{\"count\":%llu,\"ns\":%llu}", i ? "," : "", sums[i].name,
                         (unsigned long long)sums[i].sum->count, (unsigned long long)sums[i].sum->ns);
    json_text_put(out, "},\"batch_stats\":[]}]}");
}
