/* stretch.c - executors side by side, each with a batch of its own */
#include "stretch.h"

#include <stdlib.h>
#include <string.h>

#include "deploy/extract/executors.h"
#include "deploy/tool/interrupt.h"

#define BATCH       8
#define WORTH_FLOPS 5e10 /* of work: the fastest kernel of each node is worth looking for */

struct stretch_crew {
    const struct stretch *of;
    struct executors executors;
    int64_t at;
    int rc[EXECUTORS_MAX];
    struct error problem[EXECUTORS_MAX];
};

static int batch_of(const struct graph *g)
{
    return g->free_batch ? BATCH : 1;
}

int stretch_most(const struct graph *g, int threads)
{
    return batch_of(g) * (threads < EXECUTORS_MAX ? threads : EXECUTORS_MAX);
}

static void feed(const struct stretch *s, struct exec *x, int64_t at, int n)
{
    struct tensor one = exec_input_shape(x, 0, 1);
    int64_t each = tensor_count(&one);
    char *to = exec_input_buffer(x, 0);
    if (s->first > 0)
        memcpy(to, s->in + at * each, (size_t)(n * each) * sizeof(float));
    for (int i = 0; s->first == 0 && i < n; i++)
        samples_put(s->samples, s->skip + at + i, to + i * s->samples->bytes);
}

static int run_share(const struct stretch *s, struct exec *x, int64_t at, int n, struct error *e)
{
    struct tensor t;
    int rc = FL_OK;
    feed(s, x, at, n);
    if (!s->node) {
        rc = exec_run(x, s->first, s->last, n, NULL, NULL, e);
    } else {
        s->node(s->arg, x, -1, at, n);
        for (int i = s->first; !rc && i <= s->last; i++)
            if (!(rc = exec_run(x, i, i, n, NULL, NULL, e)))
                s->node(s->arg, x, i, at, n);
    }
    if (rc || !s->out)
        return rc;
    t = exec_output(x, 0, n);
    memcpy(s->out + at * (tensor_count(&t) / n), t.data, (size_t)tensor_bytes(&t));
    return FL_OK;
}

static void one_share(void *arg, int i, int thread)
{
    struct stretch_crew *r = arg;
    int64_t from = r->at + (int64_t)i * r->executors.batch, left = r->of->count - from;
    (void)thread;
    r->rc[i] = left > 0
                   ? run_share(r->of, r->executors.one[i].exec, from,
                               (int)(left < r->executors.batch ? left : r->executors.batch), &r->problem[i])
                   : FL_OK;
}

static int run_some(struct stretch_crew *r, struct error *e)
{
    int64_t left = r->of->count - r->at, most = (int64_t)r->executors.n * r->executors.batch;
    if (interrupt_seen())
        return error_set(e, FL_CANCELLED, "stopped; nothing was written");
    team_run(r->executors.team, one_share, r, r->executors.n);
    for (int i = 0; i < r->executors.n; i++)
        if (r->rc[i]) {
            *e = r->problem[i];
            return r->rc[i];
        }
    return r->of->some ? r->of->some(r->of->arg, r->at, (int)(left < most ? left : most)) : FL_OK;
}

/* Timing all kernels of a node takes about as long as a thousandth of a TFLOP. */
static enum exec_kernels kernels_for(const struct stretch *s)
{
    double flops = 0;
    for (int i = s->first; i <= s->last; i++)
        flops += graph_node_flops(s->graph, i, 1);
    return flops * (double)s->count > WORTH_FLOPS ? KERNELS_AUTO : KERNELS_ONEDNN;
}

int stretch_open(struct stretch_crew **out, const struct stretch *s, struct error *e)
{
    struct stretch_crew *c = *out = calloc(1, sizeof *c);
    struct exec_options o = {.first = s->first, .last = s->last, .apart = s->node != NULL};
    int rc;
    if (!c)
        return error_set(e, FL_NOMEM, "no memory");
    o.kernels = kernels_for(s);
    o.max_batch = batch_of(s->graph);
    if ((rc = executors_open(&c->executors, s->graph, &o, s->threads, e))) {
        stretch_close(c);
        *out = NULL;
    }
    return rc;
}

void stretch_close(struct stretch_crew *c)
{
    if (c)
        executors_close(&c->executors);
    free(c);
}

int stretch_again(struct stretch_crew *c, const struct stretch *s, struct error *e)
{
    int rc = FL_OK;
    c->of = s;
    for (c->at = 0; !rc && c->at < s->count; c->at += (int64_t)c->executors.n * c->executors.batch)
        rc = run_some(c, e);
    return rc;
}

int stretch_run(const struct stretch *s, struct error *e)
{
    struct stretch_crew *c;
    int rc = stretch_open(&c, s, e);
    if (!rc)
        rc = stretch_again(c, s, e);
    stretch_close(c);
    return rc;
}
