/* simulation_network.c - what stands for the network: layers, look-ups, what computing and messages cost */
#include "simulation_parts.h"

#include <math.h>
#include <stdlib.h>

#include "index/cache_body.h"

/* ---- layers ---- */

static struct tensor shape_of(double bytes)
{
    return (struct tensor){.dtype = TENSOR_U8, .rank = 2, .dim = {1, bytes < 1 ? 1 : llround(bytes)}};
}

/* Without a function to free it nothing is allocated. */
struct tensor network_payload(const struct simulating *g, zmq_msg_t *out, double bytes)
{
    struct tensor shape = shape_of(bytes);
    zmq_msg_init_data(out, g->zeros, (size_t)tensor_bytes(&shape), NULL, NULL);
    return shape;
}

static int load(void *arg, int row, const void *input, struct error *e)
{
    (void)arg, (void)row, (void)input, (void)e;
    return FL_OK;
}

static int keep(void *arg, int segment, const int *rows, int n, struct error *e)
{
    (void)arg, (void)segment, (void)rows, (void)n, (void)e;
    return FL_OK;
}

static int dim_of(const struct simulating *g, int exit)
{
    int dim = (int)(g->s->exit[exit].bytes / sizeof(float));
    return dim < 1 ? 1 : dim;
}

static int describe(void *arg, int segment, int batch, const int *rows, int n, zmq_msg_t *out)
{
    const struct stage_of *o = arg;
    (void)batch, (void)rows;
    network_payload(o->g, out,
                    sizeof(float) * n * dim_of(o->g, o->g->s->stage[o->stage].segment[segment].exit));
    return FL_OK;
}

static int output(void *arg, int row, int batch, int to, struct tensor *shape, int32_t *label,
                  float *confidence, zmq_msg_t *out, struct error *e)
{
    const struct stage_of *o = arg;
    const struct simulation *s = o->g->s;
    bool last = o->stage + 1 == s->pipeline.n_stages;
    (void)row, (void)batch, (void)to, (void)e;
    *shape = network_payload(o->g, out, last ? s->measured->answer_bytes : s->stage[o->stage + 1].bytes);
    if (last) {
        *label = 0;
        *confidence = 1;
    }
    return FL_OK;
}

static void set_up_stage(void *arg, const struct world_process *p, struct stage_setup *s,
                         struct stage_engine *e)
{
    struct simulating *g = arg;
    const struct simulation_stage *from = &g->s->stage[p->stage];
    g->stage_of[p->stage] = (struct stage_of){g, p->stage};
    s->max_batch = g->s->pipeline.stage[p->stage].max_batch;
    s->expects = shape_of(from->bytes);
    s->n_segments = from->n_segments;
    for (int i = 0; i < from->n_segments; i++) {
        int exit = from->segment[i].exit;
        s->segment[i] = (struct stage_segment){.exit = exit, .dim = exit < 0 ? 0 : dim_of(g, exit)};
    }
    *e = (struct stage_engine){&g->stage_of[p->stage], load, keep, describe, output};
}

/* One of n that are equally probable. */
static double drawn(struct simulating *g, const double *of, int n)
{
    return n > 1 ? of[shuffle_below(&g->times, (uint32_t)n)] : n ? of[0] : 0;
}

/* A worker that has slept finds its memory cold. With other cores busy a batch waits for its weights. */
static double compute(void *arg, const struct world_process *p, int segment, int rows, int *rc)
{
    struct simulating *g = arg;
    const struct measured *m = g->s->measured;
    int run = (int)shuffle_below(&g->times, (uint32_t)measured_runs(m));
    const struct simulation_segment *x = &g->s->stage[p->stage].segment[segment];
    bool *slept = &g->slept[p->stage][p->replica];
    double *cold = &g->cold[p->stage][p->replica];
    double ns = 1e3 * measured_run_us(m, rows, run, x->first, x->last);
    (void)rc;
    if (segment == 0) {
        *cold = *slept ? drawn(g, m->cold_share, m->n_colds) : 0;
        *slept = false;
        g->result->stage[p->stage].batches += !g->is_over;
        g->result->stage[p->stage].entered += g->is_over ? 0 : rows;
    }
    return ns * (1 + *cold) * (1 + m->cost.stage_crowd_share / rows * world_crowd(g->world, p->host));
}

static void settled(void *arg, int process)
{
    struct simulating *g = arg;
    const struct world_process *p = world_process(g->world, process);
    const struct stage_brain *b = world_stage_brain(g->world, process);
    if (b && !stage_brain_busy(b))
        g->slept[p->stage][p->replica] = true;
}

/* ---- look-ups ---- */

