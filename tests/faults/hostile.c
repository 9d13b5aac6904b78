/* hostile.c - old, damaged and made-up messages */
#include "hostile.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "broker/dispatch_inside.h"
#include "network.h"

#define UNKNOWN (1ull << 62) /* of a request's id: none has it */

static bool repeats(const struct happening *what)
{
    return what->kind == REPLAY || what->kind == DAMAGE;
}

void hostile_begin(struct hostile *h, const struct story *s)
{
    shuffle_seed(&h->random, s->seed, 3);
    memset(h->n, 0, sizeof h->n);
    memset(h->to_come, 0, sizeof h->to_come);
    for (int i = 0; i < s->n; i++)
        if (repeats(&s->item[i]))
            h->to_come[s->item[i].a]++;
    if (!h->buffer)
        h->buffer = malloc(MESSAGE_MAX_ENCODED);
}

void hostile_end(struct hostile *h)
{
    for (int i = 0; i < WORLD_PORTS; i++)
        for (int k = 0; k < HOSTILE_KEPT; k++)
            free(h->kept[i][k].encoded);
    free(h->buffer);
}

bool hostile_recode(struct hostile *h, struct message *m, struct error *e)
{
    size_t size = 0;
    if (message_encode(m, h->buffer, MESSAGE_MAX_ENCODED, &size)) {
        error_set(e, FL_PROTOCOL, "it can't be encoded");
        return false;
    }
    return message_decode(m, h->buffer, size, e) == FL_OK;
}

void hostile_note(struct hostile *h, enum world_port port, int stage, int replica, const struct message *m,
                  zmq_msg_t *payload)
{
    struct kept *k = &h->kept[port][h->n[port] % HOSTILE_KEPT];
    size_t size = 0;
    if (!h->to_come[port] || message_encode(m, h->buffer, MESSAGE_MAX_ENCODED, &size))
        return;
    if (size > k->capacity) {
        uint8_t *more = realloc(k->encoded, size);
        if (!more)
            return;
        k->encoded = more;
        k->capacity = size;
    }
    memcpy(k->encoded, h->buffer, size);
    k->size = size;
    k->stage = stage;
    k->replica = replica;
    k->payload_size = payload ? zmq_msg_size(payload) : 0;
    if (k->payload_size > sizeof k->payload)
        return;
    if (k->payload_size)
        memcpy(k->payload, zmq_msg_data(payload), k->payload_size);
    h->n[port]++;
}

static void send(struct hostile *h, struct world *w, enum world_port port, int stage, int replica,
                 const void *payload, size_t size)
{
    zmq_msg_t msg;
    struct error e;
    if (!hostile_recode(h, &h->m, &e))
        return; /* as a real socket's reader: dropped and counted */
    zmq_msg_init_size(&msg, size);
    if (size)
        memcpy(zmq_msg_data(&msg), payload, size);
    world_send(w, WORLD_NOBODY, port, stage, replica, &h->m, &msg);
    zmq_msg_close(&msg);
}

/* What a liar could say of a living request so that nobody can tell is not looked for. */
static void spare_the_living(struct message *m)
{
    switch (m->type) {
    case MESSAGE_RESULT:
        m->result.request |= UNKNOWN;
        break;
    case MESSAGE_JOB:
        m->job.request |= UNKNOWN;
        break;
    case MESSAGE_LOOKUP:
        for (int i = 0; i < m->lookup.n; i++)
            m->lookup.item[i].request |= UNKNOWN;
        break;
    case MESSAGE_REQUEST: /* the key of what another client will ask */
        if (m->request.key_high)
            m->request.key_high |= UNKNOWN;
        break;
    case MESSAGE_DRAIN: /* who may drain may drain for long */
        m->drain.lease_ms = 10;
        break;
    default:
        break;
    }
}

static void repeat(struct hostile *h, struct world *w, const struct happening *what)
{
    struct kept *k;
    struct error e;
    unsigned n = h->n[what->a] < HOSTILE_KEPT ? h->n[what->a] : HOSTILE_KEPT;
    if (!n)
        return;
    k = &h->kept[what->a][what->y % n];
    memcpy(h->buffer, k->encoded, k->size);
    for (int i = 0; what->kind == DAMAGE && i < 1 + (int)(what->y % 3); i++)
        h->buffer[shuffle_below(&h->random, (uint32_t)k->size)] ^=
            (uint8_t)(1u << shuffle_below(&h->random, 8));
    if (message_decode(&h->m, h->buffer, k->size, &e) ||
        message_payload_bytes(&h->m) != (int64_t)k->payload_size)
        return; /* as a real socket's reader: dropped and counted */
    if (what->kind == DAMAGE)
        spare_the_living(&h->m);
    send(h, w, (enum world_port)what->a, k->stage, k->replica, k->payload, k->payload_size);
}

/* ---- made up ---- */

static uint32_t some(struct hostile *h, uint32_t n)
{
    return shuffle_below(&h->random, n);
}

/* The id of a request that is in the broker; 0: none is. */
static uint64_t living(struct hostile *h, struct world *w, uint32_t *attempt)
{
    const struct dispatch *d = world_dispatch(w, 0);
    int n = d ? requests_slots(d->requests) : 0, from = n ? (int)some(h, (uint32_t)n) : 0;
    for (int i = 0; i < n; i++) {
        const struct request_entry *e = requests_slot(d->requests, (from + i) % n);
        if (!e || !e->attempt)
            continue;
        *attempt = e->attempt;
        return e->id;
    }
    return 0;
}

