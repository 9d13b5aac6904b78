/* profile.c - how long a model's layers take here */
#include "profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "numbers/samples.h"

#define WARM_UP     3
#define MAX_SAMPLES (1 << 24) /* of all layers together */

static void summarise(double *ms, int n, double *median, double *min, double *p99)
{
    *median = samples_median(ms, n);
    *min = ms[0];
    *p99 = samples_quantile(ms, n, 0.99);
}

void profile_fill(struct exec *x, int batch)
{
    uint32_t seed = 1;
    for (int i = 0; i < exec_n_inputs(x); i++) {
        struct tensor t = exec_input_shape(x, i, batch);
        int64_t n = tensor_count(&t);
        float *to = exec_input_buffer(x, i);
        if (t.dtype != TENSOR_F32) {
            memset(to, 0, (size_t)tensor_bytes(&t));
            continue;
        }
        for (int64_t k = 0; k < n; k++) {
            seed = seed * 1664525u + 1013904223u;
            to[k] = (float)(seed >> 8) / (1 << 23) - 1;
        }
    }
}

struct stopwatch {
    uint64_t last;
    double *ms; /* [layer][run] */
    int first, run, runs;
};

static int lap(void *arg, int node)
{
    struct stopwatch *w = arg;
    uint64_t now = clock_ns();
    w->ms[(size_t)(node - w->first) * (size_t)w->runs + (size_t)w->run] +=
        (double)(now - w->last) / NS_PER_MS;
    w->last = clock_ns();
    return 0;
}

static int time_whole(struct exec *x, const struct profile *p, int first, int last, double *ms, int runs,
                      struct error *e)
{
    int rc = FL_OK;
    for (int i = -WARM_UP; i < runs && !rc; i++) {
        uint64_t from;
        profile_fill(x, p->batch);
        from = clock_ns();
        rc = exec_run(x, first, last, p->batch, NULL, NULL, e);
        if (i >= 0)
            ms[i] = (double)(clock_ns() - from) / NS_PER_MS;
    }
    return rc;
}

static int time_layers(struct exec *x, const struct profile *p, int first, int last, double *ms, int runs,
                       struct error *e)
{
    struct stopwatch w = {0, ms, first, 0, runs};
    int rc = FL_OK;
    memset(ms, 0, (size_t)p->n_layers * (size_t)runs * sizeof *ms);
    for (w.run = 0; w.run < runs && !rc; w.run++) {
        profile_fill(x, p->batch);
        w.last = clock_ns();
        rc = exec_run(x, first, last, p->batch, lap, &w, e);
    }
    return rc;
}

static void name_layers(struct profile *p, struct exec *x, const struct graph *g, int first)
{
    for (int i = 0; i < p->n_layers; i++) {
        const struct node *n = &g->nodes[first + i];
        p->layer[i].name = n->name;
        p->layer[i].op = n->op->name;
        p->layer[i].kernel = exec_kernel_name(x, first + i);
        p->layer[i].flops = graph_node_flops(g, first + i, p->batch);
    }
}

int profile_run(struct profile *out, struct exec *x, const struct graph *g, int first, int last, int threads,
                int batch, int runs, struct error *e)
{
    int n = last - first + 1, rc, half = runs > 1 ? runs / 2 : 1, each;
    double *ms;
    memset(out, 0, sizeof *out);
    if (first < 0 || last >= g->n_nodes || n < 1 || runs < 1)
        return error_set(e, FL_USAGE, "nothing to time: nodes %d to %d, %d runs", first, last, runs);
    *out = (struct profile){.threads = threads, .batch = batch, .runs = runs, .n_layers = n};
    out->weight_bytes = exec_weight_bytes(x);
    out->arena_bytes = exec_arena_bytes(x);
    out->layer = calloc((size_t)n, sizeof *out->layer);
    each = half < MAX_SAMPLES / n ? half : MAX_SAMPLES / n;
    ms = malloc(((size_t)n * (size_t)each + (size_t)half) * sizeof *ms);
    if (!out->layer || !ms)
        rc = error_set(e, FL_NOMEM, "no memory for the times of %d layers", n);
    else
        rc = time_whole(x, out, first, last, ms, half, e);
    if (!rc) {
        summarise(ms, half, &out->median_ms, &out->min_ms, &out->p99_ms);
        rc = time_layers(x, out, first, last, ms, each, e);
    }
    for (int i = 0; i < n && !rc; i++)
        summarise(ms + (size_t)i * (size_t)each, each, &out->layer[i].median_ms, &out->layer[i].min_ms,
                  &out->layer[i].p99_ms);
    free(ms);
    if (rc)
        profile_release(out);
    else
        name_layers(out, x, g, first);
    return rc;
}

void profile_release(struct profile *p)
{
    free(p->layer);
    memset(p, 0, sizeof *p);
}