/* One cache at each exit, which nobody looks into. */
static void set_up_cache(void *arg, const struct world_process *p, struct cache_setup *setup,
                         struct snapshot **first)
{
    const struct simulating *g = arg;
    struct manifest *m = calloc(1, sizeof *m);
    struct projection *around;
    (void)p, (void)setup;
    if (!m)
        return;
    m->n_exits = g->s->pipeline.n_exits;
    *first = snapshot_new(m);
    for (int i = 0; *first && i < m->n_exits && !projection_new(&around, dim_of(g, i), 1); i++) {
        cache_new(&(*first)->cache[i], CACHE_KMEANS, around, 1);
        projection_release(around);
    }
    free(m);
}

/* The exit that answers a request when every verdict is in time. It goes by the order in which requests are
 * admitted, so that another cluster meets the same hits. */
static int first_hit(const struct simulating *g, uint64_t request)
{
    uint64_t n = (request - g->first_request) / (uint64_t)g->s->pipeline.broker.max_requests;
    struct shuffle r;
    double u;
    int i = 0, n_exits = g->s->pipeline.n_exits;
    shuffle_seed(&r, (g->s->world.seed + n) * 0x9e3779b97f4a7c15u, 3);
    u = shuffle_uniform(&r);
    while (i < n_exits && (u -= g->s->exit[i].share) >= 0)
        i++;
    return i;
}

static int look(void *arg, const struct world_process *p, const struct snapshot *s, const struct lookup *in,
                const float *descriptors, struct cache_verdict *found)
{
    (void)p, (void)s, (void)descriptors;
    for (int i = 0; i < in->n; i++)
        found[i] = (struct cache_verdict){.confidence = 1,
                                          .hit = first_hit(arg, in->item[i].request) <= (int)in->exit};
    return FL_OK;
}

static double look_ns(void *arg, const struct world_process *p, const struct lookup *in)
{
    const struct measured_exit *x = &((const struct simulating *)arg)->s->exit[in->exit];
    (void)p;
    return 1e3 * (x->lookup_us + in->n * (x->descriptor_us + x->lookup_row_us));
}

/* ---- messages ---- */

static double stage_us(const struct simulating *g, bool sends, const struct message *m, double payload)
{
    const struct measured_costs *c = &g->s->measured->cost;
    double bytes = c->stage_kilobyte * payload / 1000;
    switch (m->type) {
    case MESSAGE_JOB:
        return (sends ? c->stage_send : c->stage_receive) + bytes;
    case MESSAGE_RESULT: /* one of an error is rare, and short */
        return m->result.error ? 0 : c->stage_send + bytes;
    case MESSAGE_LOOKUP:
        return c->stage_lookup + m->lookup.n * g->s->exit[m->lookup.exit].descriptor_us + bytes;
    case MESSAGE_VERDICT:
        return c->stage_verdict;
    default:
        return 0;
    }
}

/* What broker and cache service send is a part of what it takes to handle what came. */
static double main_us(struct simulating *g, const struct world_process *p, bool sends,
                      const struct message *m, double bytes)
{
    const struct measured_costs *c = &g->s->measured->cost;
    const struct measured_exit *x;
    switch (p->role) {
    case ROLE_CLIENT:
        return g->s->client_is_outside ? 0 : sends ? c->client_send : c->client_receive;
    case ROLE_BROKER:
        if (sends && m->type == MESSAGE_JOB && !g->first_request)
            g->first_request = m->job.request;
        return sends ? 0 : m->type == MESSAGE_REQUEST ? c->broker_request : c->broker_result;
    case ROLE_CACHE:
        if (sends)
            return 0;
        x = &g->s->exit[m->lookup.exit];
        return c->cache + x->lookup_us + m->lookup.n * x->lookup_row_us;
    default:
        return stage_us(g, sends, m, bytes - MEASURED_ENVELOPE_BYTES);
    }
}

static double cost(void *arg, const struct world_process *p, enum world_work work, const struct message *m,
                   double bytes)
{
    if (m->type >= MESSAGE_HELLO) /* what processes talk of among themselves counts as background */
        return -1;
    return 1e3 * main_us(arg, p, work == WORLD_SENDS, m, bytes);
}

static double wake(void *arg)
{
    struct simulating *g = arg;
    return 1e3 * drawn(g, g->s->measured->wake_us, g->s->measured->n_wakes);
}

void network_user(struct world_user *u)
{
    u->cost = cost;
    u->stage = set_up_stage;
    u->compute = compute;
    u->look = look;
    u->look_ns = look_ns;
    u->cache = set_up_cache;
    u->wake = wake;
    u->settled = settled;
}
