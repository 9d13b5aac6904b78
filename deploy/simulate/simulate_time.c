/* simulate_time.c - the model piece by piece, and descriptors, in this process */
#include "simulate_time.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/model/whole_model.h"
#include "stages/place/descriptor.h"
#include "stages/exec/exec.h"

#define WARM_UP 5

struct timing {
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct dataset *data;
    const struct cut *cuts;
    int n_cuts;
};

static int new_exec(struct exec **x, const struct timing *t, int max_batch, struct error *e)
{
    return whole_model_new(x, t->graph, t->pipeline, t->pipeline->stage[0].threads, max_batch, e);
}

static void fill_input(const struct timing *t, struct exec *x, int batch, int run)
{
    struct tensor one = dataset_shape(t->data);
    size_t bytes = (size_t)tensor_bytes(&one);
    char *to = exec_input_buffer(x, 0);
    for (int i = 0; i < batch; i++)
        dataset_image(t->data, ((int64_t)run * batch + i) % dataset_count(t->data), to + (size_t)i * bytes);
}

/* One run, piece after piece; us[n_cuts + 1]. */
static int time_run(const struct timing *t, struct exec *x, int batch, double *us, struct error *e)
{
    int from = 0, rc = FL_OK;
    for (int i = 0; i <= t->n_cuts && !rc; i++) {
        int to = i < t->n_cuts ? t->cuts[i].node : t->graph->n_nodes - 1;
        uint64_t start = clock_ns();
        rc = exec_run(x, from, to, batch, NULL, NULL, e);
        us[i] = (double)(clock_ns() - start) / NS_PER_US;
        from = to + 1;
    }
    return rc;
}

static int time_batch(struct measured_batch *out, const struct timing *t, struct exec *x, int batch, int runs,
                      struct error *e)
{
    size_t row = (size_t)t->n_cuts + 1;
    int rc = FL_OK;
    *out = (struct measured_batch){batch, runs, malloc(sizeof(double) * row * (size_t)runs)};
    if (!out->us)
        return error_set(e, FL_NOMEM, "no memory for times");
    for (int i = -WARM_UP; i < runs && !rc; i++) {
        fill_input(t, x, batch, i + WARM_UP);
        rc = time_run(t, x, batch, out->us + (size_t)(i < 0 ? 0 : i) * row, e);
    }
    return rc;
}

/* ---- the model ---- */

static int describe(struct measured *m, const struct timing *t, struct error *e)
{
    struct tensor in = dataset_shape(t->data), out;
    if (t->n_cuts > MEASURED_MAX_CUTS)
        return error_set(e, FL_UNSUPPORTED, "%s can be cut at %d places: the simulation takes %d",
                         t->graph->path, t->n_cuts, MEASURED_MAX_CUTS);
    for (int i = 0; i < t->n_cuts; i++) {
        struct tensor a = value_shape(&t->graph->values[t->cuts[i].value], 1);
        if (strlen(t->cuts[i].name) >= MEASURED_NAME_BYTES)
            return error_set(e, FL_UNSUPPORTED, "the name of layer %.60s.. is too long", t->cuts[i].name);
        memcpy(m->cut[i].name, t->cuts[i].name, strlen(t->cuts[i].name) + 1);
        m->cut[i].bytes = (double)tensor_bytes(&a);
    }
    out = value_shape(&t->graph->values[t->graph->outputs[0]], 1);
    m->n_cuts = t->n_cuts;
    m->input_bytes = (double)tensor_bytes(&in);
    m->answer_bytes = (double)tensor_bytes(&out);
    m->threads = t->pipeline->stage[0].threads;
    m->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return FL_OK;
}

int simulate_time_model(struct measured *m, const struct graph *g, const struct pipeline *p,
                        const struct dataset *data, int max_batch, int runs, struct error *e)
{
    struct timing t = {.pipeline = p, .graph = g, .data = data};
    struct cut *cuts = NULL;
    struct exec *x = NULL;
    int rc;

    if ((rc = graph_cuts(g, &cuts, &t.n_cuts, e)))
        return rc;
    t.cuts = cuts;
    max_batch = g->free_batch ? max_batch : 1;
    if (!(rc = describe(m, &t, e)))
        rc = new_exec(&x, &t, max_batch, e);
    for (int b = 1; !rc && b <= max_batch && m->n_batches < MEASURED_MAX_BATCHES; b *= 2)
        rc = time_batch(&m->batch[m->n_batches++], &t, x, b, runs, e);
    exec_free(x);
    free(cuts);
    return rc;
}

/* ---- descriptors ---- */

static int time_descriptor(struct measured_exit *out, struct exec *x, int node, const struct pipeline *p,
                           struct error *e)
{
    enum { RUNS = 200 };
    struct tensor cut;
    uint64_t start;
    float *to;
    int dim, rc = exec_cut(x, node, 1, &cut, e);

    if (rc)
        return rc;
    dim = descriptor_dim(&cut, &p->cache.descriptor);
    if (!(to = malloc(sizeof *to * (size_t)dim + 1)))
        return error_set(e, FL_NOMEM, "no memory for a descriptor");
    start = clock_ns();
    for (int i = 0; i < RUNS; i++)
        descriptor_compute(&cut, &p->cache.descriptor, to);
    out->descriptor_us = (double)(clock_ns() - start) / NS_PER_US / RUNS;
    out->bytes = (double)dim * sizeof *to;
    free(to);
    return FL_OK;
}

static int node_named(const struct graph *g, const char *name)
{
    int i = 0;
    while (i + 1 < g->n_nodes && strcmp(g->nodes[i].name, name) != 0)
        i++;
    return i;
}

int simulate_time_exits(struct measured *m, const struct graph *g, const struct pipeline *p, struct error *e)
{
    struct timing t = {.pipeline = p, .graph = g};
    struct exec *x = NULL;
    struct tensor in;
    int from = 0, rc = m->n_exits ? new_exec(&x, &t, 1, e) : FL_OK;

    if (x) {
        in = exec_input_shape(x, 0, 1);
        memset(exec_input_buffer(x, 0), 0, (size_t)tensor_bytes(&in));
    }
    for (int i = 0; i < m->n_exits && !rc; i++) {
        int to = node_named(g, m->exit[i].after);
        if (!(rc = exec_run(x, from, to, 1, NULL, NULL, e)))
            rc = time_descriptor(&m->exit[i], x, to, p, e);
        from = to + 1;
    }
    exec_free(x);
    return rc;
}
