/* bench_sample.h - a bench document with everything in it, for tests of what reads them */
#ifndef FREEZELINE_BENCH_SAMPLE_H
#define FREEZELINE_BENCH_SAMPLE_H

#include <assert.h>
#include <jansson.h>
#include <math.h>

/* All but the distributions, which sample_document adds. */
static const char sample_text[] =
    "{'format': 'freezeline-bench', 'version': 1, 'valid': true, 'doubt': null, 'doubts': [],"
    " 'label': 'demo <\\u00e9>', 'started': '2026-01-02T03:04:05Z',"
    " 'machine': {'cpu': 'A CPU', 'cores': 2, 'memory_bytes': 8000000000, 'kernel': 'Linux 6.1', 'governor': "
    "'performance',"
    "  'blas_core': 'Haswell', 'conv_engine': 'onednn', 'freezeline': '1', 'zmq': '4.3.4', 'openblas': "
    "'0.3.21',"
    "  'onednn': '2.6.3', 'revision': 'abc'},"
    " 'pipeline': {'file': 'demo.yaml', 'model': 'demo.onnx', 'model_bytes': 100000, 'stages': 2, "
    "'replicas': [2, 1],"
    "  'exits': ['a', 'b'], 'caches': true, 'promise': 'at most 0.5 points'},"
    " 'load': {'loop': 'open', 'scenario': null, 'arrivals': 'poisson', 'rate': 100, 'closed': null, "
    "'traffic': 'zipf',"
    "  'zipf_s': 1.1, 'seed': 1, 'data': 'cifar10:x.bin', 'warmup_seconds': 1, 'warmup_requests': 100, "
    "'seconds': 10},"
    " 'offered_rps': 100, 'achieved_rps': 99.9, 'sent': 1010, 'answered': 1000, 'errors': 10,"
    " 'errors_by_kind': {'deadline': 10}, 'retried': 0, 'seconds': 10, 'accuracy': 0.95,"
    " 'parts_ms': {'client': 0.1, 'broker': 0.1, 'wire': 0.2, 'queue': 0.3, 'compute': 2, 'lookup': 0.2,"
    "  'serialise': 0.05, 'residual': -0.01},"
    " 'parts_p50_ms': {'client': 0.1, 'broker': 0.1, 'wire': 0.2, 'queue': 0.2, 'compute': 1.8, 'lookup': "
    "0.2,"
    "  'serialise': 0.05, 'residual': 0.01}, 'residual_share': 0.003, 'residual_share_p50': 0.004,"
    " 'stages': [{'stage': 0, 'entered': 1000, 'exited': 400, 'batch_mean': 1.5, 'wire_ms': 0.1, 'queue_ms': "
    "0.2,"
    "  'compute_ms': 1, 'lookup_exposed_ms': 0.1, 'lookup_hidden_ms': 0.3, 'serialise_ms': 0.02},"
    "  {'stage': 1, 'entered': 600, 'exited': 100, 'batch_mean': 1.1, 'wire_ms': 0.1, 'queue_ms': 0.1, "
    "'compute_ms': 2,"
    "  'lookup_exposed_ms': 0.1, 'lookup_hidden_ms': 0.3, 'serialise_ms': 0.02}],"
    " 'clock': {'error_us': 0}, 'generator': {'lateness_us': {'p50': 10, 'p99': 90, 'max': 300}, "
    "'cpu_share': 0.1},"
    " 'processes': [{'role': 'broker', 'stage': null, 'replica': null, 'host': 'local', 'pid': 7, "
    "'resident_bytes': 1e7,"
    "  'cpu_seconds': 1.5}, {'role': 'stage', 'stage': 0, 'replica': 1, 'host': 'local', 'pid': 8,"
    "  'resident_bytes': 5e7, 'cpu_seconds': 3}],"
    " 'cpu_seconds_per_request': 0.004, 'joules_per_request': null, 'energy': 'not exposed here',"
    " 'timeline': [{'t': 0, 'sent': 100, 'answered': 99, 'errors': 0, 'early': 50, 'p50_ms': 3, 'p99_ms': 9},"
    "  {'t': 1, 'sent': 101, 'answered': 90, 'errors': 10, 'early': 40, 'p50_ms': 4, 'p99_ms': 90},"
    "  {'t': 2, 'sent': 99, 'answered': 101, 'errors': 0, 'early': 55, 'p50_ms': null, 'p99_ms': null}],"
    " 'events': [{'t': 1.2, 'text': 'stage 1 lost'}],"
    " 'sweep': [{'rate': 50, 'achieved_rps': 50, 'p50_ms': 2, 'p99_ms': 5, 'valid': true},"
    "  {'rate': 100, 'achieved_rps': 80, 'p50_ms': 200, 'p99_ms': 900, 'valid': false}],"
    " 'against': {'rounds': 8, 'configurations': [], 'ratios': [{'of': 'caches', 'to': 'whole', 'metric': "
    "'mean',"
    "  'ratio': 0.6, 'low': 0.55, 'high': 0.66}]}}";

/* {upper_us, count} of n values spread around `middle_us` like a bell, 1% of them in a tail ten times as
 * long. */
static json_t *sample_histogram(double middle_us, int n)
{
    json_t *upper = json_array(), *count = json_array();

    for (int i = -40; i <= 40; i++) {
        double us = middle_us * exp(i / 100.0);
        json_array_append_new(upper, json_real(us));
        json_array_append_new(count, json_integer((json_int_t)lround(n * 0.99 * exp(-i * i / 450.0) / 37.6)));
    }
    json_array_append_new(upper, json_real(middle_us * 10));
    json_array_append_new(count, json_integer(n / 100));
    return json_pack("{s:o, s:o}", "upper_us", upper, "count", count);
}

static json_t *sample_latency(double ms)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:{s:[f,f], s:[f,f]}}", "mean", ms * 1.1,
                     "min", ms / 2, "p50", ms, "p90", ms * 1.2, "p95", ms * 1.3, "p99", ms * 9, "p999",
                     ms * 10, "p9999", ms * 10, "max", ms * 10, "interval", "p50", ms * 0.99, ms * 1.01,
                     "p99", ms * 8, ms * 10);
}

/* A run with this median latency, this share answered by each of two exits and this accuracy, over n
 * requests. */
static json_t *sample_document(double median_ms, int n, double share, double accuracy)
{
    static const char *const name[] = {"a", "b", "network"};
    char text[sizeof sample_text];
    json_t *doc, *exits = json_array();

    for (size_t i = 0; i < sizeof text; i++)
        text[i] = sample_text[i] == '\'' ? '"' : sample_text[i];
    doc = json_loads(text, 0, NULL);
    assert(doc);
    for (int i = 0; i < 3; i++) {
        double part = i < 2 ? share : 1 - 2 * share;
        json_array_append_new(exits,
                              json_pack("{s:s, s:i, s:i, s:f, s:f, s:o, s:o}", "name", name[i], "stage",
                                        i > 0, "answered", (int)(n * part), "share", part, "accuracy",
                                        accuracy, "latency_ms", sample_latency(median_ms), "histogram",
                                        sample_histogram(median_ms * 1000, (int)(n * part))));
    }
    json_object_set_new(doc, "exits", exits);
    json_object_set_new(doc, "answered", json_integer(n));
    json_object_set_new(doc, "sent", json_integer(n + 10));
    json_object_set_new(doc, "accuracy", json_real(accuracy));
    json_object_set_new(doc, "latency_ms", sample_latency(median_ms));
    json_object_set_new(doc, "histogram", sample_histogram(median_ms * 1000, n));
    return doc;
}

#endif
