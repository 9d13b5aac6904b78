/* own_times.c - the model piece by piece, and descriptors */
#include "own_times.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "numbers/samples.h"
#include "stages/place/descriptor.h"

#define WARM_UP     5
#define DESCRIPTORS 200 /* made of one activation */

struct timing {
    struct measured *m;
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct dataset *data;
    struct cut *cuts;
    struct exec *exec;
};

static int time_descriptor(struct measured_exit *out, const struct timing *t, struct error *e)
{
    const struct descriptor_config *config = &t->pipeline->cache.descriptor;
    int node = t->cuts[measured_find_cut(t->m, out->after)].node, dim, rc;
    struct tensor cut;
    uint64_t start;
    float *to;

    dataset_images(t->data, 0, 1, exec_input_buffer(t->exec, 0));
    if ((rc = exec_run(t->exec, 0, node, 1, NULL, NULL, e)) || (rc = exec_cut(t->exec, node, 1, &cut, e)))
        return rc;
    dim = descriptor_dim(&cut, config);
    if (!(to = malloc(sizeof *to * (size_t)dim + 1)))
        return error_set(e, FL_NOMEM, "no memory for a descriptor");
    start = clock_ns();
    for (int i = 0; i < DESCRIPTORS; i++)
        descriptor_compute(&cut, config, to);
    out->descriptor_us = (double)(clock_ns() - start) / NS_PER_US / DESCRIPTORS;
    out->bytes = (double)dim * sizeof *to;
    free(to);
    return FL_OK;
}

static int time_nodes(double *us, const struct timing *t, int first, int last, int batch, struct error *e)
{
    uint64_t start = clock_ns();
    int rc = exec_run(t->exec, first, last, batch, NULL, NULL, e);
    *us = (double)(clock_ns() - start) / NS_PER_US;
    return rc;
}

/* One picture through the whole model, to *whole; then a batch piece after piece, to us[n_cuts + 1]. */
static int time_run(double *whole, double *us, const struct timing *t, int64_t picture, int batch,
                    struct error *e)
{
    int end = t->graph->n_nodes - 1, n = t->m->n_cuts, rc;
    dataset_images(t->data, picture, 1, exec_input_buffer(t->exec, 0));
    rc = time_nodes(whole, t, 0, end, 1, e);
    dataset_images(t->data, picture, batch, exec_input_buffer(t->exec, 0));
    for (int k = 0, from = 0, to; k <= n && !rc; k++, from = to + 1) {
        to = k < n ? t->cuts[k].node : end;
        rc = time_nodes(&us[k], t, from, to, batch, e);
    }
    return rc;
}

/* `whole` has room for `runs` times. */
static int time_batch(struct measured_batch *out, double *whole, const struct timing *t, int batch, int runs,
                      struct error *e)
{
    int pieces = t->m->n_cuts + 1, rc = FL_OK;
    double by;

    *out = (struct measured_batch){batch, runs, malloc(sizeof *out->us * (size_t)(pieces * runs))};
    if (!out->us)
        return error_set(e, FL_NOMEM, "no memory for times");
    for (int i = -WARM_UP; i < runs && !rc; i++) {
        int at = i < 0 ? 0 : i;
        rc = time_run(&whole[at], out->us + at * pieces, t, (int64_t)(i + WARM_UP) * batch, batch, e);
    }
    by = rc ? 1 : t->m->reference_us / samples_median(whole, runs);
    for (int i = 0; i < pieces * runs && !rc; i++)
        out->us[i] *= by;
    return rc;
}

static int describe(const struct timing *t, int n_cuts, struct error *e)
{
    struct measured *m = t->m;
    struct tensor in = dataset_shape(t->data), out = value_shape(&t->graph->values[t->graph->outputs[0]], 1);
    if (n_cuts > MEASURED_MAX_CUTS)
        return error_set(e, FL_UNSUPPORTED, "%s can be cut at %d places: the simulation takes %d",
                         t->graph->path, n_cuts, MEASURED_MAX_CUTS);
    for (; m->n_cuts < n_cuts; m->n_cuts++) {
        const struct cut *c = &t->cuts[m->n_cuts];
        struct tensor a = value_shape(&t->graph->values[c->value], 1);
        if (snprintf(m->cut[m->n_cuts].name, MEASURED_NAME_BYTES, "%s", c->name) >= MEASURED_NAME_BYTES)
            return error_set(e, FL_UNSUPPORTED, "the name of layer %.60s.. is too long", c->name);
        m->cut[m->n_cuts].bytes = (double)tensor_bytes(&a);
    }
    m->input_bytes = (double)tensor_bytes(&in);
    m->answer_bytes = (double)tensor_bytes(&out);
    m->threads = t->pipeline->stage[0].threads;
    m->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return FL_OK;
}

int own_times_model(struct measured *m, struct exec *model, const struct graph *g, const struct pipeline *p,
                    const struct dataset *data, int max_batch, int runs, struct error *e)
{
    struct timing t = {.m = m, .pipeline = p, .graph = g, .data = data, .exec = model};
    double *whole = malloc(sizeof *whole * (size_t)runs);
    int n, rc = whole ? graph_cuts(g, &t.cuts, &n, e) : error_set(e, FL_NOMEM, "no memory for times");

    if (!rc)
        rc = describe(&t, n, e);
    for (int b = 1; !rc && b <= max_batch && m->n_batches < MEASURED_MAX_BATCHES; b *= 2)
        rc = time_batch(&m->batch[m->n_batches++], whole, &t, b, runs, e);
    for (int i = 0; !rc && i < m->n_exits; i++)
        rc = time_descriptor(&m->exit[i], &t, e);
    free(whole);
    free(t.cuts);
    return rc;
}
