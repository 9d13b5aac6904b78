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

/* The trace that its time is told in, if it is. */
static bool find_trace(const struct pipeline *p, const struct http_call *c, struct trace_id *out)
{
    if (!p->traces.to || c->reply.status != 200)
        return false;
    *out = (struct trace_id){c->context.high, c->context.low};
    if (!(c->context.high | c->context.low))
        *out = trace_id_of(c->row[0].request);
    return !c->row[0].known && (c->context.sampled || sampling_traces(c->row[0].request, p->traces.share));
}

static void keep_exemplar(struct exemplar *x, struct trace_id trace, double took)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *x = (struct exemplar){trace.high, trace.low, took, (double)now.tv_sec + (double)now.tv_nsec / NS_PER_S};
}

void metrics_took(struct http_counts *h, const struct pipeline *p, const struct http_call *c, uint64_t ns)
{
    struct trace_id trace;
    double seconds = (double)ns / NS_PER_S;
    int i = 0;
    add(c->reply.status == 200 ? &h->success : &h->fail, ns);
    for (int row = 0; c->reply.status == 200 && row < c->request.rows; row++) {
        const struct trace *t = &c->row[row].trace;
        uint64_t queue = 0, compute = 0;
        for (int k = 0; k < t->n; k++) {
            queue += t->stage[k].queue_ns;
            compute += t->stage[k].compute_ns;
        }
        add(&h->queue, queue);
        add(&h->compute, compute);
    }
    while (i < METRICS_BUCKETS && seconds > metrics_bucket[i])
        i++;
    h->took[i]++;
    h->took_sum += seconds;
    if (find_trace(p, c, &trace))
        keep_exemplar(&h->exemplar[i], trace, seconds);
}

static void put_sum(struct json_text *out, const char *name, const struct http_sum *s)
{
    json_text_format(out, "\"%s\":{\"count\":%llu,\"ns\":%llu}", name, (unsigned long long)s->count,
                     (unsigned long long)s->ns);
}

void metrics_stats_text(struct json_text *out, const struct pipeline *p, const struct http_counts *h)
{
    json_text_format(out,
                     "{\"model_stats\":[{\"name\":\"%s\",\"version\":\"1\",\"inference_count\":%llu,"
                     "\"execution_count\":%llu,\"inference_stats\":{",
                     p->name, (unsigned long long)h->compute.count, (unsigned long long)h->success.count);
    put_sum(out, "success", &h->success);
    json_text_bytes(out, ",", 1);
    put_sum(out, "fail", &h->fail);
    json_text_bytes(out, ",", 1);
    put_sum(out, "queue", &h->queue);
    json_text_bytes(out, ",", 1);
    put_sum(out, "compute_infer", &h->compute);
    json_text_format(out, "}}]}");
}