static void forge_result(struct hostile *h, struct world *w, int how)
{
    struct message *m = &h->m;
    struct result *r = &m->result;
    uint32_t attempt = 1;
    memset(r, 0, sizeof *r);
    m->type = MESSAGE_RESULT;
    r->request = living(h, w, &attempt);
    r->attempt = attempt;
    r->exit = -1;
    r->label = NETWORK_CLASSES + 1;
    r->trace.n = 1;
    if (how == 0) { /* an attempt that was never sent */
        r->attempt = some(h, 2) ? 0 : attempt + 100 + some(h, 3);
    } else if (how == 1) { /* a hit of no stage */
        r->exit = 0;
        r->trace.n = 0;
    } else { /* it has passed what is not there */
        r->exit = (int)some(h, 3) - 1;
        r->trace.stage[0].stage = 4 + some(h, PIPELINE_MAX_STAGES - 4);
        r->trace.stage[0].replica = some(h, PIPELINE_MAX_REPLICAS);
    }
    if (r->request)
        send(h, w, WORLD_RESULTS, 0, 0, NULL, 0);
}

static void forge_hello(struct hostile *h, struct world *w)
{
    struct hello *x = &h->m.hello;
    memset(x, 0, sizeof *x);
    h->m.type = MESSAGE_HELLO;
    x->role = some(h, 6);
    x->stage = 4 + some(h, 1u << 20);
    x->replica = 4 + some(h, 1u << 20);
    x->incarnation = some(h, 100);
    x->ready = some(h, 2);
    send(h, w, WORLD_CONTROL, 0, 0, NULL, 0);
}

static void forge_heartbeat(struct hostile *h, struct world *w)
{
    struct heartbeat *x = &h->m.heartbeat;
    memset(x, 0, sizeof *x);
    h->m.type = MESSAGE_HEARTBEAT;
    x->incarnation = some(h, 100);
    x->taken = some(h, 1u << 30);
    x->batch = some(h, 1u << 30);
    x->reaches = some(h, 1u << 30);
    send(h, w, WORLD_CONTROL, 0, 0, NULL, 0);
}

static void forge_job(struct hostile *h, struct world *w)
{
    struct job *j = &h->m.job;
    struct network_value v = {.label = (float)network_truth(0)};
    memset(j, 0, sizeof *j);
    h->m.type = MESSAGE_JOB;
    j->request = UNKNOWN | some(h, 1000);
    j->attempt = some(h, 3);
    j->flags = some(h, 64);
    j->deadline_ns = some(h, 2) ? UINT64_MAX : some(h, 1u << 30);
    j->n_route = (int)some(h, PIPELINE_MAX_STAGES + 1);
    for (int i = 0; i < j->n_route; i++)
        j->route[i] = (uint8_t)some(h, 4);
    j->trace.n = (int)some(h, 3);
    j->activation = network_shape();
    if (some(h, 4) == 0)
        j->activation.dim[1] = 2, j->activation.rank = 3, j->activation.dim[2] = 2;
    send(h, w, WORLD_JOBS, (int)some(h, 2), 0, &v, sizeof v);
}

static void forge_request(struct hostile *h, struct world *w)
{
    struct request *r = &h->m.request;
    struct network_value v = {.label = (float)network_truth(0)};
    memset(r, 0, sizeof *r);
    h->m.type = MESSAGE_REQUEST;
    r->id = some(h, 1000);
    r->deadline_ms = some(h, 2) ? UINT32_MAX : some(h, 50);
    r->flags = some(h, 64);
    r->sent_ns = some(h, 2) ? UINT64_MAX : some(h, 1u << 30);
    r->clock = some(h, 3);
    r->input = network_shape();
    if (some(h, 2)) {
        r->input.dim[0] = 2;
        r->input.dim[1] = 2;
    }
    send(h, w, WORLD_CLIENTS, 0, 0, &v, sizeof v);
}

/* Well-formed, at a door where it does not belong. */
static void forge_stray(struct hostile *h, struct world *w)
{
    static const enum message_type types[] = {MESSAGE_DRAIN,   MESSAGE_CANCEL, MESSAGE_OUTCOME,
                                              MESSAGE_VERDICT, MESSAGE_STATUS, MESSAGE_SPANS};
    enum world_port port = (enum world_port)some(h, WORLD_PORTS);
    h->m.type = types[some(h, 6)];
    memset(&h->m.spans, 0, sizeof h->m.verdict);
    if (h->m.type == MESSAGE_DRAIN && port == WORLD_CONTROL)
        return; /* there it does belong */
    send(h, w, port, 0, 0, NULL, 0);
}

static void forge(struct hostile *h, struct world *w, const struct happening *what)
{
    switch (what->a % 8) {
    case 0:
    case 1:
    case 2:
        forge_result(h, w, what->a % 8);
        break;
    case 3:
        forge_hello(h, w);
        break;
    case 4:
        forge_heartbeat(h, w);
        break;
    case 5:
        forge_job(h, w);
        break;
    case 6:
        forge_request(h, w);
        break;
    default:
        forge_stray(h, w);
    }
}

void hostile_act(struct hostile *h, struct world *w, const struct happening *what)
{
    if (!repeats(what)) {
        forge(h, w, what);
        return;
    }
    repeat(h, w, what);
    h->to_come[what->a]--;
}
