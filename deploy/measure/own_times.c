/* own_times.c - the model piece by piece, descriptors, and the CPU time that a worker spends on one message,
 * with ZeroMQ's threads beside it */
#include "own_times.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deploy/model/hop.h"
#include "deploy/model/whole_model.h"
#include "stages/place/descriptor.h"

#define WARM_UP     5
#define DESCRIPTORS 200 /* made of one activation */
#define ROUNDS      40  /* of messages */

/* ---- the model ---- */

struct timing {
    struct measured *m;
    const struct pipeline *pipeline;
    const struct graph *graph;
    const struct dataset *data;
    struct cut *cuts;
    struct exec *exec;
};

static void fill_input(const struct timing *t, int batch, int run)
{
    struct tensor one = dataset_shape(t->data);
    size_t bytes = (size_t)tensor_bytes(&one);
    char *to = exec_input_buffer(t->exec, 0);
    for (int i = 0; i < batch; i++)
        dataset_image(t->data, ((int64_t)run * batch + i) % dataset_count(t->data), to + (size_t)i * bytes);
}

/* Of an exit behind the node where the model stands now. */
static int time_descriptor(struct measured_exit *out, const struct timing *t, int node, struct error *e)
{
    const struct descriptor_config *config = &t->pipeline->cache.descriptor;
    struct tensor cut;
    uint64_t start;
    float *to;
    int dim, rc = exec_cut(t->exec, node, 1, &cut, e);

    if (rc)
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

static int time_exits(const struct timing *t, int cut, struct error *e)
{
    int rc = FL_OK;
    for (int i = 0; i < t->m->n_exits && !rc; i++)
        if (!strcmp(t->m->exit[i].after, t->m->cut[cut].name))
            rc = time_descriptor(&t->m->exit[i], t, t->cuts[cut].node, e);
    return rc;
}

/* One run, piece after piece; us[n_cuts + 1]. */
static int time_run(const struct timing *t, int batch, bool exits, double *us, struct error *e)
{
    int from = 0, n = t->m->n_cuts, rc = FL_OK;
    for (int i = 0; i <= n && !rc; i++) {
        int to = i < n ? t->cuts[i].node : t->graph->n_nodes - 1;
        uint64_t start = clock_ns();
        rc = exec_run(t->exec, from, to, batch, NULL, NULL, e);
        us[i] = (double)(clock_ns() - start) / NS_PER_US;
        from = to + 1;
        if (!rc && exits && i < n)
            rc = time_exits(t, i, e);
    }
    return rc;
}

static int time_batch(struct measured_batch *out, const struct timing *t, int batch, int runs,
                      struct error *e)
{
    size_t row = (size_t)t->m->n_cuts + 1;
    int rc = FL_OK;
    *out = (struct measured_batch){batch, runs, malloc(sizeof(double) * row * (size_t)runs)};
    if (!out->us)
        return error_set(e, FL_NOMEM, "no memory for times");
    for (int i = -WARM_UP; i < runs && !rc; i++) {
        fill_input(t, batch, i + WARM_UP);
        rc = time_run(t, batch, batch == 1 && i == -1, out->us + (size_t)(i < 0 ? 0 : i) * row, e);
    }
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
        if (strlen(c->name) >= MEASURED_NAME_BYTES)
            return error_set(e, FL_UNSUPPORTED, "the name of layer %.60s.. is too long", c->name);
        memcpy(m->cut[m->n_cuts].name, c->name, strlen(c->name) + 1);
        m->cut[m->n_cuts].bytes = (double)tensor_bytes(&a);
    }
    m->input_bytes = (double)tensor_bytes(&in);
    m->answer_bytes = (double)tensor_bytes(&out);
    m->threads = t->pipeline->stage[0].threads;
    m->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    return FL_OK;
}

