/* network.c - chains of numbers instead of layers */
#include "network.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/cache_body.h"

#define CACHE_WRONG_OF 8 /* a cache is wrong about one token of so many */

static uint32_t mix(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

int32_t network_truth(uint32_t token)
{
    return (int32_t)(mix(token + 7) % NETWORK_CLASSES);
}

/* Another label than a wrong way gives. */
int32_t network_cached(uint32_t token, int exit)
{
    bool wrong = mix(token * 5u + (uint32_t)exit) % CACHE_WRONG_OF == 0;
    return (network_truth(token) + (wrong ? 2 : 0)) % NETWORK_CLASSES;
}

static uint32_t fold(uint32_t chain, int plan, int stage)
{
    return mix(chain + (uint32_t)(plan * 64 + stage + 1)) % NETWORK_RANGE;
}

uint32_t network_chain(uint32_t token, int plan, int stages)
{
    uint32_t chain = token;
    for (int s = 0; s < stages; s++)
        chain = fold(chain, plan, s);
    return chain;
}

static bool is_right(const struct network_value *v, int stages)
{
    for (int plan = 0; plan < NETWORK_PLANS; plan++)
        if ((uint32_t)v->chain == network_chain((uint32_t)v->token, plan, stages))
            return true;
    return false;
}

static int32_t label_of(const struct network_value *v, int stages, int32_t right)
{
    return is_right(v, stages) ? right : (network_truth((uint32_t)v->token) + 1) % NETWORK_CLASSES;
}

bool network_look(const struct network_value *v, int stage, double hit_share, int32_t *label)
{
    *label = label_of(v, stage, network_cached((uint32_t)v->token, stage));
    return mix((uint32_t)v->token * 3u + (uint32_t)stage) < hit_share * 4294967295.0;
}

struct tensor network_shape(void)
{
    return (struct tensor){.dtype = TENSOR_F32, .rank = 2, .dim = {1, NETWORK_FLOATS}};
}

static int load(void *arg, int row, const void *input, struct error *e)
{
    struct network_layers *l = arg;
    memcpy(&l->row[row], input, sizeof l->row[row]);
    if (l->stage)
        return FL_OK;
    l->row[row].chain = l->row[row].token;
    return l->row[row].bad > 0 ? error_set(e, FL_VALUE, "an element is not finite") : FL_OK;
}

static int keep(void *arg, int segment, const int *rows, int n, struct error *e)
{
    struct network_layers *l = arg;
    (void)segment, (void)e;
    for (int i = 0; i < n; i++)
        l->row[i] = l->row[rows[i]];
    return FL_OK;
}

static int describe(void *arg, int segment, int batch, const int *rows, int n, zmq_msg_t *out)
{
    struct network_layers *l = arg;
    struct network_value *to;
    (void)segment, (void)batch;
    if (zmq_msg_init_size(out, (size_t)n * sizeof *to))
        return FL_NOMEM;
    to = zmq_msg_data(out);
    for (int i = 0; i < n; i++)
        memcpy(&to[i], &l->row[rows[i]], sizeof *to);
    return FL_OK;
}

static int output(void *arg, int row, int batch, int to, struct tensor *shape, int32_t *label,
                  float *confidence, zmq_msg_t *out, struct error *e)
{
    struct network_layers *l = arg;
    struct network_value v = l->row[row];
    (void)batch, (void)to;
    if (zmq_msg_init_size(out, sizeof v))
        return error_set(e, FL_NOMEM, "no memory");
    v.chain = (float)fold((uint32_t)v.chain, l->plan, l->stage);
    *shape = network_shape();
    if (l->last) {
        *label = label_of(&v, l->stage + 1, network_truth((uint32_t)v.token));
        *confidence = 1;
    }
    memcpy(zmq_msg_data(out), &v, sizeof v);
    return FL_OK;
}

static uint64_t origin(int stage)
{
    return (uint64_t)stage + 100;
}

static struct cache *a_cache(int stage)
{
    struct projection *p;
    struct cache *c = NULL;
    if (projection_new(&p, NETWORK_FLOATS, NETWORK_FLOATS))
        return NULL;
    if (!cache_new(&c, CACHE_KNN, p, NETWORK_CLASSES))
        snprintf(c->exit, sizeof c->exit, "exit%d", stage);
    projection_release(p);
    return c;
}

struct snapshot *network_caches(int n_stages)
{
    struct manifest *m = calloc(1, sizeof *m);
    struct snapshot *s = NULL;
    if (m) {
        m->n_exits = n_stages;
        m->identity.digest[0] = m->build[0] = 1;
        for (int i = 0; i < n_stages; i++) {
            snprintf(m->exit[i].name, sizeof m->exit[i].name, "exit%d", i);
            m->exit[i].origin = origin(i);
        }
        s = snapshot_new(m);
    }
    for (int i = 0; s && i < n_stages; i++)
        if (!(s->cache[i] = a_cache(i))) {
            snapshot_free(s);
            s = NULL;
        }
    free(m);
    return s;
}

void network_setup(struct network_layers *l, const struct pipeline *p, int stage, int plan,
                   struct stage_setup *s, struct stage_engine *e)
{
    l->stage = stage;
    l->plan = plan;
    l->last = stage == p->n_stages - 1;
    *e = (struct stage_engine){l, load, keep, describe, output};
    s->max_batch = p->stage[stage].max_batch;
    s->expects = network_shape();
    s->self.model[0] = s->self.identity[0] = 1;
    s->self.plan[0] = (uint8_t)(plan + 1);
    s->n_segments = 2;
    s->segment[0] =
        (struct stage_segment){.exit = stage, .dim = NETWORK_FLOATS, .origin = (uint64_t)stage + 100};
    s->segment[1] = (struct stage_segment){.exit = -1};
}