int own_times_model(struct measured *m, const struct graph *g, const struct pipeline *p,
                    const struct dataset *data, int max_batch, int runs, struct error *e)
{
    struct timing t = {.m = m, .pipeline = p, .graph = g, .data = data};
    int n, rc = graph_cuts(g, &t.cuts, &n, e);

    if (rc)
        return rc;
    max_batch = g->free_batch ? max_batch : 1;
    if (!(rc = describe(&t, n, e)))
        rc = whole_model_new(&t.exec, g, p, p->stage[0].threads, max_batch, e);
    for (int b = 1; !rc && b <= max_batch && m->n_batches < MEASURED_MAX_BATCHES; b *= 2)
        rc = time_batch(&m->batch[m->n_batches++], &t, b, runs, e);
    exec_free(t.exec);
    free(t.cuts);
    return rc;
}

/* ---- messages ---- */

/* CPU time of a message of one size, us: of who sends it, of who receives it, of all other threads. */
struct hop_cost {
    double send, receive, io;
};

/* A burst, so that nobody sleeps within it; its means are added to *cost, times `by`. */
static int time_burst(struct hop *h, size_t bytes, bool lanes, struct hop_cost *cost, double by)
{
    double all = clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID), start = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID), sent,
           end;
    uint64_t until = clock_ns() + HOP_WAIT_MS * NS_PER_MS;
    int rc = FL_OK;
    for (int i = 0; i < HOP_BURST && !rc; i++)
        rc = hop_send(h, bytes);
    sent = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    usleep(lanes ? 0 : 2000); /* ZeroMQ's threads work meanwhile */
    for (int i = 0; i < HOP_BURST && !rc; i += !rc)
        while ((rc = hop_receive(h)) == FL_AGAIN && clock_ns() < until)
            usleep(1000);
    end = clock_cpu_us(CLOCK_THREAD_CPUTIME_ID);
    cost->send += (sent - start) / HOP_BURST * by;
    cost->receive += (end - sent) / HOP_BURST * by;
    cost->io += (clock_cpu_us(CLOCK_PROCESS_CPUTIME_ID) - all - (end - start)) / HOP_BURST * by;
    return rc;
}

/* Means over many messages of the two sizes. */
static int time_hop(struct hop_cost cost[2], bool lanes, const struct pipeline *p, struct error *e)
{
    struct hop *h;
    int rc = hop_open(&h, p, lanes, e);

    for (int i = -WARM_UP; i < ROUNDS && !rc; i++)
        for (int k = 0; k < 2 && !rc; k++)
            if ((rc = time_burst(h, k ? HOP_LARGE_BYTES : HOP_SMALL_BYTES, lanes, &cost[k],
                                 i < 0 ? 0 : 1.0 / ROUNDS)))
                error_set(e, rc, "a message to this very process was lost");
    hop_close(h);
    return rc;
}

/* Of what grows with the size, us per 1000 bytes. */
static double per_kilobyte(double small, double large)
{
    return large > small ? (large - small) / (HOP_LARGE_BYTES - HOP_SMALL_BYTES) * 1000 : 0;
}

int own_times_messages(struct measured *m, const struct pipeline *p, struct error *e)
{
    struct hop_cost socket[2] = {{0, 0, 0}, {0, 0, 0}}, lane[2] = {{0, 0, 0}, {0, 0, 0}};
    const struct hop_cost *own = p->shared_memory ? lane : socket;
    int rc = time_hop(socket, false, p, e);

    if (rc || (p->shared_memory && (rc = time_hop(lane, true, p, e))))
        return rc;
    m->cost.stage_send = m->cost.stage_lookup = own[0].send;
    m->cost.stage_receive = m->cost.stage_verdict = own[0].receive;
    m->cost.stage_kilobyte = per_kilobyte(own[0].send + own[0].receive, own[1].send + own[1].receive) / 2;
    m->cost.io = socket[0].io / 2;
    m->cost.io_kilobyte = per_kilobyte(socket[0].io, socket[1].io) / 2;
    return FL_OK;
}
